"""Patches of each class of both domains, of slides above and of photographs below: Fig. 1 of microscope adaptation."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.lib import tiles
from workflow_scripts.lib.adaptation_data import DOMAINS
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.figures.adaptation import DOMAIN_WORDS
from workflow_scripts.lib.figures.origin import readable
from workflow_scripts.lib.figures.transfer_tiles import read_tile
from workflow_scripts.lib.tile_sources import TileSource

# Patches of a class and domain: so many rows, and so many of all classes side by side, if that leaves each its share.
DOWN = 2
SIDE_BY_SIDE = 9
FEWEST, MOST = 2, 4
# The white line between two patches, as a share of a patch.
GAP = 0.04


class Examples(NamedTuple):
    """Patches, (px, px, 3) uint8 each, by domain and class, in the order of both; and their µm/px."""

    patches: Mapping[tuple[str, str], Sequence[np.ndarray]]
    classes: tuple[str, ...]
    mpp: float


def patches_across(classes: int) -> int:
    """How many patches of a class stand side by side."""
    return int(np.clip(SIDE_BY_SIDE // classes, FEWEST, MOST))


def read_examples(
    patches: pd.DataFrame, sources: Mapping[tuple[str, str], TileSource], *, classes: Sequence[str], seed: int
) -> Examples:
    """Draw patches of each domain and class by a hash of the seed and their place, from as many slides as there are.

    patches: `tables/patches.tsv` (domain, slide_id, col, row, class), of which each patch counts once. sources: the
    tiles of each slide, by domain and slide_id, in the colours in which they are to be seen.
    """
    style.require(patches, ("domain", "slide_id", "col", "row", "class"), what="tables/patches.tsv")
    known = patches.drop_duplicates(["domain", "slide_id", "col", "row"])
    number = DOWN * patches_across(len(classes))
    found = {}
    for domain in DOMAINS:
        for name in classes:
            of = known[(known["domain"] == domain) & (known["class"] == name)]
            places = zip(of["slide_id"], of["col"].astype(int), of["row"].astype(int), strict=True)
            lots = pd.DataFrame(sorted((_lot(seed, domain, *place), *place) for place in places))
            if len(lots):
                # The first of each slide come before the second of any.
                lots = lots.assign(turn=lots.groupby(1).cumcount()).sort_values("turn", kind="stable").head(number)
            drawn = lots.itertuples(index=False)
            found[domain, name] = [read_tile(sources[domain, of[1]], (of[2], of[3])) for of in drawn]
    with tiles.open_store(next(iter(sources.values())).store) as store:
        mpp = float(store.attributes["mpp"])
    return Examples(found, tuple(classes), mpp)


def _lot(*named: object) -> str:
    return hashlib.sha256(":".join(map(str, named)).encode()).hexdigest()


@style.styled
def example_patches(examples: Examples) -> Figure:
    """Fig. 1: classes in columns, slides above and photographs below, several patches each, with a scale bar."""
    px = next((len(one) for of in examples.patches.values() for one in of), 0)
    if not px:
        return style.nothing("No test patch has a class.")
    across = patches_across(len(examples.classes))
    side = (style.DOUBLE_COLUMN_MM - 8) / len(examples.classes) - 3
    # In bold letters, of less than 2 mm each.
    titles = [style.wrapped(style.short(readable(name), 40), max(9, int(side / 1.9))) for name in examples.classes]
    heading_mm = 3 * max(title.count("\n") + 1 for title in titles)
    figure = style.new(style.DOUBLE_COLUMN_MM, 15 + heading_mm + len(DOMAINS) * (side * DOWN / across + 1))
    panels = figure.subplots(len(DOMAINS), len(examples.classes), squeeze=False)
    for row, domain in zip(panels, DOMAINS, strict=True):
        for axes, name in zip(row, examples.classes, strict=True):
            _draw_block(axes, examples.patches[domain, name], across, px, examples.mpp)
        row[0].set_ylabel(DOMAIN_WORDS[domain].capitalize())
    for axes, title in zip(panels[0], titles, strict=True):
        axes.set_title(title, loc="left")
    block_mm = across * px * examples.mpp / 1000
    style.scale_bar(panels[-1, 0], block_mm, block_mm * DOWN / across)
    said = f"A patch: {px} px at {examples.mpp:.3g} µm/px, {px * examples.mpp:.3g} µm wide. "
    style.footnote(figure, f"{said}Drawn at random from the test sets, of as many slides and photographs as there are.")
    return figure


def _draw_block(axes: Axes, patches: Sequence[np.ndarray], across: int, px: int, mpp: float) -> None:
    """Patches in rows on white, in mm of tissue, from the upper left."""
    gap = max(1, round(GAP * px))
    block = np.full((DOWN * (px + gap) - gap, across * (px + gap) - gap, 3), 255, np.uint8)
    for place, pixels in enumerate(patches):
        down, right = (part * (px + gap) for part in divmod(place, across))
        block[down : down + px, right : right + px] = pixels
    height, width = (side * mpp / 1000 for side in block.shape[:2])
    axes.imshow(block, extent=(0, width, height, 0), interpolation="antialiased")
    if not patches:
        axes.text(width / 2, height / 2, "none", ha="center", va="center", color=style.FAINT)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
