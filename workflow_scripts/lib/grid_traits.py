"""Traits of the main chain learnt on grids: their slide scores, and the table that has them beside those of tiles."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from workflow_scripts.lib import files
from workflow_scripts.lib import labels as trait_labels
from workflow_scripts.lib.ensembles import members_of, rank_models
from workflow_scripts.lib.evaluation import ENSEMBLE, table1
from workflow_scripts.lib.splits import read_splits

OF_TILES, OF_GRIDS = "tiles", "grids"


def write_traits(
    path: str | Path,
    traits: Sequence[tuple[str, str]],
    *,
    paths_to_predictions: Sequence[str | Path],
    folders_of_models: Sequence[str | Path],
    tables_of_tiles: Mapping[str, str | Path],
    folders_of_labels: Mapping[str, str | Path],
    paths_to_splits: Mapping[str, str | Path],
    rounds: int,
    members: int,
    resamples: int,
    seed: int,
) -> None:
    """Write the table of all traits that are learnt on grids (`traits_table`, cohort by cohort).

    traits: cohort and trait; paths_to_predictions and folders_of_models: of each; tables_of_tiles: Table 1 by tile
    models, folders_of_labels and paths_to_splits: of each cohort; rounds: models of a trait; members: of an ensemble.
    """
    scored: dict[str, list[pd.DataFrame]] = {}
    for (cohort, trait), predicted, folder in zip(traits, paths_to_predictions, folders_of_models, strict=True):
        models = [files.read_table(Path(folder) / f"model_{number}" / "scores.tsv") for number in range(1, rounds + 1)]
        predictions = files.read_table(predicted, text=["slide_id", "patient_id", "set"])
        of_trait = slide_scores(predictions, pd.concat(models, ignore_index=True), trait=trait, members=members)
        scored.setdefault(cohort, []).append(of_trait)
    tables = [
        traits_table(
            files.read_table(tables_of_tiles[cohort], text=["trait", "note"]),
            trait_labels.read_labels(folders_of_labels[cohort], [trait for of, trait in traits if of == cohort]),
            pd.concat(scores, ignore_index=True),
            read_splits(paths_to_splits[cohort]),
            cohort=cohort,
            resamples=resamples,
            seed=seed,
        )
        for cohort, scores in scored.items()
    ]
    files.write_table(pd.concat(tables, ignore_index=True), path)


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
