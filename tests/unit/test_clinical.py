"""A clinical table of any known style gives one row per patient with its survival in months."""

import logging
from pathlib import Path

import pandas as pd
import pytest

from workflow_scripts.lib import clinical
from workflow_scripts.lib.errors import InputError


def write(path: Path, text: str) -> Path:
    path.write_text(text.replace("|", "," if path.suffix == ".csv" else "\t"))
    return path


def read(folder: Path, text: str, *, suffix: str = ".tsv") -> pd.DataFrame:
    return clinical.read_clinical(write(folder / f"clinical{suffix}", text))


def survival(table: pd.DataFrame) -> list[tuple]:
    return [
        (row.patient_id, None if pd.isna(row.time) else row.time, None if pd.isna(row.event) else row.event)
        for row in table.itertuples()
    ]


# Styles


@pytest.mark.parametrize(
    "text",
    [
        "Study ID|Patient ID|Overall Survival (Months)|Overall Survival Status|Sex\n"
        "x|A|12.5|1:DECEASED|F\nx|B|0|0:LIVING|M\n",
        "Patient ID|Overall Survival Status|Sex|Overall Survival (Months)\nA|DECEASED|F|12.5\nB|LIVING|M|0.0\n",
        "#Patient|Months\n#a|b\n#STRING|NUMBER\n#1|1\nPATIENT_ID|OS_MONTHS|OS_STATUS|Sex\nA|12.5|1:DECEASED|F\nB|0|0:LIVING|M\n",
        "patient|OS_MONTHS|OS_STATUS|Sex\nA|12.5|Dead|F\nB|0|Alive|M\n",
        "patient|survival_months|censorship|Sex\nA|12.5|0.0|F\nB|0|1.0|M\n",
        "bcr_patient_barcode|OS|OS.time|Sex\nA|1.0|380.46875|F\nB|0|0|M\n",
        "\ufeffpatient_id|time|event|Sex\r\nA|12.5|1|F\r\nB|0|0|M\r\n",
    ],
)
@pytest.mark.parametrize("suffix", [".tsv", ".txt", ".csv"])
def test_every_known_style_reads_the_same(tmp_path, text, suffix):
    table = read(tmp_path, text, suffix=suffix)
    assert list(table.columns[:3]) == ["patient_id", "time", "event"]
    assert survival(table) == [("A", 12.5, 1), ("B", 0.0, 0)]
    assert table["time"].dtype == "float64"
    assert table["event"].dtype == "Int64"
    assert list(table["Sex"]) == ["F", "M"]


def test_of_two_pairs_the_first_known_one_is_read_and_the_other_named(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        table = read(tmp_path, "patient|OS|OS.time|OS_MONTHS|OS_STATUS\nA|0|100|12.5|1:DECEASED\n")
    assert survival(table) == [("A", 12.5, 1)]
    assert list(table["OS.time"]) == ["100"]
    assert "os_time and os hold survival too" in caplog.text


def test_a_quotation_mark_in_free_text_swallows_nothing(tmp_path):
    table = read(tmp_path, 'patient_id|note|time|event\nA|5" scar|1|0\nB|"|2|1\nC|x|3|1\n')
    assert list(table["patient_id"]) == ["A", "B", "C"]
    assert list(table["note"]) == ['5" scar', '"', "x"]


def test_a_quoted_cell_of_a_csv_may_hold_a_comma(tmp_path):
    path = tmp_path / "clinical.csv"
    path.write_text('patient_id,note,time,event\nA,"left, lower",1,1\n')
    assert list(clinical.read_clinical(path)["note"]) == ["left, lower"]


def test_blank_lines_and_missing_last_cells_are_read(tmp_path):
    table = read(tmp_path, "patient_id|time|event|Sex\n\nA|1|1\n\nB|2|0|M\n\n")
    assert survival(table) == [("A", 1.0, 1), ("B", 2.0, 0)]
    assert list(table["Sex"]) == ["", "M"]


# Values


@pytest.mark.parametrize("missing", ["", "NA", "nan", "[Not Available]", "[Discrepancy]"])
def test_what_is_missing_stays_missing(tmp_path, missing):
    table = read(tmp_path, f"patient_id|OS_MONTHS|OS_STATUS\nA|{missing}|DECEASED\nB|2|{missing}\nC|3|LIVING\n")
    assert survival(table) == [("A", None, 1), ("B", 2.0, None), ("C", 3.0, 0)]


@pytest.mark.parametrize("status", ["1:LIVING", "0:DECEASED", "DEAD?", "2", "Unknown", "1:PROGRESSION"])
def test_an_unknown_status_is_named_with_its_line(tmp_path, status):
    text = f"#a\nPATIENT_ID|OS_MONTHS|OS_STATUS\nA|1|DECEASED\n\nB|1|{status}\n"
    with pytest.raises(InputError, match=r"line 5: OS_STATUS is '") as raised:
        read(tmp_path, text)
    assert repr(status) in str(raised.value)


def test_censorship_is_the_reverse_of_an_event_and_takes_no_words(tmp_path):
    with pytest.raises(InputError, match="line 2: censorship is 'DECEASED'"):
        read(tmp_path, "patient|survival_months|censorship\nA|1|DECEASED\n")


@pytest.mark.parametrize("time", ["long", "1,5", "inf", "1e999"])
def test_a_time_that_is_no_number_is_named_with_its_line(tmp_path, time):
    path = tmp_path / "clinical.tsv"
    path.write_text(f"patient_id\ttime\tevent\nA\t{time}\t1\n")
    with pytest.raises(InputError, match=rf"line 2: time is '{time}', expected a number"):
        clinical.read_clinical(path)


def test_a_negative_time_is_no_survival_and_is_logged(tmp_path, caplog):
    table = read(tmp_path, "patient_id|time|event|Sex\nA|-0.23|1|F\nB|2|0|M\n")
    assert survival(table) == [("A", None, None), ("B", 2.0, 0)]
    assert list(table["Sex"]) == ["F", "M"]
    assert "line 2: survival of A is left out: -0.23 months" in caplog.text


def test_a_row_without_a_patient_is_refused(tmp_path):
    with pytest.raises(InputError, match="line 3: no patient"):
        read(tmp_path, "patient_id|time|event\nA|1|1\n |1|1\n")


# One row per patient


def test_rows_that_agree_on_survival_collapse_to_the_first(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        table = read(tmp_path, "patient_id|sample|time|event\nB|B-01|2|0\nA|A-01|1|1\nA|A-06|1|1\n")
    assert survival(table) == [("B", 2.0, 0), ("A", 1.0, 1)]
    assert list(table["sample"]) == ["B-01", "A-01"]
    assert "1 rows of patients who have another were left out" in caplog.text


@pytest.mark.parametrize("without", ["NA|NA", "|1", "5|", "-1|0"])
def test_a_row_without_survival_yields_to_one_with(tmp_path, without):
    table = read(tmp_path, f"patient_id|time|event|sample\nA|{without}|A-01\nA|1|1|A-06\n")
    assert survival(table) == [("A", 1.0, 1)]
    assert list(table["sample"]) == ["A-06"]


def test_rows_that_disagree_on_survival_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"rows of A disagree .*line 2: 1 months, event 0; line 4: 2 months, event 1"):
        read(tmp_path, "patient_id|time|event\nA|1|0\nB|1|1\nA|2|1\n")


# Columns


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("id|time|event", "expected one column for the patient .* found none among id, time, event"),
        ("patient_id|Patient ID|time|event", "found 'patient_id', 'Patient ID'"),
        ("patient_id|months|status", "expected a pair of columns for overall survival"),
        ("patient_id|OS_MONTHS|event", "expected a pair of columns for overall survival"),
        ("patient_id|OS_MONTHS|os months|OS_STATUS", "found 'OS_MONTHS' and 'os months', expected one"),
        ("patient_id|OS_MONTHS|OS_STATUS|time", "there is another column 'time'"),
        ("patient_id|time|time|event", "found 'time' and 'time', expected one"),
    ],
)
def test_columns_that_are_absent_or_ambiguous_are_listed(tmp_path, header, said):
    with pytest.raises(InputError, match=said):
        read(tmp_path, f"{header}\n{'|'.join('1' for _ in header.split('|'))}\n")


@pytest.mark.parametrize("content", [b"", b"# only a comment\n", b"\xff\xfe\x00", b"a\tb\n1\t2\t3\n"])
def test_what_is_no_table_is_refused(tmp_path, content):
    (tmp_path / "clinical.tsv").write_bytes(content)
    with pytest.raises(InputError, match=r"clinical\.tsv: expected"):
        clinical.read_clinical(tmp_path / "clinical.tsv")


def test_columns_of_one_name_are_numbered(tmp_path):
    table = read(tmp_path, "patient_id|time|event|Stage|Stage\nA|1|1|I|IA\n")
    assert list(table.columns) == ["patient_id", "time", "event", "Stage (1)", "Stage (2)"]
    with pytest.raises(InputError, match=r"no clinical column 'Stage'; did you mean 'Stage \(\d\)' or 'Stage \(\d\)'"):
        clinical.column(table, "Stage")


FRAME = pd.DataFrame(
    {
        "patient_id": ["A", "B", "C"],
        "time": [1.0, 2.0, None],
        "Diagnosis Age": ["55", "NA", "60.5"],
        "ER Status By IHC": ["Positive", "[Not Available]", "Negative"],
        "er": ["1", "2", ""],
        "ER": ["x", "y", "z"],
        "Empty": ["", "NA", ""],
    }
)


def test_a_covariate_of_numbers_is_float_and_of_words_is_text():
    age = clinical.column(FRAME, "Diagnosis Age")
    assert age.dtype == "float64"
    assert age.tolist()[0::2] == [55.0, 60.5]
    assert pd.isna(age[1])
    status = clinical.column(FRAME, "ER Status By IHC")
    assert status.tolist()[0::2] == ["Positive", "Negative"]
    assert pd.isna(status[1])
    assert clinical.column(FRAME, "time").tolist()[:2] == [1.0, 2.0]
    assert clinical.column(FRAME, "Empty").isna().all()


@pytest.mark.parametrize("name", ["diagnosis age", "DIAGNOSIS_AGE", "Diagnosis Age"])
def test_a_covariate_is_found_in_any_case(name):
    assert clinical.column(FRAME, name)[0] == 55.0


def test_an_exact_name_comes_before_one_in_another_case_and_two_others_are_ambiguous():
    assert clinical.column(FRAME, "er").tolist()[:2] == [1.0, 2.0]
    with pytest.raises(InputError, match="'Er' may be any of er, ER"):
        clinical.column(FRAME, "Er")


def test_an_unknown_covariate_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="no clinical column 'Diagnosis Ages'; did you mean 'Diagnosis Age'"):
        clinical.column(FRAME, "Diagnosis Ages")
    with pytest.raises(InputError, match="no clinical column 'zzz'; there are patient_id, time"):
        clinical.column(FRAME, "zzz")


def test_the_description_says_what_the_survival_stage_will_find(tmp_path):
    table = read(
        tmp_path,
        "Patient ID\tOverall Survival (Months)\tOverall Survival Status\tAge\tSex\tStage\n"
        "a\t1.5\t1:DECEASED\t61\tF\t1\nb\t20\t0:LIVING\t45\tM\t2\nc\tNA\t0:LIVING\tNA\tM\t2\n",
    )
    described = clinical.describe(table, covariates=["age", "Sex"], categories=["Stage"])
    assert described.to_dict("split")["data"] == [
        ["survival", "time, event", 3, 2, "deaths 1, times 1.5 to 20.0 months"],
        ["covariate", "age", 3, 2, "45 to 61"],
        ["covariate", "Sex", 3, 3, "M 2, F 1"],
        ["category", "Stage", 3, 3, "2 2, 1 1"],
    ]


def test_a_misspelt_column_is_named_before_anything_is_described(tmp_path):
    table = read(
        tmp_path, "Patient ID\tOverall Survival (Months)\tOverall Survival Status\tAge\na\t1.5\t1:DECEASED\t61\n"
    )
    with pytest.raises(InputError, match="no clinical column 'Agee'; did you mean 'Age'"):
        clinical.describe(table, covariates=["Agee"], categories=[])


# Events


def test_a_cohort_without_a_usable_event_is_refused(tmp_path):
    table = read(tmp_path, "patient_id|OS_MONTHS|OS_STATUS\nA|NA|DECEASED\nB|1|LIVING\nC|2|NA\n")
    with pytest.raises(InputError, match=r"no event among 1 patients with known survival \(of 3\)"):
        clinical.check_events(table)


def test_one_event_is_enough(tmp_path):
    clinical.check_events(read(tmp_path, "patient_id|time|event\nA|1|1\n"))


# Real tables

FIREHOSE = "brca_tcga_firehose_legacy_clinical_data.tsv"
WEB_EXPORT = "brca_tcga_pan_can_atlas_2018_clinical_data_webexport.tsv"
DATA_FILE = "brca_tcga_pan_can_atlas_2018_data_clinical_patient.txt"


@pytest.mark.parametrize(
    ("name", "n", "known", "events"),
    [
        (f"tcga/{FIREHOSE}", 1080, 1076, 148),
        (f"tcga/{WEB_EXPORT}", 1084, 1084, 151),
        (f"tcga/{DATA_FILE}", 1084, 1084, 151),
        ("tcga/BRCA_joined_PathoMCH_patients.csv", 703, 693, 79),
        ("tcga/LUAD_joined_PathoMCH_patients.csv", 410, 387, 140),
        ("colon/clinical.tsv", 60, 60, 42),
    ],
)
def test_the_real_tables_are_read_whole(shared_data, name, n, known, events):
    table = clinical.read_clinical(shared_data / name)
    clinical.check_events(table)
    usable = table[table["time"].notna() & table["event"].notna()]
    assert table["patient_id"].is_unique
    assert (len(table), len(usable), usable["event"].sum()) == (n, known, events)


def test_the_two_header_styles_of_one_study_give_the_same_survival(shared_data):
    exported = clinical.read_clinical(shared_data / "tcga" / WEB_EXPORT).set_index("patient_id")
    released = clinical.read_clinical(shared_data / "tcga" / DATA_FILE).set_index("patient_id").loc[exported.index]
    pd.testing.assert_frame_equal(exported[["time", "event"]], released[["time", "event"]])


def test_firehose_and_pancanatlas_differ_in_no_event_and_by_less_than_a_week(shared_data):
    firehose = clinical.read_clinical(shared_data / "tcga" / FIREHOSE).set_index("patient_id")
    atlas = clinical.read_clinical(shared_data / "tcga" / WEB_EXPORT).set_index("patient_id")
    both = firehose.join(atlas, how="inner", rsuffix=" (atlas)")
    assert len(both) == 1070
    known = both[both["time"].notna() & both["event"].notna()]
    assert len(known) == 1066
    assert (known["event"] == known["event (atlas)"]).all()
    # One release has months of 30.44 days, the other of 30.42, and the last days of follow-up differ.
    assert (known["time"] - known["time (atlas)"]).abs().max() < 0.24


def test_days_and_months_of_the_joined_table_agree(shared_data):
    table = clinical.read_clinical(shared_data / "tcga" / "LUAD_joined_PathoMCH_patients.csv")
    days = clinical.column(table, "OS.time")
    both = table[table["time"].notna() & days.notna()].index
    assert len(both) > 350
    apart = (days[both] / clinical.DAYS_PER_MONTH - table["time"][both]).abs()
    assert (apart < 0.1).mean() > 0.9


def test_only_one_real_patient_has_a_negative_time(shared_data, caplog):
    table = clinical.read_clinical(shared_data / "tcga" / FIREHOSE).set_index("patient_id")
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        f"{shared_data / 'tcga' / FIREHOSE}, line 1058: survival of TCGA-PL-A8LV is left out: -0.23 months"
    ]
    assert pd.isna(table.loc["TCGA-PL-A8LV", "time"])
    assert (table["time"].dropna() >= 0).all()
    assert (table["time"] == 0).sum() == 12
    assert clinical.column(table, "er status by ihc").value_counts()["Positive"] > 700


def test_a_column_answers_to_the_name_that_cbioportal_shows_for_it(tmp_path):
    path = tmp_path / "data_clinical_patient.txt"
    path.write_text(
        "#Patient Identifier\tDiagnosis Age\tOverall Survival (Months)\tOverall Survival Status\tER Status By IHC\n"
        "#id\tage\tmonths\tstatus\ter\n#STRING\tNUMBER\tNUMBER\tSTRING\tSTRING\n#1\t1\t1\t1\t1\n"
        "PATIENT_ID\tAGE\tOS_MONTHS\tOS_STATUS\tER_STATUS_BY_IHC\n"
        "P1\t50\t3.0\t1:DECEASED\tPositive\nP2\t60\t4.0\t0:LIVING\tNegative\n"
    )
    table = clinical.read_clinical(path)
    assert clinical.column(table, "Diagnosis Age").tolist() == [50, 60]
    assert clinical.column(table, "age").tolist() == [50, 60]
    assert clinical.column(table, "ER Status By IHC").tolist() == ["Positive", "Negative"]


def test_the_real_data_file_answers_to_the_columns_of_the_real_export(shared_data):
    table = clinical.read_clinical(shared_data / "tcga" / "brca_tcga_pan_can_atlas_2018_data_clinical_patient.txt")
    export = clinical.read_clinical(shared_data / "tcga" / "brca_tcga_pan_can_atlas_2018_clinical_data_webexport.tsv")
    for name in ("Diagnosis Age", "Sex", "Neoplasm Disease Stage American Joint Committee on Cancer Code"):
        ours, theirs = (
            clinical.column(frame, name).set_axis(frame["patient_id"]).sort_index() for frame in (table, export)
        )
        both = ours.index.intersection(theirs.index)
        assert len(both) > 1000
        assert (ours[both].dropna() == theirs[both].dropna()).all()
