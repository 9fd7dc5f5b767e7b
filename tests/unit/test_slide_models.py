"""Models of compressed slides learn what is planted and nothing else, resume exactly, and say where they look."""

import json
import logging
from functools import cache

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from processes import one_process

from workflow_scripts.lib import (
    evaluation,
    files,
    grids,
    interruption,
    models,
    scores,
    slide_models,
    slide_problems,
    training,
)
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.orientations import turned

SETTINGS = {
    "batch_size": 16, "balanced_batches": False, "learning_rate": 1e-2, "weight_decay": 0.0, "weight_averaging": 0.0,
    "augmentations": [], "steps_per_epoch": None, "epoch_factor": 1.0, "evaluations_per_epoch": 1, "max_epochs": 25,
    "checkpoint_on": "loss", "plateau_on": "loss", "plateau_patience": 10, "plateau_factor": 0.1,
    "lowest_learning_rate": 1e-5, "stop_on": "loss", "stop_patience": 30, "precision": "auto", "threads": 1,
}  # fmt: skip
NETWORK = {"filters": 32, "dropout": 0.1, "l2": 1e-5, "ties": "efron"}
FEATURES = 8
# Which way each number of a cell is off where something is planted.
PLANTED = np.array([1, -1, 1, 1, -1, 1, -1, -1])
CLASSES = ["dull", "bright"]


def write_grids(path, slides, *, orientations=1, patch_px=64, seed=0):
    """Slides of noise: of (strength, share) that share of cells has numbers that are off by strength, up or down."""
    rng = np.random.default_rng(seed)
    with grids.writing_grids(path) as file:
        for slide_id, (strength, share) in slides.items():
            height, width = rng.integers(6, 12, 2)
            tissue = rng.random((height, width)) < 0.8
            tissue[0, 0] = True
            values = rng.normal(size=(orientations, FEATURES, height, width))
            values += strength * PLANTED[:, None, None] * (rng.random((height, width)) < share)
            band = grids.Band(0, (values * tissue).astype(np.float16), tissue)
            shape = grids.Shape(orientations, FEATURES, height, width)
            facts = {"patch_px": patch_px, "mpp": 0.5, "tile_px": 64, "slide_mpp": 0.25, "patch_level0_px": 128.0}
            grids.write_slide(file, slide_id, [band], shape=shape, attributes=facts)
    return path


def study(folder, kind, *, n=64, models_of=1, shuffled=False, seed=0, **options):
    """A cohort `a` of which a fourth validates the first model, and one `b` that tests; the table, and the grids."""
    rng = np.random.default_rng(seed)
    hidden = rng.permutation(np.linspace(0, 1, n + n // 2))
    planted = {
        f"s{number:02}": ((1.0, float(value > 0.5)) if kind == "class" else (3.0, value))
        for number, value in enumerate(hidden)
    }
    ids = list(planted)
    table = pd.DataFrame({"cohort": ["a"] * n + ["b"] * (n // 2), "slide_id": ids, "patient_id": ids})
    said = rng.permutation(hidden) if shuffled else hidden
    table["value"] = (said > 0.5).astype(int) if kind == "class" else 10 + 5 * said
    table["time"] = np.exp(-8 * said) * rng.exponential(size=len(said)) + 0.01
    table["event"] = (rng.random(len(said)) < 0.7).astype(int)
    for number in range(1, models_of + 1):
        judges = (np.arange(n) % 4 == number - 1).tolist()
        table[f"model_{number}"] = [*("validation" if j else "train" for j in judges), *["test"] * (n // 2)]
    table["reason"] = ""
    of = {name: list(table.loc[table["cohort"] == name, "slide_id"]) for name in "ab"}
    paths = {
        name: [write_grids(folder / f"{name}.h5", {s: planted[s] for s in of[name]}, seed=ord(name), **options)]
        for name in "ab"
    }
    return table, paths


def train(folder, kind, table, paths, **changes):
    network = NETWORK | {key: changes.pop(key) for key in list(changes) if key in NETWORK}
    slide_models.train_slide_models(
        folder, folder_of_states=folder / "states", target="t", encoder="e", kind=kind,
        classes=CLASSES if kind == "class" else [], slides=table, grid_files=paths, network=network,
        settings=SETTINGS | changes, seed=1, code_version="c",
    )  # fmt: skip


def predict(folder, table, paths):
    options = {"slides": table, "grid_files": paths, "folder": folder, "threads": 1}
    slide_models.predict_targets(folder / "predictions.tsv", target="t", encoder="e", **options)
    return files.read_table(folder / "predictions.tsv").merge(table, on=["cohort", "slide_id", "patient_id"])


def judged(predicted, kind):
    """How well the test slides are told."""
    tested = predicted[predicted["set"] == "test"]
    if kind == "class":
        return scores.auc(tested["value"], tested["p_1"])
    if kind == "number":
        return evaluation.spearman(tested["value"], tested["prediction"])[0]
    return scores.c_index(tested["time"], tested["event"], tested["prediction"])


# What is learnt


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """Of a kind of target the folder of its models, its table and its grids; each is trained once."""

    @cache
    def of(kind):
        folder = tmp_path_factory.mktemp(kind)
        table, paths = study(folder, kind)
        train(folder / "m", kind, table, paths)
        return folder / "m", table, paths

    return of


@pytest.mark.parametrize(("kind", "least"), [("class", 0.95), ("number", 0.85), ("survival", 0.65)])
def test_what_is_planted_is_learnt_and_told_of_slides_that_were_not_seen(learnt, kind, least):
    folder, table, paths = learnt(kind)
    assert judged(predict(folder, table, paths), kind) >= least
    row = files.read_table(folder / "model_1" / "scores.tsv").iloc[0]
    column = {"class": "validation_auc", "number": "validation_spearman", "survival": "validation_c_index"}[kind]
    assert list(row.index) == [
        "target", "encoder", "model", "validation_loss", column, "evaluation", "evaluations", "train_slides",
        "validation_slides",
    ]  # fmt: skip
    assert (row["target"], row["encoder"], row["model"]) == ("t", "e", 1)
    assert (row["train_slides"], row["validation_slides"]) == (48, 16)
    assert row[column] > 0.6


@pytest.mark.parametrize(("kind", "low", "high"), [("class", 0.2, 0.8), ("number", -0.5, 0.5), ("survival", 0.3, 0.7)])
def test_what_is_shuffled_is_not(tmp_path, kind, low, high):
    table, paths = study(tmp_path, kind, shuffled=True)
    train(tmp_path / "m", kind, table, paths, max_epochs=6)
    assert low < judged(predict(tmp_path / "m", table, paths), kind) < high


def test_numbers_are_predicted_in_their_own_unit(learnt):
    found = predict(*learnt("number"))
    assert (found["prediction"] - found["value"]).abs().mean() < 1


def test_a_higher_risk_is_of_who_dies_earlier(learnt):
    assert predict(*learnt("survival"))[["prediction", "time"]].corr("spearman").iloc[0, 1] < -0.2


@pytest.mark.slow
@pytest.mark.parametrize("balanced", [False, True])
def test_three_classes_have_three_probabilities(tmp_path, balanced):
    table, paths = study(tmp_path, "number")
    table["value"] = pd.qcut(table["value"], 3, labels=False)
    slide_models.train_slide_models(
        tmp_path / "m", folder_of_states=tmp_path / "states", target="t", encoder="e", kind="class",
        classes=["x", "y", "z"], slides=table, grid_files=paths, network=NETWORK,
        settings=SETTINGS | {"balanced_batches": balanced}, seed=1, code_version="c",
    )  # fmt: skip
    found = predict(tmp_path / "m", table, paths)
    probabilities = found[["p_0", "p_1", "p_2"]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert scores.macro_auc(found["value"].to_numpy(), probabilities) > 0.7


# Runs


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("model_*/*"))}


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    table, paths = study(tmp_path, "number", models_of=2)
    for name in "ab":
        train(tmp_path / name, "number", table, paths, max_epochs=2)
        predict(tmp_path / name, table, paths)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert (tmp_path / "a" / "predictions.tsv").read_bytes() == (tmp_path / "b" / "predictions.tsv").read_bytes()
    first, second = (models.read(tmp_path / "a" / f"model_{k}", slide_models.build)[1] for k in (1, 2))
    assert first["learned_from"] != second["learned_from"]


def test_a_run_that_was_ended_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch):
    table, paths = study(tmp_path, "survival", models_of=2, orientations=8)
    train(tmp_path / "whole", "survival", table, paths, max_epochs=3)
    steps, step = [], training.Learner.step

    def ended_in_the_second_model(self, loss, fabric):
        step(self, loss, fabric)
        steps.append(1)
        if len(steps) == 13:
            interruption.signal.raise_signal(interruption.signal.SIGTERM)

    monkeypatch.setattr(training.Learner, "step", ended_in_the_second_model)
    with pytest.raises(interruption.Interrupted):
        train(tmp_path / "parts", "survival", table, paths, max_epochs=3)
    assert len(steps) == 13
    train(tmp_path / "parts", "survival", table, paths, max_epochs=3)
    assert len(steps) == 18, "the first model is not trained again"
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")


def test_other_grids_are_learnt_from_anew(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    table, paths = study(tmp_path, "class")
    train(tmp_path / "m", "class", table, paths, max_epochs=1)
    train(tmp_path / "m", "class", table, paths, max_epochs=1)
    assert caplog.text.count("resumed at step 3") == 1
    write_grids(paths["a"][0], dict.fromkeys(table["slide_id"], (1.0, 0.5)))
    train(tmp_path / "m", "class", table, paths, max_epochs=1)
    assert caplog.text.count("resumed") == 1


# Batches


def problem(folder, *, augmentations=(), seed=1, **options):
    _, paths = study(folder, "number", n=16, **options)
    places = list(grids.list_slides(paths["a"]).values())
    data = slide_problems.GridSet(places, np.arange(16.0))
    network = slide_models.build({"features": FEATURES, "kind": "number", "network": NETWORK})
    return slide_problems.NumberProblem(
        network, data, data, mean=0.0, spread=1.0, batch_size=4, augmentations=augmentations, l2=1e-5, seed=seed,
        fabric=one_process(),
    )  # fmt: skip


def turns_in(learns, steps):
    """Which orientations of patches, and which turns of the layout, each slide comes in over some steps."""
    seen = []
    for _, batch in zip(range(steps), learns.batches(0), strict=False):
        for values, tissue, label in zip(*batch, strict=True):
            place = learns._training.places[int(label)]
            size = tissue.any(dim=1).nonzero().max() + 1, tissue.any(dim=0).nonzero().max() + 1
            seen += [
                (way, layout)
                for way in range(place.shape.orientations)
                for layout in range(8)
                for expected in [turned(torch.from_numpy(grids.read_grid(place, way)[0]), layout)]
                if expected.shape[1] >= size[0] and expected.shape[2] >= size[1]
                and torch.equal(values[:, : expected.shape[1], : expected.shape[2]], expected)
            ]  # fmt: skip
    return seen


def test_patches_and_layout_are_turned_alike(tmp_path):
    seen = turns_in(problem(tmp_path, orientations=8), steps=8)
    assert len(seen) == 32
    assert all(way == layout for way, layout in seen)
    assert {way for way, _ in seen} == set(range(8))


def test_augmentations_turn_the_layout_alone(tmp_path):
    assert set(turns_in(problem(tmp_path), steps=8)) == {(0, 0)}
    flipped = set(turns_in(problem(tmp_path, augmentations=["vertical_flip", "transpose"]), steps=16))
    assert flipped == {(0, 0), (0, 2), (0, 4), (0, 6)}


def test_a_step_is_the_same_whether_those_before_it_were_taken_or_not(tmp_path):
    learns = problem(tmp_path, orientations=8, augmentations=["horizontal_flip"])
    taken = [batch for _, batch in zip(range(6), learns.batches(0), strict=False)]
    for given, expected in zip(next(learns.batches(5)), taken[5], strict=True):
        assert torch.equal(given, expected)
    assert not torch.equal(taken[0].labels, taken[4].labels)


def test_the_loss_has_the_l2_of_the_convolutions(tmp_path):
    learns = problem(tmp_path)
    batch = next(learns.batches(0))
    learns.network.eval()
    without = learns.loss_of(learns.network(*slide_problems.to_input(batch, "cpu")), batch.labels)
    expected = without + 1e-5 * learns.network.squared_weights()
    torch.testing.assert_close(learns.loss(learns.network, batch, torch.Generator()), expected)


def test_what_is_not_finite_is_no_measure(tmp_path):
    learns = problem(tmp_path)
    learns.network.output.bias.data[:] = float("nan")
    found = learns.evaluate(learns.network.eval(), lambda: None)
    assert found["loss"] == float("inf")
    assert np.isnan(found["spearman"])


# What is refused


def test_slides_without_a_grid_are_left_out_and_named(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    table, paths = study(tmp_path, "class")
    kept = dict.fromkeys(table.loc[table["cohort"] == "a", "slide_id"].iloc[2:], (1.0, 0.5))
    write_grids(paths["a"][0], kept)
    train(tmp_path / "m", "class", table, paths, max_epochs=1)
    assert "a: 2 of 64 slides have no tissue and no grid, and are left out: s00, s01" in caplog.text
    assert files.read_table(tmp_path / "m" / "model_1" / "scores.tsv")["train_slides"].item() == 47
    assert not {"s00", "s01"} & set(predict(tmp_path / "m", table, paths)["slide_id"])


def test_a_set_that_teaches_nothing_is_refused(tmp_path):
    table, paths = study(tmp_path, "survival", n=16)
    trains, judges = table["model_1"] == "train", table["model_1"] == "validation"

    def refused(kind, message, **changes):
        with pytest.raises(InputError, match=f"target t, encoder e, model 1: {message}"):
            train(tmp_path / "m", kind, table.assign(**changes), paths)

    few = table["model_1"].where(~trains | (table["slide_id"] == "s01"), "")
    refused("number", "the training set has 1 slides .* and 2 are needed", model_1=few)
    refused("number", "the training set has 0 slides", model_1=table["model_1"].where(~trains, ""))
    refused("number", "the validation set has 0 slides", model_1=table["model_1"].where(~judges, ""))
    refused("number", "the training set of 12 slides has the one number 0.1: nothing to learn", value=0.1)
    refused("class", "the training set of 12 slides has none of class 1", value=0)
    refused("survival", "the training set of 12 slides has no death", event=(~trains).astype(int))
    refused("survival", "the validation set of 4 slides has no death", event=(~judges).astype(int))


def test_grids_that_are_missing_or_unlike_are_refused(tmp_path):
    table, paths = study(tmp_path, "class", n=16)
    with pytest.raises(InputError, match="a: expected grids of its 16 slides, found none of them in 0 files; compress"):
        train(tmp_path / "m", "class", table, {"b": paths["b"]})
    more = table.assign(cohort=table["cohort"].replace("b", "c"), model_1=table["model_1"].replace("test", "train"))
    ids = dict.fromkeys(table["slide_id"], (1.0, 0.5))
    unlike = paths | {"c": [write_grids(tmp_path / "c.h5", ids, patch_px=32)]}
    with pytest.raises(InputError, match="expected grids of like patches, numbers and orientations, found"):
        train(tmp_path / "m", "class", more, unlike)


def test_weights_are_kept_by_a_measure_that_the_target_has(tmp_path):
    table, paths = study(tmp_path, "number", n=16)
    with pytest.raises(InputError, match=r"t: checkpoint_on is slide_auc, .* kind number .* last or spearman"):
        train(tmp_path / "m", "number", table, paths, checkpoint_on="slide_auc")
    train(tmp_path / "m", "number", table, paths, checkpoint_on="spearman", max_epochs=1)


# Predictions and attributions


def test_each_model_predicts_the_slides_that_it_did_not_learn_from(tmp_path):
    table, paths = study(tmp_path, "class", n=16, models_of=2)
    train(tmp_path / "m", "class", table, paths, max_epochs=1)
    found = predict(tmp_path / "m", table, paths)
    assert list(found.columns[:9]) == [
        "target", "encoder", "cohort", "slide_id", "patient_id", "model", "set", "p_0", "p_1"
    ]  # fmt: skip
    for number in (1, 2):
        of_model = found[found["model"] == number].set_index("slide_id")["set"]
        expected = table.set_index("slide_id")[f"model_{number}"]
        assert of_model.to_dict() == expected[expected != "train"].to_dict()


def attributed(folder, table, paths):
    slide_models.attribute(folder / "a.h5", slides=table, grid_files=paths, folder=folder, threads=1)
    with h5py.File(folder / "a.h5") as file:
        return {name: (group["attribution"][:], dict(group.attrs)) for name, group in file.items()}


def test_models_look_where_it_is_planted(learnt):
    folder, table, paths = learnt("number")
    found = attributed(folder, table, paths)
    assert list(found) == table.loc[table["cohort"] == "b", "slide_id"].tolist()
    raised: dict[bool, list[float]] = {True: [], False: []}
    for slide, place in grids.list_slides(paths["b"]).items():
        (values, tissue), (map_, attributes) = grids.read_grid(place, 0), found[slide]
        assert map_.shape == tissue.shape
        assert map_.dtype == np.float32
        assert np.array_equal(np.isnan(map_), ~tissue)
        assert (attributes["cohort"], attributes["patch_px"], attributes["patch_level0_px"]) == ("b", 64, 128.0)
        strength = np.einsum("chw,c->hw", values.astype(float), PLANTED) / FEATURES
        for is_planted in raised:
            raised[is_planted] += (map_[tissue & ((strength > 1.5) == is_planted)] > 0).tolist()
    assert np.mean(raised[True]) > np.mean(raised[False]) + 0.2


def test_attributions_are_the_mean_over_the_models_that_test_a_slide(tmp_path):
    table, paths = study(tmp_path, "class", n=16, models_of=2)
    train(tmp_path / "m", "class", table, paths, max_epochs=1)
    both = attributed(tmp_path / "m", table, paths)
    alone = [attributed(tmp_path / "m", table.assign(**{f"model_{other}": ""}), paths) for other in (2, 1)]
    for slide, (map_, _) in both.items():
        np.testing.assert_allclose(map_, (alone[0][slide][0] + alone[1][slide][0]) / 2, atol=1e-6)


def test_the_description_says_what_a_model_is(tmp_path):
    table, paths = study(tmp_path, "number", n=16)
    train(tmp_path / "m", "number", table, paths, max_epochs=1)
    said = json.loads((tmp_path / "m" / "model_1" / "model.json").read_text())
    values = table.loc[table["model_1"] == "train", "value"]
    assert said["mean"] == pytest.approx(values.mean())
    assert said["spread"] == pytest.approx(values.std(ddof=0))
    shown = {
        key: said[key] for key in ("target", "encoder", "model", "kind", "backbone", "features", "patch_px", "mpp")
    }
    assert shown == {
        "target": "t", "encoder": "e", "model": 1, "kind": "number", "backbone": "slide_network", "features": FEATURES,
        "patch_px": 64, "mpp": 0.5,
    }  # fmt: skip
