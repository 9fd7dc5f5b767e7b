"""Each slide of a cohort has a verdict: accepted with so many tiles, or excluded for a reason."""

import logging

import h5py
import numpy as np
import pandas as pd
import pytest
from stores import make_store

from workflow_scripts.lib import cohorts, files, verdicts


def sheet_of(folder, *rows):
    """A slide sheet as the workflow writes and reads it; a row is slide, patient, mpp, source, status and reason."""
    named = [
        dict(zip(["slide_id", "patient_id", "mpp", "source", "status", "reason"], row, strict=True)) for row in rows
    ]
    frame = pd.DataFrame(named, columns=list(cohorts.SHEET_COLUMNS))
    files.write_table(frame, folder / "sheet.tsv")
    return files.read_table(folder / "sheet.tsv", text=cohorts.SHEET_TEXT)


def refuse(path, reason):
    """Make a store that of a slide which was refused, and whose µm/px is not known."""
    with h5py.File(path, "a") as file:
        file.attrs.update(status="excluded", reason=reason, slide_mpp=np.nan, mpp_source="")
    return path


@pytest.fixture
def table(tmp_path):
    images = np.zeros((3, 16, 16, 3), np.uint8)
    sheet = sheet_of(
        tmp_path,
        ("s1", "P1", None, "", "listed", ""),
        ("unusable-0001", "", None, "", "excluded", "line 3: no file name"),
        ("s2", "P2", 0.5, "configuration", "listed", ""),
        ("s3", "P3", None, "", "listed", ""),
    )
    stores = [
        make_store(tmp_path / "s3.h5", images[:0], slide_id="s3", mpp=0.5),
        refuse(make_store(tmp_path / "s2.h5", images[:0], slide_id="s2"), "cut off: fails at its first read"),
        make_store(tmp_path / "s1.h5", images, slide_id="s1", mpp=0.25, dropped=[(0, 1), (2, 1)]),
    ]
    return verdicts.list_slides(sheet, stores)


def test_the_table_has_the_sheets_rows_and_columns_and_the_number_of_tiles(table):
    assert list(table.columns) == [*cohorts.SHEET_COLUMNS, "n_tiles", "n_dropped"]
    assert table["slide_id"].tolist() == ["s1", "unusable-0001", "s2", "s3"]
    assert table["patient_id"].tolist() == ["P1", "", "P2", "P3"]


def test_a_store_speaks_for_its_slide_whatever_the_order(table):
    assert table["status"].tolist() == ["accepted", "excluded", "excluded", "accepted"]
    assert table["n_tiles"].tolist() == [3, 0, 0, 0]
    assert table["n_dropped"].tolist() == [2, 0, 0, 0]
    assert table["n_tiles"].dtype == table["n_dropped"].dtype == np.int64
    assert table["source"].tolist() == ["slide", "", "", "slide"]
    assert table["mpp"].tolist()[::3] == [0.25, 0.5]


def test_a_slide_of_no_tiles_is_accepted_all_the_same(table):
    assert table.loc[3, ["status", "n_tiles"]].tolist() == ["accepted", 0]


def test_an_excluded_line_keeps_its_reason(table):
    assert table.loc[1, "reason"] == "line 3: no file name"


def test_a_refused_slide_says_why_and_has_no_mpp(table):
    assert table.loc[2, "reason"] == "cut off: fails at its first read"
    assert pd.isna(table.loc[2, "mpp"])


def test_it_reads_back_as_it_was_written(tmp_path, table):
    files.write_table(table, tmp_path / "slides.tsv")
    read = files.read_table(tmp_path / "slides.tsv", text=cohorts.SHEET_TEXT)
    assert read["n_tiles"].tolist() == [3, 0, 0, 0]
    assert read["reason"].tolist() == table["reason"].tolist()


def test_an_accepted_slide_may_have_a_remark(tmp_path, caplog):
    store = make_store(tmp_path / "s1.h5", np.zeros((0, 16, 16, 3), np.uint8), slide_id="s1")
    with h5py.File(store, "a") as file:
        file.attrs["reason"] = "blank"
    with caplog.at_level(logging.INFO):
        table = verdicts.list_slides(sheet_of(tmp_path, ("s1", "P1", None, "", "listed", "")), [store])
    assert table.loc[0, ["status", "reason"]].tolist() == ["accepted", "blank"]
    assert caplog.messages[-1] == "accepted s1: blank"


def test_the_log_counts_and_gives_reasons(tmp_path, caplog):
    sheet = sheet_of(tmp_path, ("s1", "P1", None, "", "listed", ""), ("u", "", None, "", "excluded", "no file name"))
    store = make_store(tmp_path / "s1.h5", np.zeros((2, 16, 16, 3), np.uint8), slide_id="s1")
    with caplog.at_level(logging.INFO):
        verdicts.list_slides(sheet, [store])
    assert caplog.messages == ["1 of 2 slides accepted, 2 tiles", "excluded u: no file name"]
