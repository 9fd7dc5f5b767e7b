"""Encoders have the published layers, take patches of other sizes, and embed as their kind says."""

import pytest
import torch

from workflow_scripts.lib import autoencoders, encoders, models
from workflow_scripts.lib.configuration.compression import LEAST_PATCH_PX
from workflow_scripts.lib.errors import InputError

TASKS = {"a": ["tumour", "stroma"], "b": ["x", "y", "z"]}
KINDS = [encoders.MULTITASK, encoders.BIGAN, autoencoders.BACKBONE]


def described(backbone: str, **changes: object) -> dict[str, object]:
    return {"backbone": backbone, "tile_px": 32, "features": 5, "shrink": 1, "tasks": TASKS} | changes


def built(backbone: str, **changes: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return encoders.build(described(backbone, **changes))


def patches(n: int = 6, px: int = 32) -> torch.Tensor:
    return torch.rand(n, 3, px, px, generator=torch.Generator().manual_seed(1)) * 2 - 1


def parameters(network: torch.nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())


# The multitask encoder


@pytest.mark.parametrize("features", [128, 16])
def test_the_encoder_has_as_many_weights_as_the_published_layers(features):
    first = 3 * 3 * 3 * 128 + 128
    others = 3 * (3 * 3 * 128 * 128 + 128)
    normalisation = 4 * 2 * 128
    # 64 px become 31, 15, 7 and 3.
    dense = 3 * 3 * 128 * features + features
    encoder = encoders.PatchEncoder(patch_px=64, features=features)
    assert parameters(encoder) == first + others + normalisation + dense
    assert parameters(encoder) == {128: 594_944, 16: 465_808}[features]


def test_a_head_has_as_many_weights_as_the_published_layers():
    network = encoders.MultitaskEncoder(patch_px=64, features=128, classes=[2, 9])
    dense = 128 * 256 + 256
    assert [parameters(head) for head in network.heads] == [dense + 256 * 2 + 2, dense + 256 * 9 + 9]
    kinds = [type(layer).__name__ for layer in network.heads[1]]
    assert kinds == ["Dropout", "Linear", "LeakyReLU", "Dropout", "Linear"]
    assert {layer.p for layer in network.heads[1] if isinstance(layer, torch.nn.Dropout)} == {0.1}


def test_each_convolution_is_followed_by_its_activation_and_then_by_normalisation():
    layers = list(encoders.PatchEncoder(patch_px=64, features=128).layers)
    assert [type(layer).__name__ for layer in layers] == [
        "AvgPool2d", *["Conv2d", "LeakyReLU", "BatchNorm2d"] * 4, "Flatten", "Linear",
    ]  # fmt: skip
    convolutions = [layer for layer in layers if isinstance(layer, torch.nn.Conv2d)]
    assert {(*layer.kernel_size, *layer.stride, *layer.padding) for layer in convolutions} == {(3, 3, 2, 2, 0, 0)}
    assert all(layer.bias is not None for layer in convolutions)
    assert {layer.negative_slope for layer in layers if isinstance(layer, torch.nn.LeakyReLU)} == {0.2}


def test_each_layer_gives_what_no_padding_leaves():
    seen, sides = patches(2, 64), []
    for layer in encoders.PatchEncoder(patch_px=64, features=128).layers:
        seen = layer(seen)
        if isinstance(layer, torch.nn.Conv2d):
            assert seen.shape[1] == 128
            sides.append(tuple(seen.shape[2:]))
    assert sides == [(31, 31), (15, 15), (7, 7), (3, 3)]
    assert seen.shape == (2, 128)


@pytest.mark.parametrize(("px", "shrink", "side"), [(31, 1, 1), (64, 2, 1), (128, 2, 3), (100, 1, 5)])
def test_patches_of_other_sizes_are_taken(px, shrink, side):
    encoder = encoders.PatchEncoder(patch_px=px, features=7, shrink=shrink)
    assert encoder(patches(2, px)).shape == (2, 7)
    assert encoder.layers[-1].in_features == side**2 * 128


@pytest.mark.parametrize(("px", "shrink", "least"), [(30, 1, 31), (61, 2, 62)])
def test_patches_of_which_nothing_is_left_are_refused(px, shrink, least):
    with pytest.raises(InputError, match=f"patches of {px} px, shrunk by {shrink}: expected {least} px or more"):
        encoders.PatchEncoder(patch_px=px, features=7, shrink=shrink)


def test_the_configuration_refuses_patches_of_which_the_networks_leave_nothing():
    assert LEAST_PATCH_PX == encoders.LEAST_PX


def test_shrinking_takes_the_mean_of_squares_of_pixels():
    torch.manual_seed(0)
    whole = encoders.PatchEncoder(patch_px=64, features=4, shrink=2).eval()
    torch.manual_seed(0)
    small = encoders.PatchEncoder(patch_px=32, features=4).eval()
    images = patches(3, 64)
    means = images.reshape(3, 3, 32, 2, 32, 2).mean(dim=(3, 5))
    torch.testing.assert_close(whole(images), small(means), atol=1e-5, rtol=1e-5)


def test_a_head_has_gradients_of_its_own_task_alone_and_the_encoder_of_all():
    network = built(encoders.MULTITASK).eval()
    for task, outputs in enumerate([slice(0, 2), slice(2, 5)]):
        network.zero_grad()
        network(patches())[:, outputs].square().sum().backward()
        reached = [any((w.grad is not None and w.grad.any()) for w in head.parameters()) for head in network.heads]
        assert reached == [task == 0, task == 1]
        assert all(weights.grad.any() for weights in network.encoder.parameters())


def test_outputs_are_in_the_order_of_the_tasks_names_however_these_are_listed():
    turned = built(encoders.MULTITASK, tasks=dict(reversed(TASKS.items())))
    assert [head[-1].out_features for head in turned.heads] == [2, 3]


# The BiGAN


def test_the_discriminators_loss_reaches_it_alone_and_the_others_loss_all_but_it():
    network = built(encoders.BIGAN)
    for number in (0, 1):
        network.zero_grad(set_to_none=True)
        network(patches(), torch.randn(6, 5))[number].backward()
        reached = {name: weights.grad is not None for name, weights in network.named_parameters()}
        for name, is_reached in reached.items():
            assert is_reached == (name.startswith("discriminator.") == (number == 0)), name


def test_a_step_on_the_sum_of_both_losses_is_one_of_each():
    codes, own = torch.randn(6, 5), {}
    for number in (0, 1):
        network = built(encoders.BIGAN)
        network(patches(), codes)[number].backward()
        own |= {name: w.grad for name, w in network.named_parameters() if w.grad is not None}
    network = built(encoders.BIGAN)
    sum(network(patches(), codes)).backward()
    for name, weights in network.named_parameters():
        torch.testing.assert_close(weights.grad, own[name])


def test_a_discriminator_that_is_sure_has_no_loss_and_the_others_have_much():
    network = built(encoders.BIGAN)
    # Encoded pairs come first, and it is sure of them.
    network.discriminator.forward = lambda pairs, codes: torch.cat([torch.full((6, 1), 9.0), torch.full((6, 1), -9.0)])
    judged, fooled = network(patches(), torch.randn(6, 5))
    assert judged < 0.001
    assert fooled > 8


def test_a_pair_is_judged_alike_in_whatever_company():
    network = built(encoders.BIGAN).eval().discriminator
    codes = torch.randn(6, 5)
    torch.testing.assert_close(network(patches(), codes)[:2], network(patches()[:2], codes[:2]))


@pytest.mark.parametrize(("px", "shrink"), [(32, 1), (48, 1), (64, 2)])
def test_the_generator_draws_patches_of_the_size_that_the_encoder_sees(px, shrink):
    network = built(encoders.BIGAN, tile_px=px, shrink=shrink)
    drawn = network.generate(network.embed(patches(2, px)))
    assert drawn.shape == (2, 3, px // shrink, px // shrink)
    assert drawn.abs().max() <= 1
    with pytest.raises(InputError, match=f"tiles of 40 px: expected a multiple of {16 * shrink} px"):
        built(encoders.BIGAN, tile_px=40, shrink=shrink)


# All of them


@pytest.mark.parametrize("backbone", KINDS)
def test_an_encoder_embeds_as_it_did_before_it_was_written(tmp_path, backbone):
    network = built(backbone, tile_px=64, shrink=2).eval()
    models.save(tmp_path, network.state_dict(), described(backbone, tile_px=64, shrink=2, mpp=0.5))
    encoder = encoders.load(tmp_path)
    assert (encoder.features, encoder.patch_px) == (5, 64)
    assert not encoder.network.training
    found = encoder.embed(patches(4, 64))
    assert found.shape == (4, 5)
    assert found.dtype == torch.float32
    assert torch.equal(found, network.embed(patches(4, 64)))


def test_the_mean_colour_needs_no_weights(tmp_path):
    models.save(tmp_path, {}, described(encoders.MEAN_RGB, features=3))
    found = encoders.load(tmp_path).embed(patches())
    torch.testing.assert_close(found, patches().flatten(2).mean(dim=2))


def test_the_autoencoders_features_are_the_means_of_its_latents():
    network = built(autoencoders.BACKBONE).eval()
    assert torch.equal(network.embed(patches()), network.encode(patches())[0])


def test_a_model_of_another_kind_and_an_empty_folder_are_no_encoder(tmp_path):
    with pytest.raises(InputError, match="expected the files of an encoder"):
        encoders.load(tmp_path)
    models.save(tmp_path, {}, described("resnet18"))
    with pytest.raises(InputError, match=r"expected the model of an encoder \(.*\), found one of a resnet18"):
        encoders.load(tmp_path)
