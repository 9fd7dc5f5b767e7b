"""A variational autoencoder of tiles: 64 numbers that a tile can be drawn again from, learnt without labels.

Source: metastatic origin, 3.2 (64 features); Kingma and Welling, Auto-Encoding Variational Bayes, 2013. The paper gives
no architecture and no loss: what is here is the usual one of strided convolutions, and the evidence lower bound.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from workflow_scripts.lib import feeding, models, tile_models
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.tile_problems import SlideProblem
from workflow_scripts.lib.training_data import LabelledSlide, SlideTiles

# What `model.json` calls such a network.
BACKBONE = "variational_autoencoder"
FEATURES = 64
# Channels after each layer of the encoder, each of which halves the tile; the decoder goes back the same way.
CHANNELS = (32, 64, 128, 256)
SHRINKS = 2 ** len(CHANNELS)
# Ways to be judged that such a model has.
MEASURES = ("loss", "last")


class VariationalAutoencoder(nn.Module):
    """Tiles to the mean and log-variance of their latents, and latents to tiles.

    Encoder: for each of CHANNELS a convolution (4 × 4, stride 2), batch normalisation and leaky ReLU (0.2), then one
    linear layer each for the means and the logarithms of the variances. Decoder: a linear layer, `growing_layers` and
    `drawing_layers`. With a `shrink` above 1 tiles are first made smaller, by the means of squares of so many px, and
    drawn in that size. Random weights come from torch's global generator: seed it first.

    Raises InputError where `tile_px` is no multiple of 16 times `shrink`.
    """

    def __init__(self, *, tile_px: int, features: int = FEATURES, shrink: int = 1) -> None:
        super().__init__()
        self.features = features
        self.shape = first_shape(tile_px, shrink=shrink)
        size = math.prod(self.shape)
        shrinking = [
            layer
            for entering, leaving in pairwise((3, *CHANNELS))
            for layer in (_halving(entering, leaving), nn.BatchNorm2d(leaving), nn.LeakyReLU(0.2))
        ]
        growing = growing_layers()
        self.reduce = nn.AvgPool2d(shrink)
        self.encoder = nn.Sequential(*shrinking, nn.Flatten())
        self.mean, self.log_variance = nn.Linear(size, features), nn.Linear(size, features)
        self.spread = nn.Linear(features, size)
        self.decoder = nn.Sequential(*growing, *drawing_layers())

    def encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log-variance, each (n, features), of the latents of network input (n, 3, px, px)."""
        seen = self.encoder(self.reduce(images))
        return self.mean(seen), self.log_variance(seen)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """The means of the latents, (n, features), of network input (n, 3, px, px)."""
        return self.encode(images)[0]

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """The tiles of latents (n, features), as network input (n, 3, px / shrink, px / shrink)."""
        return self.decoder(self.spread(latents).reshape(-1, *self.shape))

    def forward(self, images: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Tiles drawn again from their latents, and the latents' mean and log-variance.

        The latents are mean + standard deviation · `noise` (n, features): of normal noise samples, of zeros the means.
        """
        mean, log_variance = self.encode(images)
        return self.decode(mean + torch.exp(log_variance / 2) * noise), mean, log_variance


def tile_losses(
    images: torch.Tensor,
    drawn: torch.Tensor,
    mean: torch.Tensor,
    log_variance: torch.Tensor,
    *,
    kl_weight: float,
) -> torch.Tensor:
    """The loss of each tile, (n,) float32 in nats: its negative evidence lower bound, but for a constant.

    Half the sum of the squared differences over pixels and channels (a normal density of variance 1 around what was
    drawn), and `kl_weight` times the divergence of the latents from a standard normal density,
    ½ Σ (mean² + variance − 1 − log variance). With a weight of 1 it is Kingma and Welling's.
    """
    differences = (drawn.float() - images).square().flatten(1).sum(dim=1) / 2
    mean, log_variance = mean.float(), log_variance.float()
    divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1) / 2
    return differences + kl_weight * divergence


class Autoencoding(SlideProblem):
    """Learning to draw tiles again (see `tile_losses`). Labels count only where batches are balanced by them.

    Its one measure is the loss over validation tiles, each drawn from the mean of its latents, so without chance.
    """

    def __init__(self, *sets: Any, kl_weight: float = 1.0, **options: Any) -> None:
        super().__init__(*sets, **options)
        self._kl_weight = kl_weight
        self._features = self.network.features

    def share_loss(
        self, network: nn.Module, given: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """See `SlideProblem`."""
        noise = torch.randn(self.batch_size, self._features, generator=generator)[self._part].to(given.device)
        return tile_losses(self.network.reduce(given), *network(given, noise), kl_weight=self._kl_weight).mean()

    def evaluate(self, network: nn.Module, look_up: Callable[[], None]) -> dict[str, float]:
        """See `training.Problem`."""

        def losses(images: torch.Tensor) -> torch.Tensor:
            without_noise = torch.zeros(len(images), self._features, device=images.device)
            found = network(images, without_noise)
            return tile_losses(self.network.reduce(images), *found, kl_weight=self._kl_weight)[:, None]

        loss = float(self._of_validation(losses, look_up).double().mean())
        return {"loss": loss if np.isfinite(loss) else float("inf")}


def train_autoencoder(
    folder: str | Path,
    *,
    identity: Mapping[str, Any],
    training: Sequence[LabelledSlide],
    validation: Sequence[LabelledSlide],
    settings: Mapping[str, Any],
    stain: Mapping[str, Any] | None,
    seed: int,
    code_version: str,
    workers: int,
    features: int = FEATURES,
    kl_weight: float = 1.0,
) -> None:
    """Train an autoencoder of tiles, and write into `folder` what `tile_models.train_model` writes of a classifier.

    settings: the keys of `training` but for `backbone` and `weights`; `checkpoint_on`, `plateau_on` and `stop_on` are
    of MEASURES. kl_weight: of the divergence in the loss (`tile_losses`). The rest is as in `train_model`.

    Raises InputError as `train_network` and `VariationalAutoencoder` do, and for a measure that only classifiers have.
    """
    for key in ("checkpoint_on", "plateau_on", "stop_on"):
        if settings[key] not in MEASURES:
            raise InputError(f"{key}: an autoencoder has no {settings[key]}; expected one of {', '.join(MEASURES)}")
    kind = {"backbone": BACKBONE, "features": features, "kl_weight": kl_weight}

    def make_problem(description: Mapping[str, Any], *sets: SlideTiles, **options: Any) -> Autoencoding:
        return Autoencoding(build(description), *sets, kl_weight=kl_weight, **options)

    tile_models.train_network(
        folder, kind, make_problem, identity=identity, training=training, validation=validation, settings=settings,
        stain=stain, seed=seed, code_version=code_version, workers=workers,
    )  # fmt: skip


def build(description: Mapping[str, Any]) -> VariationalAutoencoder:
    """The network that a description (`model.json`) is of, with random weights.

    Raises InputError when it is of another kind of model.
    """
    if description["backbone"] != BACKBONE:
        raise InputError(f"expected the model of a {BACKBONE}, found one of a {description['backbone']}")
    sizes = {key: description[key] for key in ("tile_px", "features", "shrink") if key in description}
    network = VariationalAutoencoder(**sizes)
    return network.to(memory_format=torch.channels_last)


def load(folder: str | Path) -> VariationalAutoencoder:
    """An autoencoder that `train_autoencoder` wrote, in evaluation mode on the CPU.

    Raises InputError when the folder has another kind of model, or weights that do not fit.
    """
    return models.read(folder, build)[0]


def latents(network: VariationalAutoencoder, data: SlideTiles, *, batch_size: int) -> np.ndarray:
    """The means of the latents of all tiles, (n, features) float32, in the order of `data`.

    They are computed in batches, in evaluation mode, on the device that the network is on.
    """
    network.eval()
    device = next(network.parameters()).device
    recolouring = data.recolouring.to(device)
    plan = [range(start, min(start + batch_size, len(data))) for start in range(0, len(data), batch_size)]
    found = np.empty((len(data), network.features), np.float32)
    with torch.inference_mode():
        for members, (images, _, slides) in zip(plan, feeding.Ahead(data.__getitems__, plan), strict=True):
            seen = models.to_input(recolouring(images.to(device), slides))
            found[members.start : members.stop] = network.encode(seen)[0].float().cpu().numpy()
    return found


def first_shape(tile_px: int, *, shrink: int) -> tuple[int, int, int]:
    """Channels, rows and columns from which `growing_layers` draw a tile of `tile_px` px that is shrunk.

    Raises InputError where `tile_px` is no multiple of 16 times `shrink`.
    """
    least = SHRINKS * shrink
    if tile_px < least or tile_px % least:
        raise InputError(
            f"an autoencoder of tiles of {tile_px} px: expected a multiple of {least} px; choose another tiles.tile_px"
        )
    return CHANNELS[-1], tile_px // least, tile_px // least


def growing_layers() -> list[nn.Module]:
    """Layers from numbers of `first_shape` to nearly a tile, each of which doubles it; `drawing_layers` end them.

    For each of CHANNELS but the first, from the last on, a transposed convolution (4 × 4, stride 2), batch
    normalisation and leaky ReLU (0.2).
    """
    return [
        layer
        for entering, leaving in pairwise(CHANNELS[::-1])
        for layer in (_doubling(entering, leaving), nn.BatchNorm2d(leaving), nn.LeakyReLU(0.2))
    ]


def drawing_layers() -> list[nn.Module]:
    """The last transposed convolution, to colours, and tanh, since network input is in [−1, 1]."""
    return [nn.ConvTranspose2d(CHANNELS[0], 3, 4, stride=2, padding=1), nn.Tanh()]


def _halving(entering: int, leaving: int) -> nn.Module:
    # Batch normalisation, which follows, takes off any bias.
    return nn.Conv2d(entering, leaving, 4, stride=2, padding=1, bias=False)


def _doubling(entering: int, leaving: int) -> nn.Module:
    return nn.ConvTranspose2d(entering, leaving, 4, stride=2, padding=1, bias=False)
