"""Negative controls: what the chain finds where there is nothing to find."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from workflow_scripts.lib import scoring
from workflow_scripts.lib.barcodes import PRIMARY_TUMOUR


def shuffled_name(trait: str, shuffle: int) -> str:
    """What a trait is called whose expression is the `shuffle`-th shuffle (from 1) of another's."""
    return f"{trait}_shuffle_{shuffle}"


def shuffle_expression(expression: Mapping[str, pd.DataFrame], *, shuffles: int, seed: int) -> pd.DataFrame:
    """Deal each trait's values anew to the patients that have one: a table `sample`, and a column per shuffle.

    expression: by trait, a table of `expression.one_value_per_sample_type`, of which the primary tumours count. A
    patient without a value of a trait has none of its shuffles either.
    """
    columns = {}
    for place, (trait, table) in enumerate(expression.items()):
        primary = table[table["sample_type"] == PRIMARY_TUMOUR].sort_values("patient_id")
        sample = primary["patient_id"] + f"-{PRIMARY_TUMOUR}"
        for shuffle in range(1, shuffles + 1):
            dealt = np.random.default_rng([seed, place, shuffle]).permutation(primary["value"].to_numpy())
            columns[shuffled_name(trait, shuffle)] = pd.Series(dealt, index=sample.to_numpy())
    return pd.DataFrame(columns).rename_axis("sample").reset_index()


def score_shuffles(
    truth_tiles: pd.DataFrame,
    predictions: Mapping[str, pd.DataFrame],
    labels: Mapping[str, pd.DataFrame],
    splits: pd.DataFrame,
    *,
    traits: tuple[str, str],
    shuffles: int,
) -> pd.DataFrame:
    """Tile AUC of models of shuffled expression against the truth of the trait that was shuffled.

    A row per shuffle, over the slides that its model has not seen, and one per trait with the mean of its shuffles
    (trait, measure `tile_auc`, value, n: tiles). A single shuffle of twenty slides may by chance resemble the truth, or
    its opposite; only their mean is to lie at 0.5.
    """
    rows = []
    for trait in traits:
        found = []
        for shuffle in range(1, shuffles + 1):
            name = shuffled_name(trait, shuffle)
            unseen = scoring.unseen_slides(labels[name], splits)
            value, n = scoring.tile_auc(truth_tiles, predictions[name], trait, unseen)
            found.append((name, "tile_auc", value, n))
        mean = float(np.mean([value for _, _, value, _ in found]))
        rows += [*found, (f"{trait}, mean of shuffles", "tile_auc", mean, sum(n for *_, n in found))]
    return pd.DataFrame(rows, columns=["trait", "measure", "value", "n"])
