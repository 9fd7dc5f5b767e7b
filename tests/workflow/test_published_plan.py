"""The published cohorts are assembled from the real manifests and tables, and planned to the last figure."""

import subprocess
import sys

import pytest
import yaml
from checkouts import REPOSITORY, Checkout

from workflow_scripts.lib.submissions import read_local_rules, read_plan, submissions

OVERLAY = "studies/tcga-local.yaml"


@pytest.fixture(scope="module")
def assembled(shared_data, tmp_path_factory) -> Checkout:
    """A checkout beside the shared data, in which the target `cohort` was made."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "shared").symlink_to(shared_data.parent)
    checkout = Checkout(REPOSITORY).copy_to(folder / "checkout", with_results=False)
    said = snakemake(checkout, "cohort")
    assert "download_slide" not in said
    return checkout


def snakemake(checkout: Checkout, *arguments: str) -> str:
    command = [sys.executable, "-m", "snakemake", *arguments, "--cores", "2", "--configfile", OVERLAY]
    run = subprocess.run(
        command, cwd=checkout.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    assert run.returncode == 0, run.stdout
    return run.stdout


def test_the_cohort_is_made_with_no_slide_present_and_without_a_network(assembled):
    for cohort, n_traits in (("brca", 9), ("luad", 5)):
        results = assembled.folder / "results" / cohort
        made = {str(path.relative_to(results)) for path in results.rglob("*") if path.is_file()}
        assert {"sheet.tsv", "splits.tsv", "flow.tsv", "flow_traits.tsv", "figures/cohort_flow.png"} <= made
        assert len(list((results / "labels").glob("*.tsv"))) == n_traits
        assert not (results / "slides").exists()


@pytest.mark.slow
def test_the_whole_study_is_planned_every_slide_model_and_figure(assembled):
    planned = read_plan(snakemake(assembled, "--dry-run"))
    assert planned["download_slide"] == planned["tile_slide"] == 761 + 469
    # Five rounds of nine and of five traits.
    assert planned["train_model"] == 5 * (9 + 5)
    figures = {
        "draw_slide_verdicts", "draw_quality", "draw_training_curves", "write_table1", "draw_score_distributions",
        "draw_correlations", "draw_heterogeneity_examples", "draw_heterogeneity_maps", "draw_survival_curves",
        "draw_hazard_ratios", "draw_expression_survival", "draw_hti_by_expression", "draw_hti_by_category",
    }  # fmt: skip
    assert figures <= set(planned)
    profile = yaml.safe_load((REPOSITORY / "slurm" / "config.v9+.yaml").read_text())
    submitted = submissions(planned, profile, local=read_local_rules(REPOSITORY / "Snakefile"))
    print(submitted.to_string(index=False))
    assert 100 < submitted["submissions"].sum() < 3000


@pytest.mark.slow
def test_the_doctor_says_what_the_study_needs(assembled):
    said = snakemake(assembled, "doctor", "--quiet", "all")
    for words in (
        "761 will be downloaded to results/brca/slides",
        "CD24 is not run: not among the fifty genes of the panel",
        "slides: 771.2 GB, 771.2 GB to download",
        "45 models",
    ):
        assert words in said
