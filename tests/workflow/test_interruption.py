"""A run that is killed anywhere ends, by the same one command, with the results of one that was not."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from checkouts import MINI, Checkout, tables_of

pytestmark = pytest.mark.xdist_group("workflow")

KILLS = 10


def start(checkout: Checkout) -> subprocess.Popen:
    """The workflow in a process group of its own."""
    with open(checkout.folder / "run.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", MINI],
            cwd=checkout.folder, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def test_ten_kills_at_random_moments_change_no_table(finished, tmp_path):
    killed = finished.copy_to(tmp_path / "killed", with_results=False)
    moments = random.Random(5)
    kills = 0
    while kills < KILLS:
        run = start(killed)
        time.sleep(moments.uniform(2.0, 14.0))
        assert run.poll() in (None, 0), (killed.folder / "run.log").read_text()
        if run.poll() == 0:
            break
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        kills += 1
    assert kills == KILLS, f"the run was over after {kills} kills"
    assert start(killed).wait() == 0, (killed.folder / "run.log").read_text()
    assert tables_of(killed) == tables_of(finished)
    left = [path.name for path in (killed.folder / "results").rglob("*") if "partial" in path.name]
    assert left == []
    assert not list((killed.folder / "results").rglob("state.pt"))
