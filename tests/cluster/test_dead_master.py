"""A run whose master is killed goes on by the same command: what it left in SLURM ends before anything else begins."""

import os
import shlex
import signal
import subprocess
import uuid
from dataclasses import dataclass

import pytest
from checkouts import MINI, REPOSITORY, Checkout, tables_of
from cluster import wait_until
from jobs import ENDED, ask, assert_one_writer, attempts, queued, snakemake, state_of, submit, wait_for

from workflow_scripts.lib import orphans

TARGET = "results/mini/slides.tsv"
# Two at a time, so that some wait in the queue when the master dies, and would start after its end.
TWO_AT_A_TIME = ("--set-resources", "tile_slide:mem_mb=60000", "tile_slide:slurm_extra=--nodelist=n1")
# In place of the profile's groups, by which all of these slides would be one job.
NOT_GROUPED = ("--groups", "map_slides=alone")
COMMAND = snakemake(TARGET, "--configfile", MINI, *TWO_AT_A_TIME, *NOT_GROUPED)


@dataclass(frozen=True)
class Story:
    """A run on this machine alone, and one on the cluster that was killed and run again, in a job of its own."""

    undisturbed: Checkout
    resumed: Checkout
    dead: str  # how the executor named the jobs of the master that was killed
    last: str  # the job of the one that ended the run
    output: str  # of that
    refused: subprocess.CompletedProcess  # the one that was started while that lived


@pytest.fixture(scope="module")
def story(running_cluster, tmp_path_factory) -> Story:
    folder = tmp_path_factory.mktemp("dead master")
    undisturbed = Checkout(folder / "undisturbed")
    Checkout(REPOSITORY).copy_to(undisturbed.folder, with_results=False)
    run = undisturbed.snakemake(TARGET)
    assert run.returncode == 0, run.stdout
    # The cohort is there; three of its slides are not tiled.
    resumed = undisturbed.copy_to(folder / "resumed", with_results=True)
    for path in [resumed.folder / TARGET, *sorted(resumed.folder.glob("results/mini/tiles/*.h5"))[:3]]:
        path.unlink()

    with open(folder / "killed.log", "w") as log:
        killed = subprocess.Popen(COMMAND, cwd=resumed.folder, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: len(names_of(resumed)) == 2, 60, "the first jobs do not run")
    finally:
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    (dead,) = set(names_of(resumed))

    # Named as the executor's own jobs are: all that tells it from them is its id.
    last = submit(shlex.join(COMMAND), resumed.folder, f"--job-name={uuid.uuid4()}", "--mem=1000")
    wait_until(lambda: set(names_of(resumed)) - {dead} or state_of(last) in ENDED, 60, "no new job is submitted")
    refused = subprocess.run(COMMAND, cwd=resumed.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for(last, *ENDED, seconds=120)
    return Story(undisturbed, resumed, dead, last, (resumed.folder / f"{last}.out").read_text(), refused)


def names_of(checkout: Checkout) -> list[str]:
    """By what names masters call the jobs of a folder that run."""
    return [job.name for job in queued(checkout.folder, "RUNNING")]


def test_the_same_command_ends_the_run_in_a_job_of_its_own_too(story):
    assert state_of(story.last) == "COMPLETED", story.output
    assert "of a run that died" in story.output
    assert tables_of(story.resumed) == tables_of(story.undisturbed)


def test_jobs_of_a_dead_master_end_before_any_other_begins(story):
    jobs = attempts(story.resumed.folder)
    left = [job for job in jobs if job.name == story.dead]
    assert {job.state for job in left} <= {"CANCELLED", "COMPLETED"}
    assert "CANCELLED" in {job.state for job in left}
    assert max(job.end for job in left) <= min(job.start for job in jobs if job.name != story.dead)


def test_no_output_ever_has_two_writers(story):
    assert_one_writer(attempts(story.resumed.folder), story.output)


def test_a_second_master_is_refused_and_cancels_nothing(story):
    assert story.refused.returncode != 0
    assert "another run is writing into results/" in story.refused.stdout
    assert "of a run that died" not in story.refused.stdout
    assert {job.state for job in attempts(story.resumed.folder) if job.name != story.dead} == {"COMPLETED"}


def test_jobs_that_wait_or_are_an_array_are_cancelled_and_those_of_others_are_not(tmp_path):
    (tmp_path / "a run" / "results").mkdir(parents=True)
    (tmp_path / "other" / "results").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a run")
    named, sleep = f"--job-name=ours_{uuid.uuid4()}", "exec sleep 60"
    held = submit(sleep, tmp_path / "a run", named, "--hold")
    waiting = submit(sleep, tmp_path / "link", named, f"--dependency=afterok:{held}")
    array = submit(sleep, tmp_path / "a run", named, "--array=0-5%2")
    own = submit(sleep, tmp_path / "a run", "--job-name=analysis")
    elsewhere = submit(sleep, tmp_path / "other", named)
    for job in (array, own, elsewhere):
        wait_until(lambda job=job: "RUNNING" in state_of(job).split(), 30, f"job {job} does not run")
    told: list[str] = []
    orphans.end_orphans(tmp_path / "link", own=[], is_held=True, is_used=True, tell=told.append)
    assert told[-1].startswith(f"ended: 3 jobs ({held}, {waiting}, {array})")
    assert [set(state_of(job).split()) for job in (held, waiting, array)] == [{"CANCELLED"}] * 3
    assert [state_of(job) for job in (own, elsewhere)] == ["RUNNING"] * 2
    ask("scancel", own, elsewhere)
