"""How the models of a trait learned: loss and AUC by evaluation, and the checkpoint that was kept."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from workflow_scripts.lib.figures import style

TRAINING = "#8C8C8C"
VALIDATION = "#0063B1"
TILES = "#E08A00"
CHOSEN = "#222222"


@style.styled
def training_curves(curves: pd.DataFrame, *, trait: str) -> Figure:
    """A column per round: losses above, validation AUCs below, by evaluation; the checkpoint that was kept is marked.

    `curves`: the rounds' `curve.tsv`, one under the other, with a column `round` (1, 2, ...): evaluation, step, epoch,
    learning_rate, train_loss, validation_loss, validation_slide_auc, validation_tile_auc, chosen (0/1).
    Paper: Methods, Training.
    """
    columns = ("round", "evaluation", "learning_rate", "train_loss", "validation_loss", "validation_slide_auc")
    style.require(curves, (*columns, "validation_tile_auc", "chosen"), what=f"training curves of {trait}")
    rounds = sorted(curves["round"].unique())
    if not rounds:
        return style.nothing(f"No round of {trait} has been trained.")
    width = float(np.clip(25 + 32 * len(rounds), style.SINGLE_COLUMN_MM, style.DOUBLE_COLUMN_MM))
    figure = style.new(width, 92)
    panels = figure.subplots(2, len(rounds), sharex="col", sharey="row", squeeze=False)
    for column, number in enumerate(rounds):
        rows = curves[curves["round"] == number].sort_values("evaluation")
        _draw_losses(panels[0, column], rows)
        _draw_aucs(panels[1, column], rows)
        panels[1, column].set_xlabel("Evaluation")
        panels[1, column].set_xlim(0, rows["evaluation"].max() + 1)
        panels[1, column].xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))
        panels[0, column].set_title(f"Round {number}", loc="left")
    panels[0, 0].set_ylabel("Loss")
    panels[1, 0].set_ylabel("Validation AUC")
    panels[1, 0].set_ylim(0, 1)
    panels[0, 0].set_ylim(bottom=0, top=loss_limit(curves))
    figure.suptitle(style.short(trait, 50))
    figure.legend(handles=_legend(), loc="outside lower center", ncols=3 if width > 120 else 2)
    return figure


def loss_limit(curves: pd.DataFrame) -> float:
    """Above nearly every loss: one early explosion must not flatten all that follows."""
    losses = curves[["train_loss", "validation_loss"]].to_numpy(float)
    losses = losses[np.isfinite(losses)]
    if not len(losses):
        return 1.0
    return float(min(losses.max(), 3 * np.quantile(losses, 0.9))) * 1.05 or 1.0


def _draw_losses(axes: Axes, rows: pd.DataFrame) -> None:
    axes.plot(rows["evaluation"], rows["train_loss"], color=TRAINING, linewidth=0.8)
    axes.plot(rows["evaluation"], rows["validation_loss"], color=VALIDATION)
    _mark(axes, rows, "validation_loss")


def _draw_aucs(axes: Axes, rows: pd.DataFrame) -> None:
    axes.axhline(0.5, color=style.RULE, linewidth=0.6, zorder=0)
    axes.plot(rows["evaluation"], rows["validation_tile_auc"], color=TILES, linewidth=0.9, linestyle=(0, (4, 1.5)))
    axes.plot(rows["evaluation"], rows["validation_slide_auc"], color=VALIDATION)
    _mark(axes, rows, "validation_slide_auc")
    if rows["validation_slide_auc"].isna().all():
        axes.text(
            0.5,
            0.12,
            "slide AUC: NA (one class)",
            ha="center",
            va="center",
            color=style.FAINT,
            transform=axes.transAxes,
        )


def _mark(axes: Axes, rows: pd.DataFrame, measure: str) -> None:
    rates = rows["learning_rate"].to_numpy(float)
    for evaluation in rows["evaluation"].to_numpy()[1:][np.diff(rates) < 0]:
        axes.axvline(evaluation, color=style.FAINT, linewidth=0.7, linestyle=":", zorder=0)
    chosen = rows[rows["chosen"] == 1]
    for evaluation, value in zip(chosen["evaluation"], chosen[measure], strict=True):
        axes.axvline(evaluation, color=CHOSEN, linewidth=0.5)
        axes.plot(evaluation, value, "o", color=CHOSEN, markersize=3.5, zorder=4)
    if len(rows) == 1:
        axes.plot(rows["evaluation"], rows[measure], "o", color=VALIDATION, markersize=3)


def _legend() -> list[Line2D]:
    return [
        Line2D([], [], color=TRAINING, linewidth=0.8, label="training loss"),
        Line2D([], [], color=VALIDATION, label="validation loss, and slide AUC"),
        Line2D([], [], color=TILES, linewidth=0.9, linestyle=(0, (4, 1.5)), label="validation tile AUC"),
        Line2D([], [], color=CHOSEN, linewidth=0.5, marker="o", markersize=3.5, label="checkpoint kept"),
        Line2D([], [], color=style.FAINT, linewidth=0.8, linestyle=":", label="learning rate lowered"),
    ]
