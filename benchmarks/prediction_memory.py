"""The peak memory of prediction by the number of a slide's tiles, each number in a process of its own.

Without arguments it measures; with a folder of a slide's store and its model it predicts the slide.
"""

import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch

from benchmarks import _stores, harness
from workflow_scripts.lib import inference, models
from workflow_scripts.lib.tile_sources import TileSource

TILES = (1_000, 10_000, 40_000)
ROUNDS = 3
PX, BATCH_SIZE = 32, 256
MODEL = "A/round_1"


def prepare(folder: Path, n_tiles: int) -> None:
    """Write the store and the model that `predict` asks for."""
    _stores.make_source(folder / "s.h5", n_tiles, px=PX)
    torch.manual_seed(0)
    weights = models.build("shufflenet_v2_x0_5").state_dict()
    models.save(folder / MODEL, weights, {"backbone": "shufflenet_v2_x0_5", "tile_px": PX, "mpp": 0.5, "stain": None})


def predict(folder: Path) -> None:
    inference.predict_slides(
        folder / "predictions.h5",
        sources={"s": TileSource(folder / "s.h5")},
        models_of_slide={"s": [MODEL]},
        model_folders={MODEL: folder / MODEL},
        stain=None,
        batch_size=BATCH_SIZE,
        threads=1,
    )


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as parent:
        folders = {n_tiles: Path(parent) / str(n_tiles) for n_tiles in TILES}
        for n_tiles, folder in folders.items():
            prepare(folder, n_tiles)
        for number in range(1, ROUNDS + 1):
            for n_tiles, folder in folders.items():
                usage = harness.in_process(harness.python("-m", "benchmarks.prediction_memory", folder))
                rows.append((f"{n_tiles} tiles", number, usage.seconds, n_tiles, "tiles", usage.peak_mb))
                print(f"prediction_memory: {n_tiles} tiles, round {number}: {usage.peak_mb:.0f} MB")
    harness.write("prediction_memory", pd.DataFrame(rows, columns=harness.COLUMNS))


if __name__ == "__main__":
    predict(Path(sys.argv[1])) if len(sys.argv) > 1 else main()
