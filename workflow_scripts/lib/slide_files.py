"""The files of a cohort's slides at the GDC: which there are today, whether the disk holds them, and their download."""

import time
from pathlib import Path

import pandas as pd

from workflow_scripts.lib import cohorts, downloads, files, gdc, planning, slides
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.web import PATIENCE, Patience

# Slides that are not kept lie on the disk from their download until they are tiled. Tiling comes first where both can
# run, so that few of them wait; room is asked for this many times those that are downloaded at once.
WAITING_TO_BE_TILED = 4


def resolve(path_to_sheet: str | Path, *, api: str = gdc.API, patience: Patience = PATIENCE) -> pd.DataFrame:
    """Today's id, md5 and size (bytes) of each slide that a sheet lists, or the problem: see `gdc.resolve_files`.

    Raises InputError when the API does not answer, or has none of the slides.
    """
    listed = _listed(path_to_sheet)
    names = [Path(file).name for file in listed["file"]]
    lines = pd.DataFrame({"id": "", "filename": names, "md5": listed["md5"], "line": range(len(names)), "problem": ""})
    found = gdc.resolve_files(lines, api=api, patience=patience)
    if (found["problem"] != "").all():
        raise InputError(
            f"{path_to_sheet}: expected slides that the GDC has, found none among {len(found)}; the first: "
            f"{found['filename'].iloc[0]}: {found['problem'].iloc[0]}."
        )
    return found


def check_disk(found: pd.DataFrame, path_to_sheet: str | Path, folder: str | Path, *, kept: bool, at_once: int) -> None:
    """Raise InputError unless the disk of `folder` has room for the slides that are to be downloaded there.

    found: the table of `resolve`. Slides that lie where the sheet says are not downloaded. Where slides are not `kept`,
    the largest that may lie there together count.
    """
    here = {Path(file).name for file in _listed(path_to_sheet)["file"] if planning.find_slide(file)}
    to_come = found[(found["problem"] == "") & ~found["filename"].isin(here)].sort_values("size", ascending=False)
    if not kept:
        to_come = to_come.head(at_once * WAITING_TO_BE_TILED)
    sizes = {
        Path(folder) / row.filename: int(row.size) for row in to_come[["filename", "size"]].itertuples(index=False)
    }
    downloads.check_disk(folder, downloads.missing_bytes(sizes))


def read(path: str | Path) -> pd.DataFrame:
    """The table of `resolve` as `files.write_table` wrote it."""
    table = files.read_table(path, text=["filename", "id", "md5", "problem"])
    return table.astype({"size": "Int64"})


def download(
    path: str | Path,
    found: pd.DataFrame,
    *,
    run_began_s: float,
    api: str = gdc.API,
    token_file: str | Path | None = None,
    patience: Patience = PATIENCE,
) -> str:
    """Bring the slide `path`, by its name in `found`, the table of `resolve`; return a line on what came of it.

    A slide that the GDC does not have (any more) gets a stand-in (`slides.write_stand_in`), so that it is excluded with
    the reason and the others go on. Raises InputError, in one line, when the slide is there and cannot be had whole.
    """
    path = Path(path)
    rows = found[found["filename"] == path.name]
    if len(rows) != 1:
        raise InputError(
            f"{path.name}: expected it once among the {len(found)} slides that were looked up at the GDC, found it "
            f"{len(rows)} times. Delete {path.parent.parent / 'input' / 'gdc_files.tsv'}, and run this again."
        )
    row = rows.iloc[0]
    if row["problem"]:
        slides.write_stand_in(path, row["problem"])
        return f"{path.name}: not downloaded: {row['problem']}"
    gdc.fetch_file(
        row["id"], path, md5=row["md5"], size=int(row["size"]), api=api, token_file=token_file, patience=patience
    )
    return f"downloads: {progress(found, path.parent, run_began_s=run_began_s, now_s=time.time())}"


def progress(found: pd.DataFrame, folder: Path, *, run_began_s: float, now_s: float) -> str:
    """One line on the cohort's slides in `folder`: files, bytes, rate, time left. Times in s.

    A slide that is gone because it was tiled has arrived too; its tile store tells when.
    """
    there = found[found["problem"] == ""]
    finished = []
    for name, size in zip(there["filename"], there["size"].astype(int), strict=True):
        store = folder.parent / "tiles" / f"{Path(name).stem}.h5"
        arrived = next((file for file in (folder / name, store) if file.is_file()), None)
        if arrived is not None:
            finished.append((size, arrived.stat().st_mtime))
    size = int(there["size"].sum())
    return downloads.cohort_progress(finished, files=len(there), size=size, since_s=run_began_s, now_s=now_s)


def _listed(path_to_sheet: str | Path) -> pd.DataFrame:
    sheet = files.read_table(path_to_sheet, text=cohorts.SHEET_TEXT)
    return sheet[sheet["status"] == "listed"]
