"""Compressed slides: what an encoder makes of each patch, where it lies on the slide, and the file that keeps it.

A chunk's file has a group per slide with `grid` (orientations, C, H, W) float16, C numbers for each patch and 0 where
there is no tissue, and `tissue` (H, W) bool. H and W are the rows and columns of the slide's lattice, times the patches
that a tile is cut into along a side. In orientation k patches were turned in the k-th way before they were encoded
(`orientations`), and lie where they lie on the slide. A slide without tiles has no group. Attributes of a group:
slide_id, tile_px, patch_px, mpp, slide_mpp and patch_level0_px.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import writing

# Rows and columns of the grid that lie together in the file. What has no tissue in such a block takes no room.
BLOCK_ROWS, BLOCK_COLUMNS = 8, 64
# The largest number that 16 bits hold.
LARGEST = float(np.finfo(np.float16).max)


class Band(NamedTuple):
    """Some rows of a grid, over its whole width: the first, values (orientations, C, rows, W), and where tissue is."""

    top: int
    values: np.ndarray
    tissue: np.ndarray


class Shape(NamedTuple):
    """The size of a slide's grid: orientations, numbers per patch, rows and columns."""

    orientations: int
    features: int
    height: int
    width: int


@dataclass(frozen=True)
class Place:
    """Where a slide's grid is: its file, its group there, and its size."""

    path: Path
    slide_id: str
    shape: Shape
    attributes: dict[str, Any]


@contextmanager
def writing_grids(path: str | Path) -> Iterator[h5py.File]:
    """Yield a chunk's file to write slides to, which is whole or absent. The same content gives the same bytes."""
    with writing(path) as partial, h5py.File(partial, "w", libver="v110", locking=False) as file:
        yield file


def write_slide(
    file: h5py.File, slide_id: str, bands: Iterable[Band], *, shape: Shape, attributes: Mapping[str, Any]
) -> None:
    """Add a slide's group to an open file, band by band as they come, in any order; rows that none has are empty.

    Memory is bounded by a band: bands of whole multiples of BLOCK_ROWS rows are the fastest.
    """
    group = file.create_group(slide_id)
    rows, columns = max(1, min(BLOCK_ROWS, shape.height)), max(1, min(BLOCK_COLUMNS, shape.width))
    grid = group.create_dataset(
        "grid", shape, np.float16, chunks=(1, shape.features, rows, columns), fillvalue=0, track_times=False
    )
    tissue = group.create_dataset("tissue", shape[2:], bool, chunks=(rows, columns), fillvalue=False, track_times=False)
    group.attrs.update({"slide_id": slide_id} | dict(attributes))
    for band in bands:
        height = len(band.tissue)
        for left in range(0, shape.width, columns):
            part = slice(left, left + columns)
            if band.tissue[:, part].any():
                grid[:, :, band.top : band.top + height, part] = band.values[..., part]
                tissue[band.top : band.top + height, part] = band.tissue[:, part]


def list_slides(paths: Iterable[str | Path]) -> dict[str, Place]:
    """The slides of some files by their ids, in the files' order. Raises InputError when a file is not one of grids."""
    found = {}
    for path in map(Path, paths):
        try:
            with h5py.File(path, "r", locking=False) as file:
                for slide_id, group in file.items():
                    if not isinstance(group, h5py.Group) or not {"grid", "tissue"} <= set(group):
                        raise InputError(f"{path}: expected a file of grids, found {slide_id} in it; compress again")
                    attributes = {name: _plain(value) for name, value in group.attrs.items()}
                    found[slide_id] = Place(path, slide_id, Shape(*group["grid"].shape), attributes)
        except OSError as error:
            raise InputError(f"{path}: expected a file of grids, found another ({error}); compress again") from None
    return found


def read_grid(place: Place, orientation: int) -> tuple[np.ndarray, np.ndarray]:
    """A slide's grid in an orientation, (C, H, W) float16, and where it has tissue, (H, W) bool."""
    with h5py.File(place.path, "r", locking=False) as file:
        group = file[place.slide_id]
        return group["grid"][orientation], group["tissue"][:]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
