"""Over five cohorts, splits and trainings: does learning on primaries first help, and do shuffled primaries not?

Run by `make test-origin`, an hour on two cores. Each seed is the whole demo from nothing, in a folder of its own below
results/origin_seeds/, and what is there already is used. `seeds.tsv` there has the macro AUROCs, and what is printed is
the mean of the paired differences with its 95 % interval (t, four degrees of freedom).
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from workflow_scripts.lib import files

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "results" / "origin_seeds"
OVERLAYS = [str(REPOSITORY / name) for name in ("studies/origin-demo.yaml", "tests/origin/shuffled.yaml")]
SEEDS = (1, 2, 3, 4, 5)
TABLE = "results/origin/tables/auroc.tsv"


def repeat(seed: int) -> pd.DataFrame:
    """The macro AUROCs of the demo with a cohort, a split and trainings of its own: regime, level, auroc, seed."""
    folder = FOLDER / f"seed_{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile", "--directory", folder]
    own = ["--config", f"study={{cohorts: [], seed: {seed}}}", f"origin={{demo: {{seed: {seed}}}}}"]
    options = ["--cores", "2", "--quiet", "rules", "--configfile", *OVERLAYS, *own]
    subprocess.run([*command, *options, "--", TABLE], cwd=REPOSITORY, check=True)
    table = files.read_table(folder / TABLE, text=["regime", "class", "level"])
    return table.loc[table["class"] == "macro", ["regime", "level", "auroc"]].assign(seed=seed)


@pytest.fixture(scope="module")
def macros() -> pd.DataFrame:
    """Macro AUROCs: rows are level and seed, columns regimes."""
    found = pd.concat([repeat(seed) for seed in SEEDS], ignore_index=True)
    table = found.pivot(index=["level", "seed"], columns="regime", values="auroc")
    files.write_table(table.reset_index(), FOLDER / "seeds.tsv")
    print("", table.round(3), sep="\n")
    return table


def paired(macros: pd.DataFrame, first: str, second: str, level: str) -> tuple[float, float, float]:
    """Mean of first minus second over the seeds, and its 95 % interval."""
    differences = (macros[first] - macros[second]).loc[level].to_numpy()
    mean, error = differences.mean(), differences.std(ddof=1) / np.sqrt(len(differences))
    low, high = stats.t.interval(0.95, len(differences) - 1, mean, error)
    print(f"{first} - {second}, by {level}: {mean:+.3f} ({low:+.3f} to {high:+.3f}); {np.round(differences, 3)}")
    return float(mean), float(low), float(high)


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
