"""How far primary tumours lie from metastases, and whether models then do better: Fig. 5 of metastatic origin."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter

from workflow_scripts.lib import published
from workflow_scripts.lib.divergence import READINGS
from workflow_scripts.lib.domains import METASTATIC, PRIMARY
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.figures.origin import DOMAIN_COLOURS, readable

# The plane of the t-SNE: points of the grid along a side, and the width of the kernel as a share of the side.
GRID = 160
KERNEL = 0.02
# The regions that are drawn are the smallest that hold these shares of the tiles; of the first the colour is full.
REGIONS = (0.5, 0.9)
TINTS = (0.75, 0.3)
DASHES = {PRIMARY: "solid", METASTATIC: (0, (3, 1.5))}
ACROSS = 5
# Red and blue as in the paper's Fig. 5B; what they compare is not the same in its text and in its caption.
RED, BLUE = "#B4232A", "#0063B1"
COMPARISONS = {
    "counterpart": (BLUE, "each primary class against its metastases"),
    "everything_else": (RED, "each primary class against all other tiles"),
    "other_metastases": (BLUE, "each primary class against each other class of metastases"),
    "other_primaries": (RED, "each primary class against each other primary class"),
}
# Where the place of a name is along the name.
ANCHORS = {"left": 0.0, "center": 0.5, "right": 1.0}
# Nats; a divergence below is drawn here, since a logarithm has no zero.
LOWEST = 1e-3
WHISKERS = (5, 95)


# Fig. 5A


@style.styled
def tsne_densities(plane: pd.DataFrame, *, classes: Sequence[str]) -> Figure:
    """Fig. 5A: where the primary and the metastatic tiles of each class lie in the plane of the t-SNE.

    `plane`: `tables/tsne.tsv` (class, domain, x, y), a row per tile. classes: the panels, in order; those without a
    tile are left out. Densities are of a normal kernel, of the same width everywhere; regions are the smallest that
    hold 50 % and 90 % of a domain's tiles. Colours darken where regions overlap, and the outlines of the two differ.
    """
    style.require(plane, ("class", "domain", "x", "y"), what="tables/tsne.tsv")
    shown = [name for name in classes if (plane["class"] == name).any()]
    if not shown:
        return style.nothing("No tile was laid out.")
    down = -(-len(shown) // ACROSS)
    figure = style.new(style.DOUBLE_COLUMN_MM, 20 + 41 * down)
    panels = figure.subplots(down, ACROSS, squeeze=False).flatten()
    for panel in panels[len(shown) :]:
        panel.set_axis_off()
    square = _square(plane)
    everything = _density(plane, square)
    for panel, name in zip(panels, shown, strict=False):
        of_class = plane[plane["class"] == name]
        counts = _draw_densities(panel, of_class, everything, square)
        panel.set_title(style.wrapped(readable(name), 22), loc="left", pad=9, fontsize=6.5)
        near = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": 5.5, "color": style.FAINT}
        panel.annotate(counts, (0, 1), (0, 2), **near)
    handles = [
        Patch(facecolor=_mixed({domain: TINTS[0]}), edgecolor=colour, linestyle=DASHES[domain], label=domain)
        for domain, colour in DOMAIN_COLOURS.items()
    ]
    handles.append(Patch(facecolor=_mixed(dict.fromkeys(DOMAIN_COLOURS, TINTS[0])), label="both"))
    handles.append(Patch(facecolor="none", edgecolor=style.RULE, label="all tiles of the study"))
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    style.footnote(
        figure, "Dark and light: the smallest regions with 50 % and 90 % of a domain's tiles. Outlines: of the latter."
    )
    return figure


def _square(plane: pd.DataFrame) -> tuple[float, float, float]:
    """The left and lower edge and the side of a square around all tiles, with room for the kernel."""
    low, high = plane[["x", "y"]].min().to_numpy(float), plane[["x", "y"]].max().to_numpy(float)
    side = float(max(*(high - low), 1e-9)) / (1 - 6 * KERNEL)
    left, lower = (low + high - side) / 2
    return left, lower, side


def _density(tiles: pd.DataFrame, square: tuple[float, float, float]) -> np.ndarray:
    """The share of tiles at each point of the grid (y, x), by a normal kernel."""
    left, lower, side = square
    edges = np.linspace(0, 1, GRID + 1)
    counts, _, _ = np.histogram2d((tiles["y"] - lower) / side, (tiles["x"] - left) / side, bins=[edges, edges])
    steps = np.arange(GRID)
    kernel = np.exp(-(((steps[:, None] - steps) / (KERNEL * GRID)) ** 2) / 2)
    density = kernel @ counts @ kernel
    return density / max(density.sum(), 1e-300)


def _level(density: np.ndarray, share: float) -> float:
    """The density above which lies a share of all."""
    falling = np.sort(density, axis=None)[::-1]
    return float(falling[min(np.searchsorted(falling.cumsum(), share), falling.size - 1)])


def _draw_densities(axes: Axes, tiles: pd.DataFrame, everything: np.ndarray, square: tuple[float, float, float]) -> str:
    """Draw the two domains over each other, and return how many tiles each has."""
    left, lower, side = square
    extent = (left, left + side, lower, lower + side)
    image, counts = np.ones((GRID, GRID, 3)), []
    lines = []
    for domain, colour in DOMAIN_COLOURS.items():
        of_domain = tiles[tiles["domain"] == domain]
        counts.append(f"{len(of_domain):,}")
        if of_domain.empty:
            continue
        density = _density(of_domain, square)
        inner, outer = (_level(density, share) for share in REGIONS)
        tint = np.where(density >= inner, TINTS[0], np.where(density >= outer, TINTS[1], 0))[..., None]
        image *= 1 - tint * (1 - np.array(to_rgb(colour)))
        lines.append((density, outer, colour, DASHES[domain]))
    axes.imshow(image, extent=extent, origin="lower", interpolation="antialiased")
    outline = {"extent": extent, "origin": "lower", "linewidths": 0.6}
    axes.contour(everything, levels=[_level(everything, 0.99)], colors=[style.RULE], **outline)
    for density, outer, colour, dashes in lines:
        axes.contour(density, levels=[outer], colors=[colour], linestyles=[dashes], **outline)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(visible=True, color=style.RULE)
    return " and ".join(counts) + " tiles"


def _mixed(tints: Mapping[str, float]) -> tuple[float, float, float]:
    """The colour of some domains over each other, each with its tint."""
    mixed = np.ones(3)
    for domain, tint in tints.items():
        mixed *= 1 - tint * (1 - np.array(to_rgb(DOMAIN_COLOURS[domain])))
    return tuple(mixed.tolist())


# Fig. 5B


@style.styled
def divergence_boxes(table: pd.DataFrame, *, classes: Sequence[str]) -> Figure:
    """Fig. 5B in both readings: divergences of the latent features by class, as in the paper's text and its caption.

    `table`: `tables/divergence.tsv`. classes: their order; those that the table lacks are left out. A box is over the
    latent features, and over the other classes where it compares with each of them; whiskers reach from the 5th to the
    95th percentile; the dot is the mean, which Fig. 5C takes of a class and its metastases.
    """
    style.require(table, ("reading", "comparison", "class", "kl", "estimator"), what="tables/divergence.tsv")
    shown = [name for name in classes if (table["class"] == name).any()]
    if not shown:
        return style.nothing("No divergence was estimated.")
    width = style.DOUBLE_COLUMN_MM
    longest = max(map(len, shown))
    figure = style.new(width, 150 + 0.95 * longest)
    panels = figure.subplots(len(READINGS), 1, sharex=True, sharey=True)
    for panel, (reading, comparisons) in zip(panels, READINGS.items(), strict=True):
        for comparison, offset in zip(comparisons, (-0.2, 0.2), strict=True):
            rows = table[(table["reading"] == reading) & (table["comparison"] == comparison)]
            _draw_boxes(panel, rows, shown, offset, COMPARISONS[comparison][0])
        panel.set_yscale("log")
        panel.set_ylabel("KL divergence (nats)")
        panel.yaxis.set_major_locator(LogLocator(base=10))
        panel.yaxis.set_minor_formatter(NullFormatter())
        for edge in np.arange(0.5, len(shown) - 1):
            panel.axvline(edge, color=style.RULE, linewidth=0.4, zorder=0)
        words = [COMPARISONS[comparison] for comparison in comparisons]
        handles = [Patch(color=colour, label=said) for colour, said in words]
        panel.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.3, handlelength=1
        )
        panel.set_title(
            f"As the paper's {reading} has it" if reading == "text" else "As its caption has it", loc="left", pad=16
        )
    panels[0].set_ylim(*_limits(table[table["class"].isin(shown)]))
    panels[0].set_xlim(-0.5, len(shown) - 0.5)
    panels[-1].set_xticks(range(len(shown)), [readable(name) for name in shown], rotation=90)
    panels[-1].tick_params(axis="x", length=0)
    estimators = ", ".join(dict.fromkeys(table["estimator"]))
    style.footnote(
        figure,
        f"KL(primary class || other), estimator: {estimators}; a value per latent feature, and per other class where "
        f"there are several. Boxes: quartiles and median; whiskers: {WHISKERS[0]}th to {WHISKERS[1]}th percentile; "
        f"dots: means. Values below {LOWEST:g} are drawn there.",
    )
    return figure


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """Limits that hold all whiskers and means."""
    known = table.dropna(subset=["kl"])
    if known.empty:
        return LOWEST, 1
    boxes = known.groupby(["comparison", "class"])["kl"]
    low, high = (boxes.quantile(percent / 100) for percent in WHISKERS)
    return max(low.min(), LOWEST) / 1.3, max(high.max(), boxes.mean().max(), LOWEST * 10) * 1.3


def _draw_boxes(axes: Axes, rows: pd.DataFrame, classes: Sequence[str], offset: float, colour: str) -> None:
    for place, name in enumerate(classes):
        values = rows.loc[rows["class"] == name, "kl"].dropna().to_numpy(float)
        if not len(values):
            where = {"xycoords": axes.get_xaxis_transform(), "ha": "center", "fontsize": 5, "color": colour}
            axes.annotate("NA", (place + offset, 0.02), **where)
            continue
        axes.boxplot(
            np.maximum(values, LOWEST),
            positions=[place + offset],
            widths=0.3,
            whis=WHISKERS,
            patch_artist=True,
            showfliers=False,
            manage_ticks=False,
            boxprops={"facecolor": colour, "edgecolor": colour, "linewidth": 0.6},
            medianprops={"color": "white", "linewidth": 1.4, "solid_capstyle": "butt"},
            whiskerprops={"color": colour, "linewidth": 0.8},
            capprops={"color": colour, "linewidth": 0.8},
        )
        mean = max(values.mean(), LOWEST)
        axes.plot(
            place + offset, mean, "o", markersize=3, color=style.INK, markeredgecolor="white", markeredgewidth=0.5
        )


# Fig. 5C


@style.styled
def divergence_against_auroc(points: pd.DataFrame, correlation: pd.DataFrame) -> Figure:
    """Fig. 5C: how far a class' metastases are from its primary tumours, against the AUROC of the class' slides.

    `points`: `tables/divergence_auroc.tsv` (class, kl, auroc). `correlation`: the row of
    `tables/divergence_correlation.tsv`. The paper's correlation is printed beside ours.
    """
    style.require(points, ("class", "kl", "auroc"), what="tables/divergence_auroc.tsv")
    columns = ("n", "pearson", "pearson_low", "pearson_high", "pearson_p", "spearman", "spearman_p")
    style.require(correlation, columns, what="tables/divergence_correlation.tsv")
    if points.empty:
        return style.nothing("No class has both a divergence and an AUROC.")
    figure = style.new(130, 100)
    axes = figure.subplots()
    axes.scatter(points["kl"], points["auroc"], s=18, color=style.INK, linewidths=0, zorder=3, clip_on=False)
    lowest = max(0, np.floor(points["auroc"].min() * 10 - 0.5) / 10)
    if lowest <= 0.5:
        axes.axhline(0.5, color=style.RULE, linewidth=0.7, zorder=0)
    axes.set_xlabel("Mean KL divergence of primary tumours from their metastases (nats)")
    axes.set_ylabel("AUROC of the class, held-out slides")
    axes.set_xlim(0, points["kl"].max() * 1.08 or 1)
    axes.set_ylim(lowest, 1.02)
    row = correlation.iloc[0]
    stated = published.value("divergence_auroc_correlation", cohort="")
    detail = f"{_correlation(row)}\nThe paper: Pearson {stated:g}, of fourteen classes"
    style.heading(axes, "Divergence and performance", detail)
    _name_points(figure, axes, points)
    return figure


def _correlation(row: Mapping[str, Any]) -> str:
    if not np.isfinite(row["pearson"]):
        return f"Correlation: NA, of {row['n']:.0f} with a divergence and an AUROC"
    known = np.isfinite([row["pearson_low"], row["pearson_high"]]).all()
    interval = f" (95 % {row['pearson_low']:.2f} to {row['pearson_high']:.2f})" if known else ""
    said = (
        f"Pearson {row['pearson']:.2f}{interval}, {style.p_text(row['pearson_p'])}; "
        f"Spearman {row['spearman']:.2f}, {style.p_text(row['spearman_p'])}; {row['n']:.0f} classes"
    )
    return said.replace("-", "−")


def _name_points(figure: Figure, axes: Axes, points: pd.DataFrame) -> None:
    """Write each class beside its dot, where no other name, dot or line is: near before far, right before left."""
    figure.draw_without_rendering()
    page = axes.get_window_extent()
    dots = axes.transData.transform(points[["kl", "auroc"]].to_numpy(float))
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in dots]
    pixels = figure.dpi / 72
    for number, ((x, y), name) in enumerate(zip(dots, points["class"], strict=True)):
        words = figure.text(0, 0, readable(name), fontsize=6)
        extent = words.get_window_extent()
        words.remove()
        others = taken[:number] + taken[number + 1 :]
        best = None
        for dx, dy, anchor in _offsets():
            left = x + dx * pixels - ANCHORS[anchor] * extent.width
            middle = y + dy * pixels
            box = (left - 2, middle - extent.height / 2, left + extent.width + 2, middle + extent.height / 2)
            line = _line((x, y), (x + dx * pixels, middle)) if np.hypot(dx, dy) > 8 else []
            crowd = sum(_overlap(one, other) for one in (box, *line) for other in others) + 10 * _beyond(box, page)
            if best is None or crowd < best[0]:
                best = crowd, (dx, dy), anchor, [box, *line]
            if not crowd:
                break
        _, offset, anchor, boxes = best
        taken += boxes
        arrow = {"arrowstyle": "-", "color": style.FAINT, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2}
        axes.annotate(
            readable(name),
            points[["kl", "auroc"]].iloc[number],
            offset,
            textcoords="offset points",
            ha=anchor,
            va="center",
            fontsize=6,
            arrowprops=arrow | {"relpos": (ANCHORS[anchor], 0.5)} if len(boxes) > 1 else None,
        )


def _line(start: tuple[float, float], end: tuple[float, float]) -> list[tuple[float, float, float, float]]:
    """Small boxes along a line from a dot to its name."""
    places = np.linspace(start, end, 9)[1:-1]
    return [(x - 1, y - 1, x + 1, y + 1) for x, y in places.tolist()]


def _offsets() -> list[tuple[float, float, str]]:
    """Places for a name around its dot, in points, the best first."""
    near = [(5, 0, "left"), (-5, 0, "right"), (0, 6, "center"), (0, -6, "center")]
    far = [
        (dx * step, dy * step, "left" if dx > 0 else "right" if dx < 0 else "center")
        for step in (9, 14, 20, 28, 38)
        for dx, dy in ((0.7, 0.7), (0.7, -0.7), (-0.7, 0.7), (-0.7, -0.7), (0, 1), (0, -1))
    ]
    return near + far


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return across * down if across > 0 and down > 0 else 0


def _beyond(box: Sequence[float], page: Any) -> float:
    """By how much a box reaches beyond the axes."""
    return max(0, page.x0 - box[0]) + max(0, box[2] - page.x1) + max(0, page.y0 - box[1]) + max(0, box[3] - page.y1)
