"""The annotated slides of detectors of tumour: areas, counts, and the slide that stands for them."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stores import make_store

from workflow_scripts.lib import annotated_slides, detection_data, files
from workflow_scripts.lib.splits import TEST, TRAIN

CLASSES = {"Tumor": "tumour", "DCIS": "tumour", "Necrosis": "necrosis"}
# Tiles of 16 px side by side: the slide is 64 × 16 px of 0.5 µm.
SIDE, MPP = 16, 0.5


def box(left: float, top: float, right: float, bottom: float, name: str = "Tumor") -> dict:
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "properties": {"classification": {"name": name}}, "geometry": geometry}


def a_slide(folder: Path, features: list[dict], *, slide_id: str = "S1", classes=CLASSES) -> dict[str, Path]:
    """A slide's annotations, store and tile labels."""
    store = make_store(folder / f"{slide_id}.h5", np.zeros((4, SIDE, SIDE, 3), np.uint8), slide_id=slide_id, mpp=MPP)
    annotations, labels = folder / f"{slide_id}.geojson", folder / f"{slide_id}.tsv"
    annotations.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    slide = annotated_slides.read_slide(annotations, store, classes=classes)
    files.write_table(annotated_slides.tile_table(slide, classes=classes, rule="majority", fraction=None), labels)
    return {"annotations": annotations, "stores": store, "labels": labels}


def described(*slides: dict[str, Path]) -> pd.DataFrame:
    about = [
        {"cohort": "prostate", "slide_id": slide["stores"].stem, "patient_id": "P1", "set": TEST} for slide in slides
    ]
    found = {name: [slide[name] for slide in slides] for name in ("annotations", "stores", "labels")}
    return detection_data.describe_slides(about, **found, classes={"prostate": CLASSES}, label={"prostate": "tumour"})


def test_areas_are_of_the_polygons_and_of_the_tiles(tmp_path):
    row = described(a_slide(tmp_path, [box(0, 0, 24, 16)])).iloc[0]
    pixel = (MPP / 1000) ** 2
    assert row["polygons"] == 1
    assert row["tumour_mm2"] == pytest.approx(24 * 16 * pixel)
    assert row["tissue_mm2"] == pytest.approx(4 * SIDE**2 * pixel)
    assert row["tumour_of_image"] == pytest.approx(24 / 64)
    # Half of the second tile is no majority.
    assert (row["tiles"], row["tumour_tiles"]) == (4, 1)


def test_what_overlaps_or_reaches_past_the_edge_counts_once_and_on_the_slide_alone(tmp_path):
    row = described(a_slide(tmp_path, [box(0, 0, 16, 16), box(8, 0, 24, 16, "DCIS"), box(60, -50, 90, 50)])).iloc[0]
    assert row["polygons"] == 3
    assert row["tumour_of_image"] == pytest.approx((24 + 4) / 64)


def test_a_place_of_an_earlier_label_is_no_tumour(tmp_path):
    paths = a_slide(tmp_path, [box(0, 0, 32, 16), box(16, 0, 32, 16, "Necrosis")])
    for classes, area in ((CLASSES, 32 * 16), (dict(reversed(CLASSES.items())), 16 * 16)):
        slide = annotated_slides.read_slide(paths["annotations"], paths["stores"], classes=classes)
        assert detection_data.outlined(slide, classes=classes, label="tumour").area == pytest.approx(area)


def test_a_polygon_that_only_touches_the_slide_leaves_no_area(tmp_path):
    paths = a_slide(tmp_path, [box(64, 0, 90, 16), box(0, 0, 1, 1)])
    slide = annotated_slides.read_slide(paths["annotations"], paths["stores"], classes=CLASSES)
    assert detection_data.outlined(slide, classes=CLASSES, label="tumour").area == pytest.approx(1)
    assert detection_data.outlined(slide, classes=CLASSES, label="necrosis").is_empty


def test_refused_annotations_leave_all_but_the_tissue_unknown(tmp_path):
    good, bad = a_slide(tmp_path, [box(0, 0, 16, 16)]), a_slide(tmp_path, [box(500, 0, 600, 16)], slide_id="S2")
    files.write_table(described(good, bad), tmp_path / "cohort.tsv")
    table = files.read_table(tmp_path / "cohort.tsv", text=detection_data.SLIDE)
    assert list(table.columns) == detection_data.COLUMNS
    assert table.loc[1].isna().sum() == 5
    assert table.loc[1, "tissue_mm2"] == pytest.approx(table.loc[0, "tissue_mm2"])
    # Whole numbers are written as such.
    assert "\t1\t" in (tmp_path / "cohort.tsv").read_text().splitlines()[1]


def test_the_slide_that_is_shown_is_the_held_out_one_with_most_tumour():
    rows = [("a", "S1", TEST, 0.1), ("a", "S3", TEST, 0.3), ("a", "S2", TEST, 0.3), ("a", "S4", TRAIN, 0.9)]
    rows += [("a", "S5", TEST, math.nan), ("b", "S6", TEST, 0.8)]
    table = pd.DataFrame(rows, columns=["cohort", "slide_id", "set", "tumour_of_image"])
    assert detection_data.most_tumour(table, cohort="a", set_name=TEST) == "S2"
    assert detection_data.most_tumour(table, cohort="b", set_name=TRAIN) is None
    assert detection_data.most_tumour(table[4:5], cohort="a", set_name=TEST) is None
