"""Tiles: one lattice per slide, its tissue, and the tile store (one HDF5 file per slide).

A slide's tiles are the whole squares of `tile_px` output pixels at an exact µm/px, side by side from the slide's upper
left corner (0, 0). Which of them hold tissue decides what is stored, never where a tile is.
"""

import io
import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import openslide
from PIL import Image

from workflow_scripts.lib import files, slides
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
    pixels: np.ndarray, *, mpp: float, saturation: float = 0.05, pale: int = 180, black: int = 10, at_mpp: float = 2.0
) -> float:
    """Return the share of a tile that is not background, by colour.

    `pixels` is (height, width, 3) uint8 at `mpp` µm/px, averaged down to about `at_mpp` first, which takes out the
    noise of the camera and of JPEG. A pixel is background when it is pale and grey: its channels differ by less than
    `saturation` of the largest, and the largest is at least `pale`; or when it is black, never scanned: no channel
    above `black`. The thresholds are fixed, not fitted to the slide, so that a nearly blank slide has no tissue.
    """
    factor = max(1, min(round(at_mpp / mpp), min(pixels.shape[:2]) // 8))
    small = np.asarray(Image.fromarray(pixels).reduce(factor)) if factor > 1 else pixels
    largest = small.max(axis=2).astype(np.float32)
    spread = largest - small.min(axis=2)
    background = ((spread < saturation * largest) & (largest >= pale)) | (largest <= black)
    return 1.0 - float(background.mean())


def tissue_by_channel_220(pixels: np.ndarray, *, mpp: float) -> float:
    """Return the share of a tile's channel values that are not above 220: the measure of the released code.

    `pixels` is (height, width, 3) uint8; `mpp` does not matter. Source: PathoMCH, the code of the paper.
    """
    return 1.0 - float((pixels > 220).mean())


@dataclass(frozen=True)
class BackgroundRule:
    """A measure of tissue, and whether a tile with exactly the largest allowed share of background is kept."""

    tissue: Callable[..., float]
    keeps_the_limit: bool

    def keeps(self, tissue: float, *, max_background: float) -> bool:
        """Say whether a tile of this share of tissue is kept."""
        background = 1.0 - tissue
        return background <= max_background if self.keeps_the_limit else background < max_background


# The paper: tiles with more than 50 % background removed (Methods, Preprocessing). Its code: at least half.
BACKGROUND_RULES = {
    "saturation": BackgroundRule(tissue_by_saturation, keeps_the_limit=True),
    "channel_220": BackgroundRule(tissue_by_channel_220, keeps_the_limit=False),
}


# Pixels and their encoding


def sharpness(pixels: np.ndarray) -> float:
    """Return the variance of the Laplacian of the grey image: low where a tile is out of focus.

    `pixels` is (height, width, 3) uint8; the Laplacian is of four neighbours, inside the tile's edge.
    """
    if min(pixels.shape[:2]) < 3:
        return 0.0
    grey = np.asarray(Image.fromarray(pixels).convert("L")).astype(np.int16)
    neighbours = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float(np.var(neighbours - 4 * grey[1:-1, 1:-1], dtype=np.float64))


def encode(image: Image.Image, *, quality: int) -> np.ndarray:
    """Return an RGB image as the bytes of a JPEG (uint8, one axis), colour at full resolution (4:4:4)."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def decode(encoded: np.ndarray | bytes) -> np.ndarray:
    """Return the pixels of a stored tile, (height, width, 3) uint8."""
    with Image.open(io.BytesIO(bytes(encoded))) as image:
        return np.asarray(image.convert("RGB"))


# Tiling


@dataclass(frozen=True)
class Strip:
    """The kept tiles of one row of the lattice; the lists have one entry per tile, in the order of the columns."""

    row: int
    columns: list[int]
    tissue: list[float]
    sharpness: list[float]
    encoded: list[np.ndarray]


def tile_slide(
    path_to_slide: str | Path | None,
    path_to_store: str | Path,
    *,
    slide_id: str,
    tile_px: int,
    mpp: float,
    max_background: float,
    background_rule: str,
    jpeg_quality: int = 90,
    configured_mpp: float | None = None,
    code_version: str = "",
) -> None:
    """Cut a slide into tiles of `tile_px` px at `mpp` µm/px and write its tile store.

    A tile is kept unless `background_rule` finds more than `max_background` of it to be background. A slide that
    cannot be used (see `slides.inspect_slide`), or fails to be read anywhere while tiling, gets a store without tiles,
    with status `excluded` and the reason: one bad slide never stops a cohort. Memory is bounded by a row of tiles.
    The store is the same to the byte for the same slide and settings, and is moved into place when complete.

    Paper: Methods, Preprocessing (512 px at 20x; tiles with more than 50 % background removed).

    Raises InputError for a rule that does not exist or for settings out of range.
    """
    _check_settings(tile_px, mpp, max_background, background_rule, jpeg_quality)
    settings = {
        "tile_px": tile_px,
        "mpp": mpp,
        "max_background": max_background,
        "background_rule": background_rule,
        "jpeg_quality": jpeg_quality,
        "jpeg_subsampling": "4:4:4",
        "configured_mpp": configured_mpp,
        "filter": slides.FILTER_NAME,
    }
    attributes = {"slide_id": slide_id, "tile_px": tile_px, "mpp": float(mpp), "code_version": code_version}
    attributes["settings"] = json.dumps(settings, sort_keys=True)
    started = time.perf_counter()
    with files.writing(path_to_store) as partial:
        try:
            with slides.open_slide(path_to_slide) as slide:
                lattice, kept = _write_accepted(partial, slide, attributes, settings)
        except SlideRefused as refusal:
            _write_excluded(partial, path_to_slide, attributes, refusal)
            logger.warning("slide %s: excluded: %s", slide_id, refusal.reason)
            return
    seconds = time.perf_counter() - started
    all_tiles = lattice.columns * lattice.rows
    logger.info(
        "slide %s: %d of %d tiles kept, %.1f s, %.0f tiles/s", slide_id, kept, all_tiles, seconds, all_tiles / seconds
    )


def cut_strips(slide: slides.ReadableSlide, lattice: Lattice, settings: dict[str, Any]) -> Iterator[Strip]:
    """Read a slide row by row and yield the kept tiles of each.

    The whole row is resampled at once, so that a tile's edge is made from both its sides.
    """
    rule = BACKGROUND_RULES[settings["background_rule"]]
    side = lattice.tile_px
    for row in range(lattice.rows if lattice.columns else 0):
        area = lattice.area_box(0, row, lattice.columns, row + 1)
        image = slides.read_area(slide, area, (lattice.columns * side, side))
        strip = Strip(row, [], [], [], [])
        for column in range(lattice.columns):
            tile = image.crop((column * side, 0, (column + 1) * side, side))
            pixels = np.asarray(tile)
            tissue = rule.tissue(pixels, mpp=lattice.mpp)
            if rule.keeps(tissue, max_background=settings["max_background"]):
                strip.columns.append(column)
                strip.tissue.append(tissue)
                strip.sharpness.append(sharpness(pixels))
                strip.encoded.append(encode(tile, quality=settings["jpeg_quality"]))
        yield strip


def _check_settings(tile_px: int, mpp: float, max_background: float, background_rule: str, jpeg_quality: int) -> None:
    if background_rule not in BACKGROUND_RULES:
        raise InputError(f"background rule {background_rule!r}: expected one of {', '.join(BACKGROUND_RULES)}")
    ranges = {
        "tile_px": (tile_px, 8, 8192),
        "mpp": (mpp, *slides.PLAUSIBLE_MPP),
        "max_background": (max_background, 0, 1),
        "jpeg_quality": (jpeg_quality, 1, 100),
    }
    for name, (value, low, high) in ranges.items():
        if not low <= value <= high:
            raise InputError(f"{name}: found {value}, expected {low} to {high}")


def _write_accepted(
    path: Path, slide: openslide.OpenSlide, attributes: dict[str, Any], settings: dict[str, Any]
) -> tuple[Lattice, int]:
    """Write the store of a slide; return its lattice and the number of tiles kept. Raises SlideRefused."""
    facts = slides.inspect_open_slide(slide, target_mpp=settings["mpp"], configured_mpp=settings["configured_mpp"])
    lattice = lattice_of(
        width=facts.width,
        height=facts.height,
        slide_mpp=facts.mpp,
        tile_px=settings["tile_px"],
        mpp=settings["mpp"],
    )
    try:
        with _new_store(path) as store:
            for strip in cut_strips(slide, lattice, settings):
                _append(store, strip)
            _write_thumbnail(store, slide)
            _write_attributes(store, attributes, status=ACCEPTED, reason="", facts=facts, lattice=lattice)
            return lattice, len(store["coords"])
    except SlideRefused as error:
        raise SlideRefused(error.reason, facts) from error


def _write_excluded(
    path: Path, path_to_slide: str | Path | None, attributes: dict[str, Any], refusal: SlideRefused
) -> None:
    """Write the store of a slide that is not used, with its thumbnail where there can be one."""
    with _new_store(path) as store:
        try:
            with slides.open_slide(path_to_slide) as slide:
                _write_thumbnail(store, slide)
        except SlideRefused:
            logger.debug("no thumbnail of %s", path_to_slide)
        _write_attributes(store, attributes, status=EXCLUDED, reason=refusal.reason, facts=refusal.facts, lattice=None)


# The tile store, written


@contextmanager
def _new_store(path: Path) -> Iterator[h5py.File]:
    # No times and a fixed file format: the same tiles are the same bytes.
    with h5py.File(path, "w", libver=("earliest", "v110"), locking=False) as store:
        grows = {"chunks": (CHUNK_TILES,), "maxshape": (None,), "track_times": False}
        store.create_dataset("coords", (0, 2), np.int32, chunks=(CHUNK_TILES, 2), maxshape=(None, 2), track_times=False)
        store.create_dataset("tiles", (0,), h5py.vlen_dtype(np.uint8), **grows)
        store.create_dataset("tissue", (0,), np.float32, **grows)
        store.create_dataset("quality/sharpness", (0,), np.float32, **grows)
        yield store


def _append(store: h5py.File, strip: Strip) -> None:
    count = len(strip.columns)
    if count == 0:
        return
    start = len(store["coords"])
    for name in ("coords", "tiles", "tissue", "quality/sharpness"):
        store[name].resize(start + count, axis=0)
    store["coords"][start:] = np.column_stack([strip.columns, np.full(count, strip.row)]).astype(np.int32)
    for position, encoded in enumerate(strip.encoded):
        store["tiles"][start + position] = encoded
    store["tissue"][start:] = np.asarray(strip.tissue, np.float32)
    store["quality/sharpness"][start:] = np.asarray(strip.sharpness, np.float32)


def _write_thumbnail(store: h5py.File, slide: slides.ReadableSlide) -> None:
    image = slides.thumbnail(slide, longest_side=THUMBNAIL_PX)
    store.create_dataset("thumbnail", data=encode(image, quality=90), track_times=False)


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
    store.attrs.update(
        attributes
        | {
            "status": status,
            "reason": reason,
            "columns": lattice.columns if lattice else 0,
            "rows": lattice.rows if lattice else 0,
            "slide_mpp": slide_mpp,
            "mpp_source": facts.mpp_source if facts else "",
            "tile_level0_px": attributes["tile_px"] * attributes["mpp"] / slide_mpp,
            "width": facts.width if facts else 0,
            "height": facts.height if facts else 0,
        }
    )


# The tile store, read


class TileStore:
    """An open tile store. Safe to open from many processes at once; open one per process, never across a fork.

    `attributes` is the dictionary of the store's attributes (plain str, int, float); `coords` (n, 2) int32 are column
    and row; `tissue` (n,) float32 is the share that is not background; `sharpness` (n,) float32; `thumbnail` is the
    JPEG of the whole slide, empty where there is none. Each of the four is read when first asked for, while the store
    is open: training opens stores often, for single tiles.
    """

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self._tiles = file["tiles"]
        self.attributes = _plain(file.attrs)

    @cached_property
    def coords(self) -> np.ndarray:
        return self._file["coords"][:]

    @cached_property
    def tissue(self) -> np.ndarray:
        return self._file["tissue"][:]

    @cached_property
    def sharpness(self) -> np.ndarray:
        return self._file["quality/sharpness"][:]

    @cached_property
    def thumbnail(self) -> bytes:
        return self._file["thumbnail"][:].tobytes()

    def __len__(self) -> int:
        return len(self._tiles)

    def encoded(self, index: int) -> np.ndarray:
        """Return one tile as it is stored: the bytes of a JPEG (uint8, one axis)."""
        return self._tiles[index]


@contextmanager
def open_store(path: str | Path) -> Iterator[TileStore]:
    """Open a tile store for reading. Raises InputError when the file is not one."""
    try:
        # Without locks: many read one store at once, and locks fail on network disks.
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise InputError(f"{path}: not a readable tile store ({error}); tile the slide again") from error
    with file:
        missing = {"coords", "tiles", "tissue", "quality", "thumbnail"} - set(file)
        if missing:
            raise InputError(f"{path}: not a tile store, {', '.join(sorted(missing))} missing; tile the slide again")
        yield TileStore(file)


def read_summary(path: str | Path) -> dict[str, Any]:
    """Return a store's attributes and its number of tiles as `n_tiles`, without reading any tile."""
    with open_store(path) as store:
        return store.attributes | {"n_tiles": len(store)}


def slide_row(path: str | Path) -> dict[str, Any]:
    """Return what a store says for the slide's row in `slides.tsv`.

    Keys: slide_id, mpp (of the finest level; None where unknown), source (of the mpp), status, reason, n_tiles.
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
    }


def _plain(attributes: h5py.AttributeManager) -> dict[str, Any]:
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in attributes.items()}
