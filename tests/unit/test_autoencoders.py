"""The autoencoder draws tiles again from few numbers, which tell unlike tiles apart, and trains by the one engine."""

import json
import math
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import test_training as classifiers
import torch
from processes import one_process
from stores import make_store
from torch.distributions import Independent, Normal, kl_divergence

from workflow_scripts.lib import autoencoders, files, models, tile_models, tile_problems, training_data
from workflow_scripts.lib.autoencoders import VariationalAutoencoder
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.interruption import Interrupted

OF_NETWORK = ("backbone", "weights", "imagenet", "head", "dropout")
SETTINGS = {
    key: value for key, value in classifiers.SETTINGS.items() if key not in OF_NETWORK
} | {"checkpoint_on": "loss", "max_epochs": 2}  # fmt: skip
PX = 32


def slides(folder: Path, labels: str, *, seed: int, tiles: int = 8) -> list[training_data.LabelledSlide]:
    """A slide per digit of `labels`: tiles of a colour and a dark disc, of which those of class 1 are bluer."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:PX, :PX]
    made = []
    for number, label in enumerate(map(int, labels)):
        images = np.empty((tiles, PX, PX, 3), np.uint8)
        for image in images:
            image[:] = np.array([170 - 90 * label, 140, 180 + 40 * label]) + rng.integers(-30, 30, 3)
            row, column = rng.integers(8, PX - 8, 2)
            image[(rows - row) ** 2 + (columns - column) ** 2 < 49] = (60, 20, 90)
        store = make_store(folder / f"{seed}_{number}.h5", images, slide_id=f"{seed}_{number}")
        made.append(classifiers.labelled(f"{seed}_{number}", store, label))
    return made


def train(folder: Path, training: list, validation: list, *, kl_weight: float = 1.0, **changes: object) -> None:
    autoencoders.train_autoencoder(
        folder, identity={"model": "latents"}, training=training, validation=validation, settings=SETTINGS | changes,
        stain=None, seed=1, code_version="test", workers=0, kl_weight=kl_weight,
    )  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    return slides(folder, "0101", seed=1), slides(folder, "01", seed=2)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A model that has learnt from two classes, and the tiles that it was trained and validated on."""
    folder = tmp_path_factory.mktemp("learned")
    sets = slides(folder, "0101", seed=3, tiles=48), slides(folder, "01", seed=4, tiles=24)
    train(folder / "model", *sets, batch_size=16, max_epochs=6, evaluations_per_epoch=1, learning_rate=2e-3)
    return folder / "model", *map(training_data.SlideTiles, sets)


def pixels(data: training_data.SlideTiles) -> torch.Tensor:
    return models.to_input(data.__getitems__(range(len(data)))[0])


def test_tiles_are_drawn_again_better_than_by_the_mean_tile(learned):
    folder, training, validation = learned
    network = autoencoders.load(folder)
    images = pixels(validation)
    with torch.inference_mode():
        drawn = network.decode(network.encode(images)[0])
    error = (drawn - images).square().mean()
    assert error < 0.6 * (pixels(training).mean(dim=0) - images).square().mean()
    losses = files.read_table(folder / "curve.tsv")["validation_loss"]
    assert losses.min() < 0.6 * losses[0]


def test_latents_tell_two_classes_apart_that_they_were_never_told_of(learned):
    folder, training, validation = learned
    network = autoencoders.load(folder)
    seen, unseen = (autoencoders.latents(network, data, batch_size=20) for data in (training, validation))
    assert unseen.shape == (48, 64)
    assert unseen.dtype == np.float32
    centres = np.stack([seen[training.labels == label].mean(axis=0) for label in (0, 1)])
    nearest = np.linalg.norm(unseen[:, None] - centres, axis=2).argmin(axis=1)
    assert (nearest == validation.labels).mean() > 0.9


def test_latents_are_means_in_the_order_of_the_tiles_whatever_the_batch(learned):
    folder, _, validation = learned
    network = autoencoders.load(folder)
    with torch.inference_mode():
        expected = network.encode(pixels(validation))[0].numpy()
    for batch_size in (1, 7, 48, 100):
        # However the network comes.
        found = autoencoders.latents(network.train(), validation, batch_size=batch_size)
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert autoencoders.latents(network, training_data.SlideTiles([]), batch_size=8).shape == (0, 64)


# The loss


def test_the_loss_is_half_the_squared_difference_and_the_divergence_from_a_standard_normal_density():
    torch.manual_seed(0)
    images, drawn = torch.randn(5, 3, 16, 16), torch.randn(5, 3, 16, 16)
    mean, log_variance = torch.randn(5, 64), torch.randn(5, 64)
    difference = ((images - drawn) ** 2).sum(dim=(1, 2, 3)) / 2
    of_latents = Independent(Normal(mean, torch.exp(log_variance / 2)), 1)
    divergence = kl_divergence(of_latents, Independent(Normal(torch.zeros(64), torch.ones(64)), 1))
    for weight in (0.0, 1.0, 4.0):
        found = autoencoders.tile_losses(images, drawn, mean, log_variance, kl_weight=weight)
        torch.testing.assert_close(found, difference + weight * divergence)


def test_latents_are_sampled_with_the_standard_deviation_that_the_log_variance_means():
    network = VariationalAutoencoder(tile_px=16, features=3).eval()
    given = []
    network.decode = lambda latents: given.append(latents)
    images, noise = torch.rand(2, 3, 16, 16), torch.randn(2, 3)
    _, mean, log_variance = network(images, noise)
    torch.testing.assert_close(given[0], mean + log_variance.exp().sqrt() * noise)


def test_a_larger_weight_leaves_less_in_the_latents(tmp_path, data):
    spread = []
    for weight in (0.0, 100.0):
        folder = tmp_path / str(weight)
        train(folder, *data, kl_weight=weight, max_epochs=4, learning_rate=5e-3, checkpoint_on="last")
        found = autoencoders.latents(autoencoders.load(folder), training_data.SlideTiles(data[0]), batch_size=16)
        spread.append(found.std(axis=0).mean())
    assert spread[1] < 0.5 * spread[0]


# The network


@pytest.mark.parametrize("px", [16, 64, 80, 128])
def test_a_tile_of_any_multiple_of_16_px_is_drawn_in_its_size(px):
    network = VariationalAutoencoder(tile_px=px).eval()
    drawn, mean, log_variance = network(torch.zeros(2, 3, px, px), torch.zeros(2, 64))
    assert drawn.shape == (2, 3, px, px)
    assert drawn.abs().max() <= 1
    assert mean.shape == log_variance.shape == (2, 64)


@pytest.mark.parametrize("px", [8, 100, 0])
def test_other_tiles_are_refused(px):
    with pytest.raises(InputError, match=f"tiles of {px} px: expected a multiple of 16 px"):
        VariationalAutoencoder(tile_px=px)


# The engine


def problem(data: tuple[list, list], rank: int = 0, processes: int = 1) -> autoencoders.Autoencoding:
    fabric = one_process()
    if processes > 1:
        fabric = SimpleNamespace(global_rank=rank, world_size=processes, device=torch.device("cpu"))
    torch.manual_seed(0)
    return autoencoders.Autoencoding(
        VariationalAutoencoder(tile_px=PX), *map(training_data.SlideTiles, data), batch_size=7, balanced_batches=True,
        augmentations=["horizontal_flip", "transpose", "colour_jitter"], seed=1, fabric=fabric,
    )  # fmt: skip


def loss_of_a_step(learning: autoencoders.Autoencoding, seed: int = 5) -> float:
    batch = next(learning.batches(3))
    with torch.no_grad():
        return float(learning.loss(learning.network.eval(), batch, torch.Generator().manual_seed(seed)))


def test_the_loss_of_a_step_is_the_mean_over_processes_and_its_noise_the_generators(data):
    whole = loss_of_a_step(problem(data))
    shares = [loss_of_a_step(problem(data, rank, 2)) for rank in (0, 1)]
    assert np.mean(shares) == pytest.approx(whole, rel=1e-5)
    torch.manual_seed(99)
    assert loss_of_a_step(problem(data)) == whole
    assert loss_of_a_step(problem(data), seed=6) != whole


def test_an_evaluation_has_no_chance_in_it_and_is_the_mean_over_all_validation_tiles(data):
    learning = problem(data)
    network = learning.network.eval()
    looks = []
    with torch.inference_mode():
        first, second = (learning.evaluate(network, lambda: looks.append(1)) for _ in range(2))
        images = pixels(training_data.SlideTiles(data[1]))
        mean, log_variance = network.encode(images)
        expected = autoencoders.tile_losses(images, network.decode(mean), mean, log_variance, kl_weight=1).mean()
    assert first == second == {"loss": pytest.approx(float(expected), rel=1e-5)}
    # 16 tiles in batches of 7, twice.
    assert len(looks) == 6


def test_a_network_that_diverged_has_an_infinite_loss(data):
    learning = problem(data)
    with torch.no_grad():
        learning.network.mean.bias.fill_(math.nan)
        assert learning.evaluate(learning.network.eval(), lambda: None) == {"loss": math.inf}


def test_an_autoencoder_trains_on_tiles_of_one_class_which_a_classifier_cannot(tmp_path, data):
    (first, *_), (same, _) = data
    train(tmp_path, [first], [same], max_epochs=1)
    with pytest.raises(InputError, match="has no tile of class 1"):
        classifiers.train(tmp_path / "classifier", [first], [same])


def test_a_run_that_was_interrupted_in_any_step_ends_with_the_same_bytes(tmp_path, data, monkeypatch):
    settings = {"weight_averaging": 0.9, "max_epochs": 1, "balanced_batches": True}
    train(tmp_path / "whole", *data, **settings)
    train(tmp_path / "again", *data, **settings)
    whole = classifiers.results(tmp_path / "whole")
    assert classifiers.results(tmp_path / "again") == whole
    augment, steps = tile_problems.augment, []

    def ask(*arguments: object, **named: object) -> torch.Tensor:
        steps.append(1)
        os.kill(os.getpid(), signal.SIGTERM)
        return augment(*arguments, **named)

    monkeypatch.setattr(tile_problems, "augment", ask)
    for _ in range(4):
        with pytest.raises(Interrupted):
            train(tmp_path / "interrupted", *data, **settings)
        assert [path.name for path in (tmp_path / "interrupted").iterdir()] == [tile_models.STATE_FILE]
    train(tmp_path / "interrupted", *data, **settings)
    assert len(steps) == 4
    assert classifiers.results(tmp_path / "interrupted") == whole


# Its files


def test_a_saved_autoencoder_is_described_and_loads_as_it_was(tmp_path, data):
    train(tmp_path, *data, kl_weight=2.0, max_epochs=1)
    description = json.loads((tmp_path / models.DESCRIPTION_FILE).read_text())
    expected = {"model": "latents", "backbone": "variational_autoencoder", "features": 64, "kl_weight": 2.0}
    expected |= {"tile_px": PX, "settings": SETTINGS | {"max_epochs": 1}}
    assert description.items() >= expected.items()
    scores = files.read_table(tmp_path / "scores.tsv")
    assert scores.columns.tolist() == [
        "model", "validation_loss", "evaluation", "evaluations", "train_slides", "train_tiles", "validation_slides",
        "validation_tiles",
    ]  # fmt: skip
    network = autoencoders.load(tmp_path)
    with torch.inference_mode():
        images = pixels(training_data.SlideTiles(data[1]))
        mean, log_variance = network.encode(images)
        loss = autoencoders.tile_losses(images, network.decode(mean), mean, log_variance, kl_weight=2.0).mean()
    assert scores.loc[0, "validation_loss"] == pytest.approx(float(loss), rel=1e-5)
    assert not network.training


def test_an_autoencoder_and_a_classifier_are_not_taken_for_each_other(tmp_path, data):
    train(tmp_path / "autoencoder", *data, max_epochs=1)
    classifiers.train(tmp_path / "classifier", *data, max_epochs=1)
    with pytest.raises(InputError, match="expected the model of a variational_autoencoder, found one of a shufflenet"):
        autoencoders.load(tmp_path / "classifier")
    with pytest.raises(InputError, match="'variational_autoencoder' is not a torchvision classifier"):
        models.load(tmp_path / "autoencoder")


def test_a_measure_that_an_autoencoder_lacks_is_refused(tmp_path, data):
    with pytest.raises(InputError, match="checkpoint_on: an autoencoder has no slide_auc; expected one of loss, last"):
        train(tmp_path, *data, checkpoint_on="slide_auc")
