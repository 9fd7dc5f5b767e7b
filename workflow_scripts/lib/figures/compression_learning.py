"""How encoders and slide-level networks learned: neural image compression, 3, 4.1 and A.1."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from workflow_scripts.lib import files
from workflow_scripts.lib.encoder_scores import ACCURACY
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.figures.compression import looks_of
from workflow_scripts.lib.figures.origin import in_order, readable
from workflow_scripts.lib.figures.training import CHOSEN, TRAINING, VALIDATION
from workflow_scripts.lib.slide_targets import CLASS, NUMBER, SURVIVAL

CURVE = ("epoch", "train_loss", "validation_loss", "chosen")
# The measure of each kind of target: its column in `curve.tsv`, and its name.
MEASURES = {
    CLASS: ("validation_slide_auc", "AUC"),
    NUMBER: ("validation_spearman", "Spearman"),
    SURVIVAL: ("validation_c_index", "C-index"),
}
ACROSS = 4
# Of tasks; none is that of a loss.
TASKS = ("#E08A00", "#0F9D58", "#8E1B5A", "#6EC1F0", "#7A4A00", "#000000")


# Encoders


@style.styled
def encoders(curves: Mapping[str, pd.DataFrame], table: pd.DataFrame) -> Figure:
    """Losses and validation accuracy per task by epoch, a column per encoder; beneath, the accuracies that were kept.

    curves: by encoder its `curve.tsv` (epoch, train_loss, validation_loss, chosen, and `validation_accuracy_<task>` of
    each of its tasks); one without rows is not trained, and named. `table`: `tables/encoders.tsv`.
    """
    style.require(table, ("encoder", "task", "accuracy"), what="tables/encoders.tsv")
    trained = {name: rows for name, rows in curves.items() if len(rows)}
    for name, rows in trained.items():
        style.require(rows, CURVE, what=f"training curve of {name}")
    tasks = [task for task in in_order(table["task"]) if task]
    colours = dict(zip(tasks, TASKS, strict=False))
    learnt, others = _by_having_tasks(trained)
    # Of each part of the figure: what draws it, and its height in mm.
    parts = [(partial(_draw_learnt, of=of, colours=colours), 66.0) for of in _batched(learnt, ACROSS)]
    parts += [(partial(_draw_others, of=of), 40.0) for of in _batched(others, ACROSS)]
    if table["accuracy"].notna().any():
        parts.append((partial(_draw_accuracies, table=table, tasks=tasks), 20.0 + 7 * len(tasks)))
    if not parts:
        return style.nothing("No encoder was trained.")
    figure = style.new(style.DOUBLE_COLUMN_MM, 14 + sum(height for _, height in parts))
    cells = figure.subfigures(len(parts), 1, squeeze=False, height_ratios=[height for _, height in parts]).flat
    for cell, (draw, _) in zip(cells, parts, strict=True):
        draw(cell)
    figure.legend(handles=_legend_of_encoders(colours), loc="outside upper left", ncols=4)
    untrained = [readable(name) for name, rows in curves.items() if not len(rows)]
    if untrained:
        style.footnote(figure, f"Without training: {', '.join(untrained)}.")
    return figure


def _batched(named: Mapping[str, pd.DataFrame], number: int) -> list[dict[str, pd.DataFrame]]:
    """Curves by name, so many together."""
    items = list(named.items())
    return [dict(items[start : start + number]) for start in range(0, len(items), number)]


def _by_having_tasks(curves: Mapping[str, pd.DataFrame]) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    """The curves of encoders that learnt tasks, and of those that learnt without labels."""
    has = {name: any(column.startswith(ACCURACY) for column in rows) for name, rows in curves.items()}
    return tuple({name: rows for name, rows in curves.items() if has[name] == kind} for kind in (True, False))


def _draw_learnt(cell: SubFigure, of: Mapping[str, pd.DataFrame], colours: Mapping[str, str]) -> None:
    panels = cell.subplots(2, ACROSS, squeeze=False, sharex="col")
    for (above, below), (name, rows) in zip(panels.T, of.items(), strict=False):
        rows = rows.sort_values("epoch")
        _draw_losses(above, rows, name)
        for column in (column for column in rows if column.startswith(ACCURACY)):
            colour = colours.get(column.removeprefix(ACCURACY), style.FAINT)
            below.plot(rows["epoch"], rows[column], color=colour, **_dot(rows))
        _mark_kept(below, rows)
        below.set_ylim(0, 1.02)
        below.set_xlabel("Epoch")
        above.tick_params(labelbottom=False)
    for empty in panels[:, len(of) :].flat:
        empty.set_axis_off()
    panels[0, 0].set_ylabel("Loss")
    panels[1, 0].set_ylabel("Validation accuracy")


def _draw_others(cell: SubFigure, of: Mapping[str, pd.DataFrame]) -> None:
    panels = cell.subplots(1, ACROSS)
    for axes, (name, rows) in zip(panels, of.items(), strict=False):
        _draw_losses(axes, rows.sort_values("epoch"), name)
        axes.set_xlabel("Epoch")
    for empty in panels[len(of) :]:
        empty.set_axis_off()
    panels[0].set_ylabel("Loss, without labels")


def _draw_losses(axes: Axes, rows: pd.DataFrame, name: str) -> None:
    axes.plot(rows["epoch"], rows["train_loss"], color=TRAINING, linewidth=0.8, **_dot(rows))
    axes.plot(rows["epoch"], rows["validation_loss"], color=VALIDATION, **_dot(rows))
    _limit(axes, rows[["train_loss", "validation_loss"]].to_numpy(float))
    _mark_kept(axes, rows)
    axes.set_title(style.wrapped(style.short(readable(name), 40), 22), loc="left")
    axes.set_xlim(0, rows["epoch"].max() * 1.04)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))


def _dot(rows: pd.DataFrame) -> dict[str, Any]:
    """A curve of one evaluation is a dot."""
    return {"marker": "o", "markersize": 2.5} if len(rows) == 1 else {}


def _mark_kept(axes: Axes, rows: pd.DataFrame) -> None:
    for epoch in rows.loc[rows["chosen"] == 1, "epoch"]:
        axes.axvline(epoch, color=CHOSEN, linewidth=0.6, linestyle=(0, (3, 1.5)), zorder=0)


def _limit(axes: Axes, losses: np.ndarray) -> None:
    """All but an early explosion; a loss may be below 0."""
    known = losses[np.isfinite(losses)]
    if not len(known):
        return
    least, usual = known.min(), np.quantile(known, 0.9)
    most = min(known.max(), usual + 2 * (usual - least)) if usual > least else known.max()
    margin = 0.06 * (most - least) or 0.1
    axes.set_ylim(least - margin, most + margin)


def _draw_accuracies(cell: SubFigure, table: pd.DataFrame, tasks: Sequence[str]) -> None:
    axes = cell.subplots()
    known = table.dropna(subset=["accuracy"])
    # As in Fig. 4, where those without tasks are too.
    looks = looks_of(in_order(table["encoder"]))
    looks = {name: look for name, look in looks.items() if name in set(known["encoder"])}
    for place, name in enumerate(looks):
        of = known[known["encoder"] == name].set_index("task")["accuracy"]
        height = [tasks.index(task) + 0.5 * (place + 0.5 - len(looks) / 2) / len(looks) for task in of.index]
        look = {key: looks[name][key] for key in ("color", "marker")}
        axes.plot(of, height, linestyle="", markersize=4.5, label=style.short(readable(name), 30), **look)
    axes.set_yticks(range(len(tasks)), [style.short(readable(task), 30) for task in tasks])
    axes.set_ylim(len(tasks) - 0.5, -0.5)
    axes.set_xlim(min(0.45, float(known["accuracy"].min()) - 0.03), 1.01)
    axes.set_xlabel("Accuracy on validation patches, of the weights that were kept")
    axes.grid(axis="x", color=style.RULE, linewidth=0.4)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))


def _legend_of_encoders(colours: Mapping[str, str]) -> list[Line2D]:
    lines = [
        Line2D([], [], color=TRAINING, linewidth=0.8, label="training loss"),
        Line2D([], [], color=VALIDATION, label="validation loss"),
        Line2D([], [], color=CHOSEN, linewidth=0.6, linestyle=(0, (3, 1.5)), label="weights kept"),
    ]
    return lines + [
        Line2D([], [], color=colour, label=f"accuracy, {style.short(readable(task), 24)}")
        for task, colour in colours.items()
    ]


# Slide-level networks


class Trained(NamedTuple):
    """The models of a target and encoder: `curve.tsv` by number (epoch, train_loss, validation_loss, chosen, measure).

    kind: of the target, whose measure is that of MEASURES.
    """

    target: str
    kind: str
    encoder: str
    curves: Mapping[int, pd.DataFrame]


def read_models(described: Sequence[Mapping[str, Any]], paths: Sequence[str | Path]) -> list[Trained]:
    """The models of each target and encoder; described: target, kind, encoder and number of each, as `paths` are."""
    found: dict[tuple[str, str, str], dict[int, pd.DataFrame]] = {}
    for of, path in zip(described, paths, strict=True):
        found.setdefault((of["target"], of["kind"], of["encoder"]), {})[of["number"]] = files.read_table(path)
    return [Trained(*names, curves) for names, curves in found.items()]


@style.styled
def slide_models(trained: Sequence[Trained], *, titles: Mapping[str, str]) -> Figure:
    """Validation loss, and the measure, of each fold's model by epoch: two rows a target, a column an encoder."""
    if not trained:
        return style.nothing("No slide-level network was trained.")
    targets = in_order(pd.Series([of.target for of in trained]))
    across = max(sum(of.target == target for of in trained) for target in targets)
    width = float(np.clip(30 + 38 * across, style.SINGLE_COLUMN_MM, style.DOUBLE_COLUMN_MM))
    figure = style.new(width, 20 + 64 * len(targets))
    numbers = sorted({number for of in trained for number in of.curves})
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(numbers)))
    colours = dict(zip(numbers, shades, strict=True))
    for cell, target in zip(figure.subfigures(len(targets), 1, squeeze=False).flat, targets, strict=True):
        of_target = [of for of in trained if of.target == target]
        panels = cell.subplots(2, across, sharex="col", sharey="row", squeeze=False)
        column, name = MEASURES[of_target[0].kind]
        for of, (above, below) in zip(of_target, panels.T, strict=False):
            for number, rows in of.curves.items():
                style.require(rows, (*CURVE, column), what=f"curve of {target}, {of.encoder}, model {number}")
                _draw_model(above, below, rows.sort_values("epoch"), column, colours[number])
            above.set_title(style.wrapped(style.short(readable(of.encoder), 36), int(125 / across)), loc="left")
            below.set_xlabel("Epoch")
            below.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True, min_n_ticks=1))
        for empty in panels.T[len(of_target) :].flat:
            empty.set_axis_off()
        losses = [rows["validation_loss"].to_numpy(float) for of in of_target for rows in of.curves.values()]
        _limit(panels[0, 0], np.concatenate(losses))
        measured = [rows[column].to_numpy(float) for of in of_target for rows in of.curves.values()]
        panels[1, 0].set_ylim(_least(np.concatenate(measured), chance=0.0 if name == "Spearman" else 0.5), 1.02)
        panels[0, 0].set_ylabel("Validation loss")
        panels[1, 0].set_ylabel(name)
        cell.suptitle(style.short(titles[target], 60), x=0.01, ha="left", fontweight="bold")
    handles = [Line2D([], [], color=colour, label=f"model {number}") for number, colour in colours.items()]
    handles.append(Line2D([], [], color=CHOSEN, marker="o", markersize=3, linestyle="", label="weights kept"))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6))
    return figure


def _least(values: np.ndarray, *, chance: float) -> float:
    """Where the axis of a measure begins, in fifths, so that chance and all values are on it."""
    return float(np.floor(5 * np.nanmin([chance, *values])) / 5)


def _draw_model(above: Axes, below: Axes, rows: pd.DataFrame, column: str, colour: np.ndarray) -> None:
    dot = {"marker": "o", "markersize": 2} if len(rows) == 1 else {}
    chosen = rows[rows["chosen"] == 1]
    for axes, name in ((above, "validation_loss"), (below, column)):
        axes.plot(rows["epoch"], rows[name], color=colour, linewidth=0.9, **dot)
        axes.plot(chosen["epoch"], chosen[name], "o", color=CHOSEN, markersize=2.8, zorder=4)
