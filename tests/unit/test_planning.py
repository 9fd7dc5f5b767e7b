"""What a cohort's tables plan: slides and their files, what a model learns from, where a slide is predicted."""

import os
import time
from pathlib import Path

import pandas as pd
import pytest

from workflow_scripts.lib import files, planning, splits
from workflow_scripts.lib.errors import InputError

SHEET = [
    ("s1", "P1", "01", "slides/s1.svs", 0.25, "listed"),
    ("s2", "P1", "01", "slides/s2.svs", None, "listed"),
    ("s3", "P2", "01", "slides/s3.svs", None, "listed"),
    ("unusable-0001", "", "", "../s4.svs", None, "excluded"),
    ("s5", "P3", "01", "slides/s5.svs", 1, "listed"),
    ("007", "P4", "06", "slides/007.svs", None, "listed"),
]
SPLITS = [
    ("P1", "development", "train", "validation"),
    ("P2", "test", "", ""),
    ("P3", "development", "validation", "train"),
    ("P4", "development", "train", "train"),
]
LABELS = [
    ("s1", "P1", 1, "in"),
    ("s2", "P1", 1, "in"),
    ("s3", "P2", 0, "in"),
    ("unusable-0001", "", None, "unlabelled"),
    ("s5", "P3", 0, "in"),
    ("007", "P4", None, "ood"),
]


def write(path: Path, rows: list[tuple], columns: str) -> Path:
    frame = pd.DataFrame(rows, columns=columns.split())
    files.write_table(frame.astype({"label": "Int64"}) if "label" in frame else frame, path)
    return path


@pytest.fixture
def sheet(tmp_path):
    return write(tmp_path / "sheet.tsv", SHEET, "slide_id patient_id sample_type file mpp status")


@pytest.fixture
def split(tmp_path):
    return write(tmp_path / "splits.tsv", SPLITS, "patient_id set round_1 round_2")


@pytest.fixture
def labels(tmp_path):
    return write(tmp_path / "labels" / "MKI67.tsv", LABELS, "slide_id patient_id label tier")


def rewrite(path: Path, **named) -> None:
    """Write a table again, as a job does: some time later."""
    write(path, **named)
    later = time.time_ns() + 10**9
    os.utime(path, ns=(later, later))


# Slides


def test_the_slides_are_those_listed_for_use_in_the_order_of_the_sheet(sheet):
    found = planning.usable_files(sheet)
    assert list(found) == ["s1", "s2", "s3", "s5", "007"]
    assert found["007"] == "slides/007.svs"


def test_the_sheet_gives_the_mpp_of_a_slide_where_it_says(sheet):
    assert planning.in_sheet(sheet, "mpp")["s1"] == "0.25"
    assert planning.in_sheet(sheet, "mpp")["s5"] == "1.0"
    assert planning.in_sheet(sheet, "mpp")["s3"] == ""


def test_test_slides_are_those_of_test_patients_in_the_order_asked(sheet, split):
    assert planning.held_out_slides(sheet, split, ["s5", "s3", "s1"]) == ["s3"]
    assert planning.held_out_slides(sheet, split, ["s1", "s5"]) == []
    assert planning.held_out_slides(sheet, split, []) == []


# Where a slide lies


def make_file(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return str(path)


def test_a_slide_that_is_there_is_found_without_a_look_at_other_folders(tmp_path, monkeypatch):
    file = make_file(tmp_path / "a.svs")
    make_file(tmp_path / "some-id" / "a.svs")
    monkeypatch.setattr(planning, "_files_one_below", None)
    assert planning.find_slide(file) == file


def test_a_slide_is_found_in_the_folder_that_gdc_client_made_whatever_its_id(tmp_path):
    inside = make_file(tmp_path / "a-reissued-id" / "a.svs")
    make_file(tmp_path / "a-reissued-id" / "logs" / "b.svs")
    make_file(tmp_path / ".rsync-partial" / "b.svs")
    assert planning.find_slide(str(tmp_path / "a.svs")) == inside
    assert planning.find_slide(str(tmp_path / "b.svs")) is None
    assert planning.find_slide(str(tmp_path / "nowhere" / "a.svs")) is None


def test_a_folder_that_has_the_name_of_a_slide_is_none(tmp_path):
    (tmp_path / "a.svs").mkdir()
    (tmp_path / "some-id" / "a.svs").mkdir(parents=True)
    assert planning.find_slide(tmp_path / "a.svs") is None


def test_a_slide_in_two_folders_is_an_error_that_names_both(tmp_path):
    first, second = (make_file(tmp_path / name / "a.svs") for name in ("id-1", "id-2"))
    with pytest.raises(InputError) as raised:
        planning.find_slide(tmp_path / "a.svs")
    assert f"found {first} and {second}" in str(raised.value)
    Path(second).unlink()
    assert planning.find_slide(tmp_path / "a.svs") == first


def test_a_slide_that_comes_in_a_new_folder_is_found(tmp_path):
    assert planning.find_slide(tmp_path / "a.svs") is None
    inside = make_file(tmp_path / "id" / "a.svs")
    later = time.time_ns() + 10**9
    os.utime(tmp_path, ns=(later, later))
    assert planning.find_slide(tmp_path / "a.svs") == inside


def test_folders_are_looked_through_once_for_thousands_of_slides(tmp_path):
    for number in range(50):
        make_file(tmp_path / f"id-{number}" / f"s{number}.svs")
    before = planning._files_one_below.cache_info().misses
    for number in range(2000):
        assert (planning.find_slide(tmp_path / f"s{number}.svs") is not None) == (number < 50)
    assert planning._files_one_below.cache_info().misses == before + 1


# What a model learns from


def test_a_model_learns_from_the_labelled_slides_of_its_sets_patients(split, labels):
    assert planning.selection(split, labels, round_number=1) == {"train": {"s1": 1, "s2": 1}, "validation": {"s5": 0}}
    assert planning.selection(split, labels, round_number=2) == {"train": {"s5": 0}, "validation": {"s1": 1, "s2": 1}}


def test_no_slide_of_a_test_patient_is_in_a_set(split, labels):
    for number in (1, 2):
        found = planning.selection(split, labels, round_number=number)
        assert "s3" not in {**found["train"], **found["validation"]}


def test_slides_out_of_distribution_or_without_a_label_are_in_no_set(split, labels):
    for number in (1, 2):
        found = planning.selection(split, labels, round_number=number)
        assert not {"007", "unusable-0001"} & {*found["train"], *found["validation"]}


def test_labels_are_whole_numbers_however_the_table_writes_them(tmp_path, split):
    path = tmp_path / "labels.tsv"
    path.write_text("slide_id\tpatient_id\tlabel\ns1\tP1\t1.0\ns5\tP3\t0.0\n007\tP4\t\n")
    found = planning.selection(split, path, round_number=1)
    assert found == {"train": {"s1": 1}, "validation": {"s5": 0}}
    assert all(type(label) is int for labels in found.values() for label in labels.values())


def test_a_patient_takes_no_part_in_a_round_where_the_split_says_nothing(tmp_path, labels):
    partial = write(tmp_path / "own.tsv", [("P1", "development", ""), ("P3", "development", "train")],
                    "patient_id set round_1")  # fmt: skip
    assert planning.selection(partial, labels, round_number=1) == {"train": {"s5": 0}, "validation": {}}


def test_the_seeded_split_and_the_selection_agree(tmp_path):
    patients = [f"P{number}" for number in range(60)]
    table = splits.split_patients(patients, seed=1, test=0.2, validation=0.2, rounds=2)
    files.write_table(table, tmp_path / "splits.tsv")
    rows = [(f"{patient}-{slide}", patient, 1, "in") for patient in patients for slide in "ab"]
    labels = write(tmp_path / "labels.tsv", rows, "slide_id patient_id label tier")
    found = planning.selection(tmp_path / "splits.tsv", labels, round_number=2)
    of_set = {name: set(table.loc[table["round_2"] == name, "patient_id"]) for name in ("train", "validation")}
    assert {name: {slide[:-2] for slide in slides} for name, slides in found.items()} == of_set
    assert len(found["train"]) == 2 * len(of_set["train"]) > 0


# Chunks


def test_a_slide_stays_in_its_chunk_whatever_other_slides_there_are():
    # Worked out from SHA-256 by other means; a change here would rerun every prediction.
    names = ("s1", "s2", "TCGA-AR-A5QM-01Z-00-DX1.A9017CED-FF57-4090-95B9-94DC91854347", "007")
    assert [planning.chunk_of(name, chunks=64) for name in names] == [60, 6, 6, 57]
    assert [planning.chunk_of(name, chunks=1) for name in names] == [0, 0, 0, 0]


def test_chunks_are_dealt_evenly():
    dealt = pd.Series([planning.chunk_of(f"slide-{number}", chunks=8) for number in range(8000)]).value_counts()
    assert sorted(dealt.index) == list(range(8))
    # Eight counts of mean 1000 and standard deviation 30.
    assert dealt.between(880, 1120).all()


# Memory


def test_a_table_that_is_written_again_is_read_anew(sheet, split, labels):
    assert planning.usable_files(sheet)["s1"] == "slides/s1.svs"
    assert planning.in_sheet(sheet, "mpp")["s1"] == "0.25"
    assert planning.selection(split, labels, round_number=1)["validation"] == {"s5": 0}
    rewrite(sheet, rows=[("s1", "P1", "01", "moved/s1.svs", 0.5, "listed")],
            columns="slide_id patient_id sample_type file mpp status")  # fmt: skip
    rewrite(labels, rows=[("s5", "P3", 1, "in")], columns="slide_id patient_id label tier")
    rewrite(split, rows=[("P3", "test", "")], columns="patient_id set round_1")
    assert planning.usable_files(sheet) == {"s1": "moved/s1.svs"}
    assert planning.in_sheet(sheet, "mpp")["s1"] == "0.5"
    assert planning.selection(split, labels, round_number=1) == {"train": {}, "validation": {}}


def test_a_table_is_read_once(sheet, monkeypatch):
    planning.usable_files(sheet)
    monkeypatch.setattr(files, "read_table", None)
    assert planning.usable_files(sheet)["s1"] == "slides/s1.svs"
    assert planning.in_sheet(sheet, "mpp")["s5"] == "1.0"


def test_ten_thousand_slides_are_planned_in_seconds(tmp_path):
    rows = [(f"s{number}", f"P{number}", "01", f"slides/s{number}.svs", None, "listed") for number in range(10_000)]
    path = write(tmp_path / "sheet.tsv", rows, "slide_id patient_id sample_type file mpp status")
    started = time.perf_counter()
    for slide, *_ in rows:
        assert planning.usable_files(path)[slide]
    assert set(planning.in_sheet(path, "mpp").values()) == {""}
    assert time.perf_counter() - started < 5


# Files given for slides


@pytest.fixture
def folder(tmp_path):
    """A folder of empty files."""

    def make(*names):
        (tmp_path / "drawn").mkdir(exist_ok=True)
        for name in names:
            (tmp_path / "drawn" / name).touch()
        return tmp_path / "drawn"

    return make


BARCODE = "TCGA-A1-A0SB-01Z-00-DX1.b34f267b"


@pytest.fixture
def plain_sheet(tmp_path):
    slides = [
        ("S1", "slides/one.svs", "listed"),
        (BARCODE, f"slides/{BARCODE}.svs", "listed"),
        ("S3", "slides/three.svs", "excluded"),
    ]
    files.write_table(pd.DataFrame(slides, columns=["slide_id", "file", "status"]), tmp_path / "sheet.tsv")
    return tmp_path / "sheet.tsv"


@pytest.mark.parametrize("name", ["S1.geojson", "one.xml", "one.svs.geojson", "one.svs.json", "S1.XML"])
def test_a_file_belongs_to_the_slide_of_its_name(plain_sheet, folder, name):
    assert planning.files_of_slides(plain_sheet, folder(name), planning.ANNOTATIONS) == {"S1": str(folder() / name)}


@pytest.mark.parametrize("name", [f"{BARCODE}.geojson", f"{BARCODE}.svs.xml"])
def test_a_slides_name_may_have_dots(plain_sheet, folder, name):
    assert list(planning.files_of_slides(plain_sheet, folder(name), planning.ANNOTATIONS)) == [BARCODE]


def test_files_of_no_slide_are_listed_and_hidden_ones_are_not(plain_sheet, folder):
    here = folder("S1.geojson", "s1.geojson", "S3.xml", "one.txt", "TCGA-A1-A0SB-01Z-00-DX1.xml", ".DS_Store")
    assert planning.files_of_no_slide(plain_sheet, here, planning.ANNOTATIONS) == [
        "S3.xml",
        "TCGA-A1-A0SB-01Z-00-DX1.xml",
        "one.txt",
        "s1.geojson",
    ]


def test_a_file_that_comes_later_is_found(plain_sheet, folder):
    assert list(planning.files_of_slides(plain_sheet, folder("S1.geojson"), planning.ANNOTATIONS)) == ["S1"]
    both = folder(f"{BARCODE}.json")
    assert list(planning.files_of_slides(plain_sheet, both, planning.ANNOTATIONS)) == ["S1", BARCODE]


def test_two_files_of_a_slide_are_an_error_that_names_both(plain_sheet, folder):
    here = folder("S1.geojson", "one.xml")
    with pytest.raises(InputError, match=r"S1: expected one file of annotations, found .*/S1.geojson and .*/one.xml"):
        planning.files_of_slides(plain_sheet, here, planning.ANNOTATIONS)


def test_a_file_with_the_name_of_two_slides_is_an_error_that_names_both(tmp_path, folder):
    slides = [("a", "x/1.svs", "listed"), ("b", "y/1.svs", "listed")]
    files.write_table(pd.DataFrame(slides, columns=["slide_id", "file", "status"]), tmp_path / "sheet.tsv")
    with pytest.raises(InputError, match=r"1.xml: expected the name of one slide, found that of a and b"):
        planning.files_of_slides(tmp_path / "sheet.tsv", folder("1.xml"), planning.ANNOTATIONS)


def test_a_folder_that_is_absent_or_has_no_slides_annotations_is_an_error(plain_sheet, folder, tmp_path):
    with pytest.raises(InputError, match="expected a folder of annotations, found none"):
        planning.files_of_slides(plain_sheet, tmp_path / "nowhere", planning.ANNOTATIONS)
    with pytest.raises(InputError, match=r"as in S1\.geojson, found none among 4 files \(a.xml, b.xml, c.xml, …\)"):
        planning.files_of_slides(plain_sheet, folder("a.xml", "b.xml", "c.xml", "d.xml"), planning.ANNOTATIONS)


@pytest.mark.parametrize("name", ["S1.tsv", "one.h5", "one.svs.hdf5", "one.geojson", "S1.H5"])
def test_tile_scores_belong_to_slides_as_annotations_do(plain_sheet, folder, name):
    here = folder(name, f"{BARCODE}.svs.tsv", "S3.tsv", "notes.txt")
    found = planning.files_of_slides(plain_sheet, here, planning.TILE_SCORES)
    assert found == {"S1": str(here / name), BARCODE: str(here / f"{BARCODE}.svs.tsv")}
    assert planning.files_of_no_slide(plain_sheet, here, planning.TILE_SCORES) == ["S3.tsv", "notes.txt"]


def test_one_folder_may_hold_files_of_both_kinds(plain_sheet, folder):
    here = folder("S1.h5", f"{BARCODE}.xml")
    assert list(planning.files_of_slides(plain_sheet, here, planning.ANNOTATIONS)) == [BARCODE]
    assert list(planning.files_of_slides(plain_sheet, here, planning.TILE_SCORES)) == ["S1", BARCODE]


def test_listed_slides_without_a_file_are_named_in_the_order_of_the_sheet(plain_sheet, folder):
    assert planning.slides_without_file(plain_sheet, folder("one.h5"), planning.TILE_SCORES) == [BARCODE]
    both = folder(f"{BARCODE}.svs.tsv")
    assert planning.slides_without_file(plain_sheet, both, planning.TILE_SCORES) == []


def test_what_was_looked_for_is_said(plain_sheet, folder, tmp_path):
    with pytest.raises(InputError, match="expected a folder of tile scores, found none"):
        planning.slides_without_file(plain_sheet, tmp_path / "nowhere", planning.TILE_SCORES)
    with pytest.raises(
        InputError, match=r"\.tsv, \.h5, .* a file of tile scores, as in S1\.tsv, found none among 1 files"
    ):
        planning.slides_without_file(plain_sheet, folder("a.tsv"), planning.TILE_SCORES)
    with pytest.raises(InputError, match=r"S1: expected one file of tile scores, found .*/S1.tsv and .*/one.h5"):
        planning.slides_without_file(plain_sheet, folder("S1.tsv", "one.h5"), planning.TILE_SCORES)


def test_a_cohort_without_a_slide_has_a_message_too(tmp_path, folder):
    files.write_table(pd.DataFrame(columns=["slide_id", "file", "status"]), tmp_path / "sheet.tsv")
    with pytest.raises(InputError, match=r"as in <slide_id>\.tsv, found none"):
        planning.files_of_slides(tmp_path / "sheet.tsv", folder("a.tsv"), planning.TILE_SCORES)


def test_slides_are_dealt_to_chunks_by_their_names_each_once(tmp_path):
    names = [f"s{number}" for number in range(50)]
    rows = "".join(f"{name}\t{name}.svs\tlisted\t\n" for name in names)
    path = tmp_path / "sheet.tsv"
    path.write_text(f"slide_id\tfile\tstatus\tmpp\n{rows}")
    dealt = planning.slides_by_chunk(path, chunks=4)
    assert sorted(name for chunk in dealt.values() for name in chunk) == sorted(names)
    assert all(planning.chunk_of(name, chunks=4) == chunk for chunk, mine in dealt.items() for name in mine)
