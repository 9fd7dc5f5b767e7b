"""Damage in a slide's file that the library which reads it does not report.

OpenSlide 4.0.1 refuses a JPEG tile of a wrong size, and one that libjpeg warns about while it makes the pixels. Three
things it does not see, and this room does, for files that are TIFF:

- a directory whose tiles cannot be where it says. OpenSlide asks for as much memory as the directory names, and ends
  the whole process when there is not so much; what lies nowhere it leaves blank;
- a tile that has a place in the file and no bytes, which it leaves blank too;
- a JPEG tile that has given all its pixels before its bytes end. A wrong byte shifts what follows it, and the blocks
  that are then too many are left over.

What nobody sees without a checksum is damage that leaves a valid JPEG or another valid number.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import tifffile

from workflow_scripts.lib.errors import InputError

logger = logging.getLogger(__name__)
# What is wrong with a file is said here, once; the parser has a line for every tag.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

# TIFF's numbers: of tags, and of their values.
WIDTH, HEIGHT, COMPRESSION, COLOURS, CHANNELS, PLANES = 256, 257, 259, 262, 277, 284
TILE_WIDTH, TILE_HEIGHT, OFFSETS, BYTE_COUNTS, TABLES = 322, 323, 324, 325, 347
TAGS = (WIDTH, HEIGHT, COMPRESSION, COLOURS, CHANNELS, PLANES, TILE_WIDTH, TILE_HEIGHT, OFFSETS, BYTE_COUNTS, TABLES)
JPEG, RGB, YCBCR, TOGETHER = 7, 2, 6, 1
COLOUR_MODELS = {RGB: "RGB", YCBCR: "YCbCr"}

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Slides have tiles of 240 to 4096 px a side. OpenSlide takes four bytes for each of a tile's pixels.
LARGEST_TILE_PX = 8192 * 8192
# Uncompressed, a pixel has at most eight bytes (16 bits of red, green, blue and alpha); what a tile of any compression
# may have besides (tables, a colour profile).
LARGEST_PIXEL_BYTES = 8
LARGEST_EXTRAS_BYTES = 1024 * 1024
# A slide of 200,000 px a side has 700,000 tiles of 240 px. What a directory lists beyond is not read into memory.
MOST_TILES = 10_000_000


class DamagedFile(InputError):
    """A file that contradicts itself. The message is one line of plain text, without the file's name."""


@dataclass(frozen=True)
class TiledImage:
    """An image of a TIFF file that is stored in tiles; sizes in px.

    `offsets` and `byte_counts` (n,) uint64 say where each tile lies in the file, row by row; both are 0 where there
    never was one. `tables` are the JPEG tables that the tiles share, empty where each has its own. `colours`: what the
    three channels of a tile are that is a JPEG of them together, the kind that OpenSlide decodes itself, `RGB` or
    `YCbCr`; empty where it is not.
    """

    width: int
    height: int
    tile_width: int
    tile_height: int
    offsets: np.ndarray
    byte_counts: np.ndarray
    tables: bytes
    colours: str

    def __str__(self) -> str:
        return f"an image of {self.width} × {self.height} px in tiles of {self.tile_width} × {self.tile_height} px"

    @property
    def is_colour_jpeg(self) -> bool:
        return self.colours != ""

    @property
    def tiles_across(self) -> int:
        return -(-self.width // self.tile_width)

    @property
    def tiles_down(self) -> int:
        return -(-self.height // self.tile_height)


@dataclass(frozen=True)
class BrokenTile:
    """A tile of a file: its upper left corner, px of its image, and what is wrong with it."""

    x: int
    y: int
    problem: str


def tiled_images(path: str | Path) -> list[TiledImage]:
    """Return the tiled images of a TIFF file in the order of the file; none where it is not TIFF.

    A directory that cannot be parsed ends the list: what it leaves open OpenSlide decides.

    Raises DamagedFile when an image's tiles cannot be where its directory says: larger than any slide's, fewer than its
    size needs, past the end of the file, or of more bytes than their pixels have.
    """
    with open(path, "rb") as file:
        if file.read(4) not in TIFF_STARTS:
            return []
    images = []
    try:
        with tifffile.TiffFile(path) as tiff:
            for page in tiff.pages:
                if TILE_WIDTH in page.tags and TILE_HEIGHT in page.tags:
                    tags = {code: _value(page.tags[code]) for code in TAGS if code in page.tags}
                    images.append(_tiled_image(tags, file_bytes=Path(path).stat().st_size))
    except DamagedFile:
        raise
    # A parser on damaged bytes can stumble anywhere, and says so in words of its own or in Python's.
    except Exception as error:
        logger.debug("%s: the directory after %d tiled images cannot be parsed: %r", path, len(images), error)
    return images


def find_missing_tile(image: TiledImage) -> BrokenTile | None:
    """Return the first tile that has a place in the file and no bytes; None when there is none such.

    A tile without both was never scanned, as a sparse file says it.
    """
    missing = np.flatnonzero((image.byte_counts == 0) & (image.offsets != 0))
    return _broken(image, missing[0], "it has a place in the file and no bytes") if len(missing) else None


def find_broken_tile(path: str | Path, image: TiledImage) -> BrokenTile | None:
    """Return the first tile of `image` in the file that is not one whole JPEG; None when all are.

    The tiles are decoded to their last byte, at an eighth of their size: what is compressed is read whole all the
    same, and little of it is made into pixels. Tiles that are not JPEGs of three channels are not looked at.
    """
    if not image.is_colour_jpeg:
        return None
    with open(path, "rb") as file:
        for number in np.flatnonzero(image.byte_counts):
            file.seek(int(image.offsets[number]))
            encoded = file.read(int(image.byte_counts[number]))
            whole = image.tables[:-2] + encoded[2:] if image.tables else encoded
            problem = problem_of_jpeg(whole, size=(image.tile_width, image.tile_height))
            if problem:
                return _broken(image, number, problem)
    return None


def problem_of_jpeg(encoded: bytes, *, size: tuple[int, int] | None = None) -> str:
    """Say what is wrong with a JPEG, decoded to its last byte; '' when nothing is.

    size: the width and height that it should have; None for any.
    """
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(encoded)
        if size not in (None, (width, height)):
            return f"a JPEG of {width} × {height} px, expected {size[0]} × {size[1]}"
        # Strict: libjpeg's warnings are errors, those about bytes left over too.
        simplejpeg.decode_jpeg(encoded, "GRAY", min_height=1, min_width=1, min_factor=8, strict=True)
    except ValueError as error:
        # A valid JPEG may share out its colours in ways that only libjpeg itself knows: its reader's verdict holds.
        return "" if "subsampling" in str(error) else " ".join(str(error).split())
    return ""


def _broken(image: TiledImage, number: int, problem: str) -> BrokenTile:
    row, column = divmod(int(number), image.tiles_across)
    return BrokenTile(column * image.tile_width, row * image.tile_height, problem)


def _tiled_image(tags: dict[int, Any], *, file_bytes: int) -> TiledImage:
    """Return the image of a directory, whose values are by their TIFF numbers. Raises DamagedFile."""
    width, height, tile_width, tile_height = (
        _numbers(tags, code)[0] for code in (WIDTH, HEIGHT, TILE_WIDTH, TILE_HEIGHT)
    )
    apart = tags.get(PLANES, TOGETHER) != TOGETHER
    channels = int(_numbers({CHANNELS: 1} | tags, CHANNELS)[0])
    is_jpeg = tags.get(COMPRESSION) == JPEG and channels == 3 and not apart
    image = TiledImage(
        width=int(width),
        height=int(height),
        tile_width=int(tile_width),
        tile_height=int(tile_height),
        offsets=_numbers(tags, OFFSETS),
        byte_counts=_numbers(tags, BYTE_COUNTS),
        tables=_numbers(tags, TABLES).astype(np.uint8).tobytes(),
        colours=COLOUR_MODELS.get(tags.get(COLOURS), "") if is_jpeg else "",
    )
    if 0 in (image.width, image.height, image.tile_width, image.tile_height):
        raise DamagedFile(f"{image}: no size may be 0")
    if image.tile_width * image.tile_height > LARGEST_TILE_PX:
        raise DamagedFile(f"{image}: expected tiles of at most {LARGEST_TILE_PX} px")
    if is_jpeg and not image.is_colour_jpeg:
        raise DamagedFile(f"{image}: JPEG of colour model {tags.get(COLOURS)}, expected {RGB} (RGB) or {YCBCR} (YCbCr)")
    needed = image.tiles_across * image.tiles_down * (channels if apart else 1)
    found = min(len(image.offsets), len(image.byte_counts))
    if found < needed:
        raise DamagedFile(f"{image} needs {needed} of them, found {found} in its directory")
    image = replace(image, offsets=image.offsets[:needed], byte_counts=image.byte_counts[:needed])
    _check_places(image, file_bytes)
    return image


def _check_places(image: TiledImage, file_bytes: int) -> None:
    """Raise DamagedFile when a tile of an image lies outside its file, or is larger than can be."""
    offsets, byte_counts = image.offsets, image.byte_counts
    most = min(file_bytes, image.tile_width * image.tile_height * LARGEST_PIXEL_BYTES + LARGEST_EXTRAS_BYTES)
    # Compared without adding: the sum of two numbers of 64 bits may not be one.
    outside = np.flatnonzero((byte_counts > most) | (offsets > file_bytes - np.minimum(byte_counts, most)))
    if len(outside):
        raise DamagedFile(
            f"{image}: tile {outside[0]} is said to have {byte_counts[outside[0]]} bytes from {offsets[outside[0]]}, "
            f"expected at most {most}, within the {file_bytes} of the file"
        )


def _value(tag: tifffile.TiffTag) -> Any:
    """Return the value of a directory's entry. Raises DamagedFile when there is more of it than any slide has."""
    if tag.count > MOST_TILES:
        raise DamagedFile(f"the TIFF directory has {tag.count} values in tag {tag.code}, expected at most {MOST_TILES}")
    return tag.value


def _numbers(tags: dict[int, Any], code: int) -> np.ndarray:
    """Return a tag's values (n,) uint64, none when it is absent. Raises DamagedFile unless all are whole numbers."""
    value = tags.get(code, np.zeros(0, np.uint64))
    values = np.atleast_1d(np.asarray(list(value) if isinstance(value, bytes) else value))
    # Numbers that one type of integers cannot hold together become another type.
    if values.dtype.kind not in "iu" or (values < 0).any():
        raise DamagedFile(f"the TIFF directory has no whole numbers in tag {code}")
    return values.astype(np.uint64)
