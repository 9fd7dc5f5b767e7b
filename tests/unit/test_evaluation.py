"""Table 1, its intervals, the correlations of the supplement, and the points of Fig. 2."""

import time

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests

from workflow_scripts.lib import evaluation
from workflow_scripts.lib.ensembles import rank_models
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.evaluation import (
    auc,
    bootstrap_auc,
    choose_traits,
    correlations,
    evaluation_sets,
    holm,
    score_distributions,
    score_slides,
    slide_score_rows,
    table1,
)
from workflow_scripts.lib.files import read_table, write_table
from workflow_scripts.lib.predictions import write_slide

NAN = float("nan")


def pairs_won(labels: np.ndarray, scores: np.ndarray) -> float:
    """The AUC by its definition."""
    high, low = scores[labels == 1], scores[labels == 0]
    return float(np.mean([(h > b) + (h == b) / 2 for h in high for b in low]))


# --- AUC


def test_an_auc_worked_out_by_hand():
    # Of the 2 × 3 pairs the 1s win 0.9 > all three, and 0.4 > 0.1, ties 0.4, loses to 0.6: (3 + 1.5) / 6.
    assert auc([1, 1, 0, 0, 0], [0.9, 0.4, 0.1, 0.4, 0.6]) == (0.75, "")


def test_the_auc_is_the_share_of_pairs_that_are_in_order():
    rng = np.random.default_rng(0)
    for _ in range(30):
        labels = np.r_[0, 1, rng.integers(0, 2, 20)]
        scores = rng.integers(0, 6, 22) / 5
        assert auc(labels, scores).value == pytest.approx(pairs_won(labels, scores))


def test_a_higher_score_for_high_expression_is_an_auc_above_a_half():
    assert auc([0, 1], [0.1, 0.9]).value == 1
    assert auc([0, 1], [0.9, 0.1]).value == 0
    assert auc([0, 1], [0.5, 0.5]).value == 0.5


def test_one_class_has_no_auc_and_says_which():
    value, note = auc([1, 1], [0.1, 0.2])
    assert np.isnan(value)
    assert note == "one class: 2 above, 0 below"
    assert auc([], []).note == "one class: 0 above, 0 below"


@pytest.mark.parametrize(("labels", "scores"), [([0, 2], [0.1, 0.2]), ([0, NAN], [0.1, 0.2]), ([0, 1], [0.1, NAN])])
def test_labels_and_scores_that_are_missing_or_strange_are_refused(labels: list[float], scores: list[float]):
    with pytest.raises(InputError, match="a label of 0 or 1 and a score"):
        auc(labels, scores)


# --- its interval


def slow_interval(labels, scores, patients, *, resamples: int, seed: int) -> tuple[float, float, int, int]:
    """The same draws, with every resample spelt out slide by slide."""
    names = sorted(set(patients))
    draws = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    values = []
    for times in draws:
        slides = [
            slide
            for name, count in zip(names, times, strict=True)
            for slide in [n for n, patient in enumerate(patients) if patient == name] * count
        ]
        if len(set(labels[slides])) == 2:
            models = np.atleast_2d(scores.T)
            values.append(np.mean([roc_auc_score(labels[slides], model[slides]) for model in models]))
    return (*np.percentile(values, [2.5, 97.5]), len(values), resamples - len(values))


@pytest.mark.parametrize("models", [1, 3])
def test_the_interval_is_that_of_resampled_patients(models: int):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 14)
    scores = rng.integers(0, 8, (14, models)) / 8
    patients = [f"P{number}" for number in rng.integers(0, 9, 14)]
    found = bootstrap_auc(labels, scores, patients, resamples=300, seed=7)
    assert found == pytest.approx(slow_interval(labels, scores, patients, resamples=300, seed=7))
    if models == 1:
        assert bootstrap_auc(labels, scores[:, 0], patients, resamples=300, seed=7) == found


def test_the_interval_does_not_depend_on_how_many_resamples_are_held_at_once(monkeypatch):
    labels, scores, patients = [0, 0, 1, 1, 1], [0.1, 0.5, 0.4, 0.5, 0.9], list("abcde")
    whole = bootstrap_auc(labels, scores, patients, resamples=100, seed=0)
    monkeypatch.setattr(evaluation, "HELD", 5 * 7)
    assert bootstrap_auc(labels, scores, patients, resamples=100, seed=0) == whole


def test_slides_of_one_patient_stay_together():
    # Two patients, a class each: half of the resamples draw one of them twice, and the others have AUC 1.
    found = bootstrap_auc([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], ["P1", "P1", "P2", "P2"], resamples=1000, seed=0)
    assert (found.low, found.high) == (1, 1)
    assert found.used + found.one_class == 1000
    assert found.one_class == pytest.approx(500, abs=60)


def test_resamples_by_patient_are_wider_than_by_slide():
    rng = np.random.default_rng(2)
    patient = np.repeat(np.arange(20), 10)
    labels = (patient % 2).astype(int)
    scores = rng.normal(labels * 0.8, 1) + rng.normal(0, 1, 20)[patient]
    by_patient = bootstrap_auc(labels, scores, patient.astype(str), resamples=500, seed=0)
    by_slide = bootstrap_auc(labels, scores, np.arange(200).astype(str), resamples=500, seed=0)
    assert by_patient.high - by_patient.low > 1.5 * (by_slide.high - by_slide.low)


def test_an_interval_covers_the_true_auc_about_as_often_as_it_says():
    # Scores of N(1, 1) against N(0, 1): AUC = Φ(1 / √2) = 0.7602.
    rng = np.random.default_rng(3)
    covered = 0
    for seed in range(200):
        labels = np.arange(60) % 2
        interval = bootstrap_auc(labels, rng.normal(labels, 1), np.arange(60).astype(str), resamples=300, seed=seed)
        covered += interval.low <= 0.7602 <= interval.high
    assert 0.88 <= covered / 200 <= 0.99


def test_one_class_has_no_interval():
    found = bootstrap_auc([1, 1, 1], [0.1, 0.2, 0.3], list("abc"), resamples=50, seed=0)
    assert np.isnan([found.low, found.high]).all()
    assert (found.used, found.one_class) == (0, 50)
    assert np.isnan(bootstrap_auc([], [], [], resamples=50, seed=0).low)


def test_the_same_seed_gives_the_same_interval_and_another_another():
    rng = np.random.default_rng(4)
    labels, scores, patients = np.arange(30) % 2, rng.random(30), np.arange(30).astype(str)
    first, again, other = (bootstrap_auc(labels, scores, patients, resamples=200, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_two_thousand_resamples_of_five_hundred_slides_take_less_than_a_second():
    rng = np.random.default_rng(5)
    labels, scores = rng.integers(0, 2, 500), rng.random(500)
    started = time.process_time()
    bootstrap_auc(labels, scores, np.arange(500).astype(str), resamples=2000, seed=0)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(("tiles", "patients"), [(400, 7), (12, 9)])
def test_resamples_are_the_same_to_the_bit_whether_pairs_of_patients_are_counted_or_slides_weighted(tiles, patients):
    rng = np.random.default_rng(6)
    # Ties, patients of both classes, and resamples without those of class 1.
    of = rng.integers(0, patients, tiles)
    labels = ((of == 0) | (of == 1) & (rng.random(tiles) < 0.5)).astype(int)
    scores = rng.integers(0, 9, tiles)
    drawn = evaluation.draw_patients(of.astype(str), resamples=60, seed=2)
    found = evaluation.resampled_auc(labels, scores, drawn)
    of_pairs = evaluation.auc_of_pairs(evaluation.pairs_of(labels, scores, drawn.patient_of), drawn.times)
    np.testing.assert_array_equal(found, of_pairs)
    np.testing.assert_array_equal(found, evaluation._weighted_auc(labels, scores, drawn.times[:, drawn.patient_of]))
    for times, value in zip(drawn.times, found, strict=True):
        resample = np.repeat(np.arange(tiles), times[drawn.patient_of])
        expected = roc_auc_score(labels[resample], scores[resample]) if len(set(labels[resample])) == 2 else NAN
        assert value == pytest.approx(expected, nan_ok=True)
    assert 0 < np.isnan(found).sum() < 30


def test_pairs_are_counted_by_whose_they_are_and_ties_count_half():
    labels, scores, groups = np.array([1, 1, 0, 0, 0]), np.array([0.5, 0.9, 0.5, 0.2, 0.7]), np.array([0, 2, 0, 0, 3])
    pairs = evaluation.pairs_of(labels, scores, groups)
    assert (pairs.of_ones.tolist(), pairs.of_zeros.tolist()) == ([0, 2], [0, 3])
    assert (pairs.ones.tolist(), pairs.zeros.tolist()) == ([1, 1], [2, 1])
    assert pairs.won.tolist() == [[1.5, 0], [2, 1]]
    # All once; the group of both classes alone; one without a 0; the third twice.
    times = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 1, 0], [1, 0, 2, 1]])
    expected = [4.5 / 6, 0.75, NAN, (1.5 + 2 * 3) / 9]
    np.testing.assert_allclose(evaluation.auc_of_pairs(pairs, times), expected)


def test_a_paired_test_counts_the_resamples_on_the_side_of_zero_that_has_fewer():
    first, second = np.linspace(0.5, 0.9, 40), np.full(40, 0.6)
    test = evaluation.paired_test(np.append(first, NAN), np.append(second, 0.1))
    below = (first < 0.6).sum()
    assert (test.used, test.is_least) == (40, False)
    assert test.p == pytest.approx(2 * (below + 1) / 41)
    np.testing.assert_allclose([test.low, test.high], np.percentile(first - 0.6, [2.5, 97.5]))
    always = evaluation.paired_test(second, first + 0.5)
    assert (always.p, always.is_least) == (2 / 41, True)
    assert evaluation.paired_test(second, second).p == 1
    nothing = evaluation.paired_test(np.array([NAN]), np.array([0.5]))
    assert np.isnan(nothing[:3]).all()
    assert (nothing.used, nothing.is_least) == (0, False)


def test_two_thousand_resamples_of_a_hundred_thousand_tiles_take_less_than_a_second():
    rng = np.random.default_rng(7)
    patients = np.arange(100_000) % 60
    labels, scores = (patients < 4).astype(int), rng.random(100_000)
    started = time.process_time()
    drawn = evaluation.draw_patients(patients.astype(str), resamples=2000, seed=0)
    assert not np.isnan(evaluation.resampled_auc(labels, scores, drawn)).all()
    assert time.process_time() - started < 1


def test_holms_adjustment_is_that_of_statsmodels_and_leaves_missing_ones_out():
    rng = np.random.default_rng(0)
    for n in range(1, 8):
        p = rng.random(n) / 3
        np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])
        np.testing.assert_allclose(holm(np.r_[NAN, p])[1:], holm(p))
    assert holm(np.array([0.01, 0.04, 0.03])).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert np.isnan(holm(np.array([NAN, NAN]))).all()
    assert len(holm(np.array([]))) == 0


# --- slide scores


def test_a_slides_rows_are_of_each_model_and_of_the_vote():
    probabilities = {"round_10": [0.9, 0.9, 0.1, 0.1], "round_2": [0.9, 0.1, 0.1, 0.1], "round_1": [0.9, 0.9, 0.9, 0.1]}
    probabilities = {model: np.array(values) for model, values in probabilities.items()}
    rows = pd.DataFrame(
        slide_score_rows("S1", "P1", "A", probabilities, members=["round_1", "round_2", "round_10"], threshold=0.5)
    )
    assert list(rows.columns) == ["slide_id", "patient_id", "trait", "model", "n_tiles", "n_positive", "score"]
    assert rows["model"].tolist() == ["round_1", "round_2", "round_10", "ensemble"]
    assert rows["n_positive"].tolist() == [3, 1, 2, 2]
    assert rows["score"].tolist() == [0.75, 0.25, 0.5, 0.5]


def test_only_members_vote():
    probabilities = {"round_1": np.array([0.9]), "round_2": np.array([0.1]), "round_3": np.array([0.1])}
    rows = slide_score_rows("S1", "P1", "A", probabilities, members=["round_1"], threshold=0.5)
    assert rows[-1]["score"] == 1
    with pytest.raises(InputError, match=r"S1, A: no predictions of \['round_4'\]"):
        slide_score_rows("S1", "P1", "A", probabilities, members=["round_4"], threshold=0.5)


def test_a_slide_without_tiles_has_no_score():
    rows = slide_score_rows("S1", "P1", "A", {"round_1": np.empty(0)}, members=["round_1"], threshold=0.5)
    assert [row["n_tiles"] for row in rows] == [0, 0]
    assert all(np.isnan(row["score"]) for row in rows)


# --- sets and tables

# slide, patient, percentile, label, tier; T1-T4 are test patients, D1-D4 development patients.
ROWS = [
    ("t1", "T1", 0.05, 0, "in"),
    ("t2", "T2", 0.15, 0, "in"),
    ("t3", "T3", 0.85, 1, "in"),
    ("t4", "T4", 0.95, 1, "in"),
    ("t5", "T4", 0.25, NAN, "ood_near"),
    ("d1", "D1", 0.10, 0, "in"),
    ("d2", "D2", 0.90, 1, "in"),
    ("d3", "D3", 0.75, NAN, "ood_near"),
    ("d4", "D3", 0.50, NAN, "ood"),
    ("d5", "D4", 0.51, NAN, "ood"),
    ("d6", "D4", NAN, NAN, "unlabelled"),
]
LABELS = pd.DataFrame(ROWS, columns=["slide_id", "patient_id", "percentile", "label", "tier"]).assign(value=1.0)
PATIENTS = ["T1", "T2", "T3", "T4", "D1", "D2", "D3", "D4"]
SPLITS = pd.DataFrame({"patient_id": PATIENTS, "set": ["test"] * 4 + ["development"] * 4})
#          t1   t2   t3   t4   t5   d1   d2   d3   d4   d5   d6
ROUND_1 = [0.1, 0.2, 0.8, 0.9, 0.3, 0.1, 0.9, 0.6, 0.5, 0.4, 0.2]  # test AUC 1
ROUND_2 = [0.1, 0.8, 0.2, 0.9, 0.3, 0.1, 0.9, 0.6, 0.5, 0.4, 0.2]  # 3 of 4 pairs: 0.75
VOTED = [0.1, 0.2, 0.2, 0.9, 0.3, 0.1, 0.9, 0.6, 0.5, 0.4, 0.2]  # 3.5 of 4: 0.875


def long_scores(**models: list[float]) -> pd.DataFrame:
    tables = [
        LABELS[["slide_id", "patient_id"]].assign(trait="A", model=model, n_tiles=10, n_positive=1, score=values)
        for model, values in models.items()
    ]
    return pd.concat(tables, ignore_index=True)


SCORES = long_scores(round_1=ROUND_1, round_2=ROUND_2, ensemble=VOTED)


def test_no_set_holds_a_slide_that_a_model_has_seen():
    sets = {name: slides["slide_id"].tolist() for name, slides in evaluation_sets(LABELS, SPLITS).items()}
    assert sets == {"test": ["t1", "t2", "t3", "t4"], "ood_near": ["t5", "d3"], "ood_all": ["t5", "d3", "d4", "d5"]}


def test_an_ood_slide_of_a_patient_whom_models_have_seen_is_left_out_and_the_note_says_so():
    # D1 trains with d1; another slide of D1, and of the test patient T1, is OOD.
    more = LABELS[LABELS["slide_id"].isin(["d3", "d5"])].assign(slide_id=["d1-06", "t1-06"], patient_id=["D1", "T1"])
    labels = pd.concat([LABELS, more], ignore_index=True)
    sets = {name: slides["slide_id"].tolist() for name, slides in evaluation_sets(labels, SPLITS).items()}
    assert sets["ood_near"] == ["t5", "d3"]
    assert sets["ood_all"] == ["t5", "d3", "d4", "d5", "t1-06"]
    scores = pd.concat([SCORES, SCORES[SCORES["slide_id"] == "d3"].assign(slide_id="t1-06")], ignore_index=True)
    row = table1({"A": labels}, scores, SPLITS, resamples=20, seed=0).iloc[0]
    assert row["n_ensemble_ood_all"] == 5
    assert "ood_all: 1 slides left out, of patients that models have seen on another slide" in row["note"]
    assert "left out, of patients" not in table1({"A": LABELS}, SCORES, SPLITS, resamples=20, seed=0)["note"].iloc[0]


def test_above_is_the_label_in_distribution_and_a_percentile_above_a_half_out_of_it():
    sets = evaluation_sets(LABELS, SPLITS)
    assert sets["test"]["above"].tolist() == [0, 0, 1, 1]
    # Exactly 0.5 is not above.
    assert dict(zip(sets["ood_all"]["slide_id"], sets["ood_all"]["above"], strict=True)) == {
        "t5": 0,
        "d3": 1,
        "d4": 0,
        "d5": 1,
    }


def test_a_patient_without_a_set_is_refused():
    with pytest.raises(InputError, match="not found: \\['D4', 'D4'\\]"):
        evaluation_sets(LABELS, SPLITS[:-1])


def test_a_row_of_table_1_worked_out_by_hand():
    row = table1({"A": LABELS}, SCORES, SPLITS, resamples=200, seed=0).iloc[0]
    assert (row["mean_test_auc"], row["min_test_auc"], row["max_test_auc"], row["n_test"]) == (0.875, 0.75, 1, 4)
    assert (row["ensemble_test_auc"], row["n_ensemble_test"]) == (0.875, 4)
    # Near: t5 below with 0.3, d3 above with 0.6.
    assert (row["ensemble_ood_near_auc"], row["n_ensemble_ood_near"]) == (1, 2)
    # All: above 0.6 and 0.4, below 0.3 and 0.5: three of four pairs.
    assert (row["ensemble_ood_all_auc"], row["n_ensemble_ood_all"]) == (0.75, 4)
    for name in ("mean_test", "ensemble_test", "ensemble_ood_near", "ensemble_ood_all"):
        assert 0 <= row[f"{name}_auc_low"] <= row[f"{name}_auc_high"] <= 1
    assert "resamples had one class and were left out" in row["note"]


def test_tables_that_were_written_and_read_give_the_same(tmp_path):
    write_table(LABELS.astype({"label": "Int64"}), tmp_path / "labels.tsv")
    write_table(SCORES, tmp_path / "scores.tsv")
    labels = {"A": read_table(tmp_path / "labels.tsv", text=["slide_id", "patient_id", "tier"])}
    scores = read_table(tmp_path / "scores.tsv", text=["slide_id", "patient_id", "trait", "model"])
    expected = table1({"A": LABELS}, SCORES, SPLITS, resamples=20, seed=0)
    pd.testing.assert_frame_equal(table1(labels, scores, SPLITS, resamples=20, seed=0), expected)
    fresh = {"A": LABELS.astype({"label": "Int64"})}
    pd.testing.assert_frame_equal(table1(fresh, SCORES, SPLITS, resamples=20, seed=0), expected)


def test_table_1_has_the_columns_of_the_contract():
    table = table1({"A": LABELS}, SCORES, SPLITS, resamples=20, seed=0)
    expected = {"trait", "mean_test_auc", "min_test_auc", "max_test_auc", "n_test"}
    expected |= {"mean_test_auc_low", "mean_test_auc_high", "note"}
    for name in ("ensemble_test", "ensemble_ood_near", "ensemble_ood_all"):
        expected |= {f"{name}_auc", f"{name}_auc_low", f"{name}_auc_high", f"n_{name}"}
    assert set(table.columns) == expected


def test_the_interval_of_the_mean_draws_the_same_patients_for_every_model():
    row = table1({"A": LABELS}, SCORES, SPLITS, resamples=200, seed=0).iloc[0]
    scores = np.array([ROUND_1[:4], ROUND_2[:4]]).T
    low, high, _, _ = slow_interval(np.array([0, 0, 1, 1]), scores, ["T1", "T2", "T3", "T4"], resamples=200, seed=0)
    assert (row["mean_test_auc_low"], row["mean_test_auc_high"]) == pytest.approx((low, high))


def test_a_slide_without_a_score_is_left_out_and_counted():
    scores = SCORES.copy()
    scores.loc[scores["slide_id"] == "t2", "score"] = np.nan
    scores = scores[scores["slide_id"] != "d3"]
    row = table1({"A": LABELS}, scores, SPLITS, resamples=20, seed=0).iloc[0]
    assert (row["n_test"], row["n_ensemble_test"], row["n_ensemble_ood_all"]) == (3, 3, 3)
    assert row["mean_test_auc"] == pytest.approx(1)  # 0.1 below 0.8 and 0.9; 0.1 below 0.2 and 0.9
    assert "test: 1 slides without a score" in row["note"]
    assert "ood_near: 1 slides without a score" in row["note"]


def test_one_class_leaves_an_empty_cell_and_its_reason():
    labels = LABELS[~LABELS["slide_id"].isin(["t3", "t4"])]
    row = table1({"A": labels}, SCORES, SPLITS, resamples=20, seed=0).iloc[0]
    empty = ["mean_test_auc", "min_test_auc", "max_test_auc", "ensemble_test_auc", "ensemble_test_auc_low"]
    assert row[empty].isna().all()
    assert row["n_test"] == 2
    assert "test: one class: 0 above, 2 below" in row["note"]
    assert row["ensemble_ood_all_auc"] == 0.75


def test_a_set_without_slides_leaves_an_empty_cell():
    labels = LABELS[LABELS["tier"] != "ood_near"]
    row = table1({"A": labels}, SCORES, SPLITS, resamples=20, seed=0).iloc[0]
    assert row["n_ensemble_ood_near"] == 0
    assert np.isnan(row["ensemble_ood_near_auc"])
    assert "ood_near: one class: 0 above, 0 below" in row["note"]


def test_scores_of_the_ensemble_are_needed():
    with pytest.raises(InputError, match="of the ensemble for A"):
        table1({"A": LABELS}, SCORES[SCORES["model"] != "ensemble"], SPLITS, resamples=20, seed=0)


# --- traits


def test_the_traits_with_the_highest_mean_test_auc_are_chosen_and_ties_go_by_name():
    table = pd.DataFrame({"trait": ["D", "B", "A", "C"], "mean_test_auc": [NAN, 0.8, 0.8, 0.9]})
    assert choose_traits(table) == ["C", "A"]
    assert choose_traits(table, number=3) == ["C", "A", "B"]
    with pytest.raises(InputError, match="expected 4 traits"):
        choose_traits(table, number=4)


def test_the_papers_own_table_gives_the_papers_pairs():
    brca = {"miR-17-5p": 0.83, "MKI67": 0.74, "FOXA1": 0.7, "MYC": 0.62}
    luad = {"KRAS": 0.64, "miR-17-5p": 0.85, "CD274": 0.61}
    for aucs, pair in ((brca, ["miR-17-5p", "MKI67"]), (luad, ["miR-17-5p", "KRAS"])):
        table = pd.DataFrame({"trait": list(aucs), "mean_test_auc": list(aucs.values())})
        assert choose_traits(table) == pair


# --- correlations


def test_a_spearman_correlation_worked_out_by_hand():
    # Percentiles of t5, d4, d5, d3 rise; the scores 0.3, 0.5, 0.4, 0.6 have ranks 1, 3, 2, 4: 1 − 6·2 / (4·15) = 0.8.
    table = correlations({"A": LABELS}, SCORES, SPLITS).set_index("set")
    assert table.loc["ood_all", "spearman"] == pytest.approx(0.8)
    assert table.loc["ood_all", "n"] == 4
    ranks = rankdata(VOTED[:4])
    assert table.loc["test", "spearman"] == pytest.approx(np.corrcoef([1, 2, 3, 4], ranks)[0, 1])


def test_fewer_than_three_slides_or_scores_all_alike_have_no_correlation():
    table = correlations({"A": LABELS}, long_scores(ensemble=[0.5] * 11), SPLITS)
    assert table["n"].tolist() == [4, 2, 4]
    assert table[["spearman", "p", "p_fdr"]].isna().all(axis=None)
    assert correlations({"A": LABELS}, SCORES, SPLITS)["spearman"].isna().tolist() == [False, True, False]


def test_the_false_discovery_rate_is_over_all_traits_and_sets_that_were_tested():
    rng = np.random.default_rng(6)
    names = [f"s{number}" for number in range(60)]
    splits = pd.DataFrame({"patient_id": names, "set": ["test"] * 30 + ["development"] * 30})
    labels, scores = {}, []
    for trait in "ABC":
        percentile = rng.permutation(60) / 60
        tier = np.select(
            [(percentile <= 0.2) | (percentile >= 0.8), abs(percentile - 0.5) >= 0.2], ["in", "ood_near"], default="ood"
        )
        labels[trait] = pd.DataFrame({"slide_id": names, "patient_id": names, "percentile": percentile, "tier": tier})
        labels[trait]["label"] = np.where(tier == "in", percentile > 0.5, np.nan)
        score = percentile + rng.normal(0, 0.5, 60)
        scores.append(pd.DataFrame({"slide_id": names, "trait": trait, "model": "ensemble", "score": score}))
    labels["C"] = labels["C"].assign(tier=labels["C"]["tier"].replace("ood_near", "unlabelled"))
    table = correlations(labels, pd.concat(scores), splits)
    assert list(table.columns) == ["trait", "set", "n", "spearman", "p", "p_fdr"]
    assert len(table) == 9
    tested = table.dropna(subset=["p"])
    assert len(tested) == 8
    np.testing.assert_allclose(tested["p_fdr"], multipletests(tested["p"], method="fdr_bh")[1])


# --- Fig. 2


def test_the_points_of_the_figure_are_the_ensembles_scores_by_set_and_side():
    table = score_distributions({"A": LABELS}, SCORES, SPLITS)
    assert list(table.columns) == ["trait", "set", "slide_id", "label", "score"]
    test = table[table["set"] == "test"]
    assert test["label"].tolist() == ["below", "below", "above", "above"]
    assert test["score"].tolist() == VOTED[:4]
    assert table.groupby("set", sort=False).size().to_dict() == {"test": 4, "ood_near": 2, "ood_all": 4}


# --- from the files of predictions


def test_the_slides_of_all_chunks_are_scored_by_the_models_that_they_have(tmp_path):
    rows = [("A", 1, 0.5, 1), ("A", 2, 0.9, 1), ("B", 1, 0.9, 1), ("B", 2, 0.5, 1)]
    ensembles = rank_models(
        pd.DataFrame(rows, columns=["trait", "round", "validation_auc", "validation_loss"]), members=1
    )
    sheet = pd.DataFrame({"slide_id": ["S1", "S2"], "patient_id": ["P1", "P2"]})
    values = {"A/round_1": [0.9, 0.9], "A/round_2": [0.9, 0.1], "B/round_1": [0.1, 0.1], "B/round_2": [0.9, 0.9]}
    chunks = {"0.h5": {"S2": {"A/round_2": [0.9, 0.9], "B/round_1": [0.1, 0.9]}}, "1.h5": {"S1": values}}
    for name, slides in chunks.items():
        with h5py.File(tmp_path / name, "w") as file:
            for slide_id, by_model in slides.items():
                write_slide(file, slide_id, np.array([[0, 0], [1, 0]]), {m: np.float32(v) for m, v in by_model.items()})
    scores = score_slides([tmp_path / name for name in chunks], sheet, ensembles, threshold=0.5)
    assert scores[["slide_id", "patient_id", "trait", "model", "score"]].to_numpy().tolist() == [
        ["S1", "P1", "A", "round_1", 1.0],
        ["S1", "P1", "A", "round_2", 0.5],
        ["S1", "P1", "A", "ensemble", 0.5],
        ["S1", "P1", "B", "round_1", 0.0],
        ["S1", "P1", "B", "round_2", 1.0],
        ["S1", "P1", "B", "ensemble", 0.0],
        ["S2", "P2", "A", "round_2", 1.0],
        ["S2", "P2", "A", "ensemble", 1.0],
        ["S2", "P2", "B", "round_1", 0.5],
        ["S2", "P2", "B", "ensemble", 0.5],
    ]
    with pytest.raises(InputError, match="S1, which is not in the slide sheet"):
        score_slides([tmp_path / "1.h5"], sheet[1:], ensembles, threshold=0.5)
    assert list(score_slides([], sheet, ensembles, threshold=0.5).columns) == list(scores.columns)


def test_rounds_that_only_test_slides_have_do_not_thin_out_the_other_sets():
    held_out = LABELS["patient_id"].str.startswith("T")
    rounds = SCORES["model"] != "ensemble"
    kept = SCORES[~rounds | SCORES["slide_id"].isin(LABELS.loc[held_out, "slide_id"])]
    expected = table1({"A": LABELS}, SCORES, SPLITS, resamples=20, seed=0)
    pd.testing.assert_frame_equal(table1({"A": LABELS}, kept, SPLITS, resamples=20, seed=0), expected)
