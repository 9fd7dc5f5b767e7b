"""A cohort's tiles before and after their stain is normalised, and the stains of all its slides."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from workflow_scripts.lib import stains, tiles
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.stained_slides import KEPT, NO_TILES, NORMALISED
from workflow_scripts.lib.stains import Appearance, Colours, ColourTable

# Slides of each kind that are shown, and tiles of each.
SHOWN = {NORMALISED: 12, KEPT: 6}
PER_ROW = 2
TILES = 2
PICTURE_PX = 224
# Of a row of slides, in mm; a reason takes up to two lines.
HEIGHTS = {NORMALISED: 25, KEPT: 27}
MARKS = {NORMALISED: ("o", style.LOW), KEPT: ("X", style.HIGH)}
# Columns of the table to plot, with their names.
AXES = {
    "haematoxylin_max": ("haematoxylin_max", "eosin_max", "haematoxylin, 99th percentile", "eosin, 99th percentile"),
    "mean_l": ("mean_l", "mean_a", "mean lightness L*", "mean a* (green to red)"),
}


@dataclass(frozen=True)
class Example:
    """A slide to show. before, after: some tiles, (height, width, 3) uint8; reason: why its colours are kept, or ''."""

    slide_id: str
    reason: str
    before: Sequence[np.ndarray]
    after: Sequence[np.ndarray]


def read_examples(
    table: pd.DataFrame, stores: Mapping[str, str | Path], normalisations: Mapping[str, str | Path]
) -> list[Example]:
    """Recolour a few tiles of a few slides: those that are normalised, then those that keep their colours.

    table: `stained_slides.list_stains`; stores, normalisations: paths by slide id. Slides are drawn by a hash of their
    names and tiles by one of their places, so that a slide more changes no other's chance.
    """
    found = []
    for status, count in SHOWN.items():
        names = table.loc[table["status"] == status, "slide_id"]
        for slide_id in sorted(names, key=_lot)[:count]:
            normalisation = stains.read_normalisation(normalisations[slide_id])
            with tiles.open_store(stores[slide_id]) as store:
                places = [f"{column},{row}" for column, row in store.coords]
                drawn = sorted(sorted(range(len(places)), key=lambda index: _lot(places[index]))[:TILES])
                before = [tiles.decode(store.encoded(index)) for index in drawn]
            recolour = ColourTable(normalisation).recolour
            after = [_picture(recolour(pixels)) for pixels in before]
            found.append(Example(slide_id, normalisation.reason, [_picture(pixels) for pixels in before], after))
    return found


@style.styled
def before_and_after(table: pd.DataFrame, examples: Sequence[Example], target: Appearance, *, reference: str) -> Figure:
    """Examples as scanned and recoloured; above them, the reference and what was found of all slides.

    table: `stained_slides.list_stains`; target: the appearance of the reference, and `reference` its name.
    """
    if not examples:
        return style.nothing("No slide has a tile with tissue: there is no stain.")
    kinds = {status: [one for one in examples if bool(one.reason) == (status == KEPT)] for status in SHOWN}
    kinds = {status: of for status, of in kinds.items() if of}
    heights = [9 + HEIGHTS[status] * -(-len(of) // PER_ROW) for status, of in kinds.items()]
    figure = style.new(style.DOUBLE_COLUMN_MM, 62 + sum(heights))
    bands = figure.subfigures(len(heights) + 1, 1, height_ratios=[56, *heights])
    left, right = bands[0].subplots(1, 2, width_ratios=[1, 1.4])
    _draw_reference(left, target, reference)
    _draw_slides(right, table, target)
    for band, (status, of) in zip(bands[1:], kinds.items(), strict=True):
        _draw_examples(band, status, of, int((table["status"] == status).sum()))
    figure.suptitle(_title(table))
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)
    return figure


def _lot(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _picture(pixels: np.ndarray) -> np.ndarray:
    factor = max(1, len(pixels) // PICTURE_PX)
    return np.asarray(Image.fromarray(pixels).reduce(factor))


def _draw_reference(axes: Axes, target: Appearance, reference: str) -> None:
    """The colours of the reference: each stain from none to its maximum, or from dark to light."""
    if isinstance(target, Colours):
        steps = np.linspace(-2, 2, 256)
        lightness = np.clip(target.means[0] + steps * target.deviations[0], 0, 100)
        colours = {"mean colour, ± 2 SD of L*": np.stack(stains.srgb(np, lightness, *target.means[1:]), axis=1)}
    else:
        shares = np.linspace(0, 1, 256)[:, None]
        colours = {
            f"{name}, 0 to {most:.2f}": 255 * np.exp(-shares * most * np.array(vector))
            for name, vector, most in zip(("haematoxylin", "eosin"), target.vectors, target.maxima, strict=True)
        }
    for row, (name, strip) in enumerate(colours.items()):
        pixels = np.clip(strip, 0, 255).astype(np.uint8)[None]
        axes.imshow(pixels, extent=(0, 1, row + 0.6, row), aspect="auto", interpolation="bilinear")
        axes.text(0, row + 0.66, name, va="top", fontsize=6.5)
    axes.set_xlim(0, 1)
    axes.set_ylim(2.1, -0.05)
    axes.set_axis_off()
    name = "published values" if reference == "published" else reference
    axes.set_title("Reference", loc="left", pad=14)
    axes.annotate(
        style.short(name, 46), (0, 1), (0, 4), xycoords="axes fraction", textcoords="offset points", fontsize=6.5,
        parse_math=False,
    )  # fmt: skip


def _draw_slides(axes: Axes, table: pd.DataFrame, target: Appearance) -> None:
    """What was found of each slide, with the reference."""
    x, y, x_name, y_name = AXES["mean_l" if isinstance(target, Colours) else "haematoxylin_max"]
    for status, (marker, colour) in MARKS.items():
        of = table[(table["status"] == status) & table[x].notna()]
        if len(of):
            look = {"s": 16, "linewidth": 0.4, "edgecolor": "white", "clip_on": False, "zorder": 3}
            axes.scatter(of[x], of[y], marker=marker, color=colour, label=status, **look)
    values = target.means if isinstance(target, Colours) else target.maxima
    axes.scatter(
        *values[:2],
        marker="*",
        s=90,
        color=style.PUBLISHED,
        edgecolor="white",
        linewidth=0.5,
        label="reference",
        zorder=4,
    )
    axes.margins(0.1)
    if not isinstance(target, Colours):
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
    axes.set_xlabel(x_name)
    axes.set_ylabel(y_name)
    axes.set_title("All slides, as scanned", loc="left")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _draw_examples(band: Any, status: str, examples: Sequence[Example], total: int) -> None:
    shown = "" if len(examples) == total else f", {len(examples)} shown"
    said = "each tile as scanned, and to its right recoloured" if status == NORMALISED else "tiles as scanned, and why"
    band.suptitle(
        f"{style.count(total, 'slide')} {status}{shown}: {said}",
        x=0.01,
        ha="left",
        fontweight="bold",
        fontsize=7.5,
        color=MARKS[status][1],
    )
    panels = band.subplots(-(-len(examples) // PER_ROW), PER_ROW, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, example in zip(panels.flat, examples, strict=False):
        _draw_example(axes, example)


def _draw_example(axes: Axes, example: Example) -> None:
    """A slide's tiles side by side, each with what it becomes; where colours are kept, the tiles and the reason."""
    left = 0.0
    for before, after in zip(example.before, example.after, strict=True):
        for picture in (before,) if example.reason else (before, after):
            axes.imshow(picture, extent=(left, left + 1, 1, 0), interpolation="antialiased")
            left += 1.03
        left += 0.1
    axes.set_xlim(0, 2.2 * TILES)
    axes.set_ylim(1, 0)
    axes.set_anchor("SW")
    reason = f"\n{style.wrapped(example.reason, 80)}" if example.reason else ""
    title = style.short(example.slide_id, 60) + reason
    axes.set_title(title, loc="left", fontsize=5.5, fontweight="normal", pad=2, parse_math=False)


def _title(table: pd.DataFrame) -> str:
    counts = table["status"].value_counts()
    said = [
        f"{counts.get(NORMALISED, 0):,} of {style.count(len(table), 'slide')} normalised by {table['method'].iloc[0]}"
    ]
    if counts.get(KEPT):
        said.append(f"{counts[KEPT]:,} kept as scanned")
    if counts.get(NO_TILES):
        said.append(f"{counts[NO_TILES]:,} without tiles")
    return ", ".join(said)
