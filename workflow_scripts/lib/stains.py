"""Stains: how a slide is coloured, and its pixels recoloured to look like a reference.

What is done to a slide's tiles is a pure function of a pixel's colour. It stands here once, in closed form, over arrays
of channels: in NumPy's float64 it is exact, and `recolouring` runs it with torch on the device that trains.

Sources: Reinhard et al. 2001, "Color transfer between images"; Macenko et al. 2009, "A method for normalizing histology
slides for quantitative analysis"; Vahadane et al. 2016, "Structure-preserving color normalization and sparse stain
separation for histological images"; the conventions of staintools 2.1.2 (docs/methods.md).
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import writing

NONE = "none"
REINHARD, MACENKO, LEAST_SQUARES, VAHADANE = METHODS = ("reinhard", "macenko", "macenko_least_squares", "vahadane")

# Penalty of the non-negative lasso that finds concentrations; staintools'.
PENALTY = 0.01
# Least absorbance of a channel; staintools'.
LEAST_ABSORBANCE = 1e-6
# Light where nothing absorbs, in grey levels: of the published constants, and of all else.
LEAST_SQUARES_LIGHT, LIGHT = 240.0, 255.0
# Pixels that are recoloured at once, so that what is between stays in the processor's cache.
BLOCK = 1 << 15


# Appearances


@dataclass(frozen=True)
class Stains:
    """The two stains of a slide or a reference.

    vectors: of haematoxylin, then of eosin, the absorbance of red, green and blue (natural logarithm), of length 1.
    maxima: the 99th percentile of the concentration of each.
    """

    vectors: tuple[tuple[float, float, float], tuple[float, float, float]]
    maxima: tuple[float, float]


@dataclass(frozen=True)
class Colours:
    """The colours of a slide or a reference, for Reinhard: mean and standard deviation of L*, a* and b* (CIELAB)."""

    means: tuple[float, float, float]
    deviations: tuple[float, float, float]


Appearance = Stains | Colours

# The matrix and the maxima that the published least-squares implementations carry, rows to unit length.
PUBLISHED = Stains(((0.5626, 0.7201, 0.4062), (0.2159, 0.8012, 0.5581)), (1.9705, 1.0308))


@dataclass(frozen=True)
class Normalisation:
    """What is done to the colours of one slide: they are moved from `source` to `target` by `method`.

    reason: why they are kept instead; empty where they are moved. n_pixels: pixels of tissue that `source` is from.
    """

    method: str
    source: Appearance | None
    target: Appearance | None
    reason: str = ""
    n_pixels: int = 0

    @property
    def keeps_colours(self) -> bool:
        return bool(self.reason)


def write_normalisation(path: str | Path, normalisation: Normalisation, *, code_version: str = "") -> None:
    """Write what is done to a slide's colours as JSON."""
    with writing(path) as partial:
        content = asdict(normalisation) | {"code_version": code_version}
        partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_normalisation(path: str | Path) -> Normalisation:
    """Read what `write_normalisation` wrote. Raises InputError where the file is not that."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        source, target = (content[name] and as_appearance(content[name]) for name in ("source", "target"))
        found = Normalisation(content["method"], source, target, str(content["reason"]), int(content["n_pixels"]))
        if found.method not in METHODS or not (found.reason or (source and target)):
            raise ValueError(f"method {found.method!r} without a source, a target or a reason")
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: expected the stain of a slide (stains/<slide>.json), found: {error}; delete it and run again"
        ) from error
    return found


def read_target(paths_to_reference: Sequence[str | Path]) -> dict[str, Any] | None:
    """What a cohort's stains are normalised to, as its models remember it: method and appearance; None for no file.

    paths_to_reference: `stain_reference.json`, or none. Raises InputError where the file is not that.
    """
    if not paths_to_reference:
        return None
    path = paths_to_reference[0]
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        as_appearance(content["appearance"])
        return {"method": content["method"], "appearance": content["appearance"]}
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: expected a stain reference, found: {error}; delete it and run again") from error


def as_appearance(content: Mapping[str, Any]) -> Appearance:
    """An appearance from what JSON holds of it. Raises KeyError, TypeError or ValueError where it is none."""
    if "vectors" in content:
        haematoxylin, eosin = (_numbers(row, 3) for row in content["vectors"])
        return Stains((haematoxylin, eosin), _numbers(content["maxima"], 2))
    return Colours(_numbers(content["means"], 3), _numbers(content["deviations"], 3))


def _numbers(values: Sequence[float], length: int) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if len(numbers) != length or not all(map(math.isfinite, numbers)):
        raise ValueError(f"expected {length} numbers, found {values}")
    return numbers


# The function of a pixel's colour. `xp` is numpy or torch; a channel is an array of either, and a parameter is a number
# or an array that broadcasts with it.


def absorbances(xp: Any, channels: Sequence[Any], *, method: str) -> list[Any]:
    """The absorbance of each channel (0 to 255, floating) by the convention of a method."""
    if method == LEAST_SQUARES:
        return [-xp.log((channel + 1) / LEAST_SQUARES_LIGHT) for channel in channels]
    return [xp.clip(-xp.log(xp.clip(channel, 1, None) / LIGHT), LEAST_ABSORBANCE, None) for channel in channels]


def lasso(xp: Any, absorbed: Sequence[Any], vectors: Sequence[Any], *, penalty: float) -> tuple[Any, Any]:
    """The concentrations of two stains, c ≥ 0, at which ½‖x − c·D‖² + penalty·(c₁ + c₂) is least.

    absorbed: x, of three channels. vectors: D, the six numbers of two rows of length 1.
    """
    one, two = (
        absorbed[0] * row[0] + absorbed[1] * row[1] + absorbed[2] * row[2] - penalty
        for row in (vectors[:3], vectors[3:6])
    )
    overlap = vectors[0] * vectors[3] + vectors[1] * vectors[4] + vectors[2] * vectors[5]
    scale = 1 / (1 - overlap * overlap)
    alone_one, alone_two = xp.clip(one, 0, None), xp.clip(two, 0, None)
    # One stain alone is the answer where more of the other makes it worse. The function is convex: it has one minimum.
    is_one, is_two = two <= overlap * alone_one, one <= overlap * alone_two
    nothing = xp.clip(one, 0, 0)
    return (
        xp.where(is_one, alone_one, xp.where(is_two, nothing, (one - overlap * two) * scale)),
        xp.where(is_one, nothing, xp.where(is_two, alone_two, (two - overlap * one) * scale)),
    )


def lab(xp: Any, channels: Sequence[Any]) -> list[Any]:
    """L*, a* and b* of sRGB channels (0 to 255, floating), for the white D65."""
    linear = []
    for channel in channels:
        value = channel / 255
        linear.append(xp.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92))
    roots = []
    for row, white in zip(_TO_XYZ, _WHITE, strict=True):
        light = (linear[0] * row[0] + linear[1] * row[1] + linear[2] * row[2]) / white
        roots.append(xp.where(light > 0.008856, xp.clip(light, 1e-12, None) ** (1 / 3), 7.787 * light + 16 / 116))
    x, y, z = roots
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)]


def srgb(xp: Any, lightness: Any, a: Any, b: Any) -> list[Any]:
    """The sRGB channels (0 to 255, floating, not rounded) of L*, a* and b*; what no screen shows is clipped."""
    y = (lightness + 16) / 116
    light = []
    for root, white in zip((a / 500 + y, y, y - b / 200), _WHITE, strict=True):
        light.append(xp.where(root > 6 / 29, root * root * root, (root - 16 / 116) / 7.787) * white)
    channels = []
    for row in _FROM_XYZ:
        value = xp.clip(light[0] * row[0] + light[1] * row[1] + light[2] * row[2], 0, 1)
        root = xp.clip(value, 0.0031308, None) ** (1 / 2.4)
        channels.append(255 * xp.where(value > 0.0031308, 1.055 * root - 0.055, 12.92 * value))
    return channels


# Linear sRGB to CIE XYZ and back, and D65 there; the constants of scikit-image and OpenCV.
_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_FROM_XYZ = tuple(map(tuple, np.linalg.inv(_TO_XYZ).tolist()))
_WHITE = (0.95047, 1.0, 1.08883)


def parameters(normalisation: Normalisation) -> np.ndarray:
    """What `transform` needs of a normalisation that moves colours, float64; as many numbers for all of a method."""
    source, target = normalisation.source, normalisation.target
    if normalisation.method == REINHARD:
        scale = np.divide(target.deviations, source.deviations)
        return np.concatenate([scale, target.means - scale * source.means])
    scaled = np.array(target.vectors) * np.divide(target.maxima, source.maxima)[:, None]
    if normalisation.method == LEAST_SQUARES:
        return (scaled.T @ np.linalg.pinv(np.array(source.vectors).T)).ravel()
    return np.concatenate([np.ravel(source.vectors), scaled.ravel()])


def transform(xp: Any, channels: Sequence[Any], p: Sequence[Any], *, method: str) -> list[Any]:
    """The channels (0 to 255, floating) recoloured by the `parameters` p; to be cut, not rounded, to whole numbers."""
    if method == REINHARD:
        moved = [channel * p[axis] + p[3 + axis] for axis, channel in enumerate(lab(xp, channels))]
        return [channel + 0.5 for channel in srgb(xp, *moved)]
    absorbed = absorbances(xp, channels, method=method)
    if method == LEAST_SQUARES:
        new = [absorbed[0] * p[k] + absorbed[1] * p[k + 1] + absorbed[2] * p[k + 2] for k in (0, 3, 6)]
        light = [LEAST_SQUARES_LIGHT * xp.exp(-value) for value in new]
        # Brighter than white is 254, as the published implementations have it.
        return [xp.where(value > LIGHT, xp.clip(value, 254, 254), value) for value in light]
    haematoxylin, eosin = lasso(xp, absorbed, p[:6], penalty=PENALTY)
    light = [LIGHT * xp.exp(-(haematoxylin * p[6 + k] + eosin * p[9 + k])) for k in range(3)]
    return [xp.clip(value, 0, LIGHT) for value in light]


# Pixels


def recolour(pixels: np.ndarray, normalisation: Normalisation) -> np.ndarray:
    """Return pixels (..., 3) uint8 as a normalisation makes them, uint8 of the same shape; computed in float64."""
    if normalisation.keeps_colours:
        return pixels
    p = parameters(normalisation)
    flat = pixels.reshape(-1, 3)
    found = np.empty_like(flat)
    for start in range(0, len(flat), BLOCK):
        block = slice(start, start + BLOCK)
        channels = flat[block].T.astype(np.float64)
        for axis, channel in enumerate(transform(np, channels, p, method=normalisation.method)):
            found[block, axis] = channel
    return found.reshape(pixels.shape)


# Set in a table of colours for one that is known.
_MARK = np.uint32(1 << 24)


class ColourTable:
    """A slide's colours and what becomes of each, for recolouring many of its tiles: computed once, then looked up.

    The table has room for every colour (64 MiB), and memory is taken as colours are met. It gives what `recolour`
    gives, to the bit. Not to be shared between threads.
    """

    def __init__(self, normalisation: Normalisation) -> None:
        self._normalisation = normalisation
        # Red, green, blue and a mark; 0 until the colour is known.
        self._known = np.zeros(1 << 24, "<u4")

    def recolour(self, pixels: np.ndarray) -> np.ndarray:
        """Return pixels (..., 3) uint8 as the normalisation makes them, uint8 of the same shape."""
        if self._normalisation.keeps_colours:
            return pixels
        colours = _packed(pixels)
        # No colour is out of range, and not to look is faster.
        found = self._known.take(colours, mode="wrap")
        is_new = found == 0
        if is_new.any():
            here = colours[is_new]
            new = self._each_once(here)
            self._known[new] = _packed(recolour(_unpacked(new), self._normalisation)) | _MARK
            found[is_new] = self._known[here]
        return _unpacked(found)

    def _each_once(self, colours: np.ndarray) -> np.ndarray:
        """Some colours without repetition: of the places that each is written to the table with, one stays."""
        places = np.arange(len(colours), dtype=np.uint32)
        self._known[colours] = places
        return colours[self._known[colours] == places]


def _packed(pixels: np.ndarray) -> np.ndarray:
    """Pixels (..., 3) as one number each, red its lowest byte."""
    padded = np.empty(pixels.size + 1, np.uint8)
    padded[:-1] = pixels.reshape(-1)
    # Four bytes from every third on, of which the fourth is the next pixel's.
    overlapping = np.ndarray((pixels.size // 3,), "<u4", padded, 0, (3,))
    return (overlapping & np.uint32(0xFFFFFF)).reshape(pixels.shape[:-1])


def _unpacked(colours: np.ndarray) -> np.ndarray:
    """The pixels (..., 3) of such numbers; what is above the three bytes is left out."""
    packed = colours[..., None].view(np.uint8)
    pixels = np.empty((*colours.shape, 3), np.uint8)
    for axis in range(3):
        pixels[..., axis] = packed[..., axis]
    return pixels
