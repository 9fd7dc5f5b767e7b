"""Traits of the main chain learnt on grids: their slide scores, and the table that has them beside those of tiles."""

from collections.abc import Mapping, Sequence

import pandas as pd

from workflow_scripts.lib.ensembles import members_of, rank_models
from workflow_scripts.lib.evaluation import ENSEMBLE, table1

OF_TILES, OF_GRIDS = "tiles", "grids"


def slide_scores(predictions: pd.DataFrame, scores: pd.DataFrame, *, trait: str, members: int) -> pd.DataFrame:
    """What a trait's models on grids say of slides, as `slide_scores.tsv` has it: slide_id, trait, model and score.

    predictions: of each slide and model, of which the rows of the set `test` count; p_1 is the probability that the
    slide is high. scores: model, validation_auc and validation_loss, a row per model. A model is that of a round, and
    its probability the score. The ensemble's models are the `members` best, as tile models' are
    (`ensembles.rank_models`), and its score the mean of their probabilities: a whole slide leaves no tiles to vote.
    """
    ranked = rank_models(scores.rename(columns={"model": "round"}).assign(trait=trait), members=members)
    tested = predictions[predictions["set"] == "test"]
    of_rounds = tested.assign(model="round_" + tested["model"].astype(str), trait=trait, score=tested["p_1"])
    chosen = of_rounds[of_rounds["model"].isin(members_of(ranked, trait))]
    of_ensemble = chosen.groupby(["slide_id", "patient_id"], as_index=False, sort=False)["score"].mean()
    found = pd.concat([of_rounds, of_ensemble.assign(model=ENSEMBLE, trait=trait)], ignore_index=True)
    return found[["slide_id", "patient_id", "trait", "model", "score"]]


def traits_table(
    of_tiles: pd.DataFrame,
    labels: Mapping[str, pd.DataFrame],
    scores: pd.DataFrame,
    split: pd.DataFrame,
    *,
    cohort: str,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Table 1 of a cohort's traits twice: by tile models (`of_tiles`, as it is) and by models on grids; cohort, model.

    labels: label tables by trait; scores: the `slide_scores` of all of them. Both halves are by the same function, over
    the same slides of the same patients, but for slides that have tiles and no score, which the notes count.
    """
    of_grids = table1(labels, scores, split, resamples=resamples, seed=seed)
    halves = [of_tiles.assign(model=OF_TILES), of_grids.assign(model=OF_GRIDS)]
    both = pd.concat(halves, ignore_index=True).assign(cohort=cohort)
    order = {trait: place for place, trait in enumerate(labels)}
    both = both.sort_values("trait", key=lambda names: names.map(order), kind="stable", ignore_index=True)
    first: Sequence[str] = ["cohort", "trait", "model"]
    return both[[*first, *(column for column in both if column not in first)]]
