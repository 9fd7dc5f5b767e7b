"""How well ways of training tell tumour, and how they learn: ROC, learning curves, gain; cross-cancer transfer.

Regimes are drawn in the order of `regimes.tsv` (regime, note), whose first is the one that others are compared with;
one with a note is not available: it is named, and has nothing else.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.figures.origin import readable
from workflow_scripts.lib.figures.training import CHOSEN, TRAINING, VALIDATION, loss_limit
from workflow_scripts.lib.transfer_scores import OVERALL, PIXEL, TILE

LEVELS = {TILE: "Tiles", PIXEL: "Pixels"}
NOT_AVAILABLE = "not available"
# Colour, dashes and marker of each regime, by its place: what is compared with is grey.
LOOKS = (
    ("#909090", "solid", "o"),
    ("#E08A00", (0, (5, 1.5)), "s"),
    ("#0063B1", "solid", "D"),
    ("#0F9D58", (0, (5, 1.5, 1, 1.5)), "^"),
    ("#8E1B5A", (0, (2, 1)), "v"),
    ("#000000", (0, (1, 1)), "P"),
)
# How far the regimes' points stand apart at one number of slides, as a factor.
APART = 1.045
MOST_NOTES = 3


def looks_of(regimes: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Colour, dashes and marker of each regime. Raises InputError for more than can be told apart, or for none."""
    style.require(regimes, ("regime", "note"), what="regimes.tsv")
    names = list(regimes["regime"])
    if not 1 <= len(names) <= len(LOOKS):
        raise InputError(
            f"expected 1 to {len(LOOKS)} regimes, whose curves can be told apart, found {len(names)}:"
            f" {', '.join(names) or 'none'}; compare fewer"
        )
    keys = ("color", "linestyle", "marker")
    return {name: dict(zip(keys, look, strict=True)) for name, look in zip(names, LOOKS, strict=False)}


def is_missing(regimes: pd.DataFrame) -> dict[str, bool]:
    """Whether each regime is not available."""
    return dict(zip(regimes["regime"], regimes["note"].fillna("") != "", strict=True))


def said_of_missing(regimes: pd.DataFrame) -> str:
    """A sentence that names the regimes that are not available; '' where all are."""
    names = [readable(name) for name, missing in is_missing(regimes).items() if missing]
    return f" Not available: {', '.join(names)} (table1.html says why)." if names else ""


# Fig. 3


@style.styled
def roc_curves(curves: pd.DataFrame, table1: pd.DataFrame, regimes: pd.DataFrame) -> Figure:
    """ROC curves of each regime by tile and by pixel, pooled over the held-out slides, with AUC and interval.

    `curves`: `tables/roc.tsv` (regime, level, fpr, tpr). `table1`: `tables/table1.tsv`, of which the rows over all
    slides are printed beneath the curves.
    """
    style.require(curves, ("regime", "level", "fpr", "tpr"), what="tables/roc.tsv")
    style.require(table1, ("regime", "level", "slide", "auc", "low", "high", "n"), what="tables/table1.tsv")
    looks = looks_of(regimes)
    figure = style.new(style.DOUBLE_COLUMN_MM, 106 + 4.2 * len(looks))
    upper, lower = figure.subfigures(2, 1, height_ratios=[96, 4 + 4.2 * len(looks)])
    panels = upper.subplots(1, len(LEVELS))
    texts = lower.subplots(1, len(LEVELS))
    slides = table1.loc[table1["slide"] != OVERALL, "slide"].nunique()
    for panel, below, (level, words) in zip(panels, texts, LEVELS.items(), strict=True):
        _draw_curves(panel, curves[curves["level"] == level], looks)
        overall = table1[(table1["level"] == level) & (table1["slide"] == OVERALL)].set_index("regime")
        n = overall["n"].max()
        style.heading(panel, words, f"{style.count(int(n), level)} of {style.count(slides, 'slide')}" if n > 0 else "")
        _write_aucs(below, overall, looks, is_missing(regimes))
    style.footnote(figure, f"AUC with its 95 % interval, resampled by slide.{said_of_missing(regimes)}")
    return figure


def _draw_curves(axes: Axes, curves: pd.DataFrame, looks: Mapping[str, Mapping[str, Any]]) -> None:
    axes.plot([0, 1], [0, 1], color=style.RULE, linewidth=0.7, zorder=0)
    for regime, look in looks.items():
        rows = curves[curves["regime"] == regime]
        axes.plot(rows["fpr"], rows["tpr"], color=look["color"], linestyle=look["linestyle"], clip_on=False)
    if curves.empty:
        patch = {"facecolor": "white", "edgecolor": "none"}
        axes.text(0.5, 0.5, "no curve", ha="center", va="center", color=style.FAINT, bbox=patch)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="False positive rate", ylabel="True positive rate")
    axes.set_box_aspect(1)


def _write_aucs(
    axes: Axes, overall: pd.DataFrame, looks: Mapping[str, Mapping[str, Any]], missing: Mapping[str, bool]
) -> None:
    """A line for each regime: how it is drawn, its name, and its AUC with the interval."""
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(len(looks) - 0.4, -0.6))
    for place, (regime, look) in enumerate(looks.items()):
        if not missing[regime]:
            axes.plot([0.02, 0.1], [place, place], color=look["color"], linestyle=look["linestyle"])
        said = NOT_AVAILABLE if missing[regime] else _auc(overall.loc[regime] if regime in overall.index else None)
        faint = style.FAINT if missing[regime] else style.INK
        axes.text(0.13, place, style.short(readable(regime), 34), va="center", fontsize=6.5, color=faint)
        axes.text(1, place, said, va="center", ha="right", fontsize=6.5, color=faint)


def _auc(row: Mapping[str, float] | None) -> str:
    """ "0.873 (0.841–0.902)", "0.873" where there is no interval, "NA" where there is no value either."""
    if row is None or not np.isfinite(row["auc"]):
        return "NA"
    known = np.isfinite([row["low"], row["high"]]).all()
    return f"{row['auc']:.3f}" + (f" ({row['low']:.3f}–{row['high']:.3f})" if known else "")


# Learning curves


@style.styled
def learning_curves(curves: Mapping[str, pd.DataFrame], regimes: pd.DataFrame) -> Figure:
    """A column per regime: losses above, validation tile AUC below, by epoch; the epoch that was kept is marked.

    curves: by regime its `curve.tsv` (epoch, train_loss, validation_loss, validation_tile_auc, chosen: 0 or 1).
    """
    columns = ("epoch", "train_loss", "validation_loss", "validation_tile_auc", "chosen")
    for regime, rows in curves.items():
        style.require(rows, columns, what=f"training curve of {regime}")
    names, missing = list(looks_of(regimes)), is_missing(regimes)
    trained = {name: curves[name] for name in names if name in curves and not missing[name]}
    figure = style.new(float(np.clip(25 + 45 * len(names), style.SINGLE_COLUMN_MM, style.DOUBLE_COLUMN_MM)), 98)
    panels = figure.subplots(2, len(names), sharex="col", sharey="row", squeeze=False)
    characters = int(105 / len(names))
    for (above, below), name in zip(panels.T, names, strict=True):
        above.set_title(style.wrapped(readable(name), characters), loc="left")
        if name in trained:
            _draw_learning(above, below, trained[name])
        else:
            below.set_xticks([])
            for axes in (above, below):
                axes.text(
                    0.5, 0.5, "not\navailable", ha="center", va="center", color=style.FAINT, transform=axes.transAxes
                )
    panels[0, 0].set_ylabel("Loss")
    panels[1, 0].set_ylabel("Validation AUC of tiles")
    together = pd.concat([*trained.values(), pd.DataFrame(columns=columns, dtype=float)])
    panels[0, 0].set_ylim(0, loss_limit(together))
    lowest = np.nanmin([0.5, *together["validation_tile_auc"]])
    panels[1, 0].set_ylim(np.floor(lowest * 10) / 10, 1.01)
    figure.legend(handles=_learning_legend(), loc="outside lower center", ncols=4 if len(names) > 2 else 2)
    return figure


def _draw_learning(above: Axes, below: Axes, rows: pd.DataFrame) -> None:
    rows = rows.sort_values("epoch")
    # A curve of one evaluation is a dot.
    dot = {"marker": "o", "markersize": 2.5} if len(rows) == 1 else {}
    above.plot(rows["epoch"], rows["train_loss"], color=TRAINING, linewidth=0.8, **dot)
    above.plot(rows["epoch"], rows["validation_loss"], color=VALIDATION, **dot)
    below.plot(rows["epoch"], rows["validation_tile_auc"], color=VALIDATION, linestyle=(0, (4, 1.5)), **dot)
    chosen = rows[rows["chosen"] == 1]
    for axes, column in ((above, "validation_loss"), (below, "validation_tile_auc")):
        for epoch, value in zip(chosen["epoch"], chosen[column], strict=True):
            axes.axvline(epoch, color=CHOSEN, linewidth=0.5)
            axes.plot(epoch, value, "o", color=CHOSEN, markersize=3.5, zorder=4, clip_on=False)
    for row in chosen.itertuples():
        said = f"epoch {row.epoch:.3g}, AUC {row.validation_tile_auc:.3f}"
        below.set_title(said, loc="right", fontsize=6, fontweight="normal", pad=2)
    below.set_xlabel("Epoch")
    below.set_xlim(0, rows["epoch"].max() * 1.04)
    below.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))


def _learning_legend() -> list[Line2D]:
    return [
        Line2D([], [], color=TRAINING, linewidth=0.8, label="training loss"),
        Line2D([], [], color=VALIDATION, label="validation loss"),
        Line2D([], [], color=VALIDATION, linestyle=(0, (4, 1.5)), label="validation AUC"),
        Line2D([], [], color=CHOSEN, linewidth=0.5, marker="o", markersize=3.5, label="weights kept"),
    ]


# The gain by number of slides


@style.styled
def gain(table: pd.DataFrame, regimes: pd.DataFrame) -> Figure:
    """AUC of tiles by the number of the target's slides that were learnt from; and how much better than the first.

    `table`: `tables/gain.tsv` (regime, slides, auc, low, high, difference, difference_low, difference_high, note).
    """
    columns = ("regime", "slides", "auc", "low", "high", "difference", "difference_low", "difference_high", "note")
    style.require(table, columns, what="tables/gain.tsv")
    looks, missing = looks_of(regimes), is_missing(regimes)
    if not table["auc"].notna().any():
        return style.nothing("No regime was trained on some of the slides and judged.")
    first = next(iter(looks))
    figure = style.new(style.DOUBLE_COLUMN_MM, 84 + 4 * -(-len(looks) // 2))
    left, right = figure.subplots(1, 2)
    _draw_gain(left, table, looks, ("auc", "low", "high"))
    # The first's difference to itself is nothing to draw.
    others = table.assign(difference=table["difference"].where(table["regime"] != first))
    _draw_gain(right, others, looks, ("difference", "difference_low", "difference_high"))
    left.set_ylabel("AUC of tiles, all held-out slides")
    right.set_ylabel(f"AUC less that of {style.short(readable(first), 30)}")
    right.axhline(0, color=looks[first]["color"], linewidth=0.8, zorder=0)
    style.heading(left, "AUC", "bars: 95 % intervals, resampled by slide")
    style.heading(right, "Gain", f"0: as {style.short(readable(first), 40)} with as many slides")
    handles = [
        Line2D(
            [],
            [],
            markersize=4,
            label=_in_legend(name, missing),
            **(look | ({"color": "none"} if missing[name] else {})),
        )
        for name, look in looks.items()
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    style.footnote(figure, f"Points at one number of slides are drawn side by side.{_said_missing(table, missing)}")
    return figure


def _in_legend(name: str, missing: Mapping[str, bool]) -> str:
    return style.short(readable(name), 44) + (f": {NOT_AVAILABLE}" if missing[name] else "")


def _draw_gain(
    axes: Axes, table: pd.DataFrame, looks: Mapping[str, Mapping[str, Any]], columns: tuple[str, str, str]
) -> None:
    """A line for each regime that has rows, and an interval at each of its points."""
    value, low, high = columns
    for place, (regime, look) in enumerate(looks.items()):
        rows = table[(table["regime"] == regime) & table[value].notna()].sort_values("slides")
        at = rows["slides"] * APART ** (place - (len(looks) - 1) / 2)
        axes.vlines(at, rows[low], rows[high], color=look["color"], linewidth=0.8)
        axes.plot(at, rows[value], markersize=3.5, **look)
    numbers = sorted(table["slides"].unique())
    axes.set_xscale("log", base=2)
    axes.set_xlim(numbers[0] / 1.4, numbers[-1] * 1.4)
    axes.set_xticks(numbers, [f"{number:,}" for number in numbers])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("Slides of the target that were learnt from")
    axes.grid(axis="y", color=style.RULE, linewidth=0.4)
    axes.set_axisbelow(True)


def _said_missing(table: pd.DataFrame, missing: Mapping[str, bool]) -> str:
    """Which points are not drawn, and why."""
    rows = table[table["auc"].isna() & ~table["regime"].map(missing).fillna(False).astype(bool)]
    said = [f"{readable(row.regime)}, {style.count(row.slides, 'slide')} ({row.note})" for row in rows.itertuples()]
    if not said:
        return ""
    more = f"; and {len(said) - MOST_NOTES} more" if len(said) > MOST_NOTES else ""
    return f" Not drawn: {'; '.join(said[:MOST_NOTES])}{more}."
