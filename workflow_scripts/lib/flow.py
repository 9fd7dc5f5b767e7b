"""The cohort's flow: how many slides and patients go in, are left out and why, and end in each set and tier."""

import re
from collections.abc import Mapping

import pandas as pd

from workflow_scripts.lib import published, splits
from workflow_scripts.lib.labels import IN, OOD, OOD_NEAR, UNLABELLED

PLANNED, MISSING = "planned", "missing"
# What the paper states of a cohort's numbers per trait, by the column that it stands beside.
PUBLISHED_RANGES = {
    "n_train_max": ("n_training_slides_max", "n_training_slides_max"),
    "n_test": ("n_test", "n_test"),
    "n_ood_near": ("n_ood_near_min", "n_ood_near_max"),
    "n_ood_all": ("n_ood_all_min", "n_ood_all_max"),
}


def cohort_flow(
    sheet: pd.DataFrame, split: pd.DataFrame, labels: Mapping[str, pd.DataFrame], clinical: pd.DataFrame
) -> pd.DataFrame:
    """The table `flow.tsv`: step, name, n_slides, n_patients; a row per box of the diagram, from top to bottom.

    sheet: the slide sheet before any slide was opened; split: the patients' sets; labels: the label table of each
    trait, by trait; clinical: the clinical table. Steps: `lines` (of the list), `excluded` (a row per kind of reason),
    `listed`, `labelled` and `unlabelled` (a value of any trait, or of none), `survival` (time and event known), `dx1`
    (patients with a DX1 slide), `test` and `development`. Excluded lines have no patient.
    """
    listed = sheet[sheet["status"] == "listed"]
    excluded = sheet[sheet["status"] == "excluded"]
    valued = set().union(*(table.loc[table["tier"] != UNLABELLED, "slide_id"] for table in labels.values()))
    known = set(clinical.loc[clinical["time"].notna() & clinical["event"].notna(), "patient_id"])
    sets = listed["patient_id"].map(dict(zip(split["patient_id"], split["set"], strict=True)))
    labelled, unlabelled = listed[listed["slide_id"].isin(valued)], listed[~listed["slide_id"].isin(valued)]
    steps = [
        ("lines", "Lines of the list", sheet),
        *(("excluded", name, rows) for name, rows in excluded.groupby(excluded["reason"].map(kind_of_reason))),
        ("listed", "Listed slides", listed),
        ("labelled", "With expression", labelled),
        ("unlabelled", "Without expression", unlabelled),
        ("survival", "With survival", listed[listed["patient_id"].isin(known)]),
        ("dx1", "DX1 slides", listed[(listed["diagnostic_index"] == 1).fillna(False).astype(bool)]),
        ("test", "Test set", listed[sets == splits.TEST]),
        ("development", "Development", listed[sets == splits.DEVELOPMENT]),
    ]
    rows = [
        {
            "step": step,
            "name": name,
            "n_slides": len(part),
            "n_patients": part["patient_id"].replace("", None).nunique(),
        }
        for step, name, part in steps
    ]
    table = pd.DataFrame(rows)
    # A patient with a value of one slide has expression.
    without = set(unlabelled["patient_id"]) - set(labelled["patient_id"])
    table.loc[table["step"] == "unlabelled", "n_patients"] = len(without)
    return table


def trait_flow(
    split: pd.DataFrame, labels: Mapping[str, pd.DataFrame], *, missing: Mapping[str, str], cohort: str
) -> pd.DataFrame:
    """The table `flow_traits.tsv`: a row per trait, planned or missing, with its slides per tier and set.

    missing: the reason of each trait that the cohort cannot run, by trait. Columns: trait, status (`planned`,
    `missing`), reason, n_slides (listed), n_unlabelled, n_low, n_high (labelled 0 and 1), n_test (labelled slides of
    test patients), n_train_min, n_train_max, n_validation_min, n_validation_max (labelled slides, over the rounds),
    n_ood_near, n_ood_all (OOD-near included); and beside n_train_max, n_test, n_ood_near and n_ood_all what the paper
    states for the cohort, `published_…_low` and `published_…_high`, empty for a cohort that is not the paper's.
    """
    rows = [
        {"trait": trait, "status": PLANNED, "reason": "", **_numbers(table, split)} for trait, table in labels.items()
    ]
    rows += [{"trait": trait, "status": MISSING, "reason": reason} for trait, reason in missing.items()]
    table = pd.DataFrame(rows)
    counts = [column for column in table if column.startswith("n_")]
    table[counts] = table[counts].astype("Int64")
    for column, quantities in PUBLISHED_RANGES.items():
        low, high = _published_range(cohort, *quantities)
        table[f"published_{column}_low"], table[f"published_{column}_high"] = low, high
    return table


def kind_of_reason(reason: str) -> str:
    """A reason without what is about one file alone: its line in a list, its numbers and names, its details."""
    text = re.sub(r"^line \d+: ", "", reason)
    text = re.sub(r"\s*\([^)]*\)", "", text).split(":")[0]
    text = re.sub(r"'[^']*'|(?<!\S)\d[\d.]*", "…", text)
    return re.sub(r"(?<=slide_id )\S+(?= is taken)|(?<=taken by ).*", "…", text).strip() or "no reason given"


def _numbers(table: pd.DataFrame, split: pd.DataFrame) -> dict[str, int]:
    """How many slides of one trait are in each tier, and labelled ones in each set."""
    tested = set(split.loc[split["set"] == splits.TEST, "patient_id"])
    rounds = [name for name in split.columns if name.startswith("round_")]
    per_round = [splits.labels_of_sets(split, table, round_number=number) for number in range(1, len(rounds) + 1)]
    train, validation = ([len(sets[name]) for sets in per_round] for name in (splits.TRAIN, splits.VALIDATION))
    tiers = table["tier"].value_counts()
    return {
        "n_slides": len(table),
        "n_unlabelled": int(tiers.get(UNLABELLED, 0)),
        "n_low": int((table["label"] == 0).sum()),
        "n_high": int((table["label"] == 1).sum()),
        "n_test": int(((table["tier"] == IN) & table["patient_id"].isin(tested)).sum()),
        "n_train_min": min(train),
        "n_train_max": max(train),
        "n_validation_min": min(validation),
        "n_validation_max": max(validation),
        "n_ood_near": int(tiers.get(OOD_NEAR, 0)),
        "n_ood_all": int(tiers.get(OOD_NEAR, 0) + tiers.get(OOD, 0)),
    }


def _published_range(cohort: str, low: str, high: str) -> tuple[float, float]:
    """The least and the greatest that the paper states of a quantity, over the cohort's traits; NaN where nothing."""
    table = published.table()
    of_cohort = table[table["cohort"] == published.cohort_name(cohort)]
    return (
        of_cohort.loc[of_cohort["quantity"] == low, "value"].min(),
        of_cohort.loc[of_cohort["quantity"] == high, "value"].max(),
    )
