"""What is trained beside a classifier reaches the right parts of it, and none of it is kept."""

import pytest
import torch
from torch import nn

from workflow_scripts.lib import adaptation_losses as losses
from workflow_scripts.lib import adaptation_networks as networks
from workflow_scripts.lib import models

PX = 32


def classifier(backbone: str = "mobilenet_v2", *, px: int = PX, **options: object) -> nn.Module:
    """A classifier of three classes with random weights, in evaluation, whose batch statistics are of noise.

    With those that it is built with, next to nothing of what it sees comes to its outputs.
    """
    torch.manual_seed(0)
    network = models.build(backbone, outputs=3, **options)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 1.0
    with torch.no_grad():
        network(patches(4, px))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    return network.eval()


def patches(number: int = 4, px: int = PX) -> torch.Tensor:
    return torch.randn(number, 3, px, px, generator=torch.Generator().manual_seed(1))


# Features


@pytest.mark.parametrize(
    ("backbone", "features", "px"),
    [("mobilenet_v2", 1280, PX), ("mobilenet_v3_small", 1024, PX), ("shufflenet_v2_x0_5", 1024, PX),
     ("alexnet", 4096, 63), ("resnet18", 512, PX), ("densenet121", 1024, PX),
     ("googlenet", 1024, PX), ("inception_v3", 2048, 75)],
)  # fmt: skip
def test_pooled_features_and_the_last_layer_make_the_logits(backbone, features, px):
    network = classifier(backbone, px=px)
    with torch.inference_mode():
        found, logits = models.with_features(network, patches(2, px))
        assert networks.features_of(network) == features
        assert found.shape == (2, features)
        assert torch.equal(logits, network(patches(2, px)))
        torch.testing.assert_close(network.get_submodule(models.last_layer(network))(found), logits)


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "mobilenet_v3_small"])
def test_features_have_no_dropout_that_the_logits_have(backbone):
    network = classifier(backbone)
    expected = models.with_features(network, patches())[0]
    dropouts = [layer.train() for layer in network.modules() if isinstance(layer, nn.Dropout)]
    # The one of `mobilenet_v3_small` changes its input in place.
    features, logits = models.with_features(network, patches())
    assert len(dropouts) == 1
    torch.testing.assert_close(features, expected)
    assert not torch.allclose(logits, network.get_submodule(models.last_layer(network))(features))


def test_features_of_a_classifier_with_a_head_are_those_of_its_last_units():
    network = classifier(head=[16], dropout=0.5)
    features, logits = models.with_features(network, patches())
    assert (features.shape, logits.shape) == ((4, 16), (4, 3))


def test_nothing_is_left_in_a_network_that_was_asked_for_features():
    network = classifier()
    models.with_features(network, patches())
    assert not any(layer._forward_pre_hooks for layer in network.modules())


def test_the_square_in_the_middle_is_cut_out():
    tiles = torch.arange(25.0).reshape(1, 1, 5, 5)
    # Of four px that are too many, two on either side; of three, one before and two after.
    assert models.centre_square(tiles, 1).flatten().tolist() == [12]
    assert models.centre_square(tiles, 2).flatten().tolist() == [6, 7, 11, 12]
    assert models.centre_square(tiles, None) is tiles


def test_a_model_that_learnt_from_squares_sees_the_middle_of_tiles():
    network = classifier()
    whole = models.TrainedModel(network, {"classes": ["a", "b", "c"]})
    cropped = models.TrainedModel(network, {"classes": ["a", "b", "c"], "crop_px": 32})
    tiles = patches(2, 40)
    with torch.inference_mode():
        assert torch.equal(cropped.probabilities(tiles), whole.probabilities(tiles[:, :, 4:36, 4:36]))
        assert not torch.allclose(cropped.probabilities(tiles), whole.probabilities(tiles))


# The reversal


@pytest.mark.parametrize("factor", [0.0, 0.25, 1.0])
def test_a_reversed_gradient_has_the_other_sign_and_the_factors_size(factor):
    features = torch.tensor([[1.0, -2.0]], requires_grad=True)
    passed = networks.reverse_gradient(features, factor)
    assert torch.equal(passed, features)
    (passed * torch.tensor([[3.0, 5.0]])).sum().backward()
    assert features.grad.tolist() == [[-3 * factor, -5 * factor]]


def test_the_discriminator_has_three_dense_layers_and_no_sigmoid():
    layers = networks.build_discriminator(1280, [1024, 1024])
    dense = [layer for layer in layers if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in dense] == [(1280, 1024), (1024, 1024), (1024, 1)]
    assert isinstance(layers[-1], nn.Linear)


# ADDA


@pytest.fixture
def adda() -> networks.AddaNetwork:
    return networks.AddaNetwork(classifier(), networks.build_discriminator(1280, [8])).train()


def gradients(network: nn.Module) -> set[str]:
    """The parts that a gradient has reached, by the first of their names."""
    return {
        name.split(".")[0] for name, one in network.named_parameters() if one.grad is not None and one.grad.any()
    }  # fmt: skip


def test_the_discriminator_alone_learns_from_what_it_judges(adda):
    source, target, _, _ = adda(patches(), patches(6))
    assert (len(source), len(target)) == (4, 6)
    (source.sum() + target.sum()).backward()
    assert gradients(adda) == {"discriminator"}


def test_the_classifier_of_the_target_alone_learns_to_fool_it_and_its_last_layer_does_not(adda):
    _, target, fooling, logits = adda(patches(), patches(6))
    torch.testing.assert_close(fooling, target)
    (losses.sigmoid_focal(fooling, torch.zeros(6, dtype=torch.bool), gamma=0).sum() + logits.sum()).backward()
    assert gradients(adda) == {"classifier"}
    assert adda.classifier.classifier[1].weight.grad is None


def test_a_step_changes_nothing_that_is_frozen(adda):
    before = {name: value.clone() for name, value in adda.state_dict().items()}
    optimizer = torch.optim.AdamW(adda.parameters(), lr=1e-2, weight_decay=0.1)
    sum(output.sum() for output in adda(patches(), patches(6))).backward()
    optimizer.step()
    changed = {name for name, value in adda.state_dict().items() if not torch.equal(value, before[name])}
    assert not [name for name in changed if name.startswith(("start.", "classifier.classifier.1."))]
    assert {name.split(".")[0] for name in changed} == {"classifier", "discriminator"}


def test_the_frozen_classifier_stays_in_evaluation_and_the_other_has_no_dropout(adda):
    adda.train()
    assert not any(layer.training for layer in adda.start.modules())
    assert not any(layer.training for layer in adda.modules() if isinstance(layer, nn.Dropout))
    assert adda.classifier.features[0][1].training
    assert not any(layer.training for layer in adda.eval().modules())


def test_the_sources_features_are_those_of_the_classifier_as_it_was(adda):
    expected = models.with_features(adda.start, patches())[0]
    with torch.no_grad():
        for value in adda.classifier.parameters():
            value.zero_()
    torch.testing.assert_close(adda.features_of_source(patches()), expected)
    assert expected.std() > 0
