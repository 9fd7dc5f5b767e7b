"""How heterogeneous a tumour is: which combinations of traits its tiles carry, and the index of their mixture.

The null distribution and the interval that stand beside the index follow no published code: the paper has neither.
"""

import zlib
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from workflow_scripts.lib.cartography import NEGATIVE, NO_TISSUE, POSITIVE, Cartography
from workflow_scripts.lib.errors import InputError

Denominator = Literal["positive", "all"]
NO_POSITIVE, NO_TILES = "no_positive", "no_tiles"
NONE = "none"
# Two indices closer than this are the same: they differ in the order of a sum.
SAME = 1e-9
# Tiles of permutations held at once, to keep memory flat on large slides.
HELD = 2_000_000


class Index(NamedTuple):
    """A heterogeneity index, and `no_positive`, `no_tiles` or an empty flag."""

    hti: float
    flag: str


class Interval(NamedTuple):
    """A 95 % interval; both ends NaN where there is none."""

    low: float
    high: float


def combination_names(traits: Sequence[str]) -> list[str]:
    """All subsets of the traits in the order of the counts: by size, then in the traits' order; `none` is last.

    For A and B: `A`, `B`, `A+B`, `none`.
    """
    _check_traits(traits)
    return ["+".join(traits[index] for index in subset) for subset in _subsets(len(traits))] + [NONE]


def combination_counts(positive: np.ndarray) -> np.ndarray:
    """Number of tiles with exactly each combination of traits: (traits, n) bool to (2 ** traits,) int64.

    The order is that of `combination_names`; the last count is of tiles with no trait.
    """
    positive = _votes(positive)
    return np.bincount(_combination_of(positive), minlength=2 ** len(positive))


def heterogeneity_index(counts: np.ndarray, *, denominator: Denominator = "positive") -> Index:
    """The HTI of a slide, in [0, 1], from the counts of `combination_counts`.

    HTI = −Σ p_i log_C p_i over the C = 2^traits − 1 combinations that are not empty, where p_i is the combination's
    share of the tiles with any trait (`positive`, the default: the shares sum to one) or of all tiles (`all`). Under
    `all` a slide of one combination has HTI 0 only where that combination is everywhere. (Paper: Results, Quantifying
    tumor heterogeneity. The authors' later package takes the logarithm to the number of combinations observed.)

    A slide with no positive tile has HTI 0, flagged `no_positive`; one with no tile has NaN, flagged `no_tiles`.
    Raises InputError for a single trait: its logarithm would have the base 1.
    """
    counts = np.asarray(counts)
    _check_counts(counts)
    index = float(_index(counts[None], denominator)[0])
    if counts.sum() == 0:
        return Index(np.nan, NO_TILES)
    return Index(index, "" if counts[:-1].any() else NO_POSITIVE)


def colocation_p(positive: np.ndarray, *, permutations: int, seed: int, denominator: Denominator = "positive") -> float:
    """The p value of a slide's HTI where the traits have nothing to do with each other; NaN without tiles.

    positive: (traits, n) bool. Under the null each trait's states lie independently over the slide's tiles, in the
    numbers observed. Two-sided, twice the smaller tail, at most 1: traits that share their tiles and traits that avoid
    each other both move the HTI, and either may lower it. For two traits the number of tiles with both is
    hypergeometric and p is exact; for more it is (b + 1) / (permutations + 1) in each tail. Where the HTI cannot vary
    (a trait on no tile, or on all) p is 1.

    The null ignores that neighbouring tiles are alike, so p is small too easily where traits grow in clones: read it
    beside the interval of `block_bootstrap_interval`.
    """
    positive = _votes(positive)
    if positive.shape[1] == 0:
        return float("nan")
    counts = combination_counts(positive)
    _check_counts(counts)
    observed = _index(counts[None], denominator)[0]
    if len(positive) == 2:
        null, weight = _exact_null(counts, denominator)
        added = 0
    else:
        null = _permuted_null(positive, permutations, seed, denominator)
        weight, added = np.ones(permutations), 1
    total = weight.sum() + added
    below = (weight[null <= observed + SAME].sum() + added) / total
    above = (weight[null >= observed - SAME].sum() + added) / total
    return float(min(1.0, 2 * min(below, above)))


def block_bootstrap_interval(
    coords: np.ndarray,
    positive: np.ndarray,
    *,
    block_tiles: int,
    resamples: int,
    seed: int,
    denominator: Denominator = "positive",
) -> Interval:
    """The 95 % interval of a slide's HTI by a spatial block bootstrap.

    coords: (n, 2) column and row; positive: (traits, n) bool. The lattice is cut from (0, 0) into squares of
    `block_tiles` × `block_tiles` tiles; the squares that hold tiles are drawn with replacement, as many as there are,
    with all their tiles, and the HTI of each draw is taken (0 where a draw has no positive tile). A draw is less varied
    than the slide, which lowers its HTI: the draws are moved so that their mean is the slide's HTI. The ends are their
    2.5th and 97.5th percentiles, within [0, 1]. (Unmoved percentiles never cover an HTI of 1, and covered others less
    often.)

    The interval is of the tissue that the slide is a sample of; it is too narrow where clones are larger than blocks.
    NaN, NaN where fewer than two squares hold tiles.
    """
    positive = _votes(positive)
    coords = np.asarray(coords, np.int64).reshape(-1, 2)
    if len(coords) != positive.shape[1]:
        raise InputError(f"expected one place per tile, found {len(coords)} places and {positive.shape[1]} tiles")
    if block_tiles < 1:
        raise InputError(f"expected blocks of at least 1 tile, found {block_tiles}")
    blocks, block_of = np.unique(coords // block_tiles, axis=0, return_inverse=True)
    if len(blocks) < 2:
        return Interval(np.nan, np.nan)
    kinds = 2 ** len(positive)
    counts = np.bincount(block_of.ravel() * kinds + _combination_of(positive), minlength=len(blocks) * kinds)
    draws = np.random.default_rng(seed).multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), size=resamples)
    counts = counts.reshape(-1, kinds)
    drawn, observed = _index(draws @ counts, denominator), _index(counts.sum(axis=0, keepdims=True), denominator)
    low, high = np.clip(np.quantile(drawn - drawn.mean(), [0.025, 0.975]) + observed, 0.0, 1.0)
    return Interval(float(low), float(high))


def slide_votes(cartography: Cartography, traits: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The tiles of a map that have a vote: coords (n, 2) column and row, and positive (traits, n) bool.

    Places with no tissue and tiles that were filtered out are not among them. Raises InputError where the map has not
    all `traits`, or where a tile has a vote for one of them and not for another.
    """
    absent = [trait for trait in traits if trait not in cartography.traits]
    if absent:
        raise InputError(f"map of {cartography.slide_id}: expected traits {list(traits)}, found {cartography.traits}")
    states = cartography.states[[cartography.traits.index(trait) for trait in traits]]
    voted = states >= NEGATIVE
    if (states > POSITIVE).any() or (voted != voted[:1]).any():
        raise InputError(
            f"map of {cartography.slide_id}: expected states {NO_TISSUE} to {POSITIVE}, and a tile of one trait to be "
            f"a tile of all of {list(traits)}; make the map again"
        )
    rows, columns = np.nonzero(voted[0])
    return np.stack([columns, rows], axis=1), states[:, rows, columns] == POSITIVE


def hti_tables(
    cartographies: Iterable[Cartography],
    traits: Sequence[str],
    *,
    denominator: Denominator,
    permutations: int,
    block_tiles: int,
    resamples: int,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables `hti.tsv` and `combinations.tsv` over slides, in the order given.

    The first has a row per slide: slide_id, patient_id, traits (`A+B`), hti, n_tiles, n_positive (tiles with any of the
    traits), p, low, high, flag. The second has a row per slide and combination: slide_id, combination, n_tiles and
    share (of all the slide's tiles; missing where it has none). A slide's random numbers depend on `seed` and its
    name, so another slide changes nothing in its row.
    """
    names = combination_names(traits)
    rows, combinations = [], []
    for cartography in cartographies:
        coords, positive = slide_votes(cartography, traits)
        counts = combination_counts(positive)
        index = heterogeneity_index(counts, denominator=denominator)
        own_seed = zlib.crc32(f"{seed} {cartography.slide_id}".encode())
        p = colocation_p(positive, permutations=permutations, seed=own_seed, denominator=denominator)
        interval = block_bootstrap_interval(
            coords, positive, block_tiles=block_tiles, resamples=resamples, seed=own_seed, denominator=denominator
        )
        identity = (cartography.slide_id, cartography.patient_id, "+".join(traits))
        total = int(counts.sum())
        rows.append((*identity, index.hti, total, total - int(counts[-1]), p, *interval, index.flag))
        combinations += [
            (cartography.slide_id, name, int(count), count / total if total else np.nan)
            for name, count in zip(names, counts, strict=True)
        ]
    columns = ["slide_id", "patient_id", "traits", "hti", "n_tiles", "n_positive", "p", "low", "high", "flag"]
    return (
        pd.DataFrame(rows, columns=columns),
        pd.DataFrame(combinations, columns=["slide_id", "combination", "n_tiles", "share"]),
    )


def _index(counts: np.ndarray, denominator: Denominator) -> np.ndarray:
    """HTI of each row of (m, 2 ** traits) counts; 0 where nothing is positive."""
    if denominator not in ("positive", "all"):
        raise InputError(f"expected the denominator `positive` or `all`, found {denominator!r}")
    carried = counts[:, :-1]
    total = (carried if denominator == "positive" else counts).sum(axis=1, keepdims=True)
    share = carried / np.maximum(total, 1)
    terms = share * np.log(np.where(share > 0, share, 1.0))
    # abs, because -0.0 is not what anybody expects in a table.
    return np.clip(np.abs(terms.sum(axis=1) / np.log(carried.shape[1])), 0.0, 1.0)


def _exact_null(counts: np.ndarray, denominator: Denominator) -> tuple[np.ndarray, np.ndarray]:
    """The HTI of each possible number of tiles with both of two traits, and that number's probability."""
    # Here, because the import takes half a second, and every figure takes this room's names.
    from scipy.stats import hypergeom

    only_a, only_b, both, neither = (int(count) for count in counts)
    total, of_a, of_b = only_a + only_b + both + neither, only_a + both, only_b + both
    shared = np.arange(max(0, of_a + of_b - total), min(of_a, of_b) + 1)
    possible = np.stack([of_a - shared, of_b - shared, shared, total - of_a - of_b + shared], axis=1)
    weight = hypergeom.pmf(shared, total, of_a, of_b)
    return _index(possible, denominator), weight


def _permuted_null(positive: np.ndarray, permutations: int, seed: int, denominator: Denominator) -> np.ndarray:
    """The HTI of `permutations` slides whose traits were shuffled independently."""
    rng = np.random.default_rng(seed)
    traits, tiles = positive.shape
    at_once = max(1, HELD // tiles)
    null = []
    for start in range(0, permutations, at_once):
        size = min(at_once, permutations - start)
        shuffled = np.empty((traits, size, tiles), bool)
        for layer, states in enumerate(positive):
            shuffled[layer] = rng.permuted(np.broadcast_to(states, (size, tiles)), axis=1)
        kinds = _combination_of(shuffled.reshape(traits, -1)).reshape(size, tiles)
        offset = np.arange(size)[:, None] * 2**traits
        counts = np.bincount((kinds + offset).ravel(), minlength=size * 2**traits)
        null.append(_index(counts.reshape(size, -1), denominator))
    return np.concatenate(null)


def _subsets(traits: int) -> list[tuple[int, ...]]:
    """The subsets of `traits` traits that are not empty: by size, then in order."""
    subsets = [tuple(bit for bit in range(traits) if code >> bit & 1) for code in range(1, 2**traits)]
    return sorted(subsets, key=lambda subset: (len(subset), subset))


def _combination_of(positive: np.ndarray) -> np.ndarray:
    """The place in `combination_names` of each tile's combination: (traits, n) bool to (n,) int64."""
    traits = len(positive)
    place = np.empty(2**traits, np.int64)
    place[0] = 2**traits - 1
    for index, subset in enumerate(_subsets(traits)):
        place[sum(2**bit for bit in subset)] = index
    return place[2 ** np.arange(traits) @ positive.astype(np.int64)]


def _votes(positive: np.ndarray) -> np.ndarray:
    positive = np.asarray(positive)
    if positive.ndim != 2 or positive.dtype != bool:
        raise InputError(f"expected bool votes of shape (traits, tiles), found {positive.dtype} {positive.shape}")
    return positive


def _check_counts(counts: np.ndarray) -> None:
    if len(counts) < 4:
        raise InputError(
            f"expected the HTI of two traits or more, found counts of {len(counts)} combinations: with one trait the "
            "index is a logarithm to the base 1; name at least two in `heterogeneity_traits`"
        )


def _check_traits(traits: Sequence[str]) -> None:
    if len(traits) < 2 or len(set(traits)) < len(traits):
        raise InputError(f"expected two or more different traits for the HTI, found {list(traits)}")
    unclear = [trait for trait in traits if "+" in trait or trait == NONE]
    if unclear:
        raise InputError(f"expected trait names without `+` and other than `{NONE}`, found {unclear}: rename them")
