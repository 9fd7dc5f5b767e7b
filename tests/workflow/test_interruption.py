"""A run that is killed anywhere ends, by the same one command, with the results of one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from checkouts import LOG, MINI, Checkout, tables_of

pytestmark = pytest.mark.xdist_group("workflow")

KILLS = 10


def start(checkout: Checkout, log: Path) -> subprocess.Popen:
    """The workflow in a process group of its own."""
    with open(log, "ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", MINI],
            cwd=checkout.folder, stdout=stream, stderr=stream, start_new_session=True,
        )  # fmt: skip


def jobs_finished(log: Path) -> int:
    """In all runs that wrote to this log."""
    return log.read_text().count("Finished jobid") if log.exists() else 0


def test_ten_kills_at_random_moments_change_no_table(finished, tmp_path):
    killed, log = finished.copy_to(tmp_path / "killed", with_results=False), tmp_path / "run.log"
    chance = random.Random(5)
    # Moments are counted in jobs, so that a faster machine does not finish before the tenth.
    moments = sorted(chance.sample(range(jobs_finished(finished.folder / LOG) - KILLS), KILLS))
    for moment in moments:
        run = start(killed, log)
        while jobs_finished(log) < moment and run.poll() is None:
            time.sleep(0.02)
        time.sleep(chance.uniform(0.0, 1.0))
        assert run.poll() is None, log.read_text()
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    assert start(killed, log).wait() == 0, log.read_text()
    assert tables_of(killed) == tables_of(finished)
    left = [path.name for path in (killed.folder / "results").rglob("*") if "partial" in path.name]
    assert left == []
    assert not list((killed.folder / "results").rglob("state.pt"))
