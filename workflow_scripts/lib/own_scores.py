"""A user's own tumour probabilities or masks of a slide, in place of a filter's model.

A table, masks and heatmaps in HDF5, and annotations all become one probability for each tile of a store, so that nobody
after this asks where it came from.
"""

import logging
from collections.abc import Collection
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from workflow_scripts.lib import files
from workflow_scripts.lib.annotated_slides import regions_outside
from workflow_scripts.lib.annotations import EXCLUSIONS, SHARE_DECIMALS, label_tiles, read_annotations
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.tile_scores import check_known, check_range, scores_at
from workflow_scripts.lib.tiles import Lattice

log = logging.getLogger(__name__)

# Columns that a table needs.
COLUMNS = ("col", "row", "probability")
# Names of the two-dimensional datasets that are read.
GRIDS = ("mask", "probability")
# Cells of a grid in memory at once; a mask at full resolution has billions.
CELLS_AT_ONCE = 4_000_000
# The label of all classes together, see `annotations.label_tiles`.
_TUMOUR = "tumour"


def read_own_scores(
    path: str | Path,
    lattice: Lattice,
    coords: np.ndarray,
    *,
    size: tuple[int, int],
    classes: Collection[str] = (),
    slide_id: str | None = None,
) -> np.ndarray:
    """Read the probability of tumour of each tile of a store, (n,) float32, from a file in any of these forms.

    coords: (n, 2) int, the store's tiles on `lattice`; without tiles the file is not looked at. size: width and height
    of the slide in level-0 px. What the form is, the suffix says:

    - `.tsv`: columns col, row and probability, a row per tile. A column slide_id must hold `slide_id`, if given.
    - `.h5`, `.hdf5` with `coords` (m, 2), column and row, and `probability` (m,): the same.
    - `.h5`, `.hdf5` with `mask` or `probability` (rows, columns): a grid of equal cells over the whole slide, of any
      resolution. A tile's probability is the mean over its area; cells that its edge cuts count by the part inside.
    - `.geojson`, `.json`, `.xml`: annotations. A tile's probability is the share of its area under regions of
      `classes`, which counts once where regions overlap. One of these classes is no exclusion, whatever its name.

    Tiles that the store lacks are ignored, and so is a value that is missing (NaN) where the store has no tile.

    Raises InputError: a file that is absent or of no such form; a value below 0 or above 1 anywhere; tiles of the store
    without a probability, with their number and the first place; a place that stands twice; a grid whose shape is not
    the slide's to within a cell; annotations that cannot be used, see `annotations.read_annotations` and
    `annotated_slides.regions_outside`.
    """
    coords = np.asarray(coords).reshape(-1, 2)
    if len(coords) == 0:
        return np.zeros(0, np.float32)
    suffix = Path(path).suffix.lower()
    try:
        if not Path(path).is_file():
            raise InputError("expected a file of tile scores, found none")
        if suffix == ".tsv":
            found = scores_at(*_read_table(path, slide_id), coords)
        elif suffix in (".h5", ".hdf5"):
            found = _of_hdf5(path, lattice, coords, size)
        elif suffix in (".geojson", ".json", ".xml"):
            found = _of_annotations(path, lattice, coords, size, classes)
        else:
            raise InputError(f"expected .tsv, .h5, .hdf5, .geojson, .json or .xml, found the suffix {suffix!r}")
    except InputError as error:
        raise InputError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
    log.info("%s: %d tiles, mean probability %.3f", path, len(coords), found.mean())
    return found


# Tables


def _read_table(path: str | Path, slide_id: str | None) -> tuple[np.ndarray, np.ndarray]:
    """The coords (m, 2) int64 and probabilities (m,) float64 of a TSV; what is no number is missing."""
    table = files.read_table(path, text=["slide_id"])
    if any(name not in table for name in COLUMNS):
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


# HDF5


def _of_hdf5(path: str | Path, lattice: Lattice, coords: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    try:
        # Without locks, which fail on network disks.
        with h5py.File(path, "r", locking=False) as file:
            datasets = {
                name: entry
                for name, entry in file.items()
                if isinstance(entry, h5py.Dataset) and entry.dtype.kind in "biuf"
            }
            return _of_datasets(datasets, lattice, coords, size)
    except OSError as error:
        raise InputError(f"expected an HDF5 file, found: {error}") from error


def _of_datasets(
    datasets: dict[str, h5py.Dataset], lattice: Lattice, coords: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    shapes = {name: dataset.shape for name, dataset in datasets.items()}
    grids = [name for name in GRIDS if len(shapes.get(name, ())) == 2]
    if len(grids) == 1 and "coords" not in shapes:
        return _of_grid(datasets[grids[0]], lattice, coords, size)
    listed = shapes.get("coords", ())
    if len(listed) == 2 and listed[1] == 2 and shapes.get("probability") == listed[:1] and not grids:
        places = datasets["coords"][:]
        if places.dtype.kind not in "iu":
            raise InputError(f"expected coords as whole numbers, found {places.dtype}")
        return scores_at(places.astype(np.int64), datasets["probability"][:].astype(np.float64), coords)
    found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    raise InputError(
        "expected datasets of numbers, coords (n, 2) and probability (n,), or one of mask (rows, columns) and "
        f"probability (rows, columns), found {found or 'none'}"
    )


def _of_grid(grid: h5py.Dataset, lattice: Lattice, coords: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mean (n,) float32 of a grid of cells, which cover a slide of `size` level-0 px, over each tile's area."""
    _check_shape(grid.shape, size)
    sides = [lattice.tile_level0_px * cells / extent for cells, extent in zip(grid.shape[::-1], size, strict=True)]
    across, down = (
        # The last tile may reach past the slide by the lattice's slack.
        np.minimum(np.arange(count + 1) * side, cells)
        for count, side, cells in zip((lattice.columns, lattice.rows), sides, grid.shape[::-1], strict=True)
    )
    sums, missing = [], []
    step = max(1, CELLS_AT_ONCE // grid.shape[1])
    for first in range(0, grid.shape[0], step):
        cells = grid[first : first + step].astype(np.float64)
        check_range(cells)
        unknown = np.isnan(cells)
        sums.append(_sums_between(np.where(unknown, 0, cells), across))
        missing.append(_sums_between(unknown, across))
    column, row = coords.T
    means, unknown = (
        np.round(_sums_between(np.concatenate(parts).T, down)[column, row] / (sides[0] * sides[1]), SHARE_DECIMALS)
        for parts in (sums, missing)
    )
    check_known(unknown == 0, coords)
    return np.clip(means, 0, 1).astype(np.float32)


def _check_shape(shape: tuple[int, int], size: tuple[int, int]) -> None:
    """Raise InputError unless a grid has, to within a cell each way, square cells over a slide of `size` px."""
    (rows, columns), (width, height) = shape, size
    if rows and columns:
        # A side of n cells, give or take one, has cells of extent / (n + 1) to extent / (n - 1) px.
        least = max(width / (columns + 1), height / (rows + 1))
        most = min(extent / max(count - 1, 1e-9) for extent, count in ((width, columns), (height, rows)))
        if least <= most:
            return
    cell = (width * height / (rows * columns)) ** 0.5 if rows and columns else 1
    raise InputError(
        f"expected a grid over the whole slide of {width} × {height} px, such as {round(height / cell)} rows and "
        f"{round(width / cell)} columns, found {rows} rows and {columns} columns; is it transposed, cropped, or of "
        "another slide?"
    )


def _sums_between(cells: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Sums (m, k) float64 of each row of cells (m, n) between neighbours of k + 1 edges from 0 to n; cut cells in part.

    A cell's own value is what its integral grows by, so the part of a cell that an edge cuts is exact.
    """
    integral = np.pad(np.cumsum(cells, axis=1, dtype=np.float64), ((0, 0), (1, 0)))
    cut = np.minimum(edges.astype(int), cells.shape[1] - 1)
    return np.diff(integral[:, cut] + (edges - cut) * cells[:, cut], axis=1)


# Annotations


def _of_annotations(
    path: str | Path, lattice: Lattice, coords: np.ndarray, size: tuple[int, int], classes: Collection[str]
) -> np.ndarray:
    if not classes:
        raise InputError("expected the classes of annotation that are tumour, found none; name them")
    annotations = read_annotations(path, exclusions=[name for name in EXCLUSIONS if name not in classes])
    regions_outside(annotations, *size)
    if not any(region.class_name in classes for region in annotations.regions):
        log.warning("%s: no region of %s: no tile is tumour", path, ", ".join(classes))
    areas = label_tiles(annotations.regions, lattice, coords, classes=dict.fromkeys(classes, _TUMOUR)).areas[:, 0]
    return np.clip(np.round(areas / lattice.tile_level0_px**2, SHARE_DECIMALS), 0, 1).astype(np.float32)
