"""How well ways of training tell where a metastasis came from: AUROC, paired tests, confusion, ranks of the true class.

All is on the same held-out slides, for which each regime (a way of training) gives every tile a probability of each
class. A slide has the mean of its tiles' probabilities. Tables are long, and in the order of the regimes and classes
that were given. Source: metastatic origin, 2.1, 3, 3.1, Fig. 3, 4B and 4C.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from workflow_scripts.lib import divergence, evaluation, files, origins, predictions, tile_classification
from workflow_scripts.lib.domains import METASTATIC, PRIMARY
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.evaluation import Draws
from workflow_scripts.lib.splits import TEST

log = logging.getLogger(__name__)

TILE, SLIDE = "tile", "slide"
# What stands in place of a class for the mean over classes.
MACRO = "macro"
# Columns of `slide_predictions` beside those of the classes, which cannot be called so.
DESCRIBED = ["regime", "slide_id", "patient_id", "class", "tiles"]


class HeldOut(NamedTuple):
    """What the regimes say of the tiles of held-out slides.

    slides: slide_id, patient_id and class of s slides; classes: the k classes, in the order of the probabilities;
    slide_of_tile: (n,) int, the place of each tile's slide; probabilities: (n, k) float32 by regime.
    """

    slides: pd.DataFrame
    classes: tuple[str, ...]
    slide_of_tile: np.ndarray
    probabilities: Mapping[str, np.ndarray]

    def tiles(self) -> np.ndarray:
        """How many tiles each slide has, (s,)."""
        return np.bincount(self.slide_of_tile, minlength=len(self.slides))

    def of_slides(self, regime: str) -> np.ndarray:
        """The mean of each slide's tiles' probabilities, (s, k) float64; NaN for a slide without tiles."""
        columns = self.probabilities[regime].T
        sums = [np.bincount(self.slide_of_tile, column, minlength=len(self.slides)) for column in columns]
        tiles = self.tiles()[:, None]
        means = np.full((len(self.slides), len(self.classes)), np.nan)
        return np.divide(np.stack(sums, axis=1), tiles, out=means, where=tiles > 0)


class Judged(NamedTuple):
    """The tiles, or the slides that have tiles, which a level is about: n with their class, from 0, and patient."""

    level: str
    labels: np.ndarray
    patients: np.ndarray
    probabilities: Mapping[str, np.ndarray]


def judged(held_out: HeldOut) -> Iterator[Judged]:
    """Both levels, `tile` and `slide`. Slides without tiles have no prediction, and are left out."""
    numbers = {name: number for number, name in enumerate(held_out.classes)}
    labels = held_out.slides["class"].map(numbers).to_numpy(int)
    patients = held_out.slides["patient_id"].to_numpy(str)
    of_tile, seen = held_out.slide_of_tile, held_out.tiles() > 0
    yield Judged(TILE, labels[of_tile], patients[of_tile], held_out.probabilities)
    means = {regime: held_out.of_slides(regime)[seen] for regime in held_out.probabilities}
    yield Judged(SLIDE, labels[seen], patients[seen], means)


def read_held_out(
    path_to_predictions: str | Path, path_to_slides: str | Path, *, regimes: Sequence[str], classes: Sequence[str]
) -> HeldOut:
    """The held-out slides of a study, which are the metastatic ones of the test set, with all their predictions.

    path_to_slides: `slides.tsv`, with slide_id, patient_id, class, domain and set. A class that is not among `classes`
    is a control, which no model knows. Raises InputError where there is no held-out slide, where the predictions are of
    other slides or of no tile or as `predictions.read_classes` does, and for a class that has the name of a column.
    """
    origins.check_names(classes)
    slides = files.read_table(path_to_slides, text=["slide_id", "patient_id", "class", "domain", "set"])
    chosen = (slides["domain"] == METASTATIC) & (slides["set"] == TEST) & slides["class"].isin(classes)
    slides = slides.loc[chosen, ["slide_id", "patient_id", "class"]].reset_index(drop=True)
    if slides.empty:
        raise InputError(f"{path_to_slides}: expected metastatic slides of the {TEST} set, found none; use more slides")
    others = sorted(set(predictions.slides_in(path_to_predictions)) ^ set(slides["slide_id"]))
    if others:
        raise InputError(
            f"{path_to_predictions}: expected predictions of the held-out slides of {path_to_slides} and of no others; "
            f"the two differ in {len(others)}, the first is {others[0]}; predict again"
        )
    found = [
        predictions.read_classes(path_to_predictions, slide_id, models=regimes, classes=len(classes))
        for slide_id in slides["slide_id"]
    ]
    slide_of_tile = np.repeat(np.arange(len(slides)), [len(coords) for coords, _ in found])
    if not len(slide_of_tile):
        raise InputError(
            f"{path_to_predictions}: expected tiles of held-out slides, found none of {len(slides)} slides; lower the "
            "threshold of the tumour filter"
        )
    probabilities = {regime: np.concatenate([of[regime] for _, of in found]) for regime in regimes}
    return HeldOut(slides, tuple(classes), slide_of_tile, probabilities)


def write_tables(
    paths: Mapping[str, str | Path],
    *,
    path_to_predictions: str | Path,
    path_to_slides: str | Path,
    regimes: Sequence[str],
    classes: Sequence[str],
    resamples: int,
    seed: int,
) -> None:
    """Write the tables of the held-out slides; paths: where each goes, by the names of `tables`, all of them.

    The rest is as in `read_held_out` and `tables`, and raises as they do.
    """
    held_out = read_held_out(path_to_predictions, path_to_slides, regimes=regimes, classes=classes)
    log.info("%d held-out slides, %d tiles", len(held_out.slides), len(held_out.slide_of_tile))
    for name, table in tables(held_out, resamples=resamples, seed=seed).items():
        files.write_table(table, paths[name])


def tables(held_out: HeldOut, *, resamples: int, seed: int) -> dict[str, pd.DataFrame]:
    """All tables by name: slide_predictions, auroc, tests, roc, confusion, ranks and top_k, of the functions below."""
    found = resampled_aurocs(held_out, resamples=resamples, seed=seed)
    return {
        "slide_predictions": slide_predictions(held_out),
        "auroc": auroc_table(found),
        "tests": tests_table(found),
        "roc": roc_table(held_out),
        "confusion": confusion_table(held_out),
        "ranks": ranks_table(held_out),
        "top_k": top_k_table(held_out, resamples=resamples, seed=seed),
    }


def slide_predictions(held_out: HeldOut) -> pd.DataFrame:
    """The table `slide_predictions.tsv`: regime, slide_id, patient_id, class, tiles, and each class's probability.

    A slide without tiles has no probabilities. Paper: metastatic origin, 2.1 ("the mean prediction of each slide's
    constituent tiles").
    """
    rows = []
    for regime in held_out.probabilities:
        means = pd.DataFrame(held_out.of_slides(regime), columns=held_out.classes)
        described = held_out.slides.assign(regime=regime, tiles=held_out.tiles())
        rows.append(pd.concat([described[DESCRIBED], means], axis=1))
    return pd.concat(rows, ignore_index=True)


# AUROC and tests


class Aurocs(NamedTuple):
    """The AUROCs of a level: whose they are, (k,) by regime, and (resamples, k) by regime in the same resamples."""

    of: Judged
    classes: tuple[str, ...]
    left_out: int
    found: Mapping[str, np.ndarray]
    resampled: Mapping[str, np.ndarray]

    @property
    def patients(self) -> int:
        """How many patients were resampled."""
        return len(np.unique(self.of.patients))


def resampled_aurocs(held_out: HeldOut, *, resamples: int, seed: int) -> list[Aurocs]:
    """The AUROC of each class against all others, by level and regime, as they are and in resamples of patients.

    A patient drawn twice brings all its slides and tiles twice. The resamples are those of `seed`, the same for all
    regimes and classes. NaN for a class that has none, or all, of the tiles, there or in a resample.
    """
    found = []
    for of in judged(held_out):
        drawn = evaluation.draw_patients(of.patients, resamples=resamples, seed=seed)
        # As they are, every patient is there once.
        times = np.concatenate([np.ones_like(drawn.times[:1]), drawn.times])
        by_regime = {
            regime: _of_classes(of, values, drawn._replace(times=times)) for regime, values in of.probabilities.items()
        }
        found.append(
            Aurocs(
                of,
                held_out.classes,
                len(held_out.slides) - int((held_out.tiles() > 0).sum()),
                {regime: values[0] for regime, values in by_regime.items()},
                {regime: values[1:] for regime, values in by_regime.items()},
            )
        )
    return found


def _of_classes(of: Judged, probabilities: np.ndarray, drawn: Draws) -> np.ndarray:
    """(resamples, k)."""
    columns = [
        evaluation.resampled_auc(of.labels == number, column, drawn) for number, column in enumerate(probabilities.T)
    ]
    return np.stack(columns, axis=1)


def macro(aurocs: np.ndarray) -> np.ndarray:
    """The mean over the classes that have an AUROC: of (…, k), (…,); NaN where none has."""
    has = ~np.isnan(aurocs)
    number = has.sum(axis=-1)
    sums = np.where(has, aurocs, 0).sum(axis=-1)
    return np.divide(sums, number, out=np.full(number.shape, np.nan), where=number > 0)


def auroc_table(levels: Sequence[Aurocs]) -> pd.DataFrame:
    """The table `auroc.tsv`: regime, class, level, auroc, low, high, n, positives, note. (Paper: 3, Fig. 3.)

    A row for each class, against all others, and then one for `macro`, the mean over the classes that have an AUROC:
    these are the same in every regime, since they depend on the slides alone. n: tiles or slides; positives: those of
    the class, or of the classes that the mean is over. low and high: the 95 % percentile interval over resamples of
    patients; a resample without the class is left out for that class, and the macro mean of a resample is over the
    classes that it has. Missing where the class, or all others, are of one patient: nothing says how patients differ.
    """
    rows = []
    for regime in levels[0].found:
        for level in levels:
            found, resampled = level.found[regime], level.resampled[regime]
            counts = np.bincount(level.of.labels, minlength=len(level.classes))
            for number, name in enumerate(level.classes):
                note, spread = _class_note(level, number, counts), evaluation.interval(resampled[:, number])
                if not note and spread.one_class:
                    note = f"{spread.one_class} of {len(resampled)} resamples lack the class and are left out"
                known = spread.used and not _of_one_patient(level, number)
                low, high = (spread.low, spread.high) if known else (np.nan, np.nan)
                rows.append((regime, name, level.of.level, found[number], low, high, counts[number], note))
            spread = evaluation.interval(macro(resampled))
            low, high = (spread.low, spread.high) if _tells_spread(level, found) else (np.nan, np.nan)
            positives = counts[~np.isnan(found)].sum()
            mean, note = float(macro(found)), _macro_note(level, found)
            rows.append((regime, MACRO, level.of.level, mean, low, high, positives, note))
    columns = ["regime", "class", "level", "auroc", "low", "high", "positives", "note"]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(6, "n", table["level"].map({level.of.level: len(level.of.labels) for level in levels}))
    return table


def _of_one_patient(level: Aurocs, number: int) -> bool:
    """Whether a class, or all others, are of a single patient."""
    member = level.of.labels == number
    return min(len(np.unique(level.of.patients[of])) for of in (member, ~member)) < 2


def _tells_spread(level: Aurocs, found: np.ndarray) -> bool:
    """Whether patients differ within any class that has an AUROC; else their mean has no interval either."""
    return not all(_of_one_patient(level, number) for number in np.flatnonzero(~np.isnan(found)))


def _class_note(level: Aurocs, number: int, counts: np.ndarray) -> str:
    if counts[number] == 0:
        return f"no {level.of.level} of the class"
    if counts[number] == counts.sum():
        return f"no {level.of.level} of another class"
    return "no interval: the class, or all others, are of one patient" if _of_one_patient(level, number) else ""


def _macro_note(level: Aurocs, found: np.ndarray) -> str:
    missing = [name for name, value in zip(level.classes, found, strict=True) if np.isnan(value)]
    parts = []
    if missing:
        parts.append(f"mean over {len(found) - len(missing)} of {len(found)} classes, without {', '.join(missing)}")
    if level.left_out:
        parts.append(f"slides without tiles, left out: {level.left_out}")
    if not _tells_spread(level, found):
        parts.append("no interval: each class, or all others, are of one patient")
    return "; ".join(parts)


def tests_table(levels: Sequence[Aurocs]) -> pd.DataFrame:
    """The table `tests.tsv`: is the macro AUROC of one regime higher than another's, for every two regimes and level.

    Columns: level, first, second; difference: of first minus second, so that above 0 the first is better; low, high:
    its 95 % percentile interval; p; p_adjusted: Holm's, over all rows that have a p; patients; resamples: those that
    have a macro AUROC; note. Both regimes are judged on the same resamples of patients, and in each on the same
    classes (`auroc_table`).

    p is that of `evaluation.paired_test`, and the note says where it is the least that there is. It is of these models
    on other patients like those held out, not of models that learnt anew from others, which differ by more.
    """
    rows = []
    for level in levels:
        macros = {regime: (macro(level.found[regime]), macro(level.resampled[regime])) for regime in level.found}
        for first, second in combinations(macros, 2):
            low, high, p, used, is_least = evaluation.paired_test(macros[first][1], macros[second][1])
            notes = [_macro_note(level, level.found[first])]
            if not _tells_spread(level, level.found[first]):
                low = high = p = np.nan
            elif is_least:
                notes.append(evaluation.LEAST_P)
            difference, note = float(macros[first][0] - macros[second][0]), "; ".join(filter(None, notes))
            of = level.of.level
            rows.append((of, first, second, difference, low, high, p, level.patients, used, note))
    columns = ["level", "first", "second", "difference", "low", "high", "p", "patients", "resamples", "note"]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(7, "p_adjusted", evaluation.holm(table["p"].to_numpy(float)))
    return table


def roc_table(held_out: HeldOut) -> pd.DataFrame:
    """The table `roc.tsv`: regime, class, level, fpr, tpr, of each class against all others. (Paper: Fig. 3.)

    A curve goes from (0, 0) to (1, 1) in at most `tile_classification.MOST_POINTS` points. No row for a class without
    an AUROC.
    """
    levels, curves = list(judged(held_out)), []
    for regime in held_out.probabilities:
        for of in levels:
            for number, name in enumerate(held_out.classes):
                member = (of.labels == number).astype(int)
                curve = tile_classification.roc(member, of.probabilities[regime][:, number])
                described = {"regime": regime, "class": name, "level": of.level}
                curves.append(curve[["fpr", "tpr"]].assign(**described))
    return pd.concat(curves, ignore_index=True)[["regime", "class", "level", "fpr", "tpr"]]


# What is taken for what


def confusion_table(held_out: HeldOut) -> pd.DataFrame:
    """The table `confusion.tsv`: regime, level, class, predicted, n, share, for every two classes. (Paper: Fig. 4B.)

    What is predicted is the most probable class, of equal ones that which is named first. share: of the tiles or slides
    of the class; missing where it has none.
    """
    levels, rows = list(judged(held_out)), []
    k = len(held_out.classes)
    for regime in held_out.probabilities:
        for of in levels:
            predicted = of.probabilities[regime].argmax(axis=1)
            counts = np.bincount(of.labels * k + predicted, minlength=k * k).reshape(k, k)
            for name, row in zip(held_out.classes, counts, strict=True):
                whole = row.sum()
                rows += [
                    (regime, of.level, name, other, n, n / whole if whole else np.nan)
                    for other, n in zip(held_out.classes, row, strict=True)
                ]
    return pd.DataFrame(rows, columns=["regime", "level", "class", "predicted", "n", "share"])


def ranks_table(held_out: HeldOut) -> pd.DataFrame:
    """The table `ranks.tsv`: regime, slide_id, class, rank, confidence, a row for each slide with tiles.

    rank: of the true class among all by the slide's probability, 1 is the most probable, and of equal ones the true
    class is the last: a model that gives all classes the same has put none first. confidence: the slide's probability
    of the true class. Paper: metastatic origin, 3.1, Fig. 4C.
    """
    seen = held_out.slides[held_out.tiles() > 0].reset_index(drop=True)
    *_, of = judged(held_out)
    rows = []
    for regime in held_out.probabilities:
        rank, confidence = _ranks(of, regime)
        described = seen[["slide_id", "class"]].assign(regime=regime, rank=rank, confidence=confidence)
        rows.append(described[["regime", "slide_id", "class", "rank", "confidence"]])
    return pd.concat(rows, ignore_index=True)


def _ranks(of: Judged, regime: str) -> tuple[np.ndarray, np.ndarray]:
    """The rank of the true class of each slide, and its probability."""
    means = of.probabilities[regime]
    confidence = means[np.arange(len(means)), of.labels]
    return (means >= confidence[:, None]).sum(axis=1), confidence


def top_k_table(held_out: HeldOut, *, resamples: int, seed: int) -> pd.DataFrame:
    """The table `top_k.tsv`: regime, k, share, low, high, n, for each k up to the number of classes. (Paper: 3.1.)

    share: of the n slides with tiles, those whose true class is among the first k (`ranks_table`). low and high: the
    95 % percentile interval over resamples of patients, missing with fewer than two.
    """
    *_, of = judged(held_out)
    drawn = evaluation.draw_patients(of.patients, resamples=resamples, seed=seed)
    patients = drawn.times.shape[1]
    slides = drawn.times @ np.bincount(drawn.patient_of, minlength=patients)
    rows = []
    for regime in held_out.probabilities:
        rank, _ = _ranks(of, regime)
        for k in range(1, len(held_out.classes) + 1):
            hits = drawn.times @ np.bincount(drawn.patient_of, rank <= k, minlength=patients)
            spread = evaluation.interval(hits / slides)
            low, high = (spread.low, spread.high) if patients > 1 else (np.nan, np.nan)
            rows.append((regime, k, (rank <= k).mean(), low, high, len(rank)))
    return pd.DataFrame(rows, columns=["regime", "k", "share", "low", "high", "n"])


# Divergence and AUROC


def divergence_with_auroc(
    path_to_divergence: str | Path, path_to_auroc: str | Path, path_to_data: str | Path, *, regime: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables `divergence_auroc.tsv` and `divergence_correlation.tsv` (one row) of three other tables.

    They are of `divergence.points_of_classes` and `divergence.correlation`: the mean divergence of each class's
    primaries from its metastases, and the class's AUROC by slide in a regime, which in the paper is the transferred
    one. Beside each stand the tiles that were compared and the slides of `data.tsv` that have such, of either domain:
    few make a divergence larger.

    Raises InputError for a regime that `auroc.tsv` does not have. Paper: metastatic origin, 3.2, Fig. 5C.
    """
    auroc = files.read_table(path_to_auroc, text=["regime", "class", "level", "note"])
    chosen = auroc[(auroc["regime"] == regime) & (auroc["level"] == SLIDE)].set_index("class")["auroc"]
    if chosen.empty:
        found = ", ".join(dict.fromkeys(auroc["regime"]))
        raise InputError(f"{path_to_auroc}: expected AUROCs of the regime {regime}, found those of {found}")
    table = files.read_table(path_to_divergence, text=["class", "other"])
    points = divergence.points_of_classes(divergence.mean_divergences(table), chosen.drop(MACRO))
    numbers = table[table["comparison"] == "counterpart"].groupby("class")[["n_first", "n_second"]].first()
    slides = files.read_table(path_to_data, text=["class", "domain"]).pivot(
        index="class", columns="domain", values="slides"
    )
    for domain, column in ((PRIMARY, "n_first"), (METASTATIC, "n_second")):
        points[f"{domain}_tiles"] = points["class"].map(numbers[column])
        points[f"{domain}_slides"] = points["class"].map(slides[domain])
    return points, pd.DataFrame([{"regime": regime} | divergence.correlation(points)])
