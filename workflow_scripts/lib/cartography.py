"""Tile votes arranged as the slide is: one layer per trait."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from workflow_scripts.lib.ensembles import majority_vote
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import writing

NO_TISSUE, FILTERED_OUT, NEGATIVE, POSITIVE = range(4)
ATTRIBUTES = {"slide_id": str, "patient_id": str, "tile_px": int, "mpp": float}
ATTRIBUTES |= {"tile_level0_px": float, "width": int, "height": int}


@dataclass(frozen=True)
class Cartography:
    """The molecular cartographies of one slide, stacked (Paper: Results, Tensor molecular cartographies).

    states: (traits, rows, columns) uint8, NO_TISSUE, FILTERED_OUT, NEGATIVE or POSITIVE.
    probabilities: (traits, rows, columns) float32, the mean of an ensemble's members, NaN where there is none.
    tile_px: side of a tile in px at `mpp` (µm/px); tile_level0_px: its side in px of the slide's finest level, whose
    size is width × height px.
    """

    slide_id: str
    patient_id: str
    traits: tuple[str, ...]
    states: np.ndarray
    probabilities: np.ndarray
    tile_px: int
    mpp: float
    tile_level0_px: float
    width: int
    height: int


def states_map(
    coords: np.ndarray, positive: np.ndarray, filtered: np.ndarray | None = None, *, shape: tuple[int, int]
) -> np.ndarray:
    """One trait's map, uint8 of `shape` (rows, columns), from the votes on a slide's tiles.

    coords: (n, 2) integers, column and row of each tile; positive: (n,) bool. filtered: (m, 2) column and row of tiles
    that have tissue and that a filter left out. Every other place has no tissue, which is not "negative".

    Raises InputError where a tile lies outside the lattice or occurs twice.
    """
    states = np.full(shape, NO_TISSUE, np.uint8)
    left_out = _coordinates(() if filtered is None else filtered)
    tiles = _coordinates(coords)
    if len(tiles) != len(positive):
        raise InputError(f"expected one vote per tile, found {len(positive)} votes on {len(tiles)} tiles")
    _check_lattice(np.concatenate([tiles, left_out]), shape)
    states[left_out[:, 1], left_out[:, 0]] = FILTERED_OUT
    states[tiles[:, 1], tiles[:, 0]] = np.where(positive, POSITIVE, NEGATIVE)
    return states


def cartograph(
    coords: np.ndarray,
    probabilities: Mapping[str, np.ndarray],
    *,
    columns: int,
    rows: int,
    threshold: float,
    filtered: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The states and probabilities of a slide: (traits, rows, columns) uint8 and float32, traits in the order given.

    probabilities: for each trait (members, n), the ensemble's members on the n tiles at `coords` (n, 2), column and
    row. The state is the members' majority vote at `threshold`; the probability is their mean, so the two may
    disagree on a tile. filtered: (m, 2), tiles that a filter left out.
    """
    states = np.zeros((len(probabilities), rows, columns), np.uint8)
    means = np.full(states.shape, np.nan, np.float32)
    tiles = _coordinates(coords)
    for layer, members in enumerate(probabilities.values()):
        vote = majority_vote(members, threshold=threshold)
        states[layer] = states_map(tiles, vote, filtered, shape=(rows, columns))
        means[layer, tiles[:, 1], tiles[:, 0]] = np.mean(members, axis=0, dtype=np.float64)
    return states, means


def maps_in(folder: str | Path) -> list[Path]:
    """The maps in a folder, by name; a file that is still being written is none."""
    return sorted(path for path in Path(folder).glob("*.h5") if not path.name.startswith("."))


def write_map(path: str | Path, cartography: Cartography) -> None:
    """Write one slide's map; the same map gives the same bytes."""
    shape = (len(cartography.traits), *cartography.states.shape[1:])
    if cartography.states.shape != shape or cartography.probabilities.shape != shape:
        raise InputError(
            f"{path}: expected states and probabilities with a layer for each of {cartography.traits}, found shapes "
            f"{cartography.states.shape} and {cartography.probabilities.shape}"
        )
    with writing(path) as partial, h5py.File(partial, "w", locking=False) as file:
        for name, dtype in (("states", np.uint8), ("probabilities", np.float32)):
            values = np.asarray(getattr(cartography, name), dtype)
            packing = {"compression": "gzip", "shuffle": True} if values.size else {}
            file.create_dataset(name, data=values, track_times=False, **packing)
        file["states"].attrs["traits"] = list(cartography.traits)
        for name, kind in ATTRIBUTES.items():
            file.attrs[name] = kind(getattr(cartography, name))


def read_map(path: str | Path) -> Cartography:
    """Read a map as `write_map` wrote it. Raises InputError where the file is not one."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            return Cartography(
                traits=tuple(file["states"].attrs["traits"]),
                states=file["states"][:],
                probabilities=file["probabilities"][:],
                **{name: kind(file.attrs[name]) for name, kind in ATTRIBUTES.items()},
            )
    except (OSError, KeyError) as error:
        raise InputError(
            f"{path}: expected a map (maps/<slide>.h5), found: {error}; delete it and run again"
        ) from error


def _coordinates(values: object) -> np.ndarray:
    """(n, 2) int64; an empty list has two columns too."""
    return np.asarray(values, np.int64).reshape(-1, 2)


def _check_lattice(tiles: np.ndarray, shape: tuple[int, int]) -> None:
    rows, columns = shape
    outside = tiles[((tiles < 0) | (tiles >= (columns, rows))).any(axis=1)]
    if len(outside):
        raise InputError(
            f"expected tiles on a lattice of {columns} columns and {rows} rows, found {len(outside)} outside it, "
            f"the first at column {outside[0, 0]}, row {outside[0, 1]}: predictions and tiles are of different runs"
        )
    places, counts = np.unique(tiles, axis=0, return_counts=True)
    if (counts > 1).any():
        column, row = places[counts > 1][0]
        raise InputError(f"expected each tile once, found column {column}, row {row} {counts.max()} times")
