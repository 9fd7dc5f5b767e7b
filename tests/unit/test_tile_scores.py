"""Scores are read back as they were written, joined by place; what is no probability is not written."""

import h5py
import numpy as np
import pytest

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.tile_scores import read_tile_scores, write_tile_scores

COORDS = np.array([(0, 0), (2, 0), (1, 1)], np.int32)
VALUES = np.array([0.1, 0.7, 1 / 3], np.float32)


def test_what_is_written_is_read_back_to_the_last_bit(tmp_path):
    rng = np.random.default_rng(1)
    places = rng.permutation(4000)[:3000]
    coords = np.stack([places % 80, places // 80], axis=1).astype(np.int32)
    values = rng.random(3000).astype(np.float32) ** 9
    values[:4] = 0, 1, np.nextafter(np.float32(1), np.float32(0)), np.float32(1e-40)
    write_tile_scores(tmp_path / "0.h5", iter([("S", coords, values), ("T", coords, values[::-1])]))
    found = read_tile_scores(tmp_path / "0.h5", "S", coords)
    assert found.dtype == np.float32
    assert (found == values).all()
    assert (read_tile_scores(tmp_path / "0.h5", "T", coords[::-1]) == values).all()


def test_a_slide_without_tiles_is_there_and_has_none(tmp_path):
    nothing = np.zeros((0, 2), np.int32)
    write_tile_scores(tmp_path / "0.h5", [("S", nothing, np.zeros(0, np.float32))])
    assert read_tile_scores(tmp_path / "0.h5", "S", nothing).shape == (0,)


@pytest.mark.parametrize("values", [[0.1, np.nan, 0.2], [0.1, 1.5, 0.2], [0.1, 0.2]])
def test_nothing_is_written_of_what_is_no_probability(tmp_path, values):
    with pytest.raises(InputError, match=r"0\.h5: slide S: expected"):
        write_tile_scores(tmp_path / "0.h5", [("R", COORDS, VALUES), ("S", COORDS, np.array(values))])
    assert not list(tmp_path.iterdir())


def test_scores_of_other_slides_other_tiles_or_no_probability_are_refused(tmp_path):
    write_tile_scores(tmp_path / "0.h5", [("S", COORDS, VALUES)])
    with pytest.raises(InputError, match=r"0\.h5: expected tumour probabilities of slide T, found none"):
        read_tile_scores(tmp_path / "0.h5", "T", COORDS)
    with pytest.raises(InputError, match=r"0\.h5: slide S: .* none for 1, the first at column 9, row 0"):
        read_tile_scores(tmp_path / "0.h5", "S", np.array([(0, 0), (9, 0)]))
    with h5py.File(tmp_path / "0.h5", "r+") as file:
        file["S/probability"][1] = 2
    with pytest.raises(InputError, match=r"slide S: expected probabilities from 0 to 1, found 2"):
        read_tile_scores(tmp_path / "0.h5", "S", COORDS)
