"""What is learnt from compressed slides, and how well: Figs. 3 to 6 of neural image compression, and its numbers.

Encoders and targets are drawn in the order of the tables.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workflow_scripts.lib import published
from workflow_scripts.lib.encoder_scores import YES, tasks_in
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.figures.origin import in_order, readable
from workflow_scripts.lib.figures.survival import Comparison, curves_of
from workflow_scripts.lib.target_scores import DEVELOPMENT

# Colour, dashes and marker of each encoder, by its place: solid lines are grey and black, which are told apart.
LOOKS = (
    ("#909090", "solid", "o"),
    ("#E08A00", (0, (5, 1.5)), "s"),
    ("#0063B1", (0, (9, 2)), "D"),
    ("#0F9D58", (0, (5, 1.5, 1, 1.5)), "^"),
    ("#8E1B5A", (0, (2, 1)), "v"),
    ("#000000", "solid", "P"),
    ("#6EC1F0", (0, (8, 1.5, 1, 1.5, 1, 1.5)), "X"),
    ("#7A4A00", (0, (1, 1)), "p"),
)
SETS = {"development": "Development", "external": "External test set", "test": "Test folds"}
POINT = "#0063B1"
# How far the encoders with as many tasks stand apart, of the step from one number of tasks to the next.
SPREAD = 0.34
# In `published.tsv`, as many encoders as one set of tasks has.
MOST_REPEATS = 4


def looks_of(encoders: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour, dashes and marker of the first encoders, as many as can be told apart."""
    keys = ("color", "linestyle", "marker")
    return {name: dict(zip(keys, look, strict=True)) for name, look in zip(encoders, LOOKS, strict=False)}


# Fig. 3


@style.styled
def tasks_and_performance(ablation: pd.DataFrame, by_number: pd.DataFrame) -> Figure:
    """Fig. 3: Spearman by the number of tasks that an encoder learnt, a point each, with their mean and spread.

    `ablation`, `by_number`: `tables/ablation.tsv` and `ablation_by_number.tsv`. The paper's encoders stand beside ours.
    """
    style.require(ablation, ("encoder", "tasks", "repeat", "spearman"), what="tables/ablation.tsv")
    style.require(by_number, ("tasks", "encoders", "mean", "sd"), what="tables/ablation_by_number.tsv")
    known = ablation.dropna(subset=["spearman"])
    if known.empty:
        return style.nothing("No encoder of the ablation has a Spearman coefficient; ablation.tsv says why.")
    figure = style.new(130, 92)
    axes = figure.subplots()
    for number, rows in known.groupby("tasks"):
        places = number - 0.1 + SPREAD * (np.arange(len(rows)) + 0.5 - len(rows) / 2) / max(len(rows), 4)
        axes.plot(places, rows["spearman"], "o", color=POINT, markersize=3.2, markerfacecolor="none", linestyle="")
    _draw_mean(axes, by_number["tasks"] - 0.1, by_number["mean"], by_number["sd"], colour=style.INK, marker="D")
    theirs = paper_by_number()
    theirs = theirs[theirs["tasks"].isin(by_number["tasks"])]
    _draw_mean(axes, theirs["tasks"] + 0.22, theirs["mean"], theirs["sd"], colour=style.PUBLISHED, marker="s")
    for row in by_number.itertuples():
        axes.annotate(
            f"{row.mean:.3f}\n{style.count(int(row.encoders), 'encoder')}", (row.tasks, 0), (0, 3),
            xycoords=("data", "axes fraction"), textcoords="offset points", ha="center", va="bottom", fontsize=6,
            color=style.FAINT,
        )  # fmt: skip
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.18 * (high - low), high)
    axes.set_xticks(sorted(known["tasks"].unique()))
    axes.set_xlim(known["tasks"].min() - 0.6, known["tasks"].max() + 0.6)
    axes.set_xlabel("Tasks that the encoder learnt")
    axes.set_ylabel("Spearman, predicted and true number")
    axes.grid(axis="y", color=style.RULE, linewidth=0.4)
    axes.set_axisbelow(True)
    figure.legend(handles=_task_legend(), loc="outside upper left", ncols=3)
    style.footnote(figure, _said_of_tasks(known))
    return figure


def paper_by_number() -> pd.DataFrame:
    """What the paper's Fig. 3 is drawn from, of its Table 3: tasks, mean, sd."""
    table = published.table()
    rows = table[table["quantity"].str.startswith("ablation_spearman_")]
    values = rows.assign(tasks=rows["trait"].str.count(r"\+") + 1).groupby("tasks")["value"]
    return pd.DataFrame({"mean": values.mean(), "sd": values.std()}).reset_index()


def _draw_mean(axes: Axes, at: pd.Series, mean: pd.Series, sd: pd.Series, *, colour: str, marker: str) -> None:
    error = {"ecolor": colour, "elinewidth": 1.1, "capsize": 2.5, "capthick": 1.1}
    axes.errorbar(at + 0.16, mean, sd.fillna(0), color=colour, marker=marker, markersize=4.2, linestyle="", **error)


def _task_legend() -> list[Line2D]:
    return [
        Line2D([], [], color=POINT, marker="o", markersize=3.2, markerfacecolor="none", linestyle="", label="encoder"),
        Line2D([], [], color=style.INK, marker="D", markersize=4.2, label="mean ± standard deviation"),
        Line2D([], [], color=style.PUBLISHED, marker="s", markersize=4.2, label="the paper's, other data"),
    ]


def _said_of_tasks(known: pd.DataFrame) -> str:
    best = known.loc[known["spearman"].idxmax()]
    tasks = [readable(task) for task in tasks_in(known) if best[task] == YES]
    return f"Best: {', '.join(tasks)} ({best['spearman']:.3f}). Patients that validate the models, {DEVELOPMENT} set."


# Fig. 4


@style.styled
def auc_by_encoder(auc: pd.DataFrame, roc: pd.DataFrame, *, target: str, title: str) -> Figure:
    """Fig. 4: AUC of each encoder on the held-out slides with its interval, and its ROC curve.

    `auc`, `roc`: the tables of these names, of all class targets; target: the one that is drawn.
    """
    style.require(
        auc, ("target", "encoder", "set", "auc", "low", "high", "slides", "positives", "note"), what="tables/auc.tsv"
    )
    style.require(roc, ("target", "encoder", "fpr", "tpr"), what="tables/roc.tsv")
    rows = auc[(auc["target"] == target) & (auc["set"] != DEVELOPMENT)].reset_index(drop=True)
    if rows.empty:
        return style.nothing("No class is learnt.")
    looks = looks_of(rows["encoder"])
    figure = style.new(style.DOUBLE_COLUMN_MM, max(90, 34 + 9 * len(rows)))
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    _draw_aucs(left, rows, looks)
    slides = style.count(int(rows["slides"].max()), "slide")
    style.heading(left, style.short(title, 44), f"AUC with 95 % interval, by patient; {slides}")
    curves = roc[roc["target"] == target]
    for name, look in looks.items():
        of = curves[curves["encoder"] == name]
        right.plot(of["fpr"], of["tpr"], color=look["color"], linestyle=look["linestyle"], clip_on=False)
    right.plot([0, 1], [0, 1], color=style.RULE, linewidth=0.7, zorder=0)
    if curves.empty:
        patch = {"facecolor": "white", "edgecolor": "none"}
        right.text(0.5, 0.5, "no curve", ha="center", va="center", color=style.FAINT, bbox=patch)
    right.set(xlim=(0, 1), ylim=(0, 1), xlabel="False positive rate", ylabel="True positive rate")
    right.set_box_aspect(1)
    style.heading(right, "ROC curves", SETS[rows["set"].iloc[0]])
    style.footnote(figure, _said_of_aucs(rows, looks))
    return figure


def _draw_aucs(axes: Axes, rows: pd.DataFrame, looks: Mapping[str, Mapping[str, Any]]) -> None:
    paper = published.value("growth_pattern_auc", cohort="")
    axes.axvline(paper, color=style.PUBLISHED, linewidth=0.8, zorder=0)
    axes.axvline(0.5, color=style.RULE, linewidth=0.8, zorder=0)
    for place, row in rows.iterrows():
        look = looks.get(row["encoder"], {"color": style.FAINT, "linestyle": "solid", "marker": "o"})
        if np.isfinite(row["auc"]):
            axes.hlines(place, row["low"], row["high"], color=look["color"], linewidth=1.2)
            axes.plot(row["auc"], place, marker=look["marker"], color=look["color"], markersize=5)
            said = f"{row['auc']:.3f}"
        else:
            said = f"NA: {row['note']}"
        # Above the interval, where no other row's can be.
        at = row["auc"] if np.isfinite(row["auc"]) else 0.5
        put = {"textcoords": "offset points", "ha": "center", "va": "bottom", "fontsize": 6}
        axes.annotate(said, (at, place), (0, 5), bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6}, **put)
    axes.set_yticks(range(len(rows)), [style.wrapped(style.short(readable(name), 40), 22) for name in rows["encoder"]])
    # A sample of the curve's line beside each name.
    for place, name in enumerate(rows["encoder"]):
        if name in looks:
            line = {"color": looks[name]["color"], "linestyle": looks[name]["linestyle"], "clip_on": False}
            axes.plot([0.0, 0.09], [place, place], transform=axes.get_yaxis_transform(), **line)
    known = rows[["auc", "low"]].min(axis=None)
    lowest = min(0.5, known) if np.isfinite(known) else 0.5
    axes.set_xlim(np.floor(lowest * 10 - 1.2) / 10, 1.0)
    axes.set_ylim(len(rows) - 0.4, -0.7)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("AUC")


def _said_of_aucs(rows: pd.DataFrame, looks: Mapping[str, Any]) -> str:
    paper = published.value("growth_pattern_auc", cohort="")
    said = f"Green line: the paper's multitask encoder, {paper:g} (4.4), on other data."
    left = [readable(name) for name in rows["encoder"] if name not in looks]
    return said + (f" Without a curve, which could not be told apart: {', '.join(left)}." if left else "")


# Figs. 5 and 6


@style.styled
def risk_curves(
    table: pd.DataFrame,
    risks: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    encoders: Mapping[str, str],
    titles: Mapping[str, str],
) -> Figure:
    """Figs. 5 and 6: Kaplan-Meier curves of the patients above and at most the median risk, a panel per target.

    `table`, `risks`, `curves`: `tables/survival.tsv`, `risks.tsv` and `survival_curves.tsv`; encoders: the one whose
    risks are drawn, by target; titles: of targets.
    """
    columns = ("target", "encoder", "risk", "c_index", "low", "high", "p", "p_adjusted", "direction", "note")
    style.require(table, columns, what="tables/survival.tsv")
    style.require(risks, ("target", "encoder", "risk", "group", "time", "event"), what="tables/risks.tsv")
    style.require(curves, ("target", "encoder", "group", "time"), what="tables/survival_curves.tsv")
    comparisons = []
    for row in table.to_dict("records"):
        target, encoder = row["target"], row["encoder"]
        if encoders.get(target) == encoder:
            of_row = [of[(of["target"] == target) & (of["encoder"] == encoder)] for of in (risks, curves)]
            comparisons.append(_comparison(row, *of_row, title=titles[target]))
    parts = [
        f"{name}: p\u00a0<\u00a0{published.value(f'{quantity}_logrank_p_below', cohort=''):g}"
        for name, quantity in (("growth pattern, Fig. 5", "growth_pattern"), ("Cox, Fig. 6", "survival"))
    ]
    encoded = "; ".join(
        f"{titles[target]}: {readable(encoders[target])}" for target in in_order(table["target"]) if target in encoders
    )
    note = f"Encoder of {encoded}. Paper, other data: {'; '.join(parts)}."
    return curves_of(comparisons, note=note)


def _comparison(row: Mapping[str, Any], patients: pd.DataFrame, curves: pd.DataFrame, *, title: str) -> Comparison:
    names = {"low": "risk at most the median", "high": "risk above the median"}
    c_index = "C-index: not available"
    if np.isfinite(row["c_index"]):
        c_index = f"C-index {row['c_index']:.2f}, 95 % interval {row['low']:.2f}–{row['high']:.2f}"
    note = row["note"] if isinstance(row["note"], str) else ""
    test = dict(row) | {"note": "; ".join(filter(None, [c_index, note]))}
    risk = row["risk"].replace(" - ", " − ")
    return Comparison(f"{title}: {risk}", "risk", names, patients, curves, test)


# Numbers


@style.styled
def numbers(
    points: pd.DataFrame, table1: pd.DataFrame, *, encoders: Mapping[str, str], titles: Mapping[str, str]
) -> Figure:
    """Predicted against true numbers, a row per target and a panel per set.

    `points`, `table1`: `tables/numbers.tsv` and `table1.tsv`; encoders: the one that is drawn, by target.
    """
    style.require(points, ("target", "encoder", "set", "value", "prediction"), what="tables/numbers.tsv")
    style.require(table1, ("target", "encoder", "set", "spearman", "low", "high", "patients"), what="tables/table1.tsv")
    targets = [target for target in in_order(table1["target"]) if target in encoders]
    if not targets:
        return style.nothing("No number is learnt.")
    figure = style.new(style.DOUBLE_COLUMN_MM, 10 + 82 * len(targets))
    panels = figure.subplots(len(targets), 2, squeeze=False)
    for line, target in zip(panels, targets, strict=True):
        rows = table1[(table1["target"] == target) & (table1["encoder"] == encoders[target])]
        of_target = points[(points["target"] == target) & (points["encoder"] == encoders[target])]
        for axes, row in zip(line, rows.to_dict("records"), strict=True):
            of_set = of_target[of_target["set"] == row["set"]]
            _draw_numbers(axes, of_set, of_target)
            detail = f"{_spearman(row)}; {style.count(int(row['patients']), 'patient')}"
            style.heading(axes, f"{style.short(titles[target], 34)}: {SETS[row['set']].lower()}", detail)
    named = "; ".join(f"{titles[target]}: {readable(encoders[target])}" for target in targets)
    style.footnote(figure, f"Encoder of {named}. Line: predicted as it is.")
    return figure


def _draw_numbers(axes: Axes, points: pd.DataFrame, of_target: pd.DataFrame) -> None:
    ends = of_target[["value", "prediction"]].agg(["min", "max"])
    low, high = ends.loc["min"].max(), ends.loc["max"].min()
    if low < high:
        axes.plot([low, high], [low, high], color=style.RULE, linewidth=0.8, zorder=0)
    dot = {"markersize": 3.4, "markeredgecolor": "white", "markeredgewidth": 0.3}
    axes.plot(points["value"], points["prediction"], "o", color=POINT, alpha=0.75, **dot)
    for name, put in (("value", axes.set_xlim), ("prediction", axes.set_ylim)):
        least, most = ends[name]
        margin = 0.05 * (most - least) or 0.5
        if np.isfinite(margin):
            put(least - margin, most + margin)
    axes.set(xlabel="True", ylabel="Predicted")


def _spearman(row: Mapping[str, Any]) -> str:
    """ "Spearman 0.62 (0.51–0.71)", "Spearman: NA"."""
    if not np.isfinite(row["spearman"]):
        return "Spearman: NA"
    text = f"Spearman {row['spearman']:.2f}"
    if np.isfinite([row["low"], row["high"]]).all():
        text += f" ({row['low']:.2f} to {row['high']:.2f})"
    return text.replace("-", "−")
