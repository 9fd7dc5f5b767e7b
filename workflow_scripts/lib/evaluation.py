"""How well slide scores tell high from low expression: Table 1, the traits it puts first, correlations, and Fig. 2."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from workflow_scripts.lib import predictions
from workflow_scripts.lib import scores as slide_scoring
from workflow_scripts.lib.ensembles import majority_vote, members_of
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.labels import IN, OOD, OOD_NEAR, seen_patients
from workflow_scripts.lib.splits import TEST

ENSEMBLE = "ensemble"
# Weights (resamples × slides) held at once, to keep memory flat on large cohorts.
HELD = 4_000_000
# What a note says of the least p that `paired_test` can give.
LEAST_P = "p is the least that so many resamples can give"


class Auc(NamedTuple):
    """An area under the ROC curve, NaN with the reason in `note`."""

    value: float
    note: str


class Interval(NamedTuple):
    """A 95 % interval and how many resamples it stands on; `one_class` more had only one class and were left out."""

    low: float
    high: float
    used: int
    one_class: int


class Pairs(NamedTuple):
    """Pairs of a slide (or tile, or pixel) of label 1 and one of label 0, counted by whose they are: of p and q groups.

    won: (p, q) float64, of how many pairs of one of the p groups and one of the q the 1 has the higher score, ties
    counting half. ones: (p,) and zeros: (q,), how many each group has of a label. of_ones, of_zeros: the groups' places
    among all that are drawn.
    """

    won: np.ndarray
    ones: np.ndarray
    zeros: np.ndarray
    of_ones: np.ndarray
    of_zeros: np.ndarray


class PairedTest(NamedTuple):
    """A difference in the same resamples: its 95 % interval, p, how many have it, and whether p is the least there is.

    See `paired_test`.
    """

    low: float
    high: float
    p: float
    used: int
    is_least: bool


def auc(labels: np.ndarray, scores: np.ndarray) -> Auc:
    """AUC of scores (n,) for labels (n,) in {0, 1}: the chance that a 1 scores above a 0, ties counting half.

    With one class, or no slide, the value is NaN and the note says so. Raises InputError where a label is not 0 or 1,
    or a score is missing.
    """
    labels, scores = _check_scored(labels, scores)
    n_high = int((labels == 1).sum())
    if n_high in (0, len(labels)):
        return Auc(np.nan, f"one class: {n_high} above, {len(labels) - n_high} below")
    return Auc(slide_scoring.auc(labels, scores), "")


def bootstrap_auc(
    labels: np.ndarray, scores: np.ndarray, patients: Sequence[str], *, resamples: int, seed: int
) -> Interval:
    """The 95 % percentile interval of an AUC, over resamples of patients with replacement.

    labels (n,) in {0, 1} and patients (n,) of n slides or tiles; scores (n,), or (n, models) for the interval of the
    models' mean AUC, each resample being the same for all of them. A patient drawn twice brings all its slides twice.
    Resamples with one class have no AUC: they are left out and counted. NaN where none is left.
    """
    scores = np.asarray(scores, float)
    columns = scores[:, None] if scores.ndim == 1 else scores
    for column in columns.T:
        labels, _ = _check_scored(labels, column)
    if len(patients) != len(labels):
        raise InputError(f"expected a patient for each slide, found {len(patients)} of {len(labels)}")
    drawn = draw_patients(patients, resamples=resamples, seed=seed)
    return interval(np.mean([resampled_auc(labels, column, drawn) for column in columns.T], axis=0))


class Draws(NamedTuple):
    """Resamples of patients: how often each is in each, (resamples, patients), and which patient each of n slides has.

    All that is drawn for one set of patients with one seed is the same, whatever is measured on it.
    """

    times: np.ndarray
    patient_of: np.ndarray


def draw_patients(patients: Sequence[str], *, resamples: int, seed: int) -> Draws:
    """As many patients as there are, drawn with replacement; patients: those of n slides or tiles, (n,)."""
    names, patient_of = np.unique(np.asarray(patients, str), return_inverse=True)
    times = np.zeros((resamples, len(names)), np.int32)
    if len(names):
        shares = np.full(len(names), 1 / len(names))
        times[:] = np.random.default_rng(seed).multinomial(len(names), shares, size=resamples)
    return Draws(times, patient_of)


def interval(values: np.ndarray) -> Interval:
    """The 95 % percentile interval of what was found in each resample, (resamples,), NaN where there was nothing."""
    used = values[~np.isnan(values)]
    low, high = np.quantile(used, [0.025, 0.975]) if len(used) else (np.nan, np.nan)
    return Interval(float(low), float(high), len(used), len(values) - len(used))


def resampled_auc(labels: np.ndarray, scores: np.ndarray, drawn: Draws) -> np.ndarray:
    """The AUC of each resample, (resamples,): labels (n,) in {0, 1} and scores (n,); NaN for a resample of one class.

    Where slides, or tiles, are many and patients few, pairs are counted once for each two patients; where pairs of
    patients are many, slides are weighted in each resample. Both are exact, and give the same to the last bit.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, float)
    n_patients = [len(np.unique(drawn.patient_of[labels == one])) for one in (1, 0)]
    if n_patients[0] * n_patients[1] <= len(labels):
        return auc_of_pairs(pairs_of(labels, scores, drawn.patient_of), drawn.times)
    at_once = max(1, HELD // max(1, len(labels)))
    parts = [
        _weighted_auc(labels, scores, drawn.times[start : start + at_once, drawn.patient_of])
        for start in range(0, len(drawn.times), at_once)
    ]
    return np.concatenate([*parts, np.empty(0)])


def pairs_of(labels: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> Pairs:
    """The pairs of labels (n,) in {0, 1} and scores (n,), by groups (n,), whole numbers from 0 (`Draws.patient_of`).

    The cost is that of one search for each label 1 and each group that has a 0.
    """
    high = np.asarray(labels) == 1
    of_high, order = groups[high], np.sort(scores[high])
    of_high = of_high[np.argsort(scores[high], kind="stable")]
    above, places = np.unique(of_high, return_inverse=True)
    below = np.unique(groups[~high])
    won = np.zeros((len(above), len(below)))
    for number, group in enumerate(below):
        others = np.sort(scores[~high & (groups == group)])
        beaten = (np.searchsorted(others, order, "left") + np.searchsorted(others, order, "right")) / 2
        won[:, number] = np.bincount(places, beaten, minlength=len(above))
    ones, zeros = (np.bincount(groups[of])[which] for of, which in ((high, above), (~high, below)))
    return Pairs(won, ones, zeros, above, below)


def auc_of_pairs(pairs: Pairs, times: np.ndarray) -> np.ndarray:
    """The AUC of each resample, (resamples,), which has each group as often as times (resamples, groups) says.

    NaN for a resample of one class. The cost does not depend on how many slides, tiles or pixels the groups have.
    """
    above, below = times[:, pairs.of_ones], times[:, pairs.of_zeros]
    # Pairs of pixels are more than whole numbers of 64 bits can count.
    number = (above @ pairs.ones).astype(float) * (below @ pairs.zeros)
    wins = ((above @ pairs.won) * below).sum(axis=1)
    return np.divide(wins, number, out=np.full(len(times), np.nan), where=number > 0)


def paired_test(first: np.ndarray, second: np.ndarray) -> PairedTest:
    """Whether `first` is higher than `second`, (resamples,) each, found in the same resamples; NaN where not found.

    p is two-sided, by the percentile interval that just touches 0: with B resamples that have both, of which b are on
    the side of 0 that has fewer (those at 0 are on both), p = min(1, 2 · (b + 1) / (B + 1)). So it is never below
    2 / (B + 1). It is no exact test: with few patients a bootstrap is too sure.
    """
    differences = first - second
    spread = interval(differences)
    if not spread.used:
        return PairedTest(np.nan, np.nan, np.nan, 0, False)
    fewer = min((differences <= 0).sum(), (differences >= 0).sum())
    p = min(1.0, 2 * float(fewer + 1) / (spread.used + 1))
    return PairedTest(spread.low, spread.high, p, spread.used, fewer == 0)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p values of one family, in the order given; missing ones stay missing and are not counted."""
    p = np.asarray(p, float)
    order = np.argsort(p)  # missing values come last
    order = order[: np.count_nonzero(~np.isnan(p))]
    adjusted = np.full(len(p), np.nan)
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return adjusted


def spearman(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Spearman's coefficient of two measures (n,) and its two-sided p; NaN for fewer than three, or one all alike."""
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return np.nan, np.nan
    from scipy.stats import spearmanr

    result = spearmanr(first, second)
    return float(result.statistic), float(result.pvalue)


def resampled_spearman(first: np.ndarray, second: np.ndarray, drawn: Draws) -> np.ndarray:
    """Spearman's coefficient of each resample, (resamples,), of two measures (n,) of n patients or slides.

    Ties have their mean rank, so that one who is drawn twice is tied with himself. NaN where a measure is alike in all
    that were drawn.
    """
    weights = drawn.times[:, drawn.patient_of].astype(float)
    ranks = [_weighted_ranks(np.asarray(values, float), weights) for values in (first, second)]
    total = np.maximum(weights.sum(axis=1), 1)
    apart = [rank - ((weights * rank).sum(axis=1) / total)[:, None] for rank in ranks]
    spread = [(weights * of**2).sum(axis=1) for of in apart]
    # A measure that is alike has a spread of 0, but for rounding.
    known = np.minimum(*spread) > 1e-9 * total
    together, alone = (weights * apart[0] * apart[1]).sum(axis=1), np.sqrt(spread[0] * spread[1])
    return np.divide(together, alone, out=np.full(len(weights), np.nan), where=known)


def _weighted_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean rank of each value (n,) among as many copies of all as each row of weights (resamples, n) says."""
    distinct, places = np.unique(values, return_inverse=True)
    if not len(distinct):
        return np.zeros(weights.shape)
    order = np.argsort(places, kind="stable")
    starts = np.searchsorted(places[order], np.arange(len(distinct)))
    copies = np.add.reduceat(weights[:, order], starts, axis=1)
    return (copies.cumsum(axis=1) - (copies - 1) / 2)[:, places]


def slide_score_rows(
    slide_id: str,
    patient_id: str,
    trait: str,
    probabilities: Mapping[str, np.ndarray],
    *,
    members: Sequence[str],
    threshold: float,
) -> list[dict[str, object]]:
    """The rows of `slide_scores.tsv` of one slide and trait: one per round's model, then the ensemble's.

    probabilities: (n,) on the slide's tiles, by model (`round_1`…); members: the ensemble's models. A score is the
    share of positive tiles (the ensemble's, by majority vote), NaN for a slide without tiles.
    """
    absent = sorted(set(members) - set(probabilities))
    if absent:
        raise InputError(f"{slide_id}, {trait}: no predictions of {absent}, members of the ensemble")
    votes = {
        model: majority_vote(np.asarray(values)[None], threshold=threshold)
        for model, values in sorted(probabilities.items(), key=lambda item: (len(item[0]), item[0]))
    }
    votes[ENSEMBLE] = majority_vote(np.stack([probabilities[model] for model in members]), threshold=threshold)
    return [
        {
            "slide_id": slide_id,
            "patient_id": patient_id,
            "trait": trait,
            "model": model,
            "n_tiles": len(vote),
            "n_positive": int(vote.sum()),
            "score": slide_scoring.slide_score(vote),
        }
        for model, vote in votes.items()
    ]


def score_slides(
    paths_to_predictions: Iterable[str | Path], sheet: pd.DataFrame, ensembles: pd.DataFrame, *, threshold: float
) -> pd.DataFrame:
    """The table `slide_scores.tsv` of all slides in the files of predictions, by slide, trait and model.

    sheet: slide_id and patient_id; ensembles: the table of `rank_models`. A slide has the scores of the models that it
    has predictions of (a test slide's: all rounds'), and its ensembles'.
    """
    patient_of = dict(zip(sheet["slide_id"], sheet["patient_id"], strict=True))
    rows = []
    for path in paths_to_predictions:
        for slide_id in predictions.slides_in(path):
            if slide_id not in patient_of:
                raise InputError(f"{path}: predictions of {slide_id}, which is not in the slide sheet; predict again")
            _, by_trait = predictions.read_slide(path, slide_id)
            for trait in dict.fromkeys(ensembles["trait"]):
                probabilities, members = by_trait.get(trait, {}), members_of(ensembles, trait)
                rows += slide_score_rows(
                    slide_id, patient_of[slide_id], trait, probabilities, members=members, threshold=threshold
                )
    columns = ["slide_id", "patient_id", "trait", "model", "n_tiles", "n_positive", "score"]
    return pd.DataFrame(rows, columns=columns).sort_values(["slide_id", "trait"], kind="stable", ignore_index=True)


def evaluation_sets(labels: pd.DataFrame, splits: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """A trait's slides in each set that no model of it has seen: `test`, `ood_near` and `ood_all`.

    labels: a trait's label table; splits: the patients' sets. `test` holds the slides of test patients in tier `in`,
    by their label. The OOD sets hold the slides of their tier, whatever the patient's set, but for those of patients
    that models have seen on another slide (`labels.seen_patients`); `ood_all` includes `ood_near`; above is a
    percentile > 0.5. Unlabelled slides are in none. (Paper: Results, Performance for out-of-distribution samples;
    Methods, Training.)

    Each frame has slide_id, patient_id, percentile and above (0, 1). Raises InputError for a patient without a set.
    """
    sets = labels["patient_id"].map(splits.set_index("patient_id")["set"])
    if sets.isna().any():
        raise InputError(f"expected every patient in the split, not found: {sorted(labels['patient_id'][sets.isna()])}")
    tier, unseen = labels["tier"], ~labels["patient_id"].isin(seen_patients(labels, splits))
    rows = {
        "test": (tier == IN) & (sets == TEST),
        "ood_near": (tier == OOD_NEAR) & unseen,
        "ood_all": tier.isin([OOD_NEAR, OOD]) & unseen,
    }
    label = labels["label"].to_numpy(float, na_value=np.nan)
    above = np.where(tier == IN, label, labels["percentile"].to_numpy(float) > 0.5)
    kept = labels[["slide_id", "patient_id", "percentile"]].assign(above=above)
    return {name: kept[chosen].astype({"above": int}).reset_index(drop=True) for name, chosen in rows.items()}


def table1(
    labels: Mapping[str, pd.DataFrame],
    slide_scores: pd.DataFrame,
    splits: pd.DataFrame,
    *,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """The table `evaluation/table1.tsv`: a row per trait, in the order of `labels`. (Paper: Table 1.)

    labels: label tables by trait; slide_scores: the long table of slides' scores by model. AUCs are over slides;
    intervals `_low`, `_high` are of 95 %, by patient; mean, min and max are over the rounds' models on the test set.
    Slides that have no score (no tiles), and OOD slides of patients that models have seen, are left out and counted in
    `note`, with the reason of each AUC that is NA.
    """
    rows = []
    for trait, table in labels.items():
        sets = evaluation_sets(table, splits)
        scored = slide_scores[slide_scores["trait"] == trait].pivot(index="slide_id", columns="model", values="score")
        rounds = sorted(model for model in scored.columns if model != ENSEMBLE)
        if not rounds or ENSEMBLE not in scored:
            raise InputError(f"expected scores of rounds and of the ensemble for {trait}, found {list(scored.columns)}")
        row, notes = {"trait": trait}, []
        out = int(table["tier"].isin([OOD_NEAR, OOD]).sum()) - len(sets["ood_all"])
        if out:
            notes.append(f"ood_all: {out} slides left out, of patients that models have seen on another slide")
        row |= _round_columns(_join(sets["test"], scored, rounds, "test", notes), rounds, notes, resamples, seed)
        for name, slides in sets.items():
            row |= _ensemble_columns(name, _join(slides, scored, [ENSEMBLE], name, notes), notes, resamples, seed)
        rows.append(row | {"note": "; ".join(dict.fromkeys(notes))})
    return pd.DataFrame(rows)


def choose_traits(table1: pd.DataFrame, number: int = 2) -> list[str]:
    """The `number` traits with the highest mean test AUC, best first; ties go by name.

    (Paper: Results, A statistically significant link: the top two performing traits.) Traits without a mean test AUC
    cannot be chosen; raises InputError where too few are left.
    """
    known = table1.dropna(subset=["mean_test_auc"])
    if len(known) < number:
        raise InputError(
            f"expected {number} traits with a test AUC to choose from, found {sorted(known['trait'])}: name the traits "
            "in the cohort's `heterogeneity_traits`"
        )
    best = known.assign(auc=known["mean_test_auc"].round(12)).sort_values(["auc", "trait"], ascending=[False, True])
    return best["trait"].head(number).tolist()


def correlations(labels: Mapping[str, pd.DataFrame], slide_scores: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """The table `evaluation/correlations.tsv`: Spearman of the ensemble's slide score with the expression percentile.

    A row per trait and set, with n, spearman, p and p_fdr: Benjamini-Hochberg over all rows of the table that have a p
    (one family: all traits and sets of a cohort). Empty with fewer than three slides, or where scores or percentiles
    are all alike. (Paper: Results, Achieving high prediction performance; Supplement S1.)
    """
    rows = []
    for trait, name, slides in _scored_sets(labels, slide_scores, splits):
        coefficient, p = spearman(slides["percentile"].to_numpy(), slides["score"].to_numpy())
        rows.append({"trait": trait, "set": name, "n": len(slides), "spearman": coefficient, "p": p})
    table = pd.DataFrame(rows, columns=["trait", "set", "n", "spearman", "p"])
    tested = table["p"].notna()
    table["p_fdr"] = np.nan
    if tested.any():
        # Here and below, because the import takes half a second, and one job of this room's five needs it.
        from scipy.stats import false_discovery_control

        table.loc[tested, "p_fdr"] = false_discovery_control(table.loc[tested, "p"], method="bh")
    return table


def score_distributions(
    labels: Mapping[str, pd.DataFrame], slide_scores: pd.DataFrame, splits: pd.DataFrame
) -> pd.DataFrame:
    """The points of Fig. 2, long: trait, set, slide_id, label (`above` or `below` the median), score (ensemble)."""
    tables = [
        slides.assign(trait=trait, set=name, label=np.where(slides["above"] == 1, "above", "below"))
        for trait, name, slides in _scored_sets(labels, slide_scores, splits)
    ]
    return pd.concat(tables, ignore_index=True)[["trait", "set", "slide_id", "label", "score"]]


def _scored_sets(
    labels: Mapping[str, pd.DataFrame], slide_scores: pd.DataFrame, splits: pd.DataFrame
) -> list[tuple[str, str, pd.DataFrame]]:
    """Each trait and set with its slides that have an ensemble score."""
    of_ensemble = slide_scores[slide_scores["model"] == ENSEMBLE]
    found = []
    for trait, table in labels.items():
        scores = of_ensemble[of_ensemble["trait"] == trait].set_index("slide_id")["score"]
        for name, slides in evaluation_sets(table, splits).items():
            scored = slides.assign(score=slides["slide_id"].map(scores).astype(float))
            found.append((trait, name, scored.dropna(subset=["score"]).reset_index(drop=True)))
    return found


def _join(
    slides: pd.DataFrame, scored: pd.DataFrame, models: Sequence[str], name: str, notes: list[str]
) -> pd.DataFrame:
    """The slides with a score of each model; those without are counted in `notes`."""
    joined = slides.join(scored.reindex(columns=models), on="slide_id")
    complete = joined.dropna(subset=list(models))
    if len(complete) < len(joined):
        notes.append(f"{name}: {len(joined) - len(complete)} slides without a score")
    return complete


def _round_columns(
    slides: pd.DataFrame, rounds: Sequence[str], notes: list[str], resamples: int, seed: int
) -> dict[str, float]:
    found = [auc(slides["above"], slides[model]) for model in rounds]
    notes += [f"test: {result.note}" for result in found if result.note]
    values = [result.value for result in found]
    interval = bootstrap_auc(
        slides["above"], slides[list(rounds)], slides["patient_id"], resamples=resamples, seed=seed
    )
    return {
        "mean_test_auc": float(np.mean(values)),
        "min_test_auc": float(np.min(values)),
        "max_test_auc": float(np.max(values)),
        "mean_test_auc_low": interval.low,
        "mean_test_auc_high": interval.high,
        "n_test": len(slides),
    }


def _ensemble_columns(name: str, slides: pd.DataFrame, notes: list[str], resamples: int, seed: int) -> dict[str, float]:
    value, note = auc(slides["above"], slides[ENSEMBLE])
    if note:
        notes.append(f"{name}: {note}")
    interval = bootstrap_auc(slides["above"], slides[ENSEMBLE], slides["patient_id"], resamples=resamples, seed=seed)
    if interval.one_class and not note:
        notes.append(f"{name}: {interval.one_class} of {resamples} resamples had one class and were left out")
    key = f"{ENSEMBLE}_{name}"
    return {
        f"{key}_auc": value,
        f"{key}_auc_low": interval.low,
        f"{key}_auc_high": interval.high,
        f"n_{key}": len(slides),
    }


def _weighted_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUC of each row of weights (m, n), the number of times each slide counts; NaN for a row of one class."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])
    ordered, high = weights[:, order], labels[order] == 1
    # One column per distinct score, so that ties count half.
    above = np.add.reduceat(ordered * high, starts, axis=1)
    below = np.add.reduceat(ordered * ~high, starts, axis=1)
    pairs = above.sum(axis=1) * below.sum(axis=1)
    won = (above * (below.cumsum(axis=1) - below / 2)).sum(axis=1)
    return np.divide(won, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def _check_scored(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, scores = np.asarray(labels, float), np.asarray(scores, float)
    if len(labels) != len(scores) or not np.isin(labels, (0, 1)).all() or np.isnan(scores).any():
        raise InputError(
            f"expected a label of 0 or 1 and a score for each slide, found {len(labels)} labels of {set(labels)} and "
            f"{len(scores)} scores, {int(np.isnan(scores).sum())} of them missing"
        )
    return labels, scores
