"""Scores of tiles, the probability that each is tumour: how they are written and read.

They are what a trained filter says (`inference.predict_tumour`), or what a user's own file says (`own_scores`). A file,
of one slide or of many, has a group per slide with `coords` (n, 2) int32, column and row, and `probability` (n,)
float32. Whoever reads it joins by coordinates.
"""

from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from workflow_scripts.lib import predictions
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import writing

PROBABILITY = "probability"


def write_tile_scores(path: str | Path, slides: Iterable[tuple[str, np.ndarray, np.ndarray]]) -> None:
    """Write the scores of slides, which are taken one after the other: slide id, coords (n, 2) int, and probabilities.

    Probabilities, (n,) float32, read back to the last bit. Raises InputError for one that is missing or not from 0 to
    1, and for a tile that stands twice.
    """
    with writing(path) as partial, h5py.File(partial, "w", libver="v110", locking=False) as file:
        for slide_id, coords, probabilities in slides:
            coords, probabilities = np.asarray(coords).reshape(-1, 2), np.asarray(probabilities, np.float32)
            found = f"{path}: slide {slide_id}"
            if len(coords) != len(probabilities):
                n, expected = len(probabilities), len(coords)
                raise InputError(f"{found}: expected a probability per tile, found {n} for {expected} tiles")
            try:
                scores_at(coords, probabilities, coords)
            except InputError as error:
                raise InputError(f"{found}: {error}") from error
            predictions.write_slide(file, slide_id, coords.astype(np.int32), {PROBABILITY: probabilities})


def read_tile_scores(path: str | Path, slide_id: str, coords: np.ndarray) -> np.ndarray:
    """Read the probability (n,) float32 of each tile of a slide at coords (n, 2) int, column and row.

    Tiles that are not asked for are ignored. Raises InputError as `scores_at` does, and where the slide is not there.
    """
    with h5py.File(path, "r", locking=False) as file:
        if slide_id not in file:
            raise InputError(f"{path}: expected tumour probabilities of slide {slide_id}, found none; delete the file")
        places, probabilities = file[slide_id]["coords"][:], file[slide_id][PROBABILITY][:]
    try:
        return scores_at(places, probabilities, coords)
    except InputError as error:
        raise InputError(f"{path}: slide {slide_id}: {error}") from error


def scores_at(places: np.ndarray, probabilities: np.ndarray, coords: np.ndarray) -> np.ndarray:
    """The probabilities (n,) float32 at `coords` of those that were given at `places` (m, 2)."""
    check_range(probabilities)
    given = pd.MultiIndex.from_arrays(places.T)
    if given.has_duplicates:
        column, row = places[given.duplicated()][0]
        raise InputError(f"expected each tile once, found column {column}, row {row} again")
    # One more, for tiles that were not given.
    found = np.append(probabilities, np.nan)[given.get_indexer(pd.MultiIndex.from_arrays(coords.T))]
    check_known(~np.isnan(found), coords)
    return found.astype(np.float32)


def check_range(values: np.ndarray) -> None:
    outside = (values < 0) | (values > 1)
    if outside.any():
        raise InputError(f"expected probabilities from 0 to 1, found {values[outside][0]:g}; scale them")


def check_known(known: np.ndarray, coords: np.ndarray) -> None:
    if not known.all():
        column, row = coords[~known][0]
        raise InputError(
            f"expected a probability for each of the slide's {len(coords)} tiles, found none for "
            f"{int((~known).sum())}, the first at column {column}, row {row}; was this made for tiles of another size "
            "or µm/px?"
        )
