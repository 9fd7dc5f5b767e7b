"""Predicted tile probabilities: how they are named, written and read.

A chunk's file has a group per slide with `coords` (n, 2) int32, column and row, and a float32 dataset (n,) per model,
`<trait>/round_<k>`: the probability that the tile carries the trait. Of models of many classes there is a dataset
(n, classes) by the model's name. Whoever reads it joins by coordinates.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from workflow_scripts.lib.errors import InputError

# How far from 1 the probabilities of a tile may sum: rounding of as many classes as there may be, in 32 bits.
MOST_OFF = 1e-3


def model_name(trait: str, round_number: int) -> str:
    """What a model is called in predictions."""
    return f"{trait}/round_{round_number}"


def model_name_of(path_to_weights: str | Path) -> str:
    """The name of the model whose weights lie at training/<trait>/round_<k>/<file>."""
    return "/".join(Path(path_to_weights).parts[-3:-1])


def models_of_slides(
    slides: Sequence[str], ensembles: pd.DataFrame, *, test_slides: Sequence[str]
) -> dict[str, list[str]]:
    """Names of the models that each slide needs: every round's for a test slide, the ensembles' members for others.

    Each round is evaluated on the test slides alone (Table 1); everything else is the ensembles' work.
    """
    names = [model_name(row.trait, row.round) for row in ensembles.itertuples()]
    members = [name for name, member in zip(names, ensembles["member"], strict=True) if member]
    held_out = set(test_slides)
    return {slide: names if slide in held_out else members for slide in slides}


def write_slide(file: h5py.File, slide_id: str, coords: np.ndarray, probabilities: Mapping[str, np.ndarray]) -> None:
    """Add a slide's group to an open chunk file. Without tiles the group has its datasets, with no rows."""
    group = file.create_group(slide_id)
    group.create_dataset("coords", data=coords, track_times=False)
    for name, values in probabilities.items():
        group.create_dataset(name, data=values, track_times=False)


def read_slide(path_to_predictions: str | Path, slide_id: str) -> tuple[np.ndarray, dict[str, dict[str, np.ndarray]]]:
    """A slide's coordinates (n, 2) int32, and its probabilities (n,) float32 by trait and model (`round_<k>`).

    Raises InputError when the file has no such slide.
    """
    with h5py.File(path_to_predictions, "r", locking=False) as file:
        if slide_id not in file:
            raise InputError(f"{path_to_predictions}: no predictions of {slide_id}")
        group = file[slide_id]
        models_of_trait = {name: member for name, member in group.items() if isinstance(member, h5py.Group)}
        probabilities = {
            trait: {name: values[:] for name, values in models.items()} for trait, models in models_of_trait.items()
        }
        return group["coords"][:], probabilities


def read_classes(
    path_to_predictions: str | Path, slide_id: str, *, models: Sequence[str], classes: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A slide's coordinates (n, 2) int32, and its probabilities (n, classes) float32 by each of some models.

    Raises InputError when the file has no such slide, or not these models of so many classes, or what no softmax gives:
    a probability that is missing or below 0, or probabilities of a tile that do not sum to 1.
    """
    with h5py.File(path_to_predictions, "r", locking=False) as file:
        if slide_id not in file:
            raise InputError(f"{path_to_predictions}: no predictions of {slide_id}; predict again")
        group = file[slide_id]
        absent = [name for name in models if name not in group]
        if absent:
            found = ", ".join(sorted(set(group) - {"coords"})) or "none"
            raise InputError(
                f"{path_to_predictions}: {slide_id}: expected predictions of {absent[0]}, found those of {found}; "
                "predict again"
            )
        coords, probabilities = group["coords"][:], {name: group[name][:] for name in models}
    for name, values in probabilities.items():
        if values.shape != (len(coords), classes):
            raise InputError(
                f"{path_to_predictions}: {slide_id}: expected {len(coords)} × {classes} probabilities of {name}, of "
                f"tiles and classes, found an array of shape {values.shape}; predict again"
            )
        sound = (values >= 0).all(axis=1) & (abs(values.sum(axis=1) - 1) < MOST_OFF)
        if not sound.all():
            raise InputError(
                f"{path_to_predictions}: {slide_id}: expected probabilities of {name} that sum to 1, found "
                f"{int((~sound).sum())} of {len(sound)} tiles where they do not; train the model again with a lower "
                "learning rate"
            )
    return coords, probabilities


def slides_in(path_to_predictions: str | Path) -> list[str]:
    """The slides of a chunk's file."""
    with h5py.File(path_to_predictions, "r", locking=False) as file:
        return list(file)
