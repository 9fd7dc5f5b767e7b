"""The cohorts of microscope adaptation on real histology: labels lie where the truth has them."""

import colon_cohort
import numpy as np
import openslide
import pandas as pd
import pytest
import shapely
from PIL import Image

from workflow_scripts.lib import splits
from workflow_scripts.lib.annotations import read_annotations
from workflow_scripts.lib.configuration.adaptation import Camera
from workflow_scripts.lib.demo.adaptation import CLASSES

CAMERA = Camera(strength=0).model_dump()


@pytest.fixture(scope="module")
def colon(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("colon")
    colon_cohort.make(shared_data, folder, seed=7, camera=CAMERA)
    return folder


def sheet_of(folder, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.tsv", sep="\t")


def regions_of(folder, name: str, slide_id: str) -> dict[str, shapely.Geometry]:
    found = read_annotations(folder / name / "annotations" / f"{slide_id}.xml").regions
    names = {region.class_name for region in found}
    return {one: shapely.union_all([r.geometry for r in found if r.class_name == one]) for one in names}


def test_half_of_the_patients_are_scanned_the_others_photographed_and_all_are_split(colon):
    scanned, photographed = (set(sheet_of(colon, name)["patient_id"]) for name in colon_cohort.NAMES)
    assert (len(scanned), len(photographed), scanned & photographed) == (30, 30, set())
    split = splits.read_user_split(colon / "split.tsv").set_index("patient_id")
    assert set(split.index) == scanned | photographed
    for half in (scanned, photographed):
        assert (split.loc[sorted(half), "set"] == splits.TEST).sum() == 10


def test_pieces_of_a_slide_have_their_class_of_the_truth_and_others_none(colon, shared_data):
    truth = pd.read_csv(shared_data / "colon" / "truth" / "tiles.csv")
    for slide_id in sheet_of(colon, "slides")["slide_id"][:5]:
        regions = regions_of(colon, "slides", slide_id)
        for piece in truth[truth["slide_id"] == slide_id].itertuples():
            middle = shapely.Point(224 * (piece.col + 0.5), 224 * (piece.row + 0.5))
            found = [name for name, region in regions.items() if region.contains(middle)]
            expected = colon_cohort.CLASS_OF.get(piece.tissue)
            assert found == ([expected] if expected else [])


def test_a_photograph_s_labels_lie_on_the_pieces_that_it_shows(colon, shared_data):
    # Without a fault of the camera a photograph is a part of its slide, where the same truth must lie.
    truth = pd.read_csv(shared_data / "colon" / "truth" / "tiles.csv")
    row = sheet_of(colon, "photographs").iloc[0]
    slide_id = next(one for one in truth["slide_id"].unique() if one.startswith(row["patient_id"]))
    pieces = truth[truth["slide_id"] == slide_id].assign(label=lambda of: of["tissue"].map(colon_cohort.CLASS_OF))
    column, top = next(colon_cohort._regions(pieces.dropna(subset=["label"])))
    with openslide.OpenSlide(shared_data / "colon" / "slides" / f"{slide_id}.svs") as slide:
        field = slide.read_region((224 * column, 224 * top), 0, (896, 896)).convert("RGB")
    with Image.open(colon / row["file"]) as image:
        assert image.size == (407, 407)
        seen = np.asarray(image.convert("RGB").resize((400, 400), box=(0, 0, 407, 407))).astype(float)
    shown = np.asarray(field.resize((400, 400), box=(0, 0, 895.4, 895.4))).astype(float)
    assert np.corrcoef(seen.ravel(), shown.ravel())[0, 1] > 0.95
    regions = regions_of(colon, "photographs", row["slide_id"])
    labels = pieces.set_index(["col", "row"])["label"].dropna()
    for right in range(4):
        for down in range(4):
            middle = shapely.Point(*((at + 0.5) * 224 * 0.5 / 1.1 for at in (right, down)))
            found = [name for name, region in regions.items() if region.contains(middle)]
            expected = labels.get((column + right, top + down))
            assert found == ([expected] if expected else [])


def test_every_set_of_photographs_has_every_class(colon):
    split = splits.read_user_split(colon / "split.tsv").set_index("patient_id")
    photographs = sheet_of(colon, "photographs")
    sets = photographs["patient_id"].map(split["set"].where(split["set"] == splits.TEST, split["round_1"]))
    for name in (splits.TRAIN, splits.VALIDATION, splits.TEST):
        here = photographs["slide_id"][sets == name]
        assert {one for slide_id in here for one in regions_of(colon, "photographs", slide_id)} == set(CLASSES)
