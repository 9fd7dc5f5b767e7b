"""Latents of tiles, by which an autoencoder describes them: how they are written and read.

A file has, of n tiles, `latents` (n, features) float32, `coords` (n, 2) int32, column and row, and `slide` (n,) int32,
a place among the slides; and of these `slide_id`, `class` and `domain` as text.
"""

from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pandas as pd

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import writing

SLIDE_COLUMNS = ["slide_id", "class", "domain"]


class Latents(NamedTuple):
    """Of n tiles: slide_id, class, domain, col and row, a row each, and (n, features) float32."""

    tiles: pd.DataFrame
    values: np.ndarray


def write_latents(path: str | Path, slides: pd.DataFrame, coords: list[np.ndarray], values: list[np.ndarray]) -> None:
    """Write the latents of slides: slide_id, class and domain of each, and of each its coords (n, 2) and values (n, k).

    The same content gives the same bytes.
    """
    content = {
        "latents": np.concatenate(values).astype(np.float32),
        "coords": np.concatenate(coords).astype(np.int32).reshape(-1, 2),
        "slide": np.repeat(np.arange(len(slides), dtype=np.int32), [len(of) for of in coords]),
    }
    with writing(path) as partial, h5py.File(partial, "w", libver="v110", locking=False) as file:
        for name, data in content.items():
            file.create_dataset(name, data=data, track_times=False)
        for name in SLIDE_COLUMNS:
            text = slides[name].astype(str).tolist()
            file.create_dataset(name, data=text, shape=(len(text),), dtype=h5py.string_dtype(), track_times=False)


def read_latents(path: str | Path) -> Latents:
    """Read what `write_latents` wrote. Raises InputError where a latent is missing or infinite."""
    with h5py.File(path, "r", locking=False) as file:
        of, coords, values = file["slide"][:], file["coords"][:], file["latents"][:]
        described = {name: file[name].asstr()[:].astype(str)[of] for name in SLIDE_COLUMNS}
    if not np.isfinite(values).all():
        raise InputError(f"{path}: expected finite latents; train the autoencoder again with a lower learning rate")
    return Latents(pd.DataFrame(described | {"col": coords[:, 0], "row": coords[:, 1]}), values)
