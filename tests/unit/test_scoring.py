"""The recovery of a known truth is measured where no model has looked."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

from workflow_scripts.lib import provenance
from workflow_scripts.lib.cartography import Cartography, write_map
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.evaluation import evaluation_sets
from workflow_scripts.lib.labels import seen_patients
from workflow_scripts.lib.scoring import (
    predicted_tiles,
    read_truth_tiles,
    recovered_slides,
    recovery_table,
    spearman,
    survival_uniformity,
    tile_auc,
    truth_of_slides,
    unseen_slides,
)
from workflow_scripts.lib.survival import eligible_slides

NAN = float("nan")


def truth_of(kinds: dict[str, str]) -> pd.DataFrame:
    """Tiles in one row per slide; a letter each, `X` for both, `n` for one that is not tumour."""
    rows = [
        (slide, column, 0, kind != "n", kind in "AX", kind in "BX")
        for slide, letters in kinds.items()
        for column, kind in enumerate(letters)
    ]
    return pd.DataFrame(rows, columns=["slide_id", "col", "row", "is_tumour", "TA", "TB"])


def predicted(truth: pd.DataFrame, probability: object) -> pd.DataFrame:
    return truth[["slide_id", "col", "row"]].assign(probability=probability)


# --- the truth


def test_kinds_say_which_traits_a_tile_carries(tmp_path):
    (tmp_path / "tiles.tsv").write_text("slide_id\tcol\trow\tkind\nS\t0\t0\tA\nS\t1\t0\tB\nS\t2\t0\tAB\nS\t3\t0\t0\n")
    truth = read_truth_tiles(tmp_path / "tiles.tsv", trait_a="MKI67", trait_b="miR")
    assert list(truth.columns) == ["slide_id", "col", "row", "is_tumour", "MKI67", "miR"]
    assert truth["is_tumour"].all(), "of a truth that does not say so, all is tumour"
    assert truth["MKI67"].tolist() == [True, False, True, False]
    assert truth["miR"].tolist() == [False, True, True, False]
    assert truth["miR"].dtype == bool


def test_a_truth_may_say_which_tiles_are_tumour(tmp_path):
    path = tmp_path / "tiles.tsv"
    path.write_text("slide_id\tcol\trow\tkind\ttumour\nS\t0\t0\tA\t1\nS\t1\t0\t0\t0\n")
    truth = read_truth_tiles(path, trait_a="a", trait_b="b")
    assert truth["is_tumour"].tolist() == [True, False]
    assert truth["is_tumour"].dtype == bool
    path.write_text("slide_id\tcol\trow\tkind\ttumour\nS\t0\t0\tA\t0.7\n")
    with pytest.raises(InputError, match=r"0 or 1 as tumour, found \['0.7'\]"):
        read_truth_tiles(path, trait_a="a", trait_b="b")
    path.write_text("slide_id\tcol\trow\tkind\ttumour\nS\t0\t0\tA\t0\n")
    with pytest.raises(InputError, match="kind 0 of tiles that are not tumour, found 1 of another"):
        read_truth_tiles(path, trait_a="a", trait_b="b")


def test_the_truth_of_a_slide_is_of_its_tumour():
    truth = truth_of_slides(truth_of({"S1": "ABX0nnnn", "S2": "nn"}), ["TA", "TB"], denominator="positive")
    assert truth.to_numpy().tolist() == [["S1", 0.5, 0.5, pytest.approx(1)]]


def test_an_unknown_kind_and_a_tile_given_twice_are_refused(tmp_path):
    (tmp_path / "tiles.csv").write_text("slide_id,col,row,kind\nS,0,0,C\n")
    with pytest.raises(InputError, match=r"found \['C'\]"):
        read_truth_tiles(tmp_path / "tiles.csv", trait_a="a", trait_b="b")
    (tmp_path / "tiles.csv").write_text("slide_id,col,row,kind\nS,0,0,A\nS,0,0,B\n")
    with pytest.raises(InputError, match="each tile once"):
        read_truth_tiles(tmp_path / "tiles.csv", trait_a="a", trait_b="b")


def test_the_truth_of_a_slide_is_that_of_its_tiles():
    truth = truth_of_slides(truth_of({"S1": "ABX0", "S2": "AA00"}), ["TA", "TB"])
    assert truth.to_numpy().tolist() == [["S1", 0.5, 0.5, pytest.approx(1)], ["S2", 0.5, 0.0, 0.0]]


def test_the_truth_of_the_colon_cohort_is_that_of_its_tables(shared_data):
    folder = shared_data / "colon" / "truth"
    tiles = read_truth_tiles(folder / "tiles.csv", trait_a="MOSA", trait_b="mosb")
    ours = truth_of_slides(tiles, ["MOSA", "mosb"]).set_index("slide_id")
    theirs = pd.read_csv(folder / "slides.csv").set_index("slide_id").loc[ours.index]
    assert len(ours) == 60
    np.testing.assert_allclose(ours, theirs[["frac_a", "frac_b", "hti"]], atol=1e-12)


# --- who was seen


def test_unseen_are_test_patients_and_those_with_no_slide_in_distribution():
    labels = pd.DataFrame(
        [
            ("t-in", "T", "in"),
            ("t-ood", "T", "ood"),
            ("d-in", "D", "in"),
            ("d-near", "D", "ood_near"),
            ("d-ood", "D", "ood"),
            ("d-none", "D", "unlabelled"),
            ("v-in", "V", "in"),
            ("o-near", "O", "ood_near"),
            ("o-none", "O", "unlabelled"),
        ],
        columns=["slide_id", "patient_id", "tier"],
    )
    splits = pd.DataFrame(
        {
            "patient_id": ["T", "D", "V", "O"],
            "set": ["test", "development", "development", "development"],
            "round_1": ["", "train", "validation", "train"],
        }
    )
    assert seen_patients(labels, splits) == {"D", "V"}
    assert unseen_slides(labels, splits) == ["t-in", "t-ood", "o-near", "o-none"]


def test_recovery_evaluation_and_survival_agree_on_who_was_seen():
    labels = pd.DataFrame(
        [("d-01", "D", 0.9, 1, "in"), ("d-06", "D", 0.4, NAN, "ood"), ("o-01", "O", 0.6, NAN, "ood")],
        columns=["slide_id", "patient_id", "percentile", "label", "tier"],
    )
    splits = pd.DataFrame({"patient_id": ["D", "O"], "set": "development", "round_1": "train"})
    eligible = eligible_slides({"A": labels}, splits, ["A"])
    assert unseen_slides(labels, splits) == ["o-01"]
    assert evaluation_sets(labels, splits)["ood_all"]["slide_id"].tolist() == ["o-01"]
    assert eligible.loc[eligible["eligible"], "slide_id"].tolist() == ["o-01"]


# --- recovery


def test_the_tiles_of_maps_are_those_with_a_probability(tmp_path):
    probabilities = np.full((2, 2, 3), np.nan, np.float32)
    probabilities[:, 1, 2], probabilities[:, 0, 1] = [0.25, 0.5], [0.75, 1.0]
    for name in ("S1", "S2"):
        states = np.where(np.isnan(probabilities), 0, 2)
        cartography = Cartography(name, "P", ("TA", "TB"), states, probabilities, 512, 0.5, 1024.0, 9, 9)
        write_map(tmp_path / f"{name}.h5", cartography)
    found = predicted_tiles([tmp_path / "S1.h5", tmp_path / "S2.h5"], ["TB", "TA"])
    assert list(found) == ["TB", "TA"]
    assert found["TA"].to_numpy().tolist() == [
        *[["S1", 1, 0, 0.75], ["S1", 2, 1, 0.25]],
        *[["S2", 1, 0, 0.75], ["S2", 2, 1, 0.25]],
    ]
    assert found["TB"]["probability"].tolist() == [1.0, 0.5, 1.0, 0.5]


def test_the_tile_auc_is_pooled_over_tiles_and_joined_by_place():
    truth = truth_of({"S1": "A0", "S2": "A000"})
    # Within each slide the order is perfect; pooled, S2's positive (0.4) loses to S1's negative (0.5): 7 of 8 pairs.
    found = predicted(truth, [0.9, 0.5, 0.4, 0.3, 0.2, 0.1])
    for order in (found, found[::-1]):
        assert tile_auc(truth, order, "TA", ["S1", "S2"]) == (0.875, 6)
    assert tile_auc(truth, found, "TA", ["S2"]) == (1, 4)


def test_a_trait_is_scored_against_its_own_truth():
    truth = truth_of({"S1": "AB"})
    found = predicted(truth, [0.9, 0.1])
    assert tile_auc(truth, found, "TA", ["S1"])[0] == 1
    assert tile_auc(truth, found, "TB", ["S1"])[0] == 0


def test_a_few_tiles_without_a_truth_are_left_out_and_many_are_refused(caplog):
    truth = truth_of({"S1": "AAAAA00000"})
    found = predicted(truth, np.linspace(1, 0, 10))
    assert tile_auc(truth[:-1], found, "TA", ["S1"]) == (1, 9)
    assert "1 of 10 tiles have no truth" in caplog.text
    with pytest.raises(InputError, match="is the tile lattice that of the truth"):
        tile_auc(truth[:-2], found, "TA", ["S1"])


def test_the_tile_auc_is_of_the_tumour_tiles_that_have_a_prediction_with_a_filter_and_without():
    truth = truth_of({"S1": "AA00nn"})
    found = predicted(truth, [0.9, 0.4, 0.5, 0.1, 0.95, 0.0])
    assert tile_auc(truth, found, "TA", ["S1"]) == (0.75, 4)
    assert tile_auc(truth, found[:4], "TA", ["S1"]) == (0.75, 4)
    # A tumour tile that the filter took for normal has no prediction.
    assert tile_auc(truth, found[2:], "TA", ["S1"])[1] == 2


def test_no_unseen_slide_means_no_auc():
    truth = truth_of({"S1": "A0"})
    value, n = tile_auc(truth, predicted(truth, [0.9, 0.1]), "TA", [])
    assert np.isnan(value)
    assert n == 0


def test_a_rank_correlation_over_some_slides():
    found, true = (
        pd.Series({"a": 1.0, "b": 2, "c": 3, "d": 0, "e": NAN}),
        pd.Series({"d": 9.0, "c": 30, "b": 10, "a": 20}),
    )
    # Over a, b, c: ranks 1 2 3 against 2 1 3: 1 − 6·2 / (3·8) = 0.5.
    assert spearman(found, true, ["a", "b", "c", "e", "z"]) == (pytest.approx(0.5), 3)
    assert np.isnan(spearman(found, true, ["a", "b"])[0])
    assert np.isnan(spearman(found * 0, true, ["a", "b", "c"])[0])


def test_the_table_of_recovery():
    # D1 was trained on for TA, D2 for TB, and both are scored badly on purpose; the others are right.
    truth = truth_of({"T1": "A000", "T2": "AAB0", "T3": "ABX0", "T4": "AAAX", "D1": "AB00", "D2": "XX00"})
    slides = ["T1", "T2", "T3", "T4", "D1", "D2"]
    splits = pd.DataFrame({"patient_id": slides, "set": ["test"] * 4 + ["development"] * 2})
    splits["round_1"] = [""] * 4 + ["train", "validation"]
    tiers = {"TA": ["in", "ood", "in", "in", "in", "ood"], "TB": ["in", "in", "in", "in", "ood_near", "in"]}
    labels = {
        trait: pd.DataFrame({"slide_id": slides, "patient_id": slides, "tier": tier}) for trait, tier in tiers.items()
    }
    seen = {"TA": "D1", "TB": "D2"}
    probability = {trait: np.where(truth["slide_id"] == seen[trait], 0.5, truth[trait] * 0.8 + 0.1) for trait in tiers}
    predictions = {trait: predicted(truth, probability[trait]) for trait in tiers}
    true = truth_of_slides(truth, ["TA", "TB"]).set_index("slide_id")
    score = pd.concat(
        [
            pd.DataFrame({"slide_id": slides, "trait": trait, "model": model, "score": values})
            for trait in tiers
            for model, values in (("ensemble", true[trait].loc[slides].to_numpy()), ("round_1", 0.5))
        ]
    )
    hti = true["hti"].reset_index().assign(traits="TB+TA")
    hti.loc[hti["slide_id"] == "D1", "hti"] = 0.0
    table = recovery_table(truth, predictions, score, hti, labels, splits).set_index(["trait", "measure"])
    assert list(table.columns) == ["value", "n"]
    for trait in tiers:
        assert table.loc[(trait, "tile_auc")].tolist() == [1, 20]
        assert table.loc[(trait, "share_spearman")].tolist() == [pytest.approx(1), 5]
        assert table.loc[(trait, "slide_auc")].tolist() == [1, 5]
    assert table.loc[("TA+TB", "hti_spearman"), "n"] == 6
    assert table.loc[("TA+TB", "hti_spearman"), "value"] < 1
    assert table.loc[("TA+TB", "hti_spearman_unseen")].tolist() == [pytest.approx(1), 4]
    with pytest.raises(InputError, match="expected the HTI of"):
        recovery_table(truth, predictions, score, hti.assign(traits="TA+TC"), labels, splits)


# --- found beside true


def test_recovered_slides_pair_found_with_true_and_know_the_unseen():
    truth = pd.DataFrame({"slide_id": list("abc"), "A": [0.0, 0.5, 1.0], "B": [0.2, 0.2, 0.3], "hti": [0.0, 0.5, 1.0]})
    scores = pd.DataFrame({"slide_id": list("abc") * 2, "trait": list("AAABBB"), "model": "ensemble"})
    scores["score"] = [0.1, 0.4, 0.9, 0.2, 0.2, NAN]
    hti = pd.DataFrame({"slide_id": ["a", "b"], "hti": [0.1, 0.6]})
    rows = recovered_slides(truth, scores, hti, {"A": ["a", "b"], "B": ["b", "c"]})
    of_a = rows[rows["quantity"] == "A"]
    assert of_a[["true", "predicted", "unseen"]].to_numpy().tolist() == [[0, 0.1, 1], [0.5, 0.4, 1], [1, 0.9, 0]]
    of_hti = rows[rows["quantity"] == "HTI"].set_index("slide_id")
    assert of_hti["unseen"].to_dict() == {"a": 0, "b": 1}


def test_scoring_draws_nothing():
    # Drawing code is no part of the fingerprint of a score.
    modules = provenance._reachable(provenance.REPOSITORY / "workflow_scripts" / "score_recovery.py")
    assert not [module for module in modules if "figures" in module.parts]


# --- the control of survival


def cohort(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "group": ["low", "high", ""] * (n // 3),
            "time": rng.exponential(30, n),
            "event": (rng.random(n) < 0.7).astype(int),
        }
    )


def test_survival_that_has_nothing_to_do_with_the_hti_has_uniform_p_values():
    found = survival_uniformity(cohort(120), draws=200, seed=1)
    assert found.p_values.shape == (200,)
    assert found.ks_p == kstest(found.p_values, "uniform").pvalue
    assert found.ks_p > 0.01
    assert ((found.p_values >= 0) & (found.p_values <= 1)).all()


def test_the_control_is_the_same_for_the_same_seed_and_ignores_who_is_in_no_group():
    patients = cohort()
    first = survival_uniformity(patients, draws=5, seed=1)
    again = survival_uniformity(patients[patients["group"] != ""], draws=5, seed=1)
    np.testing.assert_array_equal(first.p_values, again.p_values)
    assert (survival_uniformity(patients, draws=5, seed=2).p_values != first.p_values).any()


def test_the_control_needs_two_groups_and_deaths():
    for patients in (cohort().assign(event=0), cohort().assign(group="low"), cohort()[:0]):
        with pytest.raises(InputError, match="two groups with deaths"):
            survival_uniformity(patients, draws=2, seed=0)
