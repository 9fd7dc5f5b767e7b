"""A map becomes a layer: its categories are those of the figures, its scores those of the map."""

import h5py
import numpy as np
import pandas as pd
import pytest
from stores import make_store

from workflow_scripts.lib import files, layers, palette
from workflow_scripts.lib.cartography import FILTERED_OUT, NEGATIVE, NO_TISSUE, POSITIVE, Cartography, write_map
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.tile_scores import write_tile_scores
from workflow_scripts.lib.tile_sources import TileSource

# A alone, B alone, both; neither, filtered out, no tissue.
STATES = np.array(
    [
        [[POSITIVE, NEGATIVE, POSITIVE], [NEGATIVE, FILTERED_OUT, NO_TISSUE]],
        [[NEGATIVE, POSITIVE, POSITIVE], [NEGATIVE, FILTERED_OUT, NO_TISSUE]],
    ],
    np.uint8,
)


def a_map(states: np.ndarray = STATES, traits: tuple[str, ...] = ("A", "B"), slide_id: str = "S1") -> Cartography:
    probabilities = np.where(states >= NEGATIVE, 0.25 * states, np.nan).astype(np.float32)
    return Cartography(slide_id, "P1", traits, states, probabilities, 512, 0.5, 1015.5, 3100, 2050)


def names(layer: layers.Layer) -> list[list[str]]:
    return [[layer.categories[code].name for code in row] for row in layer.codes]


def test_the_heterogeneity_layer_has_the_names_and_colours_of_the_figure():
    layer = layers.heterogeneity_layer(a_map(), ["A", "B"])
    assert names(layer) == [["A only", "B only", "A + B"], ["no trait", "filtered out", "no tissue"]]
    colours = {category.name: category.colour for category in layer.categories}
    assert colours == {
        "no tissue": palette.NO_TISSUE,
        "filtered out": palette.FILTERED,
        "no trait": palette.NEGATIVE,
        "A only": palette.COMBINATIONS[0],
        "B only": palette.COMBINATIONS[1],
        "A + B": palette.COMBINATIONS[2],
    }
    assert list(layer.scores) == ["A probability", "B probability"]
    assert np.array_equal(layer.scores["B probability"], a_map().probabilities[1], equal_nan=True)


def test_the_geometry_is_that_of_the_slide():
    layer = layers.trait_layer(a_map(), "B")
    assert (layer.slide_id, layer.name, layer.width, layer.height) == ("S1", "B", 3100, 2050)
    assert layer.tile_level0_px == 1015.5
    assert layer.slide_mpp == pytest.approx(512 * 0.5 / 1015.5, rel=1e-12)


def test_heterogeneity_is_of_the_traits_that_are_given_in_their_order():
    states = np.concatenate([np.full((1, 2, 3), NEGATIVE, np.uint8), STATES])
    layer = layers.heterogeneity_layer(a_map(states, ("X", "A", "B")), ["B", "A"])
    assert names(layer)[0] == ["A only", "B only", "B + A"]
    assert layer.categories[layer.codes[0, 1]].colour == palette.COMBINATIONS[0]


def test_a_trait_layer_tells_its_four_states_apart():
    layer = layers.trait_layer(a_map(), "A")
    assert names(layer) == [["A positive", "A negative", "A positive"], ["A negative", "filtered out", "no tissue"]]
    assert list(layer.scores) == ["A probability"]


def test_of_many_traits_every_combination_that_occurs_is_a_category():
    states = np.full((5, 4, 8), NEGATIVE, np.uint8)
    for tile in range(32):
        for bit in range(5):
            if tile >> bit & 1:
                states[bit, tile // 8, tile % 8] = POSITIVE
    layer = layers.heterogeneity_layer(a_map(states, tuple("ABCDE")), list("ABCDE"))
    assert len(np.unique(layer.codes)) == 32
    assert names(layer)[3][7] == "A + B + C + D + E"
    assert sum(category.colour == palette.OTHER_COMBINATIONS for category in layer.categories) == 31 - 7


def test_a_slide_without_tiles_has_a_layer_without_tissue():
    layer = layers.heterogeneity_layer(a_map(np.zeros((2, 2, 3), np.uint8)), ["A", "B"])
    assert not layer.codes.any()
    assert layers.heterogeneity_layer(a_map(np.zeros((2, 0, 0), np.uint8)), ["A", "B"]).codes.shape == (0, 0)


def test_a_trait_that_the_map_has_not_is_named():
    with pytest.raises(InputError, match="map of S1: expected the trait C, found A, B"):
        layers.trait_layer(a_map(), "C")


def test_layers_are_read_for_every_slide_that_has_a_map(tmp_path):
    for slide in ("S2", "S1"):
        write_map(tmp_path / "maps" / f"{slide}.h5", a_map(slide_id=slide))
    files.write_table(pd.DataFrame({"slide_id": ["S1", "S2"], "traits": ["A+B", "B+A"]}), tmp_path / "hti.tsv")
    found = list(layers.read_layers("heterogeneity", maps=tmp_path / "maps", path_to_hti=tmp_path / "hti.tsv"))
    assert [layer.slide_id for layer in found] == ["S1", "S2"]
    assert [next(iter(layer.scores)) for layer in found] == ["A probability", "B probability"]
    assert [layer.name for layer in layers.read_layers("B", maps=tmp_path / "maps")] == ["B", "B"]


def test_heterogeneity_needs_the_table_that_says_of_which_traits(tmp_path):
    write_map(tmp_path / "maps" / "S1.h5", a_map())
    with pytest.raises(InputError, match=r"needs hti\.tsv"):
        list(layers.read_layers("heterogeneity", maps=tmp_path / "maps"))
    files.write_table(pd.DataFrame({"slide_id": ["S9"], "traits": ["A+B"]}), tmp_path / "hti.tsv")
    with pytest.raises(InputError, match=r"hti\.tsv: expected a row of S1"):
        list(layers.read_layers("heterogeneity", maps=tmp_path / "maps", path_to_hti=tmp_path / "hti.tsv"))


def tumour_file(tmp_path, columns: list[int], probability: list[float]):
    coords = np.array([(column, 0) for column in columns])
    write_tile_scores(tmp_path / "tumour.h5", [("S1", coords, probability)])
    return tmp_path / "tumour.h5"


def test_the_tumour_layer_is_a_threshold_on_probabilities(tmp_path):
    store = make_store(tmp_path / "S1.h5", np.zeros((4, 16, 16, 3), np.uint8), slide_id="S1")
    scores = tumour_file(tmp_path, [2, 0, 1, 3], [0.5, 0.1, 0.49, 0.9])
    layer = layers.tumour_layer(TileSource(store, tumour=scores, threshold=0.5))
    assert names(layer) == [["not tumour", "not tumour", "tumour", "tumour"]]
    assert np.allclose(layer.scores["tumour probability"], [[0.1, 0.49, 0.5, 0.9]])
    assert (layer.width, layer.height, layer.tile_level0_px, layer.slide_mpp) == (64, 16, 16, 0.5)


def test_what_quality_dropped_is_filtered_out_of_the_tumour_layer(tmp_path):
    store = make_store(tmp_path / "S1.h5", np.zeros((2, 16, 16, 3), np.uint8), slide_id="S1", dropped=[(2, 0)])
    with h5py.File(store, "r+") as file:
        file.attrs["columns"] = 4
    layer = layers.tumour_layer(TileSource(store, tumour=tumour_file(tmp_path, [0, 1], [1.0, 0.0]), threshold=0.5))
    assert names(layer) == [["tumour", "not tumour", "filtered out", "no tissue"]]


@pytest.mark.parametrize(
    ("columns", "probability", "said"),
    [
        ([0], [0.5], "the slide's 2 tiles, found none for 1"),
        ([0, 7], [0.5, 0.5], "the slide's 2 tiles, found none for 1"),
    ],
)
def test_scores_that_are_not_of_the_tiles_are_refused(tmp_path, columns, probability, said):
    store = make_store(tmp_path / "S1.h5", np.zeros((2, 16, 16, 3), np.uint8), slide_id="S1")
    with pytest.raises(InputError, match=said):
        layers.tumour_layer(TileSource(store, tumour=tumour_file(tmp_path, columns, probability), threshold=0.5))
