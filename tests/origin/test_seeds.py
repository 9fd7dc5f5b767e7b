"""Over five cohorts, splits and trainings: does learning on primaries first help, and do shuffled primaries not?

Run by `make test-origin`, an hour on two cores. Each seed is the whole demo from nothing, in a folder of its own below
results/origin_seeds/, and what is there already is used. `seeds.tsv` there has the macro AUROCs, and what is printed is
the mean of the paired differences with its 95 % interval (t, four degrees of freedom).
"""

import numpy as np
import pandas as pd
import pytest
from repeats import REPOSITORY, SEEDS, paired, run

from workflow_scripts.lib import files

FOLDER = REPOSITORY / "results" / "origin_seeds"
OVERLAYS = ("studies/origin-demo.yaml", "tests/origin/shuffled.yaml")


@pytest.fixture(scope="module")
def macros() -> pd.DataFrame:
    """Macro AUROCs: rows are level and seed, columns regimes."""
    tables = []
    for seed in SEEDS:
        path = run(FOLDER / f"seed_{seed}", "origin", OVERLAYS, seed, "results/origin/tables/auroc.tsv")
        table = files.read_table(path, text=["regime", "class", "level"])
        tables.append(table.loc[table["class"] == "macro", ["regime", "level", "auroc"]].assign(seed=seed))
    table = pd.concat(tables).pivot(index=["level", "seed"], columns="regime", values="auroc")
    files.write_table(table.reset_index(), FOLDER / "seeds.tsv")
    print("", table.round(3), sep="\n")
    return table


@pytest.mark.parametrize("level", ["tile", "slide"])
def test_what_transfer_gains_is_told(macros, level):
    assert np.isfinite(paired(macros, "transfer", "metastatic", level)).all()
    assert np.isfinite(paired(macros, "transfer", "primary", level)).all()
    # The same steps at the same rates: what the classes of primaries teach.
    assert np.isfinite(paired(macros, "transfer", "from_shuffled", level)).all()


@pytest.mark.parametrize("level", ["tile", "slide"])
def test_shuffled_primaries_teach_nothing(macros, level):
    _, low, _ = paired(macros, "from_shuffled", "metastatic", level)
    assert low < 0
