"""How a painter puts stain down: textures, nuclei, and other small patches; soft steps from one thing to the next."""

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np

from workflow_scripts.lib.demo import stamps
from workflow_scripts.lib.demo.noise import periodic_noise

TEXTURE = 1024


def step(x: np.ndarray, width: float) -> np.ndarray:
    """From 0 to 1 where x rises through 0, linearly over `width`."""
    return np.clip(x / width + 0.5, 0, 1)


@lru_cache(maxsize=2)
def textures(seed: int) -> dict[str, np.ndarray]:
    """Periodic textures of TEXTURE px a side, made once per process. Painted ones have mean 1."""
    rng = np.random.default_rng([seed, 12])
    size = TEXTURE
    striae, bundles = periodic_noise(size, (1.0, 26), rng), periodic_noise(size, (4.0, 55), rng)
    fibres = 0.95 + 0.16 * striae + 0.22 * bundles
    fibres = np.clip(fibres, 0, None) * (1 - 0.85 * np.clip((-bundles - 1.05) / 0.25, 0, 1))
    patches = periodic_noise(size, (14, 14), rng)
    web = 0.55 + 0.13 * patches + 0.10 * periodic_noise(size, (2.5, 2.5), rng)
    for sigma in ((1.6, 2.8), (2.8, 1.6), (2.2, 2.2)):
        web += 0.42 * np.exp(-np.abs(periodic_noise(size, sigma, rng)) / 0.22)
    cytoplasm = 1 + 0.16 * periodic_noise(size, (1.6, 1.6), rng) + 0.14 * periodic_noise(size, (6, 6), rng)
    dense = 1 + 0.12 * periodic_noise(size, (9, 9), rng) + 0.07 * periodic_noise(size, (2.5, 2.5), rng)
    painted = {
        "fibres": fibres,
        "web": np.clip(web, 0, None),
        "cytoplasm": np.clip(cytoplasm, 0.2, None),
        "dense": dense,
    }
    grain = 0.75 * periodic_noise(size, (1.1, 1.1), rng) + 0.45 * periodic_noise(size, (0.6, 0.6), rng)
    return {name: (t / t.mean()).astype(np.float32) for name, t in painted.items()} | {"grain": grain}


def tiled(
    target: np.ndarray,
    texture: np.ndarray,
    rng: np.random.Generator,
    apply: Callable[[np.ndarray, np.ndarray], object],
) -> None:
    """Call apply(part of target, texture part) block by block, the texture rolled by a random offset."""
    top, left = rng.integers(0, TEXTURE, 2)
    texture = np.roll(texture, (top, left), axis=(0, 1))
    for y in range(0, target.shape[0], TEXTURE):
        for x in range(0, target.shape[1], TEXTURE):
            part = target[y : y + TEXTURE, x : x + TEXTURE]
            apply(part, texture[: part.shape[0], : part.shape[1]])


def put_nuclei(
    haematoxylin: np.ndarray,
    eosin: np.ndarray,
    book: list[list[stamps.Stamp]],
    points: np.ndarray,
    angles: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Stamp nuclei of a book (`stamps.book_of`) into both stains, in place; those that the slide's edge cuts are left.

    points (n, 2): y, x in px. angles (n,): of their long axes from the x axis, radians.
    """
    turns = np.round(np.asarray(angles) / np.pi * len(book)).astype(int) % len(book)
    variants = rng.integers(0, len(book[0]), len(points))
    corners = np.round(points).astype(int)
    height, width = haematoxylin.shape
    for (y, x), turn, variant in zip(corners.tolist(), turns.tolist(), variants.tolist(), strict=True):
        stamp = book[turn][variant]
        half = len(stamp.left) // 2
        if half <= y < height - half and half <= x < width - half:
            where = (slice(y - half, y + half + 1), slice(x - half, x + half + 1))
            np.maximum(haematoxylin[where], stamp.haematoxylin, out=haematoxylin[where])
            eosin[where] *= stamp.left


def windows(points: np.ndarray, half: int, shape: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    """The squares of `2 half + 1` px a side around points (n, 2: y, x; px), but for those that the edge cuts."""
    for y, x in np.round(points).astype(int).tolist():
        if half <= y < shape[0] - half and half <= x < shape[1] - half:
            yield slice(y - half, y + half + 1), slice(x - half, x + half + 1)
