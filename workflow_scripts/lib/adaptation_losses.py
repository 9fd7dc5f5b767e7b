"""The losses of microscope adaptation: of labels, of entropy, and of what tells two domains apart.

Source: microscope adaptation (Zhang et al. 2019), 2.2 to 2.5, whose equations are named; the distances of two domains
are those of its rivals. Domain labels are those of Eq. 2: the source is 0, the target 1.
"""

import math

import torch
from torch import nn


def focal(logits: torch.Tensor, labels: torch.Tensor, *, gamma: float) -> torch.Tensor:
    """The focal loss of each patch, (n,), whose mean is Eq. 6: −(1 − p)^γ log p of the probability of its class.

    logits: (n, classes) float; labels: (n,) int64. With γ = 0 it is the cross-entropy (Eq. 5).
    """
    own = labels[:, None]
    logs = torch.log_softmax(logits, dim=1)
    # 1 − p is what the other classes have; as a logarithm it keeps its gradient where p is 1.
    others = logs.scatter(1, own, -torch.inf).logsumexp(dim=1)
    return -(gamma * others).exp() * logs.gather(1, own)[:, 0]


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """The entropy of each patch's predicted probabilities in nats, (n,), whose mean over both domains is Eq. 4."""
    logs = torch.log_softmax(logits, dim=1)
    return -(logs.exp() * logs).sum(dim=1)


def least_squares(judged: torch.Tensor, of_target: torch.Tensor) -> torch.Tensor:
    """(judged − d)² of each patch, (n,), of which `over_domains` is Eq. 3: the discriminator's output as it is.

    judged: (n,) float; of_target: (n,) bool, the domain labels d.
    """
    return (judged - of_target.to(judged.dtype)).square()


def sigmoid_focal(judged: torch.Tensor, of_target: torch.Tensor, *, gamma: float) -> torch.Tensor:
    """The focal loss of each patch's domain, (n,), from logits `judged` (n,) that it is the target.

    −(1 − p)^γ log p of the sigmoid's probability p of its own domain; with γ = 0 `over_domains` of it is Eq. 2. Paper:
    3, DMAN-F.
    """
    own = torch.where(of_target, judged, -judged)
    return -(gamma * nn.functional.logsigmoid(-own)).exp() * nn.functional.logsigmoid(own)


def over_domains(values: torch.Tensor, of_target: torch.Tensor) -> torch.Tensor:
    """The mean of values (n,) over the target's patches and that over the source's, summed (Eq. 2 and Eq. 3)."""
    return values[of_target].mean() + values[~of_target].mean()


def mmd(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The squared distance of the mean features of two domains, (n, features) and (m, features).

    The maximum mean discrepancy of a linear kernel (Tzeng et al., Deep domain confusion, 2014, Eq. 1).
    """
    return (source.mean(dim=0) - target.mean(dim=0)).square().sum()


def coral(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """‖C_s − C_t‖² / (4 d²) of the covariances of d outputs in two domains, (n, d) and (m, d), each of two or more.

    The norm is Frobenius'. Source: Sun and Saenko, Deep CORAL, 2016, Eq. 1 to 3.
    """
    difference = torch.cov(source.T) - torch.cov(target.T)
    return difference.square().sum() / (4 * source.shape[1] ** 2)


def reversal_factor(progress: float) -> float:
    """λ of a reversed gradient at the training's progress p from 0 to 1: 2 / (1 + exp(−10 p)) − 1.

    Source: Ganin and Lempitsky, Unsupervised domain adaptation by backpropagation, 2015, where p is a share of all
    steps, never their number.
    """
    return 2 / (1 + math.exp(-10 * progress)) - 1
