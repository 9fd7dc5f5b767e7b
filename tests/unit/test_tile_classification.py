"""A threshold is the best by its rule and ties go to the higher; curves, counts and intervals are scikit-learn's."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from workflow_scripts.lib import evaluation, scores
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import read_table, write_table
from workflow_scripts.lib.tile_classification import (
    MOST_POINTS,
    RULES,
    SETS,
    choose_threshold,
    confusion,
    curve,
    evaluation_table,
    roc,
    roc_table,
)

LABELS = np.array([1, 1, 0, 1, 0, 0, 1, 0])
VALUES = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])


# The threshold


@pytest.mark.parametrize(
    ("rule", "threshold"),
    [
        # From 0.8 up: 2 of 4 and none of the others, J = 0.5; from 0.6 up: 3 of 4 and 1 of 4, J = 0.5: the higher.
        ("youden", 0.75),
        # From 0.6 up: 2 · 3 / (2 · 3 + 1 + 1) = 0.75; from 0.3 up: 8 / 11.
        ("f1", 0.55),
        # All four pass only from 0.3 up.
        ("sensitivity_95", 0.25),
        # None of the others may pass.
        ("specificity_95", 0.75),
    ],
)
def test_thresholds_worked_out_by_hand(rule, threshold):
    assert choose_threshold(LABELS, VALUES, rule) == pytest.approx(threshold)


def test_95_in_a_hundred_are_enough_and_94_are_not():
    # Tumour at 0.01 … 1.00, and one tile of other tissue: the highest threshold that 95 of 100 reach is 0.06.
    values = np.append(np.arange(1, 101) / 100, 0.5)
    labels = np.append(np.ones(100, int), 0)
    threshold = choose_threshold(labels, values, "sensitivity_95")
    assert 0.05 < threshold < 0.06
    assert confusion(labels, values, threshold)["sensitivity"] == 0.95
    # The other way round, at most 5 of 100 may pass: those from 0.96 up.
    threshold = choose_threshold(1 - labels, values, "specificity_95")
    assert 0.95 < threshold < 0.96
    assert confusion(1 - labels, values, threshold)["specificity"] == 0.95


def test_classes_that_lie_apart_are_cut_midway_by_every_rule_but_that_of_specificity():
    labels, values = [0, 0, 1, 1], [0.125, 0.25, 0.75, 0.875]
    for rule in RULES:
        assert choose_threshold(labels, values, rule) == 0.5


def test_below_the_lowest_probability_the_neighbour_is_0():
    assert choose_threshold([1, 0], [0.5, 0.75], "sensitivity_95") == 0.25
    assert choose_threshold([1, 0], [0.0, 0.75], "sensitivity_95") == 0
    assert choose_threshold([1, 0], [0.5, 0.5], "youden") == 0.25


MERITS = {
    "youden": lambda found: round(found["sensitivity"] + found["specificity"], 12),
    "f1": lambda found: round(found["f1"], 12),
    "sensitivity_95": lambda found: found["sensitivity"] >= 0.95,
    # Of those allowed the lowest: as many as possible pass.
    "specificity_95": lambda found: (
        (found["true_positive"] + found["false_positive"]) if found["specificity"] >= 0.95 else -1
    ),
}


@settings(deadline=None)
@given(
    tiles=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12)), min_size=2, max_size=60),
    rule=st.sampled_from(sorted(RULES)),
    kind=st.sampled_from([np.float32, np.float64]),
)
def test_no_other_threshold_is_better_and_none_higher_as_good(tiles, rule, kind):
    labels, values = np.array(tiles).T
    values = (values / 12).astype(kind)
    every = {float(value): MERITS[rule](confusion(labels, values, value)) for value in np.unique(values)}
    if len(set(labels)) < 2 or max(every.values()) == -1:
        with pytest.raises(InputError, match=f"threshold rule {rule}: expected"):
            choose_threshold(labels, values, rule)
        return
    best = max(value for value, merit in every.items() if merit == max(every.values()))
    threshold = choose_threshold(labels, values, rule)
    assert (scores.positive(values, threshold=threshold) == (values >= kind(best))).all()


def test_probabilities_next_to_each_other_are_still_told_apart():
    one = np.float32(0.3)
    values = np.array([one, np.nextafter(one, np.float32(1))], np.float32)
    for labels, passing in (([0, 1], [False, True]), ([1, 0], [True, True])):
        threshold = choose_threshold(labels, values, "sensitivity_95")
        assert scores.positive(values, threshold=threshold).tolist() == passing


def test_a_threshold_holds_when_probabilities_are_a_little_different():
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, 200)
    values = (np.round(rng.beta(2 + labels, 3 - labels), 3)).astype(np.float32)
    for rule in RULES:
        threshold = choose_threshold(labels, values, rule)
        moved = (values + rng.uniform(-1e-4, 1e-4, 200)).clip(0, 1).astype(np.float32)
        assert (scores.positive(moved, threshold=threshold) == scores.positive(values, threshold=threshold)).all()


def test_a_threshold_needs_both_classes_and_a_rule_that_there_is():
    with pytest.raises(InputError, match="found 3 of tumour and 0 of other tissue"):
        choose_threshold([1, 1, 1], [0.1, 0.2, 0.3], "youden")
    with pytest.raises(InputError, match="found 0 of tumour and 0 of other tissue"):
        choose_threshold([], [], "f1")
    with pytest.raises(InputError, match="threshold rule 'best': expected one of youden, f1, sensitivity_95"):
        choose_threshold(LABELS, VALUES, "best")
    with pytest.raises(InputError, match="have the highest probability, found 2 of 4; choose another rule"):
        choose_threshold([0, 0, 1, 0, 0], [1, 1, 1, 0.5, 0.4], "specificity_95")


@pytest.mark.parametrize("values", [[0.1, np.nan], [0.1, 1.1], [-0.1, 1], [0.1]])
@pytest.mark.parametrize(
    "function", [lambda *of: choose_threshold(*of, "f1"), roc, lambda *of: confusion(*of, threshold=0.5)]
)
def test_what_is_no_probability_is_refused(function, values):
    with pytest.raises(InputError, match="a probability from 0 to 1 for each tile"):
        function([0, 1], values)
    with pytest.raises(InputError, match="a label of 0 or 1"):
        function([0, 2], [0.1, 0.2])


# Curves


def test_a_curve_worked_out_by_hand():
    found = roc([1, 0, 1, 0], [0.9, 0.5, 0.5, 0.1])
    assert found["fpr"].tolist() == [0, 0, 0.5, 1]
    assert found["tpr"].tolist() == [0, 0.5, 1, 1]
    assert found["threshold"].tolist()[1:] == [0.9, 0.5, 0.1]
    assert np.isnan(found["threshold"][0])


def test_a_curve_is_of_counts_too():
    rates, kept = curve(np.array([[1, 0], [1, 0], [2, 3], [4, 3]]))
    assert rates.tolist() == [[0, 0], [0.25, 0], [0.25, 0], [0.5, 1], [1, 1]]
    assert kept.tolist() == [0, 1, 2, 3, 4]
    many = np.arange(1, 10 * MOST_POINTS)[:, None] * [2, 3]
    rates, kept = curve(many)
    assert len(rates) == len(kept) == MOST_POINTS
    assert rates[[0, -1]].tolist() == [[0, 0], [1, 1]]
    assert len(curve(np.array([[0, 5]]))[0]) == len(curve(np.zeros((0, 2), int))[0]) == 0


def test_a_curve_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels = np.r_[0, 1, rng.integers(0, 2, 300)]
        values = rng.integers(0, 100, 302) / 100
        fpr, tpr, thresholds = roc_curve(labels, values, drop_intermediate=False)
        found = roc(labels, values)
        assert found["fpr"].to_numpy() == pytest.approx(fpr)
        assert found["tpr"].to_numpy() == pytest.approx(tpr)
        assert found["threshold"].to_numpy()[1:] == pytest.approx(thresholds[1:])


def test_a_long_curve_is_thinned_and_keeps_its_ends_and_its_area():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 100_000)
    values = 1 / (1 + np.exp(-rng.normal(2 * labels - 1, 1)))
    found = roc(labels, values)
    assert 400 < len(found) <= MOST_POINTS
    assert found[["fpr", "tpr"]].iloc[[0, -1]].to_numpy().tolist() == [[0, 0], [1, 1]]
    assert np.trapezoid(found["tpr"], found["fpr"]) == pytest.approx(roc_auc_score(labels, values), abs=1e-4)
    for row in found.iloc[[1, 100, -2]].itertuples():
        counted = confusion(labels, values, row.threshold)
        assert (row.tpr, row.fpr) == (counted["sensitivity"], pytest.approx(1 - counted["specificity"]))


def test_one_class_has_no_curve():
    for labels in ([], [1, 1], [0, 0]):
        found = roc(labels, [0.2, 0.4][: len(labels)])
        assert found.empty
        assert list(found.columns) == ["fpr", "tpr", "threshold"]


# Counts


def test_counts_worked_out_by_hand():
    found = confusion(LABELS, VALUES, 0.6)
    assert [found[name] for name in ("true_positive", "false_negative", "false_positive", "true_negative")] == [
        3,
        1,
        1,
        3,
    ]
    assert {found[name] for name in ("sensitivity", "specificity", "precision", "f1", "accuracy")} == {0.75}


def test_counts_and_shares_are_those_of_scikit_learn():
    rng = np.random.default_rng(2)
    for threshold in (0.2, 0.5, 0.9):
        labels, values = rng.integers(0, 2, 500), rng.integers(0, 21, 500) / 20
        passes = values >= threshold
        found = confusion(labels, values, threshold)
        right, wrong, missed, hit = confusion_matrix(labels, passes).ravel()
        assert [hit, missed, wrong, right] == list(found.values())[:4]
        assert found["sensitivity"] == recall_score(labels, passes)
        assert found["specificity"] == recall_score(labels, passes, pos_label=0)
        assert found["precision"] == precision_score(labels, passes)
        assert found["f1"] == pytest.approx(f1_score(labels, passes))
        assert found["accuracy"] == pytest.approx(accuracy_score(labels, passes))


def test_a_share_of_nothing_is_missing():
    found = confusion([0, 0], [0.1, 0.2], 0.5)
    assert found["specificity"] == found["accuracy"] == 1
    assert np.isnan([found[name] for name in ("sensitivity", "precision", "f1")]).all()
    assert np.isnan(confusion([], [], 0.5)["accuracy"])
    assert confusion([1], [0.1], 0.5)["f1"] == 0


# Tables of the sets


def tiles_of(*sets, per_slide=40, seed=0) -> pd.DataFrame:
    """Tiles of three patients in each set, the first of whom has two slides."""
    rng = np.random.default_rng(seed)
    rows = []
    for name, (patient, slide) in itertools.product(sets, [(1, 1), (1, 2), (2, 1), (3, 1)]):
        labels = rng.integers(0, 2, per_slide)
        values = rng.beta(2 + labels, 3 - labels).astype(np.float32)
        place = {"slide_id": f"{name}-{patient}-{slide}", "patient_id": f"{name}-{patient}", "set": name}
        rows.append(pd.DataFrame(place | {"label": labels, "probability": values}))
    return pd.concat(rows, ignore_index=True)


def test_each_set_has_a_row_with_its_numbers():
    tiles = tiles_of(*SETS)
    found = evaluation_table(tiles, threshold=0.4, resamples=200, seed=1).set_index("set")
    assert list(found.index) == ["train", "validation", "test"]
    assert (found[["n_patients", "n_slides", "n_tiles"]] == [3, 4, 160]).all(axis=None)
    for name in SETS:
        of = tiles[tiles["set"] == name]
        assert found.loc[name, "auroc"] == pytest.approx(roc_auc_score(of["label"], of["probability"]))
        assert found.loc[name, "auroc_low"] <= found.loc[name, "auroc"] <= found.loc[name, "auroc_high"]
        assert found.loc[name, "n_tumour"] == of["label"].sum()
        for key, value in confusion(of["label"], of["probability"], 0.4).items():
            assert found.loc[name, key] == value


def test_the_interval_is_by_patient():
    tiles = tiles_of("test", seed=3)
    found = evaluation_table(tiles, threshold=0.5, resamples=300, seed=5).iloc[-1]
    by_patient = evaluation.bootstrap_auc(
        tiles["label"], tiles["probability"], tiles["patient_id"], resamples=300, seed=5
    )
    assert (found["auroc_low"], found["auroc_high"]) == (by_patient.low, by_patient.high)


def test_a_set_without_tiles_of_both_classes_or_of_one_patient_has_no_interval():
    tiles = tiles_of("train", "validation")
    tiles = tiles[(tiles["set"] == "train") | (tiles["patient_id"] == "validation-2")]
    tiles.loc[tiles["set"] == "train", "label"] = 1
    found = evaluation_table(tiles, threshold=0.5, resamples=50, seed=0).set_index("set")
    assert np.isnan(found.loc["train", ["auroc", "auroc_low", "specificity"]].astype(float)).all()
    assert found.loc["train", "sensitivity"] > 0
    assert found.loc["validation", "auroc"] > 0.5
    assert np.isnan(found.loc["validation", ["auroc_low", "auroc_high"]].astype(float)).all()
    assert found.loc["test", "n_tiles"] == 0
    assert np.isnan(found.loc["test", "accuracy"])
    assert list(roc_table(tiles)["set"].unique()) == ["validation"]


def test_a_cohort_without_tiles_has_its_rows_and_no_curve():
    nothing = tiles_of("test").iloc[:0]
    assert evaluation_table(nothing, threshold=0.5, resamples=10, seed=0)["n_tiles"].tolist() == [0, 0, 0]
    assert list(roc_table(nothing).columns) == ["set", "fpr", "tpr", "threshold"]


def test_tables_read_back_as_they_were_written(tmp_path):
    tiles = tiles_of("train", "test")
    for table in (evaluation_table(tiles, threshold=0.3, resamples=20, seed=0), roc_table(tiles)):
        write_table(table, tmp_path / "table.tsv")
        pd.testing.assert_frame_equal(read_table(tmp_path / "table.tsv", text=["set"]), table)


def test_a_set_of_another_name_is_refused():
    with pytest.raises(InputError, match="sets train, validation, test, found held_out"):
        roc_table(tiles_of("test").assign(set="held_out"))
