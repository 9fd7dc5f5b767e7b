"""Whether risks that are learnt from grids tell who dies sooner: C-index, groups by the median, log-rank, curves.

A risk is that of a Cox model, or what is left of 1 by the probability of a favourable class (neural image compression,
4.4, Figs. 5 and 6). It is of the slides that no model has seen, and of a patient it is one.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from workflow_scripts.lib import evaluation, files, scores, survival, target_scores
from workflow_scripts.lib.slide_targets import CLASS, SURVIVAL
from workflow_scripts.lib.splits import VALIDATION
from workflow_scripts.lib.target_scores import Learnt

log = logging.getLogger(__name__)

COX = "Cox"
# Whether risks of different models are put on one scale, see `on_one_scale`.
Scale = Literal["standardised", "as_predicted"]


class Risks(NamedTuple):
    """The risks of patients by one encoder: patient_id, risk, time (months), event; and what was left out of them."""

    target: str
    encoder: str
    risk: str
    patients: pd.DataFrame
    notes: tuple[str, ...]


def write_tables(
    paths: Mapping[str, str | Path], targets: Sequence[Learnt], *, scale: Scale, resamples: int, seed: int
) -> None:
    """Write the tables of Figs. 5 and 6: paths of `survival`, `risks` and `survival_curves`."""
    found = [risks_of(learnt, encoder, scale=scale) for learnt in targets for encoder in _encoders(learnt)]
    files.write_table(survival_table(found, resamples=resamples, seed=seed), paths["survival"])
    files.write_table(risks_table(found), paths["risks"])
    files.write_table(curves_table(found), paths["survival_curves"])


def _encoders(learnt: Learnt) -> list[str]:
    """The encoders that give a risk of this target: all, or none."""
    gives = learnt.kind == SURVIVAL or (learnt.kind == CLASS and learnt.favourable is not None)
    return list(learnt.predictions) if gives else []


# Risks


def risks_of(learnt: Learnt, encoder: str, *, scale: Scale) -> Risks:
    """The risks of a target's held-out patients who were followed.

    The risk of a class target is 1 less the probability of the favourable class, and is on one scale as it is.
    """
    predictions, notes = learnt.predictions[encoder], []
    if learnt.kind == SURVIVAL:
        if scale == "standardised":
            predictions, notes = on_one_scale(predictions, slides_of_patient=learnt.slides_of_patient)
        name, column = COX, "prediction"
    else:
        name, column = f"1 - p({learnt.favourable})", f"p_{learnt.classes.index(learnt.favourable)}"
    slides = target_scores.of_set(learnt, predictions, learnt.held_out)
    notes.append(target_scores.left_out(slides, [column]))
    slides = slides.assign(risk=slides[column] if name == COX else 1 - slides[column])
    patients = target_scores.of_patients(slides, ["risk"], how=learnt.slides_of_patient)
    followed = slides.groupby("patient_id")[["time", "event"]].first()
    patients = patients.join(followed, on="patient_id")
    known = patients.dropna(subset=["time", "event"]).reset_index(drop=True)
    if len(known) < len(patients):
        notes.append(f"patients without follow-up, left out: {len(patients) - len(known)}")
    return Risks(learnt.name, encoder, name, known.astype({"event": int}), tuple(filter(None, notes)))


def on_one_scale(predictions: pd.DataFrame, *, slides_of_patient: str) -> tuple[pd.DataFrame, list[str]]:
    """Log risks of all models on one scale, for a Cox model's has no zero of its own; and notes.

    Each model's are taken less the mean, over the standard deviation, of its risks of the patients that validate it.
    Where those are alike only the mean is taken; of a model that no patient validates, risks are missing.
    """
    scaled, notes = predictions.copy(), []
    for model, rows in predictions.groupby("model"):
        validates = target_scores.of_patients(rows[rows["set"] == VALIDATION], ["prediction"], how=slides_of_patient)[
            "prediction"
        ].to_numpy(float)
        mean, spread = (validates.mean(), validates.std()) if len(validates) else (np.nan, np.nan)
        if not np.isfinite(mean):
            notes.append(f"model {model} left out: no patient validates it")
        elif not spread > 1e-9 * max(1.0, abs(mean)):
            notes.append(f"model {model}: risks of the patients that validate it are alike")
            spread = 1.0
        scaled.loc[rows.index, "prediction"] = (rows["prediction"] - mean) / spread
    return scaled, notes


# Tables


def survival_table(found: Sequence[Risks], *, resamples: int, seed: int) -> pd.DataFrame:
    """The table `survival.tsv`: a row per target with a risk and encoder. (Figs. 5 and 6.)

    target, encoder, risk; patients, events; c_index: the chance that of two patients who dies first had the higher risk
    (0.5 is none), low, high: its 95 % percentile interval over resamples of patients; statistic, p: log-rank of risks
    above the median against the others; p_adjusted: Holm's, over the table; direction (`survival.HIGH_WORSE`: those of
    higher risk die sooner); note.
    """
    rows = []
    for of in found:
        patients = of.patients
        test = survival.compare(patients, _groups(patients))
        time, event, risk = (patients[name].to_numpy() for name in ("time", "event", "risk"))
        value, notes = scores.c_index(time, event, risk), [test["note"], *of.notes]
        drawn = evaluation.draw_patients(patients["patient_id"], resamples=resamples, seed=seed)
        spread = evaluation.interval(resampled_c_index(time, event, risk, drawn.times[:, drawn.patient_of]))
        low, high = (spread.low, spread.high) if np.isfinite(value) else (np.nan, np.nan)
        if np.isfinite(value) and spread.one_class:
            notes.append(f"{spread.one_class} of {resamples} resamples have no two patients to compare")
        row = {"target": of.target, "encoder": of.encoder, "risk": of.risk, "patients": len(patients)}
        row |= {"events": int(event.sum()), "c_index": value, "low": low, "high": high}
        row |= {key: test[key] for key in ("statistic", "p", "direction")}
        rows.append(row | {"note": "; ".join(filter(None, notes))})
    columns = ["target", "encoder", "risk", "patients", "events", "c_index", "low", "high"]
    return survival.with_adjusted(pd.DataFrame(rows, columns=[*columns, "statistic", "p", "direction", "note"]))


def risks_table(found: Sequence[Risks]) -> pd.DataFrame:
    """The table `risks.tsv`: target, encoder, patient_id, risk, group, time, event; `high` is above the median."""
    columns = ["target", "encoder", "patient_id", "risk", "group", "time", "event"]
    tables = [
        of.patients.assign(target=of.target, encoder=of.encoder, group=_groups(of.patients))[columns] for of in found
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def curves_table(found: Sequence[Risks]) -> pd.DataFrame:
    """The table `survival_curves.tsv`: target, encoder, and the columns of `survival.kaplan_meier`."""
    tables = []
    for of in found:
        curves = survival.kaplan_meier(of.patients.assign(group=_groups(of.patients)))
        curves.insert(0, "target", of.target)
        curves.insert(1, "encoder", of.encoder)
        tables.append(curves)
    columns = ["target", "encoder", "group", "time", "survival", "low", "high", "at_risk", "events"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def _groups(patients: pd.DataFrame) -> pd.Series:
    """`low` where the risk is at most the median, else `high`."""
    if patients.empty:
        return pd.Series([], index=patients.index, dtype=str)
    median = float(patients["risk"].median())
    return survival.group(patients["risk"], low=median, high=median)


# The C-index


def resampled_c_index(time: np.ndarray, event: np.ndarray, risk: np.ndarray, times: np.ndarray) -> np.ndarray:
    """`scores.c_index` of each resample, (resamples,), that has each patient as often as times (resamples, n) says."""
    first, risk = _first(np.asarray(time), np.asarray(event)).astype(float), np.asarray(risk, float)
    higher = (risk[:, None] > risk) + (risk[:, None] == risk) / 2
    pairs, won = (((times @ of) * times).sum(axis=1) for of in (first, first * higher))
    return np.divide(won, pairs, out=np.full(len(times), np.nan), where=pairs > 0)


def _first(time: np.ndarray, event: np.ndarray) -> np.ndarray:
    """(n, n) bool, whether the first of two patients is known to have died before the second.

    Who is lost sight of in the month of another's death outlived him; two who died in one month are not compared.
    """
    earlier = (time[:, None] < time) | ((time[:, None] == time) & (event == 0))
    return (event[:, None] == 1) & earlier
