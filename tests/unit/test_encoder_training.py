"""Encoders learn several tasks at once, or without labels, from patches that are drawn evenly, by the one engine."""

import json
import math
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import test_training as classifiers
import torch
from processes import one_process
from stores import make_store

from workflow_scripts.lib import encoder_training, encoders, files, models, tile_models, tile_problems, training_data
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.interruption import Interrupted
from workflow_scripts.lib.tile_sources import TileSource

OF_NETWORK = ("backbone", "weights", "imagenet", "head", "dropout")
SETTINGS = {
    key: value for key, value in classifiers.SETTINGS.items() if key not in OF_NETWORK
} | {"checkpoint_on": "loss", "max_epochs": 2, "balanced_batches": True}  # fmt: skip
PX = 32
# Brightness and hue of a patch are the classes of two tasks, of which the second comes first by name.
TASKS = {"light": ["dark", "bright"], "colour": ["red", "green", "blue"]}
COHORTS = {"light": ["here", "there"], "colour": ["here"]}
LABELS = {"dark": (60, 60, 60), "bright": (200, 200, 200), "red": (190, 80, 80), "green": (80, 190, 80),
          "blue": (80, 80, 190), "other": (128, 128, 128)}  # fmt: skip


def slide(folder: Path, name: str, labels: list[str], *, annotated: bool = True) -> tuple[Path, Path]:
    """The store of a slide with a tile of each label, in rough colours, and its table of labels."""
    rng = np.random.default_rng(len(name) + sum(map(ord, name)))
    images = np.stack([np.full((PX, PX, 3), LABELS[label]) for label in labels])
    images = (images + rng.integers(-30, 31, images.shape)).astype(np.uint8)
    table = pd.DataFrame({"slide_id": name, "col": range(len(labels)), "row": 0, "label": labels})
    files.write_table(table[: None if annotated else 0], folder / f"{name}.tsv")
    return make_store(folder / f"{name}.h5", images, slide_id=name), folder / f"{name}.tsv"


class Study:
    """Slides of two tasks and two cohorts, with the options of `sampled_patches`."""

    def __init__(self, folder: Path, **of_slides: tuple[str, str, str, list[str]]) -> None:
        self.places: dict[str, dict[str, list[tuple[str, str]]]] = {}
        self.files = {}
        for name, (task, set_name, cohort, labels) in of_slides.items():
            self.places.setdefault(task, {"train": [], "validation": []})[set_name].append((cohort, name))
            self.files[name] = slide(folder, name, labels)

    def sampled(self, *, tasks=TASKS, patches: int = 60, seed: int = 1):
        order = [name for sets in self.places.values() for of in sets.values() for _, name in of]
        stores, labels = zip(*(self.files[name] for name in order), strict=True)
        return encoder_training.sampled_patches(
            self.places, map(TileSource, stores), labels if tasks else [], tasks=tasks, patches=patches, seed=seed,
            name="both",
        )  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    return Study(
        tmp_path_factory.mktemp("study"),
        a=("light", "train", "here", ["dark"] * 20 + ["bright"] * 30 + ["other"] * 5),
        b=("light", "train", "there", ["dark"] * 12 + ["bright"] * 9),
        c=("light", "validation", "there", ["dark"] * 8 + ["bright"] * 8),
        d=("colour", "train", "here", ["red"] * 20 + ["green"] * 15 + ["blue"] * 25),
        e=("colour", "validation", "here", ["blue"] * 6 + ["green"] * 5 + ["red"] * 7 + ["other"] * 4),
    )


def train(folder: Path, slides, *, kind: str = "multitask", tasks=TASKS, shrink: int = 1, **changes: object) -> Path:
    encoder_training.train_encoder(
        folder, identity={"encoder": "both"}, kind=kind, training=slides["train"], validation=slides["validation"],
        tasks=tasks, features=8, shrink=shrink, settings=SETTINGS | changes, stain=None, seed=1, code_version="test",
        workers=0,
    )  # fmt: skip
    return folder


def drawn(slides: list[training_data.LabelledSlide]) -> dict[str, list[int]]:
    return {one.slide_id: one.label[one.sampled].tolist() for one in slides}


# Which patches


def test_as_many_patches_are_drawn_of_each_class_and_of_each_centre(study):
    sets = study.sampled(patches=60)
    both = [*sets["train"], *sets["validation"]]
    # Outputs are numbered in the order of the tasks' names: colour, then light.
    counts = np.bincount(np.concatenate(list(drawn(both).values())))
    assert counts.tolist() == [20, 20, 20, 30, 30]
    of_light = {"here": np.zeros(5, int), "there": np.zeros(5, int)}
    for one in both:
        if one.slide_id in ("here/a", "there/b", "there/c"):
            of_light[one.slide_id.split("/")[0]] += np.bincount(one.label[one.sampled], minlength=5)
    assert of_light["here"].tolist() == of_light["there"].tolist() == [0, 0, 0, 15, 15]


def test_a_centre_that_has_fewer_gives_all_and_classes_stay_even(study):
    sets = study.sampled(patches=80)
    counts = {place: np.bincount(labels, minlength=5)[3:].tolist() for place, labels in drawn(sets["train"]).items()}
    there = np.array(counts["there/b"]) + np.bincount(drawn(sets["validation"])["there/c"], minlength=5)[3:]
    assert there.tolist() == [20, 17]
    assert np.array(counts["here/a"]).tolist() == [20, 23]


def test_labels_that_are_no_class_of_the_task_are_left_out(study):
    sets = study.sampled(patches=10_000)
    (d,) = (one for one in sets["train"] if one.slide_id == "here/d")
    (a,) = (one for one in sets["train"] if one.slide_id == "here/a")
    assert set(d.label) == {0, 1, 2}
    assert set(a.label) == {3, 4, encoder_training.NO_CLASS}
    assert (a.label[a.sampled] >= 3).all()


def test_encoders_that_share_a_task_see_the_same_patches_of_it(study):
    whole = study.sampled()
    alone = Study.__new__(Study)
    alone.files, alone.places = study.files, {"light": study.places["light"]}
    found = alone.sampled(tasks={"light": TASKS["light"]})
    for set_name in ("train", "validation"):
        expected = [
            one.sampled.tolist() for one in whole[set_name] if one.slide_id != "here/d" and one.slide_id != "here/e"
        ]
        assert [one.sampled.tolist() for one in found[set_name]] == expected


def test_without_tasks_patches_are_drawn_evenly_over_cohorts(study):
    places = {name: [*study.places["light"][name], *study.places["colour"][name]] for name in ("train", "validation")}
    pooled = Study.__new__(Study)
    pooled.files, pooled.places = study.files, {"all": places}
    sets = pooled.sampled(tasks={}, patches=60)
    counts = {"here": 0, "there": 0}
    for one in [*sets["train"], *sets["validation"]]:
        counts[one.slide_id.split("/")[0]] += len(one.sampled)
        assert not one.label.any()
    assert counts == {"here": 30, "there": 30}


def test_a_slide_whose_annotations_were_refused_teaches_nothing(study, tmp_path):
    refused = Study.__new__(Study)
    refused.places = study.places
    refused.files = study.files | {"b": slide(tmp_path, "b", ["dark"] * 4, annotated=False)}
    assert "there/b" not in drawn(refused.sampled()["train"])


def test_a_class_without_patches_in_training_is_named_with_its_task_and_cohort(tmp_path):
    study = Study(
        tmp_path, a=("light", "train", "here", ["dark"] * 4), b=("light", "validation", "there", ["dark", "bright"])
    )
    message = (
        r"encoder both, task light: expected patches of bright on the 1 slides of here that train, found \d+ of dark"
    )
    with pytest.raises(InputError, match=message):
        study.sampled(tasks={"light": TASKS["light"]})


def test_an_empty_validation_set_is_refused_with_its_task(tmp_path):
    study = Study(tmp_path, a=("light", "train", "here", ["dark", "bright"]))
    with pytest.raises(
        InputError, match="encoder both, task light: expected patches on the 0 slides of no cohort that"
    ):
        study.sampled(tasks={"light": TASKS["light"]})


# Learning


@pytest.fixture(scope="module")
def learned(tmp_path_factory, study) -> Path:
    return train(
        tmp_path_factory.mktemp("learned"), study.sampled(), max_epochs=12, batch_size=20, evaluations_per_epoch=1,
        learning_rate=2e-3,
    )  # fmt: skip


def test_both_tasks_are_learnt_and_each_has_its_accuracy(learned):
    scores = files.read_table(learned / "scores.tsv").iloc[0]
    assert scores["validation_accuracy_light"] > 0.9
    assert scores["validation_accuracy_colour"] > 0.9
    of_tasks = [scores["validation_accuracy_light"], scores["validation_accuracy_colour"]]
    assert scores["validation_accuracy"] == pytest.approx(np.mean(of_tasks))
    curve = files.read_table(learned / "curve.tsv")
    assert {"validation_accuracy", "validation_accuracy_light", "validation_accuracy_colour"} <= set(curve)


def test_the_files_say_what_the_encoder_is(learned):
    described = json.loads((learned / models.DESCRIPTION_FILE).read_text())
    assert described.items() >= {
        "encoder": "both", "backbone": "multitask_encoder", "features": 8, "shrink": 1, "tile_px": PX, "mpp": 0.5,
        "tasks": TASKS,
    }.items()  # fmt: skip
    assert files.read_table(learned / "scores.tsv").columns.tolist()[:2] == ["encoder", "validation_loss"]


def test_features_tell_patches_of_both_tasks_apart(learned, study):
    encoder = encoders.load(learned)
    data = training_data.SlideTiles(study.sampled()["validation"])
    with torch.inference_mode():
        features = encoder.embed(models.to_input(data.__getitems__(range(len(data)))[0])).numpy()
    for labels in ((0, 1, 2), (3, 4)):
        centres = np.stack([features[data.labels == label].mean(axis=0) for label in labels])
        members = np.isin(data.labels, labels)
        nearest = np.linalg.norm(features[members, None] - centres, axis=2).argmin(axis=1)
        assert (nearest + labels[0] == data.labels[members]).mean() > 0.9


def problem(study: Study, kind=encoder_training.Multitask, rank: int = 0, processes: int = 1, batch_size: int = 8):
    fabric = one_process()
    if processes > 1:
        fabric = SimpleNamespace(global_rank=rank, world_size=processes, device=torch.device("cpu"))
    torch.manual_seed(0)
    backbone = encoders.MULTITASK if kind is encoder_training.Multitask else encoders.BIGAN
    description = {"backbone": backbone, "tile_px": PX, "features": 8, "shrink": 1, "tasks": TASKS}
    sets = map(training_data.SlideTiles, study.sampled().values())
    options = {"tasks": TASKS} if kind is encoder_training.Multitask else {}
    return kind(
        encoders.build(description), *sets, batch_size=batch_size, balanced_batches=True,
        augmentations=["rotation", "noise"], seed=1, fabric=fabric, **options,
    )  # fmt: skip


def test_a_batch_has_as_many_patches_of_each_task(study):
    batches = problem(study).batches(0)
    for _ in range(6):
        _, labels, _ = next(batches)
        assert (labels < 3).sum() == (labels >= 3).sum() == 4


def test_the_loss_is_the_mean_over_tasks_of_their_own_cross_entropy(study):
    learning = problem(study)
    network = learning.network.eval()
    images, labels, _ = next(learning.batches(0))
    given = models.to_input(images)
    colour, light = network(given)[:, :3], network(given)[:, 3:]
    own = torch.nn.functional.cross_entropy
    expected = (
        own(colour[labels < 3], labels[labels < 3].long()) + own(light[labels >= 3], labels[labels >= 3].long() - 3)
    ) / 2
    torch.testing.assert_close(learning.share_loss(network, given, labels, torch.Generator()), expected)


def test_heads_learn_from_their_own_patches_alone(study):
    learning = problem(study)
    images, labels, _ = next(learning.batches(0))
    given = models.to_input(images)[labels < 3]
    learning.share_loss(learning.network, given, labels[labels < 3], torch.Generator()).backward()
    colour, light = ([weights.grad.abs().sum() > 0 for weights in head.parameters()] for head in learning.network.heads)
    assert all(colour)
    assert not any(light)


@pytest.mark.parametrize("kind", [encoder_training.Multitask, encoder_training.Bigan])
def test_the_loss_of_a_step_is_chosen_by_its_generator_alone(study, kind):
    def loss(seed: int) -> float:
        learning = problem(study, kind)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            return float(learning.loss(learning.network.eval(), next(learning.batches(2)), generator))

    assert loss(5) == loss(5) != loss(6)


@pytest.mark.parametrize("kind", [encoder_training.Multitask, encoder_training.Bigan])
def test_the_loss_of_a_step_is_the_mean_over_processes(study, kind):
    def loss(**place: int) -> float:
        learning = problem(study, kind, **place)
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            return float(learning.loss(learning.network.eval(), next(learning.batches(2)), generator))

    assert np.mean([loss(rank=rank, processes=2) for rank in (0, 1)]) == pytest.approx(loss(), rel=1e-4)


def test_a_network_that_diverged_has_an_infinite_loss_and_no_accuracy(study):
    learning = problem(study)
    with torch.no_grad():
        learning.network.heads[0][-1].bias.fill_(math.nan)
        measured = learning.evaluate(learning.network.eval(), lambda: None)
    assert measured["loss"] == math.inf
    assert math.isnan(measured["accuracy"])
    assert math.isnan(measured["accuracy_light"])


def test_a_bigan_is_judged_by_what_it_draws_again(study):
    learning = problem(study, encoder_training.Bigan)
    network = learning.network.eval()
    data = training_data.SlideTiles(study.sampled()["validation"])
    images = models.to_input(data.__getitems__(range(len(data)))[0])
    with torch.inference_mode():
        expected = (network.generate(network.embed(images)) - images).square().mean()
        assert learning.evaluate(network, lambda: None) == {"loss": pytest.approx(float(expected), rel=1e-4)}


@pytest.mark.parametrize("kind", ["autoencoder", "bigan"])
def test_encoders_learn_without_labels(tmp_path, study, kind):
    places = {name: [*study.places["light"][name], *study.places["colour"][name]] for name in ("train", "validation")}
    pooled = Study.__new__(Study)
    pooled.files, pooled.places = study.files, {"all": places}
    train(
        tmp_path, pooled.sampled(tasks={}, patches=120), kind=kind, tasks={}, max_epochs=6, evaluations_per_epoch=1,
        batch_size=16,
    )  # fmt: skip
    curve = files.read_table(tmp_path / "curve.tsv")
    if kind == "autoencoder":
        assert curve["validation_loss"].min() < 0.8 * curve["validation_loss"][0]
    else:
        # Which of two sides that are at odds is better, no loss says.
        assert curve["chosen"].tolist() == [0, 0, 0, 0, 0, 1]
    assert encoders.load(tmp_path).embed(torch.zeros(2, 3, PX, PX)).shape == (2, 8)
    assert files.read_table(tmp_path / "scores.tsv").columns.tolist()[:3] == [
        "encoder",
        "validation_loss",
        "evaluation",
    ]


def test_patches_that_are_too_small_are_refused_with_the_encoders_name(tmp_path, study):
    with pytest.raises(InputError, match="encoder both: an encoder of patches of 32 px, shrunk by 2: expected 62 px"):
        train(tmp_path, study.sampled(), shrink=2)


def test_an_autoencoder_learns_to_draw_patches_that_are_shrunk(tmp_path, study):
    train(tmp_path, study.sampled(patches=24), kind="autoencoder", tasks={}, shrink=2, max_epochs=1)
    network = encoders.load(tmp_path).network
    assert network.decode(network.embed(torch.zeros(2, 3, PX, PX))).shape == (2, 3, PX // 2, PX // 2)


@pytest.mark.parametrize("kind", ["multitask", "bigan"])
def test_a_run_that_was_interrupted_in_any_step_ends_with_the_same_bytes(tmp_path, study, monkeypatch, kind):
    slides, tasks = study.sampled(patches=24), TASKS if kind == "multitask" else {}
    settings = {"kind": kind, "tasks": tasks, "weight_averaging": 0.9, "max_epochs": 1, "augmentations": ["elastic"]}
    train(tmp_path / "whole", slides, **settings)
    train(tmp_path / "again", slides, **settings)
    whole = classifiers.results(tmp_path / "whole")
    assert classifiers.results(tmp_path / "again") == whole
    augment, steps = tile_problems.augment, []

    def ask(*arguments: object, **named: object) -> torch.Tensor:
        steps.append(1)
        os.kill(os.getpid(), signal.SIGTERM)
        return augment(*arguments, **named)

    monkeypatch.setattr(tile_problems, "augment", ask)
    while True:
        try:
            train(tmp_path / "interrupted", slides, **settings)
            break
        except Interrupted:
            assert [path.name for path in (tmp_path / "interrupted").iterdir()] == [tile_models.STATE_FILE]
    assert len(steps) > 2
    assert classifiers.results(tmp_path / "interrupted") == whole


def test_a_measure_that_an_encoder_without_tasks_lacks_is_refused(tmp_path, study):
    message = "checkpoint_on: an encoder of kind bigan has no accuracy; expected one of loss, last"
    with pytest.raises(InputError, match=message):
        train(tmp_path, study.sampled(), kind="bigan", tasks={}, checkpoint_on="accuracy")


def test_the_mean_colour_has_files_as_the_others_do(tmp_path):
    encoder_training.write_mean_colour(
        tmp_path, identity={"encoder": "rgb"}, tile_px=64, mpp=0.5, stain=None, code_version="1"
    )
    encoder = encoders.load(tmp_path)
    assert (encoder.features, encoder.patch_px, encoder.description["mpp"]) == (3, 64, 0.5)
    assert files.read_table(tmp_path / "scores.tsv").to_dict("records") == [{"encoder": "rgb"}]
    curve = files.read_table(tmp_path / "curve.tsv")
    assert len(curve) == 0
    assert "validation_loss" in curve
