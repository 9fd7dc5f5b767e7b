"""Slides: opened, inspected, and read at an exact µm/px. A photograph is a slide of one level.

Coordinates are continuous level-0 pixels: the pixel (column i, row j) of level 0 covers [i, i+1) × [j, j+1), and (0, 0)
is the slide's upper left corner. Everything that reads takes any object with the four members of an OpenSlide slide
that it uses (`level_count`, `level_dimensions`, `level_downsamples`, `read_region`).

The label and macro images of a slide can name a patient and are never read.
"""

import hashlib
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import openslide
from PIL import Image

from workflow_scripts.lib import files, integrity, photographs
from workflow_scripts.lib.errors import InputError

# How a stand-in begins.
STAND_IN = "Histocarta: no slide here: "
# In place of a number of µm/px: those of each slide's finest level.
NATIVE = "native"
# How much coarser than the target the pixels that are read may be, as a share of the target, unless told otherwise.
MPP_TOLERANCE = 0.02
# µm/px of a microscope's image. Outside lie overviews, and resolutions that a TIFF writer meant for print
# (72 dpi is 353 µm/px, 300 dpi is 85 µm/px).
PLAUSIBLE_MPP = (0.05, 20.0)
# How much the µm/px may differ between x and y, as a share of the smaller one.
ANISOTROPY_TOLERANCE = 0.05
# How far the readings of a level's size may put one of its pixels apart, in pixels of the output: no tile may shift by
# half of one, all told.
POSITION_TOLERANCE = 0.4
# How far from level 0's shape another level may be, in its px and as a share of its side: levels are rounded to whole
# pixels, and those of slides that are pieced together do not cover quite the same.
SHAPE_TOLERANCE_PX, SHAPE_TOLERANCE = 2, 0.01
# How far between two pixels of a level OpenSlide may start to read, in pixels of that level. A level of four or coarser
# always keeps it.
PHASE_TOLERANCE = 0.15
# Cubic, widened to the scale when shrinking (Pillow's): no aliasing when 0.2525 µm/px becomes 0.5, no whole-pixel jumps
# when 0.499 does (as a box filter makes), half the ringing at nuclei's edges of Lanczos.
FILTER = Image.Resampling.BICUBIC
FILTER_NAME = "bicubic"
FILTER_SUPPORT = 2.0
# The most pixels of a level to hold at once; more are read in parts. 8 Mpx are 32 MB.
READ_PIXELS = 8 * 1024 * 1024
# Decoded tiles of the file that OpenSlide keeps, in bytes: a row of tiles of a wide slide, so that a row which two
# strips share is decoded once.
CACHE_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True)
class SlideFacts:
    """What a slide is: level 0's size in px, its levels, and the µm/px of level 0 with its source.

    `mpp` is None and `mpp_source` empty where unknown; the source is `slide` (the file) or `configuration`.
    """

    width: int
    height: int
    level_dimensions: tuple[tuple[int, int], ...]
    level_downsamples: tuple[float, ...]
    mpp: float | None
    mpp_source: str


class SlideRefused(InputError):
    """A slide that cannot be used. `reason` is plain text for a table; `facts` is what was learned before, or None."""

    def __init__(self, reason: str, facts: SlideFacts | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.facts = facts


def write_stand_in(path: str | Path, reason: str) -> None:
    """Write a line of text in the place of a slide that there is not, which `open_slide` refuses for this `reason`."""
    with files.writing(path) as partial:
        partial.write_text(f"{STAND_IN}{reason}\n", encoding="utf-8")


def _reason_of_stand_in(path: str | Path) -> str:
    """Why there is no slide, where a stand-in is in its place; '' where it is none."""
    with open(path, "rb") as file:
        start = file.read(4096).decode("utf-8", errors="replace")
    return start.removeprefix(STAND_IN).strip() if start.startswith(STAND_IN) else ""


def check_md5(path: str | Path, md5: str) -> None:
    """Raise SlideRefused unless a slide's file has the md5 that its list gives; '' is any.

    Wrong bytes that decode to a picture, or another slide under the same name, are found by nothing else.
    """
    if not md5:
        return
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != md5:
        raise SlideRefused(f"md5 is {found}, the list has {md5}: damaged, or another file")


class ReadableSlide(Protocol):
    """The part of an OpenSlide slide that reading pixels needs."""

    level_count: int
    level_dimensions: tuple[tuple[int, int], ...]
    level_downsamples: tuple[float, ...]

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image: ...


@contextmanager
def open_slide(path: str | Path | None, *, photograph: bool = False) -> Iterator[openslide.AbstractSlide]:
    """Open a whole-slide image for reading, or a `photograph` as a slide of one level, in memory as a whole.

    Raises SlideRefused when the file is absent, is a stand-in, OpenSlide cannot open it, or its TIFF directory cannot
    be true (which OpenSlide might not survive). Ordinary images (PNG, plain TIFF) are not slides, and are read as
    photographs alone: for what reasons one is refused, and which pixels it has, says `photographs.read_photograph`.
    A photograph states no µm/px.
    """
    if path is None or not Path(path).is_file():
        raise SlideRefused("file not found")
    if reason := _reason_of_stand_in(path):
        raise SlideRefused(reason)
    try:
        if photograph:
            slide = openslide.ImageSlide(photographs.read_photograph(path))
        else:
            integrity.tiled_images(path)
            slide = openslide.OpenSlide(path)
    except photographs.PhotographRefused as error:
        raise SlideRefused(str(error)) from error
    except integrity.DamagedFile as error:
        raise SlideRefused(f"cannot be opened, cut short or damaged: {error}") from error
    except OSError as error:
        raise SlideRefused(f"cannot be opened: {error.strerror}") from error
    except openslide.OpenSlideUnsupportedFormatError as error:
        raise SlideRefused("cannot be opened: not a slide, cut short, or of an unsupported format") from error
    except openslide.OpenSlideError as error:
        raise SlideRefused(f"cannot be opened: {_message(error)}") from error
    with slide:
        if not photograph:
            slide.set_cache(openslide.OpenSlideCache(CACHE_BYTES))
        yield slide


def inspect_slide(
    path: str | Path | None,
    *,
    target_mpp: float | str,
    configured_mpp: float | None = None,
    tolerance: float = MPP_TOLERANCE,
    photograph: bool = False,
) -> SlideFacts:
    """Open a slide, check that it can be tiled at `target_mpp` µm/px (or NATIVE), and read from every level of it.

    `configured_mpp` is the µm/px of a slide whose file has none; it is not used for one whose file has one. A slide
    is never given a guess (no µm/px from the objective's power). `photograph` is as for `open_slide`.

    Raises SlideRefused with the reason: file not found; cannot be opened; a finest level of another shape than all
    others; no or implausible µm/px; finest level coarser than the target by more than `tolerance`, a share of it; a
    region that cannot be read.
    """
    with open_slide(path, photograph=photograph) as slide:
        return inspect_open_slide(slide, target_mpp=target_mpp, configured_mpp=configured_mpp, tolerance=tolerance)


def inspect_open_slide(
    slide: openslide.AbstractSlide,
    *,
    target_mpp: float | str,
    configured_mpp: float | None = None,
    tolerance: float = MPP_TOLERANCE,
) -> SlideFacts:
    """Do the same as `inspect_slide` for a slide that is open already."""
    facts = _facts_without_mpp(slide)
    _check_shape(facts)
    mpp, source = _mpp_of(slide.properties, configured_mpp, facts)
    facts = replace(facts, mpp=mpp, mpp_source=source)
    if target_mpp != NATIVE and mpp > target_mpp * (1 + tolerance):
        raise SlideRefused(f"finest level has {mpp:.4g} µm/px, coarser than the target {target_mpp:g} µm/px", facts)
    try:
        _read_from_every_level(slide)
    except SlideRefused as error:
        raise SlideRefused(error.reason, facts) from error
    return facts


def check_level(path: str | Path, slide: openslide.AbstractSlide, level: int, *, decode: bool = True) -> None:
    """Check every tile of the file that pixels of `level` are read from; `path` is the file that is open as `slide`.

    This finds what reading them does not (see `integrity`), in TIFF files whose images are the levels themselves; for
    others it does nothing. decode: whether each tile is decoded, too; without, only that none is missing is checked.

    Raises SlideRefused, with the place in level-0 px, at the first tile that is missing or broken; or when the disk
    gives no bytes.
    """
    images = {(image.width, image.height): image for image in reversed(integrity.tiled_images(path))}
    # Aperio's coarser levels are filled from level 0 where they miss a tile.
    origin = 0 if slide.properties.get(openslide.PROPERTY_NAME_VENDOR) == "aperio" else level
    checks = [(origin, integrity.find_missing_tile)]
    if decode:
        checks.append((level, partial(integrity.find_broken_tile, path)))
    for number, find in checks:
        image = images.get(slide.level_dimensions[number])
        try:
            broken = find(image) if image else None
        except OSError as error:
            raise SlideRefused(f"cannot be read (level {number}): {error.strerror}") from error
        if broken:
            x, y = (math.floor(value * level_scale(slide, number)) for value in (broken.x, broken.y))
            raise SlideRefused(f"cannot be read (level {number}, tile at ({x}, {y})): {broken.problem}")


def read_area(
    slide: ReadableSlide,
    box: tuple[float, float, float, float],
    size: tuple[int, int],
    *,
    tolerance: float = MPP_TOLERANCE,
) -> Image.Image:
    """Read the rectangle `box` = (left, top, right, bottom), level-0 px, as an RGB image of `size` = (width, height).

    Output pixel (i, j) shows its own cell of the box cut into width × height equal rectangles, whatever the fractions:
    read from the level that `best_level` names for `tolerance`, and resampled once. What was never scanned
    (transparent) is white. Past the last pixel of a level, that pixel is repeated. Large areas are read in parts, with
    the same result.

    Raises SlideRefused, with the place, when a region cannot be read.
    """
    left, top, right, bottom = box
    width, height = size
    level = best_level(slide, min((right - left) / width, (bottom - top) / height), tolerance=tolerance)
    if (right - left) * (bottom - top) / level_scale(slide, level) ** 2 > READ_PIXELS and max(size) > 1:
        return _read_in_halves(slide, box, size, tolerance)
    x = _span(slide, level, 0, near=left, far=right, outputs=width)
    y = _span(slide, level, 1, near=top, far=bottom, outputs=height)
    region = _read_region(slide, (x.location, y.location), level, (x.available, y.available))
    if x.missing or y.missing:
        padded = np.pad(np.asarray(region), ((0, y.missing), (0, x.missing), (0, 0)), mode="edge")
        region = Image.fromarray(padded)
    return region.resize(size, FILTER, box=(x.start, y.start, x.end, y.end))


def thumbnail(slide: ReadableSlide, *, longest_side: int) -> Image.Image:
    """Return the whole slide as an RGB image whose longest side has at most `longest_side` px, made from its levels.

    Raises SlideRefused when a region cannot be read.
    """
    return read_area(slide, (0, 0, *slide.level_dimensions[0]), thumbnail_size(slide, longest_side=longest_side))


def thumbnail_size(slide: ReadableSlide, *, longest_side: int) -> tuple[int, int]:
    """Return the width and height of the slide's thumbnail, which is never larger than the slide."""
    width, height = slide.level_dimensions[0]
    shrink = max(1.0, max(width, height) / longest_side)
    return max(1, round(width / shrink)), max(1, round(height / shrink))


def best_level(slide: ReadableSlide, scale: float, *, tolerance: float = MPP_TOLERANCE) -> int:
    """Return the level to read for output pixels of `scale` level-0 px: the coarsest that loses nothing.

    A level will do when it is no coarser than the output by more than `tolerance`, a share of it, when the readings of
    its size (`level_scale`) agree on where its pixels are (`POSITION_TOLERANCE`), and when OpenSlide can read it
    without blurring its pixels (`PHASE_TOLERANCE`). Level 0 always will.
    """
    usable = [0]
    for level in range(1, slide.level_count):
        fine_enough = level_scale(slide, level) <= scale * (1 + tolerance)
        placed = _position_doubt(slide, level) <= POSITION_TOLERANCE * scale
        if fine_enough and placed and _phase_doubt(slide, level) <= PHASE_TOLERANCE:
            usable.append(level)
    return max(usable, key=lambda level: level_scale(slide, level))


def level_scale(slide: ReadableSlide, level: int) -> float:
    """Return how many level-0 px a pixel of `level` spans.

    A level's size is rounded to whole pixels, so the ratio of the sizes is only near the truth: 4443 px halved are
    2221 px, which looks like 2.0005. Where a whole number explains both sides to within a pixel, it is the answer:
    levels are made by halving, and so was every real one whose pixels were compared with level 0's. Elsewhere it is
    OpenSlide's, the mean of the two ratios.
    """
    declared = slide.level_downsamples[level]
    whole = max(1, round(declared))
    explains_both = all(
        abs(full / whole - reduced) < 1
        for full, reduced in zip(slide.level_dimensions[0], slide.level_dimensions[level], strict=True)
    )
    return float(whole) if explains_both else float(declared)


def _position_doubt(slide: ReadableSlide, level: int) -> float:
    """Return how far apart, in level-0 px, the readings of a level's size put its last pixel.

    The readings: `level_scale`; OpenSlide's downsample; the level stretched over the slide's whole width and height.
    """
    scale = level_scale(slide, level)
    doubts = []
    for full, reduced in zip(slide.level_dimensions[0], slide.level_dimensions[level], strict=True):
        doubts += [abs(full - reduced * scale), reduced * abs(slide.level_downsamples[level] - scale)]
    return max(doubts)


def _phase_doubt(slide: ReadableSlide, level: int) -> float:
    """Return how far between two pixels of a level, in its px, a read may have to start.

    OpenSlide takes whole level-0 coordinates, divides by its downsample, and interpolates linearly at the fraction:
    a resampling before ours, up to a quarter of a pixel at a downsample of 2.0005 and none at 2.
    """
    declared = slide.level_downsamples[level]
    drift = abs(declared - round(declared)) * max(slide.level_dimensions[level])
    return min(0.5, drift) / declared


@dataclass(frozen=True)
class _Span:
    """One axis of a read: where it starts (level-0 px), what the level has and lacks, and the box in what was read."""

    location: int
    available: int
    missing: int
    start: float
    end: float


def _span(slide: ReadableSlide, level: int, axis: int, *, near: float, far: float, outputs: int) -> _Span:
    """Plan to read [near, far) level-0 px along an axis, with the pixels beside it that the filter needs."""
    scale, declared = level_scale(slide, level), slide.level_downsamples[level]
    near, far = near / scale, far / scale
    margin = FILTER_SUPPORT * max(1.0, (far - near) / outputs) + 1
    location = round(max(0, math.floor(near - margin)) * declared)
    # The level coordinate of the first pixel that OpenSlide returns; its fraction goes into the box.
    origin = location / declared
    # A pixel that lies partly past the level's edge comes back partly transparent: leave it out.
    inside = math.floor(slide.level_dimensions[level][axis] - origin + 1e-6)
    available = max(1, min(math.ceil(far + margin - origin), inside))
    missing = max(0, math.ceil(far - origin) - available)
    return _Span(location, available, missing, near - origin, far - origin)


def _read_in_halves(
    slide: ReadableSlide, box: tuple[float, float, float, float], size: tuple[int, int], tolerance: float
) -> Image.Image:
    left, top, right, bottom = box
    width, height = size
    image = Image.new("RGB", size)
    read = partial(read_area, slide, tolerance=tolerance)
    if width >= height:
        middle = left + (right - left) * (width // 2) / width
        image.paste(read((left, top, middle, bottom), (width // 2, height)), (0, 0))
        image.paste(read((middle, top, right, bottom), (width - width // 2, height)), (width // 2, 0))
    else:
        middle = top + (bottom - top) * (height // 2) / height
        image.paste(read((left, top, right, middle), (width, height // 2)), (0, 0))
        image.paste(read((left, middle, right, bottom), (width, height - height // 2)), (0, height // 2))
    return image


def _read_region(slide: ReadableSlide, location: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
    """Read pixels of one level as RGB, over white. Raises SlideRefused with the place."""
    try:
        region = slide.read_region(location, level, size)
    except openslide.OpenSlideError as error:
        place = f"level {level}, {size[0]} × {size[1]} px at ({location[0]}, {location[1]})"
        raise SlideRefused(f"cannot be read ({place}): {_message(error)}") from error
    if region.getchannel("A").getextrema() == (255, 255):
        return region.convert("RGB")
    white = Image.new("RGBA", size, "white")
    return Image.alpha_composite(white, region).convert("RGB")


def _read_from_every_level(slide: ReadableSlide, *, side: int = 64) -> None:
    """Read the corners and the middle of every level: a file that was cut short lacks one of them."""
    for level in range(slide.level_count):
        width, height = slide.level_dimensions[level]
        size = (min(side, width), min(side, height))
        right, bottom = width - size[0], height - size[1]
        for x, y in ((0, 0), (right, 0), (0, bottom), (right, bottom), (right // 2, bottom // 2)):
            declared = slide.level_downsamples[level]
            _read_region(slide, (math.floor(x * declared), math.floor(y * declared)), level, size)


def _check_shape(facts: SlideFacts) -> None:
    """Refuse a slide that has levels of which none is level 0 made smaller: its tiles would not lie where they do."""
    width, height = facts.level_dimensions[0]
    others = facts.level_dimensions[1:]
    for reduced_width, reduced_height in others:
        tolerance = SHAPE_TOLERANCE_PX + SHAPE_TOLERANCE * reduced_height
        # The level's height, had it level 0's shape; as uncertain as its width, and more where that is the shorter.
        if abs(height * reduced_width / width - reduced_height) <= tolerance * max(1, height / width):
            return
    if others:
        sizes = ", ".join(f"{width} × {height}" for width, height in others)
        raise SlideRefused(f"level 0 has {width} × {height} px, and no other level has its shape ({sizes} px)", facts)


def _facts_without_mpp(slide: openslide.AbstractSlide) -> SlideFacts:
    width, height = slide.level_dimensions[0]
    return SlideFacts(width, height, tuple(slide.level_dimensions), tuple(slide.level_downsamples), None, "")


def _mpp_of(properties: dict[str, str], configured_mpp: float | None, facts: SlideFacts) -> tuple[float, str]:
    """Return the µm/px of level 0 and its source; the mean where x and y differ a little."""
    found = [properties.get(openslide.PROPERTY_NAME_MPP_X), properties.get(openslide.PROPERTY_NAME_MPP_Y)]
    if None in found:
        if configured_mpp is None:
            raise SlideRefused("no µm/px in the file and none configured", facts)
        values, source = [configured_mpp, configured_mpp], "configuration"
    else:
        values, source = [float(value) for value in found], "slide"
    low, high = PLAUSIBLE_MPP
    if not all(low <= value <= high for value in values):
        raise SlideRefused(f"{values[0]:.4g} µm/px ({source}) is not plausible: expected {low:g} to {high:g}", facts)
    if max(values) > min(values) * (1 + ANISOTROPY_TOLERANCE):
        raise SlideRefused(f"µm/px differs between x ({values[0]:.4g}) and y ({values[1]:.4g}) by more than 5 %", facts)
    return sum(values) / 2, source


def _message(error: Exception) -> str:
    """Return an OpenSlide message in one short line, a file named without its folders."""
    text = " ".join(re.sub(r"/(?:[^/:]+/)+", "", str(error)).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
