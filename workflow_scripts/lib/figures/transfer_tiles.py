"""Sample tiles of each cohort that detectors of tumour learn from: Fig. 2 of cross-cancer transfer."""

import hashlib
import heapq
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from workflow_scripts.lib import stains, tile_sources, tiles
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.figures.origin import readable
from workflow_scripts.lib.tile_sources import TileSource
from workflow_scripts.lib.tumour_filters import annotated_tiles

# Tiles of each row, and the rows of each cohort: other tissue, then tumour, as in the paper's Fig. 2.
TILES = 6
ROWS = {0: "benign", 1: "tumour"}
# Of all pictures of the figure together, in mm.
HIGHEST_MM = 210.0
HEADING_MM = 10.0


@dataclass(frozen=True)
class Sample:
    """Tiles of a cohort as models see them.

    tiles: for 0 (other tissue) and 1 (tumour) at most TILES of (height, width, 3) uint8. mpp: their µm/px. normalised:
    the method that their stain was normalised by, or ''. slides: how many slides they were drawn from.
    """

    cohort: str
    tiles: Mapping[int, Sequence[np.ndarray]]
    mpp: float
    normalised: str
    slides: int


def read_samples(
    slides: Sequence[tuple[str, str]],
    sources: Sequence[TileSource],
    labels: Sequence[str | Path],
    *,
    label: Mapping[str, str],
    seed: int,
) -> list[Sample]:
    """Draw tiles of each cohort by a hash of the seed and the tile's place, from as many slides as there are.

    slides: cohort and slide_id of each annotated slide; sources, labels: in the same order its tiles, and its
    `annotations/tiles/<slide>.tsv`. label: by cohort the label of tumour. The cohorts are in the order of their slides.
    """
    found = []
    for cohort in dict.fromkeys(cohort for cohort, _ in slides):
        drawn: dict[int, list[tuple[int, bytes, int, tuple[int, int]]]] = {value: [] for value in ROWS}
        of_cohort = [number for number, (name, _) in enumerate(slides) if name == cohort]
        for number in of_cohort:
            table = annotated_tiles(labels[number], label=label[cohort])
            for value, draws in drawn.items():
                places = table.loc[table["label"] == value, ["col", "row"]].itertuples(index=False, name=None)
                lots = heapq.nsmallest(TILES, ((_lot(seed, slides[number][1], *place), place) for place in places))
                # The first of each slide come before the second of any.
                draws += [(turn, lot, number, place) for turn, (lot, place) in enumerate(lots)]
        chosen = {value: sorted(draws)[:TILES] for value, draws in drawn.items()}
        pictures = {
            value: [read_tile(sources[number], place) for *_, number, place in of] for value, of in chosen.items()
        }
        mpp, method = _described([sources[number] for number in of_cohort])
        found.append(Sample(cohort, pictures, mpp, method, len(of_cohort)))
    return found


def _lot(*named: object) -> bytes:
    return hashlib.sha256(":".join(map(str, named)).encode()).digest()


def read_tile(source: TileSource, place: tuple[int, int]) -> np.ndarray:
    """The tile at a place, column and row, as models see it, (height, width, 3) uint8; InputError where it is not."""
    with tiles.open_store(source.store) as store:
        positions = np.flatnonzero((store.coords == place).all(axis=1))
        if not len(positions):
            raise InputError(f"{source.store}: no tile at column {place[0]}, row {place[1]}; label the tiles again")
        pixels = tiles.decode(store.encoded(int(positions[0])))
    normalisation = tile_sources.normalisation_of(source)
    return pixels if normalisation is None else stains.recolour(pixels, normalisation)


def _described(sources: Sequence[TileSource]) -> tuple[float, str]:
    """The µm/px of some slides' tiles, and how their stain is normalised, at tiling or where models read them."""
    with tiles.open_store(sources[0].store) as store:
        mpp, at_tiling = float(store.attributes["mpp"]), json.loads(store.attributes.get("stain", "{}"))
    on_read = tile_sources.normalisation_of(sources[0])
    return mpp, on_read.method if on_read else at_tiling.get("method", "")


@style.styled
def sample_tiles(samples: Sequence[Sample]) -> Figure:
    """Fig. 2: for each cohort a row of tiles of other tissue and one of tumour, as models see them."""
    if not samples:
        return style.nothing("No slide is annotated.")
    tile_mm = min(27.0, (HIGHEST_MM / len(samples) - HEADING_MM) / len(ROWS) - 1.5)
    band_mm = HEADING_MM + len(ROWS) * (tile_mm + 1.5)
    figure = style.new(9 + TILES * (tile_mm + 1.5), band_mm * len(samples) + 6)
    bands = figure.subfigures(len(samples), 1, squeeze=False)[:, 0]
    for band, sample in zip(bands, samples, strict=True):
        _draw_cohort(band, sample)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.03, wspace=0.01, hspace=0.01)
    return figure


def _draw_cohort(band: SubFigure, sample: Sample) -> None:
    side = next((len(pixels) for of in sample.tiles.values() for pixels in of), 0)
    size = f"{side} px at {sample.mpp:g} µm/px, {side * sample.mpp:.3g} µm wide" if side else "no tile"
    stain = f"; stain normalised ({sample.normalised.replace('_', ' ')})" if sample.normalised else ""
    band.suptitle(
        f"{style.short(readable(sample.cohort), 40)}: {style.count(sample.slides, 'slide')}; {size}{stain}",
        x=0.01, ha="left", fontsize=7.5, fontweight="bold",
    )  # fmt: skip
    panels = band.subplots(len(ROWS), TILES)
    for row, (value, word) in zip(panels, ROWS.items(), strict=True):
        for place, axes in enumerate(row):
            _draw_tile(axes, sample.tiles[value][place] if place < len(sample.tiles[value]) else None)
        row[0].set_ylabel(word)
        if not sample.tiles[value]:
            row[0].text(0.5, 0.5, "none", ha="center", va="center", color=style.FAINT, transform=row[0].transAxes)


def _draw_tile(axes: Axes, pixels: np.ndarray | None) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_box_aspect(1)
    if pixels is not None:
        axes.imshow(pixels, interpolation="antialiased")
