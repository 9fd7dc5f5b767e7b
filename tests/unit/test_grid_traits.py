"""Traits of the main chain learnt on grids, in the same table as tile models."""

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.lib import grid_traits
from workflow_scripts.lib.evaluation import ENSEMBLE, table1

SLIDES = [f"slide{number}" for number in range(6)]


def predictions() -> pd.DataFrame:
    """Three models on six test slides, the last three of which are high; model 2 has all of them upside down."""
    of_models = {
        1: [0.1, 0.2, 0.3, 0.6, 0.7, 0.8],
        2: [0.9, 0.8, 0.7, 0.3, 0.2, 0.1],
        3: [0.4, 0.1, 0.2, 0.9, 0.5, 0.6],
    }
    rows = [
        {"slide_id": slide, "patient_id": f"of {slide}", "model": model, "set": "test", "p_0": 1 - p, "p_1": p}
        for model, found in of_models.items() for slide, p in zip(SLIDES, found, strict=True)
    ]  # fmt: skip
    validation = {"slide_id": "other", "patient_id": "p", "model": 1, "set": "validation", "p_0": 0.5, "p_1": 0.5}
    return pd.DataFrame([*rows, validation])


SCORES = pd.DataFrame({"model": [1, 2, 3], "validation_auc": [0.8, 0.4, 0.9], "validation_loss": [0.5, 0.9, 0.4]})


def test_the_ensemble_is_the_mean_of_the_best_models_on_tested_slides_alone():
    found = grid_traits.slide_scores(predictions(), SCORES, trait="A", members=2)
    of_ensemble = found[found["model"] == ENSEMBLE].set_index("slide_id")["score"]
    assert of_ensemble[SLIDES].tolist() == pytest.approx([0.25, 0.15, 0.25, 0.75, 0.6, 0.7])
    assert set(found["slide_id"]) == set(SLIDES)
    assert found.query("model == 'round_2'")["score"].tolist() == [0.9, 0.8, 0.7, 0.3, 0.2, 0.1]


def test_both_halves_are_one_tables_rows_over_the_same_slides():
    labels = pd.DataFrame(
        {
            "slide_id": SLIDES, "patient_id": [f"of {slide}" for slide in SLIDES], "value": np.arange(6.0),
            "percentile": np.linspace(0, 1, 6), "label": pd.array([0, 0, 0, 1, 1, 1], dtype="Int64"), "tier": "in",
        }
    )  # fmt: skip
    split = pd.DataFrame({"patient_id": labels["patient_id"], "set": "test", "round_1": ""})
    scores = grid_traits.slide_scores(predictions(), SCORES, trait="A", members=2)
    options = {"resamples": 50, "seed": 1}
    of_tiles = table1({"A": labels}, scores.assign(score=1 - scores["score"]), split, **options)
    found = grid_traits.traits_table(of_tiles, {"A": labels}, scores, split, cohort="brca", **options)
    assert found[["cohort", "trait", "model"]].to_numpy().tolist() == [["brca", "A", "tiles"], ["brca", "A", "grids"]]
    assert found.set_index("model")["ensemble_test_auc"].to_dict() == {"tiles": 0.0, "grids": 1.0}
    assert found["n_test"].tolist() == [6, 6]
