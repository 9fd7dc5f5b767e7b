"""Tumour filters: what they learn from, how well they do on annotated slides, and the threshold that this gives.

Source: metastatic origin, 2.1 (a classifier of tumour and other tiles, from pathologists' annotations) and 3.
"""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.lib import files, tile_classification
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.splits import TRAIN, VALIDATION
from workflow_scripts.lib.tile_scores import scores_at

log = logging.getLogger(__name__)

# The columns of annotated tiles with their probabilities.
JUDGED = ["slide_id", "patient_id", "set", "col", "row", "label", "probability"]


def annotated_tiles(path_to_labels: str | Path, *, label: str) -> pd.DataFrame:
    """A slide's annotated tiles: slide_id, col, row, and label, which is 1 for tiles of this label and else 0.

    path_to_labels: `annotations/tiles/<slide>.tsv`. No row where the slide's annotations were refused.
    """
    table = files.read_table(path_to_labels, text=["slide_id", "label"])
    return table[["slide_id", "col", "row"]].assign(label=(table["label"] == label).astype(int))


def labels_of(annotated: pd.DataFrame, coords: np.ndarray) -> np.ndarray:
    """The label, 0 or 1, of each tile at coords (n, 2), column and row, from a slide's `annotated_tiles`.

    Raises InputError where a tile is not among them.
    """
    by_place = annotated.set_index(["col", "row"])["label"]
    found = by_place.reindex(pd.MultiIndex.from_arrays(coords.T))
    if found.isna().any():
        column, row = coords[found.isna().to_numpy()][0]
        raise InputError(f"no label for {found.isna().sum()} tiles, the first at column {column}, row {row}")
    return found.to_numpy(np.int64)


def judged_tiles(
    predicted: Iterable[tuple[str, np.ndarray, np.ndarray]],
    paths_to_labels: Sequence[str | Path],
    *,
    patients: Sequence[str],
    set_name: str,
    label: str,
) -> pd.DataFrame:
    """The annotated tiles of the slides of a set with their probabilities; a row per tile, its columns are JUDGED.

    predicted: of each slide what `inference.predict_tumour` yields; paths and `patients` are in the same order.
    """
    tables = [pd.DataFrame(columns=JUDGED)]
    for (_, places, probabilities), path, patient in zip(predicted, paths_to_labels, patients, strict=True):
        tiles = annotated_tiles(path, label=label)
        if len(tiles):
            of_tiles = scores_at(places, probabilities, tiles[["col", "row"]].to_numpy())
            tables.append(tiles.assign(patient_id=patient, set=set_name, probability=of_tiles))
    return pd.concat(tables[1:] or tables)[JUDGED]


def read_judged_tiles(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Read the `judged_tiles` of some sets, which were written as tables."""
    tables = [files.read_table(path, text=["slide_id", "patient_id", "set"]) for path in paths]
    # A set without slides would make text of numbers. A threshold is on float32, as the chain has the probabilities.
    found = pd.concat([table for table in tables if len(table)] or tables)
    return found.astype({"probability": np.float32})


def choose_threshold(tiles: pd.DataFrame, rule: str | float) -> float:
    """The threshold that a rule (`tile_classification.choose_threshold`) chooses on `judged_tiles`, or a given one."""
    if not isinstance(rule, str):
        return rule
    return tile_classification.choose_threshold(
        tiles["label"].to_numpy(), tiles["probability"].to_numpy(np.float32), rule
    )


def judge(tiles: pd.DataFrame, *, threshold: float, resamples: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How well a filter does on `judged_tiles`: `tile_classification.evaluation_table` and `.roc_table`."""
    evaluation = tile_classification.evaluation_table(tiles, threshold=threshold, resamples=resamples, seed=seed)
    for row in evaluation.itertuples():
        log.info("%s: %d slides, %d tiles, AUROC %.3f", row.set, row.n_slides, row.n_tiles, row.auroc)
    return evaluation, tile_classification.roc_table(tiles)


def check_labels(labels: Mapping[str, Sequence[np.ndarray]], *, name: str) -> None:
    """Raise InputError unless filter `name` can learn from annotated slides, whose labels (0, 1) are given by set.

    Training needs tiles of both classes, and so does validation, by which weights and threshold are chosen.
    """
    for of_set in (TRAIN, VALIDATION):
        found = np.concatenate([np.empty(0, int), *labels[of_set]])
        if len(np.unique(found)) < 2:
            raise InputError(
                f"tumour filter {name}: expected annotated tiles of tumour and of other tissue on slides of the "
                f"{of_set} set (by patient, in round 1 of splits.tsv), found {int((found == 1).sum())} of tumour and "
                f"{int((found == 0).sum())} others on {len(labels[of_set])} slides; annotate more slides, or give a "
                "split of your own (cohorts.<name>.split)"
            )


def write_threshold(path: str | Path, threshold: float) -> None:
    """Write the file that `tile_sources.read_threshold` reads."""
    with files.writing(path) as partial:
        partial.write_text(json.dumps({"threshold": threshold}) + "\n", encoding="utf-8")
