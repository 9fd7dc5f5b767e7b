"""What the workflow plans from a cohort's assembled tables: its slides, files given for them, what a model learns from.

These run each time that the graph of jobs is built, so they read tables and folders once and open nothing else.
"""

import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import pandas as pd

from workflow_scripts.lib import files, splits
from workflow_scripts.lib.errors import InputError

# What a user may give for each slide, and the suffixes that its files may have.
ANNOTATIONS = "annotations"
TILE_SCORES = "tile scores"
SUFFIXES = {
    ANNOTATIONS: (".geojson", ".json", ".xml"),
    TILE_SCORES: (".tsv", ".h5", ".hdf5", ".geojson", ".json", ".xml"),
}


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


def files_of_slides(path_to_sheet: str | Path, folder: str | Path, kind: str) -> dict[str, str]:
    """The file in `folder` that belongs to each slide that has one, by slide id, in the sheet's order.

    kind: a key of SUFFIXES. A file belongs to the slide that its name without these suffixes says: the slide_id, or the
    slide's file with or without its suffix. So `S.geojson` and `S.svs.geojson` belong to `S.svs`. Upper and lower case
    count in `S`.

    Raises InputError when a slide has two files, when a file has two slides, and when no file has any.
    """
    return _matched(path_to_sheet, folder, kind)[0]


def files_of_no_slide(path_to_sheet: str | Path, folder: str | Path, kind: str) -> list[str]:
    """Names of the files in `folder` that belong to no listed slide (`files_of_slides`); hidden ones do not count."""
    return _matched(path_to_sheet, folder, kind)[1]


def slides_without_file(path_to_sheet: str | Path, folder: str | Path, kind: str) -> list[str]:
    """The listed slides to which no file in `folder` belongs, see `files_of_slides`, in the sheet's order."""
    found = files_of_slides(path_to_sheet, folder, kind)
    return [slide for slide in usable_files(path_to_sheet) if slide not in found]


def cached_weights() -> list[str]:
    """The names of the files in torch's cache of weights, without importing torch."""
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
    folder = Path(home).expanduser() / "hub" / "checkpoints"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def text_table(path: str | Path) -> pd.DataFrame:
    """A table with every column as text, '' where it says nothing; read once, as long as it is not written anew."""
    return _read(*_version(path))


def in_sheet(path_to_sheet: str | Path, column: str) -> dict[str, str]:
    """What a slide sheet says of each slide in a column, as text, by slide id; '' where it says nothing."""
    sheet = text_table(path_to_sheet)
    return dict(zip(sheet["slide_id"], sheet[column], strict=True))


def selection(
    path_to_splits: str | Path, path_to_labels: str | Path, *, round_number: int
) -> dict[str, dict[str, int]]:
    """Labels (0 or 1) by slide id of the two sets of one trait and round, see `splits.labels_of_sets`."""
    labels = text_table(path_to_labels)
    numbers = labels.assign(label=pd.to_numeric(labels["label"]))
    return splits.labels_of_sets(text_table(path_to_splits), numbers, round_number=round_number)


def sets_of_slides(
    path_to_sheet: str | Path, path_to_splits: str | Path, slides: list[str], *, round_number: int
) -> dict[str, list[str]]:
    """Some slides by the set that their patients are in: `test`, or `train` or `validation` of a round."""
    split = text_table(path_to_splits)
    rounds = dict(zip(split["patient_id"], split[f"round_{round_number}"], strict=True))
    patients = in_sheet(path_to_sheet, "patient_id")
    found: dict[str, list[str]] = {name: [] for name in (splits.TRAIN, splits.VALIDATION, splits.TEST)}
    for slide in slides:
        found[rounds[patients[slide]] or splits.TEST].append(slide)
    return found


def held_out_slides(path_to_sheet: str | Path, path_to_splits: str | Path, slides: list[str]) -> list[str]:
    """Those of some slides that belong to a patient of the test set."""
    sheet, split = text_table(path_to_sheet), text_table(path_to_splits)
    patients = set(split.loc[split["set"] == splits.TEST, "patient_id"])
    held_out = set(sheet.loc[sheet["patient_id"].isin(patients), "slide_id"])
    return [slide for slide in slides if slide in held_out]


def drawn(places: Sequence[tuple[str, str]], number: int, *, seed: int) -> list[tuple[str, str]]:
    """So many of some slides, as (cohort, slide), in their order: those with the lowest hashes of seed and name.

    Those of a smaller number are among those of a larger one.
    """
    lots = {place: hashlib.sha256(f"{seed}:drawn:{'/'.join(place)}".encode()).hexdigest() for place in places}
    chosen = set(sorted(places, key=lots.__getitem__)[:number])
    return [place for place in places if place in chosen]


def slides_by_chunk(path_to_sheet: str | Path, *, chunks: int) -> dict[int, list[str]]:
    """The usable slides that each of `chunks` jobs is dealt, by `chunk_of`, in the sheet's order; no empty chunk."""
    return _slides_by_chunk(*_version(path_to_sheet), chunks)


def chunk_of(slide_id: str, *, chunks: int) -> int:
    """Which of `chunks` jobs a slide is dealt to, from 0: by its name alone, so that a new slide moves no other."""
    return int(hashlib.sha256(slide_id.encode()).hexdigest()[:8], 16) % chunks


def _matched(path_to_sheet: str | Path, folder: str | Path, kind: str) -> tuple[dict[str, str], list[str]]:
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: expected a folder of {kind}, found none")
    return _files_in(*_version(path_to_sheet), *_version(folder), kind)


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
def _files_in(
    path_to_sheet: str, sheet_ns: int, folder: str, _folder_ns: int, kind: str
) -> tuple[dict[str, str], list[str]]:
    """The file of each slide that has one, and the names of the files that belong to none."""
    suffixes = SUFFIXES[kind]
    slides = _usable_files(path_to_sheet, sheet_ns)
    named: dict[str, set[str]] = {}
    for slide, file in slides.items():
        for name in (slide, Path(file).stem, Path(file).name):
            named.setdefault(name, set()).add(slide)
    found: dict[str, list[str]] = {}
    of_none = []
    for path in sorted(path for path in Path(folder).iterdir() if not path.name.startswith(".")):
        owners = named.get(path.stem, set()) if path.suffix.lower() in suffixes else set()
        if len(owners) > 1:
            raise InputError(f"{path}: expected the name of one slide, found that of {' and '.join(sorted(owners))}")
        for slide in owners:
            found.setdefault(slide, []).append(str(path))
        if not owners:
            of_none.append(path.name)
    for slide, paths in found.items():
        if len(paths) > 1:
            raise InputError(f"{slide}: expected one file of {kind}, found {' and '.join(paths)}; move one away")
    if not found:
        example = f"{next(iter(slides), '<slide_id>')}{suffixes[0]}"
        raise InputError(
            f"{folder}: expected a slide's name and {', '.join(suffixes)} as the name of a file of {kind}, as in "
            f"{example}, found none among {len(of_none)} files{_first_few(of_none)}"
        )
    return {slide: found[slide][0] for slide in slides if slide in found}, of_none


def _first_few(names: list[str]) -> str:
    return f" ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})" if names else ""


@lru_cache(maxsize=16)
def _slides_by_chunk(path: str, written_ns: int, chunks: int) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for slide in _usable_files(path, written_ns):
        found.setdefault(chunk_of(slide, chunks=chunks), []).append(slide)
    return found


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
