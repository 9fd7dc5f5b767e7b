"""Encoders: networks that compress a patch of a slide into a few numbers; built, and read from their files.

Source: neural image compression, 3 (the multitask encoder), and its rivals of 4.5. A patch is a tile, or a part
of one; in both cases network input, see `models.to_input`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.utils.parametrizations import spectral_norm

from workflow_scripts.lib import autoencoders, models
from workflow_scripts.lib.errors import InputError

# What `model.json` calls each kind, beside `autoencoders.BACKBONE`.
MULTITASK, BIGAN, MEAN_RGB = "multitask_encoder", "bigan", "mean_rgb"
# The convolutions of an encoder, and how many filters each has.
CONVOLUTIONS, FILTERS = 4, 128
# The smallest patch of which the convolutions leave a pixel.
LEAST_PX = 2 ** (CONVOLUTIONS + 1) - 1
# Units of a head, and the share of them and of its input that dropout puts out.
HEAD_UNITS, HEAD_DROPOUT = 256, 0.1
# Units of the discriminator for each half of its pair.
PAIR_UNITS = 256


@dataclass(frozen=True)
class Encoder:
    """A network that embeds patches, and its description (`model.json`)."""

    network: nn.Module
    description: dict[str, Any]

    @property
    def features(self) -> int:
        """Into how many numbers a patch is compressed, C."""
        return int(self.description["features"])

    @property
    def patch_px(self) -> int:
        """The side of the patches that it takes, in px of `description["mpp"]` µm."""
        return int(self.description["tile_px"])

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        """The features (n, C) float32 of network input (n, 3, patch_px, patch_px), on the device that both are on."""
        return self.network.embed(batch).float()


class PatchEncoder(nn.Module):
    """The published encoder: patches to `features` numbers, (n, 3, px, px) to (n, features).

    Means of squares of `shrink` px; four times a convolution (3 × 3, 128 filters, stride 2, no padding), leaky ReLU
    (0.2) and batch normalisation, in this order, which is the published network's and not the text's; one dense layer.
    Random weights come from torch's global generator: seed it first. Paper: 3.

    Raises InputError where the convolutions leave nothing of a patch.
    """

    def __init__(self, *, patch_px: int, features: int, shrink: int = 1) -> None:
        super().__init__()
        if patch_px < LEAST_PX * shrink:
            raise InputError(
                f"an encoder of patches of {patch_px} px, shrunk by {shrink}: expected {LEAST_PX * shrink} px or more; "
                "choose another tiles.tile_px"
            )
        side, channels, layers = patch_px // shrink, 3, [nn.AvgPool2d(shrink)]
        for _ in range(CONVOLUTIONS):
            layers += [nn.Conv2d(channels, FILTERS, 3, stride=2), nn.LeakyReLU(0.2), nn.BatchNorm2d(FILTERS)]
            side, channels = (side - 3) // 2 + 1, FILTERS
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(FILTERS * side**2, features))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The features of network input."""
        return self.layers(images)


class MultitaskEncoder(nn.Module):
    """A `PatchEncoder` and a head for each task, of as many classes as `classes` says.

    A head: dropout (0.1), a dense layer of 256 units, leaky ReLU (0.2), dropout (0.1), a dense layer. Paper: 3.
    """

    def __init__(self, *, patch_px: int, features: int, classes: Sequence[int], shrink: int = 1) -> None:
        super().__init__()
        self.encoder = PatchEncoder(patch_px=patch_px, features=features, shrink=shrink)
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Dropout(HEAD_DROPOUT),
                nn.Linear(features, HEAD_UNITS),
                nn.LeakyReLU(0.2),
                nn.Dropout(HEAD_DROPOUT),
                nn.Linear(HEAD_UNITS, number),
            )
            for number in classes
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The logits of the classes of all tasks, one task after the other: (n, sum of classes)."""
        seen = self.encoder(images)
        return torch.cat([head(seen) for head in self.heads], dim=1)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """The features of network input."""
        return self.encoder(images)


class BiGAN(nn.Module):
    """An encoder of patches and a generator of them, which a discriminator of pairs of patch and code sets each other.

    The encoder is a `PatchEncoder`; the generator draws as the autoencoder does, from codes of normal numbers, patches
    that are shrunk as the encoder's; the discriminator looks at a patch by convolutions of half the filters, at its
    code by a dense layer, and then at both. Its layers have spectral normalisation (Miyato et al., 2018), since at the
    rate of the other encoders it is else soon sure of every pair; and no batch normalisation, since true and drawn
    patches come in one batch. Source: Donahue et al., Adversarial Feature Learning, 2017; the paper gives no sizes.

    Raises InputError as `PatchEncoder` does, and where the patches' size is no multiple of 16 times `shrink`.
    """

    def __init__(self, *, patch_px: int, features: int, shrink: int = 1) -> None:
        super().__init__()
        self.features = features
        self._shape = autoencoders.first_shape(patch_px, shrink=shrink)
        self.reduce = nn.AvgPool2d(shrink)
        self.encoder = PatchEncoder(patch_px=patch_px // shrink, features=features)
        channels, height, width = self._shape
        self.spread = nn.Linear(features, channels * height * width)
        self.generator = nn.Sequential(*autoencoders.growing_layers(), *autoencoders.drawing_layers())
        self.discriminator = PairDiscriminator(patch_px=patch_px // shrink, features=features)

    def generate(self, codes: torch.Tensor) -> torch.Tensor:
        """Patches drawn from codes (n, features): (n, 3, px / shrink, px / shrink)."""
        return self.generator(self.spread(codes).reshape(-1, *self._shape))

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """The features of network input."""
        return self.encoder(self.reduce(images))

    def forward(self, images: torch.Tensor, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean loss of the discriminator, and that of encoder and generator, on patches and as many codes.

        The first reaches the discriminator alone, and the second encoder and generator alone, so that one step down
        the gradient of their sum is one of each. The second is that of pairs taken for the other kind, rather than less
        the first (Donahue et al., 3.4).
        """
        true, drawn = self.reduce(images), self.generate(codes)
        patches, pairs = torch.cat([true, drawn]), torch.cat([self.encoder(true), codes])
        judged = self.discriminator(patches.detach(), pairs.detach())
        as_it_is = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        fooled = functional_call(self.discriminator, as_it_is, (patches, pairs))
        n = len(images)
        return _against(judged[:n], judged[n:]), _against(fooled[n:], fooled[:n])


def _against(encoded: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """The mean cross-entropy, over both kinds, of logits that are to be high for encoded and low for drawn pairs."""
    encoded, drawn = encoded.float(), drawn.float()
    return (nn.functional.softplus(-encoded).mean() + nn.functional.softplus(drawn).mean()) / 2


class PairDiscriminator(nn.Module):
    """Logits (n, 1) that pairs of patches (n, 3, px, px) and codes (n, features) are encoded, and not drawn."""

    def __init__(self, *, patch_px: int, features: int) -> None:
        super().__init__()
        side, channels, layers = patch_px, 3, []
        for _ in range(CONVOLUTIONS):
            layers += [spectral_norm(nn.Conv2d(channels, FILTERS // 2, 3, stride=2)), nn.LeakyReLU(0.2)]
            side, channels = (side - 3) // 2 + 1, FILTERS // 2
        dense = [
            spectral_norm(nn.Linear(entering, leaving))
            for entering, leaving in (
                (channels * side**2, PAIR_UNITS), (features, PAIR_UNITS), (2 * PAIR_UNITS, PAIR_UNITS), (PAIR_UNITS, 1)
            )
        ]  # fmt: skip
        self.of_patch = nn.Sequential(*layers, nn.Flatten(), dense[0])
        self.of_code = dense[1]
        self.of_pair = nn.Sequential(nn.LeakyReLU(0.2), dense[2], nn.LeakyReLU(0.2), dense[3])

    def forward(self, patches: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """The logits."""
        return self.of_pair(torch.cat([self.of_patch(patches), self.of_code(codes)], dim=1))


class MeanColour(nn.Module):
    """The mean of each channel, (n, 3): the encoder that knows colours alone. It has no weights."""

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """The features of network input."""
        return images.mean(dim=(2, 3))


def by_name(tasks: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """The names of each task's classes in the order of a network's outputs: that of the tasks' names."""
    return dict(sorted(tasks.items()))


def build(description: Mapping[str, Any]) -> nn.Module:
    """The network that a description (`model.json`) is of, with random weights, in channels-last memory.

    Raises InputError when it is of no encoder, and as the networks do.
    """
    backbone = description["backbone"]
    if backbone == autoencoders.BACKBONE:
        return autoencoders.build(description)
    if backbone == MEAN_RGB:
        return MeanColour()
    if backbone not in (MULTITASK, BIGAN):
        known = ", ".join((MULTITASK, BIGAN, autoencoders.BACKBONE, MEAN_RGB))
        raise InputError(f"expected the model of an encoder ({known}), found one of a {backbone}")
    sizes = {"patch_px": description["tile_px"]} | {key: description[key] for key in ("features", "shrink")}
    if backbone == MULTITASK:
        tasks = by_name(description["tasks"])
        network = MultitaskEncoder(**sizes, classes=[len(classes) for classes in tasks.values()])
    else:
        network = BiGAN(**sizes)
    return network.to(memory_format=torch.channels_last)


def load(folder: str | Path) -> Encoder:
    """An encoder from its files, ready to embed (evaluation mode, CPU).

    Raises InputError when the folder has no such model, another kind, or weights that do not fit.
    """
    if not (Path(folder) / models.DESCRIPTION_FILE).is_file():
        raise InputError(f"{folder}: expected the files of an encoder ({models.DESCRIPTION_FILE}), found none")
    return Encoder(*models.read(folder, build))
