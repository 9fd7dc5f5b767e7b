"""Prediction from tile stores, beside the same models on tiles in memory; and many models in one pass.

A table per network, tile size and number of torch's threads, `prediction_<network>_<px>_<threads>`, as of `training`.
`prediction_passes` counts processor time, not time by
the clock: ten models on each decoded tile, ten passes of a model each, and decoding alone. Its models are next to
nothing, so that what a pass costs beside them is seen; with networks of any size the difference is the same.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks import _stores, harness
from workflow_scripts.lib import inference, models, tiles
from workflow_scripts.lib.tile_sources import TileSource

ROUNDS = 9
MODELS = 10
# Network, side of a tile in px, tiles of a batch, threads, tiles of a call.
CASES = [
    ("shufflenet_v2_x0_5", 128, 64, 1, 2048),
    ("shufflenet_v2_x0_5", 128, 64, 2, 2048),
    ("resnet18", 128, 64, 2, 512),
    ("resnet18", 224, 32, 2, 128),
    ("inception_v3", 299, 16, 2, 64),
]
PASSES_PX, PASSES_TILES, PASSES_BATCH = 128, 1024, 64
CPU = torch.device("cpu")


def predict(source: TileSource, trained: dict[str, models.TrainedModel], batch_size: int) -> None:
    """Apply models to all tiles of a slide, as a job does once its models are loaded."""
    for _ in inference.predict_each(
        [(source.store.stem, source)], lambda _: trained, stain=None, batch_size=batch_size, threads=1, device=CPU
    ):
        pass


def model_of(network: nn.Module, px: int) -> models.TrainedModel:
    return models.TrainedModel(network.eval(), {"tile_px": px, "mpp": 0.5})


def read(source: TileSource, positions: np.ndarray) -> np.ndarray:
    with tiles.open_store(source.store) as store:
        px = store.attributes["tile_px"]
        pixels = np.empty((len(positions), px, px, 3), np.uint8)
        store.read(positions, pixels)
    return pixels


def against_memory(folder: Path, backbone: str, px: int, batch_size: int, n_tiles: int) -> dict[str, Callable]:
    source = _stores.make_source(folder / "s.h5", n_tiles, px=px)
    trained = {"A/round_1": model_of(models.build(backbone), px)}
    pixels = torch.from_numpy(read(source, np.arange(n_tiles))).permute(0, 3, 1, 2)

    def in_memory() -> None:
        for start in range(0, n_tiles, batch_size):
            inference._apply(trained, pixels[start : start + batch_size])

    return {"tiles in memory": in_memory, "the store": lambda: predict(source, trained, batch_size)}


def passes(folder: Path) -> dict[str, Callable[[], float]]:
    source = _stores.make_source(folder / "s.h5", PASSES_TILES, px=PASSES_PX)
    network = nn.Sequential(nn.Conv2d(3, 1, PASSES_PX // 8, stride=PASSES_PX // 8), nn.Flatten(), nn.Linear(64, 1))
    trained = {f"A/round_{number}": model_of(network, PASSES_PX) for number in range(MODELS)}

    def decode() -> None:
        for start in range(0, PASSES_TILES, PASSES_BATCH):
            read(source, np.arange(start, start + PASSES_BATCH))

    def ten_passes() -> None:
        for name, model in trained.items():
            predict(source, {name: model}, PASSES_BATCH)

    return {
        "ten passes": harness.processor_time(ten_passes),
        "one pass": harness.processor_time(lambda: predict(source, trained, PASSES_BATCH)),
        "decoding": harness.processor_time(decode),
    }


def main() -> None:
    for backbone, px, batch_size, threads, n_tiles in CASES:
        torch.set_num_threads(threads)
        with tempfile.TemporaryDirectory() as folder:
            contenders = against_memory(Path(folder), backbone, px, batch_size, n_tiles)
            harness.compare(
                f"prediction_{backbone}_{px}_{threads}", contenders, work=n_tiles, unit="tiles", rounds=ROUNDS
            )
    # Threads that wait for each other take processor time too.
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        harness.compare("prediction_passes", passes(Path(folder)), work=PASSES_TILES, unit="tiles", rounds=ROUNDS)


if __name__ == "__main__":
    main()
