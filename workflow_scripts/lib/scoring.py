"""How much of a known truth was recovered. The only room that reads a truth, and nothing else reads this room.

The truth is of the tumour: of those tiles that are tumour by the truth, whichever tiles a filter kept. So a run with a
tumour filter and one without it are held to the same, and normal tissue that the chain took for tumour, or tumour that
it left out, counts against the shares and the HTI of its slide. A truth that does not say which tiles are tumour is of
all of them.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from lifelines.statistics import logrank_test
from scipy.stats import kstest, spearmanr

from workflow_scripts.lib.cartography import read_map
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.heterogeneity import Denominator, combination_counts, heterogeneity_index
from workflow_scripts.lib.labels import seen_patients
from workflow_scripts.lib.scores import auc
from workflow_scripts.lib.survival import HIGH, LOW

log = logging.getLogger(__name__)

# More predicted tiles without a truth than this share, and the lattices are not the same.
MOST_WITHOUT_TRUTH = 0.1
CARRIERS = {"A": (True, False), "B": (False, True), "AB": (True, True), "0": (False, False)}

# The quantity of `recovered_slides` that is of all traits together.
HTI = "HTI"


class Uniformity(NamedTuple):
    """`p_values` (draws,) of the log-rank test, and the p of a Kolmogorov-Smirnov test that they are uniform."""

    p_values: np.ndarray
    ks_p: float


def read_truth_tiles(path: str | Path, *, trait_a: str, trait_b: str) -> pd.DataFrame:
    """The truth of every tile: slide_id, col, row, and as bool is_tumour and one column per trait.

    The file has the columns slide_id, col, row, kind, and maybe tumour (0 or 1); without it, every tile is tumour. Kind
    `A` carries trait_a, `B` trait_b, `AB` both and `0` neither; a tile that is not tumour is of kind `0`. A comma
    separates the columns of a `.csv`, a tab those of anything else.
    """
    separator = "," if Path(path).suffix == ".csv" else "\t"
    table = pd.read_csv(path, sep=separator, dtype={"slide_id": str, "kind": str, "tumour": str}, keep_default_na=False)
    unknown = sorted(set(table["kind"]) - set(CARRIERS))
    if unknown:
        raise InputError(f"{path}: expected tiles of kind {list(CARRIERS)}, found {unknown}")
    if table.duplicated(["slide_id", "col", "row"]).any():
        raise InputError(
            f"{path}: expected each tile once, found {table.duplicated(['slide_id', 'col', 'row']).sum()} twice"
        )
    tumour = table.get("tumour", pd.Series("1", index=table.index))
    strange = sorted(set(tumour) - {"0", "1"})
    if strange:
        raise InputError(f"{path}: expected tiles with 0 or 1 as tumour, found {strange}")
    carriers = ((tumour == "0") & (table["kind"] != "0")).sum()
    if carriers:
        raise InputError(f"{path}: expected kind 0 of tiles that are not tumour, found {carriers} of another")
    truth = table[["slide_id", "col", "row"]].assign(is_tumour=tumour == "1")
    for place, trait in enumerate((trait_a, trait_b)):
        truth[trait] = table["kind"].map({kind: carries[place] for kind, carries in CARRIERS.items()})
    return truth


def predicted_tiles(paths_to_maps: Iterable[str | Path], traits: Sequence[str]) -> dict[str, pd.DataFrame]:
    """What the maps of slides say of their tiles, by trait: slide_id, col, row, probability (mean of the members)."""
    parts: dict[str, list[pd.DataFrame]] = {trait: [] for trait in traits}
    for path in paths_to_maps:
        cartography = read_map(path)
        for trait in traits:
            layer = cartography.probabilities[cartography.traits.index(trait)]
            rows, columns = np.nonzero(~np.isnan(layer))
            place = {"slide_id": cartography.slide_id, "col": columns, "row": rows}
            parts[trait].append(pd.DataFrame(place | {"probability": layer[rows, columns]}))
    return {trait: pd.concat(tables, ignore_index=True) for trait, tables in parts.items()}


def truth_of_slides(
    truth_tiles: pd.DataFrame, traits: Sequence[str], *, denominator: Denominator = "positive"
) -> pd.DataFrame:
    """Each slide's truth from its tumour tiles': slide_id, share of positive tiles per trait, and hti.

    A slide without a tumour tile has no row.
    """
    rows = []
    for slide_id, tiles in truth_tiles[truth_tiles["is_tumour"]].groupby("slide_id", sort=True):
        positive = tiles[list(traits)].to_numpy(bool).T
        hti = heterogeneity_index(combination_counts(positive), denominator=denominator).hti
        rows.append((slide_id, *positive.mean(axis=1), hti))
    return pd.DataFrame(rows, columns=["slide_id", *traits, "hti"])


def unseen_slides(labels: pd.DataFrame, splits: pd.DataFrame) -> list[str]:
    """The slides of patients on whom no model of a trait trained or validated (`labels.seen_patients`)."""
    return labels.loc[~labels["patient_id"].isin(seen_patients(labels, splits)), "slide_id"].tolist()


def tile_auc(
    truth_tiles: pd.DataFrame, predictions: pd.DataFrame, trait: str, slides: Iterable[str]
) -> tuple[float, int]:
    """Tile AUC of a trait against the truth, pooled over the tumour tiles of `slides`, and the number of tiles.

    predictions: slide_id, col, row, probability (the mean of the ensemble's members); a tile that a filter left out has
    none, and is not asked for. Tiles are matched by slide, column and row; those without a truth are left out and
    logged, and many of them mean another lattice. Those that are not tumour are left out.

    Raises InputError where more than a tenth of the predicted tiles have no truth.
    """
    chosen = predictions[predictions["slide_id"].isin(list(slides))]
    matched = chosen.merge(truth_tiles, on=["slide_id", "col", "row"], how="left", validate="1:1")
    strange = matched[matched[trait].isna()]
    if len(strange):
        first = strange.iloc[0]
        where = f"the first {first['slide_id']} column {first['col']}, row {first['row']}"
        if len(strange) > MOST_WITHOUT_TRUTH * len(matched):
            raise InputError(
                f"expected the truth of the predicted tiles of {trait}, found none of {len(strange)} of "
                f"{len(matched)}, {where}: is the tile lattice that of the truth?"
            )
        log.warning("%s: %d of %d tiles have no truth and are left out, %s", trait, len(strange), len(matched), where)
    known = matched[matched["is_tumour"].eq(True)]
    return auc(known[trait].astype(int).to_numpy(), known["probability"].to_numpy()), len(known)


def spearman(found: pd.Series, true: pd.Series, slides: Iterable[str]) -> tuple[float, int]:
    """Spearman's correlation over `slides`, and their number; both series are indexed by slide_id.

    Slides without a value in either are left out. NaN with fewer than three slides, or without variation.
    """
    pairs = pd.concat([found, true], axis=1, join="inner", keys=["found", "true"]).dropna()
    pairs = pairs[pairs.index.isin(list(slides))]
    if len(pairs) < 3 or (pairs.nunique() < 2).any():
        return float("nan"), len(pairs)
    return float(spearmanr(pairs["found"], pairs["true"]).statistic), len(pairs)


def recovery_table(
    truth_tiles: pd.DataFrame,
    predictions: Mapping[str, pd.DataFrame],
    slide_scores: pd.DataFrame,
    hti: pd.DataFrame,
    labels: Mapping[str, pd.DataFrame],
    splits: pd.DataFrame,
    *,
    denominator: Denominator = "positive",
) -> pd.DataFrame:
    """What was recovered: trait, measure, value, n (tiles for `tile_auc`, slides for the others).

    truth_tiles: see `read_truth_tiles`; those that are tumour count. predictions: by trait, slide_id, col, row,
    probability (mean of the members). Per trait, over the slides that none of its models has seen: `tile_auc`;
    `share_spearman`, of the ensemble's slide score with the true share; `slide_auc`, of that score for slides above
    against at most the median true share. For the traits together (`A+B`): `hti_spearman` over all slides, and
    `hti_spearman_unseen` over those that no model of any of the traits has seen.

    Raises InputError where hti is of other traits, or the tiles are of another lattice.
    """
    traits = list(predictions)
    if any(set(names.split("+")) != set(traits) for names in hti["traits"].unique()):
        raise InputError(f"expected the HTI of {traits}, whose truth is known, found that of {set(hti['traits'])}")
    truth = truth_of_slides(truth_tiles, traits, denominator=denominator).set_index("slide_id")
    ensemble = slide_scores[slide_scores["model"] == "ensemble"]
    unseen = {trait: set(unseen_slides(labels[trait], splits)) for trait in traits}
    rows = []
    for trait in traits:
        score = ensemble[ensemble["trait"] == trait].set_index("slide_id")["score"]
        rows.append((trait, "tile_auc", *tile_auc(truth_tiles, predictions[trait], trait, unseen[trait])))
        rows.append((trait, "share_spearman", *spearman(score, truth[trait], unseen[trait])))
        rows.append((trait, "slide_auc", *_median_auc(score, truth[trait], unseen[trait])))
    found, pair = hti.set_index("slide_id")["hti"], "+".join(traits)
    rows.append((pair, "hti_spearman", *spearman(found, truth["hti"], truth.index)))
    rows.append((pair, "hti_spearman_unseen", *spearman(found, truth["hti"], set.intersection(*unseen.values()))))
    return pd.DataFrame(rows, columns=["trait", "measure", "value", "n"])


def recovered_slides(
    truth: pd.DataFrame, slide_scores: pd.DataFrame, hti: pd.DataFrame, unseen: Mapping[str, Collection[str]]
) -> pd.DataFrame:
    """Predicted beside true, a row per quantity and slide: quantity, slide_id, true, predicted, unseen (0/1).

    truth: the table of `truth_of_slides`; slide_scores: of which the ensemble's count; hti: `hti.tsv`; unseen: by
    trait, its `unseen_slides`. For the HTI, a slide counts as unseen where it is for all the traits.
    """
    scores = slide_scores[slide_scores["model"] == "ensemble"]
    parts = []
    for trait in unseen:
        found = scores.loc[scores["trait"] == trait, ["slide_id", "score"]].rename(columns={"score": "predicted"})
        true = truth[["slide_id", trait]].rename(columns={trait: "true"})
        parts.append(true.merge(found, on="slide_id").assign(quantity=trait))
    found = hti[["slide_id", "hti"]].rename(columns={"hti": "predicted"})
    true = truth[["slide_id", "hti"]].rename(columns={"hti": "true"})
    parts.append(true.merge(found, on="slide_id").assign(quantity=HTI))
    rows = pd.concat(parts, ignore_index=True)
    by_all = set.intersection(*map(set, unseen.values())) if unseen else set()
    known = {trait: set(slides) for trait, slides in unseen.items()} | {HTI: by_all}
    rows["unseen"] = [int(row.slide_id in known[row.quantity]) for row in rows.itertuples()]
    return rows[["quantity", "slide_id", "true", "predicted", "unseen"]]


def survival_uniformity(patients: pd.DataFrame, *, draws: int, seed: int) -> Uniformity:
    """The negative control of survival: the log-rank p where survival has nothing to do with the HTI.

    patients: group (those of neither group are left out), time, event. Times of death and of censoring are drawn from
    two exponentials whose means give the observed mean follow-up and share of deaths. Raises InputError where a group
    is empty or nobody died.
    """
    members = patients[patients["group"].isin([LOW, HIGH])]
    high = (members["group"] == HIGH).to_numpy()
    time, event = members["time"].to_numpy(float), members["event"].to_numpy(int)
    if high.all() or not high.any() or not event.any():
        raise InputError(
            f"expected two groups with deaths, found {high.sum()} high of {len(high)}, {event.sum()} deaths"
        )
    rng = np.random.default_rng(seed)
    p_values = np.empty(draws)
    for draw in range(draws):
        drawn_time = rng.exponential(time.mean(), len(time))
        # The first of two exponential clocks is exponential, and which one it was is independent of when.
        drawn_event = (rng.random(len(time)) < event.mean()).astype(int)
        result = logrank_test(drawn_time[~high], drawn_time[high], drawn_event[~high], drawn_event[high])
        p_values[draw] = result.p_value
    return Uniformity(p_values, float(kstest(p_values, "uniform").pvalue))


def _median_auc(found: pd.Series, true: pd.Series, slides: Iterable[str]) -> tuple[float, int]:
    pairs = pd.concat([found, true], axis=1, join="inner", keys=["found", "true"]).dropna()
    pairs = pairs[pairs.index.isin(list(slides))]
    return auc((pairs["true"] > pairs["true"].median()).astype(int).to_numpy(), pairs["found"].to_numpy()), len(pairs)
