"""Which models vote, and how they vote."""

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.lib.ensembles import majority_vote, members_of, rank_models
from workflow_scripts.lib.errors import InputError


def models(*rows: tuple[str, int, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["trait", "round", "validation_auc", "validation_loss"])


def order(ranked: pd.DataFrame) -> list[int]:
    return ranked.sort_values("rank")["round"].tolist()


def test_the_highest_validation_auc_ranks_first():
    ranked = rank_models(models(("A", 1, 0.6, 0.5), ("A", 2, 0.9, 0.9), ("A", 3, 0.8, 0.1), ("A", 4, 0.7, 0.2)))
    assert order(ranked) == [2, 3, 4, 1]
    assert ranked["rank"].tolist() == [1, 2, 3, 4]
    assert ranked["member"].tolist() == [1, 1, 1, 0]
    assert members_of(ranked, "A") == ["round_2", "round_3", "round_4"]


def test_ties_go_to_the_lower_loss_and_then_to_the_lower_round():
    ranked = rank_models(
        models(("A", 3, 0.8, 0.4), ("A", 1, 0.8, 0.4), ("A", 4, 0.8, 0.3), ("A", 2, 0.8, 0.5)), members=2
    )
    assert order(ranked) == [4, 1, 3, 2]


def test_aucs_that_differ_in_the_last_bit_are_a_tie():
    assert 0.1 + 0.2 != 0.3
    ranked = rank_models(models(("A", 1, 0.1 + 0.2, 0.9), ("A", 2, 0.3, 0.1)), members=1)
    assert order(ranked) == [2, 1]


def test_models_without_an_auc_rank_after_those_with_one_by_loss():
    nan = float("nan")
    ranked = rank_models(
        models(("A", 1, nan, 0.2), ("A", 2, 0.1, 9.0), ("A", 3, nan, 0.1), ("A", 4, nan, nan)), members=3
    )
    assert order(ranked) == [2, 3, 1, 4]
    assert ranked["validation_auc"].isna().tolist() == [False, True, True, True]


def test_traits_are_ranked_apart_and_keep_their_order():
    ranked = rank_models(models(("B", 1, 0.2, 1), ("B", 2, 0.3, 1), ("A", 1, 0.9, 1), ("A", 2, 0.8, 1)), members=1)
    assert ranked["trait"].tolist() == ["B", "B", "A", "A"]
    assert members_of(ranked, "B") == ["round_2"]
    assert members_of(ranked, "A") == ["round_1"]
    assert list(ranked.columns) == ["trait", "round", "validation_auc", "validation_loss", "rank", "member"]


def test_the_rank_does_not_depend_on_the_order_of_the_rows():
    rows = [("A", number, auc, 0.5) for number, auc in enumerate([0.7, 0.9, 0.7, 0.8, 0.9], start=1)]
    assert rank_models(models(*rows)).equals(rank_models(models(*rows[::-1])))


def test_too_few_models_and_models_given_twice_are_refused():
    with pytest.raises(InputError, match=r"at least 3 models.*\{'A': 2\}"):
        rank_models(models(("A", 1, 0.5, 1), ("A", 2, 0.5, 1)))
    with pytest.raises(InputError, match="A round 1"):
        rank_models(models(("A", 1, 0.5, 1), ("A", 1, 0.6, 1)), members=1)
    with pytest.raises(InputError, match="no ensemble for trait C"):
        members_of(rank_models(models(("A", 1, 0.5, 1)), members=1), "C")


def test_the_papers_example_of_a_vote():
    # Results, Training models: predictions 0, 0, 1 make a 0.
    assert majority_vote(np.array([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3]]), threshold=0.5).tolist() == [False, True]


def test_a_vote_counts_models_and_not_probabilities():
    # The mean is 0.63, the majority is negative.
    assert majority_vote(np.array([[0.45], [0.45], [0.99]]), threshold=0.5).tolist() == [False]


def test_a_tie_of_an_even_number_of_members_is_negative():
    assert majority_vote(np.array([[0.9, 0.9], [0.9, 0.1]]), threshold=0.5).tolist() == [True, False]


def test_a_slide_without_tiles_has_no_votes():
    assert majority_vote(np.empty((3, 0), np.float32), threshold=0.5).shape == (0,)


@pytest.mark.parametrize("value", [float("nan"), 1.5, -0.1, float("inf")])
def test_a_model_that_diverged_casts_no_vote(value: float):
    with pytest.raises(InputError, match="diverged"):
        majority_vote(np.array([[0.5, value]]), threshold=0.5)


def test_probabilities_of_one_model_need_their_first_axis():
    with pytest.raises(InputError, match="members, tiles"):
        majority_vote(np.array([0.5, 0.6]), threshold=0.5)
