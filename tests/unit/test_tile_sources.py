"""What models see of a slide: the tiles that pass the filter, and no other."""

from pathlib import Path

import numpy as np
import pytest
from stores import make_store

from workflow_scripts.lib import tile_sources
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.tile_scores import write_tile_scores
from workflow_scripts.lib.tile_sources import TileSource


@pytest.fixture
def store(tmp_path) -> Path:
    return make_store(tmp_path / "S.h5", np.zeros((4, 16, 16, 3), np.uint8), slide_id="S", dropped=[(7, 0)])


@pytest.fixture
def scores(tmp_path) -> Path:
    coords = np.array([[0, 0], [1, 0], [2, 0], [3, 0]])
    write_tile_scores(tmp_path / "0.h5", [("S", coords, np.array([0.1, 0.5, 0.49, 0.9]))])
    return tmp_path / "0.h5"


def test_without_a_filter_all_tiles_are_seen(store):
    assert tile_sources.selected(TileSource(store)).tolist() == [0, 1, 2, 3]


def test_a_tile_at_the_threshold_passes(store, scores):
    source = TileSource(store, tumour=scores, threshold=0.5)
    assert tile_sources.selected(source).tolist() == [1, 3]
    kept, left_out = tile_sources.places(source)
    assert kept.tolist() == [[1, 0], [3, 0]]
    # By the filter, and by quality.
    assert left_out.tolist() == [[0, 0], [2, 0], [7, 0]]


def test_sources_are_listed_in_the_order_of_their_files(store, scores):
    listed = tile_sources.list_sources([str(store)] * 2, tumour=[str(scores)] * 2, threshold=0.5)
    assert listed == [TileSource(store, None, scores, 0.5)] * 2
    assert tile_sources.list_sources([str(store)], threshold=None) == [TileSource(store)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tumour": ["a", "b"], "threshold": 0.5}, "expected tumour probabilities of 1 slides or of none, found 2"),
        ({"normalisations": ["a", "b"]}, "expected normalisations of 1 slides or of none, found 2"),
        ({"tumour": ["a"]}, "a: expected a threshold for the tumour probabilities, found none"),
    ],
)
def test_files_that_do_not_fit_the_slides_are_refused(given, said):
    with pytest.raises(InputError, match=said):
        tile_sources.list_sources(["S.h5"], **given)


def test_scores_of_other_tiles_are_refused(store, tmp_path):
    write_tile_scores(tmp_path / "other.h5", [("S", np.array([[0, 0]]), np.array([0.5]))])
    with pytest.raises(InputError, match="found none for 3, the first at column 1, row 0"):
        tile_sources.selected(TileSource(store, tumour=tmp_path / "other.h5", threshold=0.5))
