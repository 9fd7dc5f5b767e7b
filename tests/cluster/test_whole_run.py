"""A whole run on the cluster gives what one machine gives, and no job holds a GPU that it does not need."""

from dataclasses import dataclass

import pytest
from checkouts import MINI, REPOSITORY, Checkout, tables_of
from jobs import ask, snakemake

ON_A_GPU = {"train_model", "train_filter", "filter_slides", "score_annotated", "predict_slides"}


@dataclass(frozen=True)
class Job:
    """What the accounting knows of a job: its rule, or its group and rule, what it was given, and where it ran."""

    comment: str
    given: str
    node: str
    state: str

    def is_of(self, rule: str) -> bool:
        return f"_{rule}" in self.comment


@pytest.fixture(scope="module")
def runs(running_cluster, tmp_path_factory) -> tuple[Checkout, Checkout]:
    """The mini cohort, made on this machine and on the cluster."""
    folder = tmp_path_factory.mktemp("whole")
    here, there = (Checkout(REPOSITORY).copy_to(folder / name, with_results=False) for name in ("here", "there"))
    run = here.snakemake()
    assert run.returncode == 0, run.stdout
    run = there.run(snakemake("--configfile", MINI, mem_mb=2000))
    assert run.returncode == 0, run.stdout
    return here, there


@pytest.fixture(scope="module")
def jobs(runs) -> list[Job]:
    fields = "--format=workdir,comment,alloctres,nodelist,state"
    rows = [row.split("|") for row in ask("sacct", "-X", "--noheader", "--parsable2", fields).splitlines()]
    return [Job(*row[1:]) for row in rows if row[0] == str(runs[1].folder)]


def test_its_tables_models_and_maps_are_those_of_one_machine(runs):
    here, there = map(tables_of, runs)
    assert len(here) > 50
    assert there == here


def test_what_needs_a_gpu_has_one_and_nothing_else_has(jobs):
    assert {job.state for job in jobs} == {"COMPLETED"}
    for job in jobs:
        needs_one = any(job.is_of(rule) for rule in ON_A_GPU)
        assert ("gres/gpu=1" in job.given) == needs_one, job
        assert job.node in (("n2", "n3") if needs_one else ("n1", "n2", "n3"))


def test_eight_slides_are_tiled_by_one_job_and_light_rules_by_none(jobs):
    assert len([job for job in jobs if job.is_of("tile_slide")]) == 1
    assert not any(job.is_of(rule) for job in jobs for rule in ("list_slides", "draw_survival_curves", "summarise"))


def test_the_run_says_what_its_jobs_used(runs):
    (table,) = (runs[1].folder / "results" / "efficiency").glob("efficiency_report_histocarta_*.csv")
    assert "rule_train_model" in table.read_text()
