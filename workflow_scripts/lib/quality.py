"""Quality: how much of a tile is pen ink or a fold, and how sharp it is, by classical image analysis.

Colours are looked at on squares of about 8 µm, the size of a nucleus with its surroundings: stain averages to the hue
of tissue there, while a stroke of ink, a fold or a smear is far wider and keeps its own. Sharpness is looked at on
pixels of about 1 µm. So the measures of a tile hardly depend on its own µm/px, unless it is coarser than that.

Which measures drop a tile is for `Limits` to say. The measures themselves are constants: they were set on the real
slides and on the pictures of marked slides that the developers have (docs/methods.md has the numbers).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

CELL_MPP = 8.0
SHARPNESS_MPP = 1.0

INKS = ("green", "blue", "red", "black")
PENS = tuple(f"pen_{ink}" for ink in INKS)
# What is measured of each tile, by the names that a tile store has for it.
MEASURES = ("sharpness", *PENS, "dark")

# Absorbance of each value of a channel; 0 counts as 1.
ABSORBANCE = -np.log10(np.maximum(np.arange(256), 1) / 255).astype(np.float32)

PEN, DARK, BLUR = REASONS = ("pen", "dark", "blur")


@dataclass(frozen=True)
class Limits:
    """What a tile may have and still be kept; None keeps it whatever it has. A tile at a limit is kept.

    max_pen: share of ink of all colours together; max_dark: share that is dark and saturated; min_sharpness: variance
    of the Laplacian.
    """

    max_pen: float | None = None
    max_dark: float | None = None
    min_sharpness: float | None = None

    def reason(self, measures: Mapping[str, float]) -> str:
        """Why a tile of these `measures` is dropped, one of REASONS; empty where it is kept.

        Of several reasons the first counts: ink is often dark and never sharp, and a fold is out of focus.
        """
        if self.max_pen is not None and pen_share(measures) > self.max_pen:
            return PEN
        if self.max_dark is not None and measures["dark"] > self.max_dark:
            return DARK
        if self.min_sharpness is not None and measures["sharpness"] < self.min_sharpness:
            return BLUR
        return ""


def measure(image: Image.Image, *, mpp: float) -> dict[str, float]:
    """Return each of MEASURES for a tile, an RGB image at `mpp` µm/px."""
    cells = np.asarray(_reduced(image, mpp, CELL_MPP))
    return {"sharpness": sharpness(image, mpp=mpp), **ink_shares(cells), "dark": dark_share(cells)}


def pen_share(measures: Mapping[str, float]) -> float:
    """Return the share of a tile that is ink of any colour; no square has two."""
    return sum(measures[pen] for pen in PENS)


def sharpness(image: Image.Image, *, mpp: float) -> float:
    """Return the variance of the Laplacian of the grey image at about 1 µm/px: low where a tile is out of focus.

    `image` is RGB at `mpp` µm/px, averaged down by a whole factor; one that is coarser is taken as it is, and compares
    with others of its own µm/px alone. The Laplacian is of four neighbours, inside the edge; in grey levels².

    Source: Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy". It grows with contrast and with
    the number of nuclei, so a limit holds for a stain and a scanner: fat and mucus are smooth when in focus.
    """
    grey = np.asarray(_reduced(image.convert("L"), mpp, SHARPNESS_MPP)).astype(np.int16)
    if min(grey.shape) < 3:
        return 0.0
    laplacian = -4 * grey[1:-1, 1:-1]
    for neighbour in (grey[:-2, 1:-1], grey[2:, 1:-1], grey[1:-1, :-2], grey[1:-1, 2:]):
        laplacian += neighbour
    return float(np.var(laplacian, dtype=np.float64))


def ink_shares(cells: np.ndarray) -> dict[str, float]:
    """Return the share of squares that are ink of each colour, by the names in PENS.

    `cells` is (height, width, 3) uint8, a pixel per square of about 8 µm. Ink lies over the tissue, so that their
    absorbances (−log10 of the transmitted share, R, G and B) add. Haematoxylin and eosin both absorb green light most:
    in no mixture of them is more red absorbed than green, and less blue always is.

    - black: no channel above 63, a quarter of the light. Soot, melanin and the darkest folds look the same.
    - green and blue: red is absorbed more than green and than blue, by 0.1 at least (a fifth of the light). It is blue
      where green is absorbed more than blue, by 0.4 of what red is at least, else green.
    - red: green is absorbed more than red by 0.6 at least (three quarters of the light), and blue at least 0.8 times as
      much as green. Of eosin the second is 0.5 to 0.7; of blood up to 0.9, but the first 0.5. So a weak red stroke, or
      a crimson one of eosin's hue, is not found.

    Source of the idea: the red, green and blue pen filters of IBM CODAIT's deep-histopath, which bound R, G and B
    themselves; bounds on absorbances hold for ink over tissue too, and for a weak stroke as for a strong one.
    """
    red, green, blue = ABSORBANCE[np.moveaxis(cells, 2, 0)]
    is_black = np.minimum(np.minimum(red, green), blue) > ABSORBANCE[64]
    is_cold = (red - green > 0.1) & (red - blue > 0.1) & ~is_black
    is_blue = is_cold & (green - blue >= 0.4 * (red - blue))
    is_red = (green - red > 0.6) & (blue > 0.8 * green) & ~is_black
    found = (is_cold & ~is_blue, is_blue, is_red, is_black)
    return {pen: _share(mask) for pen, mask in zip(PENS, found, strict=True)}


def dark_share(cells: np.ndarray) -> float:
    """Return the share of squares that are dark and saturated: folds, and tissue that is too thick.

    `cells` is (height, width, 3) uint8, a pixel per square of about 8 µm. A fold has the stain of two layers: more
    saturation and less light, so that saturation less value (HSV) is above 0.2. Crowded nuclei of a strong stain reach
    that too, so a limit holds for a cohort's stain.

    Source: Bautista and Yagi 2010, "Improving the visualization and detection of tissue folds in whole slide images
    through color enhancement", where the difference is of saturation and luminance.
    """
    red, green, blue = np.moveaxis(cells, 2, 0).astype(np.float32)
    value = np.maximum(np.maximum(np.maximum(red, green), blue), 1)
    saturation = 1 - np.minimum(np.minimum(red, green), blue) / value
    return _share(saturation - value / 255 > 0.2)


def _share(mask: np.ndarray) -> float:
    return np.count_nonzero(mask) / mask.size


def _reduced(image: Image.Image, mpp: float, target_mpp: float) -> Image.Image:
    """Average an image down by the whole factor that comes nearest to `target_mpp`; never to less than a pixel."""
    factor = max(1, min(round(target_mpp / mpp), *image.size))
    return image.reduce(factor) if factor > 1 else image
