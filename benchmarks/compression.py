"""Slides compressed from their stores, beside the same encoder on the same patches in memory.

A table per number of torch's threads, `compression_<threads>`; and one for eight orientations, which are encoded from
tiles that are decoded once. The encoder is that of several tasks (64 px, 128 numbers) with random weights.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks import _stores, harness
from benchmarks.prediction import read
from workflow_scripts.lib import compression, encoders, grids, models
from workflow_scripts.lib.orientations import turned
from workflow_scripts.lib.tile_sources import TileSource

ROUNDS = 9
PX, FEATURES, BATCH_SIZE = 64, 128, 256
# Table, threads, orientations, patches of a call.
CASES = [("1", 1, 1, 1024), ("2", 2, 1, 2048), ("2_orientations", 2, 8, 256)]
CPU = torch.device("cpu")


def random_encoder(px: int = PX) -> encoders.Encoder:
    """An encoder of several tasks with random weights."""
    description = {
        "backbone": "multitask_encoder", "features": FEATURES, "tile_px": px, "shrink": 1, "mpp": 0.5, "stain": None,
        "tasks": {"tumour": ["no", "yes"]},
    }  # fmt: skip
    return encoders.Encoder(encoders.build(description).eval(), description)


def compress(path: Path, source: TileSource, encoder: encoders.Encoder, *, orientations: int) -> None:
    """Compress a slide, as a job does once its encoder is loaded."""
    slides = compression.compress_each(
        [(source.store.stem, source)], encoder, orientations=orientations, stain=None, batch_size=BATCH_SIZE, threads=1,
        device=CPU,
    )  # fmt: skip
    with grids.writing_grids(path) as file:
        for slide, bands in slides:
            shape = grids.Shape(orientations, encoder.features, *slide.size)
            grids.write_slide(file, slide.slide_id, bands, shape=shape, attributes=slide.attributes)


def against_memory(folder: Path, orientations: int, n_patches: int) -> dict[str, Callable[[], None]]:
    source = _stores.make_source(folder / "s.h5", n_patches, px=PX)
    encoder = random_encoder()
    patches = torch.from_numpy(read(source, np.arange(n_patches))).permute(0, 3, 1, 2)

    @torch.inference_mode()
    def in_memory() -> None:
        for start in range(0, n_patches, BATCH_SIZE):
            for way in range(orientations):
                encoder.embed(models.to_input(turned(patches[start : start + BATCH_SIZE], way)))

    return {
        "patches in memory": in_memory,
        "the store": lambda: compress(folder / "grids.h5", source, encoder, orientations=orientations),
    }


def main() -> None:
    for name, threads, orientations, n_patches in CASES:
        torch.set_num_threads(threads)
        with tempfile.TemporaryDirectory() as folder:
            contenders = against_memory(Path(folder), orientations, n_patches)
            harness.compare(f"compression_{name}", contenders, work=n_patches, unit="patches", rounds=ROUNDS)


if __name__ == "__main__":
    main()
