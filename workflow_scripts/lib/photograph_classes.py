"""Photographs classified by an exported model: found in a folder, cut into patches as in the study, and told apart.

No photograph is lost: one that cannot be classified has its reason in the place of a class. Paper: microscope
adaptation, 4 ("customizing models for each pathologist's microscope").
"""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from workflow_scripts.lib import files, slides, tiles
from workflow_scripts.lib.cohorts import PHOTOGRAPH_SUFFIXES
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.exported_models import ExportedModel
from workflow_scripts.lib.slides import SlideRefused
from workflow_scripts.lib.tiles import ACCEPTED, EXCLUDED

# Patches that the model sees at once.
BATCH = 16
THUMBNAIL_PX = 256


@dataclass(frozen=True)
class Photograph:
    """A photograph to be classified: its name below the folder, with `/`; its µm/px; and why it cannot be, or ''."""

    file: str
    path: Path
    mpp: float | None
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Classified:
    """What was found on a photograph.

    `status` is `accepted`, or `excluded` where it has no class; `reason` says why it has none, or what else is to be
    said of it. Of its n patches `coords` (n, 2) int32 are column and row, `corners_px` (n, 2) float64 the upper left
    corners in px of the photograph, x and y, and `probabilities` (n, classes) float32. `thumbnail` is a small RGB image
    of it, or None where it cannot be opened.
    """

    file: str
    mpp: float | None
    status: str
    reason: str
    coords: np.ndarray
    corners_px: np.ndarray
    probabilities: np.ndarray
    thumbnail: Image.Image | None

    @property
    def means(self) -> np.ndarray:
        """The probabilities of the photograph, (classes,) float32: means over its patches; NaN where it has none."""
        if not len(self.probabilities):
            return np.full(self.probabilities.shape[1], np.nan, np.float32)
        return self.probabilities.mean(axis=0, dtype=np.float64).astype(np.float32)


# Which photographs


def list_photographs(
    folder: str | Path, *, mpp: float | None = None, path_to_sheet: str | Path | None = None, recursive: bool = False
) -> list[Photograph]:
    """The photographs in a folder by their suffix, and below it where `recursive`, in the order of their names.

    Their µm/px are `mpp` for all, or those of a sheet: TSV with `file`, a name in the folder (with `/` below it), and
    `mpp`. A photograph that the sheet lacks, and a line of the sheet without its photograph, have a problem. Hidden
    files, which some systems leave beside photographs, and links to folders are passed over.

    Raises InputError when there is no such folder or no photograph, `mpp` is not plausible, or the sheet is not one.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of photographs, found none")
    names = sorted(_names_below(folder, recursive))
    if not names:
        raise InputError(
            f"{folder}: expected photographs ({' '.join(PHOTOGRAPH_SUFFIXES)}), found none"
            + ("" if recursive else "; say --recursive where they lie in folders below it")
        )
    if path_to_sheet is None:
        if mpp is None:
            raise InputError("expected the µm/px of the photographs, or a sheet of them, found neither")
        _check_mpp(mpp, "--mpp")
        return [Photograph(_printable(name), folder / name, mpp) for name in names]
    given = _read_sheet(path_to_sheet)
    found = [
        Photograph(_printable(name), folder / name, given.get(name), "" if name in given else "not in the sheet")
        for name in names
    ]
    absent = sorted(set(given) - set(names))
    # A name of the sheet is never a path: what is opened are files that the folder was found to hold.
    found += [
        Photograph(_printable(name), folder, given[name], "in the sheet, and not in the folder") for name in absent
    ]
    return found


def _names_below(folder: Path, recursive: bool) -> Iterator[str]:
    for above, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and name.lower().endswith(PHOTOGRAPH_SUFFIXES):
                yield (Path(above) / name).relative_to(folder).as_posix()


def _printable(name: str) -> str:
    """A name that harms neither a table nor a terminal: what cannot be printed becomes an escape."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in name)


def _read_sheet(path: str | Path) -> dict[str, float]:
    try:
        sheet = files.read_table(path, text=["file"])
    except OSError as error:
        raise InputError(f"{path}: expected a sheet of photographs, found: {error.strerror}") from error
    lacking = {"file", "mpp"} - set(sheet.columns)
    if lacking:
        raise InputError(
            f"{path}: expected the columns file and mpp, found {', '.join(map(str, sheet.columns))}; add "
            f"{' and '.join(sorted(lacking))}"
        )
    twice = sheet["file"][sheet["file"].duplicated()]
    if len(twice):
        raise InputError(f"{path}: {twice.iloc[0]} has more than one line; leave one")
    for file, mpp in zip(sheet["file"], sheet["mpp"], strict=True):
        _check_mpp(mpp, f"{path}: mpp of {file}")
    return dict(zip(sheet["file"], sheet["mpp"].astype(float), strict=True))


def _check_mpp(mpp: object, where: str) -> None:
    low, high = slides.PLAUSIBLE_MPP
    if not isinstance(mpp, (int, float, np.number)) or not low <= mpp <= high:
        raise InputError(f"{where}: found {mpp}, expected µm/px from {low:g} to {high:g}")


# What they are


def classify(photograph: Photograph, model: ExportedModel) -> Classified:
    """Cut a photograph into patches as the chain cuts a slide into tiles, and apply the model to those with tissue.

    The patches are the tiles that `tiles.tile_slide` stores by the model's settings, with their JPEG, which the model
    learned from. The photograph's probabilities are the means over its patches. Whatever is wrong with a photograph is
    its reason, and raises nothing. Memory is bounded by the photograph and a batch.
    """
    thumbnail = None
    settings, classes = model.description["tiles"], len(model.description["classes"])
    try:
        if photograph.problem:
            raise SlideRefused(photograph.problem)
        with slides.open_slide(photograph.path, photograph=True) as slide:
            thumbnail = slides.thumbnail(slide, longest_side=THUMBNAIL_PX)
            facts = slides.inspect_open_slide(
                slide,
                target_mpp=settings["mpp"],
                configured_mpp=photograph.mpp,
                tolerance=settings["mpp_tolerance"],
            )
            lattice = tiles.lattice_of(
                width=facts.width,
                height=facts.height,
                slide_mpp=facts.mpp,
                tile_px=settings["tile_px"],
                mpp=settings["mpp"],
            )
            with_tissue = [tile for strip in tiles.cut_strips(slide, lattice, settings) for tile in strip]
    except (SlideRefused, OSError) as error:
        return Classified(
            file=photograph.file,
            mpp=photograph.mpp,
            status=EXCLUDED,
            reason=error.reason if isinstance(error, SlideRefused) else f"cannot be read: {error.strerror}",
            coords=np.zeros((0, 2), np.int32),
            corners_px=np.zeros((0, 2)),
            probabilities=np.zeros((0, classes), np.float32),
            thumbnail=thumbnail,
        )
    kept = [tile for tile in with_tissue if not tile.reason]
    coords = np.array([(tile.column, tile.row) for tile in kept], np.int32).reshape(-1, 2)
    return Classified(
        file=photograph.file,
        mpp=facts.mpp,
        status=ACCEPTED if kept else EXCLUDED,
        reason=tiles.remark(lattice, kept=len(kept), dropped=len(with_tissue) - len(kept)),
        coords=coords,
        corners_px=coords * lattice.tile_level0_px,
        probabilities=_probabilities(kept, model, classes),
        thumbnail=thumbnail,
    )


def _probabilities(kept: Sequence[tiles.Tile], model: ExportedModel, classes: int) -> np.ndarray:
    found = [np.zeros((0, classes), np.float32)]
    waiting = iter(kept)
    while batch := list(islice(waiting, BATCH)):
        found.append(model.probabilities(np.stack([tiles.decode(tile.encoded) for tile in batch])))
    return np.concatenate(found)


# The tables


def photograph_table(classified: Iterable[Classified], classes: Sequence[str]) -> pd.DataFrame:
    """A row per photograph: file, mpp, status, reason, patches, class, and p_<class> of each class.

    `class` is the likeliest of the mean probabilities, the first of several; it and they are missing where a photograph
    is excluded.
    """
    rows = [
        {
            "file": one.file,
            "mpp": one.mpp,
            "status": one.status,
            "reason": one.reason,
            "patches": len(one.coords),
            "class": class_of(one, classes),
            **dict(zip(_columns(classes), one.means, strict=True)),
        }
        for one in classified
    ]
    return pd.DataFrame(rows, columns=["file", "mpp", "status", "reason", "patches", "class", *_columns(classes)])


def patch_table(classified: Iterable[Classified], classes: Sequence[str]) -> pd.DataFrame:
    """A row per patch, photograph by photograph: file, col, row, x_px, y_px, class, and p_<class> of each class.

    `x_px` and `y_px` are its upper left corner in px of the photograph; its side there is tile_px · the model's µm/px /
    the photograph's.
    """
    tables = [
        pd.DataFrame(one.probabilities, columns=_columns(classes)).assign(
            **{
                "file": one.file,
                "col": one.coords[:, 0],
                "row": one.coords[:, 1],
                "x_px": one.corners_px[:, 0],
                "y_px": one.corners_px[:, 1],
                "class": [classes[index] for index in one.probabilities.argmax(axis=1)],
            }
        )
        for one in classified
        if len(one.coords)
    ]
    columns = ["file", "col", "row", "x_px", "y_px", "class", *_columns(classes)]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def class_of(classified: Classified, classes: Sequence[str]) -> str:
    """The class of a photograph, '' where it is excluded."""
    means = classified.means
    return "" if math.isnan(means[0]) else classes[int(means.argmax())]


def _columns(classes: Sequence[str]) -> list[str]:
    return [f"p_{name}" for name in classes]
