"""Bulk expression to slide labels: percentiles within a reference population, and the tiers that set slides apart.

Source: Paper: Results, Training models, and Methods, Training (20th and 80th percentile; OOD-near is the next decile).
"""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from workflow_scripts.lib import barcodes, files
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.splits import TEST

log = logging.getLogger(__name__)

Population = Literal["cohort", "slides"]

IN, OOD_NEAR, OOD, UNLABELLED = "in", "ood_near", "ood", "unlabelled"

# Percentiles are multiples of 1 / (2 n), and so are far apart beside this, which only covers the rounding of 0.2 + 0.1.
_ROUNDING = 1e-9


def percentiles(values: np.ndarray, population: np.ndarray) -> np.ndarray:
    """Where `values` stand in `population`: (number below + half the number equal) / n, float64 in [0, 1].

    For a member of the population this is (average rank - 0.5) / n; the same formula places a value from outside it.
    Both arrays are of float and one-dimensional, and the result is as long as `values`. NaN in the population is
    ignored, NaN in `values` stays NaN.
    Raises InputError when the population has no value.
    """
    values = np.asarray(values, dtype=np.float64)
    ranked = np.sort(np.asarray(population, dtype=np.float64))
    ranked = ranked[~np.isnan(ranked)]
    if len(ranked) == 0:
        raise InputError("percentiles: expected a population with at least one value, found none.")
    below_twice = np.searchsorted(ranked, values, side="left") + np.searchsorted(ranked, values, side="right")
    return np.where(np.isnan(values), np.nan, below_twice / (2 * len(ranked)))


def tier(percentile: float, *, low: float, high: float, near: float) -> str:
    """The tier of a percentile; NaN is `unlabelled`.

    `in`: percentile ≤ low or ≥ high. `ood_near`: low < percentile ≤ low + near or high - near ≤ percentile < high.
    `ood`: what is left between. At each threshold a tie goes outwards, as the paper's ≤ 0.20 and ≥ 0.80 put it.
    """
    if np.isnan(percentile):
        return UNLABELLED
    if percentile <= low + _ROUNDING or percentile >= high - _ROUNDING:
        return IN
    if percentile <= low + near + _ROUNDING or percentile >= high - near - _ROUNDING:
        return OOD_NEAR
    return OOD


def label_slides(
    sheet: pd.DataFrame,
    expression: pd.DataFrame,
    *,
    patients: Collection[str] = (),
    low: float = 0.2,
    high: float = 0.8,
    near: float = 0.1,
    population: Population = "cohort",
) -> pd.DataFrame:
    """The labels of one trait, a row per slide of `sheet`: slide_id, patient_id, value, percentile, label, tier.

    `expression` is one feature's table with one value per patient and sample type
    (`expression.one_value_per_sample_type`). A slide takes the value of its patient's sample of its own sample type;
    where there is none it is `unlabelled`, with no value. A slide whose sample type is not known takes the patient's
    value of unknown sample type, or else the only value that the patient has.

    Percentiles refer to one value per patient, of the primary tumour (`01`, or else a value of unknown sample type),
    whatever number of slides a patient has: of `patients` and everyone with a slide (population `cohort`), or of those
    with a slide alone (`slides`). A slide of another sample type, such as a metastasis, is placed among these.

    The label (Int64) is 0 where percentile ≤ low, 1 where percentile ≥ high, else missing; for tiers see `tier`.
    Raises InputError when the thresholds are out of order, the expression is not of that form, or no slide has a value.
    """
    _check_thresholds(low=low, high=high, near=near)
    _check_expression(expression)
    members = set(sheet["patient_id"]) | (set(patients) if population == "cohort" else set())
    reference = _primary_values(expression, members)
    values = _slide_values(sheet, expression)
    if np.isnan(values).all() or len(reference) == 0:
        raise InputError(_nothing_matches(sheet, expression, n_reference=len(reference)))
    placed = percentiles(values, reference)
    tiers = np.array([tier(p, low=low, high=high, near=near) for p in placed])
    sides = pd.Series(np.where(placed <= low + _ROUNDING, 0, 1)).astype("Int64")
    labels = pd.DataFrame(
        {
            "slide_id": sheet["slide_id"].to_numpy(),
            "patient_id": sheet["patient_id"].to_numpy(),
            "value": values,
            "percentile": placed,
            "label": sides.where(tiers == IN),
            "tier": tiers,
        }
    )
    log.info("%s: percentiles refer to %d patients", expression["feature"].iloc[0], len(reference))
    return labels


def read_labels(folder: str | Path, traits: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The label tables of some traits, by trait, from the folder labels/, as `label_slides` made them."""
    tables = {}
    for trait in traits:
        table = files.read_table(Path(folder) / f"{trait}.tsv", text=["slide_id", "patient_id", "tier"])
        tables[trait] = table.astype({"value": "float64", "percentile": "float64", "label": "Int64"})
    return tables


def seen_patients(labels: pd.DataFrame, splits: pd.DataFrame) -> set[str]:
    """The patients whom models of a trait may have seen: those with a slide in tier `in`, test patients aside.

    labels: the trait's label table; splits: the patients' sets. A model that trained or validated on one slide of a
    patient knows the tumour, so no other slide of the patient counts as unseen either, whatever its tier. (Paper:
    Results, Training models: sets are of subjects, not of slides.)
    """
    tested = set(splits.loc[splits["set"] == TEST, "patient_id"])
    return set(labels.loc[labels["tier"] == IN, "patient_id"]) - tested


def _primary_values(expression: pd.DataFrame, patients: set[str]) -> np.ndarray:
    """One value per patient: of the primary tumour, or else of unknown sample type."""
    candidates = expression[
        expression["patient_id"].isin(patients) & expression["sample_type"].isin([barcodes.PRIMARY_TUMOUR, ""])
    ]
    # Sorted downwards, `01` comes before ''.
    by_type = candidates.sort_values("sample_type", ascending=False, kind="stable")
    return by_type.drop_duplicates("patient_id")["value"].to_numpy(np.float64)


def _slide_values(sheet: pd.DataFrame, expression: pd.DataFrame) -> np.ndarray:
    """The value that each slide may be labelled from, NaN where there is none."""
    keys = zip(expression["patient_id"], expression["sample_type"], strict=True)
    of_sample = dict(zip(keys, expression["value"], strict=True))
    only = expression[~expression["patient_id"].duplicated(keep=False)]
    of_patient = dict(zip(only["patient_id"], only["value"], strict=True))
    values = []
    for patient, sample_type in zip(sheet["patient_id"], sheet["sample_type"].fillna("").astype(str), strict=True):
        value = of_sample.get((patient, sample_type))
        if value is None and sample_type == "":
            value = of_patient.get(patient)
        values.append(np.nan if value is None else value)
    return np.array(values, dtype=np.float64)


def _check_thresholds(*, low: float, high: float, near: float) -> None:
    half = (0.5 - _ROUNDING, 0.5 + _ROUNDING)
    if not (low >= 0 and near >= 0 and low + near <= half[1] and high - near >= half[0] and high <= 1):
        raise InputError(
            f"labels: expected 0 ≤ low ≤ low + near ≤ 0.5 ≤ high - near ≤ high ≤ 1, "
            f"found low = {low}, high = {high}, near = {near}."
        )


def _check_expression(expression: pd.DataFrame) -> None:
    features = expression["feature"].unique()
    if len(features) != 1:
        raise InputError(
            f"labels: expected the expression of one feature, found {len(features)}: {list(features)[:5]}."
        )
    if expression["value"].isna().any() or expression.duplicated(["patient_id", "sample_type"]).any():
        raise InputError(
            f"labels: {features[0]} has a missing value, or several for one patient and sample type; "
            "expected one for each (expression.one_value_per_sample_type)."
        )


def _nothing_matches(sheet: pd.DataFrame, expression: pd.DataFrame, *, n_reference: int) -> str:
    slide, sample = sheet.iloc[0], expression.iloc[0]
    return (
        f"labels: none of {len(sheet)} slides can be placed by {sample['feature']} "
        f"({n_reference} patients in the reference population). The first slide is of patient {slide['patient_id']!r}, "
        f"sample type {slide['sample_type']!r}; the first value of patient {sample['patient_id']!r}, "
        f"sample type {sample['sample_type']!r}. Expected the same patients and sample types in both; an id such as "
        "TCGA-A1-A0SE-01 in the expression table gives the sample type."
    )
