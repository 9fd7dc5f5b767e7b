"""Pixels of known stains, for tests."""

import numpy as np

from workflow_scripts.lib import stains

VECTORS = np.array(stains.PUBLISHED.vectors)


def stained(
    n: int = 20_000, *, vectors: np.ndarray = VECTORS, strength: float = 1.0, noise: float = 2.0, seed: int = 0
) -> np.ndarray:
    """Pixels (n, 3) uint8: two thirds mostly eosin, one third mostly haematoxylin, in varying amounts, with noise."""
    rng = np.random.default_rng(seed)
    is_nucleus = rng.random(n) < 1 / 3
    haematoxylin = np.where(is_nucleus, rng.uniform(0.6, 1.8, n), rng.uniform(0, 0.1, n))
    eosin = np.where(is_nucleus, rng.uniform(0, 0.2, n), rng.uniform(0.4, 1.4, n))
    absorbed = strength * np.stack([haematoxylin, eosin], axis=1) @ vectors
    pixels = 255 * np.exp(-absorbed) + rng.normal(0, noise, (n, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def tile(side: int = 128, **settings: float) -> np.ndarray:
    """A tile (side, side, 3) uint8 of such pixels, in patches of 4 × 4 that JPEG keeps, the upper quarter glass."""
    patches = stained((side // 4) ** 2, **settings).reshape(side // 4, side // 4, 3)
    patches[: side // 16] = 243
    return patches.repeat(4, axis=0).repeat(4, axis=1)


def angle(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Degrees between rows of length 1."""
    return np.degrees(np.arccos(np.clip((np.asarray(one) * np.asarray(two)).sum(axis=-1), -1, 1)))
