"""HTI and outcome: survival curves (Fig. 4 and Fig. 5a), hazard ratios, and HTI by group (Fig. 5b and Fig. 6).

Two groups of patients are drawn alike whatever they were split by (`curves_of`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.lib import published, survival
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.figures.evaluation import draw_box

GROUPS = ("low", "high")
COLOURS = {
    "hti": {"low": style.LOW_HTI, "high": style.HIGH_HTI},
    "expression": {"low": style.LOW, "high": style.HIGH},
    "risk": {"low": style.LOW_RISK, "high": style.HIGH_RISK},
}
# Several steps of months, so that an axis has at most seven ticks.
MONTHS = (1, 2, 3, 6, 12, 24, 36, 48, 60, 120)
CATEGORY = "#7C93AE"


@dataclass(frozen=True)
class Comparison:
    """Two groups of patients: what one panel of survival curves is drawn from.

    title: what the patients were split by. split_by: `hti` (blue and orange), `expression` (pink and grey)
    or `risk` (dark red and light blue). names: of the groups `low` and `high`, as the legend prints them.
    patients: patient_id, time (months), event (0/1), group (`low`, `high`, or empty for a patient in neither).
    curves: group, time, survival, low, high, at_risk; a row per group and distinct time, as `survival.kaplan_meier`
    returns them. test: the log-rank test: p, p_adjusted, direction, note.
    """

    title: str
    split_by: Literal["hti", "expression", "risk"]
    names: Mapping[str, str]
    patients: pd.DataFrame
    curves: pd.DataFrame
    test: Mapping[str, Any]


def comparisons_by_hti(patients: pd.DataFrame, logrank: pd.DataFrame) -> list[Comparison]:
    """A comparison per row of `survival/logrank.tsv` (group_low, group_high, p, ...).

    `patients`: patient_id, hti, time, event, already censored as they were for the test; their groups follow from each
    row's thresholds.
    """
    style.require(patients, ("patient_id", "hti", "time", "event"), what="survival/patients.tsv")
    style.require(logrank, ("group_low", "group_high", "p"), what="survival/logrank.tsv")
    comparisons = []
    for test in logrank.to_dict("records"):
        low, high = test["group_low"], test["group_high"]
        grouped = patients.assign(group=survival.group(patients["hti"], low=low, high=high))
        names = {"low": f"low HTI (≤ {low:g})", "high": f"high HTI (> {high:g})"}
        title = f"HTI > {high:g} against ≤ {low:g}"
        comparisons.append(Comparison(title, "hti", names, grouped, survival.kaplan_meier(grouped), test))
    return comparisons


@style.styled
def survival_curves(comparisons: Sequence[Comparison]) -> Figure:
    """Fig. 4: Kaplan-Meier curves with 95 % bands, censored patients as ticks, and numbers at risk; a panel each.

    The paper's p values stand at the foot.
    """
    return curves_of(comparisons, note=published.survival_note())


@style.styled
def expression_survival(values: pd.DataFrame, tests: pd.DataFrame) -> Figure:
    """Fig. 5a: for each trait the same patients split by its bulk expression (left) and by their HTI (right).

    As `survival.compare_expression_split` returns them. `values`: trait, split (`expression`, `hti`), patient_id, time,
    event, group. `tests`: trait, split, p, p_adjusted, direction, note.
    Raises InputError where the patients of the two splits are not the same.
    """
    style.require(tests, ("trait", "split", "p"), what="tests of the split by expression")
    style.require(values, ("trait", "split", "patient_id", "time", "event", "group"), what="patients of either split")
    comparisons = []
    for trait in dict.fromkeys(tests["trait"]):
        of_trait = values[values["trait"] == trait]
        by_split = {split: of_trait[of_trait["split"] == split] for split in ("expression", "hti")}
        _check_same(trait, by_split)
        for split, patients in by_split.items():
            test = tests[(tests["trait"] == trait) & (tests["split"] == split)].iloc[0].to_dict()
            comparisons.append(_split(trait, split, patients, test))
    return curves_of(comparisons, note="Each row: the same patients, split in two ways.")


@style.styled
def curves_of(comparisons: Sequence[Comparison], *, note: str) -> Figure:
    """A panel for each comparison, as in Fig. 4; note: what stands at the foot."""
    if not comparisons:
        return style.nothing("No groups of patients to compare.")
    across = min(len(comparisons), 2)
    down = -(-len(comparisons) // across)
    width = style.DOUBLE_COLUMN_MM if across == 2 else 110
    figure = style.new(width, 10 + 92 * down)
    cells = figure.subfigures(down, across, squeeze=False).flat
    for cell, comparison in zip(cells, comparisons, strict=False):
        _draw_comparison(cell, comparison)
    style.footnote(figure, note)
    return figure


def _check_same(trait: str, by_split: Mapping[str, pd.DataFrame]) -> None:
    expression, hti = (set(by_split[split]["patient_id"]) for split in ("expression", "hti"))
    if expression != hti:
        raise InputError(
            f"{trait}: expected the same patients in both splits, found {len(expression)} by expression and"
            f" {len(hti)} by HTI, {len(expression & hti)} of them the same; compare them on the patients that have both"
        )


def _split(
    trait: str, split: Literal["hti", "expression"], patients: pd.DataFrame, test: Mapping[str, Any]
) -> Comparison:
    if split == "hti":
        title, names = "The same patients by HTI", {"low": "low HTI", "high": "high HTI"}
    else:
        title, names = f"{trait}, bulk expression", {"low": "at or below median", "high": "above median"}
    return Comparison(title, split, names, patients, survival.kaplan_meier(patients), test)


def numbers_at_risk(curve: pd.DataFrame, times: Sequence[float]) -> list[int]:
    """Patients of one group still under observation just before each time, from its rows `time` and `at_risk`."""
    ordered = curve.sort_values("time")
    places = np.searchsorted(ordered["time"].to_numpy(float), np.asarray(times, float), side="left")
    at_risk = np.append(ordered["at_risk"].to_numpy(float), 0)
    return [int(at_risk[place]) for place in places]


def _draw_comparison(cell: Any, comparison: Comparison) -> None:
    style.require(comparison.curves, ("group", "time", "survival", "low", "high", "at_risk"), what="survival curves")
    present = [group for group in GROUPS if (comparison.curves["group"] == group).any()]
    if not present:
        axes = cell.subplots()
        style.say(axes, "no patient in either group")
        axes.set_title(comparison.title, loc="left")
        return
    axes, table = cell.subplots(2, 1, sharex=True, height_ratios=(5, 1.4))
    colours = COLOURS[comparison.split_by]
    for group in GROUPS:
        curve = comparison.curves[comparison.curves["group"] == group].sort_values("time")
        of_group = comparison.patients[comparison.patients["group"] == group]
        _draw_curve(axes, curve, of_group, colour=colours[group], name=comparison.names[group])
    months = _ticks(float(comparison.curves["time"].max()))
    axes.set_ylim(0, 1.02)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_ylabel("Survival probability")
    axes.tick_params(axis="x", labelbottom=False)
    place = {"loc": "lower left", "bbox_to_anchor": (-0.02, 1.0), "borderaxespad": 0, "handlelength": 1.4}
    said = style.wrapped(_test_text(comparison.test), 62)
    axes.legend(title=said, alignment="left", **place).get_title().set_fontsize(6.5)
    axes.set_title(style.short(comparison.title, 44), loc="left", pad=28 + 9.5 * (said.count("\n") + 1))
    _draw_numbers(table, comparison, months)


def _draw_curve(axes: Axes, curve: pd.DataFrame, patients: pd.DataFrame, *, colour: str, name: str) -> None:
    label = f"{name}: n = {len(patients)}, {style.count(int(patients['event'].sum()), 'event')}"
    if curve.empty:
        axes.plot([], [], color=colour, label=label)
        return
    times = np.append(0.0, curve["time"].to_numpy(float))
    survival = np.append(1.0, curve["survival"].to_numpy(float))
    low, high = (np.append(1.0, curve[side].to_numpy(float)) for side in ("low", "high"))
    axes.fill_between(times, low, high, step="post", color=colour, alpha=0.18, linewidth=0)
    axes.step(times, survival, where="post", color=colour, label=label)
    censored = patients.loc[patients["event"] == 0, "time"].to_numpy(float)
    at = survival[np.searchsorted(times, censored, side="right") - 1]
    axes.plot(censored, at, linestyle="", marker="|", markersize=4, markeredgewidth=0.7, color=colour)


def _draw_numbers(axes: Axes, comparison: Comparison, months: np.ndarray) -> None:
    for line, group in enumerate(GROUPS):
        curve = comparison.curves[comparison.curves["group"] == group]
        for month, number in zip(months, numbers_at_risk(curve, months), strict=True):
            axes.text(month, line, str(number), ha="center", va="center", fontsize=6.5)
    axes.set_yticks(range(len(GROUPS)), GROUPS)
    for label, group in zip(axes.get_yticklabels(), GROUPS, strict=True):
        label.set_color(COLOURS[comparison.split_by][group])
        label.set_fontweight("bold")
    axes.set_ylim(len(GROUPS) - 0.5, -0.6)
    axes.set_title("Patients at risk", loc="left", fontsize=6.5, fontweight="normal", pad=2)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xticks(months)
    axes.set_xlim(-0.04 * months[-1], max(months[-1], float(comparison.curves["time"].max())) * 1.03)
    axes.set_xlabel("Months")


def _ticks(longest: float) -> np.ndarray:
    step = next((step for step in MONTHS if longest / step <= 6.5), MONTHS[-1] * int(np.ceil(longest / 780)))
    return np.arange(0, max(longest, step) + 1e-9, step)


def _test_text(test: Mapping[str, Any]) -> str:
    note = test.get("note")
    said = f" ({note})" if isinstance(note, str) and note else ""
    if not np.isfinite(test.get("p", np.nan)):
        return f"log-rank p: not available{said}"
    text = f"log-rank {style.p_text(test['p'])}{_adjusted(test)}"
    direction = test.get("direction")
    if direction in (survival.HIGH_WORSE, survival.LOW_WORSE):
        text += f"; {direction.replace(' worse', ' group worse')}"
    return text + said


def _adjusted(test: Mapping[str, Any]) -> str:
    adjusted = test.get("p_adjusted", np.nan)
    return f" (adjusted: {style.p_text(adjusted)})" if np.isfinite(adjusted) else ""


@style.styled
def hazard_ratios(cox: pd.DataFrame) -> Figure:
    """A forest of the Cox models in `survival/cox.tsv`: hazard ratios with 95 % intervals, on a logarithmic axis.

    Columns: model, covariate, n, events, hazard_ratio, low, high, p, ph_p (test of proportional hazards), c_index, and
    note, which is printed for a model that could not be fitted.
    """
    style.require(
        cox,
        ("model", "covariate", "n", "events", "hazard_ratio", "low", "high", "p", "ph_p", "c_index"),
        what="survival/cox.tsv",
    )
    if cox.empty:
        return style.nothing("No Cox model was fitted.")
    lines: list[tuple[str, Any]] = []
    for _, rows in cox.groupby("model", sort=False):
        lines += [("model", rows.iloc[0]), *(("covariate", row) for _, row in rows.iterrows())]
    figure = style.new(style.DOUBLE_COLUMN_MM, 26 + 6.5 * len(lines))
    axes, words = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1.1))
    low, high = _ratio_limits(cox)
    for place, (kind, row) in enumerate(lines):
        if kind == "covariate":
            _draw_ratio(axes, row, place, low, high)
            _write_ratio(words, row, place)
    axes.axvline(1, color=style.FAINT, linewidth=0.7, zorder=0)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [tick for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_yticks(range(len(lines)), [_line_name(kind, row) for kind, row in lines])
    for label, (kind, _) in zip(axes.get_yticklabels(), lines, strict=True):
        label.set_fontweight("bold" if kind == "model" else "normal")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(lines) - 0.4, -1.3)
    axes.set_xlabel("Hazard ratio (above 1: higher risk)")
    words.set_axis_off()
    words.set_xlim(0, 1)
    for x, heading in zip(_WORDS, ("Hazard ratio (95 %)", "p", "Proportional\nhazards: p"), strict=True):
        words.text(x, -0.9, heading, fontweight="bold", va="center", fontsize=6.5)
    return figure


# Where the columns of words begin: hazard ratio, p, p of the proportional hazards.
_WORDS = (0.0, 0.5, 0.68)


def _ratio_limits(cox: pd.DataFrame) -> tuple[float, float]:
    ends = cox[["hazard_ratio", "low", "high"]].to_numpy(float)
    ends = ends[np.isfinite(ends) & (ends > 0)]
    low, high = (ends.min(), ends.max()) if len(ends) else (0.5, 2.0)
    return float(np.clip(low * 0.8, 0.01, 0.45)), float(np.clip(high * 1.25, 2.2, 100))


def _draw_ratio(axes: Axes, row: pd.Series, place: int, low: float, high: float) -> None:
    if not np.isfinite(row["hazard_ratio"]):
        return
    ends = np.nan_to_num([row["low"], row["high"]], nan=row["hazard_ratio"], posinf=high * 10)
    axes.plot(np.clip(ends, low, high), [place, place], color=style.INK, linewidth=1)
    for end, edge, marker in ((ends[0], low, "<"), (ends[1], high, ">")):
        if (end < edge) if marker == "<" else (end > edge):
            axes.plot(edge, place, marker, color=style.INK, markersize=4, clip_on=False)
    if low <= row["hazard_ratio"] <= high:
        axes.plot(row["hazard_ratio"], place, "s", color=style.INK, markersize=4)


def _write_ratio(axes: Axes, row: pd.Series, place: int) -> None:
    ratio, note = row["hazard_ratio"], row.get("note")
    if not np.isfinite(ratio):
        text = note if isinstance(note, str) and note else "not available"
        axes.text(
            _WORDS[0], place, style.wrapped(style.short(text, 110), 58), va="center", fontsize=6, color=style.FAINT
        )
        return
    form = ".2f" if row["high"] < 100 else ".3g"
    text = f"{ratio:{form}} ({row['low']:{form}}–{row['high']:{form}})"
    for x, words in zip(_WORDS, (text, _bare_p(row["p"]), _bare_p(row["ph_p"])), strict=True):
        axes.text(x, place, words, va="center", fontsize=6.5)


def _bare_p(p: float) -> str:
    return style.p_text(p).removeprefix("p = ").removeprefix("p ") if np.isfinite(p) else "NA"


def _line_name(kind: str, row: pd.Series) -> str:
    if kind == "covariate":
        return style.wrapped(style.short(_hti_upper(row["covariate"]), 68), 36)
    c_index = f"{row['c_index']:.2f}" if np.isfinite(row["c_index"]) else "NA"
    numbers = f"n = {row['n']:.0f}, {style.count(int(row['events']), 'event')}, C-index {c_index}"
    return f"{style.short(_hti_upper(row['model']), 34)}\n{numbers}"


def _hti_upper(name: str) -> str:
    return re.sub(r"\bhti\b", "HTI", str(name))


@style.styled
def hti_by_expression(frame: pd.DataFrame, tests: pd.DataFrame) -> Figure:
    """Fig. 5b: HTI of patients below and above the median of bulk expression, a panel per trait.

    `frame`: trait, label (`above`, `below`: over the median, or at most), hti. `tests`: trait, p, p_adjusted,
    note. Both as `survival.hti_by_expression` returns them.
    """
    style.require(frame, ("trait", "label", "hti"), what="HTI by expression")
    style.require(tests, ("trait", "p"), what="tests of HTI by expression")
    return _hti_panels(
        frame.assign(panel=frame["trait"], category=frame["label"] + " median"),
        tests.rename(columns={"trait": "panel"}).assign(test="Mann-Whitney"),
        colours={"below median": style.LOW, "above median": style.HIGH},
    )


@style.styled
def hti_by_category(frame: pd.DataFrame, tests: pd.DataFrame) -> Figure:
    """Fig. 6: HTI by the categories of clinical columns (ER status, PAM50), a panel per column.

    `frame`: column, category, hti, a row per patient and column; a patient without a category is left out.
    `tests`: column, test (its name), p, p_adjusted, note, as `survival.hti_by_category` returns them.
    """
    style.require(frame, ("column", "category", "hti"), what="HTI by category")
    style.require(tests, ("column", "test", "p"), what="tests of HTI by category")
    return _hti_panels(
        frame.assign(panel=frame["column"]),
        tests.rename(columns={"column": "panel"}),
        colours={},
    )


def _hti_panels(frame: pd.DataFrame, tests: pd.DataFrame, *, colours: Mapping[str, str]) -> Figure:
    known = frame.dropna(subset=["hti", "category"])
    known = known[known["category"].astype(str) != ""]
    names = list(dict.fromkeys([*tests["panel"], *frame["panel"]]))
    if not names:
        return style.nothing("No column to compare HTI by was configured.")
    categories = {name: _categories(known[known["panel"] == name], colours) for name in names}
    sizes = {name: max(len(of_panel), 2) for name, of_panel in categories.items()}
    rows = _arrange(sizes)
    widest = max(14 * len(row) + 17 * sum(sizes[name] for name in row) for row in rows)
    figure = style.new(float(np.clip(widest, style.SINGLE_COLUMN_MM, style.DOUBLE_COLUMN_MM)), 72 * len(rows))
    bands = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for band, row in zip(bands, rows, strict=True):
        panels = band.subplots(1, len(row), squeeze=False, width_ratios=[sizes[name] for name in row])[0]
        for panel, name in zip(panels, row, strict=True):
            test = tests[tests["panel"] == name]
            _hti_panel(panel, known[known["panel"] == name], name, categories[name], colours, test)
    return figure


def _categories(rows: pd.DataFrame, colours: Mapping[str, str]) -> list[str]:
    return list(colours) if colours else sorted(rows["category"].astype(str).unique())


def _arrange(sizes: Mapping[str, int], most: int = 9) -> list[list[str]]:
    """Panels in rows, so that no row holds more than `most` categories, or one panel alone."""
    rows: list[list[str]] = [[]]
    for name, size in sizes.items():
        if rows[-1] and sum(sizes[other] for other in rows[-1]) + size > most:
            rows.append([])
        rows[-1].append(name)
    return rows


def _hti_panel(
    axes: Axes,
    rows: pd.DataFrame,
    name: str,
    categories: Sequence[str],
    colours: Mapping[str, str],
    test: pd.DataFrame,
) -> None:
    characters = 13 * max(len(categories), 2)
    axes.set_title(style.wrapped(name, characters), loc="left")
    if rows.empty:
        style.say(axes, "no patient")
        return
    labels = []
    for place, category in enumerate(categories):
        values = rows.loc[rows["category"].astype(str) == category, "hti"].to_numpy(float)
        draw_box(axes, values, place, colour=colours.get(category, CATEGORY), width=0.55)
        labels.append(f"{style.wrapped(category, 13)}\nn = {len(values)}")
    axes.set_xticks(range(len(categories)), labels, fontsize=6)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, len(categories) - 0.4)
    axes.set_ylim(0, 1)
    axes.set_ylabel("HTI")
    axes.set_xlabel(style.wrapped(_group_test(test), characters))


def _group_test(test: pd.DataFrame) -> str:
    if test.empty:
        return "not tested"
    row = test.iloc[0].to_dict()
    note = row.get("note")
    said = f"; {note}" if isinstance(note, str) and note else ""
    return f"{row['test']}, {style.p_text(row['p'])}{_adjusted(row)}{said}"
