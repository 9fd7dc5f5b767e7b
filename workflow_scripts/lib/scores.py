"""From tile probabilities to positive tiles, slide scores and areas under the ROC curve."""

import numpy as np


def positive(probabilities: np.ndarray, *, threshold: float) -> np.ndarray:
    """Which tiles are positive: those with a probability at the threshold or above. NaN is not positive.

    The paper gives no threshold for a tile; 0.5 is the configuration's default.
    """
    return np.asarray(probabilities) >= threshold


def slide_score(positive_tiles: np.ndarray) -> float:
    """A slide's score: the share of its tiles (bool, any shape) that are positive; NaN without tiles.

    Paper: Results, Training models ("percent positively classified tiles").
    """
    return float(np.mean(positive_tiles)) if np.size(positive_tiles) else float("nan")


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve of scores (n,) for labels (n,) in {0, 1}; ties count half; NaN for one class or none."""
    # Here, because the import takes a second and most jobs that read tiles need no AUC.
    from sklearn.metrics import roc_auc_score

    labels = np.asarray(labels)
    if len(np.unique(labels)) < 2:
        return float("nan")
    return float(roc_auc_score(labels, scores))


def macro_auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean over classes of the `auc` of one class against the others.

    labels: (n,) of 0 to k - 1; probabilities: (n, k). A class that has none or all of the n is left out; NaN where all
    are. Paper: metastatic origin, 3 ("mean AUROC").
    """
    found = [auc(labels == number, column) for number, column in enumerate(np.asarray(probabilities).T)]
    defined = [value for value in found if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")
