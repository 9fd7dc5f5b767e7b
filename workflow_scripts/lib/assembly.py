"""A cohort assembled from its tables: the slide sheet, the split of its patients, and each trait's labels."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from workflow_scripts.lib import clinical, cohorts, expression, files, labels, splits
from workflow_scripts.lib.errors import InputError

log = logging.getLogger(__name__)

_REMEDIES = (
    "Give that set a larger share (splits.test, splits.validation), add patients, take another study.seed, or give a "
    "split file (cohorts.<name>.split)."
)


def assemble_cohort(
    *,
    slides: Mapping[str, Any],
    expression_tables: Mapping[str, Mapping[str, str | None]],
    path_to_clinical: str | None,
    path_to_split: str | None,
    traits: Mapping[str, Mapping[str, str]],
    label_settings: Mapping[str, Any],
    split_settings: Mapping[str, Any],
    seed: int,
    path_to_sheet: str | Path,
    path_to_splits: str | Path,
    folder_of_labels: str | Path,
) -> None:
    """Write sheet.tsv, splits.tsv and labels/<trait>.tsv of a cohort. No slide is opened.

    `slides` says where slides are listed (see `list_slides`); `expression_tables` and `traits` are those of
    `read_traits`; the settings are the sections `labels` and `splits` of the configuration. The split is made before
    any trait is looked at (Paper: Results, Training). A cohort of a sister study has no traits and no clinical table:
    its folder of labels is empty, and sets may be, of which its study says what it needs.

    Raises InputError where a table cannot be used, a trait is not in its table, the split leaks, or a set has too few
    patients or labelled slides to train, choose and test a model; nothing is written then.
    """
    sheet = list_slides(**slides)
    split = _split(sheet, path_to_split, split_settings, seed)
    listed = sheet.loc[sheet["status"] == "listed", "patient_id"]
    empty = _sets_without_patients(split[split["patient_id"].isin(listed)])
    if empty and traits:
        raise InputError(
            f"split of {len(split)} patients: expected a patient or more in each set, found none in "
            f"{', '.join(empty)}. {_REMEDIES}"
        )
    labelled = _label(sheet, path_to_clinical, expression_tables, traits, label_settings) if traits else {}
    for trait, table in labelled.items():
        counts = table["tier"].value_counts()
        log.info("%s: slides per tier: %s", trait, ", ".join(f"{tier} {n}" for tier, n in counts.items()))
        _check_labels_of_sets(trait, table, split, rounds=split_settings["rounds"])
    Path(folder_of_labels).mkdir(parents=True, exist_ok=True)
    for trait, table in labelled.items():
        files.write_table(table, Path(folder_of_labels) / f"{trait}.tsv")
    files.write_table(split, path_to_splits)
    files.write_table(sheet, path_to_sheet)


def _label(
    sheet: pd.DataFrame,
    path_to_clinical: str,
    expression_tables: Mapping[str, Mapping[str, str | None]],
    traits: Mapping[str, Mapping[str, str]],
    settings: Mapping[str, Any],
) -> dict[str, pd.DataFrame]:
    """The labels of the listed slides, by trait."""
    patients = clinical.read_clinical(path_to_clinical)
    clinical.check_events(patients)
    tables = read_traits(expression_tables, traits)
    listed = sheet[sheet["status"] == "listed"]
    return {
        trait: labels.label_slides(listed, tables[trait], patients=patients["patient_id"], **settings)
        for trait in traits
    }


def list_slides(
    *,
    manifest: str | None,
    folder: str | None,
    sheet: str | None,
    exclude: Mapping[str, str],
    photographs: bool = False,
) -> pd.DataFrame:
    """The slide sheet of a manifest with a folder, of a folder, or of a sheet of the user's own.

    `exclude` has, by file name or slide_id, the reason why a slide is left out. `photographs` says that a folder or a
    sheet lists those; a manifest lists slides.
    """
    if sheet is not None:
        listed = cohorts.list_from_sheet(sheet, photographs=photographs)
    elif manifest is not None:
        listed = cohorts.list_from_manifest(manifest, folder)
    else:
        listed = cohorts.list_from_folder(folder, photographs=photographs)
    return cohorts.exclude_by_name(listed, exclude)


def _split(sheet: pd.DataFrame, path: str | None, settings: Mapping[str, Any], seed: int) -> pd.DataFrame:
    patients = sorted(set(sheet.loc[sheet["status"] == "listed", "patient_id"]))
    if path is None:
        split = splits.split_patients(patients, seed=seed, **settings)
    else:
        split = splits.read_user_split(path)
        splits.check_covers(split, patients, rounds=settings["rounds"])
    splits.assert_leak_free(split)
    return split


def _sets_without_patients(split: pd.DataFrame) -> list[str]:
    """Which of the test set, and of each round's sets, have no patient of the cohort."""
    counts = splits.realised_counts(split)
    log.info("patients per set\n%s", counts.to_string(index=False))
    return counts.loc[counts["n"] == 0, "part"].tolist()


def _check_labels_of_sets(trait: str, table: pd.DataFrame, split: pd.DataFrame, *, rounds: int) -> None:
    """Raise InputError unless each round trains on both labels and validates on one at least; warn where it is one."""
    for number in range(1, rounds + 1):
        sets = splits.labels_of_sets(split, table, round_number=number)
        training, validation = (list(sets[name].values()) for name in (splits.TRAIN, splits.VALIDATION))
        if not validation or len(set(training)) < 2:
            raise InputError(
                f"{trait}, round {number}: expected slides of both labels to train on and a labelled one to validate, "
                f"found {training.count(0)} of label 0 and {training.count(1)} of label 1 in the training set, "
                f"{len(validation)} in the validation set. {_REMEDIES}"
            )
        if len(set(validation)) == 1:
            log.warning(
                "%s, round %d: all labelled slides of the validation set (%d) have the label %d: its AUC is NA",
                trait,
                number,
                len(validation),
                validation[0],
            )


def read_traits(
    tables: Mapping[str, Mapping[str, str | None]], traits: Mapping[str, Mapping[str, str]]
) -> dict[str, pd.DataFrame]:
    """One value per patient and sample type for each trait, by trait; each table is read once, for all its traits.

    tables: by name, `path`, `kind` (see `expression.read_features`) and `sample_type`, which rows get whose id tells
    none. traits: by name, `table` and `feature`. Raises InputError for a table that is not given, and as
    `expression.read_features` does.
    """
    found: dict[str, pd.DataFrame] = {}
    for name in sorted({trait["table"] for trait in traits.values()}):
        features = {trait: asked["feature"] for trait, asked in traits.items() if asked["table"] == name}
        if name not in tables:
            raise InputError(f"{', '.join(features)}: no {name} table is given for this cohort")
        table = tables[name]
        read = expression.read_features(
            table["path"], sorted(set(features.values())), kind=table["kind"], sample_type=table["sample_type"] or ""
        )
        values = expression.one_value_per_sample_type(read)
        found |= {trait: values[values["feature"] == feature] for trait, feature in features.items()}
    return found
