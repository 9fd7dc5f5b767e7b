"""The loss of a risk of death is Cox's partial likelihood, by either rule for ties, and never breaks."""

import numpy as np
import pandas as pd
import pytest
import torch

from workflow_scripts.lib.partial_likelihood import negative_log_likelihood

RULES = ["efron", "breslow"]


def patients(n=60, *, seed=0):
    """Covariates, times with ties, and events of some patients."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)), rng.integers(1, 12, n).astype(float), rng.random(n) < 0.6


def loss(risks, times, events, ties="efron"):
    return negative_log_likelihood(*(torch.as_tensor(given) for given in (risks, times, events)), ties=ties)


@pytest.mark.parametrize("ties", RULES)
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_partial_likelihood_of_statsmodels(ties, seed):
    from statsmodels.duration.hazard_regression import PHReg

    covariates, times, events = patients(seed=seed)
    coefficients = np.array([0.7, -1.2, 0.3])
    expected = PHReg(times, covariates, status=events.astype(int), ties=ties).loglike(coefficients)
    assert float(loss(covariates @ coefficients, times, events, ties)) * events.sum() == pytest.approx(
        -expected, abs=1e-6
    )


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_partial_likelihood_of_lifelines(seed):
    from lifelines import CoxPHFitter

    covariates, times, events = patients(seed=seed)
    frame = pd.DataFrame(covariates).assign(time=times, event=events)
    fitted = CoxPHFitter().fit(frame, "time", "event")
    risks = covariates @ fitted.params_.to_numpy()
    assert float(loss(risks, times, events)) * events.sum() == pytest.approx(-fitted.log_likelihood_, abs=1e-6)


def test_three_patients_by_hand():
    # The first dies while all three are at risk; the second is censored; the third dies alone.
    risks = np.log([2.0, 3.0, 5.0])
    assert float(loss(risks, [1.0, 2.0, 3.0], [1, 0, 1])) == pytest.approx((np.log(10 / 2) + np.log(5 / 5)) / 2)


def test_who_is_censored_at_the_time_of_a_death_was_at_risk():
    risks = np.log([2.0, 3.0, 5.0])
    assert float(loss(risks, [2.0, 2.0, 1.0], [1, 0, 1])) == pytest.approx((np.log(10 / 5) + np.log(5 / 2)) / 2)


def test_two_deaths_at_one_time_by_hand():
    risks, times, events = np.log([2.0, 3.0, 5.0]), [1.0, 1.0, 2.0], [1, 1, 0]
    assert float(loss(risks, times, events, "breslow")) == pytest.approx(np.log(10 * 10 / (2 * 3)) / 2)
    assert float(loss(risks, times, events, "efron")) == pytest.approx(np.log(10 * 7.5 / (2 * 3)) / 2)


def test_a_higher_risk_of_who_dies_first_is_a_lower_loss():
    assert loss([1.0, 0.0], [1.0, 2.0], [1, 1]) < loss([0.0, 1.0], [1.0, 2.0], [1, 1])


@pytest.mark.parametrize("ties", RULES)
def test_the_gradient_is_the_losss(ties):
    covariates, times, events = patients(20, seed=5)
    risks = torch.from_numpy(covariates[:, 0]).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda given: negative_log_likelihood(given, torch.from_numpy(times), torch.from_numpy(events), ties=ties),
        [risks],
    )


@pytest.mark.parametrize("ties", RULES)
def test_neither_the_order_of_patients_nor_a_constant_changes_it(ties):
    covariates, times, events = patients(seed=2)
    risks, order = covariates[:, 0], np.random.default_rng(3).permutation(len(times))
    expected = float(loss(risks, times, events, ties))
    assert float(loss(risks[order], times[order], events[order], ties)) == pytest.approx(expected, abs=1e-12)
    assert float(loss(risks + 100, times, events, ties)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("ties", RULES)
@pytest.mark.parametrize("seed", range(5))
def test_large_risks_have_finite_losses_and_gradients(ties, seed):
    _, times, events = patients(seed=seed)
    risks = torch.from_numpy(np.random.default_rng(seed).choice([-1e4, 0, 1e4], len(times)).astype(np.float32))
    risks.requires_grad_()
    found = loss(risks, times, events, ties)
    found.backward()
    assert found.dtype == torch.float32
    assert torch.isfinite(found)
    assert torch.isfinite(risks.grad).all()
    assert risks.grad.abs().max() > 0


@pytest.mark.parametrize("ties", RULES)
def test_a_batch_without_a_death_teaches_nothing(ties):
    risks = torch.tensor([1.0, -2.0, 1e4], requires_grad=True)
    found = negative_log_likelihood(risks, torch.tensor([1.0, 2, 3]), torch.zeros(3), ties=ties)
    found.backward()
    assert found.item() == 0
    assert torch.equal(risks.grad, torch.zeros(3))


@pytest.mark.parametrize("ties", RULES)
def test_all_may_die_at_once_and_one_patient_alone(ties):
    risks = torch.zeros(5, requires_grad=True)
    loss(risks, np.ones(5), np.ones(5), ties).backward()
    assert torch.isfinite(risks.grad).all()
    assert float(loss([3.0], [1.0], [1], ties)) == 0


@pytest.mark.parametrize("ties", RULES)
def test_a_hundred_thousand_patients_take_no_square_of_memory(ties):
    rng = np.random.default_rng(0)
    n = 100_000
    risks = torch.from_numpy(rng.normal(size=n)).requires_grad_()
    loss(risks, rng.integers(0, 1000, n), rng.random(n) < 0.5, ties).backward()
    assert torch.isfinite(risks.grad).all()
