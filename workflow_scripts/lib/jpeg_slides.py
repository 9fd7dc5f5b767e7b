"""Slides whose levels are JPEG tiles of a TIFF, read by decoding those tiles at a reduced size.

A JPEG is stored as frequencies of squares of 8 × 8 px. Made into squares of 4, 2 or 1 px (libjpeg's scaled DCT), it
costs two thirds of what all its pixels do, and they need not be averaged down. Each tile of the file is decoded at most
once, by several threads, and only where somebody asks for what it shows; that its bytes make one whole JPEG is found on
the way.

Coordinates are those of `slides`: continuous level-0 px. A pixel that was decoded at n eighths is the mean of exactly
8 / n px of its level a side. Slides of any other kind are OpenSlide's to read, and `find_level` finds nothing in them.
"""

import math
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np
import openslide
import simplejpeg
from cykooz_resizer import CropBox, FilterType, ImageData, PixelType, ResizeAlg, ResizeOptions, Resizer
from PIL import Image

from workflow_scripts.lib import integrity, slides
from workflow_scripts.lib.slides import SlideRefused

T = TypeVar("T")

# Sizes at which a tile is decoded, in eighths. Those between take longer than the next of these: libjpeg-turbo has no
# vector code for them (3/8 a third longer than 4/8, 7/8 two thirds longer than all).
EIGHTHS = (1, 2, 4, 8)
# The least of them for chroma that is stored at less than full width or height but not at both alike: libjpeg-turbo
# makes it smaller along with the rest and wide again after, and hues smear. With 4:4:4 and 4:2:0 nothing is lost.
LEAST_EIGHTHS = {"422": 4, "440": 4, "411": 8}
# Vendors whose levels are the images of the file, tile by tile, as OpenSlide shows them: no overlaps, no gaps.
PLAIN_VENDORS = ("aperio", "generic-tiff")
WHITE = 255
# Segments of a JPEG's head, and Adobe's up to its last byte: 0 where the channels are RGB, 1 where YCbCr.
JFIF, ADOBES, START_OF_SCAN = 0xE0, 0xEE, 0xDA
ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"
# The filter of `slides.FILTER`, by vector instructions: five times as fast as Pillow's, and no less exact.
FILTER = ResizeAlg.convolution(FilterType.catmull_rom)
# Areas that are under way at once, for each thread: enough that no thread waits for one that is slow.
AREAS_PER_THREAD = 3
# More than any image of an area has.
KEPT_BYTES = 16 * 1024 * 1024
# Side of the squares that a thumbnail is made of, in its px.
THUMBNAIL_SQUARE = 128


@dataclass(frozen=True)
class JpegLevel:
    """A level of a slide, and the size at which its tiles are decoded.

    `number` is the level's; `image` its image in the file at `path`; `scale` how many level-0 px one of its pixels
    spans; `eighths` the size at which tiles are decoded, of 8.
    """

    path: Path
    number: int
    image: integrity.TiledImage
    scale: float
    eighths: int

    @property
    def pixel(self) -> float:
        """The side of a decoded pixel in level-0 px."""
        return self.scale * 8 / self.eighths

    @property
    def tile_size(self) -> tuple[int, int]:
        """Width and height of a decoded tile."""
        return self.image.tile_width * self.eighths // 8, self.image.tile_height * self.eighths // 8

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the level in decoded pixels; one that lies partly past its edge does not count."""
        return max(1, self.image.width * self.eighths // 8), max(1, self.image.height * self.eighths // 8)


def find_level(
    path: str | Path, slide: openslide.AbstractSlide, scale: float, *, tolerance: float = slides.MPP_TOLERANCE
) -> JpegLevel | None:
    """Return how to read a slide for output pixels of `scale` level-0 px; None where OpenSlide is to read it.

    `path` is the file that is open as `slide`. The level is that of `slides.best_level`, its tiles decoded at the least
    of EIGHTHS that is no coarser than `scale` by more than `tolerance`, a share of it.

    None for a level that is no image of JPEG tiles of three channels; of a vendor who puts levels together in ways of
    his own; with chroma shared out in a way that TurboJPEG does not know; or above level 0 and with a tile missing,
    which Aperio's files fill from level 0. How chroma is shared out is known of the first tile, and taken to be that of
    all; a tile that TurboJPEG then does not know is damage.

    Raises integrity.DamagedFile as `integrity.tiled_images` does, and SlideRefused when the disk gives no bytes.
    """
    if slide.properties.get(openslide.PROPERTY_NAME_VENDOR) not in PLAIN_VENDORS:
        return None
    number = slides.best_level(slide, scale, tolerance=tolerance)
    images = {(image.width, image.height): image for image in reversed(integrity.tiled_images(path))}
    image = images.get(slide.level_dimensions[number])
    if image is None or not image.is_colour_jpeg or (number > 0 and not image.byte_counts.all()):
        return None
    try:
        head = _head_of_first(path, image)
    except OSError as error:
        raise SlideRefused(f"cannot be read (level {number}): {error.strerror}") from error
    if head is None or head.colours != image.colours:
        return None
    level_scale = slides.level_scale(slide, number)
    eighths = _eighths(image, scale * (1 + tolerance) / level_scale, least=LEAST_EIGHTHS.get(head.chroma, 1))
    return JpegLevel(Path(path), number, image, level_scale, eighths)


def _eighths(image: integrity.TiledImage, coarsest: float, *, least: int) -> int:
    """Return the least size whose pixels span at most `coarsest` px, and of which a tile has a whole number."""
    for eighths in EIGHTHS[EIGHTHS.index(least) : -1]:
        is_whole = image.tile_width * eighths % 8 == 0 == image.tile_height * eighths % 8
        if is_whole and 8 / eighths <= coarsest:
            return eighths
    return 8


def _head_of_first(path: str | Path, image: integrity.TiledImage) -> "_Head | None":
    """Return what the head of an image's first tile says; None where TurboJPEG cannot make sense of it."""
    present = np.flatnonzero(image.byte_counts)
    if not len(present):
        return None
    with open(path, "rb") as file:
        encoded = _read(image, file, int(present[0]))
    try:
        return _of_colours(encoded, image)[1]
    except ValueError:
        return None


# Areas


def read_areas(
    level: JpegLevel,
    boxes: np.ndarray,
    sizes: np.ndarray,
    work: Callable[[int, Image.Image], T],
    *,
    threads: int,
) -> Iterator[T]:
    """Read areas of a level, and yield what `work` makes of each, in their order.

    boxes: (n, 4) float64, left, top, right and bottom in level-0 px; sizes: (n, 2) int, width and height of each area's
    image. `work` gets an area's number and its RGB image, in one of `threads` threads. An image is what
    `slides.read_area` makes of the same box, but for the scaled decoding: an output pixel shows its own cell of the
    box, resampled once by the same filter; what was never scanned is white; past the level's last pixel, that is
    repeated.

    Each tile of the file is decoded at most once and kept until the last area that shows it is made, so areas should
    come row by row. Memory is bounded by the tiles that two rows of areas share. The result does not depend on
    `threads`.

    Raises SlideRefused, with the place in level-0 px, at the first area in order that shows a tile which is not one
    whole JPEG of the size and colours that the file says; or when the disk gives no bytes.
    """
    _keep_freed_memory()
    uses = np.zeros((level.image.tiles_down, level.image.tiles_across), np.int32)
    for box, size in zip(boxes, sizes, strict=True):
        uses[_area(level, box, size).tiles] += 1
    uses = uses.ravel()
    pixels: dict[int, np.ndarray] = {}
    decoding: dict[int, Future] = {}
    under_way: deque[tuple[Future, np.ndarray]] = deque()
    with open(level.path, "rb") as file, ThreadPoolExecutor(threads) as pool:

        def make(number: int, area: _Area, own: list[int], decoded: Future, others: set[Future]) -> T:
            # From here on nobody cancels what others may wait for.
            if not decoded.set_running_or_notify_cancel():
                raise CancelledError
            try:
                for tile in own:
                    pixels[tile] = _decode(level, file, tile)
                decoded.set_result(None)
            except BaseException as error:
                decoded.set_exception(error)
                raise
            # Those that decode the rest began before this one, and wait for nobody before they are done.
            for other in others:
                other.result()
            return work(number, _image(level, area, pixels))

        def next_result() -> T:
            future, tiles = under_way.popleft()
            result = future.result()
            uses[tiles] -= 1
            for tile in tiles[uses[tiles] == 0].tolist():
                del pixels[tile], decoding[tile]
            return result

        try:
            for number, (box, size) in enumerate(zip(boxes, sizes, strict=True)):
                if len(under_way) == threads * AREAS_PER_THREAD:
                    yield next_result()
                area = _area(level, box, size)
                tiles = area.numbers(level)
                own = [tile for tile in tiles.tolist() if tile not in decoding]
                decoded: Future = Future()
                decoding.update(dict.fromkeys(own, decoded))
                others = {decoding[tile] for tile in tiles.tolist()} - {decoded}
                under_way.append((pool.submit(make, number, area, own, decoded, others), tiles))
            while under_way:
                yield next_result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            # One that was cancelled before it began decodes nothing, and another may wait for what it was to decode.
            for decoded in decoding.values():
                decoded.cancel()


def _keep_freed_memory() -> None:
    """Have what an area frees kept for the next one.

    glibc gives a freed piece back to the system, and asks for it anew, unless a larger one was freed before. That is an
    eighth of the time of tiling. Where there is no glibc this does nothing.
    """
    np.empty(KEPT_BYTES, np.uint8)


def thumbnail(level: JpegLevel, slide: slides.ReadableSlide, *, longest_side: int, threads: int) -> Image.Image:
    """Return the whole slide as `slides.thumbnail` does, from the tiles of a level that `find_level` gave for it.

    Raises SlideRefused as `read_areas` does.
    """
    width, height = slides.thumbnail_size(slide, longest_side=longest_side)
    image = Image.new("RGB", (width, height))
    corners = [(x, y) for y in range(0, height, THUMBNAIL_SQUARE) for x in range(0, width, THUMBNAIL_SQUARE)]
    starts = np.array(corners)
    ends = np.minimum(starts + THUMBNAIL_SQUARE, (width, height))
    steps = np.divide(slide.level_dimensions[0], (width, height))
    boxes = np.concatenate([starts * steps, ends * steps], axis=1)
    squares = read_areas(level, boxes, ends - starts, lambda _, square: square, threads=threads)
    for corner, square in zip(corners, squares, strict=True):
        image.paste(square, corner)
    return image


@dataclass(frozen=True)
class _Span:
    """One axis of an area in decoded pixels: those to take, [first, last), those that lack after them, the box's ends.

    The ends, `near` and `far`, count from `first`.
    """

    first: int
    last: int
    missing: int
    near: float
    far: float


@dataclass(frozen=True)
class _Area:
    """An area of a level: its two axes, the size of its image, and the rows and columns of tiles that it shows."""

    x: _Span
    y: _Span
    size: tuple[int, int]
    tiles: tuple[slice, slice]

    def numbers(self, level: JpegLevel) -> np.ndarray:
        """Return the numbers of the tiles in the order of the file's directory."""
        rows, columns = (np.arange(axis.start, axis.stop) for axis in self.tiles)
        return (rows[:, None] * level.image.tiles_across + columns).ravel()


def _area(level: JpegLevel, box: np.ndarray, size: np.ndarray) -> _Area:
    left, top, right, bottom = (float(value) / level.pixel for value in box)
    width, height = (int(value) for value in size)
    x = _span(left, right, outputs=width, available=level.size[0])
    y = _span(top, bottom, outputs=height, available=level.size[1])
    rows, columns = (
        slice(span.first // side, -(-span.last // side))
        for span, side in zip((y, x), reversed(level.tile_size), strict=True)
    )
    return _Area(x, y, (width, height), (rows, columns))


def _span(near: float, far: float, *, outputs: int, available: int) -> _Span:
    """Plan to take [near, far) decoded pixels along an axis, with those beside it that the filter needs."""
    # Pixels that are those of the output need no filter, and are copied where there is nothing else.
    is_whole = near == round(near) and far - near == outputs and far <= available
    margin = 0 if is_whole else slides.FILTER_SUPPORT * max(1.0, (far - near) / outputs) + 1
    first = min(max(0, math.floor(near - margin)), available - 1)
    last = max(first + 1, min(math.ceil(far + margin), available))
    return _Span(first, last, max(0, math.ceil(far) - last), near - first, far - first)


def _image(level: JpegLevel, area: _Area, pixels: dict[int, np.ndarray]) -> Image.Image:
    """Put an area together from decoded tiles, and resample it."""
    x, y = area.x, area.y
    tile_width, tile_height = level.tile_size
    source = np.empty((y.last - y.first, x.last - x.first, 3), np.uint8)
    for number in area.numbers(level).tolist():
        row, column = divmod(number, level.image.tiles_across)
        top, left = row * tile_height, column * tile_width
        rows = slice(max(top, y.first), min(top + tile_height, y.last))
        columns = slice(max(left, x.first), min(left + tile_width, x.last))
        source[rows.start - y.first : rows.stop - y.first, columns.start - x.first : columns.stop - x.first] = pixels[
            number
        ][rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    if x.missing or y.missing:
        source = np.pad(source, ((0, y.missing), (0, x.missing), (0, 0)), mode="edge")
    return _resampled(source, area)


def _resampled(source: np.ndarray, area: _Area) -> Image.Image:
    """Return the image of an area from its pixels: what Pillow makes of them, but for the rounding."""
    height, width = source.shape[:2]
    box = CropBox(area.x.near, area.y.near, _length(area.x, available=width), _length(area.y, available=height))
    # Copied from one kind of memory to another: the library could write into Pillow's own, but has to know its layout.
    image = ImageData(*area.size, PixelType.U8x3)
    # A resizer of its own for each call, because it lets one thread in at a time.
    Resizer().resize(
        ImageData(width, height, PixelType.U8x3, source.tobytes()), image, ResizeOptions(FILTER, crop_box=box)
    )
    return Image.frombuffer("RGB", area.size, image.get_buffer(), "raw", "RGB", 0, 1)


def _length(span: _Span, *, available: int) -> float:
    """Return the length of a box that ends, with its rounding, at the last of the pixels or before."""
    length = span.far - span.near
    return length if span.near + length <= available else math.nextafter(length, 0)


# Tiles of the file


def _decode(level: JpegLevel, file: BinaryIO, number: int) -> np.ndarray:
    """Return the pixels of a tile, (height, width, 3) uint8 RGB, white where it was never scanned."""
    image = level.image
    width, height = level.tile_size
    if not image.byte_counts[number]:
        return np.full((height, width, 3), WHITE, np.uint8)
    try:
        encoded, found = _of_colours(_read(image, file, number), image)
        if (found.width, found.height) != (image.tile_width, image.tile_height):
            problem = f"a JPEG of {found.width} × {found.height} px, expected {image.tile_width} × {image.tile_height}"
        elif found.colours != image.colours:
            problem = f"a JPEG of colour model {found.colours}, expected {image.colours}"
        else:
            factor = 8 / level.eighths
            # Strict: libjpeg's warnings are errors, those about bytes left over too.
            return simplejpeg.decode_jpeg(encoded, "RGB", min_height=height, min_width=width, min_factor=factor)
    except ValueError as error:
        problem = " ".join(str(error).split())
    except OSError as error:
        raise SlideRefused(f"cannot be read (level {level.number}): {error.strerror}") from error
    row, column = divmod(number, image.tiles_across)
    x, y = (math.floor(value * level.scale) for value in (column * image.tile_width, row * image.tile_height))
    raise SlideRefused(f"cannot be read (level {level.number}, tile at ({x}, {y})): {problem}")


def _read(image: integrity.TiledImage, file: BinaryIO, number: int) -> bytes:
    """Return a tile as one JPEG, with the tables that it shares. Safe in several threads."""
    encoded = os.pread(file.fileno(), int(image.byte_counts[number]), int(image.offsets[number]))
    return image.tables[:-2] + encoded[2:] if image.tables else encoded


class _Head(NamedTuple):
    height: int
    width: int
    colours: str
    chroma: str


def _head(encoded: bytes) -> _Head:
    return _Head(*simplejpeg.decode_jpeg_header(encoded))


def _of_colours(encoded: bytes, image: integrity.TiledImage) -> tuple[bytes, _Head]:
    """Return a tile as a JPEG that says itself what its channels are, and what its head says.

    In a TIFF the directory says it. A JPEG alone says it by Adobe's segment, else JFIF's means YCbCr, else libjpeg
    guesses, wrong for most of Aperio's that are RGB.
    """
    head = _head(encoded)
    if head.colours == image.colours:
        return encoded, head
    kept, start = [encoded[:2], ADOBE + bytes([image.colours == "YCbCr"])], 2
    while encoded[start : start + 1] == b"\xff" and encoded[start + 1] != START_OF_SCAN:
        end = start + 2 + int.from_bytes(encoded[start + 2 : start + 4], "big")
        if encoded[start + 1] not in (JFIF, ADOBES):
            kept.append(encoded[start:end])
        start = end
    encoded = b"".join([*kept, encoded[start:]])
    return encoded, _head(encoded)
