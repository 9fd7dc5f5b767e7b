"""How well a classifier of tiles tells tumour from other tissue, and the probability from which a tile passes.

Labels are 0 (other) and 1 (tumour) of tiles; a tile passes where its probability is at the threshold or above.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from workflow_scripts.lib import scores
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.evaluation import bootstrap_auc
from workflow_scripts.lib.splits import TEST, TRAIN, VALIDATION

SETS = (TRAIN, VALIDATION, TEST)
# Points of a curve: more than a drawing can tell apart.
MOST_POINTS = 500


# The threshold


def choose_threshold(labels: np.ndarray, probabilities: np.ndarray, rule: str) -> float:
    """The threshold for tiles with labels (n,) in {0, 1} and probabilities (n,) from 0 to 1, by a named rule.

    - `youden`: sensitivity + specificity − 1 is largest.
    - `f1`: F1, the harmonic mean of sensitivity and precision, is largest.
    - `sensitivity_95`: the highest threshold with a sensitivity of at least 0.95.
    - `specificity_95`: the lowest threshold with a specificity of at least 0.95.

    Of equally good thresholds the highest counts: fewer tiles pass for the same merit. Thresholds between two
    neighbouring probabilities let the same tiles pass; the one returned is midway, so that a probability may come out a
    little different (another machine, another batch) and its tile still falls on the same side. Below the lowest
    probability the neighbour is 0.

    Raises InputError for an unknown rule, where only one class has tiles, for a label or probability that is none, and
    where no threshold at which a tile passes does what the rule asks.
    """
    if rule not in RULES:
        raise InputError(f"threshold rule {rule!r}: expected one of {', '.join(RULES)}")
    labels, probabilities = _checked(labels, probabilities)
    tumour = int(labels.sum())
    if tumour in (0, len(labels)):
        raise InputError(
            f"threshold rule {rule}: expected tiles of both classes, found {tumour} of tumour and "
            f"{len(labels) - tumour} of other tissue"
        )
    values, passing = _cuts(labels, probabilities)
    chosen = RULES[rule](*passing.T)
    low, high = np.append(values, 0)[chosen + 1], values[chosen]
    # Where probabilities are float32 they are compared as such, and a midpoint that is none would be rounded then.
    midway = float(np.float32((low + high) / 2))
    return midway if low < midway <= high else float(high)


def _cuts(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct probabilities (k,) from the highest down, and how many tiles have each or a higher one.

    The numbers (k, 2) are those of tumour and of other tissue.
    """
    values, place = np.unique(-probabilities, return_inverse=True)
    counts = np.stack([np.bincount(place[labels == one], minlength=len(values)) for one in (1, 0)], axis=1)
    return -values, counts.cumsum(axis=0)


def _youden(tumour: np.ndarray, other: np.ndarray) -> int:
    # In whole numbers, so that ties are ties.
    return int(np.argmax(tumour * other[-1] - other * tumour[-1]))


def _f1(tumour: np.ndarray, other: np.ndarray) -> int:
    return int(np.argmax(2 * tumour / (tumour + other + tumour[-1])))


def _sensitivity_95(tumour: np.ndarray, _other: np.ndarray) -> int:
    return int(np.argmax(100 * tumour >= 95 * tumour[-1]))


def _specificity_95(_tumour: np.ndarray, other: np.ndarray) -> int:
    allowed = np.flatnonzero(100 * other <= 5 * other[-1])
    if not len(allowed):
        raise InputError(
            "threshold rule specificity_95: expected at most 5 % of the tiles of other tissue to have the highest "
            f"probability, found {other[0]} of {other[-1]}; choose another rule"
        )
    return int(allowed[-1])


# For each rule, which of the cuts it chooses; numbers (k,) of tiles of tumour and of other tissue that pass at each.
RULES: dict[str, Callable[[np.ndarray, np.ndarray], int]] = {
    "youden": _youden,
    "f1": _f1,
    "sensitivity_95": _sensitivity_95,
    "specificity_95": _specificity_95,
}


# Curves and counts


def roc(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """The ROC curve: fpr, tpr (false and true positive rate) and threshold, from (0, 0) to (1, 1).

    A row for each distinct probability, of which at most MOST_POINTS are kept, even along the curve; the first has no
    threshold, since no tile passes. No row where only one class has tiles.
    """
    values, passing = _cuts(*_checked(labels, probabilities))
    rates, kept = curve(passing)
    return pd.DataFrame({"fpr": rates[:, 1], "tpr": rates[:, 0], "threshold": np.append(np.nan, values)[kept]})


def curve(passing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ROC curve of how many tumour and other tiles, (k, 2), pass at each of k thresholds, from the highest down.

    Returns the true and false positive rates, (p, 2) from (0, 0) to (1, 1), and the thresholds (p,) that they are of,
    counted from 1; 0 is none, since no tile passes. At most MOST_POINTS, even along the curve. No point where a class
    has no tile.
    """
    if not len(passing) or not passing[-1].all():
        return np.zeros((0, 2)), np.zeros(0, int)
    rates = np.vstack([[0, 0], passing / passing[-1]])
    # From 0 to 2, and falling with no row.
    along = rates.sum(axis=1)
    kept = np.arange(len(along))
    if len(along) > MOST_POINTS:
        kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], MOST_POINTS)))
    return rates[kept], kept


def confusion(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict[str, float]:
    """Counts and shares of tiles with labels (n,) in {0, 1} at a threshold; NaN for a share of nothing.

    Keys: true_positive (tumour that passes), false_negative, false_positive, true_negative; sensitivity, specificity,
    precision, f1, accuracy.
    """
    labels, probabilities = _checked(labels, probabilities)
    passes, tumour = scores.positive(probabilities, threshold=threshold), labels == 1
    hit, missed = int((passes & tumour).sum()), int((~passes & tumour).sum())
    wrong, right = int((passes & ~tumour).sum()), int((~passes & ~tumour).sum())
    return {
        "true_positive": hit,
        "false_negative": missed,
        "false_positive": wrong,
        "true_negative": right,
        "sensitivity": _share(hit, hit + missed),
        "specificity": _share(right, right + wrong),
        "precision": _share(hit, hit + wrong),
        "f1": _share(2 * hit, 2 * hit + missed + wrong),
        "accuracy": _share(hit + right, len(labels)),
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


# Tables of the sets


def roc_table(tiles: pd.DataFrame) -> pd.DataFrame:
    """The ROC curve of each set, one under the other: set, fpr, tpr, threshold. `tiles`: as for `evaluation_table`."""
    curves = [roc(of["label"], of["probability"]).assign(set=name) for name, of in _by_set(tiles).items()]
    return pd.concat(curves, ignore_index=True)[["set", "fpr", "tpr", "threshold"]]


def evaluation_table(tiles: pd.DataFrame, *, threshold: float, resamples: int, seed: int) -> pd.DataFrame:
    """How well the classifier does on each set: a row for each of SETS, also for one without tiles.

    tiles: slide_id, patient_id, set, label (0, 1) and probability, a row per tile. auroc is over the set's tiles,
    pooled, `_low` and `_high` its 95 % interval over resamples of patients, missing with fewer than two; the rest is
    `confusion` at the threshold. What is missing has no tile, or one class of tiles alone, to be counted on.

    Columns: set, n_patients, n_slides, n_tiles, n_tumour, auroc, auroc_low, auroc_high, threshold and the keys of
    `confusion`.
    """
    rows = []
    for name, of in _by_set(tiles).items():
        labels, probabilities = _checked(of["label"], of["probability"])
        counts = {"n_patients": of["patient_id"].nunique(), "n_slides": of["slide_id"].nunique()}
        counts |= {"n_tiles": len(of), "n_tumour": int(labels.sum())}
        low = high = np.nan
        if counts["n_patients"] > 1:
            interval = bootstrap_auc(labels, probabilities, of["patient_id"], resamples=resamples, seed=seed)
            low, high = interval.low, interval.high
        auroc = {"auroc": scores.auc(labels, probabilities), "auroc_low": low, "auroc_high": high}
        at_threshold = {"threshold": threshold} | confusion(labels, probabilities, threshold)
        rows.append({"set": name} | counts | auroc | at_threshold)
    return pd.DataFrame(rows)


def _by_set(tiles: pd.DataFrame) -> dict[str, pd.DataFrame]:
    unknown = sorted(set(tiles["set"]) - set(SETS))
    if unknown:
        raise InputError(f"expected tiles of the sets {', '.join(SETS)}, found {', '.join(unknown)}")
    return {name: tiles[tiles["set"] == name] for name in SETS}


def _checked(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    wrong = ~((probabilities >= 0) & (probabilities <= 1))
    if labels.shape != probabilities.shape or not np.isin(labels, (0, 1)).all() or wrong.any():
        raise InputError(
            f"expected a label of 0 or 1 and a probability from 0 to 1 for each tile, found {len(labels)} labels of "
            f"{sorted(set(labels.tolist()))[:4]} and {len(probabilities)} probabilities, {int(wrong.sum())} of them "
            "missing or outside"
        )
    return labels.astype(int), probabilities
