"""Divergences are those of the densities that the samples are from, and the tables compare what they say they do."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.special import xlogy
from scipy.stats import norm

from workflow_scripts.lib import divergence, latents
from workflow_scripts.lib.divergence import kl_divergence
from workflow_scripts.lib.domains import METASTATIC, PRIMARY
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import read_table

N, SEEDS = 5000, 12
# Weight, mean and standard deviation of each normal component.
TWO_MODES = [(0.5, -2, 0.8), (0.5, 2, 0.8)]
MOVED = [(0.5, -1, 0.8), (0.5, 3, 0.8)]
UNEVEN = [(0.7, -2, 1.0), (0.3, 2, 0.7)]
OTHER_WAY = [(0.3, -2, 1.0), (0.7, 2, 0.7)]


def draw(components: list[tuple], rng: np.random.Generator, n: int = N) -> np.ndarray:
    weights, means, widths = np.array(components).T
    of = rng.choice(len(components), n, p=weights)
    return rng.normal(means[of], widths[of])


def closed_form(shift: float, first: float = 1, second: float = 1) -> float:
    return np.log(second / first) + (first**2 + shift**2) / (2 * second**2) - 0.5


def integrated(first: list[tuple], second: list[tuple]) -> float:
    def density(components: list[tuple], x: float) -> float:
        return sum(weight * norm.pdf(x, mean, width) for weight, mean, width in components)

    def integrand(x: float) -> float:
        p, q = density(first, x), density(second, x)
        return xlogy(p, p / q)

    return sum(quad(integrand, *ends)[0] for ends in pairwise(range(-14, 15, 2)))


def estimates(first: list[tuple], second: list[tuple], estimator: str, seeds: int = SEEDS) -> np.ndarray:
    found = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        found.append(kl_divergence(draw(first, rng), draw(second, rng), estimator=estimator))
    return np.array(found)


@pytest.mark.parametrize("estimator", ["mixture", "gaussian"])
@pytest.mark.parametrize(
    ("shift", "first", "second"),
    [(0.5, 1, 1), (1, 1, 1), (1.5, 1, 1), (2, 1, 1), (0, 1, 2), (0, 2, 1), (1, 1, 1.5), (1, 1.5, 1)],
)
def test_the_divergence_of_normal_samples_is_that_of_the_closed_form(shift, first, second, estimator):
    found = estimates([(1, 0, first)], [(1, shift, second)], estimator)
    assert found.mean() == pytest.approx(closed_form(shift, first, second), rel=0.05)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (TWO_MODES, MOVED),
        (UNEVEN, OTHER_WAY),
        (TWO_MODES, [(1, 0, 2)]),
        ([(1, 0, 1.5)], [(0.5, -1.5, 0.8), (0.5, 1.5, 0.8)]),
    ],
    ids=["moved", "weighted", "against one mode", "one mode against two"],
)
def test_the_divergence_of_samples_of_two_modes_is_that_of_their_densities(first, second):
    assert estimates(first, second, "mixture").mean() == pytest.approx(integrated(first, second), rel=0.05)


def test_one_normal_density_cannot_tell_modes_that_moved():
    assert estimates(TWO_MODES, MOVED, "gaussian", seeds=2).mean() < 0.5 * integrated(TWO_MODES, MOVED)


def test_a_histogram_is_right_where_samples_overlap_and_too_low_where_the_first_reaches_further():
    assert estimates([(1, 0, 1)], [(1, 1, 1)], "histogram").mean() == pytest.approx(0.5, rel=0.05)
    assert estimates(TWO_MODES, MOVED, "histogram").mean() == pytest.approx(integrated(TWO_MODES, MOVED), rel=0.05)
    assert estimates([(1, 0, 2)], [(1, 0, 1)], "histogram").mean() < 0.9 * closed_form(0, 2, 1)


@pytest.mark.parametrize("estimator", divergence.ESTIMATORS)
def test_the_divergence_is_from_the_first_to_the_second(estimator):
    rng = np.random.default_rng(0)
    narrow, wide = rng.normal(0, 1, N), rng.normal(0, 2, N)
    assert kl_divergence(wide, narrow, estimator=estimator) > 1.5 * kl_divergence(narrow, wide, estimator=estimator)


@pytest.mark.parametrize("estimator", divergence.ESTIMATORS)
def test_samples_of_one_density_have_next_to_no_divergence_and_equal_ones_none(estimator):
    found = estimates(TWO_MODES, TWO_MODES, estimator, seeds=3)
    assert (found >= 0).all()
    assert found.max() < 0.02
    sample = np.random.default_rng(0).normal(size=500)
    assert kl_divergence(sample, sample, estimator=estimator) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("estimator", divergence.ESTIMATORS)
def test_the_scale_of_a_feature_does_not_matter(estimator):
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, 800), rng.normal(1, 1, 800)
    expected = kl_divergence(first, second, estimator=estimator)
    assert kl_divergence(first * 1e-4 + 7, second * 1e-4 + 7, estimator=estimator) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("estimator", divergence.ESTIMATORS)
def test_too_few_values_or_a_constant_feature_have_no_divergence(estimator):
    rng = np.random.default_rng(0)
    enough, few, constant = rng.normal(size=500), rng.normal(size=19), np.zeros(500)
    for first, second in ((enough, few), (few, enough), (enough, constant), (constant, constant), (enough, [])):
        assert np.isnan(kl_divergence(first, second, estimator=estimator))
    assert np.isfinite(kl_divergence(enough, rng.normal(size=20), estimator=estimator))


def test_equal_values_among_others_and_far_ones_leave_a_finite_divergence():
    rng = np.random.default_rng(0)
    first = np.concatenate([np.zeros(300), rng.normal(size=700)])
    second = np.append(rng.normal(size=999), 80.0)
    for one, other in ((first, second), (second, first)):
        assert 0 < kl_divergence(one, other) < np.inf


def test_three_modes_are_found_where_two_would_be_no_better_than_one():
    for seed in range(8):
        sample = draw([(0.25, -2, 0.5), (0.5, 0, 0.5), (0.25, 2, 0.5)], np.random.default_rng(seed), 400)
        assert len(divergence.fit_mixture(sample).weights) == 3


def test_a_fitted_normal_density_has_the_samples_own_mean_and_variance_however_it_is_summarised():
    sample = np.random.default_rng(0).exponential(size=20_000) ** 2
    mixture = divergence.fit_mixture(sample, most=1)
    assert (mixture.means[0], mixture.widths[0]) == pytest.approx((sample.mean(), sample.std()), rel=1e-9)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value):
    sample = np.append(np.arange(50.0), value)
    with pytest.raises(InputError, match="found 1 of 51 that are missing or infinite"):
        kl_divergence(np.arange(50.0), sample)


def test_an_unknown_estimator_and_a_table_for_a_feature_are_refused():
    with pytest.raises(InputError, match="'kde': expected one of mixture, gaussian, histogram"):
        kl_divergence(np.arange(50.0), np.arange(50.0), estimator="kde")
    with pytest.raises(InputError, match=r"found an array of shape \(50, 2\)"):
        kl_divergence(np.zeros((50, 2)), np.arange(50.0))


# Tables


@pytest.fixture(scope="module")
def tiles():
    """Latents of three classes and two features; the metastases of `far` have moved in the first feature."""
    rng = np.random.default_rng(1)
    places = {("far", PRIMARY): 0, ("far", METASTATIC): 2, ("near", PRIMARY): 4, ("near", METASTATIC): 4.5,
              ("control", PRIMARY): 8, ("control", METASTATIC): 8}  # fmt: skip
    latents = [np.stack([rng.normal(place, 1, 400), rng.normal(0, 1, 400)], axis=1) for place in places.values()]
    classes, domains = (np.repeat([key[axis] for key in places], 400) for axis in (0, 1))
    return np.concatenate(latents), classes, domains


def of(table, comparison, name, other, feature):
    return table[
        (table["comparison"] == comparison) & (table["class"] == name) & (table["other"] == other)
        & (table["feature"] == feature)
    ].iloc[0]  # fmt: skip


def test_the_table_compares_primaries_with_what_each_reading_names(tiles):
    latents, classes, domains = tiles
    table = divergence.divergence_table(*tiles, estimator="gaussian", seed=1)
    assert table.columns.tolist() == divergence.COLUMNS
    assert table.groupby("comparison").size().to_dict() == {
        "counterpart": 3 * 2, "everything_else": 3 * 2, "other_metastases": 3 * 2 * 2, "other_primaries": 3 * 2 * 2
    }  # fmt: skip
    assert set(zip(table["reading"], table["comparison"], strict=True)) == {
        (reading, name) for reading, names in divergence.READINGS.items() for name in names
    }

    def sample(chosen: np.ndarray) -> np.ndarray:
        return latents[chosen, 0]

    primary, metastatic = domains == PRIMARY, domains == METASTATIC
    far = sample((classes == "far") & primary)
    seconds = {
        ("counterpart", "far"): (classes == "far") & metastatic,
        ("everything_else", ""): ~((classes == "far") & primary),
        ("other_metastases", "near"): (classes == "near") & metastatic,
        ("other_primaries", "near"): (classes == "near") & primary,
    }
    for (comparison, other), chosen in seconds.items():
        row = of(table, comparison, "far", other, 0)
        assert row["kl"] == kl_divergence(far, sample(chosen), estimator="gaussian")
        assert (row["n_first"], row["n_second"]) == (400, chosen.sum())


def test_the_mean_over_features_is_largest_where_metastases_moved_most_and_smallest_for_the_control(tiles):
    table = divergence.divergence_table(*tiles, seed=1)
    means = divergence.mean_divergences(table)
    by_class = means.set_index("class")["kl"]
    assert by_class.index.tolist() == ["control", "far", "near"]
    assert by_class["control"] < 0.01 < by_class["near"] < by_class["far"]
    # A shift of 2 in one of two features.
    assert by_class["far"] == pytest.approx(1, rel=0.2)
    assert means["values"].tolist() == [2, 2, 2]
    assert divergence.mean_divergences(table, "other_primaries")["values"].tolist() == [4, 4, 4]
    with pytest.raises(InputError, match="expected one of counterpart"):
        divergence.mean_divergences(table, "text")


def test_what_chance_makes_is_told_beside_the_divergence_of_a_class_from_its_metastases(tiles):
    table = divergence.divergence_table(*tiles, estimator="gaussian", seed=1)
    assert table["chance"].notna().equals(table["comparison"] == "counterpart")
    means = divergence.mean_divergences(table).set_index("class")
    # 1 / n + 1 / m of normal samples of 400.
    assert means["chance"].tolist() == pytest.approx([0.005] * 3, rel=0.5)
    assert means.loc["control", "kl"] < 3 * means.loc["control", "chance"]
    assert means.loc["near", "kl"] > 5 * means.loc["near", "chance"]


def test_chance_makes_more_of_fewer_tiles():
    rng = np.random.default_rng(0)
    few, many = (
        np.mean([
            divergence.chance_divergence(*rng.normal(0, 1, (2, number)), estimator="gaussian", seed=seed)
            for seed in range(40)
        ])
        for number in (50, 500)
    )  # fmt: skip
    assert few == pytest.approx(2 / 50, rel=0.3)
    assert many == pytest.approx(2 / 500, rel=0.3)


def test_classes_stand_in_the_order_that_is_given_and_others_after_them(tiles):
    by_name = divergence.divergence_table(*tiles, estimator="gaussian", seed=1)
    table = divergence.divergence_table(*tiles, estimator="gaussian", seed=1, order=["near", "unseen", "far"])
    assert table["class"].drop_duplicates().tolist() == ["near", "far", "control"]
    assert divergence.mean_divergences(table)["class"].tolist() == ["near", "far", "control"]
    keys = ["comparison", "class", "other", "feature"]
    assert table.sort_values(keys, ignore_index=True).equals(by_name.sort_values(keys, ignore_index=True))


def written_latents(folder: Path, tiles) -> Path:
    """The file of these tiles: a slide of each class and domain."""
    values, classes, domains = tiles
    names = list(dict.fromkeys(zip(classes.tolist(), domains.tolist(), strict=True)))
    of = [(classes == name) & (domains == domain) for name, domain in names]
    slides = pd.DataFrame({"slide_id": ["-".join(name) for name in names]})
    coords = [np.stack([np.arange(chosen.sum()), np.full(chosen.sum(), 7)], axis=1) for chosen in of]
    path = folder / "latents.h5"
    latents.write_latents(
        path, slides.assign(**{"class": [n for n, _ in names], "domain": [d for _, d in names]}), coords,
        [values[chosen] for chosen in of],
    )  # fmt: skip
    return path


def test_the_table_is_written_from_a_file_of_latents(tiles, tmp_path):
    path = written_latents(tmp_path, tiles)
    order = ["near", "far", "control"]
    out = tmp_path / "tables" / "divergence.tsv"
    divergence.write_divergences(out, path_to_latents=path, estimator="gaussian", seed=1, order=order)
    found = read_table(out, text=["class", "other"])
    values = tiles[0].astype(np.float32)
    expected = divergence.divergence_table(values, *tiles[1:], estimator="gaussian", seed=1, order=order)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, check_column_type=False)


def test_latents_read_back_as_they_were_written_and_the_same_ones_are_the_same_bytes(tiles, tmp_path):
    first, second = (written_latents(tmp_path / name, tiles) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    found = latents.read_latents(first)
    assert found.values.dtype == np.float32
    np.testing.assert_array_equal(found.values, tiles[0].astype(np.float32))
    assert found.tiles.columns.tolist() == ["slide_id", "class", "domain", "col", "row"]
    assert found.tiles["class"].tolist() == tiles[1].tolist()
    assert found.tiles.iloc[401].tolist() == ["far-metastatic", "far", "metastatic", 1, 7]


def test_latents_of_slides_without_tiles_are_none(tmp_path):
    slides = pd.DataFrame({"slide_id": ["S"], "class": ["liver"], "domain": [PRIMARY]})
    latents.write_latents(tmp_path / "l.h5", slides, [np.empty((0, 2))], [np.empty((0, 64))])
    found = latents.read_latents(tmp_path / "l.h5")
    assert found.values.shape == (0, 64)
    assert found.tiles.empty


def test_latents_that_are_not_finite_are_refused(tiles, tmp_path):
    path = written_latents(tmp_path, (np.where(np.arange(2400) == 3, np.nan, tiles[0].T).T, *tiles[1:]))
    with pytest.raises(InputError, match=r"latents\.h5: expected finite latents"):
        latents.read_latents(path)


def test_the_same_tiles_give_the_same_table(tiles):
    first, second = (divergence.divergence_table(*tiles, seed=1) for _ in range(2))
    assert first.equals(second)


def test_a_class_of_one_domain_stands_in_the_table_without_a_divergence(tiles):
    latents, classes, domains = tiles
    kept = ~((classes == "near") & (domains == METASTATIC))
    table = divergence.divergence_table(latents[kept], classes[kept], domains[kept], estimator="gaussian", seed=1)
    row = of(table, "counterpart", "near", "near", 0)
    assert np.isnan(row["kl"])
    assert (row["n_first"], row["n_second"]) == (400, 0)
    means = divergence.mean_divergences(table).set_index("class")
    assert np.isnan(means.loc["near", "kl"])
    assert means.loc["near", "values"] == 0


def test_a_dead_feature_is_left_out_of_the_mean(tiles):
    latents, classes, domains = tiles
    dead = np.concatenate([latents, np.zeros((len(latents), 1))], axis=1)
    table, with_dead = (
        divergence.divergence_table(found, classes, domains, estimator="gaussian", seed=1) for found in (latents, dead)
    )
    assert divergence.mean_divergences(with_dead).equals(divergence.mean_divergences(table))


def test_tiles_that_are_not_described_are_refused(tiles):
    latents, classes, domains = tiles
    with pytest.raises(InputError, match="2400 classes and 2399 domains"):
        divergence.divergence_table(latents, classes, domains[1:], seed=1)
    with pytest.raises(InputError, match="expected the domains primary and metastatic, found local"):
        divergence.divergence_table(latents, classes, ["local", *domains[1:]], seed=1)


# Fig. 5C


def points(kl: list[float], auroc: list[float]):
    names = [f"class {number}" for number in range(len(kl))]
    means = divergence.pd.DataFrame({"class": [*names, "control"], "kl": [*kl, 0.0], "chance": 0.0})
    return divergence.points_of_classes(means, dict(zip(names, auroc, strict=True)))


def test_the_correlation_is_over_classes_with_an_auroc_and_has_fishers_interval():
    rng = np.random.default_rng(0)
    kl = rng.exponential(size=14)
    auroc = 0.7 + 0.02 * kl + rng.normal(0, 0.05, 14)
    found = divergence.correlation(points(kl, auroc))
    r = np.corrcoef(kl, auroc)[0, 1]
    assert found["n"] == 14
    assert found["pearson"] == pytest.approx(r)
    low, high = np.tanh(np.arctanh(r) + np.array([-1, 1]) * norm.ppf(0.975) / np.sqrt(11))
    assert (found["pearson_low"], found["pearson_high"]) == pytest.approx((low, high))
    ranks = [np.argsort(np.argsort(values)) for values in (kl, auroc)]
    assert found["spearman"] == pytest.approx(np.corrcoef(*ranks)[0, 1])


def test_a_correlation_that_is_not_defined_is_missing():
    assert np.isnan(divergence.correlation(points([1, 2], [0.6, 0.7]))["pearson"])
    assert np.isnan(divergence.correlation(points([1, 1, 1, 1], [0.6, 0.7, 0.8, 0.9]))["spearman"])
    of_three = divergence.correlation(points([1, 2, 3], [0.6, 0.9, 0.7]))
    assert np.isfinite(of_three["pearson"])
    assert np.isnan(of_three["pearson_low"])


# Fig. 5A


def test_the_plane_keeps_groups_apart_and_is_the_same_from_the_same_seed():
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1], 60)
    latents = rng.normal(group[:, None] * 12, 1, (120, 64))
    first, second = (divergence.embed(latents, perplexity=15, seed=1) for _ in range(2))
    assert first.shape == (120, 2)
    assert np.array_equal(first, second)
    distances = np.linalg.norm(first[:, None] - first[None], axis=2) + 1e9 * np.eye(120)
    assert (group[distances.argmin(axis=1)] == group).all()


def test_the_table_of_the_plane_has_as_many_tiles_of_each_class_and_domain_from_all_over_them(tiles, tmp_path):
    path, out = written_latents(tmp_path, tiles), tmp_path / "tsne.tsv"
    order = ["near", "far", "control"]
    divergence.write_plane(out, path_to_latents=path, most=30, perplexity=10, seed=1, order=order)
    found = read_table(out, text=["slide_id", "class", "domain"])
    assert found.columns.tolist() == ["slide_id", "class", "domain", "x", "y"]
    groups = found.groupby(["class", "domain"], sort=False).size()
    assert groups.index.tolist() == [(name, domain) for name in order for domain in (PRIMARY, METASTATIC)]
    assert set(groups) == {30}
    assert found.loc[35, "slide_id"] == "near-metastatic"
    listed = pd.DataFrame({"slide_id": np.arange(2400) // 40, "class": tiles[1], "domain": tiles[2]})
    spread = divergence.plane(listed, tiles[0].astype(np.float32), most=30, perplexity=10, seed=1, order=order)
    # Of each class and domain three tiles of each of ten slides.
    assert (spread["slide_id"].value_counts() == 3).all()
    np.testing.assert_array_equal(spread[["x", "y"]], found[["x", "y"]].astype(np.float32))


def test_a_class_with_fewer_tiles_than_are_asked_for_gives_all(tiles):
    values, classes, domains = (of[::20] for of in tiles)
    listed = pd.DataFrame({"slide_id": "S", "class": classes, "domain": domains})
    assert len(divergence.plane(listed, values, most=1000, perplexity=10, seed=1)) == len(values)


def test_fewer_tiles_than_neighbours_are_refused():
    with pytest.raises(InputError, match="t-SNE of 20 tiles: expected more than its perplexity, which is 30"):
        divergence.embed(np.zeros((20, 64)), perplexity=30, seed=1)
