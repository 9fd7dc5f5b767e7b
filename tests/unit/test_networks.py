"""Networks are built with a head of dense layers, and begin with weights of ImageNet's or of another model."""

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from workflow_scripts.lib import models
from workflow_scripts.lib.errors import InputError

SMALL = "shufflenet_v2_x0_5"
# The published detector: 3.2 of cross-cancer transfer.
PUBLISHED = {"head": [512, 128], "dropout": 0.8}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of torch's."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def of_imagenet(seed: int = 1) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return torchvision.models.get_model(SMALL, weights=None).state_dict()


def same(first: nn.Module, second: dict[str, torch.Tensor]) -> set[str]:
    """The names of the tensors that both have alike."""
    return {name for name, value in first.state_dict().items() if name in second and torch.equal(value, second[name])}


def test_the_published_detector_is_inceptions_convolutions_two_dense_layers_with_dropout_and_one_logit():
    network = models.build("inception_v3", **PUBLISHED)
    assert [type(layer).__name__ for layer in network.fc] == [
        "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"
    ]  # fmt: skip
    dense = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in dense] == [(2048, 512), (512, 128), (128, 1)]
    # No other dropout is left, and no second loss.
    assert [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout) and layer.p] == [0.8, 0.8]
    assert network.AuxLogits is None
    assert sum(value.numel() for name, value in network.named_parameters() if not name.startswith("fc.")) == 21_785_568


def test_dropout_puts_out_its_share_of_the_heads_units_in_training_alone():
    torch.manual_seed(0)
    dropout = models.build(SMALL, head=[512, 128], dropout=0.8).fc[2]
    assert (dropout(torch.ones(100_000)) == 0).float().mean() == pytest.approx(0.8, abs=0.01)
    assert (dropout.eval()(torch.ones(100)) == 1).all()


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v2", "densenet121", "efficientnet_b0", "convnext_tiny"])
def test_any_backbone_with_a_dense_last_layer_takes_a_head(backbone):
    network = models.build(backbone, head=[8], outputs=3).eval()
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 3)


def test_a_backbone_without_a_dense_layer_takes_none():
    with pytest.raises(InputError, match="no dense layer that a head could replace"):
        models.build("squeezenet1_0", head=[8])


def test_a_head_is_saved_and_loaded(tmp_path):
    network = models.build(SMALL, head=[16], dropout=0.5)
    models.save(tmp_path, network.state_dict(), {"backbone": SMALL, "head": [16], "dropout": 0.5})
    assert same(models.load(tmp_path).network, network.state_dict()) == set(network.state_dict())


def test_convolutions_are_carried_over_and_dense_layers_begin_anew():
    torch.manual_seed(1)
    first = models.build(SMALL, head=[512, 128]).state_dict()
    torch.manual_seed(2)
    second = models.build(SMALL, head=[512, 128])
    fresh = {name: value.clone() for name, value in second.state_dict().items() if name.startswith("fc.")}
    models.carry_backbone(second, first, backbone=SMALL, source="first")
    assert {name for name in first if not name.startswith("fc.")} <= same(second, first)
    assert same(second, fresh) == set(fresh)
    assert not torch.equal(second.state_dict()["fc.0.weight"], first["fc.0.weight"])


def test_carrying_over_draws_no_random_number():
    network = models.build(SMALL, head=[8])
    state = torch.get_rng_state()
    models.carry_backbone(network, of_imagenet_without_drawing(network), backbone=SMALL, source="x")
    assert torch.equal(torch.get_rng_state(), state)


def of_imagenet_without_drawing(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: torch.zeros_like(value) for name, value in network.state_dict().items()}


@pytest.mark.parametrize("outputs", [1, 1000])
def test_imagenet_weights_are_those_of_torchs_cache_but_for_the_last_layer(cache, outputs):
    cache.mkdir(parents=True)
    url = torchvision.models.get_model_weights(SMALL).DEFAULT.url
    torch.save(of_imagenet(), cache / url.rpartition("/")[2])
    torch.manual_seed(2)
    network = models.build(SMALL, outputs=outputs)
    models.load_pretrained(network, SMALL, models.pretrained_file(SMALL))
    new = set(network.state_dict()) - same(network, of_imagenet())
    assert new == {"fc.weight", "fc.bias"}


def test_a_file_of_ones_own_comes_before_the_cache(cache, tmp_path):
    save_file(of_imagenet(seed=3), tmp_path / "own.safetensors")
    network = models.build(SMALL)
    models.load_pretrained(network, SMALL, models.pretrained_file(SMALL, tmp_path / "own.safetensors"))
    assert "conv1.0.weight" in same(network, of_imagenet(seed=3))


def test_weights_that_are_not_there_are_not_fetched_and_how_to_get_them_is_told(cache, tmp_path):
    with pytest.raises(InputError, match=r"no ImageNet weights of .* on this machine.*curl .*--output .*pytorch.org"):
        models.pretrained_file(SMALL)
    with pytest.raises(InputError, match=r"own\.pth: expected a file of ImageNet weights \(training.imagenet\)"):
        models.pretrained_file(SMALL, tmp_path / "own.pth")


def test_a_model_is_lacking_when_one_that_it_starts_from_is(cache):
    random = {"backbone": SMALL, "weights": "random", "imagenet": None}
    assert models.lacking_weights([random, random]) == ""
    assert models.lacking_weights([random | {"weights": "imagenet"}, random]).startswith("not available: no ImageNet")


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(torchvision.models.get_model("resnet18", weights=None).state_dict(), tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"expected the weights of a shufflenet_v2_x0_5, found 336 of 336 tensors"):
        models.load_pretrained(models.build(SMALL), SMALL, tmp_path / "other.pth")


def test_a_file_that_would_run_code_is_not_read(tmp_path):
    torch.save({"weights": print}, tmp_path / "pickled.pth")
    with pytest.raises(InputError, match=r"pickled.pth: expected a file of weights, found one that cannot be read"):
        models.load_pretrained(models.build(SMALL), SMALL, tmp_path / "pickled.pth")
