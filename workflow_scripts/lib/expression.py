"""Bulk expression: a few rows of a large table, and one value per patient and sample type.

Tables are read line by line and only the rows asked for are kept: the PanCanAtlas mRNA table is 20,531 rows by 11,069
columns, 1.9 GB. An expression table in memory is long: feature, sample, patient_id, sample_type (text, '' where the
file does not say) and value (float64).

Source: Paper: Methods, Data (https://gdc.cancer.gov/about-data/publications/pancanatlas, RNA and miRNA).
"""

import csv
import difflib
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from workflow_scripts.lib import barcodes
from workflow_scripts.lib.errors import InputError

log = logging.getLogger(__name__)

Kind = Literal["mrna", "mirna", "table"]

_MISSING = frozenset(("", "na", "nan", "n/a", "null", "none"))


class _Row(NamedTuple):
    name: str
    correction: str
    cells: list[str]


def read_features(path: str | Path, features: Sequence[str], *, kind: Kind, sample_type: str = "") -> pd.DataFrame:
    """Several features in one pass over a table, a row per feature and column of the file that has a value.

    `kind` is the file's form:

    - `mrna`: PanCanAtlas mRNA, a TSV with a row per gene, its name (`MKI67|4288`) first, and a column per aliquot. A
      feature is a symbol or the whole name; a symbol with several rows (SLC35E2, `?`) must be asked for by whole name.
    - `mirna`: PanCanAtlas miRNA, a CSV `Genes,Correction,…` with a row per mature miRNA. A name that stands twice is
      taken from the row `Corrected`.
    - `table`: a table of one's own (TSV, or CSV by its suffix) with a row per sample or patient, its id first, and a
      column per feature.

    Samples are told apart by their TCGA barcodes; any other id is a patient's, of the given `sample_type` (`01`, or ''
    where it is not known).
    Values may be negative; a cell that is empty or `NA` is left out.

    Raises InputError when the file has another form, when features are not in it (naming for each the nearest that are)
    or is there more than once, and when a value is not a finite number.
    """
    if len(set(features)) != len(features) or not features:
        raise InputError(f"expected distinct features to read from {path}, found: {', '.join(features) or 'none'}")
    try:
        with open(path, encoding="utf-8-sig", newline="") as lines:
            if kind == "table":
                samples, rows, known = _read_columns(path, lines, features)
            else:
                samples, rows, known = _read_rows(path, lines, features, kind=kind)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected an expression table of the form `{kind}`, found: {error}.") from error
    missing = [feature for feature in features if feature not in rows]
    if missing:
        said = [f"{path}: no feature {feature!r} among its {len(known)}{_near(feature, known)}" for feature in missing]
        raise InputError("\n".join(said))
    owners = [_owner(sample, sample_type) for sample in samples]
    table = pd.concat([_long(path, feature, rows[feature], samples, owners) for feature in features], ignore_index=True)
    log.info("%s: %d values of %d features in %d samples", path, len(table), len(features), len(samples))
    return table


def one_value_per_sample_type(expression: pd.DataFrame) -> pd.DataFrame:
    """One row per feature, patient and sample type: the value of the aliquot whose barcode is alphabetically last.

    This is the rule of Broad's Firehose for replicates of one sample: the last barcode is the one of the highest vial,
    portion and plate. A barcode that stands twice with the same value counts once; with two values it is an InputError.
    Takes a table of `read_features`, of which it keeps the columns; values that are missing are left out first.
    """
    key = ["feature", "patient_id", "sample_type"]
    present = expression[expression["value"].notna()].drop_duplicates([*key, "sample", "value"])
    twice = present[present.duplicated([*key, "sample"], keep=False)]
    if len(twice):
        first = twice.iloc[0]
        raise InputError(
            f"{first['feature']}: sample {first['sample']} stands {len(twice)} times with different values; "
            "expected one. Delete the column or row that is wrong."
        )
    chosen = present.sort_values([*key, "sample"], kind="stable").drop_duplicates(key, keep="last")
    dropped = len(present) - len(chosen)
    if dropped:
        log.info("%d values of repeated aliquots left out: the alphabetically last barcode counts", dropped)
    return chosen.reset_index(drop=True)


def _read_rows(
    path: str | Path, lines: Iterable[str], features: Sequence[str], *, kind: Kind
) -> tuple[list[str], dict[str, _Row], list[str]]:
    """Samples, the row of each feature found, and all names, of a table with a feature per row."""
    wanted = set(features)
    found: dict[str, list[_Row]] = {}
    known: list[str] = []
    split = _split_mrna if kind == "mrna" else _split_mirna
    samples, rows = split(path, iter(lines), wanted)
    for row in rows:
        known.append(row.name)
        for name in {row.name, row.name.split("|")[0]} & wanted:
            if len(row.cells) != len(samples):
                raise InputError(
                    f"{path}: row {row.name} has {len(row.cells)} values, expected {len(samples)}, one per sample."
                )
            found.setdefault(name, []).append(row)
    return samples, {name: _only_row(path, name, candidates) for name, candidates in found.items()}, known


def _split_mrna(path: str | Path, lines: Iterator[str], wanted: set[str]) -> tuple[list[str], Iterator[_Row]]:
    header = next(lines, "").rstrip("\r\n").split("\t")
    if len(header) < 2:
        raise InputError(
            f"{path}: expected a tab-separated table with a gene per row and a column per sample, "
            f"found a first line without a tab: {header[0][:60]!r}."
        )
    return header[1:], _mrna_rows(lines, wanted)


def _mrna_rows(lines: Iterator[str], wanted: set[str]) -> Iterator[_Row]:
    for line in lines:
        name = line[: line.find("\t")] if "\t" in line else line.rstrip("\r\n")
        # A row of 11,069 values is only cut up when it is asked for.
        if name in wanted or name.split("|")[0] in wanted:
            yield _Row(name, "", line.rstrip("\r\n").split("\t")[1:])
        elif name:
            yield _Row(name, "", [])


def _split_mirna(path: str | Path, lines: Iterator[str], wanted: set[str]) -> tuple[list[str], Iterator[_Row]]:
    rows = csv.reader(lines)
    header = next(rows, [])
    if header[:2] != ["Genes", "Correction"]:
        raise InputError(
            f"{path}: expected a comma-separated table beginning Genes,Correction, found {','.join(header[:2])[:60]!r}."
        )
    return header[2:], (_Row(row[0], row[1] if len(row) > 1 else "", row[2:]) for row in rows if row)


def _only_row(path: str | Path, name: str, rows: list[_Row]) -> _Row:
    """The row of a name: the whole name's before the symbol's, and the corrected before the uncorrected."""
    rows = [row for row in rows if row.name == name] or rows
    if len(rows) > 1:
        corrected = [row for row in rows if row.correction == "Corrected"]
        if len(corrected) == 1:
            log.info("%s: %s stands %d times; the row `Corrected` counts", path, name, len(rows))
            return corrected[0]
        names = ", ".join(dict.fromkeys(row.name for row in rows))
        raise InputError(
            f"{path}: {name!r} names {len(rows)} rows ({names}), expected one. Ask for the whole name of one of them, "
            "or delete the rows that repeat it."
        )
    return rows[0]


def _read_columns(
    path: str | Path, lines: Iterable[str], features: Sequence[str]
) -> tuple[list[str], dict[str, _Row], list[str]]:
    """Samples, the column of each feature found, and all names, of a table with a feature per column."""
    delimiter = "," if Path(path).suffix.lower() == ".csv" else "\t"
    rows = csv.reader(lines, delimiter=delimiter)
    header = next(rows, [])
    known = header[1:]
    if not known:
        form = "comma" if delimiter == "," else "tab"
        raise InputError(
            f"{path}: expected a {form}-separated table with an id and a column per feature, found {header!r:.60}."
        )
    for name in features:
        if known.count(name) > 1:
            raise InputError(f"{path}: the column {name!r} stands {known.count(name)} times, expected once.")
    places = {name: header.index(name) for name in features if name in known}
    samples: list[str] = []
    cells: dict[str, list[str]] = {name: [] for name in places}
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        if len(row) != len(header) or not row[0]:
            raise InputError(f"{path}, line {number}: expected an id and {len(known)} cells, found {len(row)} fields.")
        samples.append(row[0])
        for name, place in places.items():
            cells[name].append(row[place])
    return samples, {name: _Row(name, "", values) for name, values in cells.items()}, known


def _owner(sample: str, sample_type: str) -> tuple[str, str]:
    """The patient and the sample type of a sample; an id that is no barcode is a patient's, of `sample_type`."""
    barcode = barcodes.parse_sample(sample)
    return (barcode.patient_id, barcode.sample_type) if barcode else (sample, sample_type)


def _long(path: str | Path, feature: str, row: _Row, samples: list[str], owners: list[tuple[str, str]]) -> pd.DataFrame:
    """The long table of one feature, its missing values left out."""
    kept = []
    for sample, owner, cell in zip(samples, owners, row.cells, strict=True):
        value = _number(cell)
        if value is None:
            raise InputError(
                f"{path}: {row.name} of {sample} is {cell[:40]!r}, expected a finite number, or NA where missing."
            )
        if not math.isnan(value):
            kept.append((feature, sample, *owner, value))
    return pd.DataFrame(kept, columns=["feature", "sample", "patient_id", "sample_type", "value"]).astype(
        {"value": "float64"}
    )


def _number(cell: str) -> float | None:
    """A cell's number; NaN where it is missing, None where it is something else."""
    cell = cell.strip()
    if cell.casefold() in _MISSING:
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _near(feature: str, known: Sequence[str]) -> str:
    """What may have been meant, as the end of a sentence."""
    plain = {name: name.casefold() for name in known}
    asked = feature.casefold()
    bare = asked.removeprefix("hsa-")
    same = [name for name, low in plain.items() if low == asked or low.split("|")[0] == asked]
    # A precursor (hsa-mir-17, hsa-mir-29a) has up to two mature forms (hsa-miR-17-5p, -3p).
    mature = [name for name, low in plain.items() if low.removeprefix("hsa-") in (bare, f"{bare}-5p", f"{bare}-3p")]
    symbols = {low.split("|")[0]: name for name, low in plain.items()}
    alike = [symbols[low] for low in difflib.get_close_matches(asked, symbols, n=3, cutoff=0.7)]
    near = list(dict.fromkeys(chain(same, mature) if same or mature else alike))[:3]
    hint = " (hsa-mir-… in small letters is a precursor; mature miRNAs are hsa-miR-…-5p and -3p)"
    precursor = hint if feature.startswith("hsa-mir-") else ""
    return (f"; did you mean {' or '.join(near)}?" if near else ".") + precursor
