"""A library of cells as rubber stamps: small patches of stain that the painter puts down by the thousand."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

ANGLES = 24
VARIANTS = 6


@dataclass(frozen=True)
class Shape:
    """How a kind of nucleus varies. Half-axes in µm; stain in haematoxylin units (1 = a plain nucleus)."""

    long: tuple[float, float]
    short: tuple[float, float]
    irregular: float
    stain: tuple[float, float]
    chromatin: float
    rim: float
    nucleoli: tuple[int, int]
    bend: float = 0.0


SHAPES = {
    # Trait A absent: small, oval, alike.
    "epithelial": Shape((3.6, 4.6), (2.4, 2.9), 0.03, (0.80, 1.05), 0.16, 0.15, (0, 1)),
    # Normal: thin, pressed against the wall of their gland.
    "pressed": Shape((3.4, 4.4), (1.3, 1.8), 0.03, (1.00, 1.25), 0.16, 0.10, (0, 0)),
    # Trait A present: large, of every form, with coarse chromatin and nucleoli.
    "pleomorphic": Shape((5.0, 8.2), (3.8, 5.4), 0.13, (0.42, 1.08), 0.30, 0.30, (1, 3)),
    # Trait B present: thin and long.
    "spindle": Shape((6.5, 10.5), (1.1, 1.6), 0.05, (0.60, 0.95), 0.18, 0.10, (0, 0), 1.6),
    # Trait B absent: plump, pale.
    "stromal": Shape((2.8, 4.0), (2.0, 2.8), 0.06, (0.60, 0.95), 0.20, 0.20, (0, 1)),
    "lymphocyte": Shape((2.5, 3.1), (2.4, 2.9), 0.03, (1.10, 1.40), 0.22, 0.05, (0, 0)),
}


@dataclass(frozen=True)
class Stamp:
    """float32 (n, n) each: haematoxylin to reach, and what share of the eosin below is left to see."""

    haematoxylin: np.ndarray
    left: np.ndarray


@lru_cache(maxsize=4)
def stamp_book(mpp: float, seed: int) -> dict[str, list[list[Stamp]]]:
    """The book (`book_of`) of each kind of nucleus in SHAPES."""
    rng = np.random.default_rng([seed, 11])
    return {name: book_of(shape, mpp, rng) for name, shape in SHAPES.items()}


def book_of(shape: Shape, mpp: float, rng: np.random.Generator, *, angles: int = ANGLES) -> list[list[Stamp]]:
    """So many orientations (of a half turn) × VARIANTS stamps of one kind of nucleus, at `mpp` µm/px."""
    return [[_nucleus(shape, np.pi * angle / angles, mpp, rng) for _ in range(VARIANTS)] for angle in range(angles)]


def _nucleus(shape: Shape, angle: float, mpp: float, rng: np.random.Generator) -> Stamp:
    long, short, stain = (rng.uniform(*span) for span in (shape.long, shape.short, shape.stain))
    half = int(np.ceil(1.25 * max(long, short) / mpp)) + 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1] * mpp
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    across = across + shape.bend * rng.uniform(-1, 1) * (along / long) ** 2
    turn = np.arctan2(across / short, along / long)
    waves = sum(rng.normal() / k**0.5 * np.cos(k * turn + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4, 5))
    depth = (1 + shape.irregular * waves - np.hypot(along / long, across / short)) * min(long, short)
    body = np.clip(depth / 0.8 + 0.5, 0, 1)
    grain = ndimage.gaussian_filter(rng.standard_normal(x.shape), 0.42 / mpp)
    texture = 1 + shape.chromatin * grain / grain.std() + shape.rim * np.exp(-(((depth - 0.5) / 0.5) ** 2))
    for _ in range(rng.integers(shape.nucleoli[0], shape.nucleoli[1] + 1)):
        at = rng.uniform(-0.4, 0.4, 2) * (long, short)
        texture += 0.9 * np.exp(-((along - at[0]) ** 2 + (across - at[1]) ** 2) / (2 * rng.uniform(0.55, 0.85) ** 2))
    return Stamp((stain * body * np.clip(texture, 0.25, 2.2)).astype(np.float32), (1 - 0.30 * body).astype(np.float32))


def red_cell(mpp: float) -> np.ndarray:
    """Eosin of one erythrocyte, float32 (n, n): a disc of 6.6 µm, paler in its middle."""
    half = int(np.ceil(4.0 / mpp))
    y, x = np.mgrid[-half : half + 1, -half : half + 1] * mpp
    radius = np.hypot(x, y)
    disc = np.clip((3.3 - radius) / 0.5 + 0.5, 0, 1)
    return (disc * (1.25 - 0.45 * np.exp(-((radius / 1.3) ** 2)))).astype(np.float32)


def drop(mpp: float) -> np.ndarray:
    """What a drop of mucus leaves of either stain, float32 (n, n): a clear disc of 6 µm with a soft edge."""
    half = int(np.ceil(4.0 / mpp))
    y, x = np.mgrid[-half : half + 1, -half : half + 1] * mpp
    return (1 - 0.85 * np.clip((3.0 - np.hypot(x, y)) / 1.0 + 0.5, 0, 1)).astype(np.float32)


def granule(mpp: float) -> np.ndarray:
    """A granule, float32 (n, n): the amount of either stain in a grain of 1.6 µm."""
    half = int(np.ceil(1.2 / mpp))
    y, x = np.mgrid[-half : half + 1, -half : half + 1] * mpp
    return (1.1 * np.clip((0.8 - np.hypot(x, y)) / 0.6 + 0.5, 0, 1)).astype(np.float32)
