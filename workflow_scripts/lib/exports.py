"""Layers as files of other programs: QuPath's GeoJSON, and OME-TIFF.

Both are in level-0 px of the slide, with (0, 0) its upper left corner, as in `slides`. They are made from the layer
alone: nothing of a slide's file, whose label and macro images can name a patient, gets into them.
"""

import json
import logging
import struct
import uuid
import zlib
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import tifffile

from workflow_scripts.lib.cartography import NO_TISSUE
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import writing
from workflow_scripts.lib.layers import Layer

log = logging.getLogger(__name__)

# The side of a TIFF tile in px. Smaller ones are more often of one colour, larger ones are fewer.
TIFF_TILE_PX = 256
# Each level of the pyramid is smaller than the one before by this, down to one of at most so many px a side.
REDUCTION = 4
SMALLEST_LEVEL_PX = 1024
# Decimals of a coordinate in GeoJSON: a millionth of a pixel.
PLACE_DECIMALS = 6
# Encoded TIFF tiles that are kept in case the same comes again; one that is not of one colour has a few hundred bytes.
ENCODED_TILES_KEPT = 8192


def write_exports(folder: str | Path, layer: Layer, *, formats: Collection[str]) -> None:
    """Write `<slide>.geojson` (format `geojson`) and `<slide>.ome.tif` (`ome_tiff`) of a layer into a folder."""
    unknown = set(formats) - set(WRITERS)
    if unknown:
        raise InputError(f"export formats {', '.join(sorted(unknown))}: expected {', '.join(WRITERS)}")
    for name in formats:
        suffix, write = WRITERS[name]
        path = Path(folder) / f"{layer.slide_id}{suffix}"
        write(path, layer)
        log.info("%s: %s bytes", path.name, f"{path.stat().st_size:,}")


# QuPath's GeoJSON


def write_geojson(path: str | Path, layer: Layer) -> None:
    """Write a layer's tiles as objects of QuPath: a GeoJSON FeatureCollection with a Polygon in level-0 px per tile.

    Each is a `tile` of QuPath's with the category as classification, in its colour, the finite scores as measurements,
    and its column and row as name. Tiles without tissue are left out. Written a tile at a time, row by row; the same
    layer gives the same bytes.
    """
    with writing(path) as partial, open(partial, "w", encoding="utf-8", newline="\n") as file:
        file.write('{"type":"FeatureCollection","features":[')
        for number, feature in enumerate(_features(layer)):
            file.write(",\n" if number else "\n")
            file.write(json.dumps(feature, ensure_ascii=False, allow_nan=False, separators=(",", ":")))
        file.write("\n]}\n")


def _features(layer: Layer) -> Iterator[dict]:
    classifications = [
        {"name": category.name, "color": list(bytes.fromhex(category.colour[1:]))} for category in layer.categories
    ]
    side = layer.tile_level0_px
    for row, column in np.argwhere(layer.codes != NO_TISSUE).tolist():
        left, right, top, bottom = (round(n * side, PLACE_DECIMALS) for n in (column, column + 1, row, row + 1))
        scores = {name: values[row, column] for name, values in layer.scores.items()}
        yield {
            "type": "Feature",
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]],
            },
            "properties": {
                "objectType": "tile",
                "name": f"column {column}, row {row}",
                "classification": classifications[layer.codes[row, column]],
                "isLocked": True,
                # As text first: the shortest number that reads back as the same one of 32 bits.
                "measurements": {name: float(str(score)) for name, score in scores.items() if np.isfinite(score)},
            },
        }


# OME-TIFF


def write_ome_tiff(path: str | Path, layer: Layer) -> None:
    """Write a layer as a picture that lies on its slide: RGB of the slide's size in level-0 px, a pyramid, OME-TIFF.

    A pixel has the colour of the category of the tile that its centre lies in, white where there is none. Each level
    is made from the layer, so that it holds colours of categories alone; its pixel (i, j) is centred at
    ((i + ½) · width / level's width, (j + ½) · height / level's height) of level 0. The picture's description names
    the colours.

    OME-TIFF has the smaller levels in SubIFDs, which OpenSlide does not follow; it wants them in the file's chain of
    directories, marked as reduced. They are both. Bio-Formats passes over directories of the chain that are so marked,
    and reads SubIFDs.

    Memory is bounded by the slide's sides and a few TIFF tiles. Most of these are of one colour, and are encoded once.
    The same layer gives the same bytes. Raises InputError where the slide has no size.
    """
    if min(layer.width, layer.height) < 1:
        raise InputError(f"{layer.slide_id}: expected a slide's size, found {layer.width} × {layer.height} px")
    levels = [_Level(layer, *size) for size in _level_sizes(layer.width, layer.height)]
    encoder = _encoder([category.colour for category in layer.categories])
    how = {
        "tile": (TIFF_TILE_PX, TIFF_TILE_PX),
        "photometric": "rgb",
        "dtype": np.uint8,
        "compression": "adobe_deflate",
        "resolutionunit": "centimeter",
        "maxworkers": 1,
    }
    with writing(path) as partial:
        with tifffile.TiffWriter(partial, bigtiff=True, byteorder="<", ome=True) as tiff:
            for number, level in enumerate(levels):
                pixel_um = (layer.slide_mpp * layer.width / level.width, layer.slide_mpp * layer.height / level.height)
                tiff.write(
                    level.encoded_tiles(encoder),
                    shape=(level.height, level.width, 3),
                    resolution=tuple(1e4 / um for um in pixel_um),
                    subifds=0 if number else len(levels) - 1,
                    subfiletype=1 if number else 0,
                    metadata=None if number else _ome_metadata(layer),
                    software=False if number else "Histocarta",
                    **how,
                )
        _chain_first_to_second_directory(partial)


def _level_sizes(width: int, height: int) -> Iterator[tuple[int, int]]:
    reduction = 1
    while True:
        size = max(1, round(width / reduction)), max(1, round(height / reduction))
        yield size
        if max(size) <= SMALLEST_LEVEL_PX:
            return
        reduction *= REDUCTION


def _ome_metadata(layer: Layer) -> dict:
    """The keys of OME-XML that tifffile cannot know. The file's identity is made from its name, not from a clock."""
    named = f"{layer.slide_id} {layer.name}"
    return {
        "axes": "YXS",
        "Name": named,
        "Description": "; ".join(f"{category.name}: {category.colour}" for category in layer.categories),
        "Creator": "Histocarta",
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_OID, named)),
        "PhysicalSizeX": layer.slide_mpp,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": layer.slide_mpp,
        "PhysicalSizeYUnit": "µm",
    }


Encoder = Callable[[bytes, tuple[int, ...], tuple[int, ...]], bytes]


def _encoder(colours: list[str]) -> Encoder:
    """A function from a TIFF tile to its compressed bytes, which it remembers.

    The tile comes as blocks of pixels: the category of each (int32, row by row, as bytes), the height in px of each row
    of blocks, and the width of each column.
    """
    rgb = np.array([list(bytes.fromhex(colour[1:])) for colour in colours], np.uint8)

    @lru_cache(maxsize=ENCODED_TILES_KEPT)
    def encode(codes: bytes, heights: tuple[int, ...], widths: tuple[int, ...]) -> bytes:
        blocks = rgb[np.frombuffer(codes, np.int32).reshape(len(heights), len(widths))]
        pixels = np.repeat(np.repeat(blocks, widths, axis=1), heights, axis=0)
        return zlib.compress(pixels.tobytes(), level=9)

    return encode


class _Level:
    """One level of the picture: which tile of the layer each of its columns and rows of pixels lies in."""

    def __init__(self, layer: Layer, width: int, height: int) -> None:
        self.width, self.height = width, height
        rows, columns = layer.codes.shape
        # One row and column more, without tissue: what lies past the lattice.
        self._codes = np.pad(layer.codes.astype(np.int32), ((0, 1), (0, 1)), constant_values=NO_TISSUE)
        self._across = _spans(width, layer.width / width, layer.tile_level0_px, columns)
        self._down = _spans(height, layer.height / height, layer.tile_level0_px, rows)

    def encoded_tiles(self, encode: Encoder) -> Iterator[bytes]:
        """The compressed TIFF tiles, row by row.

        A TIFF tile is blocks of pixels, one for each tile of the layer that it meets; neighbours alike are one block,
        so that what looks the same is the same to `encode`.
        """
        for rows, heights in self._down:
            strip = self._codes[rows]
            for columns, widths in self._across:
                codes = strip[:, columns]
                if (codes == codes[0, 0]).all():
                    yield encode(codes[:1, :1].tobytes(), (TIFF_TILE_PX,), (TIFF_TILE_PX,))
                else:
                    merged, merged_heights = _merged(codes, heights)
                    merged, merged_widths = _merged(merged.T, widths)
                    yield encode(merged.T.tobytes(), merged_heights, merged_widths)


def _spans(pixels: int, step: float, side: float, tiles: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each TIFF tile along an axis: the layer's tiles that it meets, and how many pixels it has of each.

    pixels: of the level, each `step` level-0 px. The number `tiles` stands for what lies past the lattice, and past
    the picture's edge in the last TIFF tile.
    """
    # The same products as in `Lattice.tile_box`: a pixel's centre on an edge is in the tile right of it.
    edges = np.arange(1, tiles + 1) * side
    tile_of = np.searchsorted(edges, (np.arange(pixels) + 0.5) * step, side="right")
    tile_of = np.pad(tile_of, (0, -pixels % TIFF_TILE_PX), constant_values=tiles)
    return [np.unique(part, return_counts=True) for part in tile_of.reshape(-1, TIFF_TILE_PX)]


def _merged(blocks: np.ndarray, heights: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """Blocks without the rows that are as the one above, to whose height theirs is added."""
    starts = np.flatnonzero(np.r_[True, (blocks[1:] != blocks[:-1]).any(axis=1)])
    return blocks[starts], tuple(np.add.reduceat(heights, starts).tolist())


def _chain_first_to_second_directory(path: str | Path) -> None:
    """Let the file's chain of directories go on from the first, where tifffile ends it, to the first of its SubIFDs.

    tifffile has chained the SubIFDs to one another.
    """
    with tifffile.TiffFile(path) as tiff:
        first = tiff.pages.first
        if not first.subifds:
            return
        start, second = first.offset, first.subifds[0]
    with open(path, "r+b") as file:
        file.seek(start)
        (entries,) = struct.unpack("<Q", file.read(8))
        file.seek(start + 8 + 20 * entries)
        file.write(struct.pack("<Q", second))


WRITERS = {"geojson": (".geojson", write_geojson), "ome_tiff": (".ome.tif", write_ome_tiff)}
