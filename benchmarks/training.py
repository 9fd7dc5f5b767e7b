"""Training steps from tile stores, beside the same steps on batches that already lie in memory.

A table per network, tile size and number of torch's threads, `training_<network>_<px>_<threads>`. Both contenders
augment, learn and average alike. With a thread for each core, decoding takes its time from the network; with fewer, as
in the demo, it has a core of its own.
"""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks import _stores, harness
from workflow_scripts.lib import models, training
from workflow_scripts.lib.training_data import LabelledSlide, SlideTiles

ROUNDS = 9
SLIDES, TILES_OF_SLIDE = 40, 32
# Network, side of a tile in px, tiles of a step, threads, steps of a call: the demo's; of common size; the published.
CASES = [
    ("shufflenet_v2_x0_5", 128, 32, 1, 4),
    ("shufflenet_v2_x0_5", 128, 32, 2, 4),
    ("resnet18", 128, 32, 2, 1),
    ("resnet18", 224, 32, 2, 1),
    ("inception_v3", 299, 8, 2, 1),
]


def schedule_of(batch_size: int) -> training.Schedule:
    """The demo's way of training, which has all augmentations and an average of weights."""
    return training.Schedule(
        batch_size=batch_size, balanced_batches=False, learning_rate=2e-3, weight_decay=0.01, weight_averaging=0.95,
        augmentations=["horizontal_flip", "vertical_flip", "transpose", "colour_jitter"], evaluations_per_epoch=1,
        max_epochs=6, checkpoint_on="slide_auc", plateau_on="loss", plateau_patience=3, plateau_factor=0.3,
        stop_on="loss", stop_patience=6,
    )  # fmt: skip


def contenders(
    folder: Path, backbone: str, px: int, batch_size: int, threads: int, steps: int
) -> dict[str, Callable[[], None]]:
    """Some steps of one learner on batches in memory, and on those of stores that are written into a folder."""
    slides = [
        LabelledSlide(f"s{n}", _stores.make_source(folder / f"s{n}.h5", TILES_OF_SLIDE, px=px, seed=n), n % 2)
        for n in range(SLIDES)
    ]
    data, schedule = SlideTiles(slides), schedule_of(batch_size)
    fabric = training.make_fabric(threads=threads)
    torch.manual_seed(0)
    learner = training.Learner.of(models.build(backbone), schedule, fabric)

    def read() -> Iterator[training.Batch]:
        return training._training_batches(data, schedule, 0, seed=1, fabric=fabric, workers=0)

    def train_on(batches: Iterator[training.Batch]) -> None:
        run = training.Run(training.State(), learner, fabric, folder / "state.pt", "", heard=lambda: 0)
        training._train_steps(run, data, batches, steps, schedule, 1)

    held, stored = itertools.cycle(list(itertools.islice(read(), 4))), read()
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
