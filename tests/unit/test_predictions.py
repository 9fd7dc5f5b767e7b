"""Predictions are named by trait and round, and read back slide by slide with their coordinates."""

import h5py
import numpy as np
import pandas as pd
import pytest

from workflow_scripts.lib import predictions
from workflow_scripts.lib.errors import InputError

COORDS = np.array([[3, 0], [0, 1], [2, 7]], np.int32)
PROBABILITIES = {
    "MKI67/round_1": np.array([0.25, 0.5, 0.75], np.float32),
    "MKI67/round_10": np.array([0.0, 1.0, 0.5], np.float32),
    "miR-17-5p/round_1": np.array([0.1, 0.2, 0.3], np.float32),
}


@pytest.fixture
def chunk(tmp_path):
    with h5py.File(tmp_path / "0.h5", "w", libver="v110") as file:
        predictions.write_slide(file, "s.1", COORDS, PROBABILITIES)
        predictions.write_slide(file, "empty", COORDS[:0], {name: v[:0] for name, v in PROBABILITIES.items()})
    return tmp_path / "0.h5"


def test_a_model_is_named_by_trait_and_round():
    assert predictions.model_name("miR-17-5p", 2) == "miR-17-5p/round_2"


def test_the_place_of_its_weights_names_a_model():
    path = "results/brca/training/miR-17-5p/round_2/weights.safetensors"
    assert predictions.model_name_of(path) == predictions.model_name("miR-17-5p", 2)


def test_a_test_slide_needs_every_rounds_model_and_any_other_the_members():
    ensembles = pd.DataFrame({"trait": ["A", "A", "A", "B", "B"], "round": [2, 1, 3, 1, 2], "member": [1, 1, 0, 1, 0]})
    needed = predictions.models_of_slides(["s1", "s2", "s3"], ensembles, test_slides=["s2", "elsewhere"])
    members = ["A/round_2", "A/round_1", "B/round_1"]
    assert needed == {
        "s1": members,
        "s2": ["A/round_2", "A/round_1", "A/round_3", "B/round_1", "B/round_2"],
        "s3": members,
    }


def test_a_slide_reads_back_by_trait_and_model(chunk):
    coords, found = predictions.read_slide(chunk, "s.1")
    assert coords.dtype == np.int32
    assert coords.tolist() == COORDS.tolist()
    assert {trait: sorted(models) for trait, models in found.items()} == {
        "MKI67": ["round_1", "round_10"],
        "miR-17-5p": ["round_1"],
    }
    assert found["MKI67"]["round_10"].dtype == np.float32
    assert found["MKI67"]["round_10"].tolist() == [0.0, 1.0, 0.5]
    assert found["miR-17-5p"]["round_1"].tolist() == PROBABILITIES["miR-17-5p/round_1"].tolist()


def test_a_slide_without_tiles_reads_back_without_rows(chunk):
    coords, found = predictions.read_slide(chunk, "empty")
    assert coords.shape == (0, 2)
    assert found["MKI67"]["round_1"].shape == (0,)


def test_a_slide_that_is_not_in_the_file_is_named(chunk):
    with pytest.raises(InputError, match=r"0\.h5: no predictions of s2"):
        predictions.read_slide(chunk, "s2")


def test_the_slides_of_a_file_are_listed(chunk):
    assert sorted(predictions.slides_in(chunk)) == ["empty", "s.1"]
