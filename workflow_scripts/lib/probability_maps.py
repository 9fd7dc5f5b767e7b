"""Maps of the probability of tumour, pixel by pixel, from that of a slide's tiles; and how they meet the annotations.

A map has square pixels of `mpp` µm/px, which need not be the slide's own, side by side from the slide's upper left
corner. A pixel is where its centre is: it belongs to the map where its centre lies on the slide, to the tile that its
centre lies in, and is tumour where its centre lies within the tumour's outline; of outlines that share a side, a centre
on that side is within the one to the right, or below. A map is made strip by strip, and of its pixels only counts are
kept, so that memory does not grow with the slide.

Source: cross-cancer transfer, 3.2 and Table 1 (pixel-level AUC), which does not say how the map is made of tiles.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pandas as pd
import shapely
from shapely import MultiPolygon, Polygon

from workflow_scripts.lib import annotated_slides, tile_classification, tumour_filters
from workflow_scripts.lib.annotations import place_of_label
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.evaluation import Pairs
from workflow_scripts.lib.files import writing
from workflow_scripts.lib.tile_scores import scores_at
from workflow_scripts.lib.tiles import Lattice

log = logging.getLogger(__name__)

NEAREST, BILINEAR = "nearest", "bilinear"
INTERPOLATIONS = (NEAREST, BILINEAR)
TISSUE, IMAGE = "tissue", "image"
DOMAINS = (TISSUE, IMAGE)
# Pixels of a map that are in memory together.
STRIP_PIXELS = 500_000
# The most bins of probability, and how many pixels of all slides together show where their edges are to be.
BINS = 2**16
SAMPLED_PIXELS = 2**22


class JudgedSlide(NamedTuple):
    """A slide's tiles with their probabilities, and where there is tumour.

    coords: (n, 2) int, column and row on `lattice`; probabilities: (n,) float32; width, height: level-0 px; tumour:
    in level-0 px.
    """

    slide_id: str
    lattice: Lattice
    width: int
    height: int
    coords: np.ndarray
    probabilities: np.ndarray
    tumour: Polygon | MultiPolygon


class Strip(NamedTuple):
    """Some rows of a map: probability (rows, columns) float32, is_tumour and counts (rows, columns) bool.

    counts: whether a pixel is of the map's domain; where it is not, the probability means nothing.
    """

    probability: np.ndarray
    is_tumour: np.ndarray
    counts: np.ndarray


class PixelCounts(NamedTuple):
    """How many pixels of n slides have a probability in each of k bins, from the lowest up.

    slides: their ids; counts: (n, 2, k) int64, pixels that are no tumour and those that are; edges: (k - 1,) float64,
    between the bins. mpp (µm/px), interpolation and domain are those of the maps.
    """

    slides: tuple[str, ...]
    counts: np.ndarray
    edges: np.ndarray
    mpp: float
    interpolation: str
    domain: str


# The map


def strips(slide: JudgedSlide, *, mpp: float, interpolation: str, domain: str) -> Iterator[Strip]:
    """Yield a slide's map, of pixels of `mpp` µm/px, in strips from the top.

    - interpolation `nearest`: a pixel has the probability of its tile. `bilinear`: between the centres of the four
      tiles around it, weighted by how near they are; of these, tiles without a probability (background) have no
      weight, and do not pull their neighbours down.
    - domain `tissue`: the pixels of tiles that have a probability. `image`: every pixel of the map; where there is no
      such tile the probability is 0.

    Memory is bounded by STRIP_PIXELS and the number of tiles. Raises InputError for settings out of range.
    """
    _check_settings(mpp, interpolation, domain)
    side, tile = mpp / slide.lattice.slide_mpp, slide.lattice.tile_level0_px
    across, down = ((np.arange(_pixels(length, side)) + 0.5) * side for length in (slide.width, slide.height))
    grid = np.full((slide.lattice.rows, slide.lattice.columns), np.nan, np.float32)
    grid[slide.coords[:, 1], slide.coords[:, 0]] = slide.probabilities
    # A frame of tiles without a probability, so that every pixel has a tile, and four around it.
    grid = np.pad(grid, 1, constant_values=np.nan)
    upper, lower = _sides(slide.tumour)
    interpolate = _bilinear if interpolation == BILINEAR else _nearest
    step = max(1, STRIP_PIXELS // max(1, len(across)))
    for top in range(0, len(down), step):
        centres = down[top : top + step]
        places = across / tile, centres / tile
        has_tile = _nearest(~np.isnan(grid), *places)
        # In 64 bits a tile's own probability may come out a hair off, and rounds to itself again.
        probability = np.where(has_tile, interpolate(grid, *places), 0).astype(np.float32)
        is_counted = has_tile if domain == TISSUE else np.ones_like(has_tile)
        yield Strip(probability, _within(upper, lower, across, centres), is_counted)


def _check_settings(mpp: float, interpolation: str, domain: str) -> None:
    if not mpp > 0:
        raise InputError(f"a map of probabilities needs µm/px above 0, found {mpp}")
    for name, found, known in (("interpolation", interpolation, INTERPOLATIONS), ("domain", domain, DOMAINS)):
        if found not in known:
            raise InputError(f"{name} of a map of probabilities: expected one of {', '.join(known)}, found {found!r}")


def _pixels(length: int, side: float) -> int:
    """How many pixels of this side have their centre within a length, both in level-0 px."""
    return int(np.ceil(length / side - 0.5))


def _nearest(grid: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """What the framed grid has at places (columns,) and (rows,), in tiles: (rows, columns)."""
    # Past the lattice, where the slide has a part of a tile, is the frame.
    column, row = (
        np.minimum(np.floor(places).astype(int) + 1, size - 1)
        for places, size in zip((across, down), grid.shape[::-1], strict=True)
    )
    return grid[row][:, column]


def _bilinear(grid: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Between the centres of the tiles of the framed grid, float64; NaN where none of the four has a probability."""
    (left, to_right), (upper, to_lower) = (
        _neighbours(places, size) for places, size in zip((across, down), grid.shape[::-1], strict=True)
    )

    def between(values: np.ndarray) -> np.ndarray:
        mixed = values[upper] * (1 - to_lower)[:, None] + values[upper + 1] * to_lower[:, None]
        return mixed[:, left] * (1 - to_right) + mixed[:, left + 1] * to_right

    has = ~np.isnan(grid)
    weight = between(has.astype(float))
    return np.divide(
        between(np.where(has, grid, 0).astype(float)), weight, out=np.full_like(weight, np.nan), where=weight > 0
    )


def _neighbours(places: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The tile of the framed grid whose centre is before each place, and the way on to the next, from 0 to 1."""
    # A tile's centre is half a tile from its edge, and the frame is a tile wide.
    from_centre = places + 0.5
    before = np.minimum(np.floor(from_centre).astype(int), size - 2)
    return before, np.minimum(from_centre - before, 1)


def _sides(outline: Polygon | MultiPolygon) -> tuple[np.ndarray, np.ndarray]:
    """The starts and ends (n, 2) of an outline's sides, from its upper to its lower end, without level ones."""
    places, ring = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(outline)), return_index=True)
    is_side = (ring[1:] == ring[:-1]) & (places[1:, 1] != places[:-1, 1])
    starts, ends = places[:-1][is_side], places[1:][is_side]
    goes_down = (starts[:, 1] < ends[:, 1])[:, None]
    return np.where(goes_down, starts, ends), np.where(goes_down, ends, starts)


def _within(upper: np.ndarray, lower: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Whether each place of `across` (columns,) and `down` (rows,) lies within an outline: (rows, columns) bool.

    upper, lower: its `_sides`. A place is within where an odd number of sides lie left of it in its row. The cost is
    that of the places and of the rows that each side crosses; asking GEOS place by place takes a hundred times as long.
    """
    first, last = np.searchsorted(down, upper[:, 1]), np.searchsorted(down, lower[:, 1])
    side = np.repeat(np.arange(len(upper)), last - first)
    row = np.arange(len(side)) - np.repeat(np.cumsum(last - first) - last, last - first)
    way = lower[side] - upper[side]
    crossing = upper[side, 0] + (down[row] - upper[side, 1]) * way[:, 0] / way[:, 1]
    # One column more, for sides right of all places.
    shape = (len(down), len(across) + 1)
    from_here = np.bincount(row * shape[1] + np.searchsorted(across, crossing), minlength=shape[0] * shape[1])
    return np.bitwise_xor.accumulate((from_here % 2 == 1).reshape(shape)[:, :-1], axis=1)


# Counts


def bin_edges(values: np.ndarray) -> np.ndarray:
    """The edges between at most BINS bins, (k - 1,) float64, ascending, midway between two of some values (n,) each.

    Each different value has a bin of its own where they are few enough; else bins have as many of the values as any
    other, but for a value that so many have that it fills one. Even bins would not do: a classifier that is sure of
    itself puts most tiles within a hair of 0 or 1.
    """
    different, times = np.unique(values, return_counts=True)
    different = different.astype(float)
    if len(different) <= BINS:
        first = np.arange(1, len(different))
    else:
        # Where the middle of those that have a value lies among all, in bins.
        of_bin = ((np.cumsum(times) - times / 2) * (BINS / len(values))).astype(int)
        first = np.flatnonzero(np.diff(of_bin)) + 1
    return (different[first - 1] + different[first]) / 2


def sample(slide: JudgedSlide, *, most: int, mpp: float, interpolation: str, domain: str) -> np.ndarray:
    """The probabilities of at most about `most` pixels of a slide's map, even over it, and those of its tiles: float32.

    They are all of the map where it has no more; else those of a coarser one.
    """
    side = mpp / slide.lattice.slide_mpp
    coarser = max(1.0, np.sqrt(slide.width * slide.height / side**2 / most))
    found = strips(slide, mpp=mpp * coarser, interpolation=interpolation, domain=domain)
    return np.concatenate([slide.probabilities, *(strip.probability[strip.counts] for strip in found)])


def count(map_strips: Iterable[Strip], edges: np.ndarray) -> np.ndarray:
    """How many pixels that count are no tumour, and are, in each bin: (2, k) int64. A value on an edge is below it."""
    bins = len(edges) + 1
    found = np.zeros(2 * bins, np.int64)
    for strip in map_strips:
        of_bin = np.searchsorted(edges, strip.probability[strip.counts])
        found += np.bincount(of_bin + bins * strip.is_tumour[strip.counts], minlength=2 * bins)
    return found.reshape(2, bins)


def pairs_of_counts(counts: np.ndarray) -> Pairs:
    """The pairs of a tumour pixel and another, by slide, from counts (n, 2, k); pixels of one bin are tied."""
    others, tumour = counts[:, 0].astype(float), counts[:, 1].astype(float)
    # Not by `@`: how it sums may depend on the number of threads.
    won = np.einsum("ik,jk->ij", tumour, others.cumsum(axis=1) - others / 2)
    places = np.arange(len(counts))
    return Pairs(won, counts[:, 1].sum(axis=1), counts[:, 0].sum(axis=1), places, places)


def curve_of_counts(counts: np.ndarray) -> np.ndarray:
    """The ROC curve of all slides' pixels, from counts (n, 2, k): `tile_classification.curve`'s rates."""
    passing = counts.sum(axis=0)[::-1, ::-1].T.cumsum(axis=0)
    return tile_classification.curve(passing)[0]


# Slides and files


def read_judged_slide(
    tiles: pd.DataFrame,
    path_to_store: str | Path,
    path_to_annotations: str | Path,
    *,
    classes: Mapping[str, str],
    label: str,
) -> tuple[str, JudgedSlide | None]:
    """A slide's id and what makes its map, from `tumour_filters.judged_tiles` of some slides; None without annotations.

    classes: the label of each class of annotation; label: the one that is tumour. Annotations that are refused, and
    those of an excluded slide, are none (`annotated_slides.read_slide`). Raises InputError where a tile of the store
    has no probability.
    """
    found = annotated_slides.read_slide(path_to_annotations, path_to_store, classes=classes)
    if found.annotations is None:
        return found.slide_id, None
    own = tiles[tiles["slide_id"] == found.slide_id]
    try:
        probabilities = scores_at(own[["col", "row"]].to_numpy(), own["probability"].to_numpy(), found.coords)
    except InputError as error:
        raise InputError(f"slide {found.slide_id}: {error}") from error
    tumour = place_of_label(found.annotations.regions, label, classes=classes)
    return found.slide_id, JudgedSlide(
        found.slide_id, found.lattice, found.width, found.height, found.coords, probabilities, tumour
    )


def count_slides(
    slides: Sequence[tuple[str, JudgedSlide | None]], *, mpp: float, interpolation: str, domain: str
) -> PixelCounts:
    """Count the pixels of slides' maps. A slide without annotations has none.

    The bins are the same for all slides, and their edges those of a `sample` of each. Raises InputError as `strips`.
    """
    settings = {"mpp": mpp, "interpolation": interpolation, "domain": domain}
    _check_settings(**settings)
    most = SAMPLED_PIXELS // max(1, len(slides))
    samples = [sample(slide, most=most, **settings) for _, slide in slides if slide is not None]
    edges = bin_edges(np.concatenate([*samples, np.empty(0, np.float32)]))
    counts = np.zeros((len(slides), 2, len(edges) + 1), np.int64)
    for number, (slide_id, slide) in enumerate(slides):
        started = time.perf_counter()
        if slide is None:
            log.warning("slide %s (%d of %d): no annotations, no pixel", slide_id, number + 1, len(slides))
            continue
        counts[number] = count(strips(slide, **settings), edges)
        others, tumour = counts[number].sum(axis=1)
        log.info(
            "slide %s (%d of %d): %d pixels, %d of tumour, %.1f s",
            *(slide_id, number + 1, len(slides), others + tumour, tumour, time.perf_counter() - started),
        )
    return PixelCounts(tuple(slide_id for slide_id, _ in slides), counts, edges, mpp, interpolation, domain)


def count_pixels(
    path_to_counts: str | Path,
    *,
    path_to_tiles: str | Path,
    paths_to_stores: Sequence[str | Path],
    paths_to_annotations: Sequence[str | Path],
    classes: Mapping[str, str],
    label: str,
    mpp: float,
    interpolation: str,
    domain: str,
) -> None:
    """Count the pixels of some slides' maps, and write the counts.

    path_to_tiles: a filter's `annotated/<set>.tsv`; stores and annotations are in the same order. The rest is as in
    `read_judged_slide` and `count_slides`, and raises as they do; and for tiles of a slide that is not among these.
    """
    tiles = tumour_filters.read_judged_tiles([path_to_tiles])
    try:
        slides = [
            read_judged_slide(tiles, *paths, classes=classes, label=label)
            for paths in zip(paths_to_stores, paths_to_annotations, strict=True)
        ]
    except InputError as error:
        raise InputError(f"{path_to_tiles}: {error}") from error
    others = sorted(set(tiles["slide_id"]) - {slide_id for slide_id, _ in slides})
    if others:
        raise InputError(
            f"{path_to_tiles}: expected tiles of {len(slides)} slides, found those of {len(others)} others, the first "
            f"is {others[0]}; score the annotated slides again"
        )
    write_counts(path_to_counts, count_slides(slides, mpp=mpp, interpolation=interpolation, domain=domain))


def write_counts(path: str | Path, found: PixelCounts) -> None:
    """Write counts of pixels; the same counts give the same bytes."""
    with writing(path) as partial, h5py.File(partial, "w", libver="v110", locking=False) as file:
        text = h5py.string_dtype()
        file.create_dataset(
            "slide_id", data=list(found.slides), shape=(len(found.slides),), dtype=text, track_times=False
        )
        packing = {"compression": "gzip", "shuffle": True} if found.counts.size else {}
        file.create_dataset("counts", data=found.counts, track_times=False, **packing)
        file.create_dataset("edges", data=found.edges, track_times=False)
        file.attrs.update(mpp=float(found.mpp), interpolation=found.interpolation, domain=found.domain)


def read_counts(path: str | Path) -> PixelCounts:
    """Read what `write_counts` wrote. Raises InputError where the file is not that."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            slides = tuple(map(str, file["slide_id"].asstr()[:]))
            settings = (float(file.attrs["mpp"]), str(file.attrs["interpolation"]), str(file.attrs["domain"]))
            return PixelCounts(slides, file["counts"][:], file["edges"][:], *settings)
    except (OSError, KeyError) as error:
        raise InputError(f"{path}: expected counts of pixels, found: {error}; delete it and run again") from error
