"""Training by one process, and, run as a script (`processes.py FOLDER`), by two on the CPU, which save what they found.

Those are launched as the processes of two GPUs are. A launch takes seconds, so all that needs two is done in one.
"""

import os
import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    # The second process starts this file again, and inherits no path.
    sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment

from workflow_scripts.lib import interruption, tile_problems, training, training_data
from workflow_scripts.lib.tile_sources import TileSource

SCHEDULE = training.Schedule(
    learning_rate=1e-3, weight_decay=0.01, weight_averaging=0.9, steps_per_epoch=None, epoch_factor=0.5,
    evaluations_per_epoch=2, max_epochs=3, checkpoint_on="last", plateau_on="loss", plateau_patience=9,
    plateau_factor=0.1, lowest_learning_rate=0.0, stop_on="loss", stop_patience=9,
)  # fmt: skip


def without_batchnorm() -> torch.nn.Module:
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 8, 5, stride=3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(800, 1)
    return torch.nn.Sequential(*layers)


def with_batchnorm() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.BatchNorm2d(3), *without_batchnorm())


def sets(folder: Path) -> list[training_data.SlideTiles]:
    """Slides of the stores `<set>_<number>_<label>.h5` in a folder."""
    return [
        training_data.SlideTiles([
            training_data.LabelledSlide(path.stem, TileSource(path), int(path.stem[-1]))
            for path in sorted(folder.glob(f"{name}_*.h5"))
        ])
        for name in ("train", "validation")
    ]  # fmt: skip


def train(folder: Path, name: str, fabric: Fabric, *, network: torch.nn.Module | None = None) -> training.Trained:
    """Train a network on the stores of a folder; the state is in `<name>.pt`."""
    problem = tile_problems.TwoClasses(
        without_batchnorm() if network is None else network, *sets(folder), batch_size=7, balanced_batches=True,
        augmentations=["horizontal_flip", "vertical_flip", "transpose", "colour_jitter"], seed=1, fabric=fabric,
        threshold=0.5,
    )  # fmt: skip
    return training.train(problem, SCHEDULE, seed=1, fabric=fabric, path_to_state=folder / f"{name}.pt", run_key=name)


def interrupted(folder: Path, name: str, fabric: Fabric) -> tuple[int, list[int]]:
    """Train until one of two processes is asked to end; return this one's exit code, and the steps that it saved.

    In step 3 the second alone is told to save, in step 4 the first, and the second to end.
    """
    signals = ({4: signal.SIGCONT}, {3: signal.SIGCONT, 4: signal.SIGTERM})[fabric.global_rank]
    augment, save, steps, saved = tile_problems.augment, training.Run.save, [], []

    def ask(*arguments: object, **named: object) -> torch.Tensor:
        steps.append(1)
        if len(steps) in signals:
            os.kill(os.getpid(), signals[len(steps)])
        return augment(*arguments, **named)

    def note(run: training.Run) -> None:
        saved.append(run.state.step)
        save(run)

    tile_problems.augment, training.Run.save = ask, note
    try:
        train(folder, name, fabric, network=with_batchnorm())
    except interruption.Interrupted as ended:
        return ended.code, saved
    finally:
        tile_problems.augment, training.Run.save = augment, save
    return 0, saved


def one_process() -> Fabric:
    # As in `make_fabric`: without it Lightning warns of a cluster's commands where there are any.
    return Fabric(accelerator="cpu", devices=1, plugins=[LightningEnvironment()])


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp", plugins=[LightningEnvironment()])
    fabric.launch()
    trained = train(folder, "two", fabric)
    whole = train(folder, "whole", fabric, network=with_batchnorm())
    code, saved = interrupted(folder, "interrupted", fabric)
    step = torch.load(folder / "interrupted.pt")["step"]
    gone_on = train(folder, "interrupted", fabric, network=with_batchnorm())
    learner = training.Learner.of(with_batchnorm(), SCHEDULE, fabric)
    for buffer in learner.averaged.module.buffers():
        buffer.fill_(5 + fabric.global_rank)
    learner.share_buffers(fabric)
    found = {
        "trained": (trained.weights, trained.curve),
        "whole": (whole.weights, whole.curve),
        "gone_on": (gone_on.weights, gone_on.curve),
        "ended": (code, step),
        "saved": saved,
        "buffers": list(learner.averaged.module.buffers()),
    }
    torch.save(found, folder / f"found_{fabric.global_rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
