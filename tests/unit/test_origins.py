"""The slides of the study of metastatic origin: classes, domains, sets, and the balance of primaries."""

import pandas as pd
import pytest

from workflow_scripts.lib import origin_scores, origins, splits
from workflow_scripts.lib.domains import DOMAINS
from workflow_scripts.lib.errors import InputError

CLASSES = ["sarcoma", "melanoma"]


def sheet(*slides: tuple[str, str, str], status: str = "listed") -> pd.DataFrame:
    """A slide sheet of (slide_id, patient_id, class)."""
    return pd.DataFrame(slides, columns=["slide_id", "patient_id", "class"]).assign(status=status)


def split(**sets: str) -> pd.DataFrame:
    """A table of splits: the set of each patient."""
    rows = [
        (patient, "test", "") if name == "test" else (patient, "development", name) for patient, name in sets.items()
    ]
    return pd.DataFrame(rows, columns=["patient_id", "set", "round_1"])


def select(primary, metastatic, split_of_primary, split_of_metastatic=None, **options):
    splits_of = [split_of_primary, split_of_primary if split_of_metastatic is None else split_of_metastatic]
    options = {"classes": CLASSES, "control": "liver", "balanced": True, "seed": 1} | options
    return origins.select_slides(
        {"primary": primary, "metastatic": metastatic},
        dict(zip(DOMAINS, splits_of, strict=True)),
        **options,
    )  # fmt: skip


SETS = split(A="train", B="train", C="validation", D="test", E="test", F="")
METASTATIC = sheet(
    ("m1", "A", "sarcoma"), ("m2", "B", "melanoma"), ("m3", "C", "sarcoma"), ("m4", "D", "melanoma"),
    ("m5", "E", "sarcoma"), ("l1", "A", "liver"),
)  # fmt: skip
PRIMARY = sheet(("p1", "A", "sarcoma"), ("p2", "B", "melanoma"), ("l2", "D", "liver"), ("p3", "C", "sarcoma"))


def test_a_slide_is_in_the_set_of_its_patient():
    table = select(PRIMARY, METASTATIC, SETS).set_index("slide_id")
    assert table["set"].to_dict() == {
        "p1": "train", "p2": "train", "l2": "test", "p3": "validation",
        "m1": "train", "m2": "train", "m3": "validation", "m4": "test",
        "m5": "test", "l1": "train",
    }  # fmt: skip
    assert set(table.loc[["p1", "p2", "l2"], "domain"]) == {"primary"}
    assert (table["reason"] == "").all()


def test_labels_are_places_in_the_order_of_the_classes_and_the_control_has_none():
    table = select(PRIMARY, METASTATIC, SETS)
    assert origins.labels_of_set(table, CLASSES, domain="metastatic", name="train") == {"m1": 0, "m2": 1}
    assert origins.labels_of_set(table, CLASSES[::-1], domain="metastatic", name="train") == {"m1": 1, "m2": 0}
    assert origins.labels_of_set(table, CLASSES, domain="metastatic", name="test") == {"m4": 1, "m5": 0}


def test_of_each_class_and_set_there_are_no_more_primaries_than_metastases():
    many = [(f"q{number}", "A" if number % 2 else "B", "sarcoma") for number in range(9)]
    table = select(
        sheet(*many, ("p2", "B", "melanoma"), ("p3", "C", "sarcoma"), ("v", "C", "melanoma")), METASTATIC, SETS
    )
    primary = table[table["domain"] == "primary"]
    assert (primary["set"] == "train").sum() == 2
    # No metastasis of this class validates.
    assert primary.set_index("slide_id").at["v", "reason"] == "balanced: 0 metastatic slides of melanoma in validation"
    everything = select(sheet(*many, ("p2", "B", "melanoma"), ("p3", "C", "sarcoma")), METASTATIC, SETS, balanced=False)
    assert (everything["reason"] == "").all()


def test_a_primary_that_joins_moves_at_most_one_other_out():
    few = [(f"q{number}", "A", "sarcoma") for number in range(5)]
    more = sheet(("m6", "B", "sarcoma"), *METASTATIC[["slide_id", "patient_id", "class"]].itertuples(index=False))

    def used(*slides):
        table = select(sheet(*slides, ("p2", "B", "melanoma"), ("p3", "C", "sarcoma")), more, SETS)
        return set(table.loc[(table["reason"] == "") & (table["domain"] == "primary"), "slide_id"])

    before, after = used(*few), used(*few, ("q9", "B", "sarcoma"))
    assert len(before) == len(after) == 4
    assert len(before - after) <= 1


def test_a_slide_of_no_class_or_another_or_of_nobody_says_why_it_is_out():
    of = PRIMARY.drop(columns="status").itertuples(index=False)
    added = sheet(*of, ("x", "A", ""), ("y", "A", "glioma"), ("z", "F", "sarcoma"))
    table = select(added, METASTATIC, SETS).set_index("slide_id")
    assert table.loc[["x", "y", "z"], "set"].tolist() == ["", "", ""]
    assert table.loc[["x", "y", "z"], "reason"].tolist() == [
        "the sheet gives no class",
        "class glioma is not among those of the study",
        "the split gives the patient no part",
    ]


def test_a_class_with_the_name_of_a_column_is_refused_before_anything_is_trained():
    assert set(origins.TAKEN) == {*origin_scores.DESCRIBED, origin_scores.MACRO}
    with pytest.raises(InputError, match="found tiles; rename the class"):
        select(PRIMARY, METASTATIC, SETS, classes=[*CLASSES, "tiles"])


def test_excluded_slides_are_not_in_the_table():
    excluded = sheet(("bad", "A", "sarcoma"), status="excluded")
    table = select(pd.concat([PRIMARY, excluded]), METASTATIC, SETS)
    assert "bad" not in set(table["slide_id"])


def test_a_patient_in_two_sets_by_the_two_splits_is_refused():
    of_metastases = split(A="test", B="train", C="validation", D="test", E="train")
    with pytest.raises(
        InputError, match=r"1 patients are in one set .* the first of them A; give both cohorts one split"
    ):
        select(PRIMARY[:2], METASTATIC, split(A="train", B="train"), of_metastases)


def test_the_seeded_split_puts_a_patient_of_both_cohorts_into_one_set():
    patients = [f"P{number}" for number in range(200)]
    made = [splits.split_patients(of, seed=3, test=0.2, validation=0.2, rounds=1) for of in (patients, patients[50:])]
    sets = [table.set_index("patient_id") for table in made]
    assert (sets[0].loc[patients[50:]] == sets[1].loc[patients[50:]]).all(axis=None)


def test_a_slide_in_both_cohorts_is_refused():
    with pytest.raises(InputError, match="1 slides are in both cohorts, the first of them m1"):
        select(sheet(("m1", "A", "sarcoma"), ("p2", "B", "melanoma")), METASTATIC, SETS)


def test_a_class_without_training_slides_is_named_with_its_domain():
    with pytest.raises(InputError, match="primary: no training slide of melanoma"):
        select(PRIMARY[:1], METASTATIC, SETS)


def test_a_domain_without_validation_slides_is_refused_before_anything_is_trained():
    with pytest.raises(InputError, match="primary: no validation slide of any class"):
        select(PRIMARY[:3], METASTATIC, SETS)


def test_a_class_without_training_metastases_is_not_blamed_on_its_primaries():
    with pytest.raises(InputError, match="metastatic: no training slide of melanoma"):
        select(PRIMARY, METASTATIC[METASTATIC["slide_id"] != "m2"], SETS)


def test_a_class_that_nobody_tests_is_a_warning_and_none_at_all_an_error(caplog):
    table = select(PRIMARY, METASTATIC[METASTATIC["slide_id"] != "m4"], SETS)
    assert "no AUROC, of melanoma" in caplog.text
    assert len(table)
    with pytest.raises(InputError, match="no held-out metastatic slide of any class"):
        select(PRIMARY, METASTATIC[~METASTATIC["slide_id"].isin(["m4", "m5"])], SETS)


def test_shuffled_labels_are_the_same_labels_on_the_same_slides():
    labels = {f"s{number}": number % 5 for number in range(50)}
    dealt = origins.shuffled(labels, seed=4)
    assert list(dealt) == list(labels)
    assert sorted(dealt.values()) == sorted(labels.values())
    assert dealt != labels
    assert dealt == origins.shuffled(labels, seed=4) != origins.shuffled(labels, seed=5)


def test_the_data_are_counted_by_class_and_domain_with_the_control_last_and_slides_without_tiles_apart():
    table = select(PRIMARY, METASTATIC, SETS)
    tiles = dict.fromkeys(table["slide_id"], 10) | {"m5": 0}
    data = origins.describe_data(
        table.assign(tiles=table["slide_id"].map(tiles)), classes=CLASSES, control="liver"
    )  # fmt: skip
    assert list(data.itertuples(index=False, name=None)) == [
        ("sarcoma", "primary", 2, 2, 20, 0), ("sarcoma", "metastatic", 2, 2, 20, 1),
        ("melanoma", "primary", 1, 1, 10, 0), ("melanoma", "metastatic", 2, 2, 20, 0),
        ("liver", "primary", 1, 1, 10, 0), ("liver", "metastatic", 1, 1, 10, 0),
    ]  # fmt: skip
