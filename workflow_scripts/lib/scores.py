"""From tile probabilities to positive tiles and slide scores; areas under the ROC curve, and the C-index."""

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


def c_index(times: np.ndarray, events: np.ndarray, risks: np.ndarray) -> float:
    """The chance that of two patients the one who died earlier had the higher risk (Harrell's C); 0.5 is none.

    times, events (1 for a death, 0 for censored) and risks: (n,). Pairs with equal risks count half; those of which it
    is not known who died first do not count; NaN where there is no other pair.
    """
    # Here, because the import takes a second and most jobs that read tiles need no follow-up.
    from lifelines.utils import concordance_index

    try:
        # It asks for what is high for who lives long.
        return float(concordance_index(times, -np.asarray(risks), events))
    except ZeroDivisionError:
        return float("nan")
