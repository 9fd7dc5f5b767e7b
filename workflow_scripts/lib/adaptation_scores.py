"""How well methods of microscope adaptation tell the classes of patches: Table 2, paired tests, confusion, classes.

All is of the labelled patches of the test sets, of either domain, for which each method has learnt once with each seed
of the study. Tables are long, and in the order of the methods, seeds, domains and classes that were given. Measures are
the paper's: accuracy, and the means over classes of precision, recall and F1. Source: microscope adaptation, 3 and 3.1.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from workflow_scripts.lib import adaptation_data, evaluation, files, predictions
from workflow_scripts.lib.adaptation_data import DOMAINS, NO_CLASS
from workflow_scripts.lib.domains import RAW, STAINED, TARGET
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.splits import TEST

log = logging.getLogger(__name__)

MEASURES = ("accuracy", "precision", "recall", "f1")
# The method that others are tested against, where it is compared.
BASELINE = "source_only"
# Whose a prediction is.
KEYS = ["method", "seed", "domain"]
PATCH = ["slide_id", "patient_id", "col", "row", "class"]
# Before the name of a class: its probability.
PROBABILITY = "p_"
# All that is text in `patches.tsv`.
TEXT = ["method", "domain", "slide_id", "patient_id", "class", "predicted"]


def colours_of(method: Mapping[str, Any]) -> str:
    """In which colours a method sees patches, by its plain values: RAW or STAINED."""
    return STAINED if method["stain"] else RAW


# Patches


def read_patches(
    paths_to_predictions: Mapping[tuple[int, str, str], str | Path],
    slides: Sequence[Mapping[str, str]],
    *,
    methods: Mapping[str, Mapping[str, Any]],
    classes: Sequence[str],
    paths_to_labels: Mapping[str, str | Path],
    slide_labels: Mapping[str, str],
) -> pd.DataFrame:
    """The table `patches.tsv`: KEYS, PATCH, predicted, and `p_<class>` of each class, a row per method and test patch.

    paths_to_predictions: by seed, domain and colours (RAW, STAINED). slides: as for `adaptation_data.describe`; those
    of the test set are judged. methods: their plain values, by name. The rest is as in `adaptation_data.classes_of`;
    patches without a class are left out. predicted: the most probable class, of equal ones that which is named first.

    Raises InputError where a domain has no labelled test patch, where methods were not judged on the same patches, and
    as `predictions.read_classes` does.
    """
    seeds = list(dict.fromkeys(seed for seed, *_ in paths_to_predictions))
    patches = {
        domain: _labelled(
            paths_to_predictions[seeds[0], domain, colours_of(next(iter(methods.values())))],
            [slide for slide in slides if slide["domain"] == domain and slide["set"] == TEST],
            classes=classes,
            paths_to_labels=paths_to_labels,
            slide_labels=slide_labels,
            domain=domain,
        )
        for domain in DOMAINS
    }
    tables, names = [], np.asarray(classes)
    for method, values in methods.items():
        for seed in seeds:
            for domain, of_domain in patches.items():
                path = paths_to_predictions[seed, domain, colours_of(values)]
                found = _probabilities(path, of_domain, method=method, classes=len(classes))
                columns = {f"{PROBABILITY}{name}": found[:, place] for place, name in enumerate(classes)}
                predicted = {"predicted": names[found.argmax(axis=1)]}
                tables.append(of_domain.assign(method=method, seed=seed, domain=domain, **predicted, **columns))
    columns = [*KEYS, *PATCH, "predicted", *(f"{PROBABILITY}{name}" for name in classes)]
    return pd.concat(tables, ignore_index=True)[columns]


def _labelled(
    path: str | Path, slides: Sequence[Mapping[str, str]], *, classes: Sequence[str], domain: str, **labels: Any
) -> pd.DataFrame:
    """The predicted patches of some slides that have a class: PATCH, slide by slide."""
    tables = [pd.DataFrame(columns=PATCH)]
    for slide in slides:
        coords, _ = predictions.read_classes(path, slide["slide_id"], models=[], classes=len(classes))
        places = adaptation_data.classes_of(coords, slide, classes=classes, **labels)
        known = places != NO_CLASS
        if known.any():
            described = pd.DataFrame(coords[known], columns=["col", "row"])
            names = np.asarray(classes)[places[known]]
            about = {key: slide[key] for key in ("slide_id", "patient_id")}
            tables.append(described.assign(**about, **{"class": names})[PATCH])
    if len(tables) == 1:
        raise InputError(
            f"{path}: expected patches of {', '.join(classes)} on the {len(slides)} slides of the {TEST} set of the "
            f"{domain}, found none; annotate some, or give their classes"
        )
    return pd.concat(tables[1:], ignore_index=True)


def _probabilities(path: str | Path, patches: pd.DataFrame, *, method: str, classes: int) -> np.ndarray:
    """What a file says of these patches by a method, (n, classes) float32, in their order."""
    found = np.empty((len(patches), classes), np.float32)
    for slide, rows in patches.groupby("slide_id", sort=False).indices.items():
        coords, by_method = predictions.read_classes(path, slide, models=[method], classes=classes)
        asked = pd.MultiIndex.from_frame(patches.iloc[rows][["col", "row"]])
        places = pd.MultiIndex.from_arrays(coords.T).get_indexer(asked)
        if (places < 0).any():
            column, row = asked[places < 0][0]
            raise InputError(
                f"{path}: {slide}: expected the patches that other predictions have, found none of "
                f"{int((places < 0).sum())}, the first at column {column}, row {row}; predict again"
            )
        found[rows] = by_method[method][places]
    return found


def write_tables(
    paths: Mapping[str, str | Path],
    *,
    paths_to_predictions: Mapping[tuple[int, str, str], str | Path],
    slides: Sequence[Mapping[str, str]],
    methods: Mapping[str, Mapping[str, Any]],
    classes: Sequence[str],
    paths_to_labels: Mapping[str, str | Path],
    slide_labels: Mapping[str, str],
    exported: str | None,
    resamples: int,
    seed: int,
) -> None:
    """Write `patches.tsv` and the tables that are made of it; paths: where each goes, by name, all of them.

    The rest is as in `read_patches` and `tables`, and raises as they do.
    """
    patches = read_patches(
        paths_to_predictions,
        slides,
        methods=methods,
        classes=classes,
        paths_to_labels=paths_to_labels,
        slide_labels=slide_labels,
    )
    log.info("%d predictions of %d methods", len(patches), len(methods))
    found = tables(patches, methods=methods, classes=classes, exported=exported, resamples=resamples, seed=seed)
    for name, table in {"patches": patches, **found}.items():
        files.write_table(table, paths[name])


def tables(
    patches: pd.DataFrame,
    *,
    methods: Mapping[str, Mapping[str, Any]],
    classes: Sequence[str],
    exported: str | None,
    resamples: int,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """All tables by name: table2, seeds, tests, confusion and classes, of the functions below.

    patches: of `read_patches`; methods: their plain values by name; exported: the method that is, if any.
    """
    judged = judge(patches, classes=classes, resamples=resamples, seed=seed)
    table2 = table2_of(judged, methods, classes=classes)
    return {
        "table2": table2,
        "seeds": seeds_table(table2),
        "tests": tests_table(judged, against=references(list(methods), exported)),
        "confusion": confusion_table(judged, classes=classes),
        "classes": classes_table(judged, classes=classes),
    }


# Measures


class Scores(NamedTuple):
    """Measures of confusion counts (…, k, k): accuracy, and the means over classes of the others, (…,) each."""

    accuracy: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


class Judged(NamedTuple):
    """What a method of a seed makes of a domain's test patches: by patient, and in resamples of patients.

    confusion: (p, k, k) int64, of each of p patients how many patches of a class (first) are predicted as which.
    resampled: `Scores` of (resamples,). slides: how many have a labelled patch. lacking: resamples that lack one of the
    domain's classes.
    """

    method: str
    seed: int
    domain: str
    confusion: np.ndarray
    slides: int
    resampled: Scores
    lacking: int

    @property
    def total(self) -> np.ndarray:
        """The confusion of all patients, (k, k)."""
        return self.confusion.sum(axis=0)

    @property
    def patients(self) -> int:
        """How many there are."""
        return len(self.confusion)


def measures_of_classes(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of each class, (…, k) each, of confusion counts (…, k, k), class first.

    A class that nothing is predicted as has a precision, and with it an F1, of 0. One without a patch has none: NaN.
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1).astype(float)
    of_class, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    has = of_class > 0
    missing = np.where(has, 0.0, np.nan)
    precision = np.divide(right, predicted, out=missing.copy(), where=has & (predicted > 0))
    recall = np.divide(right, of_class, out=missing.copy(), where=has)
    # 2 P R / (P + R), and 0 where both are 0.
    f1 = np.divide(2 * right, of_class + predicted, out=missing.copy(), where=has)
    return precision, recall, f1


def scores_of(confusion: np.ndarray) -> Scores:
    """The measures of confusion counts (…, k, k), class first; means are over the classes that have patches.

    F1 is the mean of the classes' F1, as in the paper, whose F1 is not that of its mean precision and recall. NaN where
    there is no patch. (Paper: microscope adaptation, Table 2.)
    """
    number = confusion.sum(axis=(-2, -1))
    right = np.diagonal(confusion, axis1=-2, axis2=-1).sum(axis=-1)
    accuracy = np.divide(right, number, out=np.full(np.shape(number), np.nan), where=number > 0)
    has = confusion.sum(axis=-1) > 0
    classes = has.sum(axis=-1)
    means = [
        np.divide(
            np.where(has, of, 0.0).sum(axis=-1), classes, out=np.full(np.shape(number), np.nan), where=classes > 0
        )
        for of in measures_of_classes(confusion)
    ]
    return Scores(accuracy, *means)


def judge(patches: pd.DataFrame, *, classes: Sequence[str], resamples: int, seed: int) -> list[Judged]:
    """Each method, seed and domain of `patches`, in their order there, with resamples of the domain's patients.

    A patient drawn twice brings all patches twice. The resamples of a domain are those of `seed`, the same for all
    methods and seeds of the study, and so are the classes that each has.
    """
    k = len(classes)
    found = []
    for (method, number, domain), of in patches.groupby(KEYS, sort=False):
        places = [pd.Index(classes).get_indexer(of[column]) for column in ("class", "predicted")]
        names, patient_of = np.unique(of["patient_id"].to_numpy(str), return_inverse=True)
        cells = (patient_of * k + places[0]) * k + places[1]
        confusion = np.bincount(cells, minlength=len(names) * k * k).reshape(-1, k, k)
        times = evaluation.draw_patients(names, resamples=resamples, seed=seed).times
        drawn = (times @ confusion.reshape(len(names), k * k)).reshape(-1, k, k)
        has = confusion.sum(axis=(0, 2)) > 0
        lacking = int((drawn.sum(axis=2)[:, has] == 0).any(axis=1).sum())
        slides = of["slide_id"].nunique()
        found.append(Judged(method, int(number), domain, confusion, slides, scores_of(drawn), lacking))
    return found


# Tables


def table2_of(
    judged: Sequence[Judged], methods: Mapping[str, Mapping[str, Any]], *, classes: Sequence[str]
) -> pd.DataFrame:
    """The table `table2.tsv`, a row per method, seed and domain. (Paper: microscope adaptation, Table 2.)

    Columns: method, title, seed, domain; labelled: whose labels it learnt from; each of MEASURES, with its 95 %
    percentile interval over resamples of patients (`<measure>_low`, `<measure>_high`), which a single patient has not;
    patches, slides, patients; note. A resample that lacks a class is judged on its others.
    """
    rows = []
    for of in judged:
        values: dict[str, Any] = {
            "method": of.method,
            "title": methods[of.method]["title"],
            "seed": of.seed,
            "domain": of.domain,
            "labelled": methods[of.method]["labelled"],
        }
        for measure, value, resampled in zip(MEASURES, scores_of(of.total), of.resampled, strict=True):
            spread = evaluation.interval(resampled)
            low, high = (spread.low, spread.high) if of.patients > 1 else (np.nan, np.nan)
            values |= {measure: float(value), f"{measure}_low": low, f"{measure}_high": high}
        values |= {"patches": int(of.total.sum()), "slides": of.slides, "patients": of.patients}
        rows.append(values | {"note": _note(of, classes)})
    return pd.DataFrame(rows)


def _note(of: Judged, classes: Sequence[str]) -> str:
    """What a reader of the measures must know: classes that are missing, never predicted, or of one patient."""

    def named(chosen: np.ndarray) -> str:
        return ", ".join(name for name, one in zip(classes, chosen, strict=True) if one)

    has = of.total.sum(axis=1) > 0
    patients = (of.confusion.sum(axis=2) > 0).sum(axis=0)
    said = [
        ("no patch of {}: means over the other classes", ~has),
        ("nothing is predicted as {}: precision 0", has & (of.total.sum(axis=0) == 0)),
        ("of one patient: {}", patients == 1),
    ]
    notes = [form.format(named(chosen)) for form, chosen in said if chosen.any()]
    if of.patients == 1:
        notes.append("no interval: a single patient")
    elif of.lacking:
        notes.append(f"{of.lacking} of {len(of.resampled.f1)} resamples lack a class")
    return "; ".join(notes)


def seeds_table(table2: pd.DataFrame) -> pd.DataFrame:
    """The table `seeds.tsv`: how measures differ between seeds: method, domain, measure, seeds, mean, sd, least,
    greatest.

    table2: of `table2_of`. sd: standard deviation of a sample, which one seed has not.
    """
    rows = []
    for (method, domain), of in table2.groupby(["method", "domain"], sort=False):
        for measure in MEASURES:
            values = of[measure]
            spread = values.mean(), values.std(ddof=1), values.min(), values.max()
            rows.append((method, domain, measure, len(values), *spread))
    return pd.DataFrame(rows, columns=["method", "domain", "measure", "seeds", "mean", "sd", "least", "greatest"])


def references(methods: Sequence[str], exported: str | None) -> list[str]:
    """What methods are tested against: BASELINE, or the first where it is not compared; and the exported one, if any.

    methods: those that are compared, in order.
    """
    baseline = BASELINE if BASELINE in methods else methods[0]
    return list(dict.fromkeys([baseline, *([exported] if exported else [])]))


def tests_table(judged: Sequence[Judged], *, against: Sequence[str]) -> pd.DataFrame:
    """The table `tests.tsv`: is the F1 of one method higher than another's on the target, for each seed?

    Columns: seed, first, second; difference: of first minus second, so that above 0 the first is better; low, high: its
    95 % percentile interval; p (`evaluation.paired_test`); p_adjusted: Holm's, over all rows of the seed; patients;
    resamples: those that have both; note. `second` is each of `against` in turn, `first` every other method; two
    methods are compared once.

    Both are judged on the same resamples of patients, and in each on the same classes. With few patients a bootstrap is
    too sure, and the note says so. It is of these trained networks on other patients like those held out; how much
    networks differ that learn anew, `seeds.tsv` says.
    """
    columns = ["seed", "first", "second", "difference", "low", "high", "p", "p_adjusted", "patients", "resamples"]
    found = [pd.DataFrame(columns=[*columns, "note"])]
    for seed in dict.fromkeys(of.seed for of in judged):
        methods = {of.method: of for of in judged if of.seed == seed and of.domain == TARGET}
        pairs = {}
        for second in against:
            pairs |= {(first, second): 0 for first in methods if first != second and (second, first) not in pairs}
        rows = [(seed, *pair, *_tested(*(methods[name] for name in pair))) for pair in pairs]
        table = pd.DataFrame(rows, columns=[*(name for name in columns if name != "p_adjusted"), "note"])
        table.insert(7, "p_adjusted", evaluation.holm(table["p"].to_numpy(float)))
        found.append(table)
    return pd.concat(found[1:] or found, ignore_index=True)


def _tested(first: Judged, second: Judged) -> tuple[float, float, float, float, int, int, str]:
    """difference, low, high, p, patients, resamples and note of two methods on the same patches."""
    difference = float(scores_of(first.total).f1 - scores_of(second.total).f1)
    low, high, p, used, is_least = evaluation.paired_test(first.resampled.f1, second.resampled.f1)
    patients = first.patients
    if patients < 2:
        return difference, np.nan, np.nan, np.nan, patients, used, "no interval: a single patient"
    notes = [evaluation.LEAST_P] if is_least else []
    # What an exact test of as many patients' signs can give at least.
    if 2.0 ** (1 - patients) > 2 / (used + 1):
        notes.append(f"few patients: the signs of {patients} give no p below {2.0 ** (1 - patients):.2g}")
    return difference, low, high, p, patients, used, "; ".join(notes)


def confusion_table(judged: Sequence[Judged], *, classes: Sequence[str]) -> pd.DataFrame:
    """The table `confusion.tsv`: method, seed, domain, class, predicted, n, share, for every two classes.

    share: of the patches of the class; missing where it has none.
    """
    rows = []
    for of in judged:
        for name, counts in zip(classes, of.total, strict=True):
            whole = counts.sum()
            rows += [
                (of.method, of.seed, of.domain, name, other, n, n / whole if whole else np.nan)
                for other, n in zip(classes, counts, strict=True)
            ]
    return pd.DataFrame(rows, columns=[*KEYS, "class", "predicted", "n", "share"])


def classes_table(judged: Sequence[Judged], *, classes: Sequence[str]) -> pd.DataFrame:
    """The table `classes.tsv`: method, seed, domain, class, precision, recall, f1, patches, predicted.

    patches, predicted: how many are of the class, and predicted as it. The measures are those of `measures_of_classes`.
    """
    rows = []
    for of in judged:
        numbers = zip(*measures_of_classes(of.total), of.total.sum(axis=1), of.total.sum(axis=0), strict=True)
        rows += [(of.method, of.seed, of.domain, name, *values) for name, values in zip(classes, numbers, strict=True)]
    return pd.DataFrame(rows, columns=[*KEYS, "class", "precision", "recall", "f1", "patches", "predicted"])
