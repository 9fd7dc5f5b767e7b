"""The clinical table: one row per patient, with the overall survival that later stages mean by `time` and `event`.

`time` is in months (float64), `event` is 1 for a death and 0 for a censored patient (Int64); either may be missing.
All other columns keep their text, with '' where a cell is empty, and their names, which are numbered (`Stage (1)`,
`Stage (2)`) where two are the same; `column` reads a covariate from them.

Read are cBioPortal's exports in both header styles (`Overall Survival (Months)` with `Overall Survival Status`;
`OS_MONTHS` with `OS_STATUS` under lines that begin with #), and joined tables, TSV or CSV, whose survival stands in one
of the pairs of SURVIVAL_COLUMNS.

Source: Paper: Methods, Data (cBioPortal, Firehose Legacy).
"""

import csv
import difflib
import logging
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from workflow_scripts.lib.errors import InputError

log = logging.getLogger(__name__)

DAYS_PER_MONTH = 365.25 / 12
# Attribute of a clinical table: the names that cBioPortal shows for its columns, as `Diagnosis Age` for AGE.
DISPLAY_NAMES = "display_names"


class SurvivalColumns(NamedTuple):
    """Two columns that give a patient's survival, names as `_plain` makes them, and how to read them."""

    time: str
    status: str
    unit: Literal["months", "days"]
    status_of_a_death: Literal["dead", "uncensored"]


# In the order in which they are looked for: of several complete pairs the first is read, and the log names the others.
SURVIVAL_COLUMNS = (
    SurvivalColumns("overall_survival_months", "overall_survival_status", "months", "dead"),
    SurvivalColumns("os_months", "os_status", "months", "dead"),
    SurvivalColumns("survival_months", "censorship", "months", "uncensored"),
    SurvivalColumns("os_time", "os", "days", "dead"),
    SurvivalColumns("time", "event", "months", "dead"),
)
PATIENT_COLUMNS = ("patient_id", "patient", "bcr_patient_barcode")

# What a status may be, in any case. cBioPortal has prefixed its words with 0: and 1: since 2020.
STATUS = {
    "deceased": 1,
    "1:deceased": 1,
    "dead": 1,
    "1:dead": 1,
    "1": 1,
    "1.0": 1,
    "living": 0,
    "0:living": 0,
    "alive": 0,
    "0:alive": 0,
    "0": 0,
    "0.0": 0,
}
CENSORSHIP = {"1": 0, "1.0": 0, "0": 1, "0.0": 1}
MISSING = frozenset(
    (
        "",
        "na",
        "n/a",
        "nan",
        "[not available]",
        "[not applicable]",
        "[not evaluated]",
        "[unknown]",
        "[discrepancy]",
        "[completed]",
    )
)


def read_clinical(path: str | Path) -> pd.DataFrame:
    """One row per patient, in the order of the file: patient_id, time, event, then the file's other columns as text.

    - A time of 0 is valid: a patient whose last contact is the day of diagnosis.
    - A time below 0 cannot be a survival time; that row's time and event are missing, and the log names the patient.
      (The paper's own Firehose file has one: TCGA-PL-A8LV, -0.23 months.)
    - Rows of one patient that agree on survival, or of which the others have none, collapse to the first that has it:
      such are exports with a row per sample. The log says how many.

    Raises InputError when no patient column or no pair of survival columns is found or one is found twice, when a
    status is none of STATUS, a time is not a number, a patient is missing, or a patient's rows disagree on survival.
    """
    frame, first_line, display_names = _read_text(path)
    patient, survival, time_name, status_name = _find_columns(path, list(frame.columns))
    frame.columns = _told_apart(list(frame.columns))
    frame = frame[(frame != "").any(axis=1)]
    words = STATUS if survival.status_of_a_death == "dead" else CENSORSHIP
    per_month = 1.0 if survival.unit == "months" else DAYS_PER_MONTH
    read = [
        (
            line,
            _patient(path, line, who),
            _time(path, line, time_name, time) / per_month,
            _event(path, line, status_name, status, words),
        )
        for line, who, time, status in zip(
            frame.index + first_line, frame[patient], frame[time_name], frame[status_name], strict=True
        )
    ]
    known = pd.DataFrame(read, columns=["line", "patient_id", "time", "event"], index=frame.index)
    known = known.astype({"time": "float64", "event": "Int64"})
    _drop_negative(path, known)
    known = _one_row_per_patient(path, known)
    others = frame.drop(columns=[patient, time_name, status_name])
    table = pd.concat([known.drop(columns="line"), others.loc[known.index]], axis=1).reset_index(drop=True)
    table.attrs[DISPLAY_NAMES] = {shown: name for shown, name in display_names.items() if name in others.columns}
    log.info(
        "%s: %d patients, survival in months from %r and %r, known for %d of them, %d events",
        path,
        len(table),
        time_name,
        status_name,
        _has_survival(table).sum(),
        table["event"][_has_survival(table)].sum(),
    )
    return table


def check_events(frame: pd.DataFrame) -> None:
    """Raise InputError when no patient with a known time has an event: nothing can be said about survival then."""
    known = frame[_has_survival(frame)]
    if not (known["event"] == 1).any():
        raise InputError(
            f"no event among {len(known)} patients with known survival (of {len(frame)}); expected at least one death. "
            "Check the status column, and that clinical table and slides belong to the same cohort."
        )


def column(frame: pd.DataFrame, name: str) -> pd.Series:
    """A covariate by its name, exactly or else in any case and punctuation: `diagnosis age` finds `Diagnosis_Age`.

    A name that cBioPortal shows for a column finds it too: `Diagnosis Age` finds AGE in `data_clinical_patient.txt`, so
    that a portal's export and its data file answer to the same names.

    float64 when every value present is a number, otherwise text (object); missing values (MISSING) are NaN in both.
    Raises InputError when there is no such column (naming the nearest) or more than one.
    """
    matches = [name] if name in frame.columns else [other for other in frame.columns if _plain(other) == _plain(name)]
    if not matches:
        shown = frame.attrs.get(DISPLAY_NAMES, {})
        matches = sorted({column for display, column in shown.items() if _plain(display) == _plain(name)})
    if len(matches) > 1:
        raise InputError(f"clinical column {name!r} may be any of {', '.join(matches)}; name one exactly.")
    if not matches:
        plain = {_plain(other): other for other in frame.columns}
        near = [plain[word] for word in difflib.get_close_matches(_plain(name), plain, n=3, cutoff=0.5)]
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {', '.join(frame.columns)}."
        raise InputError(f"no clinical column {name!r}; {hint}")
    values = frame[matches[0]]
    if pd.api.types.is_numeric_dtype(values):
        return values.astype("float64")
    values = values.astype(object).where(~values.map(_is_missing), None)
    numbers = pd.to_numeric(values, errors="coerce")
    if (numbers.notna() | values.isna()).all():
        return numbers.astype("float64")
    return values.where(values.notna(), math.nan)


def as_categories(values: pd.Series) -> pd.Series:
    """Categories as text, numbers in their shortest form; missing stays missing."""
    if pd.api.types.is_numeric_dtype(values):
        return values.map("{:g}".format, na_action="ignore").astype(object)
    return values


def describe(frame: pd.DataFrame, *, covariates: Sequence[str], categories: Sequence[str]) -> pd.DataFrame:
    """What the clinical file holds of survival and of each column that the survival stage is asked to use, a row each.

    frame as `read_clinical` gives it. Columns: role (`survival`, `covariate`, `category`), column (as configured),
    n_patients, n_known, content (deaths and times; the least and the greatest number; or each value with its
    number of patients, the most frequent first).
    Raises InputError as `column` does.
    """
    known = frame[_has_survival(frame)]
    deaths, first, last = (known["event"] == 1).sum(), known["time"].min(), known["time"].max()
    rows = [("survival", "time, event", len(known), f"deaths {deaths}, times {first:.1f} to {last:.1f} months")]
    for role, names in (("covariate", covariates), ("category", categories)):
        for name in names:
            values = column(frame, name)
            rows.append((role, name, int(values.notna().sum()), _content(values, as_numbers=role == "covariate")))
    table = pd.DataFrame(rows, columns=["role", "column", "n_known", "content"])
    table.insert(2, "n_patients", len(frame))
    return table


def _content(values: pd.Series, *, as_numbers: bool) -> str:
    present = values.dropna()
    if present.empty:
        return "no value"
    if as_numbers and pd.api.types.is_numeric_dtype(present):
        return f"{present.min():g} to {present.max():g}"
    counts = as_categories(present).value_counts().sort_index().sort_values(ascending=False, kind="stable")
    return ", ".join(f"{value} {n}" for value, n in counts.items())


def _read_text(path: str | Path) -> tuple[pd.DataFrame, int, dict[str, str]]:
    """The table as text, '' where empty; the number of its first line in the file; columns by the names shown for them.

    cBioPortal's data files begin with four lines of comment, of which the first holds the names that the portal shows.
    """
    try:
        with open(path, encoding="utf-8-sig") as lines:
            first, comments = "", 0
            while (line := lines.readline()).startswith("#"):
                first, comments = first or line, comments + 1
        is_csv = Path(path).suffix.lower() == ".csv"
        frame = pd.read_csv(
            path,
            sep="," if is_csv else "\t",
            # A lone quotation mark in a TSV of free text must not swallow the lines below it.
            quoting=csv.QUOTE_MINIMAL if is_csv else csv.QUOTE_NONE,
            skiprows=comments,
            header=None,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            encoding="utf-8-sig",
        )
    except (OSError, UnicodeDecodeError, pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise InputError(f"{path}: expected a clinical table, found: {str(error).strip()}.") from error
    header = [name.strip() for name in frame.iloc[0].fillna("")]
    frame = frame.iloc[1:].fillna("").reset_index(drop=True)
    frame.columns = header
    shown = [name.strip() for name in first.removeprefix("#").rstrip("\r\n").split("\t")]
    display_names = dict(zip(shown, header, strict=True)) if len(shown) == len(header) else {}
    return frame, comments + 2, display_names


def _plain(name: str) -> str:
    """A column's name without case and punctuation: `Overall Survival (Months)` is overall_survival_months."""
    return re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")


def _find_columns(path: str | Path, header: list[str]) -> tuple[str, SurvivalColumns, str, str]:
    """The patient column, the survival pair, and the two names it has in this file."""
    by_plain: dict[str, list[str]] = {}
    for name in header:
        by_plain.setdefault(_plain(name), []).append(name)
    patients = [name for plain in PATIENT_COLUMNS for name in by_plain.get(plain, [])]
    pairs = [pair for pair in SURVIVAL_COLUMNS if pair.time in by_plain and pair.status in by_plain]
    if len(patients) != 1:
        raise InputError(
            f"{path}: expected one column for the patient (any of {', '.join(PATIENT_COLUMNS)}), "
            f"found {', '.join(map(repr, patients)) or 'none'} among {_listed(header)}. Rename one to patient_id."
        )
    if not pairs:
        raise InputError(
            f"{path}: expected a pair of columns for overall survival, such as OS_MONTHS with OS_STATUS, or time "
            f"(months) with event (1 is a death); found {_listed(header)}."
        )
    chosen = pairs[0]
    for plain in (chosen.time, chosen.status):
        if len(by_plain[plain]) > 1:
            raise InputError(
                f"{path}: found {' and '.join(map(repr, by_plain[plain]))}, expected one. Remove the wrong one."
            )
    for pair in pairs[1:]:
        log.info("%s: the columns %s and %s hold survival too and are not used for it", path, pair.time, pair.status)
    time_name, status_name = by_plain[chosen.time][0], by_plain[chosen.status][0]
    taken = {"patient_id", "time", "event"} & set(header) - {patients[0], time_name, status_name}
    if taken:
        raise InputError(
            f"{path}: {patients[0]!r}, {time_name!r} and {status_name!r} are read as patient_id, time and event, "
            f"and there is another column {sorted(taken)[0]!r}. Rename or remove it."
        )
    return patients[0], chosen, time_name, status_name


def _told_apart(header: list[str]) -> list[str]:
    """Columns of one name, numbered: cBioPortal's Firehose export has two called `Staging System`."""
    seen: Counter[str] = Counter()
    names = []
    for name in header:
        seen[name] += 1
        names.append(f"{name} ({seen[name]})" if header.count(name) > 1 else name)
    return names


def _patient(path: str | Path, line: int, who: str) -> str:
    if _is_missing(who):
        raise InputError(f"{path}, line {line}: no patient; expected one in every row.")
    return who.strip()


def _time(path: str | Path, line: int, name: str, text: str) -> float:
    if _is_missing(text):
        return math.nan
    try:
        time = float(text)
    except ValueError:
        time = math.inf
    if not math.isfinite(time):
        raise InputError(f"{path}, line {line}: {name} is {text!r}, expected a number, or nothing or NA where unknown.")
    return time


def _event(path: str | Path, line: int, name: str, text: str, words: dict[str, int]) -> int | None:
    if _is_missing(text):
        return None
    event = words.get(text.strip().casefold())
    if event is None:
        raise InputError(
            f"{path}, line {line}: {name} is {text!r}, expected one of {', '.join(words)} (in any case), "
            "or nothing or NA where unknown."
        )
    return event


def _is_missing(text: object) -> bool:
    return not isinstance(text, str) or text.strip().casefold() in MISSING


def _has_survival(frame: pd.DataFrame) -> pd.Series:
    return frame["time"].notna() & frame["event"].notna()


def _drop_negative(path: str | Path, known: pd.DataFrame) -> None:
    """Unset, in place, the survival of patients whose time is below 0."""
    negative = known["time"] < 0
    for row in known[negative].itertuples():
        log.warning("%s, line %d: survival of %s is left out: %g months", path, row.line, row.patient_id, row.time)
    known.loc[negative, "time"] = math.nan
    known.loc[negative, "event"] = pd.NA


def _one_row_per_patient(path: str | Path, known: pd.DataFrame) -> pd.DataFrame:
    """The first row of each patient that has survival, or else the first."""
    for who, rows in known[known["patient_id"].duplicated(keep=False)].groupby("patient_id", sort=False):
        distinct = rows[_has_survival(rows)].drop_duplicates(["time", "event"])
        if len(distinct) > 1:
            said = "; ".join(
                f"line {row.line}: {row.time:g} months, event {row.event}" for row in distinct.itertuples()
            )
            raise InputError(f"{path}: the rows of {who} disagree on survival ({said}). Remove all but the right one.")
    ordered = known.assign(_without=~_has_survival(known)).sort_values(["_without", "line"], kind="stable")
    chosen = known.loc[ordered.drop_duplicates("patient_id").index].sort_values("line")
    if len(chosen) < len(known):
        log.info("%s: %d rows of patients who have another were left out", path, len(known) - len(chosen))
    return chosen


def _listed(header: list[str]) -> str:
    return ", ".join(header[:40]) + (f" and {len(header) - 40} more" if len(header) > 40 else "")
