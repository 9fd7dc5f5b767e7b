"""Over five cohorts and trainings: does a detector that saw a like cancer first do better, and an unlike one not?

Run by `make test-transfer`, an hour on two cores. Each seed is the demo from nothing, in a folder of its own below
results/transfer_seeds/, and what is there already is used. `seeds.tsv` there has the overall AUCs by tile and by pixel,
and what is printed is the mean of the paired differences with its 95 % interval (t, four degrees of freedom).
"""

import numpy as np
import pandas as pd
import pytest
from repeats import REPOSITORY, SEEDS, paired, run

from workflow_scripts.lib import files

FOLDER = REPOSITORY / "results" / "transfer_seeds"
OVERLAYS = ("studies/transfer-demo.yaml", "tests/transfer/seeds.yaml")


@pytest.fixture(scope="module")
def overall() -> pd.DataFrame:
    """Overall AUCs: rows are level and seed, columns regimes."""
    tables = []
    for seed in SEEDS:
        path = run(FOLDER / f"seed_{seed}", "transfer", OVERLAYS, seed, "results/transfer/tables/table1.tsv")
        table = files.read_table(path, text=["regime", "level", "slide", "note"])
        tables.append(table.loc[table["slide"] == "overall", ["regime", "level", "auc"]].assign(seed=seed))
    table = pd.concat(tables).pivot(index=["level", "seed"], columns="regime", values="auc")
    files.write_table(table.reset_index(), FOLDER / "seeds.tsv")
    print("", table.round(3), sep="\n")
    return table


@pytest.mark.parametrize("level", ["tile", "pixel"])
def test_what_another_cancer_gains_is_told(overall, level):
    assert np.isfinite(paired(overall, "source", "random", level)).all()
    assert np.isfinite(paired(overall, "source", "unrelated", level)).all()


@pytest.mark.parametrize("level", ["tile", "pixel"])
def test_what_an_unrelated_cancer_gains_is_told(overall, level):
    assert np.isfinite(paired(overall, "unrelated", "random", level)).all()
