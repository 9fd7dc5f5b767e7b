"""A run whose master is killed goes on by the same command: what it left in SLURM ends before anything else begins."""

import os
import shlex
import signal
import subprocess
import uuid
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import pytest
from checkouts import MINI, REPOSITORY, Checkout, tables_of
from cluster import wait_until
from jobs import ENDED, ask, snakemake, state_of, submit, wait_for

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


@dataclass(frozen=True)
class Job:
    """What the accounting knows of a job; its last process ended at `end`."""

    name: str
    comment: str
    state: str
    start: datetime | None
    end: datetime


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
        wait_until(lambda: len(jobs_of(resumed, "RUNNING")) == 2, 60, "the first jobs do not run")
    finally:
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    (dead,) = set(jobs_of(resumed, "RUNNING"))

    # Named as the executor's own jobs are: all that tells it from them is its id.
    last = submit(shlex.join(COMMAND), resumed.folder, f"--job-name={uuid.uuid4()}", "--mem=1000")
    wait_until(
        lambda: set(jobs_of(resumed, "RUNNING")) - {dead} or state_of(last) in ENDED, 60, "no new job is submitted"
    )
    refused = subprocess.run(COMMAND, cwd=resumed.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for(last, *ENDED, seconds=120)
    return Story(undisturbed, resumed, dead, last, (resumed.folder / f"{last}.out").read_text(), refused)


def jobs_of(checkout: Checkout, state: str) -> list[str]:
    """Names of the jobs that a master has sent from a folder and that are in a state."""
    lines = ask("squeue", "--noheader", f"--states={state}", "--format=%k|%j|%Z").splitlines()
    found = [line.split("|", 2) for line in lines]
    return [name for comment, name, at in found if comment.startswith("rule_") and at == str(checkout.folder)]


def accounted_jobs(checkout: Checkout) -> list[Job]:
    """All that was ever sent from a folder."""
    fields = "jobid,jobname,comment,state,start,end,workdir"
    listing = ("sacct", "--noheader", "--parsable2", "--allocations", f"--format={fields}")
    steps = ("sacct", "--noheader", "--parsable2", "--format=jobid,end")
    wait_until(lambda: "Unknown" not in ask(*steps), 20, "sacct knows of jobs that have no end")
    ends: dict[str, list[datetime]] = {}
    for line in ask(*steps).splitlines():
        step, end = line.split("|")
        ends.setdefault(step.split(".")[0], []).append(datetime.fromisoformat(end))
    rows = [line.split("|", 6) for line in ask(*listing).splitlines()]
    return [
        Job(name, comment, state.split()[0], None if start == "None" else datetime.fromisoformat(start), max(ends[job]))
        for job, name, comment, state, start, _, at in rows
        if comment.startswith("rule_") and at == str(checkout.folder)
    ]


def test_the_same_command_ends_the_run_in_a_job_of_its_own_too(story):
    assert state_of(story.last) == "COMPLETED", story.output
    assert "of a run that died" in story.output
    assert tables_of(story.resumed) == tables_of(story.undisturbed)


def test_jobs_of_a_dead_master_end_before_any_other_begins(story):
    jobs = accounted_jobs(story.resumed)
    left = [job for job in jobs if job.name == story.dead]
    assert {job.state for job in left} <= {"CANCELLED", "COMPLETED"}
    assert "CANCELLED" in {job.state for job in left}
    assert max(job.end for job in left) <= min(job.start for job in jobs if job.name != story.dead)


def test_no_output_ever_has_two_writers(story):
    jobs = sorted((job for job in accounted_jobs(story.resumed) if job.start), key=lambda job: (job.comment, job.start))
    assert len({job.comment for job in jobs}) < len(jobs), "no job was done again"
    for former, latter in pairwise(jobs):
        assert former.comment != latter.comment or former.end <= latter.start


def test_a_second_master_is_refused_and_cancels_nothing(story):
    assert story.refused.returncode != 0
    assert "another run is writing into results/" in story.refused.stdout
    assert "of a run that died" not in story.refused.stdout
    assert {job.state for job in accounted_jobs(story.resumed) if job.name != story.dead} == {"COMPLETED"}


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
