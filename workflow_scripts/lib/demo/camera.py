"""A simulated camera on a microscope: what its photographs do to the tissue of a slide.

One camera is one microscope: its white balance and its light, which is brightest beside the middle of the field, stay
(`Microscope`). Exposure, focus and noise are each photograph's own.
Source: microscope adaptation, 1: light sources and shades of microscopes, darker light that some prefer, white noise,
blur, loss of focus.

ASSUME light is multiplied in grey levels as they are stored; no camera's own curve is applied.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from workflow_scripts.lib.files import writing

SUFFIXES = (".jpg", ".png", ".tif")
# How far from the middle of the field its brightest place may be, as a share of the field's sides.
OFF_MIDDLE = 0.1
# What cameras state for want of anything better; it says nothing of the tissue's size.
DPI = (72, 72)


@dataclass(frozen=True)
class Microscope:
    """What one microscope does to each of its photographs, whatever the strength.

    tint: (3,), by what power of the white balance each channel is multiplied: the highest is 1 above the lowest, and
    their mean is 0. brightest: (2,), where the field is, down and right, as shares of its sides.
    """

    tint: np.ndarray
    brightest: np.ndarray


def draw_microscope(rng: np.random.Generator) -> Microscope:
    """A microscope: which channel is strongest, which weakest, and where its light is brightest."""
    tint = rng.permutation([0.0, rng.uniform(), 1.0])
    return Microscope(tint - tint.mean(), 0.5 + rng.uniform(-OFF_MIDDLE, OFF_MIDDLE, 2))


def take(
    pixels: np.ndarray,
    *,
    mpp: float,
    camera: Mapping[str, float],
    microscope: Microscope,
    rng: np.random.Generator,
) -> np.ndarray:
    """Photograph a field of a slide: uint8 (rows, columns, 3) at `mpp` µm/px as uint8 RGB at the camera's µm/px.

    camera: the values of `configuration.adaptation.Camera`. The photograph's upper left corner is the field's; what is
    less than a pixel of it at the other sides is left out. The field is resampled, multiplied with white balance,
    exposure and vignette, blurred; noise is added, and what is too bright or too dark is clipped. At strength 0 it is
    the resampled field and nothing else, and as many numbers are drawn as at any other.
    """
    strength = camera["strength"]
    seen = _resampled(pixels, camera["mpp"] / mpp).astype(np.float32)
    balance = (1 + strength * camera["colour"]) ** microscope.tint
    exposure = np.exp(strength * camera["light"] * rng.normal())
    shade = 1 - min(1.0, strength * camera["vignette"]) * _off_brightest(seen.shape[:2], microscope.brightest)
    seen *= (exposure * balance).astype(np.float32)
    seen *= shade[..., None].astype(np.float32)
    # The lens alone, and up to as much again where the focus is lost.
    sigma = strength * camera["blur_um"] * rng.uniform(1, 2) / camera["mpp"]
    seen = ndimage.gaussian_filter(seen, sigma, axes=(0, 1), mode="nearest")
    seen += np.float32(strength * camera["noise"]) * rng.standard_normal(seen.shape, dtype=np.float32)
    return np.clip(np.round(seen), 0, 255).astype(np.uint8)


def write_photograph(path: str | Path, pixels: np.ndarray, *, jpeg_quality: int) -> None:
    """Write uint8 (rows, columns, 3) RGB as JPEG (full chroma), PNG or TIFF (LZW), by the suffix, one of SUFFIXES.

    Nothing in the file says how large a pixel is. The same pixels give the same bytes.
    """
    options = {
        ".jpg": {"quality": jpeg_quality, "subsampling": 0},
        ".png": {"compress_level": 1},
        ".tif": {"compression": "tiff_lzw"},
    }[Path(path).suffix]
    with writing(path) as unfinished:
        Image.fromarray(pixels).save(unfinished, dpi=DPI, **options)


def _resampled(pixels: np.ndarray, scale: float) -> np.ndarray:
    """Pixels (rows, columns, 3) as others that span `scale` of them each."""
    height, width = (int(side / scale + 1e-6) for side in pixels.shape[:2])
    box = (0, 0, min(width * scale, pixels.shape[1]), min(height * scale, pixels.shape[0]))
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC, box=box))


def _off_brightest(shape: tuple[int, int], brightest: np.ndarray) -> np.ndarray:
    """How far each pixel is from the brightest place: the square of its distance, 1 at the corner farthest away."""
    down, right = (
        (np.arange(side) + 0.5) / side - middle for side, middle in zip(shape, brightest.tolist(), strict=True)
    )
    far = down[:, None] ** 2 + right[None, :] ** 2
    return far / far.max()
