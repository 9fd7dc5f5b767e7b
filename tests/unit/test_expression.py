"""Expression tables are read by the row asked for, and give one value per patient and sample type."""

import csv
import logging
from pathlib import Path

import pandas as pd
import pytest

from workflow_scripts.lib import expression
from workflow_scripts.lib.errors import InputError

P1, P1_AGAIN, P1_NORMAL, P2 = (
    "TCGA-A1-A0SE-01A-11R-A085-07",
    "TCGA-A1-A0SE-01A-21R-A085-07",
    "TCGA-A1-A0SE-11A-11R-A085-07",
    "TCGA-A2-A0SW-01A-11R-A085-07",
)


def write(path: Path, *rows: str, separator: str = "\t") -> Path:
    path.write_text("\n".join(separator.join(row.split()) for row in rows) + "\n")
    return path


def mrna(folder: Path, *rows: str) -> Path:
    return write(folder / "mrna.tsv", f"gene_id {P1} {P1_NORMAL} {P2}", *rows)


def mirna(folder: Path, *rows: str) -> Path:
    return write(folder / "mirna.csv", f"Genes Correction {P1} {P2}", *rows, separator=",")


# PanCanAtlas mRNA


def test_a_gene_is_found_by_its_symbol_and_told_by_sample(tmp_path):
    path = mrna(tmp_path, "?|100130426 0 0 0", "MKI67|4288 10.5 -0.25 1e3", "MKI67IP|84365 7 7 7")
    table = expression.read_features(path, ["MKI67"], kind="mrna")
    assert list(table.columns) == ["feature", "sample", "patient_id", "sample_type", "value"]
    assert table.to_numpy().tolist() == [
        ["MKI67", P1, "TCGA-A1-A0SE", "01", 10.5],
        ["MKI67", P1_NORMAL, "TCGA-A1-A0SE", "11", -0.25],
        ["MKI67", P2, "TCGA-A2-A0SW", "01", 1000.0],
    ]
    assert table["value"].dtype == "float64"


def test_a_gene_is_found_by_symbol_and_entrez_id(tmp_path):
    path = mrna(tmp_path, "SLC35E2|728661 1 2 3", "SLC35E2|9906 4 5 6")
    assert list(expression.read_features(path, ["SLC35E2|9906"], kind="mrna")["value"]) == [4, 5, 6]


def test_a_symbol_with_two_rows_must_be_asked_for_by_its_whole_name(tmp_path):
    path = mrna(tmp_path, "SLC35E2|728661 1 2 3", "SLC35E2|9906 4 5 6")
    with pytest.raises(InputError, match=r"'SLC35E2' names 2 rows \(SLC35E2\|728661, SLC35E2\|9906\)"):
        expression.read_features(path, ["SLC35E2"], kind="mrna")


def test_several_features_come_in_one_pass_and_in_the_order_asked(tmp_path):
    path = mrna(tmp_path, "A|1 1 2 3", "B|2 4 5 6", "C|3 7 8 9")
    table = expression.read_features(path, ["C", "A"], kind="mrna")
    assert list(table["feature"]) == ["C"] * 3 + ["A"] * 3
    assert list(table["value"]) == [7, 8, 9, 1, 2, 3]


@pytest.mark.parametrize("missing", ["NA", "NaN", "null", "n/a"])
def test_missing_values_are_left_out(tmp_path, missing):
    path = mrna(tmp_path, f"MKI67|4288 {missing} 2 3")
    assert list(expression.read_features(path, ["MKI67"], kind="mrna")["sample"]) == [P1_NORMAL, P2]


def test_an_empty_cell_is_missing(tmp_path):
    path = mrna(tmp_path)
    path.write_text(path.read_text() + "MKI67|4288\t1\t\t3\r\n")
    assert list(expression.read_features(path, ["MKI67"], kind="mrna")["value"]) == [1, 3]


def test_a_gene_without_any_value_gives_an_empty_table_beside_one_with_values(tmp_path):
    path = mrna(tmp_path, "A|1 NA NA NA", "B|2 4 5 6")
    assert expression.read_features(path, ["A"], kind="mrna").empty
    assert list(expression.read_features(path, ["A", "B"], kind="mrna")["feature"]) == ["B"] * 3


@pytest.mark.parametrize("cell", ["high", "1,5", "inf", "-inf"])
def test_a_value_that_is_no_number_is_named_with_its_sample(tmp_path, cell):
    with pytest.raises(InputError, match=rf"MKI67\|4288 of {P1_NORMAL} is '{cell}', expected a finite number"):
        expression.read_features(mrna(tmp_path, f"MKI67|4288 1 {cell} 3"), ["MKI67"], kind="mrna")


def test_a_row_that_is_cut_short_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"row MKI67\|4288 has 2 values, expected 3"):
        expression.read_features(mrna(tmp_path, "MKI67|4288 1 2"), ["MKI67"], kind="mrna")


@pytest.mark.parametrize(
    ("asked", "answer"),
    [("mki67", r"did you mean MKI67\|4288\?"), ("FOXA", r"did you mean FOXA1\|3169\?"), ("ZZZ", r"among its 2\.$")],
)
def test_an_unknown_gene_is_answered_with_the_nearest(tmp_path, asked, answer):
    with pytest.raises(InputError, match=rf"no feature '{asked}' .*{answer}"):
        expression.read_features(mrna(tmp_path, "MKI67|4288 1 2 3", "FOXA1|3169 1 2 3"), [asked], kind="mrna")


def test_a_column_that_is_no_barcode_is_a_patient_of_that_name(tmp_path):
    path = write(tmp_path / "mrna.tsv", "gene_id case-7 TCGA-A1-A0SE", "MKI67 1 2")
    table = expression.read_features(path, ["MKI67"], kind="mrna")
    assert list(table["patient_id"]) == ["case-7", "TCGA-A1-A0SE"]
    assert list(table["sample_type"]) == ["", ""]


# PanCanAtlas miRNA


def test_a_mature_mirna_is_found_by_its_name(tmp_path):
    path = mirna(tmp_path, "hsa-miR-17-3p Corrected 1 2", "hsa-miR-17-5p Corrected 3 4")
    assert list(expression.read_features(path, ["hsa-miR-17-5p"], kind="mirna")["value"]) == [3, 4]


def test_the_corrected_row_counts_where_a_name_stands_twice(tmp_path, caplog):
    path = mirna(tmp_path, "hsa-miR-21-5p Uncorrected 1 2", "hsa-miR-21-5p Corrected 3 4")
    with caplog.at_level(logging.INFO):
        assert list(expression.read_features(path, ["hsa-miR-21-5p"], kind="mirna")["value"]) == [3, 4]
    assert "hsa-miR-21-5p stands 2 times; the row `Corrected` counts" in caplog.text


def test_two_rows_of_one_name_and_correction_are_refused(tmp_path):
    path = mirna(tmp_path, "hsa-miR-21-5p Corrected 1 2", "hsa-miR-21-5p Corrected 3 4")
    with pytest.raises(InputError, match="'hsa-miR-21-5p' names 2 rows"):
        expression.read_features(path, ["hsa-miR-21-5p"], kind="mirna")


@pytest.mark.parametrize("asked", ["hsa-mir-17", "hsa-miR-17", "miR-17", "hsa-mir-17-5p"])
def test_a_precursor_or_half_a_name_is_answered_with_the_mature_forms(tmp_path, asked):
    path = mirna(tmp_path, "hsa-miR-17-5p Corrected 3 4", "hsa-miR-171-5p Corrected 3 4")
    with pytest.raises(InputError, match=rf"no feature '{asked}' .*did you mean hsa-miR-17-5p\?") as raised:
        expression.read_features(path, [asked], kind="mirna")
    assert ("is a precursor" in str(raised.value)) == asked.startswith("hsa-mir-")


# A table of one's own


def test_a_table_has_a_row_per_sample_and_a_column_per_feature(tmp_path):
    path = write(tmp_path / "own.tsv", "id MKI67 score", f"{P1} 1 NA", "case-7 2 -3", "TCGA-A2-A0SW 4 5")
    table = expression.read_features(path, ["score", "MKI67"], kind="table")
    assert table[["feature", "patient_id", "sample_type", "value"]].to_numpy().tolist() == [
        ["score", "case-7", "", -3.0],
        ["score", "TCGA-A2-A0SW", "", 5.0],
        ["MKI67", "TCGA-A1-A0SE", "01", 1.0],
        ["MKI67", "case-7", "", 2.0],
        ["MKI67", "TCGA-A2-A0SW", "", 4.0],
    ]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["id A A", "x 1 2"], "the column 'A' stands 2 times"),
        (["id A", "x 1 2"], "line 2: expected an id and 1 cells, found 3 fields"),
        (["id"], "expected a tab-separated table"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, rows, said):
    with pytest.raises(InputError, match=said):
        expression.read_features(write(tmp_path / "own.tsv", *rows), ["A"], kind="table")


@pytest.mark.parametrize(("kind", "said"), [("mrna", "without a tab"), ("mirna", "beginning Genes,Correction")])
def test_a_file_of_another_form_is_refused(tmp_path, kind, said):
    with pytest.raises(InputError, match=said):
        expression.read_features(write(tmp_path / "x", "some text", separator=" "), ["A"], kind=kind)


@pytest.mark.parametrize("kind", ["mrna", "mirna", "table"])
def test_a_file_that_is_absent_empty_or_not_text_is_refused(tmp_path, kind):
    with pytest.raises(InputError, match="expected an expression table"):
        expression.read_features(tmp_path / "absent", ["A"], kind=kind)
    (tmp_path / "binary").write_bytes(b"\x89HDF\xff\xfe")
    with pytest.raises(InputError, match="expected an expression table"):
        expression.read_features(tmp_path / "binary", ["A"], kind=kind)
    (tmp_path / "empty").touch()
    with pytest.raises(InputError, match="expected"):
        expression.read_features(tmp_path / "empty", ["A"], kind=kind)


@pytest.mark.parametrize("features", [[], ["A", "A"]])
def test_features_must_be_named_once_each(tmp_path, features):
    with pytest.raises(InputError, match="expected distinct features"):
        expression.read_features(mrna(tmp_path, "A|1 1 2 3"), features, kind="mrna")


# One value per patient and sample type


def long(*rows: tuple[str, str, float]) -> pd.DataFrame:
    parts = [("A", sample, sample[:12], sample_type, value) for sample, sample_type, value in rows]
    return pd.DataFrame(parts, columns=["feature", "sample", "patient_id", "sample_type", "value"])


def test_the_alphabetically_last_aliquot_counts_and_the_others_are_counted(caplog):
    table = long((P1_AGAIN, "01", 5.0), (P1, "01", 1.0), (P1_NORMAL, "11", 9.0), (P2, "01", 2.0))
    with caplog.at_level(logging.INFO):
        one = expression.one_value_per_sample_type(table)
    assert one[["patient_id", "sample_type", "value"]].to_numpy().tolist() == [
        ["TCGA-A1-A0SE", "01", 5.0],
        ["TCGA-A1-A0SE", "11", 9.0],
        ["TCGA-A2-A0SW", "01", 2.0],
    ]
    assert "1 values of repeated aliquots left out" in caplog.text


def test_a_last_aliquot_without_a_value_yields_to_the_one_before():
    one = expression.one_value_per_sample_type(long((P1_AGAIN, "01", float("nan")), (P1, "01", 1.0)))
    assert list(one["value"]) == [1.0]


def test_one_barcode_twice_is_one_value_or_an_error():
    assert len(expression.one_value_per_sample_type(long((P1, "01", 1.0), (P1, "01", 1.0)))) == 1
    with pytest.raises(InputError, match=f"sample {P1} stands 2 times with different values"):
        expression.one_value_per_sample_type(long((P1, "01", 1.0), (P1, "01", 2.0)))


# Real tables


def test_the_real_mirna_rpm_table_has_one_repeated_sample(shared_data, caplog):
    table = expression.read_features(
        shared_data / "tcga" / "BRCA_mirna_rpm.csv", ["hsa-mir-17", "hsa-mir-21"], kind="table"
    )
    assert len(table) == 2 * 1190
    with caplog.at_level(logging.INFO):
        one = expression.one_value_per_sample_type(table)
    assert "2 values of repeated aliquots left out" in caplog.text
    assert not one.duplicated(["feature", "patient_id", "sample_type"]).any()
    assert one.groupby("feature")["sample_type"].value_counts()["hsa-mir-17"].to_dict() == {
        "01": 1078,
        "11": 104,
        "06": 7,
    }
    twice = one[(one["patient_id"] == "TCGA-A7-A0DB") & (one["sample_type"] == "01")]
    assert set(twice["sample"]) == {"TCGA-A7-A0DB-01A-11R-A27D-13"}


def test_the_real_pam50_table_is_read_like_an_mrna_table(shared_data):
    path = shared_data / "tcga" / "TCGA_breast_cancer_ERpositive_vs_ERnegative_PAM50.tsv"
    table = expression.read_features(path, ["MKI67"], kind="mrna")
    assert len(table) == 1036
    assert set(table["sample_type"]) == {"01"}
    with open(path, newline="") as lines:
        header, *rows = csv.reader(lines, delimiter="\t")
    row = next(row for row in rows if row[0] == "MKI67")
    assert list(table["value"]) == [float(cell) for cell in row[1:]]
    assert list(table["sample"]) == header[1:]


def test_the_colon_tables_have_a_value_for_every_patient(shared_data):
    for name, feature, kind in (("mrna.geneExp.tsv", "MOSA", "mrna"), ("mirna.csv", "hsa-miR-mosb-5p", "mirna")):
        one = expression.one_value_per_sample_type(
            expression.read_features(shared_data / "colon" / name, [feature], kind=kind)
        )
        assert one["patient_id"].nunique() == len(one) == 60
    with pytest.raises(InputError, match="did you mean hsa-miR-mosb-5p"):
        expression.read_features(shared_data / "colon" / "mirna.csv", ["hsa-mir-mosb"], kind="mirna")
