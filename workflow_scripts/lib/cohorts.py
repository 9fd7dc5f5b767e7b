"""The slide sheet: which slides a cohort has, whose they are, and which lines of the list cannot be used.

A sheet is a table with the columns SHEET_COLUMNS, one row per line of the list. In every row, also an excluded one,
`slide_id` is unique and safe as a file's name: a line without a usable one gets `unusable-0001`, … Nothing is opened.
"""

import difflib
import itertools
import logging
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from workflow_scripts.lib import barcodes
from workflow_scripts.lib.errors import InputError

log = logging.getLogger(__name__)

SHEET_COLUMNS = (
    "slide_id",
    "patient_id",
    "sample_type",
    "diagnostic_index",
    "file",
    "md5",
    "mpp",
    "source",
    "class",
    "status",
    "reason",
)
SHEET_TEXT = ("slide_id", "patient_id", "sample_type", "file", "md5", "source", "class", "status", "reason")

# What OpenSlide reads, and the plain TIFF of other tools.
SLIDE_SUFFIXES = (
    ".svs",
    ".tif",
    ".tiff",
    ".ndpi",
    ".mrxs",
    ".scn",
    ".vms",
    ".vmu",
    ".bif",
    ".dcm",
    ".svslide",
)

# The plain images that a microscope's camera writes.
PHOTOGRAPH_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")

_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_SAFE_ID_IN_WORDS = "letters, digits, '.', '_' and '-', beginning with a letter or digit, 200 at most"


def list_from_manifest(path_to_manifest: str | Path, folder: str | Path) -> pd.DataFrame:
    """The sheet of a GDC manifest; the file of each line is `<folder>/<name>`, whether it is there or not.

    A line is excluded, with its reason, when it is incomplete, when its name is not a plain file name, has no slide's
    suffix or no TCGA barcode, or when its name or md5 was there before. The disk is not looked at: files may still
    come, and `planning.find_slide` finds those that gdc-client put into folders of their own. Ids are not used: the GDC
    has reissued most of them, names and md5 still hold.

    Raises InputError when the manifest is not one, or when none of its slides can be used.
    """
    manifest = read_manifest(path_to_manifest)
    rows = _Rows()
    for line in manifest.itertuples(index=False):
        problem = line.problem or problem_of_file_name(line.filename)
        if problem:
            rows.exclude(file=line.filename, reason=f"line {line.line}: {problem}")
            continue
        rows.add_by_name(file=Path(folder) / line.filename, md5=line.md5, needs_patient=True)
    return rows.sheet(of=path_to_manifest)


def read_manifest(path: str | Path) -> pd.DataFrame:
    """A GDC manifest as it stands: id, filename, md5 (text), size (bytes), line (int, in the file) and problem (text).

    The columns of the file may stand in any order and there may be others; `filename` and `md5` must be there. A size
    that is not given, or is no number of bytes, is missing (Int64): nothing is decided by it.
    Nothing in a cell is trusted: a line with too few or too many fields, without a name, or with an md5 that is none
    is kept with its problem named.

    Raises InputError when the file is not text, is empty, or has no such columns.
    """
    header, lines = _read_lines(path)
    columns = [name.strip().casefold() for name in header]
    for needed in ("filename", "md5"):
        if columns.count(needed) != 1:
            raise InputError(
                f"{path}: expected a GDC manifest (tab-separated, columns id, filename, md5, size, state), "
                f"found the columns {', '.join(header)}. Download the manifest from the GDC portal again."
            )
    rows = []
    for number, fields in lines:
        cells = dict(zip(columns, fields, strict=False))
        row = {"id": cells.get("id", ""), "filename": cells.get("filename", ""), "md5": cells.get("md5", "").lower()}
        size = cells.get("size", "")
        row["size"] = int(size) if re.fullmatch(r"[0-9]{1,15}", size) else None
        problem = ""
        if len(fields) != len(columns):
            problem = f"expected {len(columns)} fields, found {len(fields)}"
        elif not row["filename"]:
            problem = "no file name"
        elif row["md5"] and not re.fullmatch(r"[0-9a-f]{32}", row["md5"]):
            problem = "md5 is not 32 hexadecimal digits"
        rows.append(row | {"line": number, "problem": problem})
    return pd.DataFrame(rows, columns=["id", "filename", "md5", "size", "line", "problem"]).astype({"size": "Int64"})


def list_from_folder(folder: str | Path, *, photographs: bool = False) -> pd.DataFrame:
    """The sheet of the slides that lie in `folder` itself (not below it), by SLIDE_SUFFIXES, in the order of names.

    Of `photographs`, which stand in place of slides, by PHOTOGRAPH_SUFFIXES.

    A TCGA name gives the patient. A name that begins like one and is not one is excluded, for its patient is unknown;
    any other slide counts as a patient of its own.
    Raises InputError when there is no such folder or no slide in it that can be used.
    """
    rows = _Rows()
    for name in sorted(_names_in(folder)):
        is_other = name.startswith(".") or _problem_of_suffix(name, photographs=photographs)
        if not is_other and (Path(folder) / name).is_file():
            problem = problem_of_file_name(name, photographs=photographs)
            if problem:
                rows.exclude(file=name, reason=problem)
            else:
                rows.add_by_name(file=Path(folder) / name, md5="", needs_patient=False)
    return rows.sheet(of=folder)


def list_from_sheet(path: str | Path, *, photographs: bool = False) -> pd.DataFrame:
    """The sheet of a table of the user's own: TSV with `file` and, as far as known, any other of
    slide_id, patient_id, sample_type, diagnostic_index, md5, mpp (µm/px), class. `file` is relative to the table's
    folder; `class` is what the slide shows, for studies that tell classes of slides apart. The files are slides, or
    `photographs`, by their suffix.

    An empty cell is filled from the file's name: slide_id is the name without its last suffix, the patient, sample type
    and diagnostic index are those of a TCGA name. An mpp given here has the source `configuration`.
    A line that cannot be used is excluded with its reason; so is one whose patient neither the column patient_id nor
    the name tells, and one whose file or md5 was there before. Without a column patient_id such a slide counts as a
    patient of its own. Columns of other names are left alone, except one that looks like a misspelt known one.

    Raises InputError when `file` is missing or a column is misspelt, or when no line can be used.
    """
    header, lines = _read_lines(path)
    _check_own_columns(header, path)
    rows = _Rows()
    for number, fields in lines:
        if len(fields) > len(header):
            found = f"line {number}: expected {len(header)} fields, found {len(fields)}"
            rows.exclude(file="\t".join(fields), reason=found)
            continue
        cells = dict.fromkeys(_OWN_COLUMNS, "") | {n: f.strip() for n, f in zip(header, fields, strict=False)}
        needs_patient = "patient_id" in header
        _add_own_line(
            rows, cells, number=number, beside=Path(path).parent, needs_patient=needs_patient, photographs=photographs
        )
    return rows.sheet(of=path)


def exclude_by_name(sheet: pd.DataFrame, reasons: Mapping[str, str]) -> pd.DataFrame:
    """The sheet with the slides that are named in `reasons`, by file name or slide_id, excluded for that reason.

    Raises InputError when a name is no slide's of the sheet (naming the nearest), or when no slide is left.
    """
    names = [{slide_id, Path(file).name} for slide_id, file in zip(sheet["slide_id"], sheet["file"], strict=True)]
    known = sorted(set().union(*names))
    for name in reasons:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"exclude: no slide {printable(name)!r} among the {len(sheet)} of the list{hint}")
    reason = [next((f"left out: {reasons[name]}" for name in reasons if name in mine), "") for mine in names]
    out = (pd.Series(reason, index=sheet.index) != "") & (sheet["status"] == "listed")
    sheet = sheet.assign(
        status=sheet["status"].mask(out, "excluded"), reason=sheet["reason"].mask(out, pd.Series(reason, sheet.index))
    )
    if not (sheet["status"] == "listed").any():
        raise InputError("exclude: expected at least one slide to be left, found that all are excluded")
    log.info("%d slides left out by name", out.sum())
    return sheet


def one_slide_per_patient(slides: pd.DataFrame) -> pd.DataFrame:
    """One row of `slides` per patient, in the order of patients: the one that stands for its tumour in survival.

    It is the DX1 slide. Where there are several, or none: a diagnostic slide before one that is not, then the lowest
    sample type (a primary tumour's before a metastasis's), then the lowest diagnostic index, then the first slide_id.
    `slides` has the columns slide_id, patient_id, sample_type and diagnostic_index; no row may lack a patient.

    Source: Paper: Methods, Survival analysis (DX1); the fallback is ours, since 14 BRCA patients have no DX1 slide and
    TCGA-50-5066 has two.
    """
    if (slides["patient_id"] == "").any() or slides["patient_id"].isna().any():
        raise InputError("one slide per patient: every slide must have a patient; leave out the excluded ones first.")
    index = pd.to_numeric(slides["diagnostic_index"]).astype("Float64")
    sample_type = slides["sample_type"].fillna("").astype(str)
    ordered = slides.assign(
        _not_dx1=(index != 1).fillna(True).astype(bool),
        _not_diagnostic=index.isna(),
        # A slide of unknown sample type comes after those that are known.
        _sample_type=sample_type.where(sample_type != "", "~"),
        _index=index.fillna(math.inf),
    ).sort_values(["patient_id", "_not_dx1", "_not_diagnostic", "_sample_type", "_index", "slide_id"], kind="stable")
    chosen = ordered.drop_duplicates("patient_id")
    log.info("one slide for each of %d patients; %d of them have no DX1 slide", len(chosen), chosen["_not_dx1"].sum())
    return chosen[list(slides.columns)].reset_index(drop=True)


_OWN_COLUMNS = ("slide_id", "patient_id", "sample_type", "diagnostic_index", "file", "md5", "mpp", "class")


class _Rows:
    """The rows of a sheet as they are gathered, and whose the slide_ids, files and md5 are."""

    def __init__(self) -> None:
        self._rows: list[dict] = []
        self._file_of: dict[str, str] = {}
        self._listed_by_content: dict[str, str] = {}
        self._n_of_unknown_patient = 0

    def add_by_name(self, *, file: Path, md5: str, needs_patient: bool) -> None:
        """Add a slide of which nothing but the name is known."""
        row = _fields_of_name(file.name) | {"file": str(file), "md5": md5}
        self.add(row, needs_patient=needs_patient)

    def add(self, row: dict, *, needs_patient: bool) -> None:
        """Add a slide whose `slide_id` is safe; exclude it if the id is taken, it is nobody's, or it is there twice."""
        slide_id, file = row["slide_id"], row["file"]
        if slide_id in self._file_of:
            self.exclude(file=file, reason=f"slide_id {slide_id} is taken by {self._file_of[slide_id]}")
            return
        self._file_of[slide_id] = file
        reason = self._listed_before(row)
        if not reason and not row["patient_id"]:
            if needs_patient or barcodes.claims_to_be_tcga(Path(file).name):
                reason = "no patient: the name is not that of a TCGA slide; name the patient in a sheet, as patient_id"
            else:
                # ASSUME a slide that does not say whose it is has a patient of its own.
                row = row | {"patient_id": slide_id}
                self._n_of_unknown_patient += 1
        if not reason:
            self._listed_by_content |= dict.fromkeys(_contents(row), slide_id)
        self._rows.append(row | {"status": "excluded" if reason else "listed", "reason": reason})

    def _listed_before(self, row: dict) -> str:
        """Why a slide is one that is listed already, by its file or its md5; '' when it is not."""
        for content in _contents(row):
            if content in self._listed_by_content:
                return f"the same {content.partition(' ')[0]} as slide {self._listed_by_content[content]}"
        return ""

    def exclude(self, *, file: str, reason: str) -> None:
        """Add a line that has no usable slide_id of its own."""
        self._rows.append({"slide_id": None, "file": printable(file), "status": "excluded", "reason": reason})

    def sheet(self, *, of: str | Path) -> pd.DataFrame:
        """The sheet; `of` is where it came from, for the error that nothing in it can be used."""
        text = {"patient_id": "", "sample_type": "", "md5": "", "source": "", "class": ""}
        rows = [text | {"diagnostic_index": None, "mpp": None} | row for row in self._rows]
        sheet = pd.DataFrame(rows, columns=list(SHEET_COLUMNS))
        stand_ins = (f"unusable-{number:04d}" for number in itertools.count(1))
        free = (name for name in stand_ins if name not in self._file_of)
        sheet["slide_id"] = [slide_id or next(free) for slide_id in sheet["slide_id"]]
        sheet["diagnostic_index"] = sheet["diagnostic_index"].astype("Int64")
        sheet["mpp"] = sheet["mpp"].astype("float64")
        _report(sheet, of=of)
        if self._n_of_unknown_patient:
            log.warning(
                "%s: %d slides do not say whose they are: each counts as a patient of its own",
                of,
                self._n_of_unknown_patient,
            )
        return sheet


def _contents(row: dict) -> list[str]:
    """What two slides must not have in common, because they would be one: `file …`, and `md5 …` where it is known."""
    # Not resolved: that would look at the disk.
    file = f"file {os.path.normpath(Path(row['file']).absolute())}"
    return [file, f"md5 {row['md5']}"] if row["md5"] else [file]


def _report(sheet: pd.DataFrame, *, of: str | Path) -> None:
    """Log what is in and out; InputError when nothing is in."""
    excluded = sheet[sheet["status"] == "excluded"]
    if len(excluded) == len(sheet):
        first = f"; the first: {excluded['reason'].iloc[0]} ({excluded['file'].iloc[0]})" if len(sheet) else ""
        raise InputError(
            f"{of}: expected at least one slide that can be used, found {len(sheet)} lines, all excluded{first}. "
            "Check that the list and the folder of slides belong together."
        )
    log.info("%s: %d slides listed, %d lines excluded", of, len(sheet) - len(excluded), len(excluded))
    for row in excluded.itertuples():
        log.info("excluded: %s: %s", row.file, row.reason)


def _add_own_line(
    rows: _Rows, cells: dict[str, str], *, number: int, beside: Path, needs_patient: bool, photographs: bool
) -> None:
    """Add one line of the user's own sheet to `rows`."""
    name = re.split(r"[/\\]", cells["file"])[-1]
    given = {key: cells[key] for key in ("slide_id", "patient_id", "sample_type", "class") if cells[key]}
    row = _fields_of_name(name) | given | {"md5": cells["md5"].lower()}
    problem = _problem_of_own_line(cells, name=name, slide_id=row["slide_id"], photographs=photographs)
    if problem:
        rows.exclude(file=cells["file"], reason=f"line {number}: {problem}")
        return
    if cells["diagnostic_index"]:
        row["diagnostic_index"] = int(cells["diagnostic_index"])
    if cells["mpp"]:
        row |= {"mpp": float(cells["mpp"]), "source": "configuration"}
    file = beside / cells["file"]
    rows.add(row | {"file": str(file)}, needs_patient=needs_patient)


def _problem_of_own_line(cells: dict[str, str], *, name: str, slide_id: str, photographs: bool) -> str:
    if not cells["file"]:
        return "no file"
    if "\0" in cells["file"]:
        return "a NUL in the file's name"
    if problem := _problem_of_suffix(name, photographs=photographs):
        return problem
    if not _SAFE_ID.fullmatch(slide_id):
        return f"slide_id {printable(slide_id)!r} is not safe as a name: {_SAFE_ID_IN_WORDS}"
    if cells["sample_type"] and not re.fullmatch(r"[0-9]{2}", cells["sample_type"]):
        return f"sample_type {printable(cells['sample_type'])!r} is not two digits (01 is a primary tumour)"
    if cells["diagnostic_index"] and not re.fullmatch(r"[0-9]{1,3}", cells["diagnostic_index"]):
        return f"diagnostic_index {printable(cells['diagnostic_index'])!r} is not a whole number"
    if cells["md5"] and not re.fullmatch(r"[0-9a-f]{32}", cells["md5"].lower()):
        return "md5 is not 32 hexadecimal digits"
    if cells["mpp"] and not _is_positive(cells["mpp"]):
        return f"mpp {printable(cells['mpp'])!r} is not a positive number of µm/px"
    return ""


def _check_own_columns(header: list[str], path: str | Path) -> None:
    twice = sorted({name for name in header if header.count(name) > 1})
    if "file" not in header or twice:
        raise InputError(
            f"{path}: expected a tab-separated sheet with the column `file` and no column twice, "
            f"found {', '.join(header)}. Known columns: {', '.join(_OWN_COLUMNS)}."
        )
    for name in header:
        near = difflib.get_close_matches(name.casefold(), _OWN_COLUMNS, n=1, cutoff=0.7)
        if name not in _OWN_COLUMNS and near and near[0] not in header:
            raise InputError(f"{path}: found the column `{name}`; did you mean `{near[0]}`? Rename it, either way.")


def _fields_of_name(name: str) -> dict:
    """What a file's name says: slide_id, and the patient, sample type and diagnostic index where it is TCGA's."""
    barcode = barcodes.parse_slide(name)
    fields = {
        "slide_id": name.rpartition(".")[0] or name,
        "patient_id": "",
        "sample_type": "",
        "diagnostic_index": None,
    }
    if barcode is None:
        return fields
    return fields | {
        "patient_id": barcode.patient_id,
        "sample_type": barcode.sample_type,
        "diagnostic_index": barcode.diagnostic_index,
    }


def problem_of_file_name(name: str, *, photographs: bool = False) -> str:
    """Why a name from outside cannot be used as the file name of a slide, or photograph; '' when it can."""
    if "/" in name or "\\" in name or name in (".", ".."):
        return "a path where a file name is expected"
    if problem := _problem_of_suffix(name, photographs=photographs):
        return problem
    if not _SAFE_ID.fullmatch(name.rpartition(".")[0]):
        return f"not safe as a name: {_SAFE_ID_IN_WORDS}"
    return ""


def _problem_of_suffix(name: str, *, photographs: bool) -> str:
    kind, suffixes = ("photograph", PHOTOGRAPH_SUFFIXES) if photographs else ("slide", SLIDE_SUFFIXES)
    return "" if name.lower().endswith(suffixes) else f"not a {kind}'s suffix ({' '.join(suffixes)})"


def _is_positive(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def printable(name: str) -> str:
    """A hostile name in a form that cannot harm a table or a terminal."""
    shown = name.encode("unicode_escape").decode("ascii")
    return shown if len(shown) <= 100 else shown[:97] + "..."


def _names_in(folder: str | Path) -> set[str]:
    try:
        return {entry.name for entry in Path(folder).iterdir()}
    except OSError as error:
        raise InputError(f"{folder}: expected the folder of slides, found: {error.strerror}.") from error


def _read_lines(path: str | Path) -> tuple[list[str], Iterable[tuple[int, list[str]]]]:
    """The header's fields, and for every other line that is not blank its number in the file and its fields.

    Split by hand, because a quotation mark in an untrusted list must not swallow the lines below it.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a tab-separated list of slides, found: {error}.") from error
    numbered = [(number, line.split("\t")) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise InputError(f"{path}: expected a tab-separated list of slides, found an empty file.")
    return [name.strip() for name in numbered[0][1]], numbered[1:]
