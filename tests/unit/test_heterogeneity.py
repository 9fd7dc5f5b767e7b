"""The heterogeneity index, its null distribution and its interval."""

from itertools import permutations, product
from math import log

import numpy as np
import pandas as pd
import pytest
from scipy.stats import entropy, kstest

from workflow_scripts.lib import heterogeneity
from workflow_scripts.lib.cartography import Cartography
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.heterogeneity import (
    block_bootstrap_interval,
    colocation_p,
    combination_counts,
    combination_names,
    heterogeneity_index,
    hti_tables,
    slide_votes,
)

ONLY_A, ONLY_B, BOTH, NEITHER = (True, False), (False, True), (True, True), (False, False)


def votes(*tiles: tuple[bool, ...]) -> np.ndarray:
    return np.array(tiles, bool).T


def hti(*counts: int, **how: str) -> float:
    return heterogeneity_index(np.array(counts), **how).hti


def map_of(states: np.ndarray, traits: tuple[str, ...] = ("A", "B"), slide_id: str = "S1") -> Cartography:
    states = np.asarray(states, np.uint8)
    probabilities = np.where(states >= 2, 0.5, np.nan)
    return Cartography(slide_id, "P1", traits, states, probabilities, 512, 0.5, 1024.0, 4096, 4096)


# --- combinations


def test_two_traits_have_three_combinations_and_none():
    assert combination_names(["A", "B"]) == ["A", "B", "A+B", "none"]
    tiles = votes(ONLY_A, ONLY_A, ONLY_A, ONLY_B, ONLY_B, BOTH, NEITHER, NEITHER, NEITHER, NEITHER)
    assert combination_counts(tiles).tolist() == [3, 2, 1, 4]


def test_the_combinations_of_three_traits_are_ordered_by_size_and_counted_by_name():
    names = combination_names(["A", "B", "C"])
    assert names == ["A", "B", "C", "A+B", "A+C", "B+C", "A+B+C", "none"]
    rng = np.random.default_rng(0)
    tiles = rng.random((3, 500)) < 0.4
    for name, count in zip(names, combination_counts(tiles), strict=True):
        wanted = [trait in name.split("+") for trait in "ABC"]
        assert count == sum(tile.tolist() == wanted for tile in tiles.T)


def test_no_tiles_are_in_no_combination():
    assert combination_counts(np.empty((2, 0), bool)).tolist() == [0, 0, 0, 0]


def test_votes_must_be_bool_and_have_two_axes():
    with pytest.raises(InputError, match="bool votes"):
        combination_counts(np.array([[0.2, 0.7]]))
    with pytest.raises(InputError, match="bool votes"):
        combination_counts(np.array([True, False]))


def test_names_that_would_be_mistaken_are_refused():
    for traits in (["A", "A"], ["A"], [], ["CD8+", "B"], ["none", "B"]):
        with pytest.raises(InputError):
            combination_names(traits)


# --- the index


def test_thirds_have_an_index_of_one_and_a_single_combination_of_zero():
    # Paper: Results, Quantifying tumor heterogeneity.
    assert hti(5, 5, 5, 0) == pytest.approx(1)
    for counts in ((9, 0, 0, 0), (0, 9, 0, 0), (0, 0, 9, 0), (0, 0, 9, 30)):
        assert hti(*counts) == 0


def test_the_released_codes_example_of_three_locations():
    tiles = votes((False, True), (True, True), (True, False))
    assert heterogeneity_index(combination_counts(tiles)).hti == pytest.approx(1)


def test_two_of_three_combinations_cap_the_index_at_0_63():
    assert hti(7, 7, 0, 3) == pytest.approx(log(2, 3))
    assert round(hti(7, 7, 0, 3), 2) == 0.63


def test_an_index_worked_out_by_hand():
    # Shares 0, 2/22, 20/22: −(0.0909 ln 0.0909 + 0.9091 ln 0.9091) = 0.21799 + 0.08665 = 0.30464; / ln 3 = 0.27729.
    assert hti(0, 2, 20, 18) == pytest.approx(0.27729, abs=1e-5)


def test_the_two_denominators_at_the_example_of_the_design():
    # Each of two independent traits on a tenth of 100 tiles: 9 of A only, 9 of B only, 1 of both, 81 of none.
    assert hti(9, 9, 1, 81, denominator="positive") == pytest.approx(0.785, abs=5e-4)
    assert hti(9, 9, 1, 81, denominator="all") == pytest.approx(0.436, abs=5e-4)


def test_the_default_denominator_is_the_positive_tiles():
    assert hti(9, 9, 1, 81) == hti(9, 9, 1, 81, denominator="positive") == hti(9, 9, 1, 0)
    with pytest.raises(InputError, match="denominator"):
        hti(1, 1, 1, 1, denominator="any")


def test_of_all_tiles_a_slide_of_one_combination_may_have_an_index_above_zero():
    # A third of the tiles: −1/3 log_3(1/3) = 1/3.
    assert hti(10, 0, 0, 20, denominator="all") == pytest.approx(1 / 3)
    assert hti(10, 0, 0, 0, denominator="all") == 0


@pytest.mark.parametrize("denominator", ["positive", "all"])
@pytest.mark.parametrize("traits", [2, 3, 4])
def test_the_index_lies_between_zero_and_one(traits: int, denominator: str):
    rng = np.random.default_rng(1)
    kinds = 2**traits
    draws = [rng.multinomial(rng.integers(1, 60), rng.dirichlet(np.full(kinds, 0.7))) for _ in range(2000)]
    draws += [np.array(counts) for counts in product(range(3), repeat=4) if sum(counts)] if traits == 2 else []
    values = np.array([heterogeneity_index(counts, denominator=denominator).hti for counts in draws])
    assert values.min() >= 0
    assert values.max() <= 1
    uniform = np.r_[np.ones(kinds - 1, int), 0]
    assert heterogeneity_index(uniform, denominator=denominator).hti == pytest.approx(1)


@pytest.mark.parametrize("traits", [2, 3, 4])
def test_the_index_is_scipys_entropy_to_the_base_of_the_combinations(traits: int):
    rng = np.random.default_rng(2)
    for _ in range(50):
        counts = rng.integers(0, 30, 2**traits)
        counts[0] += 1
        expected = entropy(counts[:-1] / counts[:-1].sum(), base=2**traits - 1)
        assert heterogeneity_index(counts).hti == pytest.approx(expected)


def test_the_order_of_the_traits_does_not_matter():
    rng = np.random.default_rng(3)
    tiles = rng.random((3, 200)) < [[0.2], [0.5], [0.7]]
    values = {heterogeneity_index(combination_counts(tiles[list(order)])).hti for order in permutations(range(3))}
    assert max(values) - min(values) < 1e-12


def test_a_slide_with_no_positive_tile_has_index_zero_and_is_flagged():
    for denominator in ("positive", "all"):
        assert heterogeneity_index(np.array([0, 0, 0, 12]), denominator=denominator) == (0.0, "no_positive")


def test_a_slide_with_no_tile_has_no_index_and_is_flagged():
    index = heterogeneity_index(np.zeros(4, int))
    assert np.isnan(index.hti)
    assert index.flag == "no_tiles"


def test_one_trait_has_no_index():
    with pytest.raises(InputError, match="base 1"):
        heterogeneity_index(np.array([3, 4]))


def test_the_index_of_the_colon_cohort_is_that_of_its_truth(shared_data):
    truth = pd.read_csv(shared_data / "colon" / "truth" / "slides.csv")
    ours = [hti(*counts) for counts in truth[["n_A", "n_B", "n_AB", "n_0"]].to_numpy()]
    assert len(ours) == 60
    np.testing.assert_allclose(ours, truth["hti"], atol=1e-12)


# --- the p value


def enumerated_p(positive: np.ndarray) -> float:
    """Two-sided p by going through every arrangement of every trait but the first."""
    observed = heterogeneity_index(combination_counts(positive)).hti
    places = [sorted(set(permutations(states.tolist()))) for states in positive[1:]]
    null = np.array(
        [
            heterogeneity_index(combination_counts(np.array([positive[0].tolist(), *arranged]))).hti
            for arranged in product(*places)
        ]
    )
    return min(1.0, 2 * min((null <= observed + 1e-9).mean(), (null >= observed - 1e-9).mean()))


def test_the_p_value_of_two_traits_is_that_of_every_arrangement():
    rng = np.random.default_rng(4)
    for _ in range(25):
        positive = rng.random((2, 7)) < rng.uniform(0.2, 0.8, (2, 1))
        p = colocation_p(positive, permutations=9, seed=0)
        assert p == pytest.approx(enumerated_p(positive), abs=1e-9)


def test_a_p_value_worked_out_by_hand():
    # Both traits on the same 2 of 4 tiles: both = 2 has chance 1/6, HTI 0. both = 0 (1/6) gives log_3 2, and both = 1
    # (4/6) gives 1. So P(HTI ≤ 0) = 1/6, and two-sided 1/3.
    positive = votes(BOTH, BOTH, NEITHER, NEITHER)
    assert colocation_p(positive, permutations=1, seed=0) == pytest.approx(1 / 3)


def test_permutations_of_two_traits_agree_with_the_exact_distribution():
    rng = np.random.default_rng(5)
    positive = rng.random((2, 40)) < [[0.4], [0.6]]
    counts = combination_counts(positive)
    null, weight = heterogeneity._exact_null(counts, "positive")
    drawn = heterogeneity._permuted_null(positive, 20_000, 0, "positive")
    assert weight.sum() == pytest.approx(1)
    for value in null:
        assert (drawn <= value + 1e-9).mean() == pytest.approx(weight[null <= value + 1e-9].sum(), abs=0.015)


def test_the_p_value_of_three_traits_is_that_of_every_arrangement():
    positive = np.array([[1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [0, 1, 1, 0, 1]], bool)
    p = colocation_p(positive, permutations=20_000, seed=0)
    assert p == pytest.approx(enumerated_p(positive), abs=0.02)


def test_permutations_do_not_depend_on_how_many_are_held_at_once(monkeypatch):
    positive = np.random.default_rng(6).random((3, 50)) < 0.5
    whole = heterogeneity._permuted_null(positive, 100, 0, "positive")
    monkeypatch.setattr(heterogeneity, "HELD", 50 * 7)
    parts = heterogeneity._permuted_null(positive, 100, 0, "positive")
    assert len(parts) == len(whole) == 100
    assert parts.mean() == pytest.approx(whole.mean(), abs=0.02)


@pytest.mark.parametrize("traits", [2, 3])
def test_traits_on_the_same_tiles_and_traits_that_avoid_each_other_are_both_found(traits: int):
    half = np.arange(200) < 100
    together = np.stack([half] * traits)
    apart = np.stack([half, *[~half] * (traits - 1)])
    for positive in (together, apart):
        p = colocation_p(positive, permutations=999, seed=0)
        if traits == 2:
            assert p < 1e-9
        else:
            # No permutation is as extreme, and none can make p zero: (0 + 1) / (999 + 1) in the smaller tail, twice.
            assert p == pytest.approx(2 / 1000)


@pytest.mark.parametrize("traits", [2, 3])
def test_independent_traits_seldom_have_a_small_p(traits: int):
    rng = np.random.default_rng(7)
    p = np.array([colocation_p(rng.random((traits, 80)) < 0.4, permutations=199, seed=seed) for seed in range(300)])
    # Valid at every level, up to what chance allows in 300 slides (three standard errors).
    for level in (0.05, 0.1, 0.3):
        assert (p <= level).mean() <= level + 3 * np.sqrt(level * (1 - level) / 300)
    assert kstest(p, "uniform", alternative="greater").pvalue > 1e-3


def test_a_trait_that_cannot_be_shuffled_has_a_p_of_one():
    half = np.arange(20) < 10
    for fixed in (np.zeros(20, bool), np.ones(20, bool)):
        assert colocation_p(np.stack([half, fixed]), permutations=99, seed=0) == 1
        assert colocation_p(np.stack([half, fixed, fixed]), permutations=99, seed=0) == 1


def test_without_tiles_there_is_no_p():
    assert np.isnan(colocation_p(np.empty((2, 0), bool), permutations=99, seed=0))


def test_the_p_value_of_one_trait_is_refused():
    with pytest.raises(InputError, match="base 1"):
        colocation_p(np.ones((1, 5), bool), permutations=9, seed=0)


# --- the interval


def lattice(columns: int, rows: int) -> np.ndarray:
    return np.array([(column, row) for row in range(rows) for column in range(columns)], np.int32)


def test_blocks_that_are_all_alike_leave_nothing_uncertain():
    coords = lattice(4, 4)
    # Each 2 × 2 block holds one tile of each kind.
    kinds = {(0, 0): ONLY_A, (1, 0): ONLY_B, (0, 1): BOTH, (1, 1): NEITHER}
    positive = votes(*[kinds[column % 2, row % 2] for column, row in coords])
    interval = block_bootstrap_interval(coords, positive, block_tiles=2, resamples=200, seed=0)
    assert interval == pytest.approx((1, 1))
    # With blocks cut elsewhere it would not be so.
    shifted = block_bootstrap_interval(coords + 1, positive, block_tiles=2, resamples=200, seed=0)
    assert shifted.low < 1


def test_the_interval_is_that_of_drawing_whole_blocks():
    rng = np.random.default_rng(8)
    coords = lattice(9, 7)[rng.random(63) < 0.8]
    positive = rng.random((2, len(coords))) < 0.4
    interval = block_bootstrap_interval(coords, positive, block_tiles=3, resamples=400, seed=5)
    blocks: dict[tuple[int, int], list[int]] = {}
    for tile, (column, row) in enumerate(coords.tolist()):
        blocks.setdefault((column // 3, row // 3), []).append(tile)
    groups = [blocks[place] for place in sorted(blocks)]
    draws = np.random.default_rng(5).multinomial(len(groups), np.full(len(groups), 1 / len(groups)), size=400)
    values = []
    for times in draws:
        tiles = [tile for group, count in zip(groups, times, strict=True) for tile in group * count]
        values.append(heterogeneity_index(combination_counts(positive[:, tiles])).hti)
    observed = heterogeneity_index(combination_counts(positive)).hti
    moved = np.array(values) - np.mean(values) + observed
    assert interval == pytest.approx(tuple(np.percentile(moved, [2.5, 97.5]).clip(0, 1)))


@pytest.mark.parametrize("tiles_of", [[48, 48, 48, 0], [138, 3, 3, 0], [7, 7, 0, 130], [0, 0, 72, 72]])
def test_the_interval_holds_the_index_also_at_its_ends(tiles_of: list[int]):
    kinds = np.array([ONLY_A, ONLY_B, BOTH, NEITHER]).repeat(tiles_of, axis=0)
    positive = np.random.default_rng(12).permutation(kinds).T
    index = heterogeneity_index(combination_counts(positive)).hti
    low, high = block_bootstrap_interval(lattice(12, 12), positive, block_tiles=2, resamples=300, seed=0)
    assert low <= index <= high
    assert low < index or index == 0


def test_the_interval_covers_the_index_of_the_tissue_about_as_often_as_it_says():
    coords, shares = lattice(20, 20), np.array([0.3, 0.05, 0.05, 0.6])
    true = entropy(shares[:3] / 0.4, base=3)
    rng, covered = np.random.default_rng(13), 0
    for seed in range(200):
        kinds = np.array([ONLY_A, ONLY_B, BOTH, NEITHER])[rng.choice(4, 400, p=shares)]
        interval = block_bootstrap_interval(coords, kinds.T, block_tiles=2, resamples=200, seed=seed)
        covered += interval.low <= true <= interval.high
    assert 0.88 <= covered / 200 <= 0.99


def test_the_order_of_tiles_does_not_change_the_interval():
    rng = np.random.default_rng(9)
    coords, positive = lattice(10, 10), rng.random((2, 100)) < 0.4
    order = rng.permutation(100)
    how = {"block_tiles": 3, "resamples": 100, "seed": 1}
    assert block_bootstrap_interval(coords, positive, **how) == block_bootstrap_interval(
        coords[order], positive[:, order], **how
    )


def test_alike_neighbours_widen_the_interval_when_blocks_are_large():
    coords = lattice(24, 24)
    left, top = coords[:, 0] < 8, coords[:, 1] < 12
    clones = np.stack([left, top])
    widths = [
        np.diff(block_bootstrap_interval(coords, clones, block_tiles=block, resamples=500, seed=0))[0]
        for block in (1, 4)
    ]
    assert widths[1] > 2 * widths[0]


def test_one_block_has_no_interval():
    coords = lattice(3, 3)
    positive = np.ones((2, 9), bool)
    assert np.isnan(block_bootstrap_interval(coords, positive, block_tiles=4, resamples=10, seed=0)).all()
    empty = block_bootstrap_interval(np.empty((0, 2)), np.empty((2, 0), bool), block_tiles=4, resamples=10, seed=0)
    assert np.isnan(empty).all()


def test_blocks_of_nothing_and_places_without_tiles_are_refused():
    with pytest.raises(InputError, match="at least 1 tile"):
        block_bootstrap_interval(lattice(2, 2), np.ones((2, 4), bool), block_tiles=0, resamples=10, seed=0)
    with pytest.raises(InputError, match="found 4 places and 3 tiles"):
        block_bootstrap_interval(lattice(2, 2), np.ones((2, 3), bool), block_tiles=1, resamples=10, seed=0)


# --- tables from maps


def test_only_tiles_with_a_vote_count():
    cartography = map_of([[[0, 1, 2], [3, 2, 0]], [[0, 1, 3], [3, 2, 0]]])
    coords, positive = slide_votes(cartography, ["A", "B"])
    assert coords.tolist() == [[2, 0], [0, 1], [1, 1]]
    assert positive.tolist() == [[False, True, False], [True, True, False]]


def test_traits_are_taken_by_name_and_in_the_order_asked_for():
    cartography = map_of([[[3]], [[2]], [[3]]], traits=("A", "B", "C"))
    assert slide_votes(cartography, ["C", "B"])[1].tolist() == [[True], [False]]
    with pytest.raises(InputError, match="S1: expected traits"):
        slide_votes(cartography, ["A", "D"])


def test_a_tile_of_one_trait_must_be_a_tile_of_all():
    with pytest.raises(InputError, match="S1: expected states"):
        slide_votes(map_of([[[3, 0]], [[2, 2]]]), ["A", "B"])
    with pytest.raises(InputError, match="S1: expected states"):
        slide_votes(map_of([[[4]], [[2]]]), ["A", "B"])


HOW = {"denominator": "positive", "permutations": 99, "block_tiles": 1, "resamples": 50, "seed": 3}


def test_the_tables_of_a_slide():
    # One tile of A, one of B, one of both, three of none; one filtered out and one without tissue.
    states = [[[3, 2, 3, 2], [2, 2, 1, 0]], [[2, 3, 3, 2], [2, 2, 1, 0]]]
    slides, combinations = hti_tables([map_of(states)], ["A", "B"], **HOW)
    assert list(slides.columns) == [
        "slide_id",
        "patient_id",
        "traits",
        "hti",
        "n_tiles",
        "n_positive",
        "p",
        "low",
        "high",
        "flag",
    ]
    row = slides.iloc[0]
    assert (row["slide_id"], row["patient_id"], row["traits"], row["flag"]) == ("S1", "P1", "A+B", "")
    assert (row["n_tiles"], row["n_positive"]) == (6, 3)
    assert row["hti"] == pytest.approx(1)
    assert 0 < row["p"] <= 1
    assert 0 <= row["low"] <= row["high"] <= 1
    assert list(combinations.columns) == ["slide_id", "combination", "n_tiles", "share"]
    assert combinations["combination"].tolist() == ["A", "B", "A+B", "none"]
    assert combinations["n_tiles"].tolist() == [1, 1, 1, 3]
    assert combinations["share"].tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])


def test_slides_without_positive_tiles_and_without_tiles_stay_in_the_table():
    nothing, empty = map_of(np.full((2, 2, 2), 2)), map_of(np.zeros((2, 2, 2)), slide_id="S2")
    slides, combinations = hti_tables([nothing, empty], ["A", "B"], **HOW)
    assert slides["flag"].tolist() == ["no_positive", "no_tiles"]
    assert slides["hti"].tolist()[0] == 0
    assert slides.loc[1, ["hti", "p", "low", "high"]].isna().all()
    assert slides["n_tiles"].tolist() == [4, 0]
    assert combinations.loc[combinations["slide_id"] == "S2", "share"].isna().all()


def test_another_slide_changes_nothing_in_a_slides_row():
    rng = np.random.default_rng(10)
    maps = [map_of(rng.integers(2, 4, (3, 8, 8)), traits=("A", "B", "C"), slide_id=f"S{n}") for n in range(3)]
    three = hti_tables(maps, ["A", "B", "C"], **HOW)[0]
    one = hti_tables(maps[2:], ["A", "B", "C"], **HOW)[0]
    pd.testing.assert_frame_equal(three.iloc[2:].reset_index(drop=True), one)


def test_the_same_seed_gives_the_same_tables():
    cartography = map_of(np.random.default_rng(11).integers(0, 4, (1, 12, 12)).repeat(2, axis=0))
    first, second = (hti_tables([cartography], ["A", "B"], **HOW)[0] for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    other = hti_tables([cartography], ["A", "B"], **(HOW | {"seed": 4}))[0]
    assert other["hti"].equals(first["hti"])


def test_no_slides_make_empty_tables():
    slides, combinations = hti_tables([], ["A", "B"], **HOW)
    assert len(slides) == len(combinations) == 0
    assert "hti" in slides
