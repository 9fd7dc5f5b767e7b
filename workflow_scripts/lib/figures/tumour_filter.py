"""How well the tumour filter tells tiles apart: ROC curves and the counts at its threshold."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workflow_scripts.lib import published
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.figures.training import TRAINING, VALIDATION
from workflow_scripts.lib.splits import TEST, TRAIN
from workflow_scripts.lib.splits import VALIDATION as VALIDATION_SET

# Drawn in this order: what counts most lies on top.
SETS = {
    TRAIN: ("Training", TRAINING, "solid"),
    VALIDATION_SET: ("Validation", VALIDATION, (0, (4, 1.5))),
    TEST: ("Test (held out)", "#B4232A", "solid"),
}
# The darkest cell of the counts, of a row that lies in it wholly.
CELL = "#1F4E85"


@style.styled
def roc_and_counts(evaluation: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """Fig. 2B and 2C of the metastatic origin paper: ROC curves of each set, and the counts at the threshold.

    `evaluation`, `curves`: `tile_classification.evaluation_table` and `.roc_table`. The dot on a curve is the
    threshold. The counts, with the share of their row, are those of the test set, or of the first of validation and
    training that has tiles. A set without tiles of both classes has no curve and says so.
    """
    style.require(evaluation, ("set", "n_tiles", "n_tumour", "auroc", "threshold"), what="evaluation of the filter")
    style.require(curves, ("set", "fpr", "tpr"), what="ROC curves of the filter")
    rows = evaluation.set_index("set").reindex(SETS)
    with_tiles = [name for name in reversed(SETS) if rows.loc[name, "n_tiles"] > 0]
    if not with_tiles:
        return style.nothing("No tile is annotated: nothing to judge the tumour filter by.")
    figure = style.new(style.DOUBLE_COLUMN_MM, 106)
    left, right = figure.subplots(1, 2)
    figure.legend(handles=_draw_curves(left, rows, curves), loc="outside upper center", ncols=len(SETS))
    _draw_counts(right, rows.loc[with_tiles[0]], SETS[with_tiles[0]][0])
    style.footnote(figure, published.tumour_filter_note())
    return figure


def _draw_curves(axes: Axes, rows: pd.DataFrame, curves: pd.DataFrame) -> list[Line2D]:
    """Draw the sets' curves, and return what the legend says of each."""
    axes.plot([0, 1], [0, 1], color=style.RULE, linewidth=0.7, zorder=0)
    handles = []
    for name, (words, colour, dashes) in SETS.items():
        row, curve = rows.loc[name], curves[curves["set"] == name]
        line = {"color": colour, "linestyle": dashes if len(curve) else ""}
        axes.plot(curve["fpr"], curve["tpr"], **line)
        if len(curve):
            _mark_threshold(axes, 1 - row["specificity"], row["sensitivity"], colour)
        handles.append(Line2D([], [], label=f"{words}: {_auroc(row)}", **line))
    if curves.empty:
        words = "no set has tiles of both classes"
        patch = {"facecolor": "white", "edgecolor": "none"}
        axes.text(0.5, 0.5, words, ha="center", va="center", color=style.FAINT, bbox=patch)
    axes.set_xlim(-0.01, 1)
    axes.set_ylim(0, 1.01)
    axes.set_aspect("equal")
    axes.set_xlabel("False positive rate (1 − specificity)")
    axes.set_ylabel("True positive rate (sensitivity)")
    threshold = rows["threshold"].dropna().iloc[0]
    detail = f"Tumour against other tissue, as annotated; dots: threshold {threshold:.3g}"
    style.heading(axes, "ROC curves of tiles", detail)
    return handles


def _mark_threshold(axes: Axes, fpr: float, tpr: float, colour: str) -> None:
    axes.plot(fpr, tpr, "o", color=colour, markersize=5, markeredgecolor="white", clip_on=False, zorder=4)


def _auroc(row: pd.Series) -> str:
    """A set's AUROC with its interval and what it stands on, or why there is none."""
    if not row["n_tiles"] > 0:
        return "no tile"
    if not np.isfinite(row["auroc"]):
        return f"no AUROC, one class:\n{row['n_tumour']:,.0f} of {row['n_tiles']:,.0f} tiles are tumour"
    known = np.isfinite([row["auroc_low"], row["auroc_high"]]).all()
    interval = f" ({row['auroc_low']:.2f}–{row['auroc_high']:.2f})" if known else ""
    on = f"{style.count(int(row['n_tiles']), 'tile')}, {style.count(int(row['n_slides']), 'slide')}"
    return f"AUROC {row['auroc']:.2f}{interval}\n{on}"


def _draw_counts(axes: Axes, row: pd.Series, words: str) -> None:
    counts = row[["true_positive", "false_negative", "false_positive", "true_negative"]].to_numpy(float).reshape(2, 2)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full((2, 2), np.nan), where=totals > 0)
    for (down, across), count in np.ndenumerate(counts):
        share = shares[down, across]
        tint = share if np.isfinite(share) else 0
        axes.fill_between([across, across + 1], down, down + 1, color=CELL, alpha=tint, linewidth=0)
        ink = "white" if tint > 0.6 else style.INK
        percent = f"{100 * share:.1f} %" if np.isfinite(share) else "NA"
        axes.text(across + 0.5, down + 0.44, f"{count:,.0f}", ha="center", va="center", fontsize=10, color=ink)
        axes.text(across + 0.5, down + 0.6, percent, ha="center", va="center", color=ink)
    for edge in (0, 1, 2):
        axes.axhline(edge, color=style.RULE, linewidth=0.6, clip_on=False)
        axes.axvline(edge, color=style.RULE, linewidth=0.6, clip_on=False)
    tumour, other = totals[:, 0]
    axes.set_yticks([0.5, 1.5], [f"tumour\nn = {tumour:,.0f}", f"other\nn = {other:,.0f}"])
    axes.set_xticks([0.5, 1.5], ["passes", "filtered out"])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlim(0, 2)
    axes.set_ylim(2, 0)
    axes.set_aspect("equal")
    axes.set_xlabel(f"Filter at threshold {row['threshold']:.3g}")
    axes.set_ylabel("Annotated as")
    shown = {"Sensitivity": "sensitivity", "specificity": "specificity", "precision": "precision", "F1": "f1"}
    detail = ", ".join(f"{name} {_number(row[key])}" for name, key in shown.items())
    style.heading(axes, f"Confusion matrix: {words[0].lower()}{words[1:]}", detail)


def _number(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "NA"
