"""One split of the patients for all traits: a held-out test set, and rounds of training and validation.

Who is in which set depends on the seed and on the patient's own id alone, so that a patient who joins or leaves moves
no other. The price is that sizes vary around their shares; `realised_counts` says what they came to.

A table of splits has the columns patient_id, set (`test` or `development`) and round_1, round_2, … (`train`,
`validation`, or '' for a patient who takes no part in that round; always '' for a test patient).

Source: Paper: Results, Training models (split on subjects, before any trait is processed, the same for all traits).
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from workflow_scripts.lib import files
from workflow_scripts.lib.errors import InputError

TEST, DEVELOPMENT = "test", "development"
TRAIN, VALIDATION = "train", "validation"


def split_patients(
    patient_ids: Iterable[str], *, seed: int, test: float, validation: float, rounds: int
) -> pd.DataFrame:
    """Split patients by seeded hashes of their ids; a row per distinct patient, in alphabetical order.

    `test` and `validation` are shares of *all* patients, as the paper gives them (0.1 and 0.1, which leaves 0.8 for
    training): a development patient validates with probability validation / (1 - test). The rounds are drawn
    independently of each other, without replacement within a round; what the paper calls bootstrap is that in its code.

    Raises InputError when there is no patient, an id is empty, or the shares leave nobody to train on.
    """
    ids = sorted(set(patient_ids))
    if not ids or not all(ids):
        raise InputError(
            f"expected the ids of patients to split, found {len(ids)} of them, {'an' if ids else 'no'} empty one."
        )
    if not (0 <= test < 1 and 0 < validation < 1 - test and rounds >= 1):
        raise InputError(
            f"expected shares with 0 ≤ test, 0 < validation and test + validation < 1, and at least one round, "
            f"found test = {test}, validation = {validation}, rounds = {rounds}."
        )
    held_out = [_uniform(seed, TEST, patient) < test for patient in ids]
    columns: dict[str, list[str]] = {
        "patient_id": ids,
        "set": [TEST if out else DEVELOPMENT for out in held_out],
    }
    share = validation / (1 - test)
    for name in _round_names(rounds):
        drawn = [VALIDATION if _uniform(seed, name, patient) < share else TRAIN for patient in ids]
        columns[name] = ["" if out else place for out, place in zip(held_out, drawn, strict=True)]
    return pd.DataFrame(columns)


def fold_of(patient_id: str, *, folds: int, seed: int) -> int:
    """The fold, from 1, that a patient is dealt to by a seeded hash; who else there is makes no difference."""
    return int(_uniform(seed, f"fold of {folds}", patient_id) * folds) + 1


def read_splits(path: str | Path) -> pd.DataFrame:
    """A table of splits as `files.write_table` wrote it: every column is text, '' where a patient takes no part."""
    return files.read_table(path, text=files.read_table(path).columns)


def read_user_split(path: str | Path) -> pd.DataFrame:
    """A split of the user's own, a TSV in the form of the table of splits, which replaces the seeded one.

    Raises InputError when it has other columns or sets, a patient twice, or a test patient in a round.
    """
    splits = read_splits(path)
    header = list(splits.columns)
    named = [name for name in header if name.startswith("round_")]
    if set(header) != {"patient_id", "set", *named} or not named or sorted(named) != sorted(_round_names(len(named))):
        raise InputError(
            f"{path}: expected the columns patient_id, set, round_1, … and no others, found {', '.join(header)}."
        )
    splits = splits[["patient_id", "set", *_round_names(len(named))]]
    try:
        assert_leak_free(splits)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return splits.sort_values("patient_id").reset_index(drop=True)


def assert_leak_free(splits: pd.DataFrame) -> None:
    """Raise InputError unless each patient has one row, one set, one place per round, and a test patient none."""
    rounds = [name for name in splits.columns if re.fullmatch(r"round_[1-9][0-9]*", name)]
    twice = sorted(splits["patient_id"][splits["patient_id"].duplicated()].unique())
    if twice:
        raise InputError(f"patients in more than one place: {_some(twice)}; expected one row per patient.")
    if (splits["patient_id"] == "").any() or splits["patient_id"].isna().any():
        raise InputError("a row without a patient_id; expected one in every row.")
    _check_words(splits, "set", {TEST, DEVELOPMENT})
    for name in rounds:
        _check_words(splits, name, {TRAIN, VALIDATION, ""})
        leaked = splits["patient_id"][(splits["set"] == TEST) & (splits[name] != "")]
        if len(leaked):
            raise InputError(f"test patients that take part in {name}: {_some(leaked)}; expected '' there.")


def check_covers(splits: pd.DataFrame, patient_ids: Iterable[str], *, rounds: int) -> None:
    """Raise InputError unless a user's split has every one of these patients and exactly this many rounds."""
    missing = sorted(set(patient_ids) - set(splits["patient_id"]))
    if missing:
        raise InputError(
            f"patients of the cohort who are in no set of the split file: {_some(missing)}; add a row for each."
        )
    found = len(splits.columns) - 2
    if found != rounds:
        raise InputError(f"the split file has {found} rounds, expected {rounds}, the configured number.")


def labels_of_sets(splits: pd.DataFrame, labels: pd.DataFrame, *, round_number: int) -> dict[str, dict[str, int]]:
    """Labels (0 or 1) by slide id of the two sets, `train` and `validation`, of one trait and round.

    `labels` is a trait's table of labels, whose column label is a number or missing. Only slides with a label are in
    either set, and none of a test patient's. Source: Paper: Results, Training models.
    """
    set_of_patient = dict(zip(splits["patient_id"], splits[f"round_{round_number}"], strict=True))
    labelled = labels[labels["label"].notna()]
    sets = labelled["patient_id"].map(set_of_patient)
    return {
        name: {row.slide_id: int(row.label) for row in labelled[sets == name].itertuples()}
        for name in (TRAIN, VALIDATION)
    }


def realised_counts(splits: pd.DataFrame) -> pd.DataFrame:
    """How many patients each part came to: part (`test`, `development`, `round_1 train`, …), n, share (of all)."""
    counts = [(word, int((splits["set"] == word).sum())) for word in (TEST, DEVELOPMENT)]
    for name in (column for column in splits.columns if column.startswith("round_")):
        counts += [(f"{name} {word}", int((splits[name] == word).sum())) for word in (TRAIN, VALIDATION)]
    table = pd.DataFrame(counts, columns=["part", "n"])
    return table.assign(share=table["n"] / len(splits))


def _uniform(seed: int, purpose: str, patient_id: str) -> float:
    """A number in [0, 1) that depends on nothing but its arguments: the first 53 bits of a SHA-256."""
    digest = hashlib.sha256(f"{seed}:{purpose}:{patient_id}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def _round_names(rounds: int) -> list[str]:
    return [f"round_{number}" for number in range(1, rounds + 1)]


def _check_words(splits: pd.DataFrame, column: str, words: set[str]) -> None:
    wrong = splits[~splits[column].isin(words)]
    if len(wrong):
        expected = ", ".join(f"`{word}`" if word else "nothing" for word in sorted(words))
        row = wrong.iloc[0]
        raise InputError(f"{column} of patient {row['patient_id']} is {row[column]!r}, expected one of {expected}.")


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
