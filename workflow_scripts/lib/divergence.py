"""How far the tiles of primary tumours lie from those of metastases: Kullback-Leibler divergence, feature by feature.

Source: metastatic origin, 3.2 and Fig. 5. The paper names no estimator. Tables have KL(first || second) in nats, the
first sample being always of primary tumours: it says how surprising primary tiles are to one who knows the second.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from workflow_scripts.lib import files
from workflow_scripts.lib.domains import DOMAINS, METASTATIC, PRIMARY
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.latents import read_latents

log = logging.getLogger(__name__)

# The comparisons of Fig. 5B by the reading that they belong to: the paper's text (3.2) and the figure's caption differ.
READINGS = {"text": ("counterpart", "everything_else"), "caption": ("other_metastases", "other_primaries")}
COLUMNS = ["reading", "comparison", "class", "other", "feature", "kl", "chance", "n_first", "n_second", "estimator"]
# Of fewer distinct values there is no telling how they are distributed.
LEAST_VALUES = 20
# The most normal components of a mixture, and how many values in a row stand for a sample when it is fitted.
MOST_COMPONENTS = 5
SUMMARY = 256
MOST_ITERATIONS = 500
# Nats of log-likelihood, of a whole sample: more than a gain that BIC could care for.
LEAST_GAIN = 0.01
# A component is at least this wide, in standard deviations of its sample: equal values would make one of no width.
LEAST_WIDTH = 1e-3
BINS, PSEUDO_COUNT = 30, 0.25
# How often tiles are dealt anew to tell what divergence chance makes.
REDIVISIONS = 5


class Mixture(NamedTuple):
    """A density of normal components: weights, means and standard deviations, each (k,)."""

    weights: np.ndarray
    means: np.ndarray
    widths: np.ndarray

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """The natural logarithm of the density at x (n,)."""
        return _log_sum(_log_parts(self, x))[:, 0]


class Estimator(NamedTuple):
    """`prepare` is what is made of each sample once, and `compare` what a first and a second so prepared give."""

    prepare: Callable[[np.ndarray], Any]
    compare: Callable[[Any, Any], float]


# The divergence of two samples


def kl_divergence(first: np.ndarray, second: np.ndarray, *, estimator: str = "mixture") -> float:
    """KL(first || second) in nats of the densities that two samples (n,) and (m,) of one feature come from.

    - `mixture`: a mixture of up to MOST_COMPONENTS normal densities is fitted to each sample, their number by BIC, and
      the divergence of the two is integrated. The only one of those here that is right for normal samples of any
      widths and for samples of two modes alike.
    - `gaussian`: the same with one component, the divergence of normal densities of the samples' means and variances.
      Two modes look to it like one wide one.
    - `histogram`: shares of BINS bins of equal width over the range of both, with PSEUDO_COUNT added to each count. Too
      low where the first reaches beyond the second, since a bin without tiles cannot say how improbable it is.

    Mixtures reach beyond their samples, so that the divergence of samples that do not touch is the square of their
    distance, and large; the histogram's stays below the logarithm of n.

    NaN where a sample has fewer than LEAST_VALUES distinct values: few tiles, or a feature that is constant. Raises
    InputError for an unknown estimator, values that are not finite, and samples that are not of one dimension.
    """
    prepare, compare = _estimator(estimator)
    samples = [_checked(sample) for sample in (first, second)]
    if not all(map(_is_enough, samples)):
        return float("nan")
    return compare(*map(prepare, samples))


def chance_divergence(first: np.ndarray, second: np.ndarray, *, estimator: str, seed: int) -> float:
    """What `kl_divergence` finds on average between samples of these sizes that differ by chance alone.

    Values of both (n,) and (m,) are put together and dealt anew, REDIVISIONS times. The fewer there are, the more it
    is: about 1 / n + 1 / m of normal samples. NaN as there.
    """
    rng = np.random.default_rng(seed)
    together = np.concatenate([first, second])
    dealt = (rng.permutation(together) for _ in range(REDIVISIONS))
    return float(np.mean([kl_divergence(*np.split(values, [len(first)]), estimator=estimator) for values in dealt]))


def fit_mixture(sample: np.ndarray, *, most: int = MOST_COMPONENTS) -> Mixture:
    """The mixture of up to `most` normal densities that a sample (n,) of some spread is likeliest from, less BIC's fee.

    Expectation-maximisation from even quantiles, so that the same sample gives the same mixture. Large samples are
    fitted by SUMMARY groups of neighbours, each with its mean and variance. More components are tried until two numbers
    in a row are no better than one before: of three modes, two may fit worse than one.
    """
    centre, spread = sample.mean(), sample.std()
    groups = _neighbours((sample - centre) / spread)
    best, best_merit, worse = None, -np.inf, 0
    for number in range(1, most + 1):
        mixture, likelihood = _expectation_maximisation(groups, number)
        merit = likelihood - (3 * number - 1) / 2 * np.log(len(sample))
        worse = 0 if merit > best_merit else worse + 1
        if merit > best_merit:
            best, best_merit = mixture, merit
        if worse == 2:
            break
    return Mixture(best.weights, best.means * spread + centre, best.widths * spread)


class _Groups(NamedTuple):
    counts: np.ndarray
    means: np.ndarray
    variances: np.ndarray


def _neighbours(sample: np.ndarray) -> _Groups:
    """Groups of values that are next to each other, as many in each but for one."""
    ordered = np.sort(sample)
    starts = np.unique(np.arange(SUMMARY) * len(ordered) // SUMMARY)
    counts = np.diff(np.append(starts, len(ordered)))
    means = np.add.reduceat(ordered, starts) / counts
    variances = np.add.reduceat((ordered - np.repeat(means, counts)) ** 2, starts) / counts
    return _Groups(counts, means, variances)


def _expectation_maximisation(groups: _Groups, number: int) -> tuple[Mixture, float]:
    """A mixture of a number of components, fitted to groups of a sample with mean 0 and variance 1; its likelihood."""
    total = groups.counts.sum()
    places = (np.cumsum(groups.counts) - groups.counts / 2) / total
    starts = np.interp((np.arange(number) + 0.5) / number, places, groups.means)
    mixture = Mixture(np.full(number, 1 / number), starts, np.full(number, number**-0.7))
    likelihood = -np.inf
    for _ in range(MOST_ITERATIONS):
        parts = _log_parts(mixture, groups.means) - groups.variances[:, None] / (2 * mixture.widths**2)
        whole = _log_sum(parts)
        before, likelihood = likelihood, float(groups.counts @ whole[:, 0])
        if likelihood - before < LEAST_GAIN:
            break
        shares = np.exp(parts - whole) * groups.counts[:, None]
        # A component that nothing belongs to stays where it is, with no weight to speak of.
        sums = shares.sum(axis=0) + 1e-9
        means = (shares * groups.means[:, None]).sum(axis=0) / sums
        squares = shares * ((groups.means[:, None] - means) ** 2 + groups.variances[:, None])
        widths = np.sqrt(squares.sum(axis=0) / sums).clip(min=LEAST_WIDTH)
        mixture = Mixture(sums / sums.sum(), means, widths)
    return mixture, likelihood


def _log_parts(mixture: Mixture, x: np.ndarray) -> np.ndarray:
    """The logarithm of what each component adds to the density: (n, k)."""
    heights = np.log(mixture.weights) - np.log(mixture.widths) - np.log(2 * np.pi) / 2
    return heights - ((x[:, None] - mixture.means) / mixture.widths) ** 2 / 2


def _log_sum(parts: np.ndarray) -> np.ndarray:
    """The logarithm of the sum of the exponentials of each row, (n, 1)."""
    # scipy's takes ten times as long for so few components.
    highest = parts.max(axis=1, keepdims=True)
    return highest + np.log(np.exp(parts - highest).sum(axis=1, keepdims=True))


def _integrated(first: Mixture, second: Mixture) -> float:
    """KL(first || second) of two mixtures, by the trapezoidal rule on a grid that is as fine as any component."""
    steps = np.linspace(-9, 9, 361)
    x = np.unique(np.concatenate([(m.means[:, None] + m.widths[:, None] * steps).ravel() for m in (first, second)]))
    log_first = first.log_density(x)
    # Of equal mixtures the sum may come out a rounding error below nothing.
    return max(0.0, float(np.trapezoid(np.exp(log_first) * (log_first - second.log_density(x)), x)))


def _histogram(first: np.ndarray, second: np.ndarray) -> float:
    edges = np.linspace(min(first.min(), second.min()), max(first.max(), second.max()), BINS + 1)
    counts = [np.histogram(sample, edges)[0] + PSEUDO_COUNT for sample in (first, second)]
    p, q = (count / count.sum() for count in counts)
    return float(np.sum(p * np.log(p / q)))


ESTIMATORS = {
    "mixture": Estimator(fit_mixture, _integrated),
    "gaussian": Estimator(partial(fit_mixture, most=1), _integrated),
    "histogram": Estimator(np.asarray, _histogram),
}


def _estimator(name: str) -> Estimator:
    if name not in ESTIMATORS:
        raise InputError(f"divergence estimator {name!r}: expected one of {', '.join(ESTIMATORS)}")
    return ESTIMATORS[name]


def _checked(sample: np.ndarray) -> np.ndarray:
    sample = np.asarray(sample, float)
    if sample.ndim != 1:
        raise InputError(f"expected the values of one feature, (n,), found an array of shape {sample.shape}")
    if not np.isfinite(sample).all():
        raise InputError(
            f"expected finite values of a feature, found {int((~np.isfinite(sample)).sum())} of {len(sample)} that are "
            "missing or infinite; train the autoencoder again with a lower learning rate"
        )
    return sample


def _is_enough(sample: np.ndarray) -> bool:
    return len(np.unique(sample)) >= LEAST_VALUES


# Tables of classes


def divergence_table(
    latents: np.ndarray,
    classes: Sequence[str],
    domains: Sequence[str],
    *,
    estimator: str = "mixture",
    seed: int,
    order: Sequence[str] = (),
) -> pd.DataFrame:
    """The table `divergence.tsv`: KL divergences between classes of tiles, per latent feature, in both readings of 5B.

    latents: (n, features) of n tiles; classes: the class of each; domains: PRIMARY or METASTATIC. A control class, such
    as normal liver from slides of both domains, is one more class. The first sample is always the primary tiles of
    `class`. The second is, by `comparison`:

    - `counterpart`: the metastatic tiles of the class (text, blue; the paper's Fig. 5C is of its mean).
    - `everything_else`: all other tiles, primary and metastatic, its counterpart among them (text, red).
    - `other_metastases`: the metastatic tiles of each other class (caption, blue).
    - `other_primaries`: the primary tiles of each other class (caption, red).

    Columns: reading (`text`, `caption`); comparison; class; other: the class of the second sample, empty for everything
    else; feature, from 0; kl (nats, `kl_divergence`; missing where a sample has too few distinct values, or no tile);
    chance (of `counterpart`: `chance_divergence`, of which `seed` is); n_first, n_second: tiles of each; estimator.
    Rows are in this order, classes in the `order` that is given, and those that are not in it after these by name.

    Raises InputError as `kl_divergence` does, for an unknown domain, and where the three are not of as many tiles.
    """
    prepare, compare = _estimator(estimator)
    latents, classes, domains = np.asarray(latents, float), np.asarray(classes, str), np.asarray(domains, str)
    _check_tiles(latents, classes, domains)
    names = _in_order(classes, order)

    def prepared(chosen: np.ndarray) -> tuple[int, list[Any]]:
        columns = latents[chosen].T
        return int(chosen.sum()), [prepare(column) if _is_enough(column) else None for column in columns]

    primary = {name: (classes == name) & (domains == PRIMARY) for name in names}
    of_primary = {name: prepared(chosen) for name, chosen in primary.items()}
    of_metastatic = {name: prepared((classes == name) & (domains == METASTATIC)) for name in names}
    seconds = {
        "counterpart": lambda name: {name: of_metastatic[name]},
        "everything_else": lambda name: {"": prepared(~primary[name])},
        "other_metastases": lambda name: {other: of_metastatic[other] for other in names if other != name},
        "other_primaries": lambda name: {other: of_primary[other] for other in names if other != name},
    }
    rows = []
    for reading, comparisons in READINGS.items():
        for comparison in comparisons:
            for name in names:
                n_first, firsts = of_primary[name]
                for other, (n_second, of_second) in seconds[comparison](name).items():
                    for feature, (first, second) in enumerate(zip(firsts, of_second, strict=True)):
                        kl = np.nan if first is None or second is None else compare(first, second)
                        chance = np.nan
                        if comparison == "counterpart" and not np.isnan(kl):
                            samples = (
                                latents[of, feature] for of in (primary[name], (classes == name) & ~primary[name])
                            )
                            chance = chance_divergence(*samples, estimator=estimator, seed=seed)
                        rows.append(
                            (reading, comparison, name, other, feature, kl, chance, n_first, n_second, estimator)
                        )  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def _in_order(classes: Sequence[str], order: Sequence[str]) -> list[str]:
    """The classes that tiles have: those of `order`, and then the others by name."""
    found = set(map(str, classes))
    return [*(name for name in order if name in found), *sorted(found - set(order))]


def write_divergences(
    path_to_table: str | Path, *, path_to_latents: str | Path, estimator: str, seed: int, order: Sequence[str]
) -> None:
    """Write `divergence.tsv` of the latents in a file (`latents`); the rest is as in `divergence_table`."""
    found = read_latents(path_to_latents)
    classes, domains = found.tiles["class"], found.tiles["domain"]
    table = divergence_table(found.values, classes, domains, estimator=estimator, seed=seed, order=order)
    for name, kl, chance, number in mean_divergences(table).itertuples(index=False):
        log.info("%s: mean divergence %.3f nats over %d features, %.3f by chance", name, kl, number, chance)
    files.write_table(table, path_to_table)


def _check_tiles(latents: np.ndarray, classes: np.ndarray, domains: np.ndarray) -> None:
    if latents.ndim != 2 or not len(latents) == len(classes) == len(domains):
        raise InputError(
            f"expected latents (n, features), a class and a domain for each of n tiles, found latents of shape "
            f"{latents.shape}, {len(classes)} classes and {len(domains)} domains"
        )
    unknown = sorted(set(domains.tolist()) - {PRIMARY, METASTATIC})
    if unknown:
        raise InputError(f"expected the domains {PRIMARY} and {METASTATIC}, found {', '.join(unknown)}")
    _checked(latents.ravel())


def mean_divergences(table: pd.DataFrame, comparison: str = "counterpart") -> pd.DataFrame:
    """The mean of a comparison over the features, and other classes, of each class: class, kl, chance, values.

    table: of `divergence_table`, whose order the classes keep; `values` is how many divergences the mean is over, those
    that are missing left out; a class without any has none. Paper: metastatic origin, 3.2 ("the mean KL divergence
    across each of the learned features").
    """
    known = [name for names in READINGS.values() for name in names]
    if comparison not in known:
        raise InputError(f"comparison {comparison!r}: expected one of {', '.join(known)}")
    of_classes = table[table["comparison"] == comparison].groupby("class", sort=False)
    return of_classes.agg(kl=("kl", "mean"), chance=("chance", "mean"), values=("kl", "count")).reset_index()


def points_of_classes(means: pd.DataFrame, auroc: Mapping[str, float]) -> pd.DataFrame:
    """The points of Fig. 5C: class, kl, chance, auroc, of the classes that have both; a control class has no AUROC.

    means: of `mean_divergences`; auroc: of the transferred model, by class.
    """
    points = means[["class", "kl", "chance"]].assign(auroc=means["class"].map(dict(auroc)).astype(float))
    return points.dropna().reset_index(drop=True)


def correlation(points: pd.DataFrame) -> dict[str, float]:
    """How the kl and the auroc of points (`points_of_classes`) go together, over classes.

    Keys: n; pearson (0.317 in the paper), pearson_low and pearson_high, its 95 % interval by Fisher's transformation,
    from four classes on; pearson_p, two-sided; spearman, spearman_p. NaN with fewer than three classes, and where kl or
    auroc is the same for all.
    """
    # Here, because the import takes a second and no table of divergences needs it.
    from scipy.stats import pearsonr, spearmanr

    kl, auroc = points["kl"].to_numpy(float), points["auroc"].to_numpy(float)
    keys = ("pearson", "pearson_low", "pearson_high", "pearson_p", "spearman", "spearman_p")
    if len(points) < 3 or np.ptp(kl) == 0 or np.ptp(auroc) == 0:
        return {"n": len(points), **dict.fromkeys(keys, np.nan)}
    pearson, spearman = pearsonr(kl, auroc), spearmanr(kl, auroc)
    low, high = pearson.confidence_interval(0.95) if len(points) > 3 else (np.nan, np.nan)
    found = (pearson.statistic, low, high, pearson.pvalue, spearman.statistic, spearman.pvalue)
    return {"n": len(points), **dict(zip(keys, map(float, found), strict=True))}


# The plane of Fig. 5A


def embed(latents: np.ndarray, *, perplexity: float, seed: int) -> np.ndarray:
    """Latents (n, features) of n tiles laid out in a plane by t-SNE (scikit-learn): (n, 2) float32.

    It starts from the first two principal components, so that the plane is turned alike from run to run. perplexity:
    roughly how many neighbours a tile has; the paper gives none. Paper: metastatic origin, Fig. 5A.

    Raises InputError where there are not more tiles than the perplexity, or a latent is not finite.
    """
    # Here, because the import takes a second and no table needs it.
    from sklearn.manifold import TSNE

    latents = np.asarray(latents, float)
    _checked(latents.ravel())
    if len(latents) <= perplexity:
        raise InputError(f"t-SNE of {len(latents)} tiles: expected more than its perplexity, which is {perplexity:g}")
    tsne = TSNE(n_components=2, perplexity=perplexity, init="pca", random_state=seed, method="barnes_hut", n_jobs=1)
    return tsne.fit_transform(latents)


def plane(
    tiles: pd.DataFrame, latents: np.ndarray, *, most: int, perplexity: float, seed: int, order: Sequence[str] = ()
) -> pd.DataFrame:
    """The table `tsne.tsv`: slide_id, class, domain, x, y of tiles in the plane of `embed`, by class and domain.

    tiles: slide_id, class and domain of n tiles; latents (n, features). Of each class and domain at most `most` tiles
    take part, at equal steps over them as they are listed, so from all slides in turn: what a t-SNE costs grows faster
    than the number of its tiles. Classes are in the order of `divergence_table`, primaries first.
    """
    chosen = []
    for name in _in_order(tiles["class"], order):
        for domain in DOMAINS:
            members = np.flatnonzero((tiles["class"] == name) & (tiles["domain"] == domain))
            number = min(most, len(members))
            chosen.append(members[np.arange(number) * len(members) // max(1, number)])
    chosen = np.concatenate(chosen)
    x, y = embed(latents[chosen], perplexity=perplexity, seed=seed).T
    return tiles.iloc[chosen][["slide_id", "class", "domain"]].reset_index(drop=True).assign(x=x, y=y)


def write_plane(
    path_to_table: str | Path,
    *,
    path_to_latents: str | Path,
    most: int,
    perplexity: float,
    seed: int,
    order: Sequence[str],
) -> None:
    """Write `tsne.tsv` of the latents in a file (`latents`); the rest is as in `plane`."""
    found = read_latents(path_to_latents)
    table = plane(found.tiles, found.values, most=most, perplexity=perplexity, seed=seed, order=order)
    log.info("t-SNE of %d of %d tiles", len(table), len(found.tiles))
    files.write_table(table, path_to_table)
