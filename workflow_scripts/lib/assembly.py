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
    slides: Mapping[str, str | None],
    expression_tables: Mapping[str, str | None],
    path_to_clinical: str,
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

    `slides` says where slides are listed (`manifest` with `folder`, `folder`, or `sheet`); `expression_tables` has a
    path per kind of table, `traits` the table and the feature of each trait; the settings are the sections `labels`
    and `splits` of the configuration. The split is made before any trait is looked at (Paper: Results, Training).

    Raises InputError where a table cannot be used, a trait is not in its table, the split leaks, or a set has too few
    patients or labelled slides to train, choose and test a model; nothing is written then.
    """
    sheet = list_slides(**{name: slides.get(name) for name in ("manifest", "folder", "sheet")})
    split = _split(sheet, path_to_split, split_settings, seed)
    patients = clinical.read_clinical(path_to_clinical)
    clinical.check_events(patients)
    tables = _read_traits(expression_tables, traits)
    listed = sheet[sheet["status"] == "listed"]
    labelled = {
        trait: labels.label_slides(listed, tables[trait], patients=patients["patient_id"], **label_settings)
        for trait in traits
    }
    for trait, table in labelled.items():
        counts = table["tier"].value_counts()
        log.info("%s: slides per tier: %s", trait, ", ".join(f"{tier} {n}" for tier, n in counts.items()))
        _check_labels_of_sets(trait, table, split, rounds=split_settings["rounds"])
    for trait, table in labelled.items():
        files.write_table(table, Path(folder_of_labels) / f"{trait}.tsv")
    files.write_table(split, path_to_splits)
    files.write_table(sheet, path_to_sheet)


def list_slides(*, manifest: str | None, folder: str | None, sheet: str | None) -> pd.DataFrame:
    """The slide sheet of a manifest with a folder, of a folder, or of a sheet of the user's own."""
    if sheet is not None:
        return cohorts.list_from_sheet(sheet)
    if manifest is not None:
        return cohorts.list_from_manifest(manifest, folder)
    return cohorts.list_from_folder(folder)


def _split(sheet: pd.DataFrame, path: str | None, settings: Mapping[str, Any], seed: int) -> pd.DataFrame:
    patients = sorted(set(sheet.loc[sheet["status"] == "listed", "patient_id"]))
    if path is None:
        split = splits.split_patients(patients, seed=seed, **settings)
    else:
        split = splits.read_user_split(path)
        splits.check_covers(split, patients, rounds=settings["rounds"])
    splits.assert_leak_free(split)
    _check_patients_of_sets(split[split["patient_id"].isin(patients)])
    return split


def _check_patients_of_sets(split: pd.DataFrame) -> None:
    """Raise InputError unless the test set, and each round's sets, have a patient of the cohort."""
    counts = splits.realised_counts(split)
    log.info("patients per set\n%s", counts.to_string(index=False))
    empty = counts.loc[counts["n"] == 0, "part"]
    if len(empty):
        raise InputError(
            f"split of {len(split)} patients: expected a patient or more in each set, found none in "
            f"{', '.join(empty)}. {_REMEDIES}"
        )


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


def _read_traits(paths: Mapping[str, str | None], traits: Mapping[str, Mapping[str, str]]) -> dict[str, pd.DataFrame]:
    """One value per patient and sample type for each trait; each table is read once, for all its traits."""
    found: dict[str, pd.DataFrame] = {}
    for kind in sorted({trait["table"] for trait in traits.values()}):
        features = {name: trait["feature"] for name, trait in traits.items() if trait["table"] == kind}
        path = paths[kind]
        if path is None:
            raise InputError(f"{', '.join(features)}: no {kind} table is given for this cohort")
        table = expression.one_value_per_sample_type(
            expression.read_features(path, sorted(set(features.values())), kind=kind)
        )
        found |= {name: table[table["feature"] == feature] for name, feature in features.items()}
    return found
