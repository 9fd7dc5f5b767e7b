"""Who is in survival, which group they are in, and what the tests say."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2, kruskal, mannwhitneyu
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.duration.survfunc import SurvfuncRight, survdiff
from statsmodels.stats.multitest import multipletests

from workflow_scripts.lib import survival
from workflow_scripts.lib.clinical import read_clinical
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import read_table
from workflow_scripts.lib.survival import (
    assemble_patients,
    censor,
    compare_expression_split,
    cox,
    eligible_slides,
    group,
    hti_by_category,
    hti_by_expression,
    kaplan_meier,
    logrank,
    read_patients,
)

NAN = float("nan")
HALF = {"low": 0.5, "high": 0.5}


def patients_of(hti: list[float], time: list[float], event: list[int], low: float = 0.5, high: float = 0.5):
    names = [f"P{number:03d}" for number in range(len(hti))]
    frame = pd.DataFrame({"patient_id": names, "slide_id": [f"{n}-DX1" for n in names], "hti": hti, "time": time})
    return frame.assign(event=event, group=group(frame["hti"], low=low, high=high))


def drawn(n: int, *, seed: int, effect: float = 0.0, months: float = 60) -> pd.DataFrame:
    """Patients whose log hazard rises by `effect` from HTI 0 to 1; whole months, so that times tie."""
    rng = np.random.default_rng(seed)
    hti = rng.random(n)
    death, lost = rng.exponential(40 * np.exp(-effect * hti)), rng.uniform(0, months, n)
    return patients_of(hti, np.ceil(np.minimum(death, lost)), (death <= lost).astype(int))


# --- eligibility


def labels_of(tiers: dict[str, str]) -> pd.DataFrame:
    """Tiers by slide; the patient is the slide's name before the dash."""
    slides = list(tiers)
    return pd.DataFrame(
        {"slide_id": slides, "patient_id": [slide.split("-")[0] for slide in slides], "tier": list(tiers.values())}
    ).assign(value=1.0)


def splits_of(test: list[str], development: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {"patient_id": test + development, "set": ["test"] * len(test) + ["development"] * len(development)}
    )


@pytest.mark.parametrize(
    ("patient", "tier_a", "tier_b", "reason"),
    [
        ("test", "in", "in", ""),
        ("test", "in", "ood", ""),
        ("test", "unlabelled", "in", "no expression of a trait"),
        ("dev", "ood", "ood", ""),
        ("dev", "ood", "ood_near", ""),
        ("dev", "in", "ood", "in distribution for a trait, not a test patient"),
        ("dev", "ood", "in", "in distribution for a trait, not a test patient"),
        ("dev", "ood", "unlabelled", "no expression of a trait"),
        ("dev", "unlabelled", "unlabelled", "no expression of a trait"),
    ],
)
def test_who_is_eligible(patient: str, tier_a: str, tier_b: str, reason: str):
    labels = {"A": labels_of({f"{patient}-1": tier_a}), "B": labels_of({f"{patient}-1": tier_b})}
    row = eligible_slides(labels, splits_of(["test"], ["dev"]), ["A", "B"]).iloc[0]
    assert (row["eligible"], row["reason"]) == (reason == "", reason)
    assert row["patient_id"] == patient


def test_only_the_traits_of_the_set_matter():
    labels = {"A": labels_of({"dev-1": "ood"}), "B": labels_of({"dev-1": "ood"}), "C": labels_of({"dev-1": "in"})}
    splits = splits_of([], ["dev"])
    assert eligible_slides(labels, splits, ["A", "B"])["eligible"].tolist() == [True]
    assert eligible_slides(labels, splits, ["A", "C"])["eligible"].tolist() == [False]


def test_a_patient_whom_a_model_has_seen_on_another_slide_is_not_eligible():
    labels = {
        "A": labels_of({"dev-1": "ood", "dev-2": "in", "test-1": "ood", "test-2": "in"}),
        "B": labels_of({"dev-1": "ood", "dev-2": "ood", "test-1": "ood", "test-2": "ood"}),
    }
    table = eligible_slides(labels, splits_of(["test"], ["dev"]), ["A", "B"]).set_index("slide_id")
    assert table["eligible"].to_dict() == {"dev-1": False, "dev-2": False, "test-1": True, "test-2": True}
    assert table.loc["dev-1", "reason"].startswith("another slide of the patient in distribution")


def test_a_slide_that_a_trait_does_not_know_is_unlabelled():
    labels = {"A": labels_of({"dev-1": "ood"}), "B": labels_of({"dev-2": "ood"})}
    assert not eligible_slides(labels, splits_of([], ["dev"]), ["A", "B"])["eligible"].any()


# --- groups


def test_a_tie_at_the_threshold_is_low():
    assert group(pd.Series([0.0, 0.5, 0.5000001, 1.0]), **HALF).tolist() == ["low", "low", "high", "high"]


def test_between_the_thresholds_is_neither():
    hti = pd.Series([0.0, 0.3, 0.31, 0.7, 0.71])
    assert group(hti, low=0.3, high=0.7).tolist() == ["low", "low", "", "", "high"]


def test_thresholds_out_of_order_and_a_missing_hti_are_refused():
    with pytest.raises(InputError, match=r"0\.7 and 0\.3"):
        group(pd.Series([0.1]), low=0.7, high=0.3)
    with pytest.raises(InputError, match="found 1 missing"):
        group(pd.Series([0.1, NAN]), **HALF)


# --- patients


def sheet(*rows: tuple[str, str, object, str]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["slide_id", "patient_id", "diagnostic_index", "status"])
    return table.assign(sample_type="01")


def everyone(slides: pd.DataFrame, **reasons: str) -> pd.DataFrame:
    reason = slides["slide_id"].map(reasons).fillna("")
    return slides[["slide_id", "patient_id"]].assign(eligible=reason == "", reason=reason)


def test_a_patient_is_there_once_by_the_dx1_slide_that_has_tiles():
    slides = sheet(
        ("a2", "A", 2, "accepted"),
        ("a1", "A", 1, "accepted"),
        ("b1", "B", 1, "accepted"),
        ("b2", "B", 2, "accepted"),
        ("c1", "C", 1, "excluded"),
        ("c2", "C", 2, "accepted"),
    )
    hti = pd.DataFrame({"slide_id": ["a1", "a2", "b1", "b2", "c1", "c2"], "hti": [0.6, 0.1, NAN, 0.2, 0.9, 0.0]})
    clinical = pd.DataFrame({"patient_id": ["C", "B", "A"], "time": [3.0, 2.0, 1.0], "event": [1, 0, 1]})
    found = assemble_patients(hti, slides, everyone(slides), clinical, **HALF)
    assert list(found.patients.columns) == ["patient_id", "slide_id", "hti", "time", "event", "group"]
    assert found.patients.to_numpy().tolist() == [
        ["A", "a1", 0.6, 1.0, 1, "high"],
        ["B", "b2", 0.2, 2.0, 0, "low"],
        ["C", "c2", 0.0, 3.0, 1, "low"],
    ]
    assert len(found.exclusions) == 0


def test_every_patient_left_out_is_counted_once():
    names = ["blank", "unlabelled", "seen", "lost", "early", "fine", "half"]
    slides = sheet(*[(name, name, 1, "accepted") for name in names], ("gone", "gone", 1, "excluded"))
    hti = pd.DataFrame({"slide_id": names, "hti": [NAN, *[0.4] * 6]})
    eligible = everyone(slides, seen="seen it", unlabelled="no expression of a trait")
    clinical = pd.DataFrame(
        {
            "patient_id": ["fine", "early", "seen", "half", "stranger"],
            "time": [0.0, -0.23, 5.0, 4.0, 9.0],
            "event": pd.array([1, 0, 1, None, 1], dtype="Int64"),
        }
    )
    found = assemble_patients(hti, slides, eligible, clinical, **HALF)
    assert found.patients["patient_id"].tolist() == ["fine"]
    assert found.patients["event"].dtype == np.int64
    assert found.exclusions.set_index("reason")["n"].to_dict() == {
        "negative follow-up": 1,
        "no expression of a trait": 1,
        "no slide with tiles": 1,
        "no survival data": 2,
        "seen it": 1,
    }
    assert found.exclusions["n"].sum() + len(found.patients) == len(names)


def test_zero_hti_is_kept():
    slides = sheet(("a", "A", 1, "accepted"))
    clinical = pd.DataFrame({"patient_id": ["A"], "time": [1.0], "event": [1]})
    hti = pd.DataFrame({"slide_id": ["a"], "hti": [0.0]})
    assert assemble_patients(hti, slides, everyone(slides), clinical, **HALF).patients["group"].tolist() == ["low"]


def test_two_clinical_rows_of_a_patient_and_strange_events_are_refused():
    slides = sheet(("a", "A", 1, "accepted"))
    hti = pd.DataFrame({"slide_id": ["a"], "hti": [0.0]})
    twice = pd.DataFrame({"patient_id": ["A", "A"], "time": [1.0, 2.0], "event": [1, 1]})
    with pytest.raises(InputError, match="one clinical row per patient"):
        assemble_patients(hti, slides, everyone(slides), twice, **HALF)
    with pytest.raises(InputError, match="events of 0 or 1"):
        assemble_patients(hti, slides, everyone(slides), twice[:1].assign(event=2), **HALF)


def test_censoring_ends_follow_up_and_keeps_a_death_at_the_end():
    patients = patients_of([0.1, 0.2, 0.3, 0.4], [119, 120, 121, 130], [1, 1, 1, 0])
    censored = censor(patients, at_months=120)
    assert censored["time"].tolist() == [119, 120, 120, 120]
    assert censored["event"].tolist() == [1, 1, 0, 0]
    assert censor(patients, at_months=None) is patients
    assert patients["time"].tolist() == [119, 120, 121, 130]


# --- log-rank


def test_a_log_rank_test_worked_out_by_hand():
    # Low dies at 4 and 5, high at 1 and 2; expected deaths of high: 2/4 + 1/3 = 5/6, then none at risk.
    # Variance: 1/4 + 2/9 = 17/36. Statistic: (2 − 5/6)² / (17/36) = (49/36) / (17/36) = 49/17.
    patients = patients_of([0.1, 0.2, 0.8, 0.9], [4, 5, 1, 2], [1, 1, 1, 1])
    row = logrank(patients, [HALF]).iloc[0]
    assert row["statistic"] == pytest.approx(49 / 17)
    assert row["p"] == pytest.approx(chi2.sf(49 / 17, 1))
    assert row["direction"] == "high worse"
    assert (row["n_low"], row["n_high"], row["events_low"], row["events_high"]) == (2, 2, 2, 2)
    assert (row["group_low"], row["group_high"], row["note"]) == (0.5, 0.5, "")


@pytest.mark.parametrize("seed", range(5))
def test_the_log_rank_test_is_that_of_statsmodels(seed: int):
    patients = drawn(80, seed=seed, effect=1.0)
    for pair in (HALF, {"low": 0.3, "high": 0.7}):
        row = logrank(patients, [pair]).iloc[0]
        labels = group(patients["hti"], **pair)
        kept = patients[labels != ""]
        statistic, p = survdiff(kept["time"], kept["event"], labels[labels != ""])
        assert row["statistic"] == pytest.approx(statistic)
        assert row["p"] == pytest.approx(p)


def test_the_direction_follows_the_group_that_dies_sooner():
    worse, better = drawn(300, seed=1, effect=2.5), drawn(300, seed=1, effect=-2.5)
    assert logrank(worse, [HALF]).iloc[0]["direction"] == "high worse"
    assert logrank(better, [HALF]).iloc[0]["direction"] == "low worse"
    mirrored = worse.assign(hti=1 - worse["hti"])
    assert logrank(mirrored, [HALF]).iloc[0]["direction"] == "low worse"


def test_groups_that_die_alike_have_no_direction():
    patients = patients_of([0.1, 0.2, 0.8, 0.9], [1, 2, 1, 2], [1, 1, 1, 1])
    row = logrank(patients, [HALF]).iloc[0]
    assert row["direction"] == "none"
    assert row["p"] == pytest.approx(1)


def test_the_excess_of_deaths_squared_over_its_variance_is_the_statistic():
    patients = drawn(60, seed=3, effect=1)
    low, high = (patients[patients["group"] == name] for name in ("low", "high"))
    excess, variance = survival._excess_deaths(low, high)
    assert excess**2 / variance == pytest.approx(logrank(patients, [HALF]).iloc[0]["statistic"])


def test_a_tie_at_a_threshold_counts_as_low_in_the_test():
    patients = patients_of([0.5, 0.5, 0.9], [1, 2, 3], [1, 1, 1])
    row = logrank(patients, [HALF]).iloc[0]
    assert (row["n_low"], row["n_high"]) == (2, 1)


@pytest.mark.parametrize(
    ("hti", "time", "event", "note"),
    [
        ([0.1, 0.2], [1, 2], [1, 1], "no patient in the high group"),
        ([0.8, 0.9], [1, 2], [1, 1], "no patient in the low group"),
        ([], [], [], "no patient in the low group"),
        ([0.1, 0.9], [1, 2], [0, 0], "no death in either group"),
        ([0.1, 0.9], [1, 2], [0, 1], "no death while patients of both groups were under observation"),
    ],
)
def test_what_cannot_be_tested_is_a_row_without_a_p(hti: list[float], time: list[float], event: list[int], note: str):
    table = logrank(patients_of(pd.Series(hti, dtype=float), time, event), [HALF, {"low": 0.3, "high": 0.7}])
    assert table["note"].tolist() == [note, note]
    assert table[["statistic", "p", "p_adjusted"]].isna().all(axis=None)
    assert table["direction"].tolist() == ["none", "none"]


def test_the_p_values_of_several_thresholds_are_adjusted_together():
    table = logrank(drawn(120, seed=5, effect=1), [HALF, {"low": 0.3, "high": 0.7}, {"low": -1, "high": 2}])
    assert list(table.columns) == [
        *["group_low", "group_high", "n_low", "n_high", "events_low", "events_high"],
        *["statistic", "p", "p_adjusted", "direction", "note"],
    ]
    assert table["p"].isna().tolist() == [False, False, True]
    np.testing.assert_allclose(table["p_adjusted"][:2], multipletests(table["p"][:2], method="holm")[1])


# --- Kaplan-Meier


def test_a_kaplan_meier_curve_worked_out_by_hand():
    patients = patients_of([0.1] * 5, [1, 2, 2, 3, 4], [1, 1, 0, 1, 0])
    curve = kaplan_meier(patients)
    assert list(curve.columns) == ["group", "time", "survival", "low", "high", "at_risk", "events"]
    assert curve["group"].unique().tolist() == ["low"]
    assert curve["time"].tolist() == [0, 1, 2, 3, 4]
    assert curve["survival"].tolist() == pytest.approx([1, 0.8, 0.6, 0.3, 0.3])
    assert curve["at_risk"].tolist() == [5, 5, 4, 2, 1]
    assert curve["events"].tolist() == [0, 1, 1, 1, 0]


def test_the_bands_are_greenwoods_on_the_log_log_scale():
    patients = drawn(50, seed=6)
    curve = kaplan_meier(patients)
    for name in ("low", "high"):
        ours, members = curve[curve["group"] == name].set_index("time"), patients[patients["group"] == name]
        theirs = SurvfuncRight(members["time"], members["event"])
        ours = ours.loc[theirs.surv_times]
        np.testing.assert_allclose(ours["survival"], theirs.surv_prob, atol=1e-12)
        inner = (theirs.surv_prob > 0) & (theirs.surv_prob < 1)
        value, error = theirs.surv_prob[inner], theirs.surv_prob_se[inner]
        width = 1.959964 * error / abs(value * np.log(value))
        np.testing.assert_allclose(ours["low"][inner], value ** np.exp(width), rtol=1e-5)
        np.testing.assert_allclose(ours["high"][inner], value ** np.exp(-width), rtol=1e-5)
        assert ours["at_risk"].tolist() == theirs.n_risk.tolist()


def test_patients_between_the_groups_are_in_no_curve():
    patients = patients_of([0.1, 0.5, 0.9], [1, 2, 3], [1, 1, 1], low=0.3, high=0.7)
    assert set(kaplan_meier(patients)["time"]) == {0, 1, 3}


def test_no_patients_make_an_empty_curve():
    patients = patients_of([0.5], [1], [1], low=0.3, high=0.7)
    curve = kaplan_meier(patients)
    assert len(curve) == 0
    assert "survival" in curve


# --- Cox


def clinical_of(patients: pd.DataFrame, **columns: object) -> pd.DataFrame:
    """A clinical table as `clinical.read_clinical` gives it, in another order than the patients."""
    text = {
        name: pd.Series(values).map(lambda value: "" if pd.isna(value) else str(value))
        for name, values in columns.items()
    }
    table = pd.DataFrame({"patient_id": patients["patient_id"], **text})
    return table.iloc[::-1].reset_index(drop=True)


@pytest.mark.parametrize("seed", range(3))
def test_the_cox_model_is_that_of_statsmodels_with_efrons_ties(seed: int):
    patients = drawn(100, seed=seed, effect=1.5)
    age = np.random.default_rng(seed + 100).normal(60, 10, 100).round()
    table = cox(patients, clinical_of(patients, age=age), ["age"])
    assert patients["time"].duplicated().any()
    for model, columns in (("hti", ["hti"]), ("hti + covariates", ["hti", "age"])):
        exog = patients[["hti"]].assign(age=age)[columns]
        theirs = PHReg(patients["time"], exog, status=patients["event"], ties="efron").fit()
        ours = table[table["model"] == model]
        assert ours["covariate"].tolist() == columns
        np.testing.assert_allclose(ours["coef"], theirs.params, rtol=1e-4)
        np.testing.assert_allclose(ours["hazard_ratio"], np.exp(theirs.params), rtol=1e-4)
        np.testing.assert_allclose(ours[["low", "high"]], np.exp(theirs.conf_int()), rtol=1e-3)
        np.testing.assert_allclose(ours["p"], theirs.pvalues, rtol=1e-3)
        assert (ours["n"] == 100).all()
        assert (ours["events"] == patients["event"].sum()).all()


def concordance_by_pairs(time: np.ndarray, event: np.ndarray, risk: np.ndarray) -> float:
    """Of the pairs in which it is known who died first, the share in which the higher risk did."""
    won = known = 0.0
    for one, other in combinations(range(len(time)), 2):
        first, second = (one, other) if (time[one], -event[one]) < (time[other], -event[other]) else (other, one)
        if not event[first] or (time[first] == time[second] and event[second]):
            continue
        known += 1
        won += (risk[first] > risk[second]) + (risk[first] == risk[second]) / 2
    return won / known


def test_the_c_index_is_above_a_half_where_a_higher_risk_dies_first():
    rng = np.random.default_rng(7)
    hti = np.linspace(0, 1, 40)
    time = 50 * np.exp(-2 * hti) + rng.normal(0, 3, 40)
    patients = patients_of(hti, time, (rng.random(40) < 0.8).astype(int))
    row = cox(patients, clinical_of(patients), []).iloc[0]
    assert row["hazard_ratio"] > 1
    assert row["c_index"] > 0.9
    # A protective HTI has a hazard ratio below one, and a model that knows it orders patients as well.
    row = cox(patients.assign(hti=1 - patients["hti"]), clinical_of(patients), []).iloc[0]
    assert row["hazard_ratio"] < 1
    assert row["c_index"] > 0.9


def test_the_c_index_is_the_share_of_ordered_pairs():
    rng = np.random.default_rng(8)
    hti, time = rng.random(40), rng.permutation(40) + 1.0
    patients = patients_of(hti, time, rng.integers(0, 2, 40))
    row = cox(patients, clinical_of(patients), []).iloc[0]
    expected = concordance_by_pairs(time, patients["event"].to_numpy(), row["coef"] * hti)
    assert row["c_index"] == pytest.approx(expected)


def test_the_check_of_proportional_hazards_is_grambschs_and_therneaus():
    rng = np.random.default_rng(9)
    hti = rng.random(60)
    patients = patients_of(hti, rng.exponential(30, 60), (rng.random(60) < 0.7).astype(int))
    row = cox(patients, clinical_of(patients), []).iloc[0]
    # Schoenfeld residuals by their definition: the HTI of who dies less the risk-weighted mean of those at risk.
    ordered = patients.sort_values("time").reset_index(drop=True)
    residuals = []
    for place in np.flatnonzero(ordered["event"]):
        at_risk = ordered["hti"][place:]
        weight = np.exp(row["coef"] * at_risk)
        residuals.append(ordered["hti"][place] - (weight * at_risk).sum() / weight.sum())
    residuals, rank = np.array(residuals), np.arange(1, len(residuals) + 1)
    error = np.log(row["high"] / row["low"]) / (2 * 1.959964)
    centred = rank - rank.mean()
    statistic = (centred @ residuals) ** 2 * error**2 * len(residuals) / (centred @ centred)
    assert row["ph_p"] == pytest.approx(chi2.sf(statistic, 1), rel=1e-3)


def test_hazards_that_cross_are_found():
    rng = np.random.default_rng(10)
    hti = np.r_[rng.uniform(0, 0.4, 150), rng.uniform(0.6, 1, 150)]
    time = np.r_[rng.weibull(5, 150) * 20, rng.weibull(0.7, 150) * 20]
    patients = patients_of(hti, time, [1] * 300)
    assert cox(patients, clinical_of(patients), []).iloc[0]["ph_p"] < 1e-4
    assert cox(drawn(300, seed=11, effect=1), clinical_of(drawn(300, seed=11)), []).iloc[0]["ph_p"] > 0.01


def test_the_cox_table_has_the_columns_of_the_contract():
    patients = drawn(60, seed=12)
    table = cox(patients, clinical_of(patients), [])
    assert list(table.columns) == [
        *["model", "covariate", "n", "events", "coef", "hazard_ratio", "low", "high", "p", "ph_p", "c_index", "note"]
    ]
    assert table["model"].tolist() == ["hti"]


def test_a_category_is_compared_with_its_most_frequent_level():
    patients = drawn(100, seed=13, effect=1)
    stage = np.array(["I"] * 30 + ["II"] * 50 + ["III"] * 20)
    ours = cox(patients, clinical_of(patients, stage=stage), ["stage"])
    ours = ours[ours["model"] == "hti + covariates"]
    assert ours["covariate"].tolist() == ["hti", "stage: I against II", "stage: III against II"]
    exog = np.column_stack([patients["hti"], stage == "I", stage == "III"]).astype(float)
    theirs = PHReg(patients["time"], exog, status=patients["event"], ties="efron").fit()
    np.testing.assert_allclose(ours["coef"], theirs.params, rtol=1e-4)


def test_missing_values_rare_levels_and_constant_columns_are_left_out_and_said():
    patients = drawn(100, seed=14)
    # II has 47 patients, of whom the first two have no age; X has too few.
    stage = ["X"] * 3 + ["I"] * 50 + ["II"] * 47
    age = [NAN, "[Not Available]", *range(40, 138)]
    clinical = clinical_of(patients, stage=stage, age=age, sex=["F"] * 100, site=[f"s{n}" for n in range(100)])
    rows = cox(patients, clinical, ["stage", "age", "sex", "site"])
    rows = rows[rows["model"] == "hti + covariates"]
    assert rows["covariate"].tolist() == ["hti", "stage: II against I", "age"]
    assert (rows["n"] == 97).all()
    note = rows["note"].iloc[0]
    assert "stage: levels with too few patients or no death left out: X" in note
    assert "; 3 patients left out" in note
    assert "sex left out: it has fewer than two values to compare" in note
    assert "site left out: it has fewer than two values to compare" in note


def test_a_level_that_becomes_small_when_others_are_left_out_is_left_out_too():
    patients = drawn(100, seed=14)
    stage = ["I"] * 50 + ["II"] * 44 + ["III"] * 6
    age = [*range(40, 138), NAN, NAN]
    rows = cox(patients, clinical_of(patients, stage=stage, age=age), ["stage", "age"]).iloc[1:]
    assert rows["covariate"].tolist() == ["hti", "stage: II against I", "age"]
    assert (rows["n"] == 94).all()


def test_leaving_out_a_level_without_a_death_changes_nothing_else():
    patients = drawn(120, seed=25, effect=1)
    stage = np.array(["I", "II", "III"] * 40)
    patients.loc[stage == "III", "event"] = 0
    rows = cox(patients, clinical_of(patients, stage=stage), ["stage"]).iloc[1:]
    assert rows["covariate"].tolist() == ["hti", "stage: II against I"]
    # The limit: the same patients with the level's coefficient held far below the others.
    exog = np.column_stack([patients["hti"], stage == "II"]).astype(float)
    held = np.where(stage == "III", -40.0, 0.0)
    limit = PHReg(patients["time"], exog, status=patients["event"], ties="efron", offset=held).fit()
    np.testing.assert_allclose(rows["coef"], limit.params, rtol=1e-4)


def test_covariates_are_those_of_the_patient_whatever_the_order_of_the_rows():
    patients = drawn(80, seed=15)
    clinical = clinical_of(patients, age=np.arange(80))
    table = cox(patients, clinical, ["age"])
    shuffled = cox(patients, clinical.sample(frac=1, random_state=0), ["age"])
    pd.testing.assert_frame_equal(table, shuffled)


def test_a_covariate_that_is_not_there_is_refused():
    patients = drawn(30, seed=16)
    with pytest.raises(InputError, match="no clinical column 'Age'"):
        cox(patients, clinical_of(patients), ["Age"])


def test_a_model_that_cannot_be_fitted_is_a_row_with_its_reason():
    patients = drawn(60, seed=17)
    nobody = cox(patients.assign(event=0), clinical_of(patients), []).iloc[0]
    assert nobody["note"] == "not fitted: 0 deaths for 1 covariates"
    constant = cox(patients.assign(hti=0.3), clinical_of(patients), []).iloc[0]
    assert constant["note"] == "not fitted: the HTI does not vary"
    for row in (nobody, constant):
        assert row[["coef", "hazard_ratio", "low", "high", "p", "ph_p", "c_index"]].isna().all()
        assert (row["covariate"], row["n"]) == ("hti", 60)


def test_a_covariate_that_separates_the_dead_has_no_hazard_ratio():
    patients = drawn(60, seed=18)
    row = cox(patients, clinical_of(patients, died=patients["event"]), ["died"]).iloc[1]
    assert row["note"].startswith("not fitted: ")
    assert np.isnan(row["coef"])
    status = patients["event"].map({1: "with tumour", 0: "free"})
    row = cox(patients, clinical_of(patients, status=status), ["status"]).iloc[1]
    assert row["note"] == "status left out: it has fewer than two values to compare"
    assert row["covariate"] == "hti"


def test_two_covariates_that_say_the_same_are_not_fitted():
    patients = drawn(60, seed=19)
    age = np.random.default_rng(0).normal(60, 10, 60).round(3)
    row = cox(patients, clinical_of(patients, age=age, months=age * 12), ["age", "months"]).iloc[1]
    assert row["note"].startswith("not fitted: ")


def test_the_papers_clinical_files_can_be_modelled(shared_data):
    clinical = read_clinical(shared_data / "tcga" / "BRCA_joined_PathoMCH_patients.csv")
    known = clinical[clinical["time"].notna()].reset_index(drop=True)
    patients = patients_of(np.random.default_rng(0).random(len(known)), known["time"], known["event"].astype(int))
    patients["patient_id"] = known["patient_id"]
    # Stage IA has 44 patients and no death.
    covariates = ["age_at_initial_pathologic_diagnosis", "ajcc_pathologic_tumor_stage", "class-ERstatus"]
    rows = cox(patients, clinical, covariates).iloc[1:]
    assert rows["coef"].notna().all()
    assert "Stage IA," in rows["note"].iloc[0]
    age = rows[rows["covariate"] == covariates[0]].iloc[0]
    assert age["hazard_ratio"] > 1
    assert age["p"] < 0.01


# --- Figs. 5 and 6


def bulk(patients: pd.DataFrame, values: object) -> dict[str, pd.DataFrame]:
    return {"A": pd.DataFrame({"slide_id": patients["slide_id"], "value": values})[::-1]}


def test_the_same_patients_are_split_by_hti_and_by_expression():
    patients = patients_of([0.1, 0.2, 0.8, 0.9, 0.5, 0.9], [1, 2, 3, 4, 5, 6], [1] * 6, low=0.3, high=0.7)
    tests, values = compare_expression_split(patients, bulk(patients, [5, 1, 3, 3, 9, NAN]))
    assert tests[["trait", "split"]].to_numpy().tolist() == [["A", "hti"], ["A", "expression"]]
    # The patient between the groups and the one without expression are in neither; the median of 5, 1, 3, 3 is 3.
    by_hti, by_expression = (
        values[values["split"] == split].set_index("patient_id") for split in ("hti", "expression")
    )
    assert by_hti.index.tolist() == by_expression.index.tolist() == ["P000", "P001", "P002", "P003"]
    assert by_hti["group"].tolist() == ["low", "low", "high", "high"]
    assert by_expression["group"].tolist() == ["high", "low", "low", "low"]
    assert tests[["n_low", "n_high"]].to_numpy().tolist() == [[2, 2], [3, 1]]


def test_the_tests_of_fig_5a_are_log_rank_tests():
    patients = drawn(80, seed=20, effect=1)
    expression = np.random.default_rng(0).normal(size=80)
    tests, _ = compare_expression_split(patients, bulk(patients, expression))
    assert tests.loc[0, "p"] == pytest.approx(logrank(patients, [HALF]).loc[0, "p"])
    _, p = survdiff(patients["time"], patients["event"], expression > np.median(expression))
    assert tests.loc[1, "p"] == pytest.approx(p)
    np.testing.assert_allclose(tests["p_adjusted"], multipletests(tests["p"], method="holm")[1])


def test_fig_5b_compares_the_hti_above_and_at_most_the_median():
    patients = patients_of([0.1, 0.2, 0.3, 0.4, 0.5, 0.9], range(6), [1] * 6)
    tests, values = hti_by_expression(patients, bulk(patients, [1, 2, 3, 4, 3, NAN]))
    row = tests.iloc[0]
    assert values["label"].tolist() == ["below", "below", "below", "above", "below"]
    assert (row["n_below"], row["n_above"], row["missing"]) == (4, 1, 1)
    assert (row["median_below"], row["median_above"]) == (0.25, 0.4)
    # 0.4 above 0.1, 0.2 and 0.3, below 0.5: U = 3 of 4; of the five places it may have, 4 are at least this extreme.
    assert row["statistic"] == 3
    assert row["p"] == pytest.approx(0.8)


def test_categories_are_tested_by_kruskal_and_wallis():
    patients = drawn(60, seed=21)
    subtype = ["LumA"] * 20 + ["LumB"] * 20 + ["Basal"] * 15 + ["Normal"] * 2 + [""] * 3
    tests, values = hti_by_category(patients, clinical_of(patients, PAM50=subtype), ["PAM50"])
    row, hti = tests.iloc[0], patients["hti"]
    expected = kruskal(hti[40:55], hti[:20], hti[20:40])
    assert (row["test"], row["n"], row["categories"], row["missing"]) == ("Kruskal-Wallis", 55, 3, 3)
    assert (row["statistic"], row["p"]) == pytest.approx((expected.statistic, expected.pvalue))
    assert row["note"] == "not tested, fewer than 3 patients: Normal"
    assert row["sizes"] == "Basal 15, LumA 20, LumB 20, Normal 2"
    assert list(values.columns) == ["column", "category", "patient_id", "hti"]
    assert len(values) == 57
    of_luma = values[values["category"] == "LumA"].set_index("patient_id")["hti"]
    pd.testing.assert_series_equal(of_luma, patients[:20].set_index("patient_id")["hti"])


def test_two_categories_are_tested_by_mann_and_whitney():
    patients = drawn(40, seed=22)
    status = np.array(["Negative"] * 15 + ["Positive"] * 25)
    row = hti_by_category(patients, clinical_of(patients, ER=status), ["ER"]).tests.iloc[0]
    expected = mannwhitneyu(patients["hti"][status == "Positive"], patients["hti"][status == "Negative"])
    assert (row["test"], row["statistic"]) == ("Mann-Whitney", expected.statistic)
    assert row["p"] == pytest.approx(expected.pvalue)


def test_numbers_can_be_categories():
    patients = drawn(12, seed=23)
    grade = [1, 2, 3] * 4
    values = hti_by_category(patients, clinical_of(patients, grade=grade), ["grade"]).values
    assert values["category"].tolist() == ["1"] * 4 + ["2"] * 4 + ["3"] * 4


# --- the whole stage


def stage(folder, **changes: object) -> dict[str, pd.DataFrame]:
    """Run the stage on 40 patients, half of them test patients; even ones carry expression, ages and a sex."""
    names = [f"P{number:02d}" for number in range(40)]
    rng = np.random.default_rng(26)
    slides = pd.DataFrame({"slide_id": names, "patient_id": names, "sample_type": "01", "status": "accepted"})
    slides["diagnostic_index"] = 1
    hti = slides[["slide_id", "patient_id"]].assign(traits="A+B", hti=rng.random(40))
    labels = slides[["slide_id", "patient_id"]].assign(value=rng.normal(size=40), tier="ood")
    clinical = pd.DataFrame({"patient_id": names, "time": rng.exponential(60, 40).round(1)})
    clinical["event"] = pd.array([1, 0] * 20, dtype="Int64")
    clinical = clinical.assign(AGE=[str(age) for age in range(40, 80)], SEX=["F", "M", "F", ""] * 10)
    given = {"hti": hti, "slides": slides, "labels": {"A": labels, "B": labels, "C": labels}, "clinical": clinical}
    given |= {"splits": splits_of(names[:20], names[20:]), "groups": [HALF, {"low": 0.3, "high": 0.7}]}
    given |= {"censor_at_months": None, "covariates": ["AGE"], "categories": ["SEX"]}
    survival.analyse(**(given | changes), folder=folder)
    return {path.stem: read_table(path) for path in folder.iterdir()}


def test_the_stage_writes_every_table(tmp_path):
    tables = stage(tmp_path)
    assert set(tables) == {
        *["patients", "exclusions", "logrank", "curves", "cox", "by_expression", "by_expression_tests"],
        *["hti_by_expression", "hti_by_expression_tests", "hti_by_category", "hti_by_category_tests"],
    }
    assert len(tables["patients"]) == 40
    assert tables["by_expression_tests"]["trait"].tolist() == ["A", "A", "B", "B"]
    assert tables["cox"]["model"].tolist() == ["hti", "hti + covariates", "hti + covariates"]
    assert set(tables["curves"]["group_high"]) == {0.5, 0.7}
    read = read_patients(tmp_path / "patients.tsv")
    pd.testing.assert_frame_equal(logrank(read, [HALF, {"low": 0.3, "high": 0.7}])[["p"]], tables["logrank"][["p"]])


def test_the_stage_censors_all_that_it_writes(tmp_path):
    tables = stage(tmp_path, censor_at_months=24)
    assert tables["patients"]["time"].max() == 24
    assert tables["curves"]["time"].max() == 24
    assert tables["by_expression"]["time"].max() == 24
    assert tables["logrank"].loc[0, ["events_low", "events_high"]].sum() == tables["patients"]["event"].sum()


def test_the_stage_says_so_when_nobody_is_eligible(tmp_path):
    names = [f"P{number:02d}" for number in range(40)]
    nobody = pd.DataFrame({"slide_id": names, "patient_id": names, "value": NAN, "tier": "unlabelled"})
    tables = stage(tmp_path, labels={"A": nobody, "B": nobody}, categories=[])
    assert len(tables["patients"]) == 0
    assert tables["exclusions"].to_numpy().tolist() == [["no expression of a trait", 40]]
    assert tables["logrank"]["note"].tolist() == ["no patient in the low group"] * 2
    assert tables["cox"]["note"].str.startswith("not fitted").all()


def test_the_stage_needs_an_hti_and_a_death(tmp_path):
    with pytest.raises(InputError, match="no slide was accepted"):
        stage(tmp_path, hti=pd.DataFrame({"slide_id": [], "traits": []}))
    clinical = pd.DataFrame({"patient_id": ["P00"], "time": [1.0], "event": pd.array([0], dtype="Int64")})
    with pytest.raises(InputError, match="no event"):
        stage(tmp_path, clinical=clinical)


# --- what cannot be compared


def test_what_cannot_be_compared_has_no_p():
    patients = drawn(12, seed=24)
    clinical = clinical_of(patients, ER=["Positive"] * 10 + ["Negative"] * 2, half=["a"] * 6 + ["b"] * 6)
    assert hti_by_category(patients, clinical, ["ER"]).tests.loc[0, "note"].startswith("fewer than two groups")
    alike = hti_by_category(patients.assign(hti=0.4), clinical, ["half", "ER"]).tests
    assert alike.loc[0, "note"] == "all values are alike"
    assert alike[["p", "p_adjusted"]].isna().all(axis=None)
    assert len(hti_by_category(patients, clinical, []).tests) == 0
    nobody = hti_by_expression(patients, bulk(patients, [NAN] * 12)).tests.iloc[0]
    assert (nobody["note"], nobody["missing"]) == ("fewer than two groups to compare", 12)
