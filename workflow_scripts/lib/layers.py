"""Layers: what is drawn or exported of one slide, whichever map it comes from.

A map becomes a layer by its name: HETEROGENEITY, the name of a trait, or TUMOUR.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.lib import cartography, files, palette, tiles
from workflow_scripts.lib.cartography import NEGATIVE, Cartography
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.heterogeneity import combination_counts, combination_names, slide_votes
from workflow_scripts.lib.scores import positive
from workflow_scripts.lib.tile_scores import read_tile_scores
from workflow_scripts.lib.tile_sources import TileSource

# The maps that are not a trait's, by the names that the configuration has for them.
HETEROGENEITY, TUMOUR = "heterogeneity", "tumour"


@dataclass(frozen=True)
class Category:
    """What a tile of a layer can be: its name, and its colour as `#RRGGBB`."""

    name: str
    colour: str


# The first two categories of every layer, whose codes are those of their states in a map.
_WITHOUT_VOTE = (Category("no tissue", palette.NO_TISSUE), Category("filtered out", palette.FILTERED))


@dataclass(frozen=True)
class Layer:
    """One slide's tiles with a category each, and with scores.

    name: which map it is of. width, height: the slide's size in level-0 px; slide_mpp: its µm/px; tile_level0_px: the
    side of a tile in level-0 px, rarely a whole number. `codes` (rows, columns) int32 is the position of each tile's
    category in `categories`, where NO_TISSUE and FILTERED_OUT are as in a map. `scores` are (rows, columns) float32 by
    name, NaN where a tile has none.
    """

    slide_id: str
    name: str
    width: int
    height: int
    slide_mpp: float
    tile_level0_px: float
    categories: tuple[Category, ...]
    codes: np.ndarray
    scores: Mapping[str, np.ndarray]


def heterogeneity_layer(found: Cartography, traits: Sequence[str]) -> Layer:
    """The combinations of some traits that a slide's tiles carry, in the colours of its figure, with all their scores.

    After filtered out come the tiles with no trait, then the combinations that the slide has. Raises InputError where
    the map has not all `traits`.
    """
    coords, positive = slide_votes(found, traits)
    counts = dict(zip(combination_names(traits), combination_counts(positive).tolist(), strict=True))
    colours = palette.combination_colours(traits, counts)
    code_of = {frozenset(): NEGATIVE}
    code_of |= {frozenset(name.split("+")): code for code, name in enumerate(colours, NEGATIVE + 1)}
    codes = found.states[found.traits.index(traits[0])].astype(np.int32)
    votes, combination = np.unique(positive, axis=1, return_inverse=True)
    code = [code_of[frozenset(np.asarray(traits)[vote])] for vote in votes.T]
    codes[coords[:, 1], coords[:, 0]] = np.asarray(code, np.int32)[combination.ravel()]
    present = [Category(palette.combination_label(name), colour) for name, colour in colours.items()]
    return _layer(
        found,
        HETEROGENEITY,
        (*_WITHOUT_VOTE, Category("no trait", palette.NEGATIVE), *present),
        codes,
        {_score_of(trait): found.probabilities[found.traits.index(trait)] for trait in traits},
    )


def trait_layer(found: Cartography, trait: str) -> Layer:
    """The vote on each tile for one trait; the score is the ensemble's mean probability, which may disagree with it.

    The categories have the trait's name, so that those of two traits stay apart in one viewer. Raises InputError where
    the map has no such trait.
    """
    if trait not in found.traits:
        raise InputError(f"map of {found.slide_id}: expected the trait {trait}, found {', '.join(found.traits)}")
    number = found.traits.index(trait)
    return _layer(
        found,
        trait,
        _of_two(f"{trait} negative", f"{trait} positive"),
        found.states[number].astype(np.int32),
        {_score_of(trait): found.probabilities[number]},
    )


def tumour_layer(source: TileSource) -> Layer:
    """Which tiles of a slide are tumour, by the filter of its source, and their probability.

    Tiles that quality dropped are filtered out. Raises InputError where a tile of the store has no probability.
    """
    with tiles.open_store(source.store) as store:
        facts, coords, dropped = store.attributes, store.coords, store.dropped.coords
    probability = read_tile_scores(source.tumour, facts["slide_id"], coords)
    shape = (facts["rows"], facts["columns"])
    passes = positive(probability, threshold=source.threshold)
    states = cartography.states_map(coords, passes, dropped, shape=shape)
    score = np.full(shape, np.nan, np.float32)
    score[coords[:, 1], coords[:, 0]] = probability
    return Layer(
        facts["slide_id"],
        TUMOUR,
        facts["width"],
        facts["height"],
        facts["slide_mpp"],
        facts["tile_level0_px"],
        _of_two("not tumour", "tumour"),
        states.astype(np.int32),
        {_score_of(TUMOUR): score},
    )


def read_layers(
    name: str,
    *,
    maps: str | Path | None = None,
    path_to_hti: str | Path | None = None,
    sources: Iterable[TileSource] = (),
) -> Iterator[Layer]:
    """The layers called `name` of all the slides of a cohort that were accepted, one after the other.

    name: HETEROGENEITY or a trait, from the folder `maps`; or TUMOUR, from the `sources` of all slides. path_to_hti:
    `hti.tsv`, which says for each slide which traits the heterogeneity is of; no other layer needs it. Raises
    InputError where a slide is not in it, or a map has no such trait.
    """
    if name == TUMOUR:
        for source in sources:
            if tiles.read_summary(source.store)["status"] == tiles.ACCEPTED:
                yield tumour_layer(source)
        return
    make = _heterogeneity_of(path_to_hti) if name == HETEROGENEITY else lambda found: trait_layer(found, name)
    for path in cartography.maps_in(maps):
        yield make(cartography.read_map(path))


def _heterogeneity_of(path_to_hti: str | Path | None) -> Callable[[Cartography], Layer]:
    if path_to_hti is None:
        raise InputError("a layer of heterogeneity needs hti.tsv, which says of which traits it is; found none")
    table = files.read_table(path_to_hti, text=["slide_id", "traits"])
    traits_of = dict(zip(table["slide_id"], table["traits"].str.split("+"), strict=True))

    def make(found: Cartography) -> Layer:
        if found.slide_id not in traits_of:
            raise InputError(f"{path_to_hti}: expected a row of {found.slide_id}, which has a map, found none")
        return heterogeneity_layer(found, traits_of[found.slide_id])

    return make


def _of_two(negative: str, positive: str) -> tuple[Category, ...]:
    """The categories of a map whose states are votes."""
    return (*_WITHOUT_VOTE, Category(negative, palette.NEGATIVE), Category(positive, palette.POSITIVE))


def _score_of(name: str) -> str:
    return f"{name} probability"


def _layer(
    found: Cartography,
    name: str,
    categories: tuple[Category, ...],
    codes: np.ndarray,
    scores: Mapping[str, np.ndarray],
) -> Layer:
    slide_mpp = found.tile_px * found.mpp / found.tile_level0_px
    geometry = (found.width, found.height, slide_mpp, found.tile_level0_px)
    return Layer(found.slide_id, name, *geometry, categories, codes, scores)
