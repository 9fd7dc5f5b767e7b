"""The loss by which a network learns a risk of death from follow-up: Cox's partial likelihood, right-censored.

Source: neural image compression, A.3; Cox, Regression models and life-tables, 1972; for deaths at one time Breslow 1974
and Efron 1977.
"""

from typing import Literal

import torch

Ties = Literal["efron", "breslow"]


def negative_log_likelihood(
    risks: torch.Tensor, times: torch.Tensor, events: torch.Tensor, *, ties: Ties
) -> torch.Tensor:
    """The negative logarithm of the partial likelihood of some patients, per death: a scalar in the type of `risks`.

    risks: (n,) float, logarithms of hazards up to a constant, which changes nothing; times: (n,) of follow-up; events:
    (n,), 1 for a death and 0 where follow-up ended without (censored). Whoever is followed until t, or longer, is at
    risk for a death at t: so is who is censored at t. (A.3 has "survived longer"; without the patient's own death in
    the sum, as in its equation 2, it would be no likelihood.) The order of patients does not matter.

    ties: of d deaths at one time, `breslow` compares each with all who were at risk, and `efron` takes the mean of the
    orders in which they may have come: from the l-th on, l / d of their hazards are gone.

    It is the mean over deaths, so that a batch with few weighs no less than it says; times their number it is the sum
    that the paper writes. Without a death it is 0, and so is its gradient. It is computed in 64 bits and in logarithms,
    with memory that grows with n and no faster.
    """
    died = events.to(torch.bool)
    if not died.any():
        return 0 * risks.sum()
    latest_first = torch.argsort(times, descending=True, stable=True)
    risks_in_order, died = risks[latest_first].double(), died[latest_first]
    # Of patients with one time, the place of the last: up to it all are at risk.
    _, moment, alike = torch.unique_consecutive(times[latest_first], return_inverse=True, return_counts=True)
    last = torch.cumsum(alike, dim=0) - 1
    at_risk = torch.logcumsumexp(risks_in_order, dim=0)[last][moment[died]]
    if ties == "efron":
        at_risk = at_risk + torch.log1p(-_share_gone(risks_in_order[died], moment[died], at_risk))
    return (at_risk - risks_in_order[died]).mean().to(risks.dtype)


def _share_gone(risks: torch.Tensor, moment: torch.Tensor, at_risk: torch.Tensor) -> torch.Tensor:
    """By Efron's rule the share of the hazard at risk that is gone before each death, (deaths,), from 0 to below 1.

    moment: (deaths,) int, the same for deaths at one time, which are neighbours; at_risk: of each, in logarithms.
    """
    _, tie, tied = torch.unique_consecutive(moment, return_inverse=True, return_counts=True)
    first = torch.cumsum(tied, dim=0) - tied
    before = torch.arange(len(risks), device=risks.device) - first[tie]
    # Each is at most the hazard at risk, which it is a part of, but for rounding.
    of_each = torch.exp((risks - at_risk).clamp(max=0))
    together = torch.zeros(len(tied), dtype=risks.dtype, device=risks.device).index_add(0, tie, of_each)
    return (before / tied[tie]) * together[tie].clamp(max=1)
