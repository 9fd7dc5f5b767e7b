"""The methods of microscope adaptation learn from the patches and by the losses that the paper gives them."""

import json
import math
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import adapting
import numpy as np
import pytest
import test_training as classifiers
import torch
from adapting import CLASSES, SETTINGS, Study, make_study, method, train
from processes import one_process
from sklearn.metrics import f1_score

from workflow_scripts.lib import (
    adaptation_losses,
    adaptation_networks,
    adaptation_training,
    augmentations,
    files,
    inference,
    models,
    tile_models,
    tile_problems,
    training_data,
)
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.interruption import Interrupted
from workflow_scripts.lib.predictions import read_classes
from workflow_scripts.lib.training_data import SlideTiles

UNLABELLED = len(CLASSES)
DMAN = {"domain": "least_squares", "entropy_weight": 0.1}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    return make_study(tmp_path_factory.mktemp("study"))


def counts(slides: list[adaptation_training.DomainSlide]) -> dict[str, list[int]]:
    """How many patches of each label are learnt from, by slide."""
    return {
        slide.slide_id: np.bincount(slide.label[slide.sampled], minlength=UNLABELLED + 1).tolist() for slide in slides
    }


# What is learnt from


def test_labels_number_the_classes_and_other_patches_are_left_out(study):
    sets = study.sets("source")
    assert counts(sets["train"]) == {"scanned/s1": [10, 5, 0, 0], "scanned/s2": [4, 4, 4, 0]}
    assert counts(sets["validation"]) == {"scanned/s3": [3, 3, 3, 0]}
    assert sets["train"][1].label[:4].tolist() == [0, 1, 2, adaptation_training.NO_CLASS]


def test_patches_of_the_target_are_all_learnt_from_without_labels(study):
    sets = study.sets("source", "target")
    assert counts(sets["train"][2:]) == {"camera/t1": [0, 0, 0, 12], "camera/t2": [0, 0, 0, 8]}
    assert [slide.domain for slide in sets["train"]] == ["source", "source", "target", "target"]


def test_the_targets_labels_are_read_from_nowhere(study, monkeypatch):
    expected = study.sets("source", "target")
    read, opened = files.read_table, []

    def note(path, **options):
        opened.append(Path(path).stem)
        return read(path, **options)

    monkeypatch.setattr(files, "read_table", note)
    poisoned = study.sets("source", "target", slide_labels={"camera/t1": "Normal", "camera/t2": "Background"})
    assert opened == ["s1", "s2", "s3"]
    for name in ("train", "validation"):
        for one, other in zip(poisoned[name], expected[name], strict=True):
            assert one.label.tolist() == other.label.tolist()
            assert one.sampled.tolist() == other.sampled.tolist()


def test_a_cohort_without_annotations_has_the_class_of_the_slide_on_all_its_patches(study):
    named = {"scanned/s1": "Adenocarcinoma", "scanned/s3": "Adenoma"}
    sets = study.sets("source", slide_labels=named)
    assert counts(sets["train"]) == {"scanned/s1": [0, 0, 18, 0], "scanned/s2": [4, 4, 4, 0]}
    # A class that is not told apart teaches nothing.
    sets = study.sets("source", slide_labels={"scanned/s1": "Serrated", "scanned/s3": "Adenoma"})
    assert list(counts(sets["train"])) == ["scanned/s2"]


def test_few_labelled_patches_are_spread_over_the_photographs_and_are_those_of_every_method(study):
    few = study.sets("source", "labelled_target", target_patches=14)["train"][2:]
    assert [len(slide.sampled) for slide in few] == [7, 7]
    assert all((slide.label[slide.sampled] >= 0).all() for slide in few)
    alone = study.sets("labelled_target", target_patches=14)
    assert [slide.sampled.tolist() for slide in alone["train"]] == [slide.sampled.tolist() for slide in few]
    other = study.sets("labelled_target", target_patches=14, seed=2)["train"]
    assert [slide.sampled.tolist() for slide in other] != [slide.sampled.tolist() for slide in few]
    # All that validate do.
    assert counts(alone["validation"]) == {"camera/l3": [2, 2, 2, 0]}


def test_more_patches_than_there_are_are_all(study):
    few, every = (study.sets("labelled_target", target_patches=most) for most in (500, None))
    assert counts(few["train"]) == counts(every["train"])


def test_a_class_without_training_patches_is_named(study):
    with pytest.raises(InputError, match="training patches of Serrated, found 14 of Normal, 9 of Adenoma, 0 of Serr"):
        study.sets("source", classes=["Normal", "Adenoma", "Serrated"])


def test_a_part_without_patches_is_named_with_its_set(tmp_path):
    study = Study(tmp_path, {
        "a": ("source", "train", CLASSES), "b": ("source", "validation", ["Background"]),
        "c": ("target", "train", ["Normal"]),
    })  # fmt: skip
    with pytest.raises(InputError, match="source, validation: expected patches, found none on 1 slides; add slides"):
        study.sets("source")
    study.places["target"]["train"] = []
    del study.places["source"]["validation"]
    with pytest.raises(InputError, match="target, train: expected patches, found none on 0 slides"):
        study.sets("source", "target")


def test_labels_of_another_slide_are_refused(study):
    with pytest.raises(InputError, match=r"s2.tsv: expected labels of the slide s1, found s2"):
        adaptation_training.learning_sets(
            {"source": {"train": [("scanned", "s1")]}}, [study.source("s1")], [study.path_to_labels("s2")], {},
            classes=CLASSES, target_patches=None, seed=1,
        )  # fmt: skip


# Batches and losses


class Tiny(torch.nn.Module):
    """A classifier without batch statistics, of two features."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.features = torch.nn.Linear(3, 2)
        self.last = torch.nn.Linear(2, len(CLASSES))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(torch.tanh(self.features(4 * images.mean(dim=(2, 3)))))


def problem(
    study: Study, *parts: str, processes: int = 1, rank: int = 0, settings: Mapping[str, object] = {}, **given: object
) -> adaptation_training.Adapting:
    fabric = one_process()
    if processes > 1:
        fabric = SimpleNamespace(global_rank=rank, world_size=processes, device=torch.device("cpu"))
    values = method(**given)
    network = Tiny()
    torch.manual_seed(4)
    units = adaptation_networks.build_discriminator(2, [5])
    adds = given.get("domain") == "adda"
    wrapped = (adaptation_networks.AddaNetwork if adds else adaptation_networks.AdaptationNetwork)(
        network, units if given.get("domain") not in (None, "mmd", "coral") else None
    )
    kind = adaptation_training.AdaptingByAdda if adds else adaptation_training.Adapting
    options = {key: (SETTINGS | settings)[key] for key in (
        "batch_size", "balanced_batches", "augmentations", "crop_px", "steps_per_epoch", "max_epochs",
    )}  # fmt: skip
    return kind(
        wrapped, *map(SlideTiles, study.sets(*parts).values()), classes=len(CLASSES), method=values, focal_gamma=2.0,
        label_weight=0.7, seed=1, fabric=fabric, **options,
    )  # fmt: skip


def test_a_batch_has_the_batch_size_of_each_domain(study):
    batches = problem(study, "source", "target", **DMAN).batches(0)
    for number in range(12):
        (_, labels, _), step = next(batches)
        assert (labels < UNLABELLED).sum() == (labels == UNLABELLED).sum() == SETTINGS["batch_size"]
        assert step == number
    (_, labels, _), _ = next(problem(study, "source").batches(0))
    assert len(labels) == SETTINGS["batch_size"]


def test_a_method_of_both_labels_has_half_of_each_domain_unless_they_are_pooled(study):
    parts = ("source", "labelled_target")

    def of_target(**given: object) -> list[int]:
        learning = problem(study, *parts, labelled="both", **given)
        batches = learning.batches(0)
        slides = [next(batches)[0][2].numpy() for _ in range(11)]
        assert all(len(of) == 8 for of in slides)
        return [int((of >= 2).sum()) for of in slides]

    assert of_target() == [4] * 11
    # 27 patches of the source and 19 of the target, of which 11 batches of 8 have all once and most twice.
    pooled = of_target(pooled=True)
    assert len(set(pooled)) > 1
    assert sum(pooled) / 88 == pytest.approx(19 / 46, abs=0.05)


def test_a_set_that_is_smaller_than_a_batch_has_as_many_of_each_domain(tmp_path):
    study = Study(tmp_path, {
        "s1": ("source", "train", CLASSES), "s3": ("source", "validation", CLASSES),
        "t1": ("target", "train", ["Normal"] * 2), "t3": ("target", "validation", CLASSES),
    })  # fmt: skip
    learning = problem(study, "source", "target", **DMAN)
    (_, labels, _), _ = next(learning.batches(0))
    assert learning.batch_size == 4
    assert (labels == UNLABELLED).sum() == 2


def batch_of(learning: adaptation_training.Adapting, step: int = 0):
    return next(learning.batches(step))


def loss_of(learning, batch, *, seed: int = 5) -> torch.Tensor:
    return learning.loss(learning.network, batch, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("schedule", ["constant", "dann"])
def test_both_sides_have_the_gradients_of_equation_1(study, schedule):
    learning = problem(
        study, "source", "target", domain_weight=0.3, domain_schedule=schedule, **DMAN,
        settings={"augmentations": [], "max_epochs": 2, "steps_per_epoch": 4},
    )  # fmt: skip
    (images, labels, slides), _ = batch_of(learning)
    # Step 4 of 8: p = ½, so λ = 2 / (1 + e⁻⁵) − 1.
    factor = 2 / (1 + math.exp(-5)) - 1 if schedule == "dann" else 1.0
    network = learning.network
    loss_of(learning, ((images, labels, slides), 4)).backward()
    found = {name: value.grad.clone() for name, value in network.named_parameters()}
    # As it is written, without a reversal.
    given, of_target = models.to_input(images), labels == UNLABELLED
    features, logits = models.with_features(network.classifier, given)
    probabilities, judged = torch.softmax(logits, dim=1), network.discriminator(features)[:, 0]
    own = probabilities[~of_target, labels[~of_target].long()]
    of_classes = -((1 - own) ** 2 * own.log()).mean()
    entropy = -(probabilities * probabilities.log()).sum(dim=1).mean()
    of_domains = (judged[of_target] - 1).square().mean() + judged[~of_target].square().mean()
    sides = {
        "classifier": 0.7 * of_classes + 0.1 * entropy - factor * 0.3 * of_domains,
        "discriminator": 0.3 * of_domains,
    }
    for side, total in sides.items():
        names, values = zip(*(one for one in network.named_parameters() if one[0].startswith(side)), strict=True)
        for name, expected in zip(names, torch.autograd.grad(total, values, retain_graph=True), strict=True):
            torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-6)
            assert expected.abs().max() > 1e-5


@pytest.mark.parametrize("domain", ["cross_entropy", "focal", "mmd", "coral"])
def test_other_domain_losses_are_of_features_logits_or_the_discriminator(study, domain):
    learning = problem(
        study, "source", "target", loss="cross_entropy", domain=domain, domain_weight=0.5,
        settings={"augmentations": []},
    )  # fmt: skip
    (images, labels, slides), step = batch_of(learning)
    of_target = labels == UNLABELLED
    features, logits = models.with_features(learning.network.classifier, models.to_input(images))
    of_labels = torch.nn.functional.cross_entropy(logits[~of_target], labels[~of_target].long())
    if domain in ("mmd", "coral"):
        seen = features if domain == "mmd" else logits
        expected = getattr(adaptation_losses, domain)(seen[~of_target], seen[of_target])
    else:
        judged = learning.network.discriminator(features)[:, 0]
        values = adaptation_losses.sigmoid_focal(judged, of_target, gamma=2 if domain == "focal" else 0)
        expected = adaptation_losses.over_domains(values, of_target)
    found = loss_of(learning, ((images, labels, slides), step))
    torch.testing.assert_close(found, 0.7 * of_labels + 0.5 * expected)


def test_adda_has_both_losses_of_one_step(study):
    learning = problem(
        study, "source", "target", domain="adda", domain_weight=1.0, starts_from="one", settings={"augmentations": []}
    )
    (images, labels, slides), step = batch_of(learning)
    given, of_target, network = models.to_input(images), labels == UNLABELLED, learning.network
    with torch.no_grad():
        network.classifier.features.weight.add_(0.5)
    loss_of(learning, ((images, labels, slides), step)).backward()
    found = {name: value.grad for name, value in network.named_parameters() if value.grad is not None}
    source = models.with_features(network.start, given[~of_target])[0]
    target = models.with_features(network.classifier, given[of_target])[0]
    apart = torch.nn.functional.binary_cross_entropy_with_logits
    of_source, of_own = (network.discriminator(of)[:, 0] for of in (source, target))
    sides = {
        "discriminator": apart(of_source, torch.zeros(4)) + apart(of_own, torch.ones(4)),
        # Taken for the source.
        "classifier.features": apart(of_own, torch.zeros(4)),
    }
    assert {name.rpartition(".")[0].split(".0")[0].split(".2")[0] for name in found} == set(sides)
    for side, total in sides.items():
        names, values = zip(*(one for one in network.named_parameters() if one[0].startswith(side)), strict=True)
        for name, expected in zip(names, torch.autograd.grad(total, values, retain_graph=True), strict=True):
            torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("parts", "given"),
    [
        (("source", "target"), DMAN),
        (("source", "target"), {"domain": "focal"}),
        (("source", "target"), {"domain": "adda", "starts_from": "one", "entropy_weight": 0.1}),
        (("source",), {"loss": "cross_entropy"}),
        (("source", "labelled_target"), {"labelled": "both"}),
    ],
)
def test_the_loss_of_a_step_is_the_mean_over_processes(study, parts, given):
    # Seven of each domain over three processes: their shares are of different sizes.
    settings = {"batch_size": 7, "crop_px": 24}

    def loss(**place: int) -> float:
        learning = problem(study, *parts, **given, settings=settings, **place)
        with torch.no_grad():
            return float(loss_of(learning, batch_of(learning, 2)))

    assert np.mean([loss(rank=rank, processes=3) for rank in range(3)]) == pytest.approx(loss(), rel=1e-5)


@pytest.mark.parametrize("given", [{"domain": "coral"}, {"domain": "adda", "starts_from": "one"}])
def test_covariances_and_batch_statistics_of_the_target_need_two_patches_in_each_process(study, given):
    with pytest.raises(InputError, match="a step of 4 patches of each domain over 3 processes leaves a process fewer"):
        problem(study, "source", "target", processes=3, **given)


def test_squares_are_cut_at_random_in_training_and_in_the_middle_else(study, monkeypatch):
    learning = problem(study, "source", settings={"crop_px": 20, "augmentations": []})
    seen = []
    forward = adaptation_networks.AdaptationNetwork.forward

    def note(network, images, *rest):
        seen.append(images)
        return forward(network, images, *rest)

    monkeypatch.setattr(adaptation_networks.AdaptationNetwork, "forward", note)
    batch = batch_of(learning)
    whole = models.to_input(batch[0][0])
    for seed in (5, 5, 6):
        loss_of(learning, batch, seed=seed)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    corners = []
    for square, patch in zip(seen[0], whole, strict=True):
        places = [
            (top, left) for top in range(13) for left in range(13)
            if torch.equal(patch[:, top : top + 20, left : left + 20], square)
        ]  # fmt: skip
        corners += places
    assert len(corners) == 4
    assert len(set(corners)) > 1
    seen.clear()
    with torch.inference_mode():
        learning.evaluate(learning.network, lambda: None)
    images = learning._validation.__getitems__(range(4))[0]
    assert torch.equal(seen[0][:4], models.to_input(images)[:, :, 6:26, 6:26])


# Evaluation


def test_labels_are_judged_on_labelled_patches_and_the_target_without_any(study):
    learning = problem(study, "source", "target", **DMAN)
    network, data = learning.network.eval(), learning._validation
    given, labels = models.to_input(data.__getitems__(range(len(data)))[0]), torch.from_numpy(data.labels)
    with torch.inference_mode():
        found = learning.evaluate(network, lambda: None)
        _, logits, judged = network(given)
    of_target = labels == UNLABELLED
    predicted, known = logits[~of_target].argmax(dim=1), labels[~of_target].long()
    assert (len(known), int(of_target.sum())) == (9, 8)
    expected = {
        "loss": adaptation_losses.focal(logits[~of_target], known, gamma=2).mean(),
        "accuracy": (predicted == known).float().mean(),
        "macro_f1": f1_score(known, predicted, average="macro", zero_division=0),
        "entropy": adaptation_losses.entropy(logits).mean(),
        "domain": (judged[of_target] - 1).square().mean() + judged[~of_target].square().mean(),
    }
    assert found == pytest.approx({name: float(value) for name, value in expected.items()}, rel=1e-4)


@pytest.mark.parametrize(
    ("parts", "given", "measures"),
    [
        (("source",), {}, {"loss", "accuracy", "macro_f1"}),
        (("source", "target"), {"domain": "coral"}, {"loss", "accuracy", "macro_f1", "entropy", "domain"}),
        (("source", "target"), {"entropy_weight": 0.1}, {"loss", "accuracy", "macro_f1", "entropy"}),
        (("source", "target"), {"domain": "adda", "starts_from": "one"},
         {"loss", "accuracy", "macro_f1", "entropy", "domain"}),
    ],
)  # fmt: skip
def test_what_is_measured_is_the_same_where_an_output_is_not_finite(study, parts, given, measures):
    learning = problem(study, *parts, **given)
    with torch.no_grad():
        assert learning.evaluate(learning.network, lambda: None).keys() == measures
        learning.network.classifier.last.bias.fill_(math.nan)
        found = learning.evaluate(learning.network, lambda: None)
    assert found.pop("loss") == math.inf
    assert found.keys() == measures - {"loss"}
    assert all(map(math.isnan, found.values()))


# Whole methods


@pytest.fixture(scope="module")
def start(tmp_path_factory, study) -> Path:
    return train(tmp_path_factory.mktemp("start"), study.sets("source"))


def test_each_kind_of_method_is_trained_to_a_classifier_that_predicts(tmp_path, study, start):
    unsupervised = study.sets("source", "target")
    trained = {
        "start": start,
        "both": train(tmp_path / "both", study.sets("source", "labelled_target", target_patches=14), labelled="both"),
        "fine": train(tmp_path / "fine", study.sets("labelled_target"), labelled="target", starts_from=start),
        "dman": train(tmp_path / "dman", unsupervised, **DMAN),
        "coral": train(tmp_path / "coral", unsupervised, domain="coral", loss="cross_entropy"),
        "adda": train(tmp_path / "adda", unsupervised, domain="adda", starts_from=start),
    }
    inference.predict_slides(
        tmp_path / "found.h5", sources={"t1": study.source("t1")}, models_of_slide={"t1": list(trained)},
        model_folders=trained, stain=None, batch_size=8, threads=1,
    )  # fmt: skip
    coords, found = read_classes(tmp_path / "found.h5", "t1", models=list(trained), classes=len(CLASSES))
    assert len(coords) == 12
    expected = models.build(SETTINGS["backbone"], outputs=len(CLASSES)).state_dict().keys()
    for name, folder in trained.items():
        assert models.load(folder).description["classes"] == CLASSES
        assert models.load(folder).network.state_dict().keys() == expected
        (curve, scores) = (files.read_table(folder / f"{of}.tsv") for of in ("curve", "scores"))
        of_target = {"validation_entropy", "validation_domain"} & set(curve)
        assert len(of_target) == (2 if name in ("dman", "coral", "adda") else 0)
        assert {"validation_loss", "validation_accuracy", "validation_macro_f1"} | of_target <= set(scores)
        assert scores.columns[:2].tolist() == ["method", "seed"]
    assert not np.array_equal(found["start"], found["adda"])
    # What is frozen is as it was, and the rest is not.
    before, after = (models.load(trained[name]).network.state_dict() for name in ("start", "adda"))
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {"fc.weight", "fc.bias"} <= same
    assert "conv1.0.weight" not in same


def test_labels_of_the_target_make_no_bit_of_an_unsupervised_model(tmp_path, study):
    sets = study.sets("source", "target")
    poisoned = study.sets("source", "target", slide_labels={"camera/t1": "Adenoma", "camera/t3": "Background"})
    folders = [train(tmp_path / name, of, **DMAN) for name, of in (("a", sets), ("b", poisoned))]
    assert classifiers.results(folders[0]) == classifiers.results(folders[1])


def test_the_description_says_by_what_it_was_learnt(tmp_path, study):
    folder = train(tmp_path, study.sets("source", "target"), settings={"crop_px": 24}, domain_weight=0.2, **DMAN)
    described = json.loads((folder / models.DESCRIPTION_FILE).read_text())
    assert described["adaptation"] == {
        "loss": "focal", "domain": "least_squares", "domain_weight": 0.2, "domain_schedule": "constant",
        "entropy_weight": 0.1, "pooled": False, "focal_gamma": 2.0, "label_weight": 1.0, "discriminator": [8, 8],
    }  # fmt: skip
    assert (described["crop_px"], described["tile_px"]) == (24, adapting.PX)
    with torch.inference_mode():
        found = models.load(folder).probabilities(models.to_input(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)))
    assert found.shape == (2, 3)


@pytest.mark.parametrize("domain", ["least_squares", "adda"])
def test_a_run_that_was_interrupted_in_any_step_ends_with_the_same_bytes(tmp_path, study, start, monkeypatch, domain):
    sets = study.sets("source", "target")
    own = {"starts_from": start} if domain == "adda" else {"domain_schedule": "dann"}
    given = {"domain": domain, "entropy_weight": 0.1, **own}
    settings = {"crop_px": 24, "weight_averaging": 0.5, "augmentations": ["rotation", "noise"]}
    whole = classifiers.results(train(tmp_path / "whole", sets, settings=settings, **given))
    steps = []

    def ask(*arguments: object, **named: object) -> torch.Tensor:
        steps.append(1)
        os.kill(os.getpid(), signal.SIGTERM)
        return augmentations.augment(*arguments, **named)

    monkeypatch.setattr(tile_problems, "augment", ask)
    while True:
        try:
            train(tmp_path / "cut", sets, settings=settings, **given)
            break
        except Interrupted:
            assert [path.name for path in (tmp_path / "cut").iterdir()] == [tile_models.STATE_FILE]
    assert len(steps) == 2
    assert classifiers.results(tmp_path / "cut") == whole


# Batch statistics


def measured(folder: Path, start: Path, target: list, batch_size: int = 5) -> Path:
    adaptation_training.measure_batch_statistics(
        folder, identity={"method": "batch_norm", "seed": 1}, starts_from=start, target=target, batch_size=batch_size,
        stain=None, seed=1, code_version="test", threads=1,
    )  # fmt: skip
    return folder


def test_batch_statistics_are_the_means_of_those_of_whole_batches_and_weights_stay(tmp_path, study, start):
    target = [slide for slide in study.sets("source", "target")["train"] if slide.domain == "target"]
    found, before = (models.load(folder).network.state_dict() for folder in (measured(tmp_path, start, target), start))
    changed = {name for name in found if not torch.equal(found[name], before[name])}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert changed == {name for name in found if name.endswith(statistics)}
    # Of the first layer by hand: 20 patches are four batches of five.
    data = SlideTiles(target)
    order = training_data.batches(20, 5, seed=1, first_step=0, part=slice(None))
    first = models.load(start).network.conv1[0]
    with torch.inference_mode():
        outputs = [first(models.to_input(data.__getitems__(next(order))[0])) for _ in range(4)]
    means = torch.stack([output.mean(dim=(0, 2, 3)) for output in outputs]).mean(dim=0)
    variances = torch.stack([output.var(dim=(0, 2, 3)) for output in outputs]).mean(dim=0)
    torch.testing.assert_close(found["conv1.1.running_mean"], means, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["conv1.1.running_var"], variances, rtol=1e-4, atol=1e-5)


def test_batch_statistics_have_the_files_of_the_others_and_no_evaluation(tmp_path, study, start):
    target = [slide for slide in study.sets("source", "target")["train"] if slide.domain == "target"]
    again = [replace(slide, label=slide.label * 0) for slide in target]
    folders = [measured(tmp_path / name, start, of) for name, of in (("a", target), ("b", again))]
    weights = [(folder / models.WEIGHTS_FILE).read_bytes() for folder in folders]
    assert weights[0] == weights[1]
    assert len(files.read_table(folders[0] / "curve.tsv")) == 0
    assert files.read_table(folders[0] / "scores.tsv").to_dict("records") == [{"method": "batch_norm", "seed": 1}]
    described, begun = (models.load(folder).description for folder in (folders[0], start))
    assert {key: described[key] for key in ("classes", "tile_px", "mpp")} == {
        key: begun[key] for key in ("classes", "tile_px", "mpp")
    }
    assert described["starts_from"]


def test_a_network_without_batch_statistics_is_refused(tmp_path, study):
    target = [slide for slide in study.sets("source", "target")["train"] if slide.domain == "target"]
    torch.manual_seed(0)
    network = models.build("squeezenet1_1", outputs=3)
    description = {"backbone": "squeezenet1_1", "classes": CLASSES, "tile_px": 32, "mpp": 0.5}
    models.save(tmp_path / "start", network.state_dict(), description)
    with pytest.raises(InputError, match="start: a squeezenet1_1 has no batch statistics"):
        measured(tmp_path / "found", tmp_path / "start", target)
