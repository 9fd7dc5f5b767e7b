"""The slide sheet lists what can be used, and says of the rest why not."""

import hashlib
import logging
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workflow_scripts.lib import cohorts, files
from workflow_scripts.lib.errors import InputError

MD5 = "361e57cec75dcf6c042d4ea207b3d1cc"
A, B, C = (
    "TCGA-AR-A5QM-01Z-00-DX1.A9017CED-FF57-4090-95B9-94DC91854347.svs",
    "TCGA-49-4488-01Z-00-DX10.F7B1.svs",
    "TCGA-CR-7395-01A-01-TS1.svs",
)


def make_folder(path: Path, *names: str) -> Path:
    path.mkdir(exist_ok=True)
    for name in names:
        (path / name).touch()
    return path


def md5_of(name: str) -> str:
    return hashlib.md5(name.encode()).hexdigest()


def write_manifest(path: Path, *names: str, columns: str = "id filename md5 size state") -> Path:
    cells = {"id": "3ab80b58-b3f7", "size": "10", "state": "released"}
    lines = [cells | {"filename": name, "md5": md5_of(name)} for name in names]
    rows = ["\t".join(line[column] for column in columns.split()) for line in lines]
    path.write_bytes(("\t".join(columns.split()) + "\n" + "\n".join(rows) + "\n").encode())
    return path


def reason_of(sheet: pd.DataFrame, row: int) -> str:
    assert sheet["status"][row] == "excluded"
    return sheet["reason"][row]


# From a manifest


def test_a_manifest_gives_a_row_per_slide_with_all_columns(tmp_path):
    folder = make_folder(tmp_path / "slides", A, B, C)
    sheet = cohorts.list_from_manifest(write_manifest(tmp_path / "manifest.txt", A, B, C), folder)
    assert tuple(sheet.columns) == cohorts.SHEET_COLUMNS
    assert list(sheet["slide_id"]) == [name.removesuffix(".svs") for name in (A, B, C)]
    assert list(sheet["patient_id"]) == ["TCGA-AR-A5QM", "TCGA-49-4488", "TCGA-CR-7395"]
    assert list(sheet["sample_type"]) == ["01", "01", "01"]
    assert sheet["diagnostic_index"].tolist() == [1, 10, pd.NA]
    assert list(sheet["file"]) == [str(folder / name) for name in (A, B, C)]
    assert list(sheet["md5"]) == [md5_of(name) for name in (A, B, C)]
    assert sheet["mpp"].isna().all()
    assert set(sheet["source"]) == {""}
    assert set(sheet["status"]) == {"listed"}
    assert set(sheet["reason"]) == {""}


@pytest.mark.parametrize("columns", ["id filename md5 size state", "size md5 filename id", "filename md5"])
def test_the_columns_of_a_manifest_stand_in_any_order(tmp_path, columns):
    manifest = write_manifest(tmp_path / "manifest.txt", A, columns=columns)
    sheet = cohorts.list_from_manifest(manifest, make_folder(tmp_path / "slides", A))
    assert list(sheet["md5"]) == [md5_of(A)]
    assert list(sheet["status"]) == ["listed"]


def test_a_manifest_with_windows_line_ends_and_a_byte_order_mark_is_read(tmp_path):
    manifest = write_manifest(tmp_path / "manifest.txt", A)
    manifest.write_bytes(b"\xef\xbb\xbf" + manifest.read_bytes().replace(b"\n", b"\r\n"))
    assert list(cohorts.read_manifest(manifest)["filename"]) == [A]


def test_a_manifest_gives_the_same_sheet_whatever_lies_on_the_disk(tmp_path):
    folder, manifest = tmp_path / "slides", write_manifest(tmp_path / "manifest.txt", A, B)
    before = cohorts.list_from_manifest(manifest, folder)
    make_folder(make_folder(folder, A) / "3ab80b58-b3f7", B)
    pd.testing.assert_frame_equal(cohorts.list_from_manifest(manifest, folder), before)
    assert list(before["file"]) == [str(folder / A), str(folder / B)]
    assert set(before["status"]) == {"listed"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../../etc/TCGA-AR-A5QM-01Z-00-DX1.svs", "a path where a file name is expected"),
        ("/etc/passwd.svs", "a path where a file name is expected"),
        ("a\\b.svs", "a path where a file name is expected"),
        ("..", "a path where a file name is expected"),
        (".svs", "not safe as a name"),
        ("..svs", "not safe as a name"),
        ("-rf.svs", "not safe as a name"),
        ("a b.svs", "not safe as a name"),
        ("$(id).svs", "not safe as a name"),
        ("a\0.svs", "not safe as a name"),
        ("a\x1b[2J.svs", "not safe as a name"),
        ("ü.svs", "not safe as a name"),
        ("a" * 201 + ".svs", "not safe as a name"),
        (A + " ", "not a slide's suffix"),
        ("annotations.txt", "not a slide's suffix"),
        ("C3L-00001-21.svs", "no patient"),
        ("TCGA-AR-A5QM-01Z-00-DX1_copy.svs", "no patient"),
    ],
)
def test_a_line_that_cannot_be_used_is_excluded_with_its_reason(tmp_path, name, said):
    folder = make_folder(tmp_path / "slides", A)
    sheet = cohorts.list_from_manifest(write_manifest(tmp_path / "manifest.txt", A, name), folder)
    assert list(sheet["status"]) == ["listed", "excluded"]
    assert said in reason_of(sheet, 1)
    assert sheet["patient_id"][1] == ""


def test_a_manifest_of_hostile_names_is_refused_line_by_line_and_the_rest_is_used(tmp_path):
    hostile = {
        "../x.svs": "a path where a file name is expected",
        "/etc/cron.d/x.svs": "a path where a file name is expected",
        "..\\x.svs": "a path where a file name is expected",
        "x\0.svs": "not safe as a name",
        "a" * 4000 + ".svs": "not safe as a name",
        A: f"slide_id {A.removesuffix('.svs')} is taken by {tmp_path / 'slides' / A}",
        "": "no file name",
    }
    manifest = write_manifest(tmp_path / "manifest.txt", A, *hostile, B)
    sheet = cohorts.list_from_manifest(manifest, tmp_path / "slides")
    assert list(sheet["status"]) == ["listed", *["excluded"] * len(hostile), "listed"]
    for row, said in enumerate(hostile.values(), start=1):
        assert said in reason_of(sheet, row)
    assert set(sheet.loc[sheet["status"] == "listed", "file"]) == {str(tmp_path / "slides" / name) for name in (A, B)}
    assert sheet["file"].str.len().max() < 200
    assert list(tmp_path.iterdir()) == [manifest]


def test_an_incomplete_line_is_excluded_and_the_next_is_read(tmp_path):
    manifest = write_manifest(tmp_path / "manifest.txt", A, B)
    lines = manifest.read_text().splitlines()
    lines.insert(2, 'x\t"unclosed')
    lines.insert(3, f"x\t{C}\tnot-an-md5\t1\treleased")
    manifest.write_text("\n".join(lines))
    sheet = cohorts.list_from_manifest(manifest, make_folder(tmp_path / "slides", A, B, C))
    assert list(sheet["status"]) == ["listed", "excluded", "excluded", "listed"]
    assert reason_of(sheet, 1) == "line 3: expected 5 fields, found 2"
    assert reason_of(sheet, 2) == "line 4: md5 is not 32 hexadecimal digits"


def test_a_line_that_was_there_before_is_excluded_and_named(tmp_path):
    manifest = write_manifest(tmp_path / "manifest.txt", A, A)
    sheet = cohorts.list_from_manifest(manifest, make_folder(tmp_path / "slides", A))
    assert list(sheet["status"]) == ["listed", "excluded"]
    assert f"taken by {tmp_path / 'slides' / A}" in reason_of(sheet, 1)


def test_the_same_md5_under_another_name_is_excluded_and_the_other_is_named(tmp_path):
    manifest = write_manifest(tmp_path / "manifest.txt", A, B)
    manifest.write_text(manifest.read_text().replace(md5_of(B), md5_of(A).upper()))
    sheet = cohorts.list_from_manifest(manifest, tmp_path / "slides")
    assert sheet["status"][0] == "listed"
    assert reason_of(sheet, 1) == f"the same md5 as slide {A.removesuffix('.svs')}"


def test_a_manifest_of_which_nothing_can_be_used_is_an_error_that_says_why(tmp_path):
    folder = make_folder(tmp_path / "slides")
    with pytest.raises(InputError, match=r"found 1 lines, all excluded; the first: line 2: not a slide's suffix"):
        cohorts.list_from_manifest(write_manifest(tmp_path / "manifest.txt", "a.txt"), folder)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"a,b\n1,2\n", b"id\tfilename\n1\tx.svs\n", b"\xff\xfe\x00"])
def test_what_is_no_manifest_is_refused(tmp_path, content):
    path = tmp_path / "manifest.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"manifest\.txt: expected"):
        cohorts.read_manifest(path)


def test_excluded_lines_are_logged(tmp_path, caplog):
    manifest = write_manifest(tmp_path / "manifest.txt", A, "x y.svs")
    with caplog.at_level(logging.INFO):
        cohorts.list_from_manifest(manifest, make_folder(tmp_path / "slides", A))
    assert "1 slides listed, 1 lines excluded" in caplog.text
    assert "excluded: x y.svs: line 3: not safe as a name" in caplog.text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    names=st.lists(
        st.one_of(
            st.text(max_size=20),
            st.text(max_size=5).map(lambda text: text + ".svs"),
            st.sampled_from([B, "unusable-0001.svs", "x\ty.svs", "a\nb.svs", "../a.svs"]),
        ),
        max_size=6,
    )
)
def test_whatever_a_manifest_says_every_slide_id_is_unique_and_safe(tmp_path, names):
    folder = make_folder(tmp_path / "slides", A, B)
    path = tmp_path / "manifest.txt"
    lines = [f"id\t{name}\t" for name in [A, *names]]
    path.write_bytes("\n".join(["id\tfilename\tmd5", *lines]).encode("utf-8", "surrogatepass"))
    try:
        sheet = cohorts.list_from_manifest(path, folder)
    except InputError as error:
        assert "expected" in str(error)  # a lone surrogate is not text
        return
    assert sheet["slide_id"].is_unique
    assert sheet["slide_id"].str.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}").all()
    assert set(sheet.loc[sheet["status"] == "listed", "file"]) <= {str(folder / A), str(folder / B)}
    files.write_table(sheet, tmp_path / "sheet.tsv")
    read = files.read_table(tmp_path / "sheet.tsv", text=cohorts.SHEET_TEXT)
    for column in cohorts.SHEET_TEXT:
        assert list(read[column]) == list(sheet[column])


# From a folder


def test_a_folder_gives_its_slides_in_the_order_of_names_and_nothing_below_it(tmp_path):
    folder = make_folder(tmp_path / "slides", "b.TIFF", "a.ndpi", "notes.txt", ".hidden.svs", "c.svs.part", A)
    make_folder(folder / "more", "d.svs")
    (folder / "mirax.svs").mkdir()
    sheet = cohorts.list_from_folder(folder)
    assert list(sheet["slide_id"]) == [A.removesuffix(".svs"), "a", "b"]
    assert set(sheet["status"]) == {"listed"}


def test_a_folder_of_photographs_gives_those_and_no_slide(tmp_path):
    names = ("a.JPG", "b.jpeg", "c.png", "d.tif", "e.tiff", "f.bmp", "g.svs", "h.gif", "i.txt", ".j.jpg")
    folder = make_folder(tmp_path / "photographs", *names)
    assert list(cohorts.list_from_folder(folder, photographs=True)["slide_id"]) == list("abcdef")
    assert list(cohorts.list_from_folder(folder)["slide_id"]) == list("deg")


def test_a_name_that_is_not_tcga_s_is_its_own_patient_with_a_warning(tmp_path, caplog):
    sheet = cohorts.list_from_folder(make_folder(tmp_path / "slides", "case.7.svs", A))
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    said = f"{tmp_path / 'slides'}: 1 slides do not say whose they are: each counts as a patient of its own"
    assert warned == [said]
    assert list(sheet["slide_id"]) == [A.removesuffix(".svs"), "case.7"]
    assert list(sheet["patient_id"]) == ["TCGA-AR-A5QM", "case.7"]
    assert list(sheet["sample_type"]) == ["01", ""]


def test_a_name_that_begins_like_tcga_s_and_is_not_one_is_nobody_s(tmp_path):
    sheet = cohorts.list_from_folder(make_folder(tmp_path / "slides", A, "TCGA-AR-A5QM_scan2.svs"))
    assert "no patient" in reason_of(sheet, 1)


def test_two_files_of_one_slide_id_are_told_apart(tmp_path):
    sheet = cohorts.list_from_folder(make_folder(tmp_path / "slides", "a.svs", "a.tif", "unusable-0001.svs"))
    assert list(sheet["slide_id"]) == ["a", "unusable-0002", "unusable-0001"]
    assert "slide_id a is taken by" in reason_of(sheet, 1)


def test_a_hostile_name_in_a_folder_is_excluded(tmp_path):
    sheet = cohorts.list_from_folder(make_folder(tmp_path / "slides", "a\nb.svs", "c.svs"))
    assert reason_of(sheet, 0).startswith("not safe as a name")
    assert sheet["file"][0] == r"a\nb.svs"


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere: expected the folder of slides"):
        cohorts.list_from_folder(tmp_path / "nowhere")


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(InputError, match="expected at least one slide"):
        cohorts.list_from_folder(make_folder(tmp_path / "slides", "notes.txt"))


# From a sheet of the user's own


def write_sheet(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(line.replace("|", "\t") for line in lines) + "\n")
    return path


def test_a_sheet_gives_what_it_says_and_the_name_the_rest(tmp_path):
    make_folder(tmp_path / "scans", "one.svs", "two.svs", B)
    path = write_sheet(
        tmp_path / "sheet.tsv",
        "slide_id|file|patient_id|sample_type|diagnostic_index|mpp|md5|stain",
        f"s1|scans/one.svs|P1|01|1|0.25|{MD5.upper()}|HE",
        "|scans/two.svs|R|||||",
        f"|{tmp_path / 'scans' / B}|Q|",
    )
    sheet = cohorts.list_from_sheet(path)
    assert list(sheet["slide_id"]) == ["s1", "two", B.removesuffix(".svs")]
    assert list(sheet["patient_id"]) == ["P1", "R", "Q"]
    assert list(sheet["sample_type"]) == ["01", "", "01"]
    assert sheet["diagnostic_index"].tolist() == [1, pd.NA, 10]
    assert list(sheet["file"]) == [str(tmp_path / "scans" / name) for name in ("one.svs", "two.svs", B)]
    assert list(sheet["md5"]) == [MD5, "", ""]
    assert sheet["mpp"].tolist()[0] == 0.25
    assert list(sheet["source"]) == ["configuration", "", ""]
    assert set(sheet["status"]) == {"listed"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("|", "no file"),
        ("b.svs|bad id", "slide_id 'bad id' is not safe as a name"),
        ("b.svs|../b", "is not safe as a name"),
        ("b.svs|a", "slide_id a is taken"),
        ("b.svs|x||1", "sample_type '1' is not two digits"),
        ("b.svs|x|||-1", "diagnostic_index '-1' is not a whole number"),
        ("b.svs|x||||0", "mpp '0' is not a positive number"),
        ("b.svs|x||||nan", "mpp 'nan' is not a positive number"),
        ("b.svs|x||||0,25", "mpp '0,25' is not a positive number"),
        ("b.svs|x|||||abc", "md5 is not 32 hexadecimal digits"),
        ("b.svs|x||||||one too many", "expected 7 fields, found 8"),
        ("b.txt|x", "not a slide's suffix"),
        ("TCGA-1.svs|x", "no patient"),
    ],
)
def test_a_line_of_a_sheet_that_cannot_be_used_is_excluded_with_its_reason(tmp_path, line, said):
    make_folder(tmp_path, "a.svs", "b.svs", "TCGA-1.svs")
    path = write_sheet(
        tmp_path / "sheet.tsv", "file|slide_id|patient_id|sample_type|diagnostic_index|mpp|md5", "a.svs|a|P", line
    )
    if line == "|":
        path.write_text(path.read_text().rstrip("\n") + "\tx\n")
    sheet = cohorts.list_from_sheet(path)
    assert sheet["status"][0] == "listed"
    assert said in reason_of(sheet, 1)


def test_a_sheet_of_photographs_lists_those_and_no_slide(tmp_path):
    lines = ("file|patient_id|mpp", "in/a.png|P|0.65", "b.tif|P|", "c.svs|P|0.25", "../a.jpg|P|0.65")
    path = write_sheet(tmp_path / "sheet.tsv", *lines)
    sheet = cohorts.list_from_sheet(path, photographs=True)
    assert list(sheet["slide_id"][:2]) == ["a", "b"]
    assert list(sheet["status"]) == ["listed", "listed", "excluded", "excluded"]
    assert sheet["file"][0] == str(tmp_path / "in" / "a.png")
    assert sheet["mpp"].tolist()[0] == 0.65
    assert list(sheet["source"][:2]) == ["configuration", ""]
    assert reason_of(sheet, 2) == "line 4: not a photograph's suffix (.jpg .jpeg .png .tif .tiff .bmp)"
    assert "slide_id a is taken by" in reason_of(sheet, 3)
    as_slides = cohorts.list_from_sheet(path)
    assert list(as_slides["status"]) == ["excluded", "listed", "listed", "excluded"]
    assert reason_of(as_slides, 0).startswith("line 2: not a slide's suffix")


def test_a_blank_patient_in_a_sheet_that_names_patients_is_nobody(tmp_path, caplog):
    path = write_sheet(tmp_path / "sheet.tsv", "file|patient_id|mpp", "a.svs|P|", "b.svs||", "c.svs", f"{B}||")
    sheet = cohorts.list_from_sheet(path)
    assert list(sheet["status"]) == ["listed", "excluded", "excluded", "listed"]
    assert reason_of(sheet, 1).startswith("no patient:")
    assert list(sheet["patient_id"]) == ["P", "", "", "TCGA-49-4488"]
    assert "each counts as a patient of its own" not in caplog.text


def test_a_sheet_that_names_no_patients_is_read_with_a_warning(tmp_path, caplog):
    sheet = cohorts.list_from_sheet(write_sheet(tmp_path / "sheet.tsv", "file|mpp", "a.svs|", "b.svs|0.5", f"{B}|"))
    assert list(sheet["patient_id"]) == ["a", "b", "TCGA-49-4488"]
    assert "2 slides do not say whose they are: each counts as a patient of its own" in caplog.text


@pytest.mark.parametrize("again", ["a.svs", "./a.svs", "scans/../a.svs"])
def test_a_file_under_two_names_is_one_slide(tmp_path, again):
    path = write_sheet(tmp_path / "sheet.tsv", "file|slide_id|patient_id", "a.svs|one|P", f"{again}|two|Q")
    sheet = cohorts.list_from_sheet(path)
    assert list(sheet["status"]) == ["listed", "excluded"]
    assert reason_of(sheet, 1) == "the same file as slide one"


def test_an_md5_under_two_names_is_one_slide_and_a_blank_md5_is_none(tmp_path):
    lines = [f"a.svs|P|{MD5}", f"b.svs|Q|{MD5.upper()}", "c.svs|R|", "d.svs|S|"]
    sheet = cohorts.list_from_sheet(write_sheet(tmp_path / "sheet.tsv", "file|patient_id|md5", *lines))
    assert list(sheet["status"]) == ["listed", "excluded", "listed", "listed"]
    assert reason_of(sheet, 1) == "the same md5 as slide a"


def test_a_slide_is_not_excluded_for_one_that_is_excluded_itself(tmp_path):
    lines = ["a.svs|one|", "a.svs|two|P"]
    sheet = cohorts.list_from_sheet(write_sheet(tmp_path / "sheet.tsv", "file|slide_id|patient_id", *lines))
    assert list(sheet["status"]) == ["excluded", "listed"]


def test_a_misspelt_column_is_answered_with_the_right_one(tmp_path):
    make_folder(tmp_path, "a.svs")
    with pytest.raises(InputError, match="found the column `patient`; did you mean `patient_id`"):
        cohorts.list_from_sheet(write_sheet(tmp_path / "sheet.tsv", "file|patient", "a.svs|P"))


def test_a_sheet_without_files_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a tab-separated sheet with the column `file`"):
        cohorts.list_from_sheet(write_sheet(tmp_path / "sheet.tsv", "slide,patient_id", "a.svs,P"))


# One slide per patient


def slides_of(*names: str) -> pd.DataFrame:
    return pd.DataFrame([cohorts._fields_of_name(name + ".svs") for name in names])


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["TCGA-A1-0001-01Z-00-DX2", "TCGA-A1-0001-01Z-00-DX1"], "TCGA-A1-0001-01Z-00-DX1"),
        (["TCGA-49-4488-01Z-00-DX10", "TCGA-49-4488-01Z-00-DX2"], "TCGA-49-4488-01Z-00-DX2"),
        (["TCGA-50-5066-02Z-00-DX1", "TCGA-50-5066-01Z-00-DX1"], "TCGA-50-5066-01Z-00-DX1"),
        (["TCGA-A1-0001-01Z-00-DX2", "TCGA-A1-0001-06Z-00-DX1"], "TCGA-A1-0001-06Z-00-DX1"),
        (["TCGA-A1-0001-06Z-00-DX2", "TCGA-A1-0001-01Z-00-DX3"], "TCGA-A1-0001-01Z-00-DX3"),
        (["TCGA-A1-0001-01A-01-TS1", "TCGA-A1-0001-06Z-00-DX4"], "TCGA-A1-0001-06Z-00-DX4"),
        (["TCGA-A1-0001-06A-01-BS1", "TCGA-A1-0001-01A-01-TS1"], "TCGA-A1-0001-01A-01-TS1"),
        (["TCGA-A1-0001-01Z-00-DX1.B", "TCGA-A1-0001-01Z-00-DX1.A"], "TCGA-A1-0001-01Z-00-DX1.A"),
    ],
)
def test_a_patient_is_represented_by_dx1_or_the_stated_fallback(names, chosen):
    for order in (names, names[::-1]):
        assert list(cohorts.one_slide_per_patient(slides_of(*order))["slide_id"]) == [chosen]


def test_slides_of_unknown_sample_type_come_last_and_the_columns_stay():
    slides = pd.DataFrame(
        {
            "slide_id": ["b", "a", "c", "d"],
            "patient_id": ["Q", "Q", "P", "P"],
            "sample_type": ["01", "", "", ""],
            "diagnostic_index": [None, None, None, 3.0],
            "hti": [0.1, 0.2, 0.3, 0.4],
        }
    )
    chosen = cohorts.one_slide_per_patient(slides)
    assert list(chosen.columns) == list(slides.columns)
    assert list(zip(chosen["patient_id"], chosen["slide_id"], chosen["hti"], strict=True)) == [
        ("P", "d", 0.4),
        ("Q", "b", 0.1),
    ]


def test_a_slide_without_a_patient_cannot_represent_one():
    with pytest.raises(InputError, match="every slide must have a patient"):
        cohorts.one_slide_per_patient(slides_of("nobody"))


# Real tables


@pytest.mark.parametrize(("cohort", "n", "n_patients"), [("brca", 761, 703), ("luad", 469, 410)])
def test_the_published_manifests_are_listed_whole(shared_data, tmp_path, cohort, n, n_patients):
    manifest = shared_data / "tcga" / f"gdc_manifest_{cohort}_PathoMCH.txt"
    folder = make_folder(tmp_path / "slides", *cohorts.read_manifest(manifest)["filename"])
    sheet = cohorts.list_from_manifest(manifest, folder)
    assert len(sheet) == n
    assert set(sheet["status"]) == {"listed"}
    assert sheet["patient_id"].nunique() == n_patients
    assert (sheet["diagnostic_index"] >= 1).all()
    assert len(cohorts.one_slide_per_patient(sheet)) == n_patients


def test_the_odd_slides_of_the_published_manifests_are_what_they_are(shared_data, tmp_path):
    brca = cohorts.read_manifest(shared_data / "tcga" / "gdc_manifest_brca_PathoMCH.txt")
    sheet = cohorts.list_from_folder(make_folder(tmp_path / "brca", *brca["filename"]))
    vials = sheet["slide_id"].str.split("-").str[3].value_counts().to_dict()
    assert vials == {"01Z": 754, "01A": 6, "06Z": 1}
    assert sheet["sample_type"].value_counts().to_dict() == {"01": 760, "06": 1}
    with_dx1 = set(sheet.loc[sheet["diagnostic_index"] == 1, "patient_id"])
    assert len(set(sheet["patient_id"]) - with_dx1) == 14

    luad = cohorts.read_manifest(shared_data / "tcga" / "gdc_manifest_luad_PathoMCH.txt")
    sheet = cohorts.list_from_folder(make_folder(tmp_path / "luad", *luad["filename"]))
    two = sheet[(sheet["patient_id"] == "TCGA-50-5066") & (sheet["diagnostic_index"] == 1)]
    assert sorted(two["sample_type"]) == ["01", "02"]
    chosen = cohorts.one_slide_per_patient(sheet).set_index("patient_id")
    assert chosen.loc["TCGA-50-5066", "sample_type"] == "01"
    assert chosen.loc["TCGA-49-4488", "diagnostic_index"] == 1


def test_the_colon_cohort_is_the_same_by_manifest_and_by_folder(shared_data):
    by_manifest = cohorts.list_from_manifest(
        shared_data / "colon" / "gdc_manifest.txt", shared_data / "colon" / "slides"
    )
    by_folder = cohorts.list_from_folder(shared_data / "colon" / "slides")
    assert len(by_manifest) == 60
    columns = ["slide_id", "patient_id", "sample_type", "diagnostic_index", "file", "status"]
    pd.testing.assert_frame_equal(by_manifest[columns].sort_values("slide_id", ignore_index=True), by_folder[columns])
