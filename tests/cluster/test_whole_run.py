"""A whole run on the cluster gives what one machine gives, whatever befalls its jobs, their nodes and itself."""

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
from checkouts import MINI, REPOSITORY, Checkout, tables_of
from faults import Master, cancel, cut_power, hang_until_the_limit, resumed, trained, training_job, trainings_held
from jobs import Attempt, assert_one_writer, attempts, snakemake

from workflow_scripts.lib.files import read_table

ON_A_GPU = {"train_model", "train_filter", "filter_slides", "score_annotated", "predict_slides"}
PROFILE = "slurm/config.v9+.yaml"


@dataclass(frozen=True)
class Hit:
    """A training that a fault befell: of what job, after how many evaluations, and after how many it went on."""

    fault: str
    job: str
    before: int
    after: int


@dataclass(frozen=True)
class Story:
    """A run on this machine, and one on the cluster with all that happened to it."""

    here: Checkout
    there: Checkout
    output: str
    hits: dict[str, Hit]
    attempts: list[Attempt]


@pytest.fixture(scope="module")
def story(running_cluster, overlay, tmp_path_factory) -> Story:
    folder = tmp_path_factory.mktemp("whole")
    here, there = Checkout(folder / "here"), Checkout(folder / "there")
    Checkout(REPOSITORY).copy_to(here.folder, with_results=False)
    if overlay == MINI:
        # Long enough for something to happen meanwhile.
        here.edit(MINI, "  max_epochs: 2\n  threads", "  max_epochs: 8\n  stop_patience: 99\n  threads")
    here.copy_to(there.folder, with_results=False)
    run = here.snakemake(overlay=overlay)
    assert run.returncode == 0, run.stdout

    # The first attempt has too little for torch; the next one asks for more, as the profile's own do.
    asked, starved = "mem_mb: 16000 * attempt # all models", "mem_mb: 450 if attempt == 1 else 4000 # all models"
    there.edit(PROFILE, asked, starved)
    master = Master(there, snakemake("--configfile", overlay, mem_mb=2000, repository=there.folder))
    faults = {"cancelled": cancel, "power": cut_power, "time": hang_until_the_limit}
    hit: list[str] = []
    found: dict[str, tuple[str, Path, int]] = {}

    def next_one(fault: str) -> tuple[str, Path]:
        job, log = training_job(master, spared=hit)
        hit.append(job)
        found[fault] = job, log, trained(log)
        return job, log

    master.start()
    try:
        with trainings_held(there, spared=hit):
            for fault, befall in faults.items():
                befall(*next_one(fault))
            next_one("master")
        master.kill()
        master.start()
        assert master.wait(1800) == 0, master.output.read_text()
    finally:
        master.kill()
    hits = {fault: Hit(fault, job, before, resumed(log)) for fault, (job, log, before) in found.items()}
    return Story(here, there, master.output.read_text(), hits, attempts(there.folder))


def test_its_tables_models_and_maps_are_those_of_one_machine(story):
    here, there = map(tables_of, (story.here, story.there))
    assert len(here) > 50
    assert there == here


def test_all_of_it_happened(story):
    states = {attempt.number: [] for attempt in story.attempts}
    for attempt in story.attempts:
        states[attempt.number].append(attempt.state)
    assert states[story.hits["cancelled"].job] == ["CANCELLED"]
    assert {"NODE_FAIL", "REQUEUED"} & {*states[story.hits["power"].job]}
    assert states[story.hits["time"].job] == ["TIMEOUT"]
    assert states[story.hits["master"].job] == ["CANCELLED"]
    # Without cgroups the accounting gives no reason.
    starved = {"OUT_OF_MEMORY", "FAILED"}
    assert any(starved & {*attempt.states} for attempt in story.attempts if attempt.is_of("predict_slides"))
    assert "of a run that died" in story.output


def test_no_training_goes_back_beyond_its_last_saved_state(story):
    for hit in story.hits.values():
        assert 0 < hit.before <= hit.after, hit


def test_no_output_ever_has_two_writers(story):
    assert_one_writer(story.attempts, story.output)


def test_what_needs_a_gpu_has_one_and_nothing_else_has(story):
    for attempt in (attempt for attempt in story.attempts if attempt.start):
        needs_one = any(attempt.is_of(rule) for rule in ON_A_GPU)
        assert ("gres/gpu=1" in attempt.given) == needs_one, attempt
        assert attempt.node in (("n2", "n3") if needs_one else ("n1", "n2", "n3"))


def test_slides_are_tiled_by_twenties_and_light_rules_by_no_job(story):
    slides = len(list(story.there.folder.glob("results/*/tiles/*.h5")))
    tiling = {attempt.number for attempt in story.attempts if attempt.is_of("tile_slide")}
    assert len(tiling) == math.ceil(slides / 20)
    light = ("list_slides", "draw_survival_curves", "summarise")
    assert not any(attempt.is_of(rule) for attempt in story.attempts for rule in light)


def test_the_run_says_what_its_jobs_used(story):
    # Of the master that lived.
    (table,) = (story.there.folder / "results" / "efficiency").glob("*.tsv")
    rows = read_table(table).set_index("rule")
    assert rows.loc["predict_slides", "ended_badly"] > 0
    assert rows.loc["predict_slides", "gpu_hours"] == rows.loc["predict_slides", "hours"] > 0
    assert rows.loc["measure_heterogeneity", "gpu_hours"] == 0
