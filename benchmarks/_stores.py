"""Tile stores for benchmarks: made tiles that take about as many bytes as those of a scanned slide."""

from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from workflow_scripts.lib import tiles
from workflow_scripts.lib.demo.noise import smooth_field
from workflow_scripts.lib.tile_sources import TileSource

# Different tiles of a store; more are these again, which costs a reader the same.
DIFFERENT = 64
STROMA, NUCLEI = np.array([228, 160, 196.0]), np.array([110, 70, 150.0])


def tissue_like(px: int, rng: np.random.Generator) -> np.ndarray:
    """A tile (px, px, 3) uint8: dark patches of the size of nuclei on pink, with the grain of a camera."""
    nuclei = 1 / (1 + np.exp(-4 * (smooth_field((px, px), 12, rng) - 0.5)))
    pixels = STROMA + nuclei[:, :, None] * (NUCLEI - STROMA) + rng.normal(0, 5, (px, px, 3))
    return pixels.clip(0, 255).astype(np.uint8)


def make_source(path: Path, n_tiles: int, *, px: int, seed: int = 0) -> TileSource:
    """Write a tile store of `n_tiles` tiles, with the datasets and attributes that readers ask for."""
    rng = np.random.default_rng([seed, px])
    encoded = [tiles.encode(Image.fromarray(tissue_like(px, rng)), quality=90) for _ in range(min(n_tiles, DIFFERENT))]
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", libver=("earliest", "v110")) as file:
        for folder, size, datasets in (("", n_tiles, tiles.OF_KEPT), ("dropped/", 0, tiles.OF_DROPPED)):
            for name, (dtype, shape) in datasets.items():
                chunks = {"chunks": (tiles.CHUNK_TILES, *shape), "maxshape": (None, *shape)}
                file.create_dataset(f"{folder}{name}", (size, *shape), dtype, **chunks)
        for position in range(n_tiles):
            file["tiles"][position] = encoded[position % len(encoded)]
        columns = 1 + int(n_tiles**0.5)
        file["coords"][:] = np.stack([np.arange(n_tiles) % columns, np.arange(n_tiles) // columns], axis=1)
        file["thumbnail"] = np.zeros(0, np.uint8)
        file.attrs.update(
            slide_id=path.stem, tile_px=px, mpp=0.5, slide_mpp=0.5, status="accepted", columns=columns, rows=columns
        )
    return TileSource(path)
