"""Studies of generated cohorts, repeated over seeds: each is a cohort, a split and trainings of its own."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

REPOSITORY = Path(__file__).parents[1]
SEEDS = (1, 2, 3, 4, 5)


def run(folder: Path, study: str, overlays: Sequence[str], seed: int, target: str, *, cores: int = 2) -> Path:
    """Make a target of a sister study with a seed, in a folder of its own, where what is there is used; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile", "--directory", folder]
    own = ["--config", f"study={{cohorts: [], seed: {seed}}}", f"{study}={{demo: {{seed: {seed}}}}}"]
    configured = ["--configfile", *(str(REPOSITORY / overlay) for overlay in overlays), *own]
    subprocess.run(
        [*command, "--cores", str(cores), "--quiet", "rules", *configured, "--", target], cwd=REPOSITORY, check=True
    )
    return folder / target


def paired(found: pd.DataFrame, first: str, second: str, level: str) -> tuple[float, float, float]:
    """Mean of first minus second over the seeds, and its 95 % interval (t, four degrees of freedom).

    found: rows are (level, seed), columns what is compared. What is found is printed.
    """
    differences = (found[first] - found[second]).loc[level].to_numpy()
    mean, error = differences.mean(), differences.std(ddof=1) / np.sqrt(len(differences))
    low, high = stats.t.interval(0.95, len(differences) - 1, mean, error)
    print(f"{first} - {second}, by {level}: {mean:+.3f} ({low:+.3f} to {high:+.3f}); {np.round(differences, 3)}")
    return float(mean), float(low), float(high)
