"""The peak memory of compressing a slide, and one four times as large, each by a process of its own.

Without arguments it measures; with a folder of a slide's store and its encoder it compresses the slide.
"""

import sys
import tempfile
from pathlib import Path

from benchmarks import _stores, harness
from benchmarks.compression import random_encoder
from workflow_scripts.lib import compression, models
from workflow_scripts.lib.tile_sources import TileSource

PATCHES = {"the slide": 4_000, "four times as large": 16_000}
ROUNDS = 3
PX, BATCH_SIZE, ORIENTATIONS = 32, 256, 8


def prepare(folder: Path, n_patches: int) -> None:
    """Write the store and the encoder that `compress` asks for."""
    _stores.make_source(folder / "s.h5", n_patches, px=PX)
    encoder = random_encoder(PX)
    models.save(folder / "encoder", encoder.network.state_dict(), encoder.description)


def compress(folder: Path) -> None:
    compression.compress_slides(
        folder / "grids.h5",
        [TileSource(folder / "s.h5")],
        ["s"],
        encoder_folder=folder / "encoder",
        orientations=ORIENTATIONS,
        stain=None,
        batch_size=BATCH_SIZE,
        threads=1,
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as parent:
        contenders = {}
        for name, n_patches in PATCHES.items():
            folder = Path(parent) / str(n_patches)
            prepare(folder, n_patches)
            command = harness.python("-m", "benchmarks.compression_memory", folder)
            contenders[name] = lambda command=command, n=n_patches: harness.in_process(command)._replace(work=n)
        harness.compare("compression_memory", contenders, work=1, unit="patches", rounds=ROUNDS)


if __name__ == "__main__":
    compress(Path(sys.argv[1])) if len(sys.argv) > 1 else main()
