"""Networks of microscope adaptation: a classifier, and beside it what serves its training alone.

Source: microscope adaptation (Zhang et al. 2019), 2.2 and Fig. 2; and ADDA (Tzeng et al., Adversarial discriminative
domain adaptation, 2017).
"""

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any, Self

import torch
from torch import nn
from torch.func import functional_call

from workflow_scripts.lib import models

# The part of both networks that is kept, see `tile_models.train_network`.
KEPT = "classifier"


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.factor = factor
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return -ctx.factor * gradient, None


def reverse_gradient(features: torch.Tensor, factor: float) -> torch.Tensor:
    """The features as they are, whose gradient is multiplied by −factor on its way back (Fig. 2, GRL)."""
    return _Reversal.apply(features, factor)


def build_discriminator(features: int, units: Sequence[int]) -> nn.Sequential:
    """Dense layers of `units` with ReLU, and one output without: (n, features) to (n, 1). Paper: 3.

    ASSUME ReLU between the layers, of which the paper says nothing.
    """
    layers: list[nn.Module] = []
    for entering, leaving in pairwise([features, *units]):
        layers += [nn.Linear(entering, leaving), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear([features, *units][-1], 1))


def features_of(classifier: nn.Module) -> int:
    """How many pooled features a classifier has (`models.with_features`)."""
    return classifier.get_submodule(models.last_layer(classifier)).in_features


class AdaptationNetwork(nn.Module):
    """A classifier (`models.build`), and a discriminator of domains behind a reversed gradient, or None."""

    def __init__(self, classifier: nn.Module, discriminator: nn.Module | None = None) -> None:
        super().__init__()
        self.classifier = classifier
        self.discriminator = discriminator

    def forward(
        self, images: torch.Tensor, reversal: float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Pooled features (n, features), logits (n, classes), and what the discriminator gives, (n,) or None.

        reversal: λ, with which the gradient of the last is multiplied, and reversed, where it enters the features.
        """
        features, logits = models.with_features(self.classifier, images)
        if self.discriminator is None:
            return features, logits, None
        return features, logits, self.discriminator(reverse_gradient(features, reversal))[:, 0]


class AddaNetwork(nn.Module):
    """A classifier that is trained for the target, the frozen one that it was, and a discriminator of their features.

    Its last layer is frozen too, so that the classes stay where the source's features are. Source: ADDA, 3 and 4.
    """

    def __init__(self, classifier: nn.Module, discriminator: nn.Module) -> None:
        super().__init__()
        self.start = deepcopy(classifier).requires_grad_(False)
        self.classifier = classifier
        self.discriminator = discriminator
        classifier.get_submodule(models.last_layer(classifier)).requires_grad_(False)
        self.train(classifier.training)

    def train(self, mode: bool = True) -> Self:
        """See `nn.Module`: the frozen classifier stays in evaluation, and no dropout tells the other one from it."""
        super().train(mode)
        self.start.eval()
        for layer in self.classifier.modules():
            if isinstance(layer, nn.Dropout):
                layer.eval()
        return self

    def forward(
        self, source: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Of patches of the source and of the target what the discriminator gives, (n,) and (m,), and it alone learns.

        And for the target's classifier to learn: the same of the target (m,), and its logits (m, classes).
        """
        features, logits = models.with_features(self.classifier, target)
        judged = self.discriminator(torch.cat([self.features_of_source(source), features.detach()]))[:, 0]
        as_it_is = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        fooling = functional_call(self.discriminator, as_it_is, (features,))[:, 0]
        return judged[: len(source)], judged[len(source) :], fooling, logits

    def features_of_source(self, images: torch.Tensor) -> torch.Tensor:
        """The features that patches of the source have, by the frozen classifier."""
        with torch.no_grad():
            return models.with_features(self.start, images)[0]
