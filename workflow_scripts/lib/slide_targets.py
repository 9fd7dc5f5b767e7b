"""What is learnt from whole slides: a class, a number or survival of each, and which of the models each teaches.

A table of slides has the columns COLUMNS, and model_1, model_2, … (`train`, `validation`, `test`, or '' for a slide
that takes no part in that model); a row per slide. `value` is the place of a class among the target's, or a number;
`time`, in months, and `event` are of survival; `fold` counts from 1 and is missing in a cohort that only tests. A slide
that cannot be used has its `reason`, and no part in any model.

Source: neural image compression, 2 (targets), 4.2 and 4.4 (folds).
"""

import logging
from collections.abc import Sequence
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
    slides: pd.DataFrame,
    *,
    cohort: str,
    kind: str,
    path_to_table: str | Path | None = None,
    column: str | None = None,
    classes: Sequence[str] = (),
    path_to_clinical: str | Path | None = None,
    folds: int,
    is_tested_elsewhere: bool,
    seed: int,
    is_shuffled: bool = False,
) -> pd.DataFrame:
    """The slides of the cohort that a target is learnt from, and which model each teaches.

    slides: `slides.tsv` of the cohort. kind: CLASS, NUMBER or SURVIVAL. The table (TSV) has `slide_id` or `patient_id`,
    and the column of the value; a clinical file adds time and event. Patients are dealt to folds by a seeded hash, so
    that one who joins moves no other; all targets of a cohort with as many folds have the same.

    Where it is tested elsewhere, on another cohort (`with_tested`), the model of a fold validates on that fold and
    learns from the others (4.2). Else it is tested on its fold, validates on the next, and learns from the rest (4.4).
    is_shuffled: a negative control, see `shuffled`.

    Raises InputError where a table lacks a column or has a slide twice, a number is none, a fold is empty, or a model
    would learn from slides of which a class is missing, which have one number, or of whom nobody dies.
    """
    rows = _rows(slides, cohort)
    if path_to_table is not None:
        rows = _with_values(rows, path_to_table, column, classes)
        lacking = (rows["reason"] == "") & rows["value"].isna()
        rows["reason"] = rows["reason"].mask(lacking, f"no {column}")
    if path_to_clinical is not None:
        rows = _with_survival(rows, path_to_clinical)
        lacking = (rows["reason"] == "") & rows["event"].isna() & (kind == SURVIVAL)
        rows["reason"] = rows["reason"].mask(lacking, "no survival data")
    if is_shuffled:
        rows = shuffled(rows, seed=seed)
    rows["fold"] = [splits.fold_of(patient, folds=folds, seed=seed) for patient in rows["patient_id"]]
    rows["fold"] = rows["fold"].astype("Int64")
    for number in range(1, folds + 1):
        rows[f"model_{number}"] = _parts(rows, number, folds=folds, is_tested_elsewhere=is_tested_elsewhere)
    _check_folds(rows[rows["reason"] == ""], folds)
    for number in range(1, folds + 1):
        _check_taught(rows, number, kind, classes)
    _report(rows, cohort)
    return _in_order(rows)


def with_tested(
    learnt: pd.DataFrame,
    slides: pd.DataFrame,
    *,
    cohort: str,
    path_to_table: str | Path | None = None,
    column: str | None = None,
    classes: Sequence[str] = (),
    path_to_clinical: str | Path | None = None,
    seed: int,
    is_shuffled: bool = False,
) -> pd.DataFrame:
    """The slides of `describe_target`, and after them those of another cohort, which all models are tested on.

    slides: `slides.tsv` of that cohort, called `cohort`. Its slides with tissue are all predicted: of those whose value
    or survival is not known here, which others may know (4.2), these are missing. The rest is as in `describe_target`.

    Raises InputError as that does of tables, and where a patient or a slide's id is in both cohorts.
    """
    rows = _rows(slides, cohort)
    for key, many in (("patient_id", "patients"), ("slide_id", "slides")):
        both = sorted(set(rows[key]) & set(learnt[key]))
        if both:
            raise InputError(
                f"{len(both)} {many} of {learnt['cohort'].iloc[0]} are in {cohort} too, which only tests, the first of "
                f"them {both[0]}; exclude their slides from one of the two (slides.exclude), or rename them"
            )
    if path_to_table is not None:
        rows = _with_values(rows, path_to_table, column, classes)
    if path_to_clinical is not None:
        rows = _with_survival(rows, path_to_clinical)
    if is_shuffled:
        rows = shuffled(rows, seed=seed)
    rows["fold"] = pd.array([pd.NA] * len(rows), dtype="Int64")
    models = [name for name in learnt.columns if name.startswith("model_")]
    for name in models:
        rows[name] = np.where(rows["reason"] == "", splits.TEST, "")
    _report(rows, cohort)
    return pd.concat([learnt, _in_order(rows)], ignore_index=True)


def describe_trait(slides: pd.DataFrame, labels: pd.DataFrame, split: pd.DataFrame, *, cohort: str) -> pd.DataFrame:
    """The slides of a trait of the main chain as a target of two classes: its labels, and a model for each round.

    slides: `slides.tsv`; labels: the trait's table; split: `splits.tsv`. Models learn from the slides that tile models
    learn from, and are tested on all slides that no round's model may see or that have no label, as `evaluation.table1`
    asks of them. `fold` is missing throughout.
    """
    rows = _rows(slides, cohort).assign(fold=pd.array([pd.NA] * len(slides), dtype="Int64"))
    label = dict(zip(labels["slide_id"], labels["label"].to_numpy(float, na_value=np.nan), strict=True))
    tier = dict(zip(labels["slide_id"], labels["tier"], strict=True))
    rows["value"] = rows["slide_id"].map(label)
    known = rows["slide_id"].map(tier).fillna("unlabelled") != "unlabelled"
    rows.loc[(rows["reason"] == "") & ~known, "reason"] = "no expression"
    rounds = [name for name in split.columns if name.startswith("round_")]
    of_patients = split.set_index("patient_id")
    for number, name in enumerate(rounds, start=1):
        part = rows["patient_id"].map(of_patients[name]).fillna("")
        part = part.where((part != "") & rows["value"].notna(), splits.TEST)
        rows[f"model_{number}"] = part.where(rows["reason"] == "", "")
    return _in_order(rows)


def shuffled(rows: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """The rows with values, times and events of used slides permuted at random among the patients of their cohort.

    A patient, who may draw his own, has what one patient had: each of his slides in turn that of the other's slides,
    which begin again where they are fewer.
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


def _rows(slides: pd.DataFrame, cohort: str) -> pd.DataFrame:
    """The slides of a cohort, of which nothing is known yet but why some cannot be used."""
    rows = slides[["slide_id", "patient_id"]].assign(cohort=cohort, value=np.nan, time=np.nan, event=np.nan)
    rows["reason"] = slides["reason"].where(slides["status"] != "accepted", "")
    rows.loc[(slides["status"] == "accepted") & (slides["n_tiles"] == 0), "reason"] = "no tissue"
    return rows.reset_index(drop=True)


def _in_order(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[[*COLUMNS, *(name for name in rows.columns if name.startswith("model_"))]].reset_index(drop=True)


def _with_values(rows: pd.DataFrame, path: str | Path, column: str, classes: Sequence[str]) -> pd.DataFrame:
    """The rows with the values of a table, missing where it has none; one of another class has that as its reason."""
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
    if classes:
        place = {name: float(number) for number, name in enumerate(classes)}
        strange = free & (given != "") & ~given.isin(classes)
        reason = rows["reason"].mask(strange, f"{column} " + given + ", which is not asked for")
        return rows.assign(value=given.map(place).where(free), reason=reason)
    numbers = pd.to_numeric(given.where(given != ""), errors="coerce")
    wrong = given[(given != "") & ~np.isfinite(numbers)]
    if len(wrong):
        raise InputError(
            f"{path}: expected numbers in {column}, found {wrong.iloc[0]!r} of {rows[key][wrong.index[0]]}"
        )
    return rows.assign(value=numbers.where(free))


def _with_survival(rows: pd.DataFrame, path: str | Path) -> pd.DataFrame:
    """The rows with time and event of a clinical file, missing where it has none."""
    patients = clinical_table.read_clinical(path)
    clinical_table.check_events(patients)
    known = patients.dropna(subset=["time", "event"]).set_index("patient_id")
    return rows.assign(
        time=rows["patient_id"].map(known["time"]), event=rows["patient_id"].map(known["event"]).astype(float)
    )


def _check_folds(used: pd.DataFrame, folds: int) -> None:
    """Raise InputError unless each fold has a slide."""
    empty = sorted(set(range(1, folds + 1)) - set(used["fold"]))
    if empty:
        raise InputError(
            f"expected slides in each of {folds} folds, found {len(used)} slides of {used['patient_id'].nunique()} "
            f"patients and none in fold {empty[0]}; bring more patients, ask for fewer folds, or another study.seed"
        )


def _check_taught(rows: pd.DataFrame, number: int, kind: str, classes: Sequence[str]) -> None:
    """Raise InputError unless a model has something to learn, and of survival something to be judged by."""
    taught, judging = (rows[rows[f"model_{number}"] == part] for part in (splits.TRAIN, splits.VALIDATION))
    remedy = "bring more patients, ask for fewer folds, or another study.seed"
    missing = [name for place, name in enumerate(classes) if not (taught["value"] == place).any()]
    if missing:
        raise InputError(
            f"model {number} learns from {len(taught)} slides: expected some of each class, found none of "
            f"{missing[0]}; {remedy}"
        )
    if kind == NUMBER and taught["value"].nunique() < 2:
        raise InputError(
            f"model {number} learns from {len(taught)} slides: expected numbers that differ, found one; {remedy}"
        )
    for part, of_part in (("learns from", taught), ("is judged by", judging)):
        if kind == SURVIVAL and not (of_part["event"] == 1).any():
            raise InputError(
                f"model {number} {part} {len(of_part)} slides: expected a death among their patients, found none; "
                + remedy
            )


def _parts(rows: pd.DataFrame, number: int, *, folds: int, is_tested_elsewhere: bool) -> pd.Series:
    """Each slide's part in model `number`."""
    if is_tested_elsewhere:
        parts = {number: splits.VALIDATION}
    else:
        parts = {number: splits.TEST, number % folds + 1: splits.VALIDATION}
    return rows["fold"].map(lambda fold: parts.get(fold, splits.TRAIN)).where(rows["reason"] == "", "")


def _report(rows: pd.DataFrame, cohort: str) -> None:
    used = rows[rows["reason"] == ""]
    log.info("%s: %d of %d slides are used, of %d patients", cohort, len(used), len(rows), used["patient_id"].nunique())
    for reason, n in rows.loc[rows["reason"] != "", "reason"].value_counts().items():
        log.info("  %d are not: %s", n, reason)
    for name in (column for column in rows.columns if column.startswith("model_")):
        counts = used[name].value_counts()
        log.info("  %s: %s", name, ", ".join(f"{part} {counts[part]}" for part in sorted(counts.index)))
