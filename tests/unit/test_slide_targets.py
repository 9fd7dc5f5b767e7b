"""Targets of whole slides: values, folds, and who is left out and why."""

import pandas as pd
import pytest

from workflow_scripts.lib import files, slide_targets, splits
from workflow_scripts.lib.errors import InputError

SEED = 3
CLINICAL = "Patient ID\tOverall Survival (Months)\tOverall Survival Status\n"


def slides(prefix: str, n: int, *, per_patient: int = 1) -> pd.DataFrame:
    """A table `slides.tsv`: n accepted slides of n / per_patient patients."""
    return pd.DataFrame(
        {
            "slide_id": [f"{prefix}{number}" for number in range(n)],
            "patient_id": [f"{prefix}-patient-{number // per_patient}" for number in range(n)],
            "status": "accepted", "reason": "", "n_tiles": 9,
        }
    )  # fmt: skip


def number_table(path, of: pd.DataFrame, key: str = "slide_id"):
    table = of[[key]].drop_duplicates().assign(speed=[str(0.1 * place) for place in range(of[key].nunique())])
    files.write_table(table, path)
    return path


def describe(tmp_path, development, *others, **asked):
    every = pd.concat([development, *others])
    given = {"path_to_table": number_table(tmp_path / "table.tsv", every), "column": "speed", "seed": SEED, **asked}
    folds, kind = given.pop("folds", 4), given.pop("kind", "number")
    found = slide_targets.describe_target(
        development, cohort="development", kind=kind, folds=folds, is_tested_elsewhere=bool(others), **given
    )
    for external in others:
        found = slide_targets.with_tested(found, external, cohort="external", **given)
    return found


def parts(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[[f"model_{number}" for number in range(1, 5)]]


def test_with_an_external_cohort_a_fold_validates_one_model_and_trains_the_others(tmp_path):
    found = describe(tmp_path, slides("d", 40), slides("e", 6))
    of_development = found[found["cohort"] == "development"]
    for row in of_development.itertuples():
        expected = ["validation" if number == row.fold else "train" for number in range(1, 5)]
        assert [row.model_1, row.model_2, row.model_3, row.model_4] == expected
    external = found[found["cohort"] == "external"]
    assert (parts(external) == "test").all(axis=None)
    assert external["fold"].isna().all()


def test_without_one_two_folds_train_one_validates_and_each_patient_is_tested_once(tmp_path):
    found = describe(tmp_path, slides("d", 40, per_patient=2))
    of_slides = parts(found).apply(lambda row: sorted(row), axis=1)
    assert all(row == ["test", "train", "train", "validation"] for row in of_slides)
    assert (found.groupby("patient_id")["fold"].nunique() == 1).all()
    for number in range(1, 5):
        sets = found.groupby(f"model_{number}")["patient_id"].agg(set)
        assert not (sets["train"] & sets["test"] or sets["train"] & sets["validation"])
        assert not sets["validation"] & sets["test"]


def test_a_patient_who_joins_moves_no_other(tmp_path):
    before = describe(tmp_path, slides("d", 40)).set_index("slide_id")["fold"]
    after = describe(tmp_path, slides("d", 41)).set_index("slide_id")["fold"]
    assert after[before.index].equals(before)


def test_a_value_may_be_of_the_patient(tmp_path):
    development = slides("d", 40, per_patient=2)
    path = number_table(tmp_path / "by_patient.tsv", development, key="patient_id")
    found = describe(tmp_path, development, path_to_table=path)
    assert found["value"].tolist() == pytest.approx([0.1 * (number // 2) for number in range(40)])


def test_classes_are_numbered_as_they_are_asked_for_and_others_are_out(tmp_path):
    development = slides("d", 40)
    names = ["rim", "none", "mixed", ""] * 10
    files.write_table(development[["slide_id"]].assign(growth=names), tmp_path / "growth.tsv")
    found = describe(
        tmp_path,
        development,
        kind="class",
        path_to_table=tmp_path / "growth.tsv",
        column="growth",
        classes=["none", "rim"],
    )
    assert found["value"][:2].tolist() == [1.0, 0.0]
    assert found["reason"][:4].tolist() == ["", "", "growth mixed, which is not asked for", "no growth"]
    assert (parts(found[found["reason"] != ""]) == "").all(axis=None)


def test_survival_comes_from_the_clinical_file_and_who_has_none_is_out(tmp_path):
    development = slides("d", 40)
    lines = [f"{who}\t{place}.5\t{'1:DECEASED' if place % 2 else '0:LIVING'}" for place, who in
             enumerate(development["patient_id"][:-1])]  # fmt: skip
    (tmp_path / "clinical.tsv").write_text(CLINICAL + "\n".join(lines) + "\n")
    asked = {"kind": "survival", "path_to_table": None, "column": None, "path_to_clinical": tmp_path / "clinical.tsv"}
    found = describe(tmp_path, development, **asked)
    assert found.loc[1, ["time", "event"]].tolist() == [1.5, 1.0]
    assert found["reason"].iloc[-1] == "no survival data"
    # A class may be followed by survival without needing it.
    names = development[["slide_id"]].assign(growth=["rim", "none"] * 20)
    files.write_table(names, tmp_path / "growth.tsv")
    asked |= {"kind": "class", "path_to_table": tmp_path / "growth.tsv", "column": "growth", "classes": ["none", "rim"]}
    assert (describe(tmp_path, development, **asked)["reason"] == "").all()


def test_slides_without_tissue_or_refused_keep_their_reason(tmp_path):
    development = slides("d", 40)
    development.loc[0, ["status", "reason", "n_tiles"]] = ["excluded", "no µm/px", 0]
    development.loc[1, "n_tiles"] = 0
    assert describe(tmp_path, development)["reason"][:3].tolist() == ["no µm/px", "no tissue", ""]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"column": "haste"}, "expected the columns slide_id or patient_id, and haste, found slide_id, speed"),
        ({"folds": 20}, "expected slides in each of 20 folds"),
    ],
)
def test_what_cannot_be_learnt_is_refused(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        describe(tmp_path, slides("d", 20), **change)


def test_what_a_single_model_could_not_learn_is_refused_before_anything_is_trained(tmp_path):
    development = slides("d", 40)
    names = development[["slide_id"]].assign(growth=["rim", *["none"] * 39])
    files.write_table(names, tmp_path / "growth.tsv")
    asked = {"kind": "class", "path_to_table": tmp_path / "growth.tsv", "column": "growth", "classes": ["none", "rim"]}
    with pytest.raises(
        InputError, match=r"model \d learns from \d+ slides: expected some of each class, found none of rim"
    ):
        describe(tmp_path, development, **asked)


@pytest.mark.parametrize(
    ("key", "many", "other"), [("patient_id", "patients", "d-patient-3"), ("slide_id", "slides", "d3")]
)
def test_a_patient_or_slide_in_both_cohorts_is_refused(tmp_path, key, many, other):
    development, external = slides("d", 40), slides("e", 6)
    path = number_table(tmp_path / "by_slide.tsv", development)
    external.loc[0, key] = other
    with pytest.raises(InputError, match=f"1 {many} of development are in external too"):
        describe(tmp_path, development, external, path_to_table=path)


def test_slides_of_an_external_cohort_are_tested_whether_their_value_is_known_here_or_not(tmp_path):
    development, external = slides("d", 40), slides("e", 6)
    external.loc[0, "n_tiles"] = 0
    path = number_table(tmp_path / "without_external.tsv", development)
    found = describe(tmp_path, development, external, path_to_table=path).query("cohort == 'external'")
    assert found["value"].isna().all()
    assert found["model_1"].tolist() == ["", *["test"] * 5]
    assert found["reason"].tolist() == ["no tissue", *[""] * 5]


def test_another_external_cohort_changes_nothing_of_what_is_learnt_from(tmp_path):
    alone, both = (describe(tmp_path, slides("d", 40), slides(name, 6)) for name in ("e", "f"))
    assert both.iloc[:40].drop(columns="value").equals(alone.iloc[:40].drop(columns="value"))


def test_a_number_that_is_none_and_a_slide_named_twice_are_refused(tmp_path):
    development = slides("d", 40)
    path = tmp_path / "bad.tsv"
    for strange in ("fast", "inf"):
        files.write_table(development[["slide_id"]].assign(speed=[strange, *["1"] * 39]), path)
        with pytest.raises(InputError, match=f"expected numbers in speed, found '{strange}' of d0"):
            describe(tmp_path, development, path_to_table=path)
    files.write_table(pd.DataFrame({"slide_id": ["d1", "d1"], "speed": ["1", "2"]}), path)
    with pytest.raises(InputError, match="expected one row per slide_id, found d1 twice"):
        describe(tmp_path, development, path_to_table=path)


def test_a_trait_is_a_target_with_the_chains_labels_and_a_model_per_round():
    of = slides("d", 5)
    labels = of[["slide_id", "patient_id"]].assign(
        label=pd.array([0, 1, 1, None, None], dtype="Int64"), tier=["in", "in", "in", "ood_near", "unlabelled"]
    )
    split = pd.DataFrame(
        {
            "patient_id": of["patient_id"],
            "set": ["development", "development", "test", "development", "development"],
            "round_1": ["train", "validation", "", "train", "train"],
            "round_2": ["validation", "train", "", "train", "train"],
        }
    )
    found = slide_targets.describe_trait(of, labels, split, cohort="brca")
    assert found["model_1"].tolist() == ["train", "validation", "test", "test", ""]
    assert found["model_2"].tolist() == ["validation", "train", "test", "test", ""]
    assert found["reason"].tolist() == ["", "", "", "", "no expression"]
    assert found["value"][:3].tolist() == [0, 1, 1]


def test_shuffled_values_go_to_other_patients_of_their_cohort(tmp_path):
    development, external = slides("d", 40, per_patient=2), slides("e", 6)
    path = number_table(tmp_path / "by_patient.tsv", pd.concat([development, external]), key="patient_id")
    plain, found = (
        describe(tmp_path, development, external, path_to_table=path, is_shuffled=is_shuffled)
        for is_shuffled in (False, True)
    )
    for cohort in ("development", "external"):
        before, after = (of.loc[of["cohort"] == cohort, "value"] for of in (plain, found))
        assert sorted(before) == sorted(after)
    # A patient's two slides still have one value, and the folds are as they were.
    assert (found.groupby("patient_id")["value"].nunique() == 1).all()
    assert (found["value"] != plain["value"]).mean() > 0.5
    assert found["fold"].equals(plain["fold"])


def test_a_table_reads_back_as_it_was_written(tmp_path):
    found = describe(tmp_path, slides("d", 40), slides("e", 6))
    files.write_table(found, tmp_path / "slides.tsv")
    pd.testing.assert_frame_equal(slide_targets.read_slides(tmp_path / "slides.tsv"), found)


def test_folds_are_about_equal():
    counts = pd.Series([splits.fold_of(f"p{n}", folds=4, seed=1) for n in range(4000)]).value_counts()
    assert counts.index.sort_values().tolist() == [1, 2, 3, 4]
    assert counts.between(900, 1100).all()
