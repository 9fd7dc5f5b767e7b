"""Slides are labelled from their own sample's percentile, and ties fall where the paper's ≤ puts them."""

import logging

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from workflow_scripts.lib import clinical, cohorts, expression, files, labels
from workflow_scripts.lib.errors import InputError

VALUES = st.lists(st.floats(-1e6, 1e6) | st.integers(-3, 3).map(float), min_size=1, max_size=60)


# Percentiles


def test_percentiles_worked_by_hand():
    # Ranks of 10, 20, 20, 40 are 1, 2.5, 2.5, 4.
    population = np.array([20.0, 10.0, 40.0, 20.0])
    assert labels.percentiles(population, population).tolist() == [0.5, 0.125, 0.875, 0.5]
    # From outside: -1 is below all, 15 has one of four below it, 30 three, 41 all.
    assert labels.percentiles(np.array([-1.0, 15.0, 30.0, 41.0]), population).tolist() == [0.0, 0.25, 0.75, 1.0]


def test_missing_values_have_no_percentile_and_move_none():
    nan = np.nan
    placed = labels.percentiles(np.array([1.0, nan, 2.0]), np.array([1.0, nan, 2.0, nan]))
    assert placed[[0, 2]].tolist() == [0.25, 0.75]
    assert np.isnan(placed[1])


def test_a_population_without_values_is_refused():
    with pytest.raises(InputError, match="expected a population"):
        labels.percentiles(np.array([1.0]), np.array([np.nan]))


@given(values=VALUES)
def test_percentiles_of_members_are_average_ranks(values):
    values = np.array(values)
    expected = (rankdata(values, method="average") - 0.5) / len(values)
    np.testing.assert_allclose(labels.percentiles(values, values), expected, rtol=0, atol=1e-12)


@given(population=VALUES, values=VALUES)
def test_percentiles_of_others_are_mid_ranks(population, values):
    placed = labels.percentiles(np.array(values), np.array(population))
    for value, percentile in zip(values, placed, strict=True):
        below = sum(other < value for other in population)
        equal = sum(other == value for other in population)
        assert percentile == pytest.approx((below + equal / 2) / len(population), abs=1e-12)
    assert ((placed >= 0) & (placed <= 1)).all()


# Tiers


@pytest.mark.parametrize(
    ("percentile", "expected"),
    [
        (0.0, "in"),
        (0.2, "in"),
        (0.2 + 1e-6, "ood_near"),
        (0.3, "ood_near"),
        (0.1 + 0.2, "ood_near"),
        (0.3 + 1e-6, "ood"),
        (0.5, "ood"),
        (0.7 - 1e-6, "ood"),
        (0.7, "ood_near"),
        (0.8 - 1e-6, "ood_near"),
        (0.8, "in"),
        (1.0, "in"),
        (float("nan"), "unlabelled"),
    ],
)
def test_a_tie_at_a_threshold_falls_outwards(percentile, expected):
    assert labels.tier(percentile, low=0.2, high=0.8, near=0.1) == expected


@given(n=st.integers(1, 3000))
def test_ties_are_exact_for_any_number_of_patients(n):
    # Percentiles of n distinct values are (2 k + 1) / (2 n); compare as whole numbers: (2 k + 1) / 2 n <= 2 / 10.
    placed = labels.percentiles(np.arange(n, dtype=float), np.arange(n, dtype=float))
    for k in {0, n // 5, max(n // 5 - 1, 0), 3 * n // 10, max(3 * n // 10 - 1, 0), 7 * n // 10, 8 * n // 10, n - 1} - {
        n
    }:
        tenfold, whole = 10 * (2 * k + 1), 2 * n
        if tenfold <= 2 * whole or tenfold >= 8 * whole:
            expected = "in"
        elif tenfold <= 3 * whole or tenfold >= 7 * whole:
            expected = "ood_near"
        else:
            expected = "ood"
        assert labels.tier(placed[k], low=0.2, high=0.8, near=0.1) == expected, (n, k)


# Slides


def sheet_of(*slides: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(slides, columns=["slide_id", "patient_id", "sample_type"])


def values_of(*rows: tuple[str, str, float]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["patient_id", "sample_type", "value"])
    return table.assign(feature="A", sample=table["patient_id"] + "-" + table["sample_type"])


def ten_patients() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Patients P0 to P9 with values 0 to 9, whose percentiles are 0.05, 0.15, …, 0.95."""
    sheet = sheet_of(*((f"S{i}", f"P{i}", "01") for i in range(10)))
    return sheet, values_of(*((f"P{i}", "01", float(i)) for i in range(10)))


def test_ten_patients_are_labelled_as_by_hand():
    table = labels.label_slides(*ten_patients())
    assert list(table.columns) == ["slide_id", "patient_id", "value", "percentile", "label", "tier"]
    assert table["percentile"].tolist() == pytest.approx([0.05 + 0.1 * i for i in range(10)])
    assert table["tier"].tolist() == ["in", "in", "ood_near", "ood", "ood", "ood", "ood", "ood_near", "in", "in"]
    assert table["label"].tolist() == [0, 0, *[pd.NA] * 6, 1, 1]
    assert table["label"].dtype == "Int64"


def test_a_tie_at_the_threshold_is_low_or_high():
    # Five patients, values 1 1 2 3 3: percentiles 0.2 0.2 0.5 0.8 0.8.
    sheet = sheet_of(*((f"S{i}", f"P{i}", "01") for i in range(5)))
    values = values_of(*((f"P{i}", "01", value) for i, value in enumerate([1.0, 1.0, 2.0, 3.0, 3.0])))
    table = labels.label_slides(sheet, values)
    assert table["percentile"].tolist() == [0.2, 0.2, 0.5, 0.8, 0.8]
    assert table["label"].tolist() == [0, 0, pd.NA, 1, 1]
    # Split at the median, a tie at the one threshold is low.
    table = labels.label_slides(sheet, values, low=0.5, high=0.5, near=0.0)
    assert table["label"].tolist() == [0, 0, 0, 1, 1]


def test_a_slide_is_labelled_by_its_own_sample_type_alone():
    sheet, values = ten_patients()
    sheet = pd.concat([sheet, sheet_of(("M", "P9", "06"), ("N", "P0", "11"))], ignore_index=True)
    values = pd.concat([values, values_of(("P9", "06", -5.0), ("P3", "11", 99.0))], ignore_index=True)
    table = labels.label_slides(sheet, values).set_index("slide_id")
    # The metastasis has its own value, placed among the primary tumours, which it does not join.
    assert (table.loc["M", "value"], table.loc["M", "percentile"], table.loc["M", "label"]) == (-5.0, 0.0, 0)
    assert (table.loc["S9", "value"], table.loc["S9", "percentile"]) == (9.0, 0.95)
    # No normal sample of P0 was measured, whatever its tumour says.
    assert table.loc["N", "tier"] == "unlabelled"
    assert table.loc["N", ["value", "percentile", "label"]].isna().all()


def test_two_slides_of_a_patient_share_a_label_and_count_once_in_the_population():
    sheet, values = ten_patients()
    sheet = pd.concat([sheet, sheet_of(("S9b", "P9", "01"))], ignore_index=True)
    table = labels.label_slides(sheet, values).set_index("slide_id")
    assert table.loc["S9b", "percentile"] == table.loc["S9", "percentile"] == 0.95
    assert table.loc["S0", "percentile"] == 0.05


def test_a_patient_without_expression_is_unlabelled():
    sheet, values = ten_patients()
    table = labels.label_slides(sheet, values[values["patient_id"] != "P4"])
    assert table["tier"][4] == "unlabelled"
    assert table["percentile"].drop(4).tolist() == pytest.approx([(i + 0.5) / 9 for i in range(9)])


def test_the_population_is_the_cohort_or_those_with_slides():
    sheet, values = ten_patients()
    few = sheet.iloc[[8, 9]].reset_index(drop=True)
    everyone = {f"P{i}" for i in range(5)}  # P5, P6 and P7 are another cancer's
    cohort = labels.label_slides(few, values, patients=everyone, population="cohort")
    assert cohort["percentile"].tolist() == pytest.approx([5.5 / 7, 6.5 / 7])
    slides = labels.label_slides(few, values, patients=everyone, population="slides")
    assert slides["percentile"].tolist() == [0.25, 0.75]


def test_without_sample_types_patients_are_matched_by_name():
    sheet = sheet_of(("a", "A", ""), ("b", "B", ""), ("c", "C", ""), ("d", "D", ""))
    values = values_of(("A", "", 1.0), ("A", "01", 7.0), ("B", "01", 2.0), ("C", "01", 3.0), ("C", "06", 4.0))
    table = labels.label_slides(sheet, values).set_index("slide_id")
    assert table["value"].tolist()[:2] == [1.0, 2.0]
    # Of C's two samples the slide may be either; D was not measured.
    assert list(table["tier"][["c", "d"]]) == ["unlabelled", "unlabelled"]
    # In the population, A counts with its primary tumour: 7, 2 and 3.
    assert table["percentile"].tolist()[:2] == pytest.approx([0.0, 0.5 / 3])


def test_a_slide_of_known_sample_type_takes_no_value_of_unknown_type():
    sheet = sheet_of(("a", "A", "01"))
    with pytest.raises(InputError, match=r"none of 1 slides .* 'A', sample type '01'; the first value of patient 'A'"):
        labels.label_slides(sheet, values_of(("A", "", 1.0)))


def test_expression_of_another_cohort_is_refused():
    sheet, _ = ten_patients()
    with pytest.raises(InputError, match="none of 10 slides can be placed by A"):
        labels.label_slides(sheet, values_of(("Q1", "01", 1.0)))


def test_expression_of_several_features_or_with_repeats_is_refused():
    sheet, values = ten_patients()
    with pytest.raises(InputError, match="one feature, found 2"):
        labels.label_slides(sheet, pd.concat([values, values.assign(feature="B")]))
    with pytest.raises(InputError, match="several for one patient and sample type"):
        labels.label_slides(sheet, pd.concat([values, values.head(1)]))
    with pytest.raises(InputError, match="one feature, found 0"):
        labels.label_slides(sheet, values.head(0))


@pytest.mark.parametrize(
    "wrong", [{"low": 0.6}, {"low": -0.1}, {"high": 0.4}, {"near": 0.4}, {"near": -0.1}, {"high": 1.1}]
)
def test_thresholds_out_of_order_are_refused(wrong):
    with pytest.raises(InputError, match="expected 0 ≤ low"):
        labels.label_slides(*ten_patients(), **wrong)


def test_the_size_of_the_population_is_logged(caplog):
    with caplog.at_level(logging.INFO):
        labels.label_slides(*ten_patients())
    assert "A: percentiles refer to 10 patients" in caplog.text


def test_labels_survive_their_files(tmp_path):
    sheet, values = ten_patients()
    made = {
        "A": labels.label_slides(sheet.replace("P0", "007"), values),
        "B": labels.label_slides(sheet, values, low=0.0, high=1.0),  # nobody has a label
    }
    for trait, table in made.items():
        files.write_table(table, tmp_path / f"{trait}.tsv")
    read = labels.read_labels(tmp_path, ["A", "B"])
    for trait, table in made.items():
        pd.testing.assert_frame_equal(read[trait], table)


# Real tables


def test_colon_slides_are_labelled_by_fifths(shared_data):
    colon = shared_data / "colon"
    sheet = cohorts.list_from_manifest(colon / "gdc_manifest.txt", colon / "slides")
    values = expression.one_value_per_sample_type(
        expression.read_features(colon / "mrna.geneExp.tsv", ["MOSA"], kind="mrna")
    )
    patients = set(clinical.read_clinical(colon / "clinical.tsv")["patient_id"])
    table = labels.label_slides(sheet, values, patients=patients)
    assert table["tier"].value_counts().to_dict() == {"in": 24, "ood": 24, "ood_near": 12}
    assert table["label"].value_counts().to_dict() == {0: 12, 1: 12}
    assert table.loc[table["label"] == 0, "value"].max() < table.loc[table["label"] == 1, "value"].min()


def test_brca_slides_take_the_value_of_their_own_sample_type(shared_data, tmp_path):
    names = cohorts.read_manifest(shared_data / "tcga" / "gdc_manifest_brca_PathoMCH.txt")["filename"]
    for name in names:
        (tmp_path / name).touch()
    sheet = cohorts.list_from_folder(tmp_path)
    values = expression.one_value_per_sample_type(
        expression.read_features(shared_data / "tcga" / "BRCA_mirna_rpm.csv", ["hsa-mir-17"], kind="table")
    )
    firehose = shared_data / "tcga" / "brca_tcga_firehose_legacy_clinical_data.tsv"
    table = labels.label_slides(sheet, values, patients=set(clinical.read_clinical(firehose)["patient_id"]))
    counts = table["tier"].value_counts()
    # The paper has at most 243 training slides of 761 and 423 to 454 slides in OOD-all.
    assert counts.sum() == 761
    assert 423 <= counts["ood"] + counts["ood_near"] <= 480
    metastasis = table[sheet["sample_type"] == "06"].iloc[0]
    of_patient = values[values["patient_id"] == metastasis["patient_id"]].set_index("sample_type")["value"]
    assert metastasis["value"] == of_patient["06"] != of_patient["01"]
