"""What the workflow plans from a cohort's assembled tables: which slides there are, and which a model learns from.

These run each time that the graph of jobs is built, so they read tables and folders once and open nothing else.
"""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

import pandas as pd

from workflow_scripts.lib import files, splits
from workflow_scripts.lib.errors import InputError


def usable_files(path_to_sheet: str | Path) -> dict[str, str]:
    """The file of each slide that is listed for use in a slide sheet, by slide id, in the sheet's order."""
    return _usable_files(*_version(path_to_sheet))


def find_slide(file: str | Path) -> str | None:
    """Where a slide lies: at `file`, or else under its name in a single folder beside it; None where it is not.

    gdc-client puts each file into a folder of its own, named by an id that the GDC may have reissued since. Hidden
    folders, where copies in progress lie, do not count. Raises InputError when several folders have the file.
    """
    path = Path(file)
    if path.is_file():
        return str(file)
    if not path.parent.is_dir():
        return None
    found = [hit for hit in _files_one_below(*_version(path.parent)).get(path.name, []) if Path(hit).is_file()]
    if len(found) > 1:
        raise InputError(
            f"{file}: expected one file of this name in the folders beside it, found {' and '.join(found)}; "
            "move all but one away."
        )
    return found[0] if found else None


def in_sheet(path_to_sheet: str | Path, slide_id: str, column: str) -> str:
    """What a slide sheet says of a slide in a column, as text; '' where it says nothing."""
    return _column_of_slides(*_version(path_to_sheet), column)[slide_id]


def selection(
    path_to_splits: str | Path, path_to_labels: str | Path, *, round_number: int
) -> dict[str, dict[str, int]]:
    """Labels (0 or 1) by slide id of the two sets of one trait and round, see `splits.labels_of_sets`."""
    labels = _table(path_to_labels)
    numbers = labels.assign(label=pd.to_numeric(labels["label"]))
    return splits.labels_of_sets(_table(path_to_splits), numbers, round_number=round_number)


def held_out_slides(path_to_sheet: str | Path, path_to_splits: str | Path, slides: list[str]) -> list[str]:
    """Those of some slides that belong to a patient of the test set."""
    sheet, split = _table(path_to_sheet), _table(path_to_splits)
    patients = set(split.loc[split["set"] == splits.TEST, "patient_id"])
    held_out = set(sheet.loc[sheet["patient_id"].isin(patients), "slide_id"])
    return [slide for slide in slides if slide in held_out]


def chunk_of(slide_id: str, *, chunks: int) -> int:
    """Which of `chunks` jobs a slide is dealt to, from 0: by its name alone, so that a new slide moves no other."""
    return int(hashlib.sha256(slide_id.encode()).hexdigest()[:8], 16) % chunks


def _table(path: str | Path) -> pd.DataFrame:
    return _read(*_version(path))


def _version(path: str | Path) -> tuple[str, int]:
    """What a table or a folder is remembered by: its path, and when it was written."""
    return str(path), Path(path).stat().st_mtime_ns


# Each slide asks for these; made anew every time they would cost the square of the number of slides.
@lru_cache(maxsize=16)
def _usable_files(path: str, written_ns: int) -> dict[str, str]:
    sheet = _read(path, written_ns)
    listed = sheet[sheet["status"] == "listed"]
    return dict(zip(listed["slide_id"], listed["file"], strict=True))


@lru_cache(maxsize=16)
def _column_of_slides(path: str, written_ns: int, column: str) -> dict[str, str]:
    sheet = _read(path, written_ns)
    return dict(zip(sheet["slide_id"], sheet[column], strict=True))


@lru_cache(maxsize=256)
def _read(path: str, _written_ns: int) -> pd.DataFrame:
    header = files.read_table(path).columns
    return files.read_table(path, text=header)


@lru_cache(maxsize=64)
def _files_one_below(folder: str, _written_ns: int) -> dict[str, list[str]]:
    """The paths of the files that lie in the folders of a folder, by name, in alphabetical order."""
    found: dict[str, list[str]] = {}
    for below in sorted(Path(folder).iterdir()):
        # A folder that may not be read, as lost+found, holds no slide that could be.
        if below.is_dir() and not below.name.startswith(".") and os.access(below, os.R_OK | os.X_OK):
            for file in below.iterdir():
                if file.is_file():
                    found.setdefault(file.name, []).append(str(file))
    return found
