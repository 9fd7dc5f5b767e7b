"""Over five cohorts and trainings: are a planted number and planted survival found on whole slides, and nothing else?

Run by `make test-compression`, an hour on two cores. Each seed is the demo from nothing, in a folder of its own below
results/compression_seeds/, and what is there already is used. `seeds.tsv` there has what is asserted, and what is
printed besides is how much more tasks help: each encoder of the ablation, with its spread over the seeds.
"""

import numpy as np
import pandas as pd
import pytest
from repeats import REPOSITORY, SEEDS, run
from scipy import stats

from workflow_scripts.lib import files

FOLDER = REPOSITORY / "results" / "compression_seeds"
OVERLAYS = ("studies/compression-demo.yaml", "tests/compression/seeds.yaml")
TABLES = "results/compression/tables"


def table_of(seed: int, name: str) -> pd.DataFrame:
    path = run(FOLDER / f"seed_{seed}", "compression", OVERLAYS, seed, f"{TABLES}/{name}.tsv")
    return files.read_table(path, text=["target", "encoder", "set", "risk", "note"]).assign(seed=seed)


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    """What is measured, by seed: Spearman of the number on both cohorts, and the C-index of survival."""
    rows = []
    for seed in SEEDS:
        for row in table_of(seed, "table1").query("encoder == 'multitask'").itertuples():
            rows.append((seed, f"{row.target}, {row.set}", row.spearman))
        for row in table_of(seed, "survival").query("encoder == 'multitask' and risk == 'Cox'").itertuples():
            rows.append((seed, row.target, row.c_index))
    measured = pd.DataFrame(rows, columns=["seed", "what", "value"]).pivot(index="seed", columns="what", values="value")
    files.write_table(measured.reset_index(), FOLDER / "seeds.tsv")
    print("", measured.round(3).T, sep="\n")
    return measured


def with_interval(values: pd.Series) -> tuple[float, float, float]:
    """The mean over the seeds and its 95 % interval (t, four degrees of freedom), which are printed."""
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    low, high = stats.t.interval(0.95, len(values) - 1, mean, error)
    print(f"{values.name}: {mean:.3f} ({low:.3f} to {high:.3f}); median {values.median():.3f}")
    return float(mean), float(low), float(high)


@pytest.mark.parametrize("cohort", ["development", "external"])
def test_the_planted_number_is_found_on_slides_that_are_not_learnt_from(found, cohort):
    values = found[f"proliferation, {cohort}"]
    with_interval(values)
    assert values.median() >= 0.7


def test_who_dies_earlier_has_the_higher_risk(found):
    mean, _, _ = with_interval(found["survival"])
    assert mean > 0.5


@pytest.mark.parametrize("cohort", ["development", "external"])
def test_a_shuffled_number_is_not_found(found, cohort):
    mean, _, _ = with_interval(found[f"proliferation_shuffled, {cohort}"])
    assert abs(mean) <= 0.25


def test_shuffled_survival_is_not_found(found):
    mean, _, _ = with_interval(found["survival_shuffled"])
    assert abs(mean - 0.5) <= 0.1


def test_what_more_tasks_bring_is_told():
    ablation = pd.concat([table_of(seed, "ablation") for seed in SEEDS])
    by_seed = ablation.pivot_table(index="tasks", columns="seed", values="spearman")
    print(
        "\nmean Spearman by number of tasks", by_seed.assign(mean=by_seed.mean(1), sd=by_seed.std(1)).round(3), sep="\n"
    )
    by_encoder = ablation.groupby(["tasks", "encoder"])["spearman"].agg(["mean", "std"])
    print("", by_encoder.round(3), sep="\n")
    assert np.isfinite(by_seed.to_numpy()).all()
