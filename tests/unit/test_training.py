"""The engine learns, decides as the paper says, and goes on after a kill as if nothing had happened."""

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import lightning_fabric
import numpy as np
import pytest
import torch
from lightning_fabric.plugins import MixedPrecision
from processes import one_process
from stores import make_store

from workflow_scripts.lib import (
    files,
    interruption,
    models,
    tile_models,
    tile_problems,
    training,
    training_data,
)
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.interruption import Interrupted
from workflow_scripts.lib.scores import macro_auc
from workflow_scripts.lib.tile_scores import write_tile_scores
from workflow_scripts.lib.tile_sources import TileSource

SETTINGS = {
    "backbone": "shufflenet_v2_x0_5",
    "weights": "random",
    "imagenet": None,
    "head": [],
    "dropout": 0.0,
    "batch_size": 8,
    "balanced_batches": False,
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "weight_averaging": 0.0,
    "augmentations": ["horizontal_flip", "vertical_flip"],
    "steps_per_epoch": None,
    "epoch_factor": 1.0,
    "evaluations_per_epoch": 2,
    "max_epochs": 3,
    "checkpoint_on": "slide_auc",
    "plateau_on": "loss",
    "plateau_patience": 2,
    "plateau_factor": 0.1,
    "lowest_learning_rate": 0.0,
    "stop_on": "loss",
    "stop_patience": 30,
    "precision": "auto",
    "threads": 1,
}


def labelled(slide_id: str, store: Path, label: int | np.ndarray, **view: object) -> training_data.LabelledSlide:
    return training_data.LabelledSlide(slide_id, TileSource(store, **view), label)


def slides(folder: Path, labels: str, *, seed: int, tiles: int = 8) -> list[training_data.LabelledSlide]:
    """A slide per digit of `labels`; those of class 1 are dark."""
    rng = np.random.default_rng(seed)
    made = []
    for number, label in enumerate(map(int, labels)):
        images = rng.integers(0, 120 if label else 256, (tiles, 32, 32, 3), dtype=np.uint8)
        store = make_store(folder / f"{seed}_{number}.h5", images, slide_id=f"{seed}_{number}")
        made.append(labelled(f"{seed}_{number}", store, label))
    return made


def train(
    folder: Path, train_slides: list, validation_slides: list, *, workers: int = 0, classes: tuple[str, ...] = (),
    starts_from: Path | None = None, **changes: object,
) -> None:  # fmt: skip
    tile_models.train_model(
        folder, identity={"trait": "DARK", "round": 1}, training=train_slides, validation=validation_slides,
        settings=SETTINGS | changes, stain=None, tile_threshold=0.5, seed=1, code_version="test", workers=workers,
        classes=classes, starts_from=starts_from,
    )  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    return slides(folder, "0101", seed=1), slides(folder, "01", seed=2)


def results(folder: Path) -> dict[str, bytes]:
    names = ("weights.safetensors", "model.json", "curve.tsv", "scores.tsv")
    return {name: (folder / name).read_bytes() for name in names}


def test_the_model_learns_what_tells_the_classes_apart(tmp_path, data):
    train(tmp_path, *data, checkpoint_on="tile_auc", learning_rate=0.01, evaluations_per_epoch=1, max_epochs=16)
    scores = files.read_table(tmp_path / "scores.tsv")
    assert scores.loc[0, "validation_tile_auc"] > 0.95
    assert scores.loc[0, "validation_auc"] == 1.0


def test_the_same_run_gives_the_same_bytes(tmp_path, data):
    train(tmp_path / "a", *data)
    train(tmp_path / "b", *data)
    assert results(tmp_path / "a") == results(tmp_path / "b")


class Killed(BaseException):
    """Stands for a kill: no handler may catch it."""


@pytest.mark.parametrize(("evaluations", "averaging"), [(1, 0.0), (2, 0.9), (5, 0.0)])
def test_a_run_that_was_killed_ends_with_the_weights_of_one_that_was_not(
    tmp_path, data, monkeypatch, evaluations, averaging
):
    train(tmp_path / "whole", *data, weight_averaging=averaging)
    report = training._report
    seen = []

    def kill(*arguments, **named):
        report(*arguments, **named)
        seen.append(1)
        if len(seen) == evaluations:
            raise Killed

    monkeypatch.setattr(training, "_report", kill)
    with pytest.raises(Killed):
        train(tmp_path / "killed", *data, weight_averaging=averaging)
    monkeypatch.setattr(training, "_report", report)
    assert (tmp_path / "killed" / tile_models.STATE_FILE).is_file()
    train(tmp_path / "killed", *data, weight_averaging=averaging)
    assert results(tmp_path / "killed") == results(tmp_path / "whole")


def test_files_that_are_taken_away_before_the_job_has_ended_are_written_again_without_a_step(
    tmp_path, data, monkeypatch
):
    train(tmp_path, *data, max_epochs=1)
    written = results(tmp_path)
    for name in written:
        (tmp_path / name).unlink()
    monkeypatch.setattr(training.Learner, "step", None)
    train(tmp_path, *data, max_epochs=1)
    assert results(tmp_path) == written


def program(data: tuple[list, list], call: str) -> list[str]:
    """A command that runs a statement in a process of its own, where `t` is this file and `data` as here."""
    return [
        sys.executable, "-c",
        f"import sys; sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[2])]!r}\n"
        "import test_training as t; from pathlib import Path\n"
        f"folder = Path({str(data[0][0].source.store.parent)!r})\n"
        "pick = lambda seed, labels: [t.labelled(f'{seed}_{i}', folder / f'{seed}_{i}.h5', int(c))"
        " for i, c in enumerate(labels)]\n"
        "data = pick(1, '0101'), pick(2, '01')\n"
        f"{call}\n",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_process_killed_at_any_moment_goes_on_to_the_same_weights(tmp_path, data):
    """SIGKILL, at moments that fall into start-up, steps, evaluations and writing."""
    train(tmp_path / "whole", *data, max_epochs=12)
    command = program(data, f"t.train(Path({str(tmp_path / 'killed')!r}), *data, max_epochs=12)")
    state = tmp_path / "killed" / tile_models.STATE_FILE
    kills = 0
    for pause in (0.0, 0.35, 0.11):
        running = subprocess.Popen(command)
        deadline = time.monotonic() + 60
        written = state.stat().st_mtime_ns if state.exists() else None
        while running.poll() is None and time.monotonic() < deadline:
            if state.exists() and state.stat().st_mtime_ns != written:
                time.sleep(pause)
                running.send_signal(signal.SIGKILL)
                break
            time.sleep(0.005)
        kills += running.wait() == -signal.SIGKILL
    assert kills >= 1, "the run ended before it could be killed"
    subprocess.run(command, check=True)
    assert results(tmp_path / "killed") == results(tmp_path / "whole")


# A signal that asks the run to end, or to save and go on


def ask_at(step: int, number: int) -> None:
    """In the given step of this attempt (from 1), send a signal from outside to all processes of this group."""
    augment, steps = tile_problems.augment, []

    def ask(*arguments: object, **named: object) -> torch.Tensor:
        steps.append(1)
        if len(steps) == step:
            subprocess.run(["kill", f"-{number}", "--", f"-{os.getpgrp()}"], process_group=0, check=True)
        return augment(*arguments, **named)

    tile_problems.augment = ask


def test_a_job_goes_on_after_signals_to_save_and_fails_when_it_is_cancelled_and_says_so(tmp_path, data):
    settings = {"max_epochs": 2, "workers": 1, "evaluations_per_epoch": 1}
    folder, log = tmp_path / "cancelled", tmp_path / "job.log"
    command = program(
        data,
        f"t.ask_at(5, {int(signal.SIGUSR1)}); t.ask_at(6, {int(signal.SIGCONT)}); t.ask_at(7, {int(signal.SIGTERM)})\n"
        "from workflow_scripts.lib.journal import logging_to\n"
        f"with logging_to({str(log)!r}): t.train(Path({str(folder)!r}), *data, **{settings!r})",
    )
    ended = subprocess.run(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 128 + signal.SIGTERM
    assert [path.name for path in folder.iterdir()] == [tile_models.STATE_FILE]
    assert torch.load(folder / tile_models.STATE_FILE)["step"] == 7
    said = [line.partition(" ")[2] for line in log.read_text().splitlines() if "SIG" in line]
    assert said == [
        "SIGUSR1: the state is saved at step 5; training goes on",
        "SIGCONT: the state is saved at step 6; training goes on",
        "SIGTERM: the state is saved at step 7; training ends here, and goes on from there when run again",
    ]
    assert "SIGTERM" in ended.stderr
    assert "Traceback" not in log.read_text() + ended.stderr
    train(folder, *data, **settings)
    train(tmp_path / "whole", *data, **settings)
    assert results(folder) == results(tmp_path / "whole")


@pytest.mark.parametrize(
    ("changes", "steps_of_an_attempt"),
    [
        # Each step is an attempt's only one, the last before an evaluation too.
        ({"weight_averaging": 0.9, "balanced_batches": True, "evaluations_per_epoch": 1, "max_epochs": 2}, 1),
        ({"backbone": "mobilenet_v3_small", "workers": 1, "batch_size": 5, "max_epochs": 1}, 4),
    ],
    ids=["averaging, balanced", "dropout, workers"],
)
def test_a_run_that_was_interrupted_in_any_step_ends_with_the_same_bytes(
    tmp_path, data, monkeypatch, changes, steps_of_an_attempt
):
    train(tmp_path / "whole", *data, **changes)
    steps_in_all = files.read_table(tmp_path / "whole" / "curve.tsv")["step"].max()
    augment, steps = tile_problems.augment, []

    def ask(*arguments: object, **named: object) -> torch.Tensor:
        steps.append(1)
        if len(steps) % steps_of_an_attempt == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return augment(*arguments, **named)

    monkeypatch.setattr(tile_problems, "augment", ask)
    for _ in range(steps_in_all // steps_of_an_attempt):
        with pytest.raises(Interrupted) as ended:
            train(tmp_path / "interrupted", *data, **changes)
        assert ended.value.code == 128 + signal.SIGTERM
        assert [path.name for path in (tmp_path / "interrupted").iterdir()] == [tile_models.STATE_FILE]
    train(tmp_path / "interrupted", *data, **changes)
    assert len(steps) == steps_in_all
    assert results(tmp_path / "interrupted") == results(tmp_path / "whole")


@pytest.mark.parametrize(
    ("looks", "saved"),
    [
        # In an epoch of four steps there are eight looks: after steps 1 and 2, in the two batches of an evaluation, …
        ({0}, [1, 2, 4]),
        ({3, 6}, [2, 2, 4, 4]),
        (set(range(8)), [1, 2, 2, 3, 4, 4]),
    ],
    ids=["in a step", "in evaluations", "always"],
)
def test_a_run_that_is_told_to_save_writes_a_step_once_and_changes_no_byte(tmp_path, data, monkeypatch, looks, saved):
    train(tmp_path / "whole", *data, max_epochs=1)
    look_up, save_state = training.Run.look_up, training._save_state
    steps, looked = [], []

    def ask(run: training.Run) -> None:
        if len(looked) in looks:
            for number in (*interruption.SAVING, signal.SIGCONT):
                os.kill(os.getpid(), number)
        looked.append(1)
        look_up(run)

    def save(path: Path, run_key: str, state: training.State, *others: object) -> None:
        # After an evaluation the step is written again, with what was found.
        steps.append(state.step)
        save_state(path, run_key, state, *others)

    monkeypatch.setattr(training.Run, "look_up", ask)
    monkeypatch.setattr(training, "_save_state", save)
    train(tmp_path / "told", *data, max_epochs=1)
    assert len(looked) == 8
    assert steps == saved
    assert results(tmp_path / "told") == results(tmp_path / "whole")


def test_a_run_that_was_interrupted_in_an_evaluation_begins_it_again(tmp_path, data, monkeypatch, caplog):
    train(tmp_path / "whole", *data, max_epochs=1)
    look_up, looks = training.Run.look_up, []

    def ask_in_the_evaluation(run: training.Run) -> None:
        looks.append(len(run.state.losses))
        if looks[-3:] == [1, 2, 2]:
            os.kill(os.getpid(), signal.SIGTERM)
        look_up(run)

    monkeypatch.setattr(training.Run, "look_up", ask_in_the_evaluation)
    with pytest.raises(Interrupted):
        train(tmp_path / "interrupted", *data, max_epochs=1)
    monkeypatch.undo()
    with caplog.at_level("INFO"):
        train(tmp_path / "interrupted", *data, max_epochs=1)
    assert "resumed at step 2, evaluation 0" in caplog.text
    assert results(tmp_path / "interrupted") == results(tmp_path / "whole")


def test_a_run_that_is_killed_between_evaluations_goes_on_from_the_last_saved_step(tmp_path, data, monkeypatch, caplog):
    settings = {"evaluations_per_epoch": 1, "max_epochs": 1}
    train(tmp_path / "whole", *data, **settings)
    augment, steps = tile_problems.augment, []

    def kill(*arguments: object, **named: object) -> torch.Tensor:
        steps.append(1)
        if len(steps) == 4:
            raise Killed
        return augment(*arguments, **named)

    monkeypatch.setattr(tile_problems, "augment", kill)
    monkeypatch.setattr(training, "MOST_UNSAVED_S", 0.0)
    with pytest.raises(Killed):
        train(tmp_path / "killed", *data, **settings)
    monkeypatch.undo()
    with caplog.at_level("INFO"):
        train(tmp_path / "killed", *data, **settings)
    assert "resumed at step 3, evaluation 0" in caplog.text
    assert results(tmp_path / "killed") == results(tmp_path / "whole")


def test_signals_are_heard_while_training_alone(tmp_path, data, monkeypatch):
    handler = signal.getsignal(signal.SIGTERM)
    seen, report = [], training._report
    monkeypatch.setattr(
        training, "_report", lambda *a, **n: (seen.append(signal.getsignal(signal.SIGTERM)), report(*a, **n))
    )
    train(tmp_path, *data, max_epochs=1)
    assert handler not in seen
    assert signal.getsignal(signal.SIGTERM) == handler


# Which state it is


def test_a_saved_state_of_other_settings_is_not_gone_on_from(tmp_path, data, monkeypatch):
    train(tmp_path / "whole", *data, learning_rate=0.01)
    monkeypatch.setattr(training, "_report", lambda *_, **__: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        train(tmp_path / "changed", *data)
    monkeypatch.undo()
    train(tmp_path / "changed", *data, learning_rate=0.01)
    assert results(tmp_path / "changed") == results(tmp_path / "whole")


def test_a_run_goes_on_from_a_state_saved_with_other_workers(tmp_path, data, monkeypatch, caplog):
    monkeypatch.setattr(training, "_report", lambda *_, **__: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        train(tmp_path, *data, max_epochs=1)
    monkeypatch.undo()
    with caplog.at_level("INFO"):
        train(tmp_path, *data, max_epochs=1, workers=1)
    assert "resumed at step 2, evaluation 1" in caplog.text


def machine(processes: int = 1, device: str = "cpu", precision: str = "32-true") -> SimpleNamespace:
    strategy = SimpleNamespace(precision=SimpleNamespace(precision=precision))
    return SimpleNamespace(world_size=processes, device=torch.device(device), strategy=strategy)


def test_a_saved_state_is_of_the_machine_that_computes(data, monkeypatch):
    def key(fabric: object) -> str:
        return tile_models._run_key({"seed": 1}, *data, fabric)

    plain = key(machine())
    assert key(one_process()) == plain
    others = [key(machine(processes=2)), key(machine(device="cuda")), key(machine(precision="bf16-mixed"))]
    monkeypatch.setattr(torch, "__version__", "0")
    others.append(key(machine()))
    monkeypatch.setattr(tile_models, "version", lambda _: "0")
    others.append(key(machine()))
    assert len({plain, *others}) == 6


def schedule(**changes: object) -> training.Schedule:
    settings = SETTINGS | changes
    return training.Schedule(**{name: settings[name] for name in training.Schedule.__dataclass_fields__})


def test_the_loss_scale_of_half_precision_is_saved_and_restored(tmp_path):
    learner = training.Learner.of(torch.nn.Linear(2, 1), schedule(), one_process())

    def half() -> SimpleNamespace:
        strategy = SimpleNamespace(precision=MixedPrecision("16-mixed", "cpu"))
        return SimpleNamespace(is_global_zero=True, barrier=lambda: None, strategy=strategy)

    before, after = half(), half()
    found = before.strategy.precision.scaler.state_dict() | {"scale": 512.0, "_growth_tracker": 7}
    before.strategy.precision.scaler.load_state_dict(found)
    training._save_state(tmp_path / "state.pt", "key", training.State(step=3), learner, before)
    state = training._resume(tmp_path / "state.pt", "key", learner, schedule(), after)
    assert state.step == 3
    assert after.strategy.precision.state_dict() == found


def test_averaging_changes_what_is_evaluated_and_kept_and_no_step(tmp_path, data):
    train(tmp_path / "last", *data, max_epochs=1, plateau_patience=9)
    train(tmp_path / "averaged", *data, max_epochs=1, plateau_patience=9, weight_averaging=0.9)
    last, averaged = (files.read_table(tmp_path / name / "curve.tsv") for name in ("last", "averaged"))
    assert last["train_loss"].equals(averaged["train_loss"])
    assert (last["validation_loss"] != averaged["validation_loss"]).all()
    kept = [results(tmp_path / name)["weights.safetensors"] for name in ("last", "averaged")]
    assert kept[0] != kept[1]


def weights_of(network: torch.nn.Module) -> list[torch.Tensor]:
    return [value.detach().clone() for value in network.state_dict().values()]


@pytest.mark.parametrize("averaging", [0.0, 0.75])
def test_the_average_keeps_its_share_and_less_at_first(averaging):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))
    fabric = one_process()
    learner = training.Learner.of(network, schedule(weight_averaging=averaging, learning_rate=0.1), fabric)
    expected, tolerance = None, 1e-6 if averaging else 0
    for n in range(40):
        learner.step(learner.network(torch.randn(8, 3)).square().mean(), fabric)
        now = weights_of(network)
        kept = min(averaging, (1 + n) / (10 + n))
        # Counts of batches are whole numbers, in which an average is cut off.
        expected = now if n == 0 else [
            (kept * old + (1 - kept) * new).to(new.dtype) for old, new in zip(expected, now, strict=True)
        ]  # fmt: skip
        for found, value in zip(weights_of(learner.averaged.module), expected, strict=True):
            torch.testing.assert_close(found, value, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("gpus", "has_bf16", "expected"), [(0, False, "32-true"), (1, True, "bf16-mixed"), (1, False, "16-mixed")]
)
def test_bfloat16_is_used_where_the_gpu_itself_has_it(monkeypatch, gpus, has_bf16, expected):
    asked = {}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    # A V100 says yes where emulation counts.
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or has_bf16
    )
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "V100")
    made = SimpleNamespace(launch=lambda: None)
    monkeypatch.setattr(lightning_fabric, "Fabric", lambda **named: asked.update(named) or made)
    training.make_fabric(threads=1)
    assert asked["precision"] == expected


def test_worker_processes_change_nothing(tmp_path, data):
    train(tmp_path / "none", *data, max_epochs=1)
    train(tmp_path / "two", *data, max_epochs=1, workers=2)
    assert results(tmp_path / "none") == results(tmp_path / "two")


# Tiles with labels of their own


def mixed(folder: Path, *, seed: int, tiles: int = 12) -> list[training_data.LabelledSlide]:
    """Two slides of which every third tile is dark and of class 1."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(2):
        label = (np.arange(tiles) % 3 == number).astype(np.int64)
        images = np.stack([rng.integers(0, 120 if dark else 256, (32, 32, 3), dtype=np.uint8) for dark in label])
        store = make_store(folder / f"mixed_{seed}_{number}.h5", images, slide_id=f"{seed}_{number}")
        made.append(labelled(f"{seed}_{number}", store, label))
    return made


def test_a_model_learns_from_tiles_that_have_labels_of_their_own(tmp_path):
    sets = mixed(tmp_path, seed=1, tiles=24), mixed(tmp_path, seed=2)
    own = {"balanced_batches": True, "checkpoint_on": "tile_auc", "learning_rate": 0.01, "evaluations_per_epoch": 1}
    train(tmp_path / "model", *sets, **own, max_epochs=16)
    scores = files.read_table(tmp_path / "model" / "scores.tsv")
    assert scores.loc[0, "validation_tile_auc"] > 0.95
    assert math.isnan(scores.loc[0, "validation_auc"])


def test_a_saved_state_is_of_the_labels_and_the_threshold_that_it_learned_from(tmp_path):
    sets = mixed(tmp_path, seed=1), mixed(tmp_path, seed=2)
    (first, second), validation = sets
    other = labelled(first.slide_id, first.source.store, 1 - first.label)
    higher = labelled(first.slide_id, first.source.store, first.label, threshold=0.6)
    keys = {tile_models._run_key({"seed": 1}, [one, second], validation, machine()) for one in (first, other, higher)}
    assert len(keys) == 3


def test_only_the_tiles_that_pass_the_filter_are_learned_from(tmp_path):
    slide = mixed(tmp_path, seed=1)[0]
    columns = np.arange(12)
    coords = np.stack([columns, np.zeros_like(columns)], axis=1)
    write_tile_scores(tmp_path / "0.h5", [("1_0", coords, (columns / 10).clip(max=1))])
    seen = training_data.SlideTiles([labelled("1_0", slide.source.store, 1, tumour=tmp_path / "0.h5", threshold=0.8)])
    everything = training_data.SlideTiles([labelled("1_0", slide.source.store, 1)])
    assert len(seen) == 4
    assert torch.equal(seen.__getitems__([0, 3])[0], everything.__getitems__([8, 11])[0])


def test_a_balanced_batch_has_as_many_tiles_of_each_class():
    labels = np.array([1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0])
    plan = training_data.balanced_batches(labels, 4, seed=3, first_step=0, part=slice(None))
    drawn = [next(plan) for _ in range(9)]
    assert all(labels[batch].sum() == 2 for batch in drawn)
    # The rarer class comes back in every batch; of the other nine tiles each is drawn twice in nine batches.
    assert np.bincount(np.concatenate(drawn)).tolist() == [9, 2, 2, 2, 2, 2, 2, 9, 2, 2, 2]


@pytest.mark.parametrize(("n_classes", "batch_size"), [(2, 5), (3, 7), (14, 32)])
def test_balanced_batches_go_on_from_any_step_and_give_each_class_as_much(n_classes, batch_size):
    # The last class has a tile, and the first as many as there are classes.
    labels = np.repeat(np.arange(n_classes), np.arange(n_classes, 0, -1) * 3)
    whole = training_data.balanced_batches(labels, batch_size, seed=3, first_step=0, part=slice(None))
    expected = [next(whole) for _ in range(2 * n_classes)]
    counts = np.array([np.bincount(labels[batch], minlength=n_classes) for batch in expected])
    assert (counts.sum(axis=1) == batch_size).all()
    assert np.ptp(counts, axis=1).max() <= 1
    assert np.ptp(counts[:n_classes].sum(axis=0)) == 0
    assert counts[0, -1] == counts[0].max()
    for first in (1, n_classes - 1, n_classes + 1):
        plan = training_data.balanced_batches(labels, batch_size, seed=3, first_step=first, part=slice(None))
        assert next(plan) == expected[first]


def test_processes_share_a_balanced_batch_evenly():
    labels = np.array([1, 0] * 8)
    shares = [
        next(training_data.balanced_batches(labels, 8, seed=1, first_step=2, part=slice(rank, None, 2)))
        for rank in (0, 1)
    ]
    whole = next(training_data.balanced_batches(labels, 8, seed=1, first_step=2, part=slice(None)))
    assert sorted(shares[0] + shares[1]) == sorted(whole)
    assert [labels[share].sum() for share in shares] == [2, 2]


def test_a_slide_without_tiles_is_no_obstacle(tmp_path, data):
    empty = make_store(tmp_path / "empty.h5", np.zeros((0, 32, 32, 3), np.uint8), slide_id="empty")
    train_slides = [*data[0], labelled("empty", empty, 1)]
    train(tmp_path / "model", train_slides, data[1], max_epochs=1)
    assert files.read_table(tmp_path / "model" / "scores.tsv").loc[0, "train_tiles"] == 32


def test_a_training_set_of_one_class_is_refused_by_name(tmp_path, data):
    with pytest.raises(InputError, match=r"trait DARK, round 1: the training set has no tile of class 1"):
        train(tmp_path, [slide for slide in data[0] if slide.label == 0], data[1])


def test_an_empty_validation_set_is_refused(tmp_path, data):
    with pytest.raises(InputError, match="validation set has 0 slides and no tile"):
        train(tmp_path, data[0], [])


def test_stores_of_different_tiles_are_refused(tmp_path, data):
    coarse = make_store(tmp_path / "c.h5", np.zeros((2, 32, 32, 3), np.uint8), slide_id="c", mpp=1.0)
    with pytest.raises(InputError, match="differ in tile size"):
        train(tmp_path, [*data[0], labelled("c", coarse, 1)], data[1])


def test_a_step_of_a_single_tile_is_refused(tmp_path, data):
    with pytest.raises(
        InputError, match=r"trait DARK, round 1: a step of 1 tiles \(training.batch_size 1, 32 training tiles"
    ):
        train(tmp_path, *data, batch_size=1)


@pytest.mark.parametrize(("batch_size", "n_tiles", "processes"), [(15, 99, 8), (99, 15, 8), (3, 3, 2)])
def test_a_step_of_a_single_tile_per_process_is_refused(batch_size, n_tiles, processes):
    with pytest.raises(InputError, match=f"over {processes} processes"):
        tile_problems._check_batch(batch_size, n_tiles, processes)
    tile_problems._check_batch(2 * processes, 2 * processes, processes)


def test_an_epoch_shows_each_tile_once():
    plan = training_data.batches(10, 5, seed=3, first_step=0, part=slice(None))
    epochs = [[*next(plan), *next(plan)] for _ in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_batches_from_any_step_are_those_of_the_whole_run():
    whole = training_data.batches(11, 4, seed=3, first_step=0, part=slice(None))
    expected = [next(whole) for _ in range(9)]
    for first in range(9):
        plan = training_data.batches(11, 4, seed=3, first_step=first, part=slice(None))
        assert [next(plan) for _ in range(9 - first)] == expected[first:]


def test_the_shares_of_two_processes_make_the_batch_of_one():
    whole, *halves = (
        training_data.batches(12, 6, seed=1, first_step=0, part=part)
        for part in (slice(None), slice(0, None, 2), slice(1, None, 2))
    )
    for _ in range(4):
        assert sorted(next(whole)) == sorted(next(halves[0]) + next(halves[1]))


def row(evaluation: int, auc: float, loss: float) -> dict[str, float]:
    return {"evaluation": evaluation, "validation_slide_auc": auc, "validation_loss": loss}


def test_ties_of_the_checkpoint_go_to_the_lower_loss_then_to_the_earlier():
    curve = [row(1, 0.9, 0.5), row(2, 1.0, 0.4), row(3, 1.0, 0.3), row(4, 1.0, 0.3)]
    assert training._best(curve, "slide_auc")["evaluation"] == 3


def test_where_the_auc_is_undefined_the_loss_decides():
    curve = [row(1, math.nan, 0.5), row(2, math.nan, 0.3), row(3, math.nan, 0.4)]
    assert training._best(curve, "slide_auc")["evaluation"] == 2


def test_the_last_weights_may_be_kept_whatever_the_measures():
    curve = [row(1, 1.0, 0.3), row(2, 0.6, 0.5), row(3, 0.5, 0.9)]
    assert training._best(curve, "last")["evaluation"] == 3


@pytest.mark.parametrize("measure", ["slide_auc", "loss", "last"])
@pytest.mark.parametrize("loss", [math.inf, math.nan])
def test_an_evaluation_without_a_finite_loss_is_never_kept_while_another_has_one(measure, loss):
    curve = [row(1, math.nan, loss), row(2, math.nan, 9.0), row(3, 1.0, loss)]
    assert training._best(curve, measure)["evaluation"] == 2
    assert training._best(curve[::-1], measure)["evaluation"] == 2


def not_a_number_at(evaluations: set[int], monkeypatch) -> None:
    all_logits = tile_problems.TileProblem._all_logits
    seen = []

    def logits(*arguments: object, **named: object) -> torch.Tensor:
        seen.append(1)
        found = all_logits(*arguments, **named)
        return torch.full_like(found, math.nan) if len(seen) in evaluations else found

    monkeypatch.setattr(tile_problems.TileProblem, "_all_logits", logits)


def test_a_run_that_diverges_at_times_keeps_the_best_of_the_others(tmp_path, data, monkeypatch):
    not_a_number_at({1, 3}, monkeypatch)
    train(tmp_path, *data, max_epochs=2)
    curve = files.read_table(tmp_path / "curve.tsv")
    assert curve["validation_loss"].tolist()[::2] == [math.inf, math.inf]
    assert curve["validation_slide_auc"].isna().tolist() == [True, False, True, False]
    assert curve.loc[curve["chosen"] == 1, "evaluation"].item() in (2, 4)


def test_a_run_that_diverges_throughout_is_refused_with_what_to_do(tmp_path, data, monkeypatch):
    not_a_number_at(set(range(1, 99)), monkeypatch)
    said = r"trait DARK, round 1: diverged: .* at any of 2 evaluations; lower training\.learning_rate, which is 0\.001"
    with pytest.raises(InputError, match=said):
        train(tmp_path, *data, stop_patience=2)
    assert not (tmp_path / "weights.safetensors").exists()


def test_patience_counts_evaluations_since_the_best_and_an_equal_one_is_none():
    patience = training.Patience("loss")
    assert [patience.update({"loss": loss}) for loss in (1.0, 0.5, 0.5, math.nan, 0.6, 0.4)] == [0, 0, 1, 2, 3, 0]


def test_an_infinite_loss_is_no_improvement_even_over_nothing():
    patience = training.Patience("loss")
    assert [patience.update({"loss": loss}) for loss in (math.inf, math.nan, math.inf, 2.0)] == [1, 2, 3, 0]


def test_patience_of_an_auc_waits_for_a_higher_one():
    patience = training.Patience("slide_auc")
    assert [patience.update({"slide_auc": auc}) for auc in (0.5, 0.4, 0.6, 0.6)] == [0, 1, 0, 1]


def test_the_rate_decays_after_the_plateau_and_training_stops_after_its_patience(tmp_path, data):
    # With a rate this small nothing improves beyond noise; the measure never changes class 0.5 by threshold.
    train(tmp_path, *data, learning_rate=1e-12, plateau_on="slide_auc", stop_on="slide_auc", plateau_patience=2,
          stop_patience=5, max_epochs=50)  # fmt: skip
    curve = files.read_table(tmp_path / "curve.tsv")
    first = int(curve["validation_slide_auc"].idxmax())
    assert len(curve) == first + 1 + 5
    assert curve["learning_rate"].iloc[-1] < curve["learning_rate"].iloc[0]


def test_a_saved_model_predicts_as_the_trained_one(tmp_path, data):
    train(tmp_path, *data, max_epochs=1)
    model = models.load(tmp_path)
    batch = models.to_input(torch.randint(0, 255, (4, 3, 32, 32), dtype=torch.uint8))
    again = models.load(tmp_path)
    assert torch.equal(model.network(batch), again.network(batch))
    assert model.description["tile_px"] == 32
    assert model.description["mpp"] == 0.5


def test_weights_of_another_backbone_are_refused(tmp_path):
    models.save(tmp_path, models.build("shufflenet_v2_x0_5").state_dict(), {"backbone": "resnet18"})
    with pytest.raises(InputError, match="not those of a resnet18"):
        models.load(tmp_path)


def test_an_unknown_backbone_is_answered_with_the_known():
    with pytest.raises(InputError, match="not a torchvision classifier"):
        models.build("resnet19")


@pytest.mark.parametrize(("backbone", "tile_px"), [("inception_v3", 64), ("vit_b_16", 128)])
def test_a_backbone_that_cannot_take_the_tiles_is_refused_by_name(backbone, tile_px):
    # Initial weights do not matter, and take seconds.
    with pytest.MonkeyPatch.context() as patched:
        for name in ("trunc_normal_", "normal_", "xavier_uniform_", "kaiming_uniform_"):
            patched.setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)
        network = models.build(backbone)
    with pytest.raises(InputError, match=f"{backbone} cannot take tiles of {tile_px} px"):
        models.check_tile_size(network, backbone=backbone, tile_px=tile_px)


def test_training_says_which_model_cannot_take_its_tiles(tmp_path, data):
    with pytest.raises(InputError, match=r"trait DARK, round 1: training\.backbone: alexnet cannot take tiles of 32"):
        train(tmp_path, *data, backbone="alexnet")


def test_the_check_of_the_tile_size_changes_neither_network_nor_random_state():
    network = models.build("shufflenet_v2_x0_5")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    models.check_tile_size(network, backbone="shufflenet_v2_x0_5", tile_px=32)
    assert network.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


# More than two classes, and other starts


def by_colour(folder: Path, *, seed: int, slides_each: int = 2) -> list[training_data.LabelledSlide]:
    """Slides of three classes, told apart by their brightness."""
    rng = np.random.default_rng(seed)
    made = []
    for label, brightest in enumerate((60, 150, 256)):
        for number in range(slides_each):
            images = rng.integers(0, brightest, (8, 32, 32, 3), dtype=np.uint8)
            name = f"{seed}_{label}_{number}"
            made.append(labelled(name, make_store(folder / f"{name}.h5", images, slide_id=name), label))
    return made


@pytest.fixture(scope="module")
def three_classes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes")
    return by_colour(folder, seed=1), by_colour(folder, seed=2)


@pytest.fixture(scope="module")
def of_brightness(tmp_path_factory, three_classes):
    """The folder of a model of three classes."""
    folder = tmp_path_factory.mktemp("brightness")
    train(
        folder,
        *three_classes,
        classes=("dark", "middle", "bright"),
        learning_rate=0.01,
        max_epochs=16,
        evaluations_per_epoch=1,
    )
    return folder


def test_any_number_of_classes_is_learnt_and_each_has_its_probability(of_brightness):
    model = models.load(of_brightness)
    assert model.description["classes"] == ["dark", "middle", "bright"]
    scores = files.read_table(of_brightness / "scores.tsv")
    assert scores["validation_tile_auc"].item() > 0.8
    grey = torch.full((2, 3, 32, 32), 128, dtype=torch.uint8)
    with torch.no_grad():
        probabilities = model.probabilities(models.to_input(grey))
    assert probabilities.shape == (2, 3)
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(2))


def test_a_class_has_its_probability_at_its_place_in_the_list(of_brightness, three_classes):
    seen = training_data.SlideTiles(three_classes[1])
    images, labels, _ = seen.__getitems__(range(len(seen)))
    with torch.no_grad():
        probabilities = models.load(of_brightness).probabilities(models.to_input(images)).numpy()
    assert macro_auc(labels.numpy().astype(int), probabilities) > 0.8
    assert macro_auc(labels.numpy().astype(int), probabilities[:, ::-1]) < 0.6


def test_a_class_without_tiles_in_training_is_named(tmp_path, three_classes):
    with pytest.raises(InputError, match="the training set has no tile of class 3"):
        train(tmp_path, *three_classes, classes=("dark", "middle", "bright", "none"))


def test_training_starts_from_the_weights_of_another_model(tmp_path, three_classes):
    classes = ("dark", "middle", "bright")
    train(tmp_path / "first", *three_classes, classes=classes, max_epochs=1)
    # With a rate this small it ends where it began.
    train(tmp_path / "second", *three_classes, classes=classes, max_epochs=1, learning_rate=1e-12,
          starts_from=tmp_path / "first")  # fmt: skip
    first, second = (models.load(tmp_path / name).network.state_dict() for name in ("first", "second"))
    learnt = [name for name in first if name.endswith(("weight", "bias"))]
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in learnt)


def test_a_model_of_other_classes_is_no_start(tmp_path, data, three_classes):
    train(tmp_path / "first", *data, max_epochs=1)
    with pytest.raises(InputError, match=r"its classes is None, and this model's \['dark'"):
        train(tmp_path / "second", *three_classes, classes=("dark", "middle", "bright"), starts_from=tmp_path / "first")


def test_the_rate_decays_after_each_epoch_of_so_many_steps(tmp_path, data):
    train(tmp_path, *data, steps_per_epoch=3, epoch_factor=0.1, evaluations_per_epoch=1, max_epochs=3)
    curve = files.read_table(tmp_path / "curve.tsv")
    assert curve["step"].tolist() == [3, 6, 9]
    assert curve["epoch"].tolist() == [1, 2, 3]
    assert curve["learning_rate"].tolist() == pytest.approx([1e-3, 1e-4, 1e-5])
