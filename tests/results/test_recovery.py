"""What a built cohort found of its own truth. Run by `make test-results`, after `make demo`.

The workflow has computed these; here they are held to what is claimed of them. A cohort that was not built is skipped.
"""

from pathlib import Path

import pandas as pd
import pytest

from workflow_scripts.lib import files

RESULTS = Path(__file__).parents[2] / "results"


def table(cohort: str, name: str) -> pd.DataFrame:
    path = RESULTS / cohort / name
    if not path.is_file():
        pytest.skip(f"{cohort} was not built here ({path} is absent)")
    return files.read_table(path)


def measured(cohort: str, trait: str, measure: str) -> float:
    found = table(cohort, "recovery/recovery.tsv").set_index(["trait", "measure"])["value"]
    return found.at[trait, measure]


@pytest.mark.parametrize("trait", ["GLDA", "miR-demo-5p"])
def test_the_demo_tells_positive_tiles_of_slides_that_no_model_has_seen(trait):
    assert measured("demo", trait, "tile_auc") >= 0.95


@pytest.mark.parametrize("trait", ["GLDA", "miR-demo-5p"])
def test_the_demo_ranks_slides_by_their_true_share(trait):
    assert measured("demo", trait, "share_spearman") >= 0.85


def test_the_demo_ranks_slides_by_their_true_heterogeneity():
    assert measured("demo", "GLDA+miR-demo-5p", "hti_spearman") >= 0.80


def test_the_demos_filter_tells_tumour_on_slides_that_it_has_not_seen():
    evaluation = table("filters", "demo/evaluation.tsv").set_index("set")
    assert evaluation.at["test", "auroc"] >= 0.95


def test_the_demo_lists_what_it_left_out_and_why():
    slides = table("demo", "slides.tsv")
    excluded = slides[slides["status"] == "excluded"]
    assert len(slides) == 84
    assert sorted(reason.split(":")[0] for reason in excluded["reason"]) == [
        "cannot be opened, cut short or damaged", "no µm/px in the file and none configured",
    ]  # fmt: skip
    assert (slides.loc[slides["status"] == "accepted", "n_tiles"] == 0).sum() == 1, "the blank slide"
    assert slides["reason"].str.startswith("blank").sum() == 1
    assert (slides["n_dropped"] > 0).sum() == 1, "the slide with pen ink and a blurred area"


@pytest.mark.parametrize(("trait", "floor"), [("MOSA", 0.95), ("miR-mosb-5p", 0.90)])
def test_real_histology_is_told_apart(trait, floor):
    assert measured("colon", trait, "tile_auc") >= floor


def test_slides_of_real_histology_are_ranked_by_their_true_heterogeneity():
    assert measured("colon", "MOSA+miR-mosb-5p", "hti_spearman") >= 0.70


@pytest.mark.parametrize("trait", ["GLDA", "miR-demo-5p"])
def test_shuffled_expression_teaches_nothing(trait):
    shuffled = table("controls", "controls/shuffled.tsv").set_index("trait")["value"]
    assert abs(shuffled[f"{trait}, mean of shuffles"] - 0.5) <= 0.1


def test_survival_that_ignores_heterogeneity_has_a_uniform_p():
    uniformity = table("controls", "controls/uniformity.tsv").iloc[0]
    assert uniformity["draws"] == 200
    assert uniformity["ks_p"] > 0.05
