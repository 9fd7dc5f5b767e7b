"""Over five cohorts and trainings: does what adapts to photographs classify them better, and only where they differ?

Run by `make test-adaptation`, an hour on four cores and not quite two on two. Each seed is three studies from nothing,
in folders of their own below results/adaptation_seeds/, and what is there already is used: the demo; the demo with a
camera that shifts nothing, for methods that learn from photographs without labels; and real colon where it is at hand.
`seeds.tsv` there has the macro F1 of each, and what is printed is the mean of paired differences to the source-only
models, with a 95 % interval (t, four degrees of freedom). Where photographs do not differ, what is gained is gained
over the source-only model of the same loss of labels, since one loss may be better than the other on slides and
photographs alike.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pandas as pd
import pytest
from colon_cohort import make
from repeats import REPOSITORY, SEEDS, paired, run

from workflow_scripts.lib import files
from workflow_scripts.lib.configuration.adaptation import Camera

FOLDER = REPOSITORY / "results" / "adaptation_seeds"
DEMO = "studies/adaptation-demo.yaml"
SHARED = REPOSITORY.parent / "shared" / "data"
OVERLAYS = {
    "demo": (DEMO,),
    "unshifted": (DEMO, "tests/adaptation/unshifted.yaml"),
    "colon": (DEMO, "tests/adaptation/colon.yaml"),
}
FOCAL, CROSS_ENTROPY = "source_only", "source_only_c"
# Of methods without labels of photographs, the source-only model of the same loss.
WITHOUT_PHOTOGRAPHS = {
    "ddc": CROSS_ENTROPY,
    "dann": CROSS_ENTROPY,
    "coral": CROSS_ENTROPY,
    "dman_h": FOCAL,
    "dman": FOCAL,
}


def table2_of(what: str, seed: int) -> pd.DataFrame:
    folder = FOLDER / what / f"seed_{seed}"
    if what == "colon" and not (folder / "colon" / "split.tsv").exists():
        make(SHARED, folder / "colon", seed=seed, camera=Camera().model_dump())
    path = run(folder, "adaptation", OVERLAYS[what], seed, "results/adaptation/tables/table2.tsv", cores=1)
    return files.read_table(path, text=["method", "title", "domain", "labelled", "note"]).assign(what=what, seed=seed)


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    """Macro F1: rows are what, domain and seed, columns methods."""
    asked = [what for what in OVERLAYS if what != "colon" or (SHARED / "colon").is_dir()]
    # A study on each core leaves none idle while a method waits for the one that it starts from.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        rows = pd.concat(pool.map(lambda one: table2_of(*one), product(asked, SEEDS)))
    files.write_table(rows, FOLDER / "seeds.tsv")
    order = rows["method"].drop_duplicates().tolist()
    table = rows.pivot(index=["what", "domain", "seed"], columns="method", values="f1")[order]
    spread = table.groupby(["what", "domain"]).agg(["mean", "std", "min", "max"]).stack(0, future_stack=True)
    print("", spread.round(3).to_string(), sep="\n")
    return table


def gain(found: pd.DataFrame, method: str, over: str, what: str) -> tuple[float, float, float]:
    """The mean gain of macro F1 on photographs over a source-only model, and its 95 % interval, which are printed."""
    return paired(found.xs("target", level="domain"), method, over, what)


def test_a_model_of_slides_knows_slides_and_is_worse_on_photographs(found):
    of_domains = found[FOCAL].loc["demo"].groupby("domain").mean()
    assert of_domains["source"] >= 0.9
    assert 0.5 <= of_domains["target"] <= 0.85


def test_dman_classifies_photographs_better_than_a_model_of_slides(found):
    mean, _, _ = gain(found, "dman", FOCAL, "demo")
    assert mean >= 0.05


def test_what_each_method_gains_is_told(found):
    for what in found.index.unique("what"):
        for method in found.columns[found.loc[what].notna().all()].drop([FOCAL, CROSS_ENTROPY]):
            for over in (FOCAL, CROSS_ENTROPY):
                assert np.isfinite(gain(found, method, over, what)).all()


@pytest.mark.parametrize(("method", "over"), WITHOUT_PHOTOGRAPHS.items())
def test_where_photographs_do_not_differ_nothing_is_gained_beyond_the_spread(found, method, over):
    mean, low, _ = gain(found, method, over, "unshifted")
    assert mean <= found[over].loc["unshifted", "target"].std() or low <= 0
