"""A cohort is assembled from its tables: a sheet, a split made before any trait, and labels per trait."""

import hashlib
from pathlib import Path

import pandas as pd
import pytest

from workflow_scripts.lib import assembly, cohorts, files, labels, splits
from workflow_scripts.lib.errors import InputError

PATIENTS = [f"TCGA-AA-{number:04d}" for number in range(1, 41)]
NOT_LISTED = "TCGA-AA-9999"
TRAITS = {
    "GENE": {"table": "mrna", "feature": "GENE"},
    "OTHER": {"table": "mrna", "feature": "OTHER|22"},
    "miR": {"table": "mirna", "feature": "hsa-miR-1-5p"},
}
LABELS = {"low": 0.2, "high": 0.8, "near": 0.1, "population": "cohort"}
NO_SLIDES = {"manifest": None, "folder": None, "sheet": None, "exclude": {}}
SPLITS = {"test": 0.2, "validation": 0.3, "rounds": 2}


def slide_of(patient: str, part: str = "01Z-00-DX1") -> str:
    return f"{patient}-{part}.ABC.svs"


@pytest.fixture
def cohort(tmp_path):
    """Forty patients with a slide each, whose GENE and OTHER grow and whose miR falls with their number."""
    folder = tmp_path / "slides"
    folder.mkdir()
    md5 = {patient: hashlib.md5(patient.encode()).hexdigest() for patient in PATIENTS}
    lines = [f"id-{patient}\t{slide_of(patient)}\t{md5[patient]}\t1\treleased" for patient in PATIENTS]
    lines.append(f"id-bad\t{slide_of(NOT_LISTED)}\tno-md5\t1\treleased")
    (tmp_path / "manifest.txt").write_text("id\tfilename\tmd5\tsize\tstate\n" + "\n".join(lines) + "\n")
    aliquots = [f"{patient}-01A-11R-A085-07" for patient in [*PATIENTS, NOT_LISTED]]
    rows = {
        "gene_id": aliquots,
        "GENE|11": [str(number) for number in range(1, 42)],
        "OTHER|22": ["NA", *(str(number / 2) for number in range(2, 42))],
        "OTHER|33": ["7"] * 41,
    }
    (tmp_path / "mrna.tsv").write_text("".join("\t".join([name, *cells]) + "\n" for name, cells in rows.items()))
    mirna = [["Genes", "Correction", *aliquots], ["hsa-miR-1-5p", "Corrected", *(str(-n) for n in range(1, 42))]]
    (tmp_path / "mirna.csv").write_text("".join(",".join(row) + "\n" for row in mirna))
    clinical = [f"{patient}\t{number}\t{'DECEASED' if number % 2 else 'LIVING'}" for number, patient in
                enumerate([*PATIENTS, NOT_LISTED])]  # fmt: skip
    (tmp_path / "clinical.tsv").write_text(
        "Patient ID\tOverall Survival (Months)\tOverall Survival Status\n" + "\n".join(clinical) + "\n"
    )
    return tmp_path


def assemble(folder: Path, **changes) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, pd.DataFrame]]:
    """Assemble the cohort into `folder`/out and read the three outputs back."""
    out = folder / "out"
    arguments = {
        "slides": {
            "manifest": str(folder / "manifest.txt"),
            "folder": str(folder / "slides"),
            "sheet": None,
            "exclude": {},
        },
        "expression_tables": {
            "mrna": {"path": str(folder / "mrna.tsv"), "kind": "mrna", "sample_type": None},
            "mirna": {"path": str(folder / "mirna.csv"), "kind": "mirna", "sample_type": None},
        },
        "path_to_clinical": str(folder / "clinical.tsv"),
        "path_to_split": None,
        "traits": TRAITS,
        "label_settings": LABELS,
        "split_settings": SPLITS,
        "seed": 6,
    } | changes
    assembly.assemble_cohort(
        **arguments,
        path_to_sheet=out / "sheet.tsv",
        path_to_splits=out / "splits.tsv",
        folder_of_labels=out / "labels",
    )
    traits = list(arguments["traits"])
    return (
        files.read_table(out / "sheet.tsv", text=cohorts.SHEET_TEXT),
        splits.read_splits(out / "splits.tsv"),
        labels.read_labels(out / "labels", traits),
    )


def test_three_outputs_come_of_a_manifest_expression_and_a_clinical_table(cohort):
    sheet, split, tables = assemble(cohort)
    assert len(sheet) == 41
    assert split["patient_id"].tolist() == PATIENTS
    assert list(split.columns) == ["patient_id", "set", "round_1", "round_2"]
    assert list(tables) == ["GENE", "OTHER", "miR"]
    assert sorted(path.name for path in (cohort / "out" / "labels").iterdir()) == ["GENE.tsv", "OTHER.tsv", "miR.tsv"]


def test_a_slide_takes_its_patients_value_and_percentile(cohort):
    _, _, tables = assemble(cohort)
    gene = tables["GENE"].set_index("patient_id")
    assert gene.loc[PATIENTS, "value"].tolist() == list(range(1, 41))
    # Of 41 patients with a value NOT_LISTED has the highest: percentile = (rank - 0.5) / 41.
    assert gene.loc[PATIENTS[2], "percentile"] == 2.5 / 41
    # At most 0.2: up to rank 8 (0.183; 9 is 0.207). At least 0.8: from rank 34 (0.817; 33 is 0.793).
    assert gene.loc[PATIENTS, "label"].tolist() == [*[0] * 8, *[pd.NA] * 25, *[1] * 7]


def test_the_reference_population_may_be_those_with_slides(cohort):
    _, _, tables = assemble(cohort, label_settings=LABELS | {"population": "slides"})
    gene = tables["GENE"].set_index("patient_id")
    assert gene.loc[PATIENTS[2], "percentile"] == 2.5 / 40
    # From rank 33 (0.8125) on.
    assert gene.loc[PATIENTS, "label"].tolist() == [*[0] * 8, *[pd.NA] * 24, *[1] * 8]


def test_each_trait_has_the_values_of_its_own_feature(cohort):
    _, _, tables = assemble(cohort)
    assert tables["miR"].set_index("patient_id").loc[PATIENTS, "value"].tolist() == list(range(-1, -41, -1))
    other = tables["OTHER"].set_index("patient_id")
    assert other.loc[PATIENTS[1:], "value"].tolist() == [number / 2 for number in range(2, 41)]
    assert other.loc[PATIENTS[0], "tier"] == "unlabelled"


def test_two_traits_may_be_of_one_feature(cohort):
    twice = {"one": TRAITS["GENE"], "two": TRAITS["GENE"]}
    _, _, tables = assemble(cohort, traits=twice)
    pd.testing.assert_frame_equal(tables["one"], tables["two"])


def test_an_excluded_line_with_a_patient_gets_no_part_and_no_label(cohort):
    # Its name tells its patient, who has expression and survival too; its md5 is none.
    sheet, split, tables = assemble(cohort)
    excluded = sheet[sheet["status"] == "excluded"]
    assert excluded["file"].tolist() == [slide_of(NOT_LISTED)]
    assert NOT_LISTED not in set(split["patient_id"])
    for table in tables.values():
        assert table["patient_id"].tolist() == PATIENTS


def test_the_split_is_that_of_the_patients_and_the_seed_alone(cohort):
    _, split, _ = assemble(cohort)
    expected = splits.split_patients(PATIENTS, seed=6, **SPLITS)
    assert split.to_dict("list") == expected.to_dict("list")
    _, same, _ = assemble(cohort, traits={"miR": TRAITS["miR"]}, label_settings=LABELS | {"low": 0.1})
    assert same.to_dict("list") == expected.to_dict("list")
    _, other, _ = assemble(cohort, seed=9)
    assert other.to_dict("list") != expected.to_dict("list")


def own_split(*, validation: tuple[int, ...] = (2, 39)) -> pd.DataFrame:
    """Patient 1 tests, those of `validation` (their numbers) validate in both rounds, and the others train."""
    own = pd.DataFrame({"patient_id": PATIENTS, "set": "development", "round_1": "train", "round_2": "train"})
    own.loc[[number - 1 for number in validation], ["round_1", "round_2"]] = "validation"
    own.loc[0, ["set", "round_1", "round_2"]] = ["test", "", ""]
    return own


def test_a_split_of_ones_own_replaces_the_seeded_one(cohort):
    own = own_split()
    files.write_table(own, cohort / "own.tsv")
    _, split, _ = assemble(cohort, path_to_split=str(cohort / "own.tsv"))
    assert split.to_dict("list") == own.to_dict("list")


def test_a_split_of_ones_own_that_lacks_a_patient_or_leaks_is_refused(cohort):
    own = pd.DataFrame({"patient_id": PATIENTS[1:], "set": "development", "round_1": "train", "round_2": "train"})
    files.write_table(own, cohort / "own.tsv")
    with pytest.raises(InputError, match=f"in no set of the split file: {PATIENTS[0]}"):
        assemble(cohort, path_to_split=str(cohort / "own.tsv"))
    files.write_table(own.assign(set="test"), cohort / "own.tsv")
    with pytest.raises(InputError, match="test patients that take part in round_1"):
        assemble(cohort, path_to_split=str(cohort / "own.tsv"))
    assert not (cohort / "out").exists()


@pytest.mark.parametrize(
    ("column", "emptied", "instead", "part"),
    [
        ("set", "test", "development", "test"),
        ("round_2", "train", "", "round_2 train"),
        ("round_1", "validation", "train", "round_1 validation"),
    ],
)
def test_a_set_without_a_patient_of_the_cohort_is_refused_at_once(cohort, column, emptied, instead, part):
    own = own_split()
    own[column] = own[column].replace(emptied, instead)
    # One who is not of the cohort does not help.
    own.loc[len(own)] = {"patient_id": "X", "set": "development", "round_1": "", "round_2": ""} | {column: emptied}
    files.write_table(own, cohort / "own.tsv")
    with pytest.raises(
        InputError, match=rf"found none in {part}\. Give that set a larger share .* another study\.seed"
    ):
        assemble(cohort, path_to_split=str(cohort / "own.tsv"))
    assert not (cohort / "out").exists()


def test_a_seed_that_leaves_the_test_set_empty_is_refused(cohort):
    with pytest.raises(InputError, match=r"split of 40 patients: .* found none in test\."):
        assemble(cohort, split_settings=SPLITS | {"test": 1e-9})


def test_a_round_that_trains_on_one_label_alone_is_refused(cohort):
    # All of label 1 (34 to 40) validate; 1, of label 0, tests.
    files.write_table(own_split(validation=(2, *range(34, 41))), cohort / "own.tsv")
    said = "GENE, round 1: .* found 6 of label 0 and 0 of label 1 in the training set, 8 in the validation set"
    with pytest.raises(InputError, match=said):
        assemble(cohort, path_to_split=str(cohort / "own.tsv"))
    assert not (cohort / "out").exists()


def test_a_round_that_validates_on_no_label_is_refused(cohort):
    files.write_table(own_split(validation=(20, 21)), cohort / "own.tsv")
    said = "found 7 of label 0 and 7 of label 1 in the training set, 0 in the validation set"
    with pytest.raises(InputError, match=said):
        assemble(cohort, path_to_split=str(cohort / "own.tsv"))


def test_a_round_that_validates_on_one_label_alone_is_warned_of(cohort, caplog):
    files.write_table(own_split(validation=(2, 3)), cohort / "own.tsv")
    assemble(cohort, path_to_split=str(cohort / "own.tsv"), traits={"GENE": TRAITS["GENE"]})
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warned == [
        f"GENE, round {number}: all labelled slides of the validation set (2) have the label 0: its AUC is NA"
        for number in (1, 2)
    ]


def test_slides_may_come_from_a_folder_or_from_a_sheet(cohort):
    for patient in PATIENTS:
        (cohort / "slides" / slide_of(patient)).touch()
    folder, _, _ = assemble(cohort, slides=NO_SLIDES | {"folder": str(cohort / "slides")})
    assert folder["patient_id"].tolist() == PATIENTS
    own = "file\tpatient_id\tmpp\n" + "".join(f"slides/{slide_of(patient)}\t{patient}\t0.25\n" for patient in PATIENTS)
    (cohort / "own.tsv").write_text(own)
    sheet, _, _ = assemble(cohort, slides=NO_SLIDES | {"sheet": str(cohort / "own.tsv")})
    assert sheet["patient_id"].tolist() == PATIENTS
    assert sheet["mpp"].tolist() == [0.25] * 40


def test_a_folder_or_a_sheet_may_list_photographs(tmp_path):
    for name in ("a.jpg", "b.png", "c.svs"):
        (tmp_path / name).touch()
    (tmp_path / "own.tsv").write_text("file\tpatient_id\na.jpg\tP\nc.svs\tP\n")
    in_folder = {"manifest": None, "folder": str(tmp_path), "sheet": None, "exclude": {"b": "out of focus"}}
    sheet = assembly.list_slides(**in_folder, photographs=True)
    assert sheet["slide_id"].tolist() == ["a", "b"]
    assert sheet["reason"].tolist() == ["", "left out: out of focus"]
    in_sheet = in_folder | {"folder": None, "sheet": str(tmp_path / "own.tsv"), "exclude": {}}
    assert assembly.list_slides(**in_sheet, photographs=True)["status"].tolist() == ["listed", "excluded"]


def test_a_slide_is_left_out_by_its_name_with_the_reason(cohort):
    slides = {"manifest": str(cohort / "manifest.txt"), "folder": str(cohort / "slides"), "sheet": None}
    out = {slide_of(PATIENTS[0]): "pen all over", slide_of(PATIENTS[1]).removesuffix(".svs"): "of another study"}
    sheet, split, tables = assemble(cohort, slides=slides | {"exclude": out})
    rows = sheet.set_index("patient_id")
    assert rows.loc[PATIENTS[0], "reason"] == "left out: pen all over"
    assert rows.loc[PATIENTS[1], "reason"] == "left out: of another study"
    assert set(split["patient_id"]) == set(tables["GENE"]["patient_id"]) == set(PATIENTS[2:])


def test_a_name_to_leave_out_that_is_no_slides_is_answered_with_the_nearest(cohort):
    slides = {"manifest": str(cohort / "manifest.txt"), "folder": str(cohort / "slides"), "sheet": None}
    with pytest.raises(InputError, match=r"no slide 'TCGA-AA-0001-01Z-00-DX2.ABC.svs'.*did you mean 'TCGA-AA-0001-01Z"):
        assemble(cohort, slides=slides | {"exclude": {slide_of(PATIENTS[0], "01Z-00-DX2"): "no reason"}})


def test_values_of_patients_label_slides_only_once_their_sample_type_is_stated(cohort):
    (cohort / "own.csv").write_text("patient,SCORE\n" + "".join(f"{who},{n}\n" for n, who in enumerate(PATIENTS)))
    table = {"path": str(cohort / "own.csv"), "kind": "table", "sample_type": "01"}
    traits = {"score": {"table": "own", "feature": "SCORE"}}
    _, _, tables = assemble(cohort, traits=traits, expression_tables={"own": table})
    assert tables["score"].set_index("patient_id").loc[PATIENTS, "value"].tolist() == list(range(40))
    with pytest.raises(InputError, match="none of 40 slides can be placed by SCORE"):
        assemble(cohort, traits=traits, expression_tables={"own": table | {"sample_type": None}})


def test_no_slide_is_opened(cohort):
    # None of the manifest's slides is there.
    assert list((cohort / "slides").iterdir()) == []
    sheet, _, _ = assemble(cohort)
    assert (sheet["status"] == "listed").sum() == 40


def test_a_trait_whose_table_is_not_given_is_named(cohort):
    with pytest.raises(InputError, match="miR: no mirna table is given for this cohort"):
        mrna = {"path": str(cohort / "mrna.tsv"), "kind": "mrna", "sample_type": None}
        assemble(cohort, expression_tables={"mrna": mrna})


def test_a_feature_that_is_not_in_its_table_is_refused(cohort):
    with pytest.raises(InputError, match="no feature 'hsa-mir-1'"):
        assemble(cohort, traits={"miR": {"table": "mirna", "feature": "hsa-mir-1"}})


def test_all_features_that_are_not_in_a_table_are_named_at_once(cohort):
    traits = {name: {"table": "mrna", "feature": name} for name in ("GENO", "GENE", "OTHR")}
    with pytest.raises(InputError, match=r"no feature 'GENO'.*did you mean GENE\|11\?\n.*no feature 'OTHR'"):
        assemble(cohort, traits=traits)


def test_a_cohort_without_a_death_is_refused(cohort):
    text = (cohort / "clinical.tsv").read_text().replace("DECEASED", "LIVING")
    (cohort / "clinical.tsv").write_text(text)
    with pytest.raises(InputError, match="no event among 41 patients"):
        assemble(cohort)
    assert not (cohort / "out").exists()


def test_the_same_tables_give_the_same_bytes(cohort):
    assemble(cohort)
    first = {path.name: path.read_bytes() for path in (cohort / "out").rglob("*.tsv")}
    assemble(cohort)
    assert {path.name: path.read_bytes() for path in (cohort / "out").rglob("*.tsv")} == first
