"""Tile classifiers: built by name and applied to tiles; these and other networks saved so that they load anywhere."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import writing

WEIGHTS_FILE = "weights.safetensors"
DESCRIPTION_FILE = "model.json"
INCEPTIONS = ("inception_v3", "googlenet")


@dataclass(frozen=True)
class TrainedModel:
    """A classifier and what is needed to use it elsewhere: backbone, tile size, µm/px, trait, round, seed."""

    network: nn.Module
    description: dict[str, Any]

    def probabilities(self, batch: torch.Tensor) -> torch.Tensor:
        """The probabilities of network input (n, 3, px, px): (n,) float32 of a trait, or (n, classes) of classes.

        A model that has learnt from squares of tiles (`crop_px`) sees the square in the middle of each.
        """
        logits = self.network(centre_square(batch, self.description.get("crop_px"))).float()
        return torch.softmax(logits, dim=1) if "classes" in self.description else torch.sigmoid(logits[:, 0])


def build(
    backbone: str,
    *,
    outputs: int = 1,
    head: Sequence[int] = (),
    dropout: float = 0.0,
) -> nn.Module:
    """A torchvision classifier with `outputs` logits and random weights, in channels-last memory.

    head: the units of dense layers between the backbone and the outputs, each with ReLU and `dropout`, the share of its
    units that is put out in training; they and the outputs stand in the place of the last layer, and of the dropout
    before it where the backbone has one. Weights come from torch's global generator: seed it first.

    Raises InputError for a name that torchvision does not know, and for a head where the last layer is not dense.
    """
    _check_backbone(backbone)
    options: dict[str, Any] = {}
    if backbone in INCEPTIONS:
        # Their auxiliary classifier is a second loss, of which the papers say nothing.
        options = {"aux_logits": False, "init_weights": True} | ({"dropout": 0.0} if head else {})
    network = _zoo().get_model(backbone, weights=None, num_classes=outputs, **options)
    if head:
        name = last_layer(network)
        widths = [network.get_submodule(name).in_features, *head]
        layers: list[nn.Module] = []
        for width, units in pairwise(widths):
            layers += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(dropout)]
        above, _, own = name.rpartition(".")
        setattr(network.get_submodule(above), own, nn.Sequential(*layers, nn.Linear(widths[-1], outputs)))
    return network.to(memory_format=torch.channels_last)


def _zoo() -> ModuleType:
    # Here, because the import takes two seconds, and networks that are not of torchvision need none of it.
    from torchvision import models as zoo

    return zoo


def _check_backbone(backbone: str) -> None:
    known = _zoo().list_models(module=_zoo())
    if backbone not in known:
        raise InputError(f"training.backbone: {backbone!r} is not a torchvision classifier ({', '.join(known)})")


def last_layer(network: nn.Module) -> str:
    """The name of a classifier's last dense layer. Raises InputError where it has none."""
    dense = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    if not dense:
        raise InputError(f"{type(network).__name__}: it has no dense layer that a head could replace; use another one")
    return dense[-1]


def with_features(network: nn.Module, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The pooled features (n, features) of network input by a classifier that `build` made, and its logits.

    The features are the input of the last dense layer, before the dropout that stands directly in front of it, where
    the backbone has one.
    """
    found = []

    def keep(_layer: nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        found.append(given[0])
        # Some backbones have a dropout that changes its input.
        return (given[0].clone(),)

    above, _, own = last_layer(network).rpartition(".")
    beside = list(network.get_submodule(above).named_children())
    place = [name for name, _ in beside].index(own)
    before = beside[max(place - 1, 0)][1]
    first = before if isinstance(before, nn.Dropout) else beside[place][1]
    hook = first.register_forward_pre_hook(keep)
    try:
        logits = network(batch)
    finally:
        hook.remove()
    # Before Inception v3's dropout they are still (n, features, 1, 1).
    return found[0].flatten(1), logits


def carry_backbone(
    network: nn.Module, weights: Mapping[str, torch.Tensor], *, backbone: str, source: str | Path
) -> None:
    """Give a classifier that `build` made the weights of another of the same backbone, but for its head.

    The head, or the last layer, stays as it was initialised, whatever that of the other is. weights: the other's, by
    name; source: where they are from, for the errors. Raises InputError when they lack a tensor, or one has another
    shape. Paper: cross-cancer transfer, 3.2 ("only the convolutional layer weights").
    """
    # The head's layers lie below the name of the layer that it replaced. Built without memory, it draws no weights.
    with torch.device("meta"):
        replaced = last_layer(_zoo().get_model(backbone, weights=None)) + "."
    own = network.state_dict()
    carried = [name for name in own if not name.startswith(replaced)]
    strange = [name for name in carried if name not in weights or weights[name].shape != own[name].shape]
    if strange:
        raise InputError(
            f"{source}: expected the weights of a {backbone}, found {len(strange)} of {len(carried)} tensors missing "
            f"or of another shape, the first of them {strange[0]}"
        )
    network.load_state_dict(own | {name: weights[name] for name in carried})


def pretrained_file(backbone: str, given: str | Path | None = None) -> Path:
    """The file of a backbone's ImageNet weights: the one that is given, or torchvision's in torch's cache.

    Nothing is downloaded: a cluster's nodes are often off the web. Raises InputError where there is none, which says
    how to get it.
    """
    _check_backbone(backbone)
    if given is not None:
        if not Path(given).is_file():
            raise InputError(f"{given}: expected a file of ImageNet weights (training.imagenet), found none")
        return Path(given)
    url = _zoo().get_model_weights(backbone).DEFAULT.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.is_file():
        raise InputError(
            f"no ImageNet weights of {backbone} on this machine: expected {path}, or a file that training.imagenet "
            f"names; get them by `curl --create-dirs --output {path} {url}`"
        )
    return path


def lacking_weights(trained: Sequence[Mapping[str, Any]]) -> str:
    """Why models cannot be trained one after the other, '' where they can: the first file of weights that is missing.

    trained: `backbone`, `weights` and `imagenet` of the configuration of each.
    """
    for settings in trained:
        if settings["weights"] == "imagenet":
            try:
                pretrained_file(settings["backbone"], settings["imagenet"])
            except InputError as lack:
                return f"not available: {lack}"
    return ""


def load_pretrained(network: nn.Module, backbone: str, path: str | Path) -> None:
    """Give a classifier the weights of a file (torch's, or safetensors), but for its head: see `carry_backbone`."""
    try:
        if Path(path).suffix == ".safetensors":
            weights = load_file(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError) as error:
        raise InputError(f"{path}: expected a file of weights, found one that cannot be read: {error}") from None
    carry_backbone(network, weights, backbone=backbone, source=path)


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


def centre_square(batch: torch.Tensor, side: int | None) -> torch.Tensor:
    """The square of `side` px in the middle of tiles (n, 3, px, px), from (px − side) // 2 on; None: all of them."""
    if side is None:
        return batch
    first = (batch.shape[-1] - side) // 2
    return batch[..., first : first + side, first : first + side]


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
    return TrainedModel(*read(folder, build_described))


def build_described(description: Mapping[str, Any]) -> nn.Module:
    """A classifier as a description (`save`) says, with random weights. Raises InputError as `build` does."""
    head = {key: description[key] for key in ("head", "dropout") if key in description}
    return build(description["backbone"], outputs=outputs_of(description), **head)


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
