"""How well methods of microscope adaptation do, and how they learn: Table 2 as a figure, confusion, t-SNE, curves.

Methods are drawn in the order that is given: their plain values, by name, of which `title` and `in_paper` are used.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from workflow_scripts.lib import published
from workflow_scripts.lib.adaptation_data import DOMAINS
from workflow_scripts.lib.adaptation_scores import MEASURES
from workflow_scripts.lib.domains import SOURCE, TARGET
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.figures.origin import CELL, in_order, readable
from workflow_scripts.lib.figures.training import loss_limit

# What the domains are, and what the paper calls them.
DOMAIN_WORDS = {SOURCE: "slides", TARGET: "photographs"}
PAPER_DOMAINS = {SOURCE: "wsi", TARGET: "msi"}
MEASURE_WORDS = {"accuracy": "Accuracy", "precision": "Precision", "recall": "Recall", "f1": "F1"}
# Of classes, and of methods; the first are as far apart in lightness as in hue.
COLOURS = ("#0063B1", "#E08A00", "#8E1B5A", "#6EC1F0", "#0F9D58", "#7A4A00", "#000000", "#909090")
# Methods beyond the colours have them again, in dashes.
DASHES = ("solid", (0, (4, 1.5)))
# Marker, whether it is filled, and colour where no class has one.
DOMAIN_LOOKS = {SOURCE: ("s", False, "#7A7A7A"), TARGET: ("o", True, "#0063B1")}
# Columns of `curve.tsv`, what they are, and whether their axis is logarithmic.
LOSSES = (
    ("validation_loss", "Loss of labels, of each method's own kind", False),
    ("validation_accuracy", "Accuracy, on slides", False),
    ("validation_entropy", "Entropy of predictions, on both", False),
    ("validation_domain", "Domain loss, of each method's own kind", True),
)


def class_colours(classes: Sequence[str]) -> dict[str, str]:
    """A colour for each class, by its place. Raises InputError for more than can be told apart."""
    if len(classes) > len(COLOURS):
        raise InputError(
            f"expected at most {len(COLOURS)} classes, whose colours can be told apart, found {len(classes)}: "
            f"{', '.join(classes)}"
        )
    return dict(zip(classes, COLOURS, strict=False))


def title_of(methods: Mapping[str, Mapping[str, Any]], name: str, length: int = 30) -> str:
    """What a method is called, not longer than so many characters."""
    return style.short(methods[name]["title"], length)


def paper_value(methods: Mapping[str, Mapping[str, Any]], name: str, domain: str, measure: str) -> float:
    """What the paper's Table 2 has for a method, from 0 to 1; NaN where it has none."""
    row = methods[name]["in_paper"]
    return published.value(f"{PAPER_DOMAINS[domain]}_{measure}", cohort="", trait=row) if row else float("nan")


def _across(panels: int) -> int:
    """How many panels stand side by side: four, as in the paper's Fig. 3, or three."""
    return 4 if panels == 4 else 3


# Table 2


@style.styled
def table2_dots(table2: pd.DataFrame, methods: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Table 2 as a figure: a panel per measure, a row per method, of slides and of photographs, with intervals.

    `table2`: `tables/table2.tsv`. Of several seeds the dot is the mean, the line goes between the means of the
    intervals' bounds, and thin ticks are the seeds. The paper's values are hollow, in green.
    """
    bounds = [f"{measure}{end}" for measure in MEASURES for end in ("", "_low", "_high")]
    style.require(table2, ("method", "seed", "domain", *bounds), what="tables/table2.tsv")
    names = [name for name in methods if (table2["method"] == name).any()]
    if not names:
        return style.nothing("No method was judged.")
    figure = style.new(style.DOUBLE_COLUMN_MM, 30 + 6.4 * len(names))
    panels = figure.subplots(1, len(MEASURES), sharey=True, sharex=True)
    for panel, measure in zip(panels, MEASURES, strict=True):
        for place, name in enumerate(names):
            for domain, offset in zip(DOMAINS, (-0.17, 0.17), strict=True):
                of = table2[(table2["method"] == name) & (table2["domain"] == domain)]
                _draw_measure(panel, of, measure, domain, place + offset)
                stated = 100 * paper_value(methods, name, domain, measure)
                marker = "D" if domain == TARGET else "s"
                hollow = {"marker": marker, "markersize": 3.8, "markerfacecolor": "none", "zorder": 5}
                panel.plot(stated, place + offset, color=style.PUBLISHED, linestyle="", **hollow)
        panel.set_title(MEASURE_WORDS[measure], loc="left")
        panel.set_xlabel("%")
        panel.hlines(np.arange(0.5, len(names) - 1), 0, 100, color=style.RULE, linewidth=0.4, zorder=0)
        panel.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        panel.tick_params(axis="y", length=0)
    lowest = 100 * np.nanmin([table2[column].min() for column in bounds] + [0.95])
    stated = [100 * paper_value(methods, name, of, m) for name in names for of in DOMAINS for m in MEASURES]
    lowest = np.nanmin([lowest, *stated])
    panels[0].set_xlim(max(0, 5 * np.floor(lowest / 5) - 2), 101)
    labels = [f"{title_of(methods, name, 38)}{'*' if methods[name]['labelled'] != SOURCE else ''}" for name in names]
    panels[0].set_yticks(range(len(names)), [style.wrapped(label, 24) for label in labels])
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    figure.legend(handles=_legend_of_domains(), loc="outside upper center", ncols=4)
    style.footnote(figure, _said_of_table2(table2, starred=any(label.endswith("*") for label in labels)))
    return figure


def _draw_measure(axes: Axes, of: pd.DataFrame, measure: str, domain: str, place: float) -> None:
    marker, filled, colour = DOMAIN_LOOKS[domain]
    means = 100 * of[[measure, f"{measure}_low", f"{measure}_high"]].mean()
    axes.plot(means.iloc[1:], [place, place], color=colour, linewidth=1)
    face = colour if filled else "white"
    axes.plot(means.iloc[0], place, marker, color=colour, markersize=3.4, markerfacecolor=face, zorder=4)
    if len(of) > 1:
        axes.plot(100 * of[measure], [place] * len(of), "|", color=colour, markersize=4, markeredgewidth=0.5)


def _legend_of_domains() -> list[Line2D]:
    handles = []
    for domain, (marker, filled, colour) in DOMAIN_LOOKS.items():
        face = colour if filled else "white"
        words = f"{DOMAIN_WORDS[domain]}, 95 % interval"
        handles.append(Line2D([], [], color=colour, marker=marker, markersize=3.4, markerfacecolor=face, label=words))
    hollow = {"color": style.PUBLISHED, "linestyle": "", "markersize": 3.8, "markerfacecolor": "none"}
    handles.append(Line2D([], [], marker="s", label="the paper's, slides", **hollow))
    handles.append(Line2D([], [], marker="D", label="the paper's, photographs", **hollow))
    return handles


def _said_of_table2(table2: pd.DataFrame, *, starred: bool) -> str:
    said = "Precision, recall and F1 are means over classes. Intervals are resampled by patient"
    seeds = table2["seed"].nunique()
    if seeds > 1:
        said += f"; values and bounds are means over {seeds} seeds, whose values are ticks"
    labels = " * learns from labels of photographs." if starred else ""
    return f"{said}. The paper's images are other ones: no agreement is to be expected.{labels}"


# Confusion


@style.styled
def confusion_matrices(
    confusion: pd.DataFrame, methods: Mapping[str, Mapping[str, Any]], *, shown: Sequence[str]
) -> Figure:
    """As which class patches of each class of the photographs are predicted: a panel per shown method.

    `confusion`: `tables/confusion.tsv` (method, seed, domain, class, predicted, n). A row sums to 100 %; at its end is
    the number of patches of the class. Several seeds count together.
    """
    style.require(confusion, ("method", "seed", "domain", "class", "predicted", "n"), what="tables/confusion.tsv")
    rows = confusion[(confusion["domain"] == TARGET) & confusion["method"].isin(shown)]
    names, classes = [name for name in shown if (rows["method"] == name).any()], in_order(rows["predicted"])
    if not names:
        return style.nothing("No shown method was judged.")
    words = [style.wrapped(style.short(readable(name), 36), 18) for name in classes]
    longest = max(len(line) for said in words for line in said.split("\n"))
    across = _across(len(names))
    down = -(-len(names) // across)
    width = (style.DOUBLE_COLUMN_MM - 14 - 1.2 * longest) / across - 6
    figure = style.new(style.DOUBLE_COLUMN_MM, 14 + down * (width + 14 + 1.2 * longest))
    panels = figure.subplots(down, across, squeeze=False)
    for panel in panels.flat[len(names) :]:
        panel.set_axis_off()
    for panel, name in zip(panels.flat, names, strict=False):
        of = rows[rows["method"] == name]
        seeds = of["seed"].nunique()
        counts = of.pivot_table(index="class", columns="predicted", values="n", aggfunc="sum")
        _draw_matrix(panel, counts.reindex(index=classes, columns=classes).to_numpy(float) / seeds)
        panel.set_title(style.wrapped(title_of(methods, name, 42), 78 // across), loc="left")
        panel.set_xticks(range(len(classes)), words, rotation=90)
        panel.set_yticks(range(len(classes)), words if panel in panels[:, 0] else [])
        panel.set_xlabel("Predicted")
    for panel in panels[:, 0]:
        panel.set_ylabel("Class")
    seeds = rows["seed"].nunique()
    together = f", {seeds} seeds together" if seeds > 1 else ""
    style.footnote(
        figure, f"Photographs: shares of the patches of each class in %{together}; beside each row, patches."
    )
    return figure


def _draw_matrix(axes: Axes, counts: np.ndarray) -> None:
    """Draw counts (class, predicted), which may be means of several seeds."""
    sums = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, sums, out=np.full(counts.shape, np.nan), where=sums > 0)
    tints = LinearSegmentedColormap.from_list("shares", ["#FFFFFF", CELL])
    axes.imshow(np.nan_to_num(shares), cmap=tints, vmin=0, vmax=1, interpolation="nearest")
    edges = np.arange(len(counts) + 1) - 0.5
    axes.hlines(edges, edges[0], edges[-1], color=style.RULE, linewidth=0.3)
    axes.vlines(edges, edges[0], edges[-1], color=style.RULE, linewidth=0.3)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    for (down, across), share in np.ndenumerate(shares):
        if share > 0:
            colour = "white" if share > 0.55 else style.INK
            axes.text(across, down, f"{100 * share:.0f}", color=colour, ha="center", va="center", fontsize=6)
    for down, number in enumerate(sums[:, 0]):
        near = {"xytext": (2, 0), "textcoords": "offset points", "va": "center", "fontsize": 5}
        axes.annotate(f"{number:,.0f}", (edges[-1], down), color=style.FAINT, **near)


# Fig. 3


@style.styled
def tsne_planes(
    plane: pd.DataFrame, methods: Mapping[str, Mapping[str, Any]], *, shown: Sequence[str], classes: Sequence[str]
) -> Figure:
    """Fig. 3: test patches of both domains in the plane of each shown method's features, by class and domain.

    `plane`: `tables/tsne.tsv` (method, domain, class, x, y), a row per patch; each method has a plane of its own.
    """
    style.require(plane, ("method", "domain", "class", "x", "y"), what="tables/tsne.tsv")
    names = [name for name in shown if (plane["method"] == name).any()]
    if not names:
        return style.nothing("No patch was laid out.")
    colours = class_colours(classes)
    across = _across(len(names))
    down = -(-len(names) // across)
    side = (style.DOUBLE_COLUMN_MM - 6) / across - 2
    words = {name: style.short(readable(name), 30) for name in classes}
    # As many as fit side by side, in mm.
    columns = min(5, int(style.DOUBLE_COLUMN_MM / (11 + 1.4 * max(map(len, words.values())))))
    lines = -(-(len(classes) + len(DOMAINS)) // columns)
    figure = style.new(style.DOUBLE_COLUMN_MM, 10 + 4 * lines + down * (side + 9))
    panels = figure.subplots(down, across, squeeze=False)
    for panel in panels.flat[len(names) :]:
        panel.set_axis_off()
    for panel, name in zip(panels.flat, names, strict=False):
        _draw_plane(panel, plane[plane["method"] == name], colours)
        panel.set_title(style.wrapped(title_of(methods, name, 50), 108 // across), loc="left")
    handles = [
        Line2D([], [], linestyle="", marker="o", color=colour, markersize=4, label=words[name])
        for name, colour in colours.items()
    ]
    for domain, (marker, filled, _) in DOMAIN_LOOKS.items():
        face = style.INK if filled else "none"
        look = {"marker": marker, "color": style.INK, "markersize": 3.6, "markerfacecolor": face}
        handles.append(Line2D([], [], linestyle="", label=DOMAIN_WORDS[domain], **look))
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)
    said = ", ".join(f"{n:,} of {DOMAIN_WORDS[d]}" for d in DOMAINS if (n := _patches_of(plane, names[0], d)))
    style.footnote(figure, f"t-SNE of pooled features; test patches: {said}. The axes have no unit.")
    return figure


def _patches_of(plane: pd.DataFrame, method: str, domain: str) -> int:
    return int(((plane["method"] == method) & (plane["domain"] == domain)).sum())


def _draw_plane(axes: Axes, plane: pd.DataFrame, colours: Mapping[str, str]) -> None:
    # Those of slides first, each hollow: photographs stay visible among them.
    for domain, (marker, filled, _) in DOMAIN_LOOKS.items():
        of = plane[plane["domain"] == domain]
        edges = of["class"].map(dict(colours)).fillna(style.RULE).to_numpy()
        faces = edges if filled else "none"
        axes.scatter(of["x"], of["y"], s=7, marker=marker, edgecolors=edges, facecolors=faces, linewidths=0.6)
    axes.set(xticks=[], yticks=[])
    axes.set_box_aspect(1)
    axes.spines[:].set(visible=True, color=style.RULE)


# Learning curves


def looks_of(methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and dashes of each method, by its place. Raises InputError for more than can be told apart."""
    looks = [{"color": colour, "linestyle": dashes} for dashes in DASHES for colour in COLOURS]
    if len(methods) > len(looks):
        raise InputError(
            f"expected at most {len(looks)} methods, whose curves can be told apart, found {len(methods)}: "
            f"{', '.join(methods)}; compare fewer"
        )
    return dict(zip(methods, looks, strict=False))


@style.styled
def learning_curves(curves: Mapping[tuple[str, int], pd.DataFrame], methods: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Each loss by epoch on validation patches, a line per method; of several seeds their mean.

    curves: by method and seed its `curve.tsv` (evaluation, epoch, validation_loss, validation_accuracy; of methods that
    see the target also validation_entropy, and of those with a domain loss validation_domain). One without rows learns
    nothing, and is named.
    """
    learnt: dict[str, pd.DataFrame] = {}
    for name in methods:
        tables = [rows for (method, _), rows in curves.items() if method == name and len(rows)]
        for rows in tables:
            columns = ("evaluation", "epoch", "validation_loss", "validation_accuracy")
            style.require(rows, columns, what=f"training curve of {name}")
        if tables:
            learnt[name] = pd.concat(tables).groupby("evaluation").mean(numeric_only=True)
    if not learnt:
        return style.nothing("No method was trained.")
    looks = looks_of(list(methods))
    figure = style.new(style.DOUBLE_COLUMN_MM, max(112, 20 + 6.5 * len(learnt)))
    panels = figure.subplots(2, 2, sharex=True)
    for panel, (column, words, logarithmic) in zip(panels.flat, LOSSES, strict=True):
        _draw_loss(panel, learnt, column, looks)
        panel.set_title(words, loc="left")
        # Kinds of domain loss differ by decades.
        known = pd.concat([rows[column] for rows in learnt.values() if column in rows] or [pd.Series(dtype=float)])
        if logarithmic and known[known > 0].max() > 10 * known[known > 0].min():
            panel.set_yscale("log", nonpositive="mask")
    losses = pd.concat([rows["validation_loss"] for rows in learnt.values()], ignore_index=True)
    # One early explosion must not flatten all that follows.
    panels[0, 0].set_ylim(0, loss_limit(pd.DataFrame({"train_loss": losses, "validation_loss": losses})))
    panels[0, 1].set_ylim(top=1.01)
    panels[0, 0].set_xlim(left=0)
    for panel in panels[1]:
        panel.set_xlabel("Epoch")
        panel.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    handles = [Line2D([], [], label=style.wrapped(title_of(methods, name, 40), 20), **looks[name]) for name in learnt]
    figure.legend(handles=handles, loc="outside right center")
    style.footnote(figure, _said_of_curves(curves, methods, learnt))
    return figure


def _draw_loss(
    axes: Axes, learnt: Mapping[str, pd.DataFrame], column: str, looks: Mapping[str, Mapping[str, Any]]
) -> None:
    known = {name: rows.dropna(subset=[column]) for name, rows in learnt.items() if column in rows}
    known = {name: rows for name, rows in known.items() if len(rows)}
    if not known:
        axes.text(0.5, 0.5, "no method has one", ha="center", color=style.FAINT, transform=axes.transAxes)
    for name, rows in known.items():
        dot = {"marker": "o", "markersize": 2.5} if len(rows) == 1 else {}
        axes.plot(rows["epoch"], rows[column], linewidth=1, **looks[name], **dot)


def _said_of_curves(
    curves: Mapping[tuple[str, int], pd.DataFrame],
    methods: Mapping[str, Mapping[str, Any]],
    learnt: Mapping[str, pd.DataFrame],
) -> str:
    seeds = len({seed for _, seed in curves})
    said = "Validation patches; of photographs without their labels."
    if seeds > 1:
        said += f" Means over {seeds} seeds."
    without = [methods[name]["title"] for name in methods if name not in learnt]
    return f"{said} Without training: {', '.join(without)}." if without else said
