"""What is learnt from whole slides: a class, a number or survival of each, and which of the models each teaches.

A table of slides has the columns COLUMNS, and model_1, model_2, … (`train`, `validation`, `test`, or '' for a slide
that takes no part in that model); a row per slide. `value` is the place of a class among the target's, or a number;
`time`, in months, and `event` are of survival; `fold` counts from 1 and is missing in a cohort that only tests. A slide
that cannot be used has its `reason`, and no part in any model.

Source: neural image compression, 2 (targets), 4.2 and 4.4 (folds).
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.lib import clinical as clinical_table
from workflow_scripts.lib import files, splits
from workflow_scripts.lib.errors import InputError

log = logging.getLogger(__name__)

CLASS, NUMBER, SURVIVAL = "class", "number", "survival"
COLUMNS = ["cohort", "slide_id", "patient_id", "value", "time", "event", "fold", "reason"]
TEXT = ["cohort", "slide_id", "patient_id", "reason"]


def describe_target(
    slides: Mapping[str, pd.DataFrame],
    *,
    kind: str,
    path_to_table: str | Path | None = None,
    column: str | None = None,
    classes: Sequence[str] = (),
    path_to_clinical: str | Path | None = None,
    folds: int,
    seed: int,
    is_shuffled: bool = False,
) -> pd.DataFrame:
    """The slides of a target, and which model each teaches.

    slides: `slides.tsv` of the target's cohort, by name, and after it that of the cohort which only tests, if there is
    one. kind: CLASS, NUMBER or SURVIVAL. The table (TSV) has `slide_id` or `patient_id`, and the column of the value; a
    clinical file adds time and event. Patients are dealt to folds by a seeded hash, so that one who joins moves no
    other; all targets of a cohort with as many folds have the same.

    With a second cohort, the model of a fold validates on that fold, learns from the others, and is tested on that
    cohort (4.2). Without one, it is tested on its fold, validates on the next, and learns from the rest (4.4).
    is_shuffled: a negative control, see `shuffled`.

    Raises InputError where a table lacks a column or has a slide twice, a number is none, a patient is in both cohorts,
    a fold is empty, no development slide is left of a class, or nobody dies.
    """
    (development, *others) = slides
    table = pd.concat([of.assign(cohort=cohort) for cohort, of in slides.items()], ignore_index=True)
    rows = table[["cohort", "slide_id", "patient_id"]].assign(value=float("nan"), time=float("nan"), event=float("nan"))
    rows["reason"] = table["reason"].where(table["status"] != "accepted", "")
    rows.loc[(table["status"] == "accepted") & (table["n_tiles"] == 0), "reason"] = "no tissue"
    _check_apart(rows, development)
    if path_to_table is not None:
        rows = _with_values(rows, path_to_table, column, classes)
    if path_to_clinical is not None:
        rows = _with_survival(rows, path_to_clinical, needed=kind == SURVIVAL)
    if is_shuffled:
        rows = shuffled(rows, seed=seed)
    used = (rows["reason"] == "") & (rows["cohort"] == development)
    rows["fold"] = [
        splits.fold_of(patient, folds=folds, seed=seed) if of_development else pd.NA
        for patient, of_development in zip(rows["patient_id"], rows["cohort"] == development, strict=True)
    ]
    rows["fold"] = rows["fold"].astype("Int64")
    _check_folds(rows[used], kind, classes, folds)
    for number in range(1, folds + 1):
        rows[f"model_{number}"] = _parts(rows, number, folds=folds, is_tested_elsewhere=bool(others))
    _report(rows)
    return rows[[*COLUMNS, *(f"model_{number}" for number in range(1, folds + 1))]]


def describe_trait(slides: pd.DataFrame, labels: pd.DataFrame, split: pd.DataFrame, *, cohort: str) -> pd.DataFrame:
    """The slides of a trait of the main chain as a target of two classes: its labels, and a model for each round.

    slides: `slides.tsv`; labels: the trait's table; split: `splits.tsv`. Models learn from the slides that tile models
    learn from, and are tested on all slides that no round's model may see or that have no label, as `evaluation.table1`
    asks of them. `fold` is missing throughout.
    """
    rows = slides[["slide_id", "patient_id"]].assign(cohort=cohort, time=float("nan"), event=float("nan"), fold=pd.NA)
    label = dict(zip(labels["slide_id"], labels["label"].to_numpy(float, na_value=float("nan")), strict=True))
    tier = dict(zip(labels["slide_id"], labels["tier"], strict=True))
    rows["value"] = rows["slide_id"].map(label)
    rows["reason"] = slides["reason"].where(slides["status"] != "accepted", "")
    rows.loc[(slides["status"] == "accepted") & (slides["n_tiles"] == 0), "reason"] = "no tissue"
    known = rows["slide_id"].map(tier).fillna("unlabelled") != "unlabelled"
    rows.loc[(rows["reason"] == "") & ~known, "reason"] = "no expression"
    rounds = [name for name in split.columns if name.startswith("round_")]
    of_patients = split.set_index("patient_id")
    for number, name in enumerate(rounds, start=1):
        part = rows["patient_id"].map(of_patients[name]).fillna("")
        part = part.where((part != "") & rows["value"].notna(), splits.TEST)
        rows[f"model_{number}"] = part.where(rows["reason"] == "", "")
    rows["fold"] = rows["fold"].astype("Int64")
    return rows[[*COLUMNS, *(f"model_{number}" for number in range(1, len(rounds) + 1))]].reset_index(drop=True)


def shuffled(rows: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """The rows with values, times and events dealt to other patients of the same cohort; of slides that are used.

    What one patient had goes to one other: to each of its slides in turn that of the other's slides, which begin again
    where they are fewer.
    """
    found = rows.copy()
    for cohort, of_cohort in rows[rows["reason"] == ""].groupby("cohort", sort=False):
        slides = {patient: list(of.index) for patient, of in of_cohort.groupby("patient_id")}
        patients = list(slides)
        drawn = np.random.default_rng([seed, *cohort.encode()]).permutation(len(patients))
        for patient, number in zip(patients, drawn, strict=True):
            others = slides[patients[number]]
            sources = [others[place % len(others)] for place in range(len(slides[patient]))]
            for column in ("value", "time", "event"):
                found.loc[slides[patient], column] = rows.loc[sources, column].to_numpy()
    return found


def read_slides(path: str | Path) -> pd.DataFrame:
    """A table of slides as it was written."""
    models = [name for name in files.read_table(path).columns if name.startswith("model_")]
    return files.read_table(path, text=[*TEXT, *models]).astype({"fold": "Int64"})


def _check_apart(rows: pd.DataFrame, development: str) -> None:
    of_development = rows["cohort"] == development
    both = sorted(set(rows.loc[of_development, "patient_id"]) & set(rows.loc[~of_development, "patient_id"]))
    if both:
        raise InputError(
            f"{len(both)} patients of {development} are in the cohort that tests too, the first of them {both[0]}; "
            "exclude their slides from one of the two (slides.exclude)"
        )


def _with_values(rows: pd.DataFrame, path: str | Path, column: str, classes: Sequence[str]) -> pd.DataFrame:
    """The rows with the values of a table; who has none that can be used has a reason."""
    table = files.read_table(path, text=files.read_table(path).columns)
    key = next((name for name in ("slide_id", "patient_id") if name in table), None)
    if key is None or column not in table:
        raise InputError(
            f"{path}: expected the columns slide_id or patient_id, and {column}, found {', '.join(table.columns)}"
        )
    twice = table[key][table[key].duplicated()]
    if len(twice):
        raise InputError(f"{path}: expected one row per {key}, found {twice.iloc[0]} twice")
    given = rows[key].map(dict(zip(table[key], table[column].str.strip(), strict=True))).fillna("")
    free = rows["reason"] == ""
    reason = rows["reason"].mask(free & (given == ""), f"no {column}")
    if classes:
        place = {name: float(number) for number, name in enumerate(classes)}
        strange = free & (given != "") & ~given.isin(classes)
        return rows.assign(
            value=given.map(place).where(free),
            reason=reason.mask(strange, f"{column} " + given + ", which is not asked for"),
        )
    numbers = pd.to_numeric(given.where(given != ""), errors="coerce")
    wrong = given[(given != "") & numbers.isna()]
    if len(wrong):
        raise InputError(
            f"{path}: expected numbers in {column}, found {wrong.iloc[0]!r} of {rows[key][wrong.index[0]]}"
        )
    return rows.assign(value=numbers.where(free), reason=reason)


def _with_survival(rows: pd.DataFrame, path: str | Path, *, needed: bool) -> pd.DataFrame:
    """The rows with time and event of a clinical file; where these are needed, who has none has a reason."""
    patients = clinical_table.read_clinical(path)
    clinical_table.check_events(patients)
    known = patients.dropna(subset=["time", "event"]).set_index("patient_id")
    found = rows.assign(
        time=rows["patient_id"].map(known["time"]), event=rows["patient_id"].map(known["event"]).astype(float)
    )
    if needed:
        lacking = (found["reason"] == "") & found["event"].isna()
        found["reason"] = found["reason"].mask(lacking, "no survival data")
    return found


def _check_folds(used: pd.DataFrame, kind: str, classes: Sequence[str], folds: int) -> None:
    """Raise InputError unless each fold has a slide, and there is something to learn."""
    for place, name in enumerate(classes):
        if not (used["value"] == place).any():
            raise InputError(f"expected slides of class {name} in the cohort that is learnt from, found none")
    if kind == NUMBER and used["value"].nunique() < 2:
        raise InputError("expected numbers that differ, found one value for all slides")
    if kind == SURVIVAL and not (used["event"] == 1).any():
        raise InputError(f"expected a death among {used['patient_id'].nunique()} patients with slides, found none")
    empty = sorted(set(range(1, folds + 1)) - set(used["fold"]))
    if empty:
        raise InputError(
            f"expected slides in each of {folds} folds, found {len(used)} slides of {used['patient_id'].nunique()} "
            f"patients and none in fold {empty[0]}; bring more patients, ask for fewer folds, or another study.seed"
        )


def _parts(rows: pd.DataFrame, number: int, *, folds: int, is_tested_elsewhere: bool) -> pd.Series:
    """Each slide's part in model `number`."""
    if is_tested_elsewhere:
        parts = {number: splits.VALIDATION}
        elsewhere = splits.TEST
    else:
        parts = {number: splits.TEST, number % folds + 1: splits.VALIDATION}
        elsewhere = ""
    found = [elsewhere if fold is pd.NA else parts.get(fold, splits.TRAIN) for fold in rows["fold"]]
    return pd.Series(found, index=rows.index).where(rows["reason"] == "", "")


def _report(rows: pd.DataFrame) -> None:
    used = rows[rows["reason"] == ""]
    log.info("%d of %d slides are used, of %d patients", len(used), len(rows), used["patient_id"].nunique())
    for reason, n in rows.loc[rows["reason"] != "", "reason"].value_counts().items():
        log.info("  %d are not: %s", n, reason)
    log.info("slides per fold: %s", ", ".join(map(str, used["fold"].value_counts().sort_index())))
