"""Maps keep every tile in its place and four states apart."""

import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from stores import add_quality

from workflow_scripts.lib.cartography import (
    FILTERED_OUT,
    NEGATIVE,
    NO_TISSUE,
    POSITIVE,
    Cartography,
    cartograph,
    maps_in,
    read_map,
    states_map,
    write_map,
)
from workflow_scripts.lib.ensembles import rank_models
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.mapping import map_slides
from workflow_scripts.lib.predictions import write_slide
from workflow_scripts.lib.tile_scores import write_tile_scores
from workflow_scripts.lib.tile_sources import TileSource

COORDS = np.array([[0, 0], [2, 0], [1, 1]], np.int32)


def example(**changes: object) -> Cartography:
    states, probabilities = cartograph(
        COORDS, {"A": np.array([[0.9, 0.1, 0.6]]), "B": np.array([[0.2, 0.8, 0.7]])}, columns=4, rows=2, threshold=0.5
    )
    values = {"slide_id": "S1", "patient_id": "P1", "traits": ("A", "B"), "states": states}
    values |= {"probabilities": probabilities, "tile_px": 512, "mpp": 0.5, "tile_level0_px": 1013.8614}
    return Cartography(**(values | {"width": 4096, "height": 2048} | changes))


def test_the_codes_are_those_of_the_contract():
    assert (NO_TISSUE, FILTERED_OUT, NEGATIVE, POSITIVE) == (0, 1, 2, 3)


def test_a_column_is_the_second_axis_and_a_row_the_first():
    states = states_map(np.array([[3, 1]]), np.array([True]), shape=(2, 5))
    assert states.dtype == np.uint8
    assert states.shape == (2, 5)
    assert np.argwhere(states == POSITIVE).tolist() == [[1, 3]]


def test_no_tissue_filtered_out_negative_and_positive_are_told_apart():
    states = states_map(COORDS, np.array([True, False, True]), np.array([[3, 1]]), shape=(2, 4))
    assert states.tolist() == [[3, 0, 2, 0], [0, 3, 0, 1]]


def test_a_slide_without_tiles_has_a_map_without_tissue():
    assert not states_map(np.empty((0, 2)), np.empty(0, bool), shape=(2, 3)).any()
    states, probabilities = cartograph(np.empty((0, 2)), {"A": np.empty((3, 0))}, columns=3, rows=2, threshold=0.5)
    assert not states.any()
    assert np.isnan(probabilities).all()


def test_the_state_is_the_vote_and_the_probability_the_mean():
    members = np.array([[0.45, 0.9, 0.0], [0.45, 0.8, 0.0], [0.99, 0.1, 0.3]])
    states, probabilities = cartograph(COORDS, {"A": members}, columns=3, rows=2, threshold=0.5)
    assert states[0].tolist() == [[2, 0, 3], [0, 2, 0]]
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities[0], [[0.63, np.nan, 0.6], [np.nan, 0.1, np.nan]], rtol=1e-6)


def test_the_order_of_tiles_does_not_matter():
    members = np.array([[0.9, 0.1, 0.6]])
    there = cartograph(COORDS, {"A": members}, columns=3, rows=2, threshold=0.5)
    back = cartograph(COORDS[::-1], {"A": members[:, ::-1]}, columns=3, rows=2, threshold=0.5)
    np.testing.assert_array_equal(there[0], back[0])
    np.testing.assert_array_equal(there[1], back[1])


def test_the_layers_are_in_the_order_of_the_traits():
    cartography = example()
    assert cartography.states[0, 0, 0] == POSITIVE
    assert cartography.states[1, 0, 0] == NEGATIVE


@pytest.mark.parametrize("place", [[4, 0], [0, 2], [-1, 0], [0, -1]])
def test_a_tile_outside_the_lattice_is_refused(place: list[int]):
    with pytest.raises(
        InputError, match=f"4 columns and 2 rows, found 1 outside it.*column {place[0]}, row {place[1]}"
    ):
        states_map(np.array([[0, 0], place]), np.array([True, True]), shape=(2, 4))


def test_a_tile_given_twice_is_refused_also_where_it_was_filtered_out():
    with pytest.raises(InputError, match="column 1, row 0 2 times"):
        states_map(np.array([[1, 0], [1, 0]]), np.array([True, True]), shape=(2, 4))
    with pytest.raises(InputError, match="column 1, row 0 2 times"):
        states_map(np.array([[1, 0]]), np.array([True]), np.array([[1, 0]]), shape=(2, 4))


def test_each_tile_needs_one_vote():
    with pytest.raises(InputError, match="2 votes on 3 tiles"):
        states_map(COORDS, np.array([True, False]), shape=(2, 4))


def test_a_map_reads_back_as_it_was_written(tmp_path):
    written = example()
    write_map(tmp_path / "map.h5", written)
    read = read_map(tmp_path / "map.h5")
    for name in ("slide_id", "patient_id", "traits", "tile_px", "mpp", "tile_level0_px", "width", "height"):
        assert getattr(read, name) == getattr(written, name)
    np.testing.assert_array_equal(read.states, written.states)
    np.testing.assert_array_equal(read.probabilities, written.probabilities)
    assert read.states.dtype == np.uint8
    assert read.probabilities.dtype == np.float32


def test_a_map_is_laid_out_as_the_contract_says(tmp_path):
    write_map(tmp_path / "map.h5", example())
    with h5py.File(tmp_path / "map.h5") as file:
        assert set(file) == {"states", "probabilities"}
        assert list(file["states"].attrs["traits"]) == ["A", "B"]
        assert set(file.attrs) == {
            "slide_id",
            "patient_id",
            "tile_px",
            "mpp",
            "tile_level0_px",
            "width",
            "height",
        }


def test_a_map_without_a_lattice_can_be_written(tmp_path):
    empty = np.zeros((2, 0, 0))
    write_map(tmp_path / "map.h5", example(states=empty, probabilities=empty))
    assert read_map(tmp_path / "map.h5").states.shape == (2, 0, 0)


def test_the_same_map_gives_the_same_bytes(tmp_path):
    write_map(tmp_path / "first.h5", example())
    time.sleep(1.1)  # HDF5's own clock counts seconds
    write_map(tmp_path / "second.h5", example())
    assert (tmp_path / "first.h5").read_bytes() == (tmp_path / "second.h5").read_bytes()


def test_a_map_with_other_traits_than_layers_is_not_written(tmp_path):
    with pytest.raises(InputError, match="a layer for each"):
        write_map(tmp_path / "map.h5", example(traits=("A",)))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_map_is_named(tmp_path):
    (tmp_path / "map.h5").write_text("no")
    with pytest.raises(InputError, match=r"map\.h5: expected a map"):
        read_map(tmp_path / "map.h5")


# --- the whole stage


def write_store(
    folder: Path, slide_id: str, coords: list[list[int]], *, status: str = "accepted", dropped: list[list[int]] = ()
) -> Path:
    """A tile store with places and facts, and no pictures."""
    lattice = {"columns": 4, "rows": 2} if status == "accepted" else {"columns": 0, "rows": 0}
    path = folder / f"{slide_id}.h5"
    with h5py.File(path, "w") as file:
        file["coords"] = np.array(coords, np.int32).reshape(-1, 2)
        file["tissue"] = np.ones(len(coords), np.float32)
        add_quality(file, len(coords), dropped)
        file["thumbnail"] = np.zeros(0, np.uint8)
        file.create_dataset("tiles", (len(coords),), h5py.vlen_dtype(np.uint8))
        facts = {
            "slide_id": slide_id,
            "status": status,
            "reason": "",
            "tile_px": 512,
            "mpp": 0.5,
            "tile_level0_px": 1024.5,
        }
        file.attrs.update(facts | lattice | {"width": 4100, "height": 2050})
    return path


def write_predictions(path: Path, slides: dict[str, tuple[list[list[int]], dict[str, list[float]]]]) -> Path:
    with h5py.File(path, "w") as file:
        for slide_id, (coords, by_model) in slides.items():
            values = {model: np.array(column, np.float32) for model, column in by_model.items()}
            write_slide(file, slide_id, np.array(coords, np.int32).reshape(-1, 2), values)
    return path


ENSEMBLES = rank_models(
    pd.DataFrame(
        [("A", 1, 0.5, 1), ("A", 2, 0.9, 1), ("B", 1, 0.9, 1), ("B", 2, 0.5, 1)],
        columns=["trait", "round", "validation_auc", "validation_loss"],
    ),
    members=1,
)
SHEET = pd.DataFrame({"slide_id": ["S1", "S2", "S3"], "patient_id": ["P1", "P2", "P3"]})


def run(tmp_path: Path, stores: list[Path], predictions: list[Path], **view: object) -> list[Cartography]:
    map_slides(
        tmp_path / "maps",
        sheet=SHEET,
        sources=[TileSource(store, **view) for store in stores],
        predictions=predictions,
        ensembles=ENSEMBLES,
        traits=["B", "A"],
        threshold=0.5,
    )
    return [read_map(path) for path in maps_in(tmp_path / "maps")]


def test_every_accepted_slide_is_mapped_by_its_ensembles(tmp_path):
    stores = [
        write_store(tmp_path, "S1", [[0, 0], [3, 1]], dropped=[[2, 1]]),
        write_store(tmp_path, "S2", []),
        write_store(tmp_path, "S3", [], status="excluded"),
    ]
    # In another order than the store, and with a model that is no member.
    first = write_predictions(
        tmp_path / "0.h5",
        {"S1": ([[3, 1], [0, 0]], {"A/round_1": [0, 0], "A/round_2": [0.9, 0.2], "B/round_1": [0, 1]})},
    )
    second = write_predictions(
        tmp_path / "1.h5", {name: ([], {"A/round_2": [], "B/round_1": []}) for name in ("S2", "S3")}
    )
    one, two = run(tmp_path, stores, [first, second])
    assert (one.slide_id, one.patient_id, two.slide_id, two.patient_id) == ("S1", "P1", "S2", "P2")
    assert one.traits == ("B", "A")
    assert one.states.tolist() == [[[3, 0, 0, 0], [0, 0, 1, 2]], [[2, 0, 0, 0], [0, 0, 1, 3]]]
    assert one.probabilities[1, 1, 3] == np.float32(0.9)
    assert (one.tile_level0_px, one.width, one.height) == (1024.5, 4100, 2050)
    assert not two.states.any()


def test_tiles_below_the_tumour_threshold_are_filtered_out_and_not_negative(tmp_path):
    store = write_store(tmp_path, "S1", [[0, 0], [1, 0], [3, 1]], dropped=[[2, 1]])
    scores = np.array([0.4, 0.39, 0.9])
    write_tile_scores(tmp_path / "tumour.h5", [("S1", np.array([[0, 0], [1, 0], [3, 1]]), scores)])
    of_tumour = write_predictions(
        tmp_path / "0.h5", {"S1": ([[3, 1], [0, 0]], {"A/round_2": [0.9, 0.2], "B/round_1": [0, 1]})}
    )
    (one,) = run(tmp_path, [store], [of_tumour], tumour=tmp_path / "tumour.h5", threshold=0.4)
    assert one.states.tolist() == [[[3, 1, 0, 0], [0, 0, 1, 2]], [[2, 1, 0, 0], [0, 0, 1, 3]]]
    assert np.isnan(one.probabilities[:, 0, 1]).all()
    with pytest.raises(InputError, match=r"not of the tiles in .* that pass the filters"):
        run(tmp_path, [store], [of_tumour], tumour=tmp_path / "tumour.h5", threshold=0.3)


def test_predictions_of_other_tiles_and_missing_predictions_are_refused(tmp_path):
    stores = [write_store(tmp_path, "S1", [[0, 0], [3, 1]])]
    of_all = {"A/round_2": [0.1, 0.2], "B/round_1": [0.1, 0.2]}
    moved = write_predictions(tmp_path / "0.h5", {"S1": ([[3, 1], [1, 0]], of_all)})
    with pytest.raises(InputError, match="predictions of S1 are not of the tiles in"):
        run(tmp_path, stores, [moved])
    nothing = write_predictions(tmp_path / "1.h5", {"S2": ([], {})})
    with pytest.raises(InputError, match="S1: expected predictions in one of 1 files"):
        run(tmp_path, stores, [nothing])
    partial = write_predictions(
        tmp_path / "2.h5", {"S1": ([[0, 0], [3, 1]], {"A/round_1": [0, 0], "B/round_1": [0, 0]})}
    )
    with pytest.raises(InputError, match="S1: no predictions of A, round_2"):
        run(tmp_path, stores, [partial])


def test_a_map_that_is_being_written_is_not_in_its_folder(tmp_path):
    for name in ("b.h5", "a.h5", ".c.partial-1.h5", "d.tsv"):
        (tmp_path / name).touch()
    assert [path.name for path in maps_in(tmp_path)] == ["a.h5", "b.h5"]
