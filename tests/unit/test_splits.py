"""Patients are split once, by themselves, and without leaks."""

import hashlib
import math
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.lib import files, splits
from workflow_scripts.lib.errors import InputError

PAPER = {"test": 0.1, "validation": 0.1, "rounds": 5}
IDS = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=40)


def many(n: int) -> list[str]:
    return [f"TCGA-{i // 1000:02d}-{i % 1000:04d}" for i in range(n)]


def test_a_table_of_splits_has_the_contract_s_columns_and_a_row_per_patient():
    table = splits.split_patients(["B", "A", "B", "C"], seed=1, **PAPER)
    assert list(table.columns) == ["patient_id", "set", "round_1", "round_2", "round_3", "round_4", "round_5"]
    assert list(table["patient_id"]) == ["A", "B", "C"]


def test_membership_is_a_hash_of_seed_purpose_and_patient_below_the_share():
    # An independent reading of the rule, in exact fractions.
    def share(purpose: str, patient: str) -> Fraction:
        digest = hashlib.sha256(f"7:{purpose}:{patient}".encode()).hexdigest()
        return Fraction(int(digest[:16], 16) // 2**11, 2**53)

    for row in splits.split_patients(many(200), seed=7, **PAPER).itertuples():
        if share("test", row.patient_id) < Fraction(1, 10):
            assert (row.set, row.round_1, row.round_5) == ("test", "", "")
        else:
            assert row.set == "development"
            for name in ("round_1", "round_5"):
                validates = share(name, row.patient_id) < Fraction(1, 9)
                assert getattr(row, name) == ("validation" if validates else "train")


def test_a_split_never_changes():
    # Written down once: a change here moves every patient of every study that was begun.
    table = splits.split_patients([f"P{i}" for i in range(8)], seed=3, test=0.2, validation=0.2, rounds=2)
    short = {"test": "T", "development": "D", "train": "t", "validation": "v", "": "-"}
    words = ["".join(short[word] for word in row[1:]) for row in table.to_numpy().tolist()]
    assert words == ["Dtv", "Dtt", "Dvt", "Dtt", "Dvv", "Dtt", "T--", "Dtt"]


@given(ids=IDS, more=IDS, seed=st.integers(0, 2**32))
def test_adding_patients_moves_no_other(ids, more, seed):
    before = splits.split_patients(ids, seed=seed, **PAPER)
    after = splits.split_patients([*more, *ids], seed=seed, **PAPER)
    kept = after[after["patient_id"].isin(set(ids))].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, before)


@given(
    ids=IDS,
    seed=st.integers(0, 2**32),
    test=st.floats(0, 0.6),
    validation=st.floats(0.01, 0.39),
    rounds=st.integers(1, 7),
)
def test_no_split_leaks(ids, seed, test, validation, rounds):
    table = splits.split_patients(ids, seed=seed, test=test, validation=validation, rounds=rounds)
    splits.assert_leak_free(table)
    splits.check_covers(table, ids, rounds=rounds)
    development = table[table["set"] == "development"]
    assert development.filter(like="round_").isin(["train", "validation"]).all(axis=None)


def test_the_shares_are_of_all_patients():
    n = 20_000
    counts = splits.realised_counts(splits.split_patients(many(n), seed=11, **PAPER)).set_index("part")["n"]

    def near(found: int, share: float) -> bool:
        return abs(found - n * share) < 5 * math.sqrt(n * share * (1 - share))

    assert near(counts["test"], 0.1)
    for number in range(1, 6):
        assert near(counts[f"round_{number} validation"], 0.1)
        assert near(counts[f"round_{number} train"], 0.8)


def test_rounds_and_seeds_are_independent_of_each_other():
    n = 20_000
    table = splits.split_patients(many(n), seed=11, **PAPER)
    development = table[table["set"] == "development"]
    both = ((development["round_1"] == "validation") & (development["round_2"] == "validation")).sum()
    expected = len(development) / 81
    assert abs(both - expected) < 5 * math.sqrt(expected)
    other = splits.split_patients(many(n), seed=12, **PAPER)
    both = ((table["set"] == "test") & (other["set"] == "test")).sum()
    assert abs(both - n / 100) < 5 * math.sqrt(n / 100)


def test_more_test_patients_only_join_the_test_set():
    few = splits.split_patients(many(500), seed=2, test=0.1, validation=0.1, rounds=1)
    more = splits.split_patients(many(500), seed=2, test=0.2, validation=0.1, rounds=1)
    assert (more["set"][few["set"] == "test"] == "test").all()


@pytest.mark.parametrize(
    "wrong",
    [{"test": -0.1}, {"test": 1.0}, {"validation": 0.0}, {"test": 0.5, "validation": 0.5}, {"rounds": 0}],
)
def test_shares_that_leave_nobody_to_train_on_are_refused(wrong):
    with pytest.raises(InputError, match="expected shares"):
        splits.split_patients(["A"], seed=1, **(PAPER | wrong))


@pytest.mark.parametrize("ids", [[], ["A", ""]])
def test_patients_must_have_names(ids):
    with pytest.raises(InputError, match="expected the ids of patients"):
        splits.split_patients(ids, seed=1, **PAPER)


def test_realised_counts_add_up():
    table = splits.split_patients(many(50), seed=1, test=0.2, validation=0.2, rounds=2)
    counts = splits.realised_counts(table).set_index("part")
    assert list(counts.index) == [
        "test",
        "development",
        "round_1 train",
        "round_1 validation",
        "round_2 train",
        "round_2 validation",
    ]
    assert counts.loc[["test", "development"], "n"].sum() == 50
    assert counts.loc[["round_1 train", "round_1 validation"], "n"].sum() == counts.loc["development", "n"]
    assert counts.loc["test", "share"] == counts.loc["test", "n"] / 50


# A split of the user's own


def write(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(row.replace("|", "\t") for row in rows) + "\n")
    return path


HEADER = "patient_id|set|round_1|round_2"


def test_a_split_survives_its_file(tmp_path):
    table = splits.split_patients(many(30), seed=1, **PAPER)
    files.write_table(table, tmp_path / "splits.tsv")
    pd.testing.assert_frame_equal(splits.read_splits(tmp_path / "splits.tsv"), table)
    pd.testing.assert_frame_equal(splits.read_user_split(tmp_path / "splits.tsv"), table)


def test_a_round_that_nobody_is_in_is_read_as_text(tmp_path):
    table = splits.read_splits(write(tmp_path / "splits.tsv", HEADER, "0012|test||", "0013|test||"))
    assert table.to_numpy().tolist() == [["0012", "test", "", ""], ["0013", "test", "", ""]]


def test_a_user_s_split_may_leave_a_patient_out_of_a_round_and_order_as_it_likes(tmp_path):
    path = write(tmp_path / "own.tsv", "set|round_2|patient_id|round_1", "development||007|train", "test||006|")
    table = splits.read_user_split(path)
    assert table.to_numpy().tolist() == [["006", "test", "", ""], ["007", "development", "train", ""]]
    assert list(table.columns) == ["patient_id", "set", "round_1", "round_2"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([HEADER, "A|test||", "A|development|train|train"], "patients in more than one place: A"),
        ([HEADER, "A|development|train|train", "A|development|validation|train"], "in more than one place: A"),
        ([HEADER, "A|training||"], "set of patient A is 'training', expected one of `development`, `test`"),
        ([HEADER, "A|development|val|train"], "round_1 of patient A is 'val', expected one of nothing, `train`"),
        ([HEADER, "A|test||train"], "test patients that take part in round_2: A"),
        ([HEADER, "|test||"], "a row without a patient_id"),
        (["patient|set|round_1", "A|test|"], "expected the columns patient_id, set, round_1"),
        (["patient_id|set", "A|test"], "expected the columns"),
        (["patient_id|set|round_1|round_3", "A|test||"], "expected the columns"),
        (["patient_id|set|round_1|fold", "A|test||"], "expected the columns"),
    ],
)
def test_a_user_s_split_that_cannot_be_used_is_refused(tmp_path, rows, said):
    with pytest.raises(InputError, match=said) as raised:
        splits.read_user_split(write(tmp_path / "own.tsv", *rows))
    assert "own.tsv" in str(raised.value)


def test_a_user_s_split_must_have_every_patient_and_round(tmp_path):
    table = splits.read_user_split(write(tmp_path / "own.tsv", HEADER, "A|test||", "B|development|train|validation"))
    splits.check_covers(table, ["A"], rounds=2)
    with pytest.raises(InputError, match=r"in no set of the split file: P0, P1, P2, P3, P4 and 2 more"):
        splits.check_covers(table, [*(f"P{i}" for i in range(7)), "A"], rounds=2)
    with pytest.raises(InputError, match="has 2 rounds, expected 5"):
        splits.check_covers(table, ["A"], rounds=5)
