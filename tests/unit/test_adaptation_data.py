"""Table 1 of microscope adaptation: which patches count, of which class, and that no patient is on both sides."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stores import make_store

from workflow_scripts.lib import adaptation_data
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import write_table
from workflow_scripts.lib.tile_sources import TileSource

CLASSES = ("Normal", "Adenoma", "Adenocarcinoma")


def slide(domain: str, name: str, set_name: str, *, patient: str | None = None) -> dict[str, str]:
    return {
        "domain": domain, "set": set_name, "cohort": {"source": "colon", "target": "camera"}[domain],
        "slide_id": name, "patient_id": patient or f"{domain}-{name}",
    }  # fmt: skip


@pytest.fixture
def stores(tmp_path):
    """A function that makes the tiles of a slide, and labels them; it returns their source and the labels' path."""

    def make(name: str, labels: list[str], tiles: int | None = None) -> tuple[TileSource, Path]:
        number = len(labels) if tiles is None else tiles
        path = make_store(tmp_path / f"{name}.h5", np.full((number, 8, 8, 3), 128, np.uint8), slide_id=name)
        table = pd.DataFrame({"slide_id": name, "col": range(len(labels)), "row": 0, "label": labels})
        write_table(table, tmp_path / f"{name}.tsv")
        return TileSource(path), tmp_path / f"{name}.tsv"

    return make


def described(slides: list[dict[str, str]], made: list[tuple[TileSource, Path]], **changed) -> pd.DataFrame:
    labels = {adaptation_data.slide_key(of): path for of, (_, path) in zip(slides, made, strict=True)}
    given = {"paths_to_labels": labels, "slide_labels": {}} | changed
    return adaptation_data.describe(slides, [source for source, _ in made], classes=CLASSES, **given)


def numbers(table: pd.DataFrame, domain: str, set_name: str) -> dict[str, list[int]]:
    of = table[(table["domain"] == domain) & (table["set"] == set_name)].set_index("class")
    return {name: [int(n) for n in row] for name, *row in of[["patches", "slides", "patients"]].itertuples()}


def test_patches_are_counted_by_domain_set_and_class(stores):
    slides = [
        slide("source", "a", "train", patient="P1"),
        slide("source", "b", "train", patient="P1"),
        slide("source", "c", "test"),
        slide("target", "d", "train"),
    ]
    made = [
        stores("a", ["Normal", "Normal", "Adenoma", "background"]),
        stores("b", ["Normal"]),
        stores("c", ["Adenocarcinoma", "serrated"]),
        stores("d", ["background", "Normal", "background"]),
    ]
    table = described(slides, made)
    assert numbers(table, "source", "train") == {
        "Normal": [3, 2, 1], "Adenoma": [1, 1, 1], "Adenocarcinoma": [0, 0, 0], "": [5, 2, 1],
    }  # fmt: skip
    assert numbers(table, "source", "test")["Adenocarcinoma"] == [1, 1, 1]
    assert numbers(table, "source", "test")[""] == [2, 1, 1]
    # All patches of the target's training photographs are those that methods adapt to, whatever their label.
    assert numbers(table, "target", "train")[""] == [3, 1, 1]
    assert len(table) == 2 * 3 * 4


def test_a_photograph_that_nobody_labelled_counts_as_unlabelled(stores):
    table = described([slide("target", "d", "train")], [stores("d", ["Normal"] * 4)], paths_to_labels={})
    assert numbers(table, "target", "train") == {
        "Normal": [0, 0, 0], "Adenoma": [0, 0, 0], "Adenocarcinoma": [0, 0, 0], "": [4, 1, 1],
    }  # fmt: skip


def test_a_slide_without_annotations_has_its_class_for_all_patches(stores):
    slides = [slide("source", "a", "train"), slide("target", "a", "test")]
    made = [stores("a", ["Normal"] * 3), stores("b", ["Normal"] * 2)]
    table = described(slides, made, paths_to_labels={}, slide_labels={"colon/a": "Adenoma", "camera/a": "serrated"})
    assert numbers(table, "source", "train")["Adenoma"] == [3, 1, 1]
    assert numbers(table, "target", "test") == {
        "Normal": [0, 0, 0], "Adenoma": [0, 0, 0], "Adenocarcinoma": [0, 0, 0], "": [2, 1, 1],
    }  # fmt: skip


def test_a_slide_without_tiles_or_with_refused_annotations_has_no_class(stores):
    slides = [slide("source", "a", "train"), slide("source", "b", "train")]
    table = described(slides, [stores("a", []), stores("b", [], tiles=2)])
    assert numbers(table, "source", "train")[""] == [2, 1, 1]
    assert numbers(table, "source", "train")["Normal"] == [0, 0, 0]


def test_labels_that_lack_a_tile_are_refused(stores):
    with pytest.raises(InputError, match=r"a.tsv: no label for 1 tiles, the first at column 2, row 0; label the tiles"):
        described([slide("source", "a", "train")], [stores("a", ["Normal", "Normal"], tiles=3)])


def test_labels_are_found_by_place_and_not_by_order(tmp_path):
    table = pd.DataFrame({"slide_id": "a", "col": [2, 0, 1], "row": [5, 5, 0], "label": ["Adenoma", "Normal", "x"]})
    write_table(table, tmp_path / "a.tsv")
    found = adaptation_data.classes_of(
        np.array([[0, 5], [1, 0], [2, 5]]), slide("source", "a", "train"),
        classes=CLASSES, paths_to_labels={"colon/a": tmp_path / "a.tsv"}, slide_labels={},
    )  # fmt: skip
    assert found.tolist() == [0, -1, 1]


@pytest.mark.parametrize("learnt", ["train", "validation"])
def test_a_patient_who_is_tested_in_one_domain_and_learnt_from_in_the_other_is_refused(learnt):
    slides = [slide("source", "a", learnt, patient="P7"), slide("target", "b", "test", patient="P7")]
    with pytest.raises(InputError, match=r"found 1 in the test set of one.*the first is P7; give both cohorts one spl"):
        adaptation_data.check_patients(slides)
    adaptation_data.check_patients([slides[0], {**slides[1], "set": learnt}])


def test_an_unknown_set_or_domain_is_refused():
    for key in ("domain", "set"):
        with pytest.raises(InputError, match=f"expected a {key} of .*, found 'held out'"):
            adaptation_data.check_patients([slide("source", "a", "train") | {key: "held out"}])
