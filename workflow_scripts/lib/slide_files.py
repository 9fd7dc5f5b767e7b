"""The files of a cohort's slides at the GDC: today's ids, room on the disk, and the download.

Today's ids are looked up by the first job that needs one, for the whole cohort at once, and kept in a table beside the
manifest (`gdc_files.tsv`). It is a memory of the jobs and no part of their graph: a slide that is listed anew is looked
up when it is downloaded, and a slide that is there asks nothing of the portal.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from workflow_scripts.lib import cohorts, downloads, files, gdc, planning, slides
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.web import PATIENCE, Patience

COLUMNS = ("filename", "listed_md5", "id", "md5", "size", "problem")


@dataclass(frozen=True)
class Portal:
    """Where slides are downloaded from and how: the section `downloads` of the configuration."""

    api: str = gdc.API
    token_file: str | None = None
    keep_slides: bool = True
    at_once: int = 4
    patience: Patience = PATIENCE

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Portal":
        """The portal of the section `downloads` as plain values."""
        return cls(
            api=settings["gdc"],
            token_file=settings["token_file"],
            keep_slides=settings["keep_slides"],
            at_once=settings["at_once"],
            patience=Patience(**settings["patience"]),
        )


def download(path: str | Path, *, portal: Portal, run_began_s: float) -> str:
    """Bring the slide `path` = results/<cohort>/slides/<file>, and return a line on what came of it.

    A slide that the GDC does not have (any more) gets a stand-in (`slides.write_stand_in`), so that it is excluded with
    the reason and the others go on. Raises InputError, in one line, when the slide is there and cannot be had whole,
    when the portal does not answer or has none of the cohort's slides, or when the disk has no room for what comes.
    """
    path = Path(path)
    row = look_up(path, portal=portal)
    if row["problem"]:
        slides.write_stand_in(path, row["problem"])
        return f"{path.name}: not downloaded: {row['problem']}"
    try:
        gdc.fetch_file(
            row["id"],
            path,
            md5=row["md5"],
            size=int(row["size"]),
            api=portal.api,
            token_file=portal.token_file,
            patience=portal.patience,
        )
    except InputError:
        # The id may have been reissued since.
        _forget(path)
        raise
    return f"downloads: {progress(path, run_began_s=run_began_s, now_s=time.time())}"


@contextmanager
def brought(path: str | Path, *, portal: Portal, run_began_s: float) -> Iterator[str]:
    """Yield the slide `path`, downloaded for the block (see `download`) and deleted when the block has completed.

    After an error it stays, so that the next attempt need not bring it again.
    """
    download(path, portal=portal, run_began_s=run_began_s)
    yield str(path)
    Path(path).unlink()


def look_up(path: str | Path, *, portal: Portal) -> pd.Series:
    """The row of a slide in the cohort's table of ids: COLUMNS, where `problem` says why there is nothing else.

    If the table does not have the slide with the md5 that the sheet lists, or has a problem of it, all slides of which
    that is so are looked up, and the disk is checked. One process does so at a time. Raises InputError when the sheet
    lists no such slide, and as `download`.
    """
    path = Path(path)
    listed = _listed(_sheet_of(path))
    mine = listed[listed["filename"] == path.name]
    if len(mine) != 1:
        raise InputError(f"{path}: expected this slide once in {_sheet_of(path)}, found it {len(mine)} times")
    with _holding_table(path):
        known = listed.merge(_read(_table_of(path)), on=["filename", "listed_md5"])
        found = known[(known["filename"] == path.name) & (known["problem"] == "")]
        if found.empty:
            known = known[known["problem"] == ""]
            unknown = listed[~listed["filename"].isin(known["filename"])]
            table = pd.concat([known, _resolve(unknown, portal)], ignore_index=True).sort_values("filename")
            _check_found(table, portal)
            _check_disk(table, path, portal)
            files.write_table(table[list(COLUMNS)], _table_of(path))
            found = table[table["filename"] == path.name]
    return found.iloc[0]


def progress(path: Path, *, run_began_s: float, now_s: float) -> str:
    """One line on the cohort's slides: files, bytes, rate, time left. Times in s.

    A slide that is gone because it was tiled has arrived too; its tile store tells when.
    """
    table = _read(_table_of(path))
    there = table[table["problem"] == ""]
    finished = []
    for name, size in zip(there["filename"], there["size"].astype(int), strict=True):
        arrived = next((file for file in (path.with_name(name), _store_of(path, name)) if file.is_file()), None)
        if arrived is not None:
            finished.append((size, arrived.stat().st_mtime))
    size = int(there["size"].sum())
    return downloads.cohort_progress(finished, files=len(there), size=size, since_s=run_began_s, now_s=now_s)


def _resolve(unknown: pd.DataFrame, portal: Portal) -> pd.DataFrame:
    lines = pd.DataFrame(
        {"id": "", "filename": unknown["filename"], "md5": unknown["listed_md5"], "line": unknown.index, "problem": ""}
    )
    found = gdc.resolve_files(lines, api=portal.api, patience=portal.patience)
    return found.assign(listed_md5=unknown["listed_md5"].to_numpy())


def _check_found(table: pd.DataFrame, portal: Portal) -> None:
    if (table["problem"] != "").all():
        first = table.iloc[0]
        raise InputError(
            f"{portal.api}: expected slides that the GDC has, found none of {len(table)}; the first: "
            f"{first['filename']}: {first['problem']}."
        )


def _check_disk(table: pd.DataFrame, path: Path, portal: Portal) -> None:
    """Ask for room for the slides that are still to come: neither here nor tiled.

    Where slides are not kept, those that are downloaded at once are all that lie there together: the largest count.
    """
    to_come = table[table["problem"] == ""].sort_values("size", ascending=False)
    to_come = to_come[[not _is_done(path, name) for name in to_come["filename"]]]
    if not portal.keep_slides:
        to_come = to_come.head(portal.at_once)
    sizes = zip(to_come["filename"], to_come["size"].astype(int), strict=True)
    downloads.check_disk(path.parent, downloads.missing_bytes({path.with_name(name): size for name, size in sizes}))


def _is_done(path: Path, name: str) -> bool:
    """Whether a slide need not be downloaded: it lies where the sheet says, or it was tiled."""
    files_of_sheet = planning.usable_files(_sheet_of(path))
    slide_id = name.rpartition(".")[0]
    is_here = slide_id in files_of_sheet and planning.find_slide(files_of_sheet[slide_id]) is not None
    return is_here or _store_of(path, name).is_file()


def _forget(path: Path) -> None:
    """Take a slide out of the table of ids, so that it is looked up anew."""
    with _holding_table(path):
        table = _read(_table_of(path))
        files.write_table(table[table["filename"] != path.name], _table_of(path))


def _holding_table(path: Path) -> AbstractContextManager:
    """Let no other process look up, or change the table of ids, while a block runs."""
    return downloads.held_alone(_table_of(path).with_name(".gdc_files.lock"))


def _read(path: Path) -> pd.DataFrame:
    """The table of ids; empty where there is none yet."""
    if not path.is_file():
        return pd.DataFrame(columns=list(COLUMNS)).astype({"size": "Int64"})
    table = files.read_table(path, text=["filename", "listed_md5", "id", "md5", "problem"])
    return table.astype({"size": "Int64"})


def _listed(path_to_sheet: Path) -> pd.DataFrame:
    """File name and md5 (`listed_md5`) of the slides that a sheet lists for use."""
    sheet = files.read_table(path_to_sheet, text=cohorts.SHEET_TEXT)
    sheet = sheet[sheet["status"] == "listed"]
    return pd.DataFrame(
        {"filename": [Path(file).name for file in sheet["file"]], "listed_md5": sheet["md5"].to_numpy()}
    )


# The places of a cohort, from that of a slide, results/<cohort>/slides/<file>.


def _sheet_of(path: Path) -> Path:
    return path.parent.parent / "sheet.tsv"


def _table_of(path: Path) -> Path:
    return path.parent.parent / "input" / "gdc_files.tsv"


def _store_of(path: Path, name: str) -> Path:
    return path.parent.parent / "tiles" / f"{Path(name).stem}.h5"
