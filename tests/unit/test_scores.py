"""Tiles are positive at the threshold, slides score by their share, and an AUC is the share of pairs in order."""

import math

import numpy as np
import pytest

from workflow_scripts.lib import scores


def test_a_probability_at_the_threshold_is_positive():
    found = scores.positive(np.array([0.49999, 0.5, 0.50001], np.float64), threshold=0.5)
    assert found.tolist() == [False, True, True]


def test_a_missing_probability_is_not_positive():
    assert scores.positive([math.nan, 1.0], threshold=0.5).tolist() == [False, True]


def test_a_slide_scores_the_share_of_its_positive_tiles():
    assert scores.slide_score(np.array([True, False, False, True, True])) == 0.6
    assert scores.slide_score(np.zeros(3, bool)) == 0.0


def test_a_slide_without_tiles_has_no_score():
    assert math.isnan(scores.slide_score(np.zeros(0, bool)))


def test_an_auc_worked_out_by_hand():
    # Of 2 × 2 pairs, 0.35 < 0.4 alone is out of order.
    assert scores.auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == 0.75
    assert scores.auc([1, 1, 0, 0], [0.1, 0.4, 0.35, 0.8]) == 0.25


def test_tied_scores_count_half():
    assert scores.auc([0, 1], [0.5, 0.5]) == 0.5
    assert scores.auc([0, 0, 1], [0.2, 0.5, 0.5]) == 0.75


def test_an_auc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(3)
    labels, values = np.r_[0, 1, rng.integers(0, 2, 40)], rng.integers(0, 9, 42)
    pairs = [(h > b) + (h == b) / 2 for h in values[labels == 1] for b in values[labels == 0]]
    assert scores.auc(labels, values) == pytest.approx(np.mean(pairs), abs=1e-12)


@pytest.mark.parametrize("labels", [[], [0, 0], [1]])
def test_one_class_or_none_has_no_auc(labels):
    assert math.isnan(scores.auc(labels, [0.5] * len(labels)))
