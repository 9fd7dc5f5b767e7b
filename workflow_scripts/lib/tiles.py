"""Tiles: one lattice per slide, its tissue, and the tile store (one HDF5 file per slide).

A slide's tiles are the whole squares of `tile_px` output pixels at an exact µm/px, side by side from the slide's upper
left corner (0, 0). Which of them hold tissue decides what is stored, never where a tile is.
"""

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import openslide
import simplejpeg
from imagecodecs import jpeg8_encode
from PIL import Image

from workflow_scripts.lib import files, jpeg_slides, quality, slides
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.slides import SlideFacts, SlideRefused

logger = logging.getLogger(__name__)

ACCEPTED = "accepted"
EXCLUDED = "excluded"
THUMBNAIL_PX = 1024
# How far past the slide's edge a tile may reach for lack of exact arithmetic, in tiles.
EDGE_SLACK = 1e-6
# Tiles of a slide that HDF5 keeps together; a store is written in strips and read at random.
CHUNK_TILES = 64
# Pictures of dropped tiles that a store keeps: their side, and the most for each reason.
PICTURE_PX = 64
MOST_PICTURES = 16
# µm/px at which a tile's colours are looked at for background.
TISSUE_MPP = 2.0
# How much less tissue a coarser level may show of a tile than the tile itself has, as a share of the tile. On real
# slides it showed more, and at most 0.014 less (of tiles of 56 µm; of 256 µm, at most 0.001).
OVERVIEW_DOUBT = 0.03
# Neighbours that are read from it as one area: what is to be done for an area takes longer than the pixels of one tile.
OVERVIEW_TILES = 16
# A slide on which fewer of the lattice's tiles hold tissue is nearly blank.
NEARLY_BLANK = 0.01


# The lattice


@dataclass(frozen=True)
class Lattice:
    """A slide's squares: `columns` × `rows` tiles of `tile_px` px at `mpp` µm/px, from the corner (0, 0)."""

    columns: int
    rows: int
    tile_px: int
    mpp: float
    slide_mpp: float

    @property
    def tile_level0_px(self) -> float:
        """The side of a tile in level-0 px; rarely a whole number."""
        return self.tile_px * self.mpp / self.slide_mpp

    def tile_box(self, column: int, row: int) -> tuple[float, float, float, float]:
        """Return (left, top, right, bottom) of a tile in level-0 px."""
        return self.area_box(column, row, column + 1, row + 1)

    def area_box(self, left: int, top: int, right: int, bottom: int) -> tuple[float, float, float, float]:
        """Return, in level-0 px, the box of the tiles of columns [left, right) and rows [top, bottom)."""
        side = self.tile_level0_px
        return left * side, top * side, right * side, bottom * side


def lattice_of(*, width: int, height: int, slide_mpp: float, tile_px: int, mpp: float) -> Lattice:
    """Return the lattice of a slide of `width` × `height` level-0 px. Squares that do not fit whole are not tiles."""
    if tile_px < 1 or not mpp > 0 or not slide_mpp > 0:
        raise InputError(
            f"a lattice needs a tile size and µm/px above 0, found {tile_px} px, {mpp} and {slide_mpp} µm/px"
        )
    side = tile_px * mpp / slide_mpp
    return Lattice(
        columns=math.floor(width / side + EDGE_SLACK),
        rows=math.floor(height / side + EDGE_SLACK),
        tile_px=tile_px,
        mpp=mpp,
        slide_mpp=slide_mpp,
    )


# Background


def tissue_by_saturation(
    image: Image.Image, *, mpp: float, saturation: float = 0.05, pale: int = 180, black: int = 10
) -> float:
    """Return the share of a tile that is not background, by colour.

    `image` is RGB at `mpp` µm/px, averaged down to about TISSUE_MPP first, which takes out the noise of the camera and
    of JPEG. A pixel is background when it is pale and grey: its channels differ by less than
    `saturation` of the largest, and the largest is at least `pale`; or when it is black, never scanned: no channel
    above `black`. The thresholds are fixed, not fitted to the slide, so that a nearly blank slide has no tissue.
    """
    factor = _tissue_factor(min(image.size), mpp=mpp)
    # A plane for each channel: NumPy is ten times as fast on what lies side by side.
    averaged = np.asarray(image.reduce(factor) if factor > 1 else image)
    red, green, blue = np.ascontiguousarray(np.moveaxis(averaged, 2, 0))
    largest = np.maximum(np.maximum(red, green), blue)
    spread = largest - np.minimum(np.minimum(red, green), blue)
    background = ((spread < saturation * largest.astype(np.float32)) & (largest >= pale)) | (largest <= black)
    return 1.0 - np.count_nonzero(background) / background.size


def _tissue_factor(side: int, *, mpp: float) -> int:
    """Return by how much a square of `side` px at `mpp` µm/px is averaged down to look for background."""
    return max(1, min(round(TISSUE_MPP / mpp), side // 8))


def tissue_by_channel_220(image: Image.Image, *, mpp: float) -> float:
    """Return the share of a tile's channel values that are not above 220: the measure of the released code.

    `image` is RGB; `mpp` does not matter. Source: PathoMCH, the code of the paper.
    """
    return 1.0 - float((np.asarray(image) > 220).mean())


@dataclass(frozen=True)
class BackgroundRule:
    """A measure of tissue, and whether a tile with exactly the largest allowed share of background is kept.

    averages: whether the measure is of pixels averaged down to TISSUE_MPP, and not of the tile's own.
    """

    tissue: Callable[..., float]
    keeps_the_limit: bool
    averages: bool

    def keeps(self, tissue: float, *, max_background: float) -> bool:
        """Say whether a tile of this share of tissue is kept."""
        background = 1.0 - tissue
        return background <= max_background if self.keeps_the_limit else background < max_background


# The paper: tiles with more than 50 % background removed (Methods, Preprocessing). Its code: at least half.
BACKGROUND_RULES = {
    "saturation": BackgroundRule(tissue_by_saturation, keeps_the_limit=True, averages=True),
    "channel_220": BackgroundRule(tissue_by_channel_220, keeps_the_limit=False, averages=False),
}


# Pixels and their encoding


def encode(image: Image.Image, *, quality: int) -> np.ndarray:
    """Return an RGB image as the bytes of a JPEG (uint8, one axis), colour at full resolution (4:4:4).

    They are those that Pillow writes; but other threads run meanwhile.
    """
    return np.frombuffer(jpeg8_encode(np.asarray(image), level=quality, subsampling="444"), np.uint8)


def decode(encoded: np.ndarray | bytes, *, into: np.ndarray | None = None) -> np.ndarray:
    """Return the pixels of a stored tile, (height, width, 3) uint8; in `into`, an array of that shape, where given.

    They are those that Pillow decodes, in half the time or less, and other threads run meanwhile. Raises ValueError
    where the bytes are not a whole JPEG, or one of another size than `into`.
    """
    pixels = simplejpeg.decode_jpeg(encoded, "RGB", buffer=into)
    if into is not None and pixels.shape != into.shape:
        raise ValueError(f"{pixels.shape[1]} x {pixels.shape[0]} px")
    return pixels


# Tiling

LIMITS = tuple(field.name for field in fields(quality.Limits))


@dataclass(frozen=True)
class Tile:
    """A tile with tissue: its place, share of tissue and `quality.MEASURES`.

    `reason` says why quality drops it, empty where it is kept; `encoded` is the JPEG of a kept tile, or of a small
    picture of a dropped one.
    """

    column: int
    row: int
    tissue: float
    measures: dict[str, float]
    reason: str
    encoded: np.ndarray


def tile_slide(
    path_to_slide: str | Path | None,
    path_to_store: str | Path,
    *,
    slide_id: str,
    tile_px: int,
    mpp: float | str,
    max_background: float,
    background_rule: str,
    max_pen: float | None = None,
    max_dark: float | None = None,
    min_sharpness: float | None = None,
    jpeg_quality: int = 90,
    mpp_tolerance: float = slides.MPP_TOLERANCE,
    configured_mpp: float | None = None,
    md5: str = "",
    code_version: str = "",
    threads: int = 1,
    photograph: bool = False,
) -> None:
    """Cut a slide into tiles of `tile_px` px at `mpp` µm/px, or at its own (`slides.NATIVE`), and write its tile store.

    A slide of JPEG tiles is read by `jpeg_slides`, in `threads` threads; any other by OpenSlide, in one. A `photograph`
    is a slide of one level, held in memory as a whole; its µm/px is `configured_mpp`. What is read is no coarser than
    `mpp` by more than `mpp_tolerance`, a share of it.

    A tile is kept unless `background_rule` finds more than `max_background` of it to be background, or it has more ink
    or dark area, or less sharpness, than the limits allow (`quality.Limits`). What these drop is listed with its
    reason, a few of each reason with a small picture. A slide that cannot be used (see `slides.inspect_slide`), whose
    file is not the one of `md5` ('' for any) or is damaged where it is read (`slides.check_level`), or that fails to be
    read anywhere while tiling, gets a store without tiles, with status `excluded` and the reason: one bad slide never
    stops a cohort. One that gives no tile, or next to none, is accepted and says why (`remark`). Memory is bounded by a
    row of tiles. The store is the same to the byte for the same slide and settings, whatever `threads` is, and is moved
    into place when complete.

    Paper: Methods, Preprocessing (512 px at 20x; tiles with more than 50 % background removed).

    Raises InputError for a rule that does not exist or for settings out of range.
    """
    settings = {
        "tile_px": tile_px,
        "mpp": mpp,
        "max_background": max_background,
        "background_rule": background_rule,
        "max_pen": max_pen,
        "max_dark": max_dark,
        "min_sharpness": min_sharpness,
        "jpeg_quality": jpeg_quality,
        "jpeg_subsampling": "4:4:4",
        "mpp_tolerance": mpp_tolerance,
        "configured_mpp": configured_mpp,
        "filter": slides.FILTER_NAME,
    }
    _check_settings(settings)
    attributes = {"slide_id": slide_id, "tile_px": tile_px, "code_version": code_version}
    attributes |= {} if mpp == slides.NATIVE else {"mpp": float(mpp)}
    attributes["settings"] = json.dumps(settings, sort_keys=True)
    started = time.perf_counter()
    with files.writing(path_to_store) as partial:
        try:
            with slides.open_slide(path_to_slide, photograph=photograph) as slide:
                slides.check_md5(path_to_slide, md5)
                lattice, kept, dropped = _write_accepted(partial, path_to_slide, slide, attributes, settings, threads)
        except SlideRefused as refusal:
            _write_excluded(partial, path_to_slide, attributes, refusal, threads, photograph)
            logger.warning("slide %s: excluded: %s", slide_id, refusal.reason)
            return
    seconds = time.perf_counter() - started
    all_tiles = lattice.columns * lattice.rows
    logger.info(
        "slide %s: %d of %d tiles kept, %d more with tissue dropped by quality, %.1f s, %.0f tiles/s",
        *(slide_id, kept, all_tiles, dropped, seconds, all_tiles / seconds),
    )


def cut_strips(slide: slides.ReadableSlide, lattice: Lattice, settings: dict[str, Any]) -> Iterator[list[Tile]]:
    """Read a slide row by row and yield the tiles with tissue of each row, in the order of the columns.

    The whole row is resampled at once, so that a tile's edge is made from both its sides.
    """
    judge = _Judge(lattice, settings)
    side = lattice.tile_px
    for row in range(lattice.rows if lattice.columns else 0):
        area = lattice.area_box(0, row, lattice.columns, row + 1)
        image = slides.read_area(slide, area, (lattice.columns * side, side), tolerance=settings["mpp_tolerance"])
        strip = []
        for column in range(lattice.columns):
            tile = image.crop((column * side, 0, (column + 1) * side, side))
            tissue = judge.tissue(tile, mpp=lattice.mpp)
            if judge.has_enough(tissue):
                strip.append(judge.tile(column, row, tissue, tile))
        yield strip


def cut_jpeg_strips(
    level: jpeg_slides.JpegLevel,
    overview: jpeg_slides.JpegLevel | None,
    lattice: Lattice,
    settings: dict[str, Any],
    *,
    threads: int,
) -> Iterator[list[Tile]]:
    """Do the same as `cut_strips` from the file's own tiles, in `threads` threads, and yield CHUNK_TILES at a time.

    `overview` is a coarser level that tells what is background beyond doubt (`OVERVIEW_DOUBT`), so that nothing there
    is decoded on `level`; None: all is decoded. What decides on the others is measured on the tiles themselves.

    Raises SlideRefused as `jpeg_slides.read_areas` does, on `level` alone: a damaged overview is not used.
    """
    judge = _Judge(lattice, settings)
    places = [(column, row) for row in range(lattice.rows) for column in range(lattice.columns)]
    if overview is not None and places:
        try:
            places = _outside_background(overview, lattice, judge, threads=threads)
        except SlideRefused as refusal:
            logger.info("every tile is decoded, since the overview is damaged: %s", refusal.reason)

    def cut(number: int, image: Image.Image) -> Tile | None:
        tissue = judge.tissue(image, mpp=lattice.mpp)
        return judge.tile(*places[number], tissue, image) if judge.has_enough(tissue) else None

    cut_tiles = jpeg_slides.read_areas(
        level, _boxes(lattice, places), _squares(len(places), lattice.tile_px), cut, threads=threads
    )
    found = (tile for tile in cut_tiles if tile is not None)
    while strip := list(islice(found, CHUNK_TILES)):
        yield strip


def find_overview(
    path_to_slide: str | Path,
    slide: openslide.AbstractSlide,
    level: jpeg_slides.JpegLevel,
    lattice: Lattice,
    settings: dict[str, Any],
) -> jpeg_slides.JpegLevel | None:
    """Return the smallest level on which background can be told; None where none is coarser than `level`.

    None too for a rule that looks at a tile's own pixels.
    """
    if not BACKGROUND_RULES[settings["background_rule"]].averages:
        return None
    scale = lattice.tile_level0_px / _overview_px(lattice)
    found = jpeg_slides.find_level(path_to_slide, slide, scale, tolerance=settings["mpp_tolerance"])
    return found if found is not None and found.scale > level.scale else None


def _overview_px(lattice: Lattice) -> int:
    """Return the side of a tile on the overview, in px of about TISSUE_MPP."""
    return round(lattice.tile_px / _tissue_factor(lattice.tile_px, mpp=lattice.mpp))


def _outside_background(
    overview: jpeg_slides.JpegLevel, lattice: Lattice, judge: "_Judge", *, threads: int
) -> list[tuple[int, int]]:
    """Return the tiles that may have enough tissue, columns and rows, row by row. Raises SlideRefused."""
    side = _overview_px(lattice)
    mpp = lattice.mpp * lattice.tile_px / side

    def may_be(image: Image.Image) -> bool:
        return judge.has_enough(judge.tissue(image, mpp=mpp) + OVERVIEW_DOUBT)

    def chosen_of(number: int, image: Image.Image) -> list[tuple[int, int]]:
        first, last, row = parts[number]
        return [
            (column, row)
            for column, left in zip(range(first, last), range(0, image.width, side), strict=True)
            if may_be(image.crop((left, 0, left + side, side)))
        ]

    starts = range(0, lattice.columns, OVERVIEW_TILES)
    parts = [
        (first, min(first + OVERVIEW_TILES, lattice.columns), row) for row in range(lattice.rows) for first in starts
    ]
    boxes = np.array([lattice.area_box(first, row, last, row + 1) for first, last, row in parts])
    sizes = np.array([((last - first) * side, side) for first, last, _ in parts])
    chosen = jpeg_slides.read_areas(overview, boxes, sizes, chosen_of, threads=threads)
    return [place for places in chosen for place in places]


def _boxes(lattice: Lattice, places: list[tuple[int, int]]) -> np.ndarray:
    return np.array([lattice.tile_box(*place) for place in places]).reshape(-1, 4)


def _squares(count: int, side: int) -> np.ndarray:
    return np.full((count, 2), side)


class _Judge:
    """Which tiles of a slide have enough tissue, and what is kept of those."""

    def __init__(self, lattice: Lattice, settings: dict[str, Any]) -> None:
        self._mpp = lattice.mpp
        self._limits = quality.Limits(**{name: settings[name] for name in LIMITS})
        self._rule = BACKGROUND_RULES[settings["background_rule"]]
        self._max_background = settings["max_background"]
        self._jpeg_quality = settings["jpeg_quality"]

    def tissue(self, image: Image.Image, *, mpp: float) -> float:
        return self._rule.tissue(image, mpp=mpp)

    def has_enough(self, tissue: float) -> bool:
        return self._rule.keeps(tissue, max_background=self._max_background)

    def tile(self, column: int, row: int, tissue: float, image: Image.Image) -> Tile:
        measures = quality.measure(image, mpp=self._mpp)
        reason = self._limits.reason(measures)
        shown = image.resize((PICTURE_PX, PICTURE_PX), Image.Resampling.BOX) if reason else image
        return Tile(column, row, tissue, measures, reason, encode(shown, quality=self._jpeg_quality))


def remark(lattice: Lattice, *, kept: int, dropped: int) -> str:
    """What is to be said of a slide that gives no tile, or next to none; empty of any other.

    `kept` and `dropped` are its tiles with tissue, and those of them that quality drops.
    """
    squares, with_tissue = lattice.columns * lattice.rows, kept + dropped
    if squares == 0:
        return "smaller than one tile"
    if with_tissue == 0:
        return f"blank: none of {squares} tiles holds enough tissue"
    if kept == 0:
        return f"no tile left: quality drops all of {with_tissue} with tissue"
    if with_tissue < NEARLY_BLANK * squares:
        return f"nearly blank: {with_tissue} of {squares} tiles hold enough tissue"
    return ""


def _check_settings(settings: dict[str, Any]) -> None:
    if settings["background_rule"] not in BACKGROUND_RULES:
        raise InputError(
            f"background rule {settings['background_rule']!r}: expected one of {', '.join(BACKGROUND_RULES)}"
        )
    ranges = {
        "tile_px": (8, 8192),
        "mpp": slides.PLAUSIBLE_MPP,
        "max_background": (0, 1),
        "max_pen": (0, 1),
        "max_dark": (0, 1),
        "min_sharpness": (0, math.inf),
        "jpeg_quality": (1, 100),
        "mpp_tolerance": (0, 0.25),
    }
    for name, (low, high) in ranges.items():
        value = settings[name]
        is_a_choice = (value is None and name in LIMITS) or (name == "mpp" and value == slides.NATIVE)
        if not is_a_choice and not low <= value <= high:
            raise InputError(f"{name}: found {value}, expected {low} to {high}")


def _write_accepted(
    path: Path,
    path_to_slide: str | Path,
    slide: openslide.AbstractSlide,
    attributes: dict[str, Any],
    settings: dict[str, Any],
    threads: int,
) -> tuple[Lattice, int, int]:
    """Write the store of a slide; return its lattice and the tiles kept and dropped. Raises SlideRefused."""
    tolerance = settings["mpp_tolerance"]
    facts = slides.inspect_open_slide(
        slide, target_mpp=settings["mpp"], configured_mpp=settings["configured_mpp"], tolerance=tolerance
    )
    lattice = lattice_of(
        width=facts.width,
        height=facts.height,
        slide_mpp=facts.mpp,
        tile_px=settings["tile_px"],
        mpp=facts.mpp if settings["mpp"] == slides.NATIVE else settings["mpp"],
    )
    try:
        scale = lattice.tile_level0_px / lattice.tile_px
        level = jpeg_slides.find_level(path_to_slide, slide, scale, tolerance=tolerance)
        number = slides.best_level(slide, scale, tolerance=tolerance)
        slides.check_level(path_to_slide, slide, number, decode=level is None)
        if level is None:
            strips = cut_strips(slide, lattice, settings)
            logger.info("read by OpenSlide, level %d", number)
        else:
            overview = find_overview(path_to_slide, slide, level, lattice, settings)
            strips = cut_jpeg_strips(level, overview, lattice, settings, threads=threads)
            logger.info("read by its JPEG tiles, level %d at %d/8, %d threads", number, level.eighths, threads)
        with _new_store(path) as store:
            pictures = _Pictures()
            for strip in strips:
                _append(store, [tile for tile in strip if not tile.reason])
                _append_dropped(store, [tile for tile in strip if tile.reason], pictures)
            pictures.write(store)
            _write_thumbnail(store, path_to_slide, slide, threads)
            kept, dropped = len(store["coords"]), len(store["dropped/coords"])
            reason = remark(lattice, kept=kept, dropped=dropped)
            _write_attributes(store, attributes, status=ACCEPTED, reason=reason, facts=facts, lattice=lattice)
            return lattice, kept, dropped
    except SlideRefused as error:
        raise SlideRefused(error.reason, facts) from error


def _write_excluded(
    path: Path,
    path_to_slide: str | Path | None,
    attributes: dict[str, Any],
    refusal: SlideRefused,
    threads: int,
    photograph: bool,
) -> None:
    """Write the store of a slide that is not used, with its thumbnail where there can be one."""
    with _new_store(path) as store:
        try:
            with slides.open_slide(path_to_slide, photograph=photograph) as slide:
                _write_thumbnail(store, path_to_slide, slide, threads)
        except SlideRefused:
            logger.debug("no thumbnail of %s", path_to_slide)
        _write_attributes(store, attributes, status=EXCLUDED, reason=refusal.reason, facts=refusal.facts, lattice=None)


# The tile store, written

# Type, and shape of an entry, of the datasets that grow with the tiles: those of kept ones, and those of dropped ones.
_OF_BOTH = {"coords": (np.int32, (2,)), "tissue": (np.float32, ())}
_OF_BOTH |= {f"quality/{name}": (np.float32, ()) for name in quality.MEASURES}
_JPEG = (h5py.vlen_dtype(np.uint8), ())
OF_KEPT = {**_OF_BOTH, "tiles": _JPEG}
OF_DROPPED = {**_OF_BOTH, "reason": (np.dtype("S8"), ()), "picture": _JPEG}


@contextmanager
def _new_store(path: Path) -> Iterator[h5py.File]:
    # No times and a fixed file format: the same tiles are the same bytes.
    with h5py.File(path, "w", libver=("earliest", "v110"), locking=False) as store:
        for group, datasets in ((store, OF_KEPT), (store.create_group("dropped"), OF_DROPPED)):
            for name, (dtype, width) in datasets.items():
                grows = {"chunks": (CHUNK_TILES, *width), "maxshape": (None, *width), "track_times": False}
                group.create_dataset(name, (0, *width), dtype, **grows)
        yield store


def _append(store: h5py.File, strip: list[Tile]) -> None:
    if not strip:
        return
    _extend(store, strip)
    # In one request: h5py's own way takes twice as long.
    encoded = np.empty(len(strip), store["tiles"].dtype)
    for index, tile in enumerate(strip):
        encoded[index] = tile.encoded
    space = store["tiles"].id.get_space()
    space.select_hyperslab((len(store["tiles"]) - len(strip),), encoded.shape)
    store["tiles"].id.write(h5py.h5s.create_simple(encoded.shape), space, encoded)


def _append_dropped(store: h5py.File, strip: list[Tile], pictures: "_Pictures") -> None:
    _extend(store["dropped"], strip)
    for index, tile in enumerate(strip, len(store["dropped/coords"]) - len(strip)):
        store["dropped/reason"][index] = tile.reason
        pictures.offer(index, tile)


def _extend(group: h5py.Group, strip: list[Tile]) -> None:
    """Lengthen the datasets of a group by a strip, and write what kept and dropped tiles both have."""
    if not strip:
        return
    values = {"coords": [(tile.column, tile.row) for tile in strip], "tissue": [tile.tissue for tile in strip]}
    values |= {f"quality/{name}": [tile.measures[name] for tile in strip] for name in quality.MEASURES}
    start = len(group["coords"])
    for name in OF_DROPPED if "reason" in group else OF_KEPT:
        dataset = group[name]
        dataset.resize(start + len(strip), axis=0)
        if name in values:
            dataset[start:] = np.asarray(values[name], dataset.dtype)


class _Pictures:
    """For each reason the pictures of a few dropped tiles, drawn by a hash of their place: from all over the slide."""

    def __init__(self) -> None:
        self._drawn: dict[str, list[tuple[str, int, np.ndarray]]] = {}

    def offer(self, index: int, tile: Tile) -> None:
        """Take a dropped tile's picture into the draw; `index` is its place among the dropped."""
        drawn = self._drawn.setdefault(tile.reason, [])
        lot = hashlib.sha256(f"{tile.column},{tile.row}".encode()).hexdigest()
        drawn.append((lot, index, tile.encoded))
        drawn.sort(key=lambda entry: entry[:2])
        del drawn[MOST_PICTURES:]

    def write(self, store: h5py.File) -> None:
        chosen = {index: encoded for drawn in self._drawn.values() for _, index, encoded in drawn}
        for index in sorted(chosen):
            store["dropped/picture"][index] = chosen[index]


def _write_thumbnail(store: h5py.File, path_to_slide: str | Path, slide: openslide.AbstractSlide, threads: int) -> None:
    image = _thumbnail(path_to_slide, slide, threads)
    store.create_dataset("thumbnail", data=encode(image, quality=90), track_times=False)


def _thumbnail(path_to_slide: str | Path, slide: openslide.AbstractSlide, threads: int) -> Image.Image:
    """Return the picture of a whole slide. Raises SlideRefused where neither way of reading can make it."""
    width, _ = slides.thumbnail_size(slide, longest_side=THUMBNAIL_PX)
    try:
        level = jpeg_slides.find_level(path_to_slide, slide, slide.level_dimensions[0][0] / width)
        if level is not None:
            return jpeg_slides.thumbnail(level, slide, longest_side=THUMBNAIL_PX, threads=threads)
    except SlideRefused as refusal:
        # The level may be another than the tiles', and OpenSlide passes over more.
        logger.debug("the thumbnail is OpenSlide's: %s", refusal.reason)
    return slides.thumbnail(slide, longest_side=THUMBNAIL_PX)


def _write_attributes(
    store: h5py.File,
    attributes: dict[str, Any],
    *,
    status: str,
    reason: str,
    facts: SlideFacts | None,
    lattice: Lattice | None,
) -> None:
    if "thumbnail" not in store:
        store.create_dataset("thumbnail", data=np.zeros(0, np.uint8), track_times=False)
    slide_mpp = facts.mpp if facts is not None and facts.mpp is not None else math.nan
    is_native = "mpp" not in attributes
    mpp = slide_mpp if is_native else attributes["mpp"]
    store.attrs.update(
        attributes
        | {
            "mpp": mpp,
            **({"is_native": True} if is_native else {}),
            "status": status,
            "reason": reason,
            "columns": lattice.columns if lattice else 0,
            "rows": lattice.rows if lattice else 0,
            "slide_mpp": slide_mpp,
            "mpp_source": facts.mpp_source if facts else "",
            "tile_level0_px": attributes["tile_px"] * mpp / slide_mpp,
            "width": facts.width if facts else 0,
            "height": facts.height if facts else 0,
        }
    )


def rewrite_store(
    path_to_store: str | Path,
    path_to_new: str | Path,
    *,
    change: Callable[[np.ndarray], np.ndarray] | None,
    attributes: Mapping[str, Any],
) -> None:
    """Write a tile store anew with the pixels of its tiles changed; all else is the same, with some attributes more.

    change: from a tile's pixels (height, width, 3) uint8 to the new ones, which are encoded as the old were; None for
    the tiles as they are. Memory is bounded by a tile. The same store and change give the same bytes.

    Raises InputError when the store is not one.
    """
    with open_store(path_to_store) as old, files.writing(path_to_new) as partial, _new_store(partial) as new:
        old.copy_to(new)
        settings = json.loads(old.attributes["settings"])
        new["tiles"].resize(len(old), axis=0)
        for index in range(len(old)):
            encoded = old.encoded(index)
            if change is not None:
                changed = Image.fromarray(change(decode(encoded)))
                encoded = encode(changed, quality=settings["jpeg_quality"])
            new["tiles"][index] = encoded
        new.attrs.update(attributes)


# The tile store, read


@dataclass(frozen=True)
class Dropped:
    """The tiles with tissue that quality dropped.

    `coords` (m, 2) int32 are column and row; `reason` (m,) str, one of `quality.REASONS`; `quality` holds (m,) float32
    by the names of `quality.MEASURES`; `pictures` are small JPEGs by a tile's place among the m, of a few alone.
    """

    coords: np.ndarray
    reason: np.ndarray
    quality: dict[str, np.ndarray]
    pictures: dict[int, bytes]


class TileStore:
    """An open tile store. Safe to open from many processes at once; open one per process, never across a fork.

    `attributes` is the dictionary of the store's attributes (plain str, int, float); `coords` (n, 2) int32 are column
    and row; `tissue` (n,) float32 is the share that is not background; `quality` holds (n,) float32 by the names of
    `quality.MEASURES`; `dropped` are the tiles that quality dropped; `thumbnail` is the JPEG of the whole slide, empty
    where there is none. Each is read when first asked for, while the store is open: training opens stores often, for
    single tiles.
    """

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self._tiles = file["tiles"]

    @cached_property
    def attributes(self) -> dict[str, Any]:
        return _plain(self._file.attrs)

    @property
    def lattice(self) -> Lattice:
        """The slide's lattice; of an excluded slide, one without columns and rows."""
        return Lattice(**{field.name: self.attributes[field.name] for field in fields(Lattice)})

    @cached_property
    def coords(self) -> np.ndarray:
        return self._file["coords"][:]

    @cached_property
    def tissue(self) -> np.ndarray:
        return self._file["tissue"][:]

    @cached_property
    def quality(self) -> dict[str, np.ndarray]:
        return {name: self._file[f"quality/{name}"][:] for name in quality.MEASURES}

    @cached_property
    def dropped(self) -> Dropped:
        group = self._file["dropped"]
        return Dropped(
            coords=group["coords"][:],
            reason=group["reason"][:].astype(str),
            quality={name: group[f"quality/{name}"][:] for name in quality.MEASURES},
            pictures={index: picture.tobytes() for index, picture in enumerate(group["picture"][:]) if len(picture)},
        )

    @cached_property
    def thumbnail(self) -> bytes:
        return self._file["thumbnail"][:].tobytes()

    def __len__(self) -> int:
        return len(self._tiles)

    @property
    def n_dropped(self) -> int:
        """The number of tiles that quality dropped."""
        return len(self._file["dropped/coords"])

    def copy_to(self, file: h5py.File) -> None:
        """Copy all but the tiles into another file."""
        for name in self._file:
            if name != "tiles":
                file.pop(name, None)
                self._file.copy(name, file)
        file.attrs.update(self.attributes)

    def encoded(self, index: int) -> np.ndarray:
        """Return one tile as it is stored: the bytes of a JPEG (uint8, one axis)."""
        return self._tiles[index]

    def read(self, positions: Sequence[int] | np.ndarray, into: Sequence[np.ndarray] | np.ndarray) -> None:
        """Decode the tiles at n positions, in any order, into n arrays of (tile_px, tile_px, 3) uint8.

        Raises InputError where a tile is not a JPEG of that size.
        """
        for position, encoded, pixels in zip(
            positions, self._encoded(np.asarray(positions, np.int64)), into, strict=True
        ):
            try:
                decode(encoded, into=pixels)
            except ValueError as error:
                raise InputError(
                    f"{self._file.filename}: tile {position} is not a JPEG of {pixels.shape[1]} x {pixels.shape[0]} px "
                    f"({error}); tile the slide again"
                ) from None

    def _encoded(self, positions: np.ndarray) -> np.ndarray:
        """The bytes of tiles, (n,) of arrays, in one request: h5py's own way takes three times as long, of one too."""
        encoded = np.empty(len(positions), self._tiles.dtype)
        if len(positions):
            space = self._tiles.id.get_space()
            space.select_elements(positions[:, None])
            self._tiles.id.read(h5py.h5s.create_simple(encoded.shape), space, encoded)
        return encoded


@contextmanager
def open_store(path: str | Path) -> Iterator[TileStore]:
    """Open a tile store for reading. Raises InputError when the file is not one."""
    try:
        # Without locks: many read one store at once, and locks fail on network disks.
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise InputError(f"{path}: not a readable tile store ({error}); tile the slide again") from error
    with file:
        missing = {"coords", "tiles", "tissue", "quality", "dropped", "thumbnail"} - set(file)
        if missing:
            raise InputError(f"{path}: not a tile store, {', '.join(sorted(missing))} missing; tile the slide again")
        yield TileStore(file)


def read_summary(path: str | Path) -> dict[str, Any]:
    """Return a store's attributes, and its numbers of tiles kept and dropped: `n_tiles`, `n_dropped`. Reads no tile."""
    with open_store(path) as store:
        return store.attributes | {"n_tiles": len(store), "n_dropped": store.n_dropped}


def asked_mpp(attributes: Mapping[str, Any]) -> float | str:
    """The µm/px that a store's slide was to be tiled at, of its attributes: a number, or `slides.NATIVE`.

    By this, and not by their own µm/px, models and tiles belong together.
    """
    return slides.NATIVE if attributes.get("is_native") else float(attributes["mpp"])


def slide_row(path: str | Path) -> dict[str, Any]:
    """Return what a store says for the slide's row in `slides.tsv`.

    Keys: slide_id, mpp (of the finest level; None where unknown), source (of the mpp), status, reason, n_tiles and
    n_dropped.
    """
    summary = read_summary(path)
    slide_mpp = summary["slide_mpp"]
    return {
        "slide_id": summary["slide_id"],
        "mpp": None if math.isnan(slide_mpp) else slide_mpp,
        "source": summary["mpp_source"],
        "status": summary["status"],
        "reason": summary["reason"],
        "n_tiles": summary["n_tiles"],
        "n_dropped": summary["n_dropped"],
    }


def _plain(attributes: h5py.AttributeManager) -> dict[str, Any]:
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in attributes.items()}
