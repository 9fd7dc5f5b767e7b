"""Each loss of microscope adaptation has the value that its equation gives by hand."""

import math

import numpy as np
import pytest
import torch

from workflow_scripts.lib import adaptation_losses as losses

OF_TARGET = torch.tensor([False, False, True, True])


def logits_of(*probabilities: tuple[float, ...]) -> torch.Tensor:
    """Logits whose softmax are these."""
    return torch.tensor(probabilities, dtype=torch.float64).log() + 3


def test_the_focal_loss_is_equation_6():
    # γ = 2. Of the class with 1/2: (1/2)² ln 2 = 0.1733; with 1/4: (3/4)² ln 4 = 0.7798.
    found = losses.focal(logits_of((0.5, 0.25, 0.25), (0.5, 0.25, 0.25)), torch.tensor([0, 2]), gamma=2)
    assert found.tolist() == pytest.approx([0.25 * math.log(2), 0.5625 * math.log(4)])
    assert found.tolist() == pytest.approx([0.1733, 0.7798], abs=1e-4)


def test_without_gamma_it_is_the_cross_entropy_of_equation_5():
    logits, labels = torch.randn(7, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 2, 1, 0, 0])
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(losses.focal(logits, labels, gamma=0), expected)


def test_the_entropy_is_equation_4():
    # Of (1/2, 1/4, 1/4): ½ ln 2 + 2 · ¼ ln 4 = 1.5 ln 2; of equal ones ln 3.
    found = losses.entropy(logits_of((0.5, 0.25, 0.25), (1 / 3, 1 / 3, 1 / 3)))
    assert found.tolist() == pytest.approx([1.5 * math.log(2), math.log(3)])


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("label", [0, 1])
def test_sure_predictions_have_finite_losses_and_gradients(gamma, label):
    logits = torch.tensor([[1000.0, -1000.0]], requires_grad=True)
    judged = torch.tensor([1000.0], requires_grad=True)
    focal = losses.focal(logits, torch.tensor([label]), gamma=gamma)
    of_domain = losses.sigmoid_focal(judged, torch.tensor([not label]), gamma=gamma)
    # The wrong class: −log p = 2000 of two logits, and 1000 of one.
    assert focal.item() == (2000 if label else 0)
    assert of_domain.item() == (1000 if label else 0)
    total = focal + of_domain + losses.entropy(logits)
    total.sum().backward()
    assert losses.entropy(logits).item() == 0
    assert torch.isfinite(logits.grad).all()
    assert torch.isfinite(judged.grad).all()


def test_a_discriminator_that_says_1_of_the_target_and_0_of_the_source_has_no_least_squares():
    right = torch.tensor([0.0, 0, 1, 1])
    assert losses.over_domains(losses.least_squares(right, OF_TARGET), OF_TARGET).item() == 0
    assert losses.over_domains(losses.least_squares(1 - right, OF_TARGET), OF_TARGET).item() == 2


def test_least_squares_are_equation_3_without_a_sigmoid():
    # Source 0.5 and −1: (0.25 + 1) / 2; the one patch of the target at 3: (3 − 1)² = 4.
    judged, of_target = torch.tensor([0.5, 3, -1]), torch.tensor([False, True, False])
    assert losses.over_domains(losses.least_squares(judged, of_target), of_target).item() == 4.625


def test_the_sigmoid_cross_entropy_is_equation_2():
    # Probabilities of the target: source ½ and ¼, so −ln ½ and −ln ¾; target ½ and ¾, so −ln ½ and −ln ¾.
    judged = torch.tensor([0, math.log(1 / 3), 0, math.log(3)])
    found = losses.over_domains(losses.sigmoid_focal(judged, OF_TARGET, gamma=0), OF_TARGET)
    assert found.item() == pytest.approx(math.log(2) + math.log(4 / 3))


def test_a_domain_that_is_told_has_less_cross_entropy_than_one_that_is_taken_for_the_other():
    told = torch.tensor([-4.0, -4, 4, 4])
    right, wrong = (
        losses.over_domains(losses.sigmoid_focal(judged, OF_TARGET, gamma=0), OF_TARGET) for judged in (told, -told)
    )
    assert right < 0.04 < 8 < wrong


def test_the_focal_domain_loss_weighs_what_is_told_less():
    # γ = 2: source ¼, so (¼)² (−ln ¾); target ¼, so (¾)² (−ln ¼).
    judged = torch.full((2,), math.log(1 / 3), dtype=torch.float64)
    found = losses.sigmoid_focal(judged, torch.tensor([False, True]), gamma=2)
    assert found.tolist() == pytest.approx([math.log(4 / 3) / 16, 9 / 16 * math.log(4)])


def test_the_mmd_is_the_squared_distance_of_mean_features():
    # Means (2, 1) and (5, 5): 9 + 16.
    source, target = torch.tensor([[1.0, 0], [3, 2]]), torch.tensor([[5.0, 5]])
    assert losses.mmd(source, target).item() == 25


def test_deep_coral_compares_covariances():
    # Covariances (over n − 1) [[2, 2], [2, 2]] and [[2, −2], [−2, 2]]: 2 · 4² / (4 · 2²) = 2; means count for nothing.
    source, target = torch.tensor([[1.0, 1], [3, 3]]), torch.tensor([[11.0, 3], [13, 1]])
    assert losses.coral(source, target).item() == 2
    assert losses.coral(source, source + 7).item() == 0
    # Sun and Saenko's own words for it, of more patches.
    rng = np.random.default_rng(0)
    samples = [rng.normal(size=(n, 3)) for n in (8, 5)]
    ones = [np.ones((1, len(of))) @ of for of in samples]
    found = [(of.T @ of - one.T @ one / len(of)) / (len(of) - 1) for of, one in zip(samples, ones, strict=True)]
    expected = np.linalg.norm(found[0] - found[1], "fro") ** 2 / (4 * 3**2)
    assert losses.coral(*map(torch.from_numpy, samples)).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("progress", "expected"),
    # 2 / (1 + e⁻⁵) − 1 and 2 / (1 + e⁻¹⁰) − 1.
    [(0, 0), (0.5, 0.986614), (1, 0.999909)],
)
def test_danns_factor_grows_with_the_progress(progress, expected):
    assert losses.reversal_factor(progress) == pytest.approx(expected, abs=1e-6)
