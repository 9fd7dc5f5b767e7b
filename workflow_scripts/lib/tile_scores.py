"""Scores of a slide's tiles, the probability that each is tumour, as a table that every later stage reads.

It holds what a trained filter says (`inference.predict_tumour`), or what a user's own file says (`own_scores`).
"""

from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.lib import files
from workflow_scripts.lib.errors import InputError

COLUMNS = ("slide_id", "col", "row", "probability")


def write_tile_scores(path: str | Path, slide_id: str, coords: np.ndarray, probabilities: np.ndarray) -> None:
    """Write a TSV slide_id, col, row, probability, by row and column; probabilities read back to the last bit.

    coords: (n, 2) int, column and row; probabilities: (n,) float32. Raises InputError for one that is missing or not
    from 0 to 1, and for a tile that stands twice.
    """
    coords, probabilities = np.asarray(coords).reshape(-1, 2), np.asarray(probabilities, np.float32)
    if len(coords) != len(probabilities):
        raise InputError(f"{path}: expected a probability per tile, found {len(probabilities)} for {len(coords)} tiles")
    try:
        scores_at(coords, probabilities, coords)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    order = np.lexsort((coords[:, 0], coords[:, 1]))
    columns = (slide_id, coords[order, 0], coords[order, 1], probabilities[order])
    files.write_table(pd.DataFrame(dict(zip(COLUMNS, columns, strict=True))), path)


def read_tile_scores(path: str | Path, coords: np.ndarray, *, slide_id: str | None = None) -> np.ndarray:
    """Read the probability (n,) float32 of each tile at coords (n, 2) int, column and row, from such a table.

    The table needs the columns col, row and probability alone, a row per tile; a column slide_id must hold `slide_id`,
    if given. Tiles that are not asked for are ignored. Raises InputError as `scores_at` does, and where the table is
    none or of another slide.
    """
    try:
        return scores_at(*_read_table(path, slide_id), coords)
    except InputError as error:
        raise InputError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error


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


def _read_table(path: str | Path, slide_id: str | None) -> tuple[np.ndarray, np.ndarray]:
    """The coords (m, 2) int64 and probabilities (m,) float64 of a TSV; what is no number is missing."""
    table = files.read_table(path, text=["slide_id"])
    absent = [name for name in COLUMNS[1:] if name not in table]
    if absent:
        raise InputError(f"expected the columns col, row and probability, found {', '.join(table.columns)}")
    others = [] if slide_id is None or "slide_id" not in table else sorted(set(table["slide_id"]) - {slide_id})
    if others:
        raise InputError(f"expected tiles of slide {slide_id}, found those of {others[0] or 'no slide'}")
    places = table[["col", "row"]].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    wrong = ~((places == np.floor(places)) & (np.abs(places) < 2**31)).all(axis=1)
    if wrong.any():
        first = table[["col", "row"]].astype(str).to_numpy()[wrong][0]
        raise InputError(f"expected whole numbers as col and row, found {' and '.join(first)}")
    return places.astype(np.int64), pd.to_numeric(table["probability"], errors="coerce").to_numpy(np.float64)
