"""A job that SLURM takes from its node while it trains loses nothing: it saves its step, goes on, and comes back."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from checkouts import MINI, REPOSITORY, Checkout
from cluster import ClusterError, wait_until
from jobs import ask, snakemake, submit

MODEL = "results/mini/training/GLDA/round_1"
LOG = "results/mini/logs/train_model/GLDA_round_1.log"
SAVED = r"SIGCONT: the state is saved at step (\d+); training goes on\n"
RESUMED = r"resumed at step (\d+), evaluation \d+\n"
EVALUATED = r"evaluation (\d+), epoch"
OUTPUT = "run.log"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Checkout:
    """A copy of the workflow in which all that a model is trained on has been made, and training takes a while."""
    checkout = Checkout(tmp_path_factory.mktemp("survival") / "checkout")
    Checkout(REPOSITORY).copy_to(checkout.folder, with_results=False)
    checkout.edit(MINI, "\n  batch_size: 16\n", "\n  batch_size: 4\n")
    checkout.edit(MINI, "\n  max_epochs: 2\n", "\n  max_epochs: 20\n  stop_patience: 99\n")
    # It is made of the stains of all tiles, and so asks for both.
    run = checkout.snakemake("results/mini/stains.tsv")
    assert run.returncode == 0, run.stdout
    return checkout


@pytest.fixture(scope="module")
def survivor(running_cluster, prepared, tmp_path_factory) -> SimpleNamespace:
    """What a run whose one job was preempted and then requeued said and made, and what a local run made meanwhile."""
    if "proctrack/cgroup" not in ask("scontrol", "show", "config"):
        pytest.skip("without cgroups SLURM sends SIGTERM to all processes of a job, and training ends by it")
    local = prepared.copy_to(tmp_path_factory.mktemp("undisturbed") / "checkout", with_results=True)
    target = (f"{MODEL}/weights.safetensors", "--configfile", MINI)
    with (
        start(snakemake(*target, partition="gpu", mem_mb=2000), prepared.folder) as run,
        start([sys.executable, "-m", "snakemake", *target, "--cores", "1"], local.folder) as undisturbed,
    ):
        try:
            found = disturb(prepared.folder / LOG)
            for ending, checkout in ((undisturbed, local), (run, prepared)):
                assert ending.wait(600) == 0, (checkout.folder / OUTPUT).read_text()
        finally:
            run.kill()
            undisturbed.kill()
    output = (prepared.folder / OUTPUT).read_text()
    return SimpleNamespace(**found, output=output, folder=prepared.folder, local=local.folder)


def start(command: list[str], folder: Path) -> subprocess.Popen:
    with open(folder / OUTPUT, "w") as output:
        return subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)


def disturb(log: Path) -> dict[str, object]:
    """Take the one job from its node twice, while it trains; return its id, and the steps it saved and resumed at."""
    wait_until(lambda: ask("squeue", "--noheader", "--format=%i"), 60, "no job is submitted")
    job = ask("squeue", "--noheader", "--format=%i")
    said(EVALUATED, log)
    node = ask("squeue", "--noheader", f"--jobs={job}", "--format=%N")
    saved, resumed = [], []
    for take in (
        lambda: submit("true", log.parent, "--partition=urgent", "--gpus=1", f"--nodelist={node}"),
        lambda: ask("scontrol", "requeue", job),
    ):
        said(EVALUATED, log)
        take()
        saved.append(int(said(SAVED, log)))
        # The next attempt then writes another.
        log.unlink()
        resumed.append(int(said(RESUMED, log)))
    return {"job": job, "saved": saved, "resumed": resumed}


def said(pattern: str, log: Path) -> str:
    """Wait until a job's log says something; return what the pattern has in brackets."""

    def found() -> list[str]:
        return re.findall(pattern, log.read_text()) if log.is_file() else []

    try:
        wait_until(found, 60, f"{log} does not say {pattern!r}")
    except ClusterError as error:
        raise ClusterError(f"{error}; this is all it says:\n{log.read_text() if log.is_file() else ''}") from error
    return found()[0]


def test_it_saves_the_step_that_it_is_in_and_goes_on_from_there_or_later(survivor):
    first, second = survivor.saved
    assert 0 < first <= survivor.resumed[0] <= second <= survivor.resumed[1]


def test_it_comes_back_under_its_id(survivor):
    assert len(set(re.findall(r"SLURM jobid (\d+)", survivor.output))) == 1
    states = ("sacct", "-n", "-P", "-X", "-D", f"--jobs={survivor.job}", "--format=State")
    expected = ["PREEMPTED", "REQUEUED", "COMPLETED"]
    wait_until(lambda: ask(*states).splitlines() == expected, 10, f"sacct does not say {expected}")


def test_snakemake_sees_no_failure_and_tries_nothing_again(survivor):
    assert "1 of 1 steps (100%) done" in survivor.output
    assert "Error" not in survivor.output
    assert "restart" not in survivor.output


def test_it_makes_the_bytes_of_a_run_that_nothing_disturbed(survivor):
    made, expected = ({path.name: path.read_bytes() for path in (folder / MODEL).iterdir()}
                      for folder in (survivor.folder, survivor.local))  # fmt: skip
    assert "weights.safetensors" in expected
    assert made == expected
