"""A slide's annotations label its tiles or are refused with the reason, and a cohort's classes are compared."""

import json
import logging
from typing import get_args

import h5py
import numpy as np
import pandas as pd
import pytest
from stores import make_store

from workflow_scripts.lib import annotated_slides, annotations, files
from workflow_scripts.lib.annotated_slides import class_table, compare_classes, list_annotations, read_slide, tile_table
from workflow_scripts.lib.configuration.chain import BACKGROUND, Annotations
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.figures import annotations as drawn

CLASSES = {"Tumor": "tumour", "Metastasis": "tumour", "Stroma": "stroma"}
LABELS = {"classes": CLASSES, "rule": "majority", "fraction": None}


def box(left, right, class_name, *, top=0, bottom=64):
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    properties = {"classification": {"name": class_name}}
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}


@pytest.fixture
def store(tmp_path):
    """A slide S of four tiles of 64 px in a row."""
    return make_store(tmp_path / "S.h5", np.full((4, 64, 64, 3), 200, np.uint8), slide_id="S")


@pytest.fixture
def annotated(tmp_path, store):
    """S with some features, or with a file of some text."""

    def read(*features, text=None, classes=CLASSES):
        file = tmp_path / "S.geojson"
        file.write_text(json.dumps(features) if text is None else text)
        return read_slide(file, store, classes=classes)

    return read


def tables(slide):
    labelled = tile_table(slide, **LABELS)
    return labelled, class_table(slide, labelled)


# One slide


def test_each_tile_has_its_place_its_label_and_its_share_of_every_label(annotated):
    labelled, _ = tables(annotated(box(0, 100, "Tumor"), box(128, 192, "Stroma"), box(192, 256, "Other")))
    assert labelled.to_dict("list") == {
        "slide_id": ["S"] * 4,
        "col": [0, 1, 2, 3],
        "row": [0, 0, 0, 0],
        "label": ["tumour", "tumour", "stroma", "background"],
        "share_tumour": [1.0, 0.5625, 0.0, 0.0],
        "share_stroma": [0.0, 0.0, 1.0, 0.0],
    }


def test_each_class_of_a_slide_is_a_row_with_its_regions_and_area(annotated):
    _, classes = tables(annotated(box(0, 64, "Tumor"), box(0, 64, "Tumor"), box(64, 128, "Other")))
    assert classes["class"].tolist() == ["Tumor", "Other"]
    assert classes["n_regions"].tolist() == [2, 1]
    # 64 px at 0.5 µm/px are 32 µm; regions that overlap count twice.
    assert classes["area_mm2"].tolist() == pytest.approx([2 * 0.032**2, 0.032**2])
    about = {"slide_id": "S", "file": "S.geojson", "form": "GeoJSON", "status": "read", "reason": "", "n_left_out": 0}
    assert classes.iloc[1][[*about, "n_tiles", "n_labelled"]].to_dict() == about | {"n_tiles": 4, "n_labelled": 1}


REFUSALS = {
    "expected JSON, found: ": '{"type": ',
    "expected at least one region, found none in this GeoJSON file": "[]",
    "every region lies outside the slide of 256 × 64 px, the first from (300, 0) on": json.dumps([box(300, 400, "A")]),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_a_file_that_cannot_be_used_is_refused_with_its_reason_and_labels_no_tile(annotated, reason):
    slide = annotated(text=REFUSALS[reason])
    assert slide.reason.startswith(reason)
    labelled, classes = tables(slide)
    assert labelled.empty
    assert list(labelled) == ["slide_id", "col", "row", "label", "share_tumour", "share_stroma"]
    assert classes[["status", "class", "n_regions", "n_tiles"]].to_numpy().tolist() == [["refused", "", 0, 0]]


def test_annotations_of_an_excluded_slide_are_refused(annotated, store):
    with h5py.File(store, "r+") as file:
        for name in [name for name in file if name not in ("dropped", "quality", "thumbnail")]:
            del file[name]
            file[name] = np.zeros((0, 2), np.int32)
        unknown = {"slide_mpp": np.nan, "tile_level0_px": np.nan, "columns": 0, "rows": 0, "width": 0, "height": 0}
        file.attrs.update({"status": "excluded", "reason": "no µm/px", **unknown})
    slide = annotated(box(0, 64, "Tumor"))
    assert slide.reason == "the slide is excluded: no µm/px"
    assert tables(slide)[0].empty


def test_a_slide_that_gives_no_tile_keeps_its_annotations(annotated, store):
    with h5py.File(store, "r+") as file:
        del file["coords"]
        file["coords"] = np.zeros((0, 2), np.int32)
        file.attrs.update({"columns": 0, "rows": 0, "reason": "smaller than one tile"})
    labelled, classes = tables(annotated(box(0, 64, "Tumor")))
    assert labelled.empty
    assert classes[["status", "n_regions", "n_tiles"]].to_numpy().tolist() == [["read", 1, 0]]


def test_what_was_read_and_needs_a_look_says_so(annotated):
    assert annotated(box(0, 64, "Tumor"), box(300, 400, "Tumor")).reason == "1 of 2 regions outside the slide"
    said = "no region of a class that has a label: every tile is background"
    assert annotated(box(0, 64, "tumor")).reason == said


def test_a_class_that_has_a_label_is_no_exclusion(annotated):
    features = [box(0, 256, "_0"), box(0, 64, "_2")]
    as_usual = annotated(*features, classes={"_0": "tumour"})
    assert [region.class_name for region in as_usual.annotations.regions] == ["_0"]
    labelled = annotated(*features, classes={"_2": "normal", "_0": "tumour"})
    assert [region.class_name for region in labelled.annotations.regions] == ["_0", "_2"]


def test_a_store_that_is_none_is_an_error_and_no_refusal(tmp_path):
    (tmp_path / "S.geojson").write_text("[]")
    with pytest.raises(InputError, match="not a readable tile store"):
        read_slide(tmp_path / "S.geojson", tmp_path / "S.geojson", classes=CLASSES)


# A cohort


def rows(*found):
    """What `class_table` says of several slides: (slide_id, status, class, n_regions), and a quarter mm² a region."""
    table = pd.DataFrame(found, columns=["slide_id", "status", "class", "n_regions"])
    table = table.assign(area_mm2=table["n_regions"] / 4, n_left_out=0, n_tiles=9, n_labelled=3)
    return table.assign(file=table["slide_id"] + ".xml", form="ASAP XML", reason="")


def test_a_cohort_has_a_row_for_each_slide_with_all_its_classes():
    found = rows(("S2", "read", "Tumor", 2), ("S2", "read", "Other, else", 1), ("S1", "refused", "", 0))
    table = list_annotations(found)
    assert table[["slide_id", "status", "n_regions", "area_mm2", "classes"]].to_numpy().tolist() == [
        ["S2", "read", 3, 0.75, "Tumor (2), Other, else (1)"],
        ["S1", "refused", 0, 0.0, ""],
    ]


def test_the_tables_read_back_as_they_were_written(annotated, tmp_path):
    slide = annotated(text="<")
    files.write_table(class_table(slide, tile_table(slide, **LABELS)), tmp_path / "S.tsv")
    found = files.read_table(tmp_path / "S.tsv", text=annotated_slides.TEXT)
    assert list_annotations(found)["reason"].tolist() == [slide.reason]
    assert compare_classes(found, CLASSES)["n_regions"].tolist() == [0, 0, 0]


def test_a_misspelt_class_stands_beside_the_one_that_was_meant(caplog):
    found = rows(("S1", "read", "tumor", 2), ("S2", "read", "tumor", 1), ("S2", "read", "Fat", 1))
    with caplog.at_level(logging.WARNING):
        table = compare_classes(found, {"Stroma": "stroma", "Tumor": "tumour"})
    assert table.to_dict("list") == {
        "class": ["Stroma", "Tumor", "Fat", "tumor"],
        "label": ["stroma", "tumour", "", ""],
        "n_slides": [0, 0, 1, 2],
        "n_regions": [0, 0, 1, 3],
        "area_mm2": [0, 0, 0.25, 0.75],
        "remark": [
            "no region has this class",
            "no region has this class",
            "labels no tile",
            "labels no tile; did you mean 'Tumor'?",
        ],
    }
    assert "class tumor: labels no tile; did you mean 'Tumor'?" in caplog.text


# The picture


def test_the_picture_of_refused_annotations_says_why(annotated):
    figure = drawn.checked_slide(annotated(text="<"), classes=CLASSES)
    said = " ".join(figure.axes[0].texts[0].get_text().split())
    assert said.startswith("S: S.geojson is refused: expected XML, found: ")


def test_the_picture_of_a_slide_names_its_classes(annotated):
    figure = drawn.checked_slide(annotated(box(0, 64, "Tumor")), classes=CLASSES)
    figure.draw_without_rendering()
    assert figure.legends[0].get_texts()[0].get_text() == "Tumor, as tumour: 1 region, 1,024 µm²"


# What is said in two places


def test_the_configuration_has_the_rules_and_the_background_of_the_labels():
    assert get_args(Annotations.model_fields["rule"].annotation) == annotations.RULES
    assert BACKGROUND == annotations.BACKGROUND
