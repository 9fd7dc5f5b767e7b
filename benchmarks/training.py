"""Training steps from tile stores, beside the same steps on batches that already lie in memory.

A table per network, tile size and number of torch's threads, `training_<network>_<px>_<threads>`. Both contenders
augment, learn and average alike. With a thread for each core, decoding takes its time from the network; with fewer, as
in the demo, it has a core of its own.
"""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks import _stores, harness
from workflow_scripts.lib import models, training
from workflow_scripts.lib.tile_problems import TwoClasses
from workflow_scripts.lib.training_data import LabelledSlide, SlideTiles

ROUNDS = 7
SLIDES, TILES_OF_SLIDE = 40, 32
# Network, side of a tile in px, tiles of a step, threads, steps of a call: the demo's; of common size; the published.
# Enough steps that a batch which was decoded between two calls is a small part of one.
CASES = [
    ("shufflenet_v2_x0_5", 128, 32, 1, 24),
    ("shufflenet_v2_x0_5", 128, 32, 2, 24),
    ("resnet18", 128, 32, 2, 10),
    ("resnet18", 224, 32, 2, 5),
    ("inception_v3", 299, 8, 2, 5),
]
# The demo's way of training, which has all augmentations and an average of weights.
AUGMENTATIONS = ["horizontal_flip", "vertical_flip", "transpose", "colour_jitter"]
SCHEDULE = training.Schedule(
    learning_rate=2e-3, weight_decay=0.01, weight_averaging=0.95, steps_per_epoch=None, epoch_factor=1.0,
    evaluations_per_epoch=1, max_epochs=6, checkpoint_on="slide_auc", plateau_on="loss", plateau_patience=3,
    plateau_factor=0.3, lowest_learning_rate=0.0, stop_on="loss", stop_patience=6,
)  # fmt: skip


def contenders(
    folder: Path, backbone: str, px: int, batch_size: int, threads: int, steps: int
) -> dict[str, Callable[[], None]]:
    """Some steps of one learner on batches in memory, and on those of stores that are written into a folder."""
    slides = [
        LabelledSlide(f"s{n}", _stores.make_source(folder / f"s{n}.h5", TILES_OF_SLIDE, px=px, seed=n), n % 2)
        for n in range(SLIDES)
    ]
    fabric = training.make_fabric(threads=threads)
    torch.manual_seed(0)
    problem = TwoClasses(
        models.build(backbone), SlideTiles(slides), SlideTiles(slides), batch_size=batch_size, balanced_batches=False,
        augmentations=AUGMENTATIONS, seed=1, fabric=fabric, threshold=0.5,
    )  # fmt: skip
    learner = training.Learner.of(problem.network, SCHEDULE, fabric)

    def train_on(batches: Iterator[Any]) -> None:
        run = training.Run(training.State(), learner, fabric, folder / "state.pt", "", heard=lambda: 0)
        training._train_steps(run, problem, batches, steps, steps + 1, SCHEDULE, 1)

    held, stored = itertools.cycle(list(itertools.islice(problem.batches(0), 4))), problem.batches(0)
    return {"batches in memory": lambda: train_on(held), "the store": lambda: train_on(stored)}


def main() -> None:
    for backbone, px, batch_size, threads, steps in CASES:
        with tempfile.TemporaryDirectory() as folder:
            harness.compare(
                f"training_{backbone}_{px}_{threads}",
                contenders(Path(folder), backbone, px, batch_size, threads, steps),
                work=steps,
                unit="steps",
                rounds=ROUNDS,
            )


if __name__ == "__main__":
    main()
