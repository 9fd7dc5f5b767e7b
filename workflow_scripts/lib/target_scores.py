"""How well numbers and classes are learnt from grids: Spearman, AUC, paired tests, ROC (neural image compression, 4).

A target is learnt from the grids of each of its encoders by several models, one of each fold. A slide of the target's
cohort is validated by one model (`development`), and tested by another (`test`), or, where the target has another
cohort to be tested on, that cohort's slides are tested by all models, whose mean counts (`external`).
"""

import logging
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from workflow_scripts.lib import evaluation, files, tile_classification
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.origin_scores import macro
from workflow_scripts.lib.slide_targets import CLASS, NUMBER, read_slides
from workflow_scripts.lib.splits import TEST, VALIDATION

log = logging.getLogger(__name__)

DEVELOPMENT, EXTERNAL = "development", "external"
# What a row of predictions is of, and what a row of `targets/<target>.tsv` says of a slide.
PREDICTED = ("target", "encoder", "cohort", "slide_id", "patient_id", "model", "set")
OF_SLIDE = ("cohort", "slide_id", "patient_id", "value", "time", "event", "reason")
TEXT = ("target", "encoder", "cohort", "slide_id", "patient_id", "set", "reason", "note")


class Learnt(NamedTuple):
    """A target, and what the models of its encoders predict of it.

    name; kind: CLASS, NUMBER or SURVIVAL; cohort; test_cohort: another one that all models are tested on, or None;
    classes: of a class target; favourable: the one of them whose probability, taken from 1, is a risk, or None;
    slides_of_patient: `mean`, `max` or `median`, how the slides of a patient become one. slides: the target's table,
    of the slides that are used. predictions: by encoder, in the order of tables.
    """

    name: str
    kind: str
    cohort: str
    test_cohort: str | None
    classes: tuple[str, ...]
    favourable: str | None
    slides_of_patient: str
    slides: pd.DataFrame
    predictions: Mapping[str, pd.DataFrame]

    @property
    def outputs(self) -> list[str]:
        """The columns that predictions stand in."""
        return [f"p_{place}" for place in range(len(self.classes))] if self.kind == CLASS else ["prediction"]

    @property
    def held_out(self) -> str:
        """The set that no model has seen."""
        return EXTERNAL if self.test_cohort else TEST


# What is read


def read(
    described: Mapping[str, Mapping[str, Any]],
    paths_to_targets: Sequence[str | Path],
    paths_to_predictions: Sequence[str | Path],
) -> list[Learnt]:
    """The targets of some files.

    described: by target its kind, cohort, test_cohort, classes, favourable, slides_of_patient, and `encoders`.
    paths_to_targets: of each target; paths_to_predictions: of each encoder of each target; both in that order. Raises
    InputError where a file lacks columns, or is of another target or encoder.
    """
    paths, found = iter(paths_to_predictions), []
    for (name, target), path in zip(described.items(), paths_to_targets, strict=True):
        fields = {key: target[key] for key in ("kind", "cohort", "test_cohort", "favourable", "slides_of_patient")}
        learnt = Learnt(
            name=name, classes=tuple(target["classes"]), slides=_read_slides(path), predictions={}, **fields
        )
        of_encoders = {encoder: _read_predictions(next(paths), learnt, encoder) for encoder in target["encoders"]}
        found.append(learnt._replace(predictions=of_encoders))
        log.info("%s: %d slides, %d encoders", name, len(learnt.slides), len(of_encoders))
    return found


def _read_slides(path: str | Path) -> pd.DataFrame:
    table = read_slides(path)
    _require(table, OF_SLIDE, path)
    return table[table["reason"] == ""].reset_index(drop=True)


def read_predictions(path: str | Path) -> pd.DataFrame:
    """The table `predictions/<target>/<encoder>.tsv`. Raises InputError where it lacks columns."""
    table = files.read_table(path, text=TEXT)
    _require(table, PREDICTED, path)
    return table


def _read_predictions(path: str | Path, learnt: Learnt, encoder: str) -> pd.DataFrame:
    table = read_predictions(path)
    _require(table, learnt.outputs, path)
    of = {(row.target, row.encoder) for row in table.itertuples()} - {(learnt.name, encoder)}
    if of:
        raise InputError(
            f"{path}: expected predictions of {learnt.name} from {encoder}, found {' from '.join(min(of))}; delete it "
            "and run again"
        )
    return table


def _require(table: pd.DataFrame, columns: Sequence[str], path: str | Path) -> None:
    missing = [column for column in columns if column not in table]
    if missing:
        raise InputError(
            f"{path}: expected the columns {', '.join(columns)}, found none of {', '.join(missing)}; delete it and run "
            "again"
        )


# Slides and patients


def of_set(learnt: Learnt, predictions: pd.DataFrame, set_name: str) -> pd.DataFrame:
    """The slides of a set with what is predicted of each, the mean of its models; by slide_id.

    predictions: of one encoder. Columns: slide_id, patient_id, value, time, event, and those of predictions. They are
    missing of a slide that was not predicted, or of which any of its models says nothing.
    """
    cohort = learnt.test_cohort if set_name == EXTERNAL else learnt.cohort
    rows = predictions[
        (predictions["set"] == (VALIDATION if set_name == DEVELOPMENT else TEST)) & (predictions["cohort"] == cohort)
    ]
    by_slide = rows.groupby("slide_id")[learnt.outputs]
    # A mean passes over what is missing.
    means = by_slide.mean().where(by_slide.count().eq(rows.groupby("slide_id").size(), axis=0))
    slides = learnt.slides[learnt.slides["cohort"] == cohort].set_index("slide_id").sort_index()
    return slides[["patient_id", "value", "time", "event"]].join(means).reset_index()


def of_patients(slides: pd.DataFrame, columns: Sequence[str], *, how: str) -> pd.DataFrame:
    """One row per patient, by patient_id, of those slides that have all of these columns.

    how: `mean`, `max` or `median` of a patient's slides.
    """
    known = slides.dropna(subset=list(columns))
    return known.groupby("patient_id")[list(columns)].agg(how).reset_index()


def left_out(slides: pd.DataFrame, columns: Sequence[str]) -> str:
    """How many of some slides have no prediction, for a note; '' where all have."""
    missing = int(slides[list(columns)].isna().any(axis=1).sum())
    return f"slides without a prediction, left out: {missing}" if missing else ""


# Numbers


def write_number_tables(
    paths: Mapping[str, str | Path], targets: Sequence[Learnt], *, resamples: int, seed: int
) -> None:
    """Write the tables of Table 1: paths of `table1` and `numbers`."""
    files.write_table(table1(targets, resamples=resamples, seed=seed), paths["table1"])
    files.write_table(numbers(targets), paths["numbers"])


def numbers(targets: Sequence[Learnt]) -> pd.DataFrame:
    """The table `numbers.tsv`: target, encoder, set, patient_id, value, prediction.

    A row for each patient with a prediction. The value of a patient whose slides have values of their own is made of
    them as the prediction is.
    """
    tables = [
        _patients(learnt, encoder, set_name)[1].assign(target=learnt.name, encoder=encoder, set=set_name)
        for learnt, encoder, set_name in _each(targets, NUMBER)
    ]
    columns = ["target", "encoder", "set", "patient_id", "value", "prediction"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def table1(targets: Sequence[Learnt], *, resamples: int, seed: int) -> pd.DataFrame:
    """The table `table1.tsv`: target, encoder, set, spearman, low, high, patients, note. (Table 1 and 4.2.)

    Spearman's coefficient of prediction and value over patients, with its 95 % percentile interval over resamples of
    patients. Missing, and the note says why, for fewer than three patients and where predictions or values are alike.
    """
    rows = []
    for learnt, encoder, set_name in _each(targets, NUMBER):
        slides, patients = _patients(learnt, encoder, set_name)
        value, prediction = patients["value"].to_numpy(float), patients["prediction"].to_numpy(float)
        coefficient, _ = evaluation.spearman(value, prediction)
        drawn = evaluation.draw_patients(patients["patient_id"], resamples=resamples, seed=seed)
        spread = evaluation.interval(evaluation.resampled_spearman(value, prediction, drawn))
        why = _no_spearman(value, prediction)
        low, high = (np.nan, np.nan) if why else (spread.low, spread.high)
        said = [why, left_out(slides, learnt.outputs)]
        if not why and spread.one_class:
            said.append(f"{spread.one_class} of {resamples} resamples are all alike and are left out")
        note = "; ".join(filter(None, said))
        rows.append((learnt.name, encoder, set_name, coefficient, low, high, len(patients), note))
    return pd.DataFrame(rows, columns=["target", "encoder", "set", "spearman", "low", "high", "patients", "note"])


def _each(targets: Sequence[Learnt], kind: str) -> list[tuple[Learnt, str, str]]:
    """Every target of a kind with each of its encoders and sets."""
    return [
        (learnt, encoder, set_name)
        for learnt in targets
        if learnt.kind == kind
        for encoder in learnt.predictions
        for set_name in (DEVELOPMENT, learnt.held_out)
    ]


def _patients(learnt: Learnt, encoder: str, set_name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The slides of a set, and its patients with value and prediction."""
    slides = of_set(learnt, learnt.predictions[encoder], set_name)
    return slides, of_patients(slides, ["value", "prediction"], how=learnt.slides_of_patient)


def _no_spearman(value: np.ndarray, prediction: np.ndarray) -> str:
    """Why there is no coefficient; '' where there is one."""
    if len(value) < 3:
        return "fewer than three patients"
    if np.ptp(value) == 0:
        return "all values are alike"
    return "all predictions are alike" if np.ptp(prediction) == 0 else ""


# Classes


def write_class_tables(
    paths: Mapping[str, str | Path], targets: Sequence[Learnt], *, compared: str | None, resamples: int, seed: int
) -> None:
    """Write the tables of Fig. 4: paths of `auc`, `auc_tests` and `roc`; compared: the target of the paired tests."""
    files.write_table(auc_table(targets, resamples=resamples, seed=seed), paths["auc"])
    files.write_table(auc_tests(targets, compared=compared, resamples=resamples, seed=seed), paths["auc_tests"])
    files.write_table(roc_table(targets), paths["roc"])


class _Judged(NamedTuple):
    """n slides with their class: labels (n,), probabilities (n, classes), patients (n,) str."""

    labels: np.ndarray
    probabilities: np.ndarray
    patients: np.ndarray

    def binary(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Labels in {0, 1} and scores: of two classes the last against the first, of more each against the rest."""
        classes = self.probabilities.shape[1]
        chosen = [1] if classes == 2 else range(classes)
        return [((self.labels == place).astype(int), self.probabilities[:, place]) for place in chosen]

    def aucs(self, times: np.ndarray) -> np.ndarray:
        """The AUC, or its mean over the classes that have one, of each row of times (m, patients)."""
        drawn = evaluation.Draws(times, np.unique(self.patients, return_inverse=True)[1])
        return macro(np.stack([evaluation.resampled_auc(*one, drawn) for one in self.binary()], axis=1))

    def auc(self) -> float:
        return float(self.aucs(np.ones((1, len(np.unique(self.patients))), np.int32))[0])

    def positives(self) -> int:
        """Slides of the last of two classes; of more, of those that the mean is over."""
        counts = [int(labels.sum()) for labels, _ in self.binary()]
        return sum(count for count in counts if count < len(self.labels))

    def tells_spread(self) -> bool:
        """Whether of any class, and of all others, there are slides of several patients."""
        return any(
            min(len(np.unique(self.patients[labels == one])) for one in (0, 1)) > 1 for labels, _ in self.binary()
        )


def _judged(slides: pd.DataFrame, outputs: Sequence[str]) -> _Judged:
    known = slides.dropna(subset=["value", *outputs])
    return _Judged(
        known["value"].to_numpy(int), known[list(outputs)].to_numpy(float), known["patient_id"].to_numpy(str)
    )


def auc_table(targets: Sequence[Learnt], *, resamples: int, seed: int) -> pd.DataFrame:
    """The table `auc.tsv`: target, encoder, set, auc, low, high, slides, positives, note. (4.4, 4.5 and Fig. 4.)

    AUC over slides: of two classes that of the last one, of more the mean over those that have one, each against the
    rest. Intervals of 95 % are over resamples of patients, who bring all their slides; a resample of one class is left
    out and counted. positives: slides of the last of two classes, else of those that the mean is over.
    """
    rows = []
    for learnt, encoder, set_name in _each(targets, CLASS):
        slides = of_set(learnt, learnt.predictions[encoder], set_name)
        of = _judged(slides, learnt.outputs)
        value, low, high = of.auc(), np.nan, np.nan
        said = [_one_class(of, learnt.classes), left_out(slides, learnt.outputs)]
        if np.isfinite(value) and of.tells_spread():
            drawn = evaluation.draw_patients(of.patients, resamples=resamples, seed=seed)
            spread = evaluation.interval(of.aucs(drawn.times))
            low, high = spread.low, spread.high
            if spread.one_class:
                said.append(f"{spread.one_class} of {resamples} resamples have one class and are left out")
        elif np.isfinite(value):
            said.append("no interval: each class, or all others, are of one patient")
        note = "; ".join(filter(None, said))
        rows.append((learnt.name, encoder, set_name, value, low, high, len(of.labels), of.positives(), note))
    columns = ["target", "encoder", "set", "auc", "low", "high", "slides", "positives", "note"]
    return pd.DataFrame(rows, columns=columns)


def _one_class(of: _Judged, classes: Sequence[str]) -> str:
    present = [name for place, name in enumerate(classes) if (of.labels == place).any()]
    if not present:
        return "no slide"
    return f"one class: all slides are {present[0]}" if len(present) == 1 else ""


def auc_tests(targets: Sequence[Learnt], *, compared: str | None, resamples: int, seed: int) -> pd.DataFrame:
    """The table `auc_tests.tsv`: is the held-out AUC of one encoder higher than another's, for every two of a target.

    compared: the target; None for none, and no row. Columns: target, first, second; difference: of first minus second;
    low, high: its 95 % percentile interval; p (`evaluation.paired_test`); p_adjusted: Holm's, over all rows that have a
    p; patients; resamples that have both AUCs; note. Both are judged on the same slides, those that all encoders have
    a prediction of, and in the same resamples of patients. It is of these models on other patients like these; how
    much models differ that learn anew, repeats must say.
    """
    columns = ["target", "first", "second", "difference", "low", "high", "p", "patients", "resamples", "note"]
    rows = []
    for learnt in (learnt for learnt in targets if learnt.name == compared):
        found = {name: of_set(learnt, rows, learnt.held_out) for name, rows in learnt.predictions.items()}
        complete = np.all([slides[learnt.outputs].notna().all(axis=1) for slides in found.values()], axis=0)
        judged = {name: _judged(slides[complete], learnt.outputs) for name, slides in found.items()}
        of = next(iter(judged.values()))
        drawn = evaluation.draw_patients(of.patients, resamples=resamples, seed=seed)
        aucs = {name: (each.auc(), each.aucs(drawn.times)) for name, each in judged.items()}
        some = f"slides that not all encoders have a prediction of, left out: {int((~complete).sum())}"
        left = [] if complete.all() else [some]
        for first, second in combinations(aucs, 2):
            low, high, p, used, is_least = evaluation.paired_test(aucs[first][1], aucs[second][1])
            said = [evaluation.LEAST_P] if is_least else []
            if not of.tells_spread():
                low = high = p = np.nan
                said = [_one_class(of, learnt.classes) or "no interval: each class, or all others, are of one patient"]
            difference = aucs[first][0] - aucs[second][0]
            note, patients = "; ".join([*said, *left]), len(np.unique(of.patients))
            rows.append((learnt.name, first, second, difference, low, high, p, patients, used, note))
    table = pd.DataFrame(rows, columns=columns)
    table.insert(7, "p_adjusted", evaluation.holm(table["p"].to_numpy(float)))
    return table


def roc_table(targets: Sequence[Learnt]) -> pd.DataFrame:
    """The table `roc.tsv`: target, encoder, fpr, tpr, of the held-out slides of targets of two classes. (Fig. 4.)

    A curve goes from (0, 0) to (1, 1) in at most `tile_classification.MOST_POINTS` points; none where a class is
    missing.
    """
    columns = ["target", "encoder", "fpr", "tpr"]
    curves = []
    for learnt, encoder, set_name in _each(targets, CLASS):
        if set_name == learnt.held_out and len(learnt.classes) == 2:
            of = _judged(of_set(learnt, learnt.predictions[encoder], set_name), learnt.outputs)
            ((labels, scores),) = of.binary()
            curve = tile_classification.roc(labels, scores)[["fpr", "tpr"]]
            curves.append(curve.assign(target=learnt.name, encoder=encoder)[columns])
    return pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=columns)
