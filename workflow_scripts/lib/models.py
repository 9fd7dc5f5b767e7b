"""Tile classifiers: built by name and applied to tiles; these and other networks saved so that they load anywhere."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision import models as zoo

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import writing

WEIGHTS_FILE = "weights.safetensors"
DESCRIPTION_FILE = "model.json"


@dataclass(frozen=True)
class TrainedModel:
    """A classifier and what is needed to use it elsewhere: backbone, tile size, µm/px, trait, round, seed."""

    network: nn.Module
    description: dict[str, Any]

    def probabilities(self, batch: torch.Tensor) -> torch.Tensor:
        """The probabilities of network input (n, 3, px, px): (n,) float32 of a trait, or (n, classes) of classes."""
        logits = self.network(batch).float()
        return torch.softmax(logits, dim=1) if "classes" in self.description else torch.sigmoid(logits[:, 0])


def build(backbone: str, *, weights: str = "random", outputs: int = 1) -> nn.Module:
    """A torchvision classifier with `outputs` logits, in channels-last memory.

    `weights` is `random` or `imagenet`; the latter keeps every pretrained tensor whose shape fits and leaves the last
    layer as initialised. Random weights come from torch's global generator: seed it first.

    Raises InputError for a name that torchvision does not know.
    """
    known = zoo.list_models(module=zoo)
    if backbone not in known:
        raise InputError(f"training.backbone: {backbone!r} is not a torchvision classifier ({', '.join(known)})")
    # The auxiliary classifier of the Inception family is a second loss, of which the paper says nothing.
    options = {"aux_logits": False, "init_weights": True} if backbone in ("inception_v3", "googlenet") else {}
    network = zoo.get_model(backbone, weights=None, num_classes=outputs, **options)
    if weights == "imagenet":
        _load_pretrained(network, backbone)
    return network.to(memory_format=torch.channels_last)


def _load_pretrained(network: nn.Module, backbone: str) -> None:
    own = network.state_dict()
    pretrained = zoo.get_model(backbone, weights="DEFAULT").state_dict()
    fitting = {name: value for name, value in pretrained.items() if name in own and value.shape == own[name].shape}
    network.load_state_dict({**own, **fitting})


def outputs_of(description: Mapping[str, Any]) -> int:
    """How many logits a model has: one per class, or one where it has no names of classes."""
    return len(description.get("classes", ["positive"]))


def check_tile_size(network: nn.Module, *, backbone: str, tile_px: int) -> None:
    """Apply a network to two blank tiles of `tile_px` px, which changes neither it nor any random state.

    Raises InputError where it cannot take them: too small for its layers, or not the one size that it is made for.
    """
    was_training = network.training
    blank = torch.zeros(2, 3, tile_px, tile_px).to(memory_format=torch.channels_last)
    try:
        with torch.no_grad():
            network.eval()(blank)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"training.backbone: {backbone} cannot take tiles of {tile_px} px ({error}); "
            "use another backbone or another tiles.tile_px"
        ) from None
    finally:
        network.train(was_training)


def to_input(tiles: torch.Tensor) -> torch.Tensor:
    """Tiles (n, 3, height, width) uint8 to network input: float32 in [−1, 1], channels last."""
    return tiles.to(torch.float32, memory_format=torch.channels_last).div_(127.5).sub_(1.0)


def save(folder: str | Path, weights: Mapping[str, torch.Tensor], description: Mapping[str, Any]) -> None:
    """Write weights (safetensors) and description (JSON); together they are a model that `load` reads anywhere."""
    folder = Path(folder)
    with writing(folder / WEIGHTS_FILE) as partial:
        save_file({name: value.contiguous() for name, value in weights.items()}, partial)
    with writing(folder / DESCRIPTION_FILE) as partial:
        partial.write_text(json.dumps(description, indent=2, sort_keys=True) + "\n")


def load(folder: str | Path) -> TrainedModel:
    """Read a classifier that `save` wrote, ready to predict (evaluation mode, CPU).

    Raises InputError as `build` and `read` do.
    """
    return TrainedModel(*read(folder, lambda described: build(described["backbone"], outputs=outputs_of(described))))


def read(
    folder: str | Path, make_network: Callable[[Mapping[str, Any]], nn.Module]
) -> tuple[nn.Module, dict[str, Any]]:
    """A network that `save` wrote, in evaluation mode on the CPU, and its description, of which it is made.

    Raises InputError when the weights do not fit the network.
    """
    folder = Path(folder)
    description = json.loads((folder / DESCRIPTION_FILE).read_text())
    network = make_network(description)
    try:
        network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except RuntimeError as error:
        raise InputError(f"{folder}: the weights are not those of a {description['backbone']}: {error}") from None
    return network.eval(), description
