"""The best models of a trait, and their majority vote on each tile."""

import numpy as np
import pandas as pd

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.scores import positive

# Two AUCs over the same slides are the same rational number; their last bits may differ with the order of a sum.
AUC_DECIMALS = 12


def majority_vote(probabilities: np.ndarray, *, threshold: float) -> np.ndarray:
    """The vote of an ensemble on each tile: (members, n) probabilities to bool (n,).

    A tile is positive when more than half of the members call it so (`scores.positive`); an even number of members may
    tie, and a tie is negative. (Paper: Results, Training models: of 0, 0, 1 the ensemble predicts 0.)

    Raises InputError where a probability is missing or outside [0, 1]: a model that diverged must not cast a vote.
    """
    probabilities = np.asarray(probabilities)
    if probabilities.ndim != 2 or len(probabilities) == 0:
        raise InputError(f"expected probabilities of shape (members, tiles), found {probabilities.shape}")
    bad = ~((probabilities >= 0) & (probabilities <= 1))
    if bad.any():
        raise InputError(
            f"expected tile probabilities from 0 to 1, found {probabilities[bad][0]} and {int(bad.sum()) - 1} more "
            "like it: a model diverged; look at its training curve"
        )
    return 2 * positive(probabilities, threshold=threshold).sum(axis=0) > len(probabilities)


def rank_models(scores: pd.DataFrame, *, members: int = 3) -> pd.DataFrame:
    """Rank each trait's models and name its ensemble: the table `ensembles.tsv`.

    `scores` has a row per model: trait, round (from 1), validation_auc (of slides; may be missing) and
    validation_loss. Models rank by AUC, highest first; ties go to the lower loss, then to the lower round. Models
    without an AUC (a validation set of one class) rank after those with one, by loss. The `members` best of a trait
    have member 1, the others 0. (Paper: Results, Training models: the top three on their validation sets.)

    Returns trait, round, validation_auc, validation_loss, rank (from 1), member; traits in the order given, then by
    rank. Raises InputError where a trait has fewer models than `members`, or a round twice.
    """
    twice = scores[scores.duplicated(["trait", "round"])]
    if len(twice):
        raise InputError(f"expected one model per trait and round, found twice: {_models(twice)}")
    counts = scores.groupby("trait", sort=False).size()
    short = counts[counts < members]
    if len(short):
        raise InputError(
            f"expected at least {members} models per trait for an ensemble of {members}, found {short.to_dict()}: "
            "train more rounds, or lower `ensembles.members`"
        )
    ranked = scores[["trait", "round", "validation_auc", "validation_loss"]].assign(
        order=pd.Categorical(scores["trait"], categories=counts.index, ordered=True),
        auc=scores["validation_auc"].astype(float).round(AUC_DECIMALS),
    )
    ranked = ranked.sort_values(
        ["order", "auc", "validation_loss", "round"], ascending=[True, False, True, True], na_position="last"
    ).reset_index(drop=True)
    ranked["rank"] = ranked.groupby("trait", sort=False).cumcount() + 1
    ranked["member"] = (ranked["rank"] <= members).astype(int)
    return ranked.drop(columns=["order", "auc"])


def members_of(ensembles: pd.DataFrame, trait: str) -> list[str]:
    """The models of a trait's ensemble, best first, as `round_<k>`, from the table of `rank_models`."""
    chosen = ensembles[(ensembles["trait"] == trait) & (ensembles["member"] == 1)].sort_values("rank")
    if chosen.empty:
        raise InputError(f"no ensemble for trait {trait}; there are ensembles for {sorted(set(ensembles['trait']))}")
    return [f"round_{number}" for number in chosen["round"]]


def _models(rows: pd.DataFrame) -> list[str]:
    return [f"{row.trait} round {row.round}" for row in rows.itertuples()]
