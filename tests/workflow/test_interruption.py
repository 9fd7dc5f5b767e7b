"""A run that is killed anywhere ends, by the same one command, with the results of one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from checkouts import MINI, Checkout, tables_of


def start(checkout: Checkout, log: Path) -> subprocess.Popen:
    """The workflow in a process group of its own."""
    with open(log, "ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", MINI],
            cwd=checkout.folder, stdout=stream, stderr=stream, start_new_session=True,
        )  # fmt: skip


def kill(checkout: Checkout, log: Path, *, when: Callable[[], bool], wait: float = 0.0) -> None:
    """Start the workflow and kill it, its whole process group, some seconds after something has come about."""
    run = start(checkout, log)
    while not when() and run.poll() is None:
        time.sleep(0.01)
    time.sleep(wait)
    assert run.poll() is None, log.read_text()
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()


@pytest.mark.slow
def test_ten_kills_at_random_moments_change_no_table(finished, tmp_path):
    killed, log = finished.copy_to(tmp_path / "killed", with_results=False), tmp_path / "run.log"
    results = killed.folder / "results"
    chance = random.Random(5)

    def jobs_finished() -> int:
        return log.read_text().count("Finished jobid")

    for _ in range(3):  # at the start, while the cohort is generated and tiled
        kill(killed, log, when=lambda: True, wait=chance.uniform(0.5, 8.0))
    # Looked for where no folder is removed while it is looked through.
    kill(killed, log, when=lambda: any(results.glob("mini/training/*/*/state.pt")))
    assert any(results.rglob("state.pt"))
    for _ in range(6):  # counted in jobs, so that no machine is too fast for the tenth
        moment = jobs_finished() + chance.randint(1, 2)
        kill(killed, log, when=lambda moment=moment: jobs_finished() >= moment, wait=chance.uniform(0.0, 0.5))
    assert start(killed, log).wait() == 0, log.read_text()
    assert tables_of(killed) == tables_of(finished)
    left = [path.name for path in results.rglob("*") if "partial" in path.name]
    assert left == []
    assert not list(results.rglob("state.pt"))
