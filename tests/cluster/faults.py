"""What befalls a run on a cluster, done to it on purpose while it trains."""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cluster
from checkouts import Checkout
from cluster import wait_until
from jobs import ask, queued, state_of

EVALUATED = r"evaluation (\d+), epoch"
RESUMED = r"resumed at step \d+, evaluation (\d+)\n"


class Master:
    """Snakemake, at work in a checkout; its output goes to `run.log` there."""

    def __init__(self, checkout: Checkout, command: list[str]) -> None:
        self.checkout, self.command = checkout, command
        self.output = checkout.folder / "run.log"
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        with open(self.output, "a") as output:
            self._process = subprocess.Popen(
                self.command, cwd=self.checkout.folder, stdout=output, stderr=output, start_new_session=True
            )

    def kill(self) -> None:
        """SIGKILL it and all its processes on this machine; its jobs know nothing of it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def wait(self, seconds: float) -> int:
        """Wait for its end; return its exit status."""
        return self._process.wait(seconds)

    def lives(self) -> bool:
        return self._process.poll() is None


def trained(log: Path) -> int:
    """After how many evaluations a training's state was saved last, by its log; 0 where that is not yet."""
    said = log.read_text() if log.is_file() else ""
    return max(map(int, re.findall(EVALUATED, said)), default=0)


def resumed(log: Path) -> int:
    """After how many evaluations a training went on, by its log; 0 where it began anew."""
    return max(map(int, re.findall(RESUMED, log.read_text())), default=0)


def training_job(master: Master, spared: Collection[str], seconds: float = 600) -> tuple[str, Path]:
    """Wait until a training is held that is none of `spared`; return its job's number and its log."""
    found: list[tuple[str, Path]] = []

    def is_held() -> bool:
        assert master.lives(), master.output.read_text()[-3000:]
        found.extend(_hold_trainings(master.checkout, spared))
        return bool(found)

    wait_until(is_held, seconds, "no job trains")
    return found[0]


@contextlib.contextmanager
def trainings_held(checkout: Checkout, spared: Collection[str]) -> Iterator[None]:
    """Meanwhile hold each training that is none of `spared`, which may grow: however long something takes to befall
    one of them, the others do not end before their turn. They are left to the next master, which cancels them."""
    over = threading.Event()

    def hold() -> None:
        while not over.wait(0.5):
            _hold_trainings(checkout, spared)

    with ThreadPoolExecutor(1) as thread:
        holding = thread.submit(hold)
        try:
            yield
        finally:
            over.set()
        holding.result()


def _hold_trainings(checkout: Checkout, spared: Collection[str]) -> list[tuple[str, Path]]:
    """Stop the processes of each job that trains, has a saved state and is none of `spared` where they are; return
    these jobs' numbers and logs."""
    held = []
    for job in queued(checkout.folder, "RUNNING"):
        named = re.fullmatch(r"rule_train_model_wildcards_(\w+?)_(.+)_(\d+)", job.comment)
        if named and job.number not in spared:
            log = checkout.folder / f"results/{named[1]}/logs/train_model/{named[2]}_round_{named[3]}.log"
            # What has no process any more has trained, and its job is about to end.
            if trained(log) and _stop(_writers(log)) and state_of(job.number) == "RUNNING":
                held.append((job.number, log))
    return held


def cancel(job: str, _log: Path) -> None:
    """Cancel a job, as a user does by hand."""
    ask("scancel", job)
    wait_until(lambda: state_of(job) == "CANCELLED", 60, f"job {job} is not cancelled")


def cut_power(job: str, _log: Path) -> None:
    """Cut the power of the node that a job runs on, until SLURM has noticed; then switch it on again."""
    node = ask("squeue", "--noheader", f"--jobs={job}", "--format=%N")
    cluster.switch_off(node)
    wait_until(lambda: "down" in ask("sinfo", "--noheader", f"--nodes={node}", "--format=%t"), 60, f"{node} is up")
    cluster.switch_on(node)


def hang_until_the_limit(job: str, log: Path) -> None:
    """Let a job's script hang, as on a disk that does not answer, until its time is up; SLURM looks twice a minute."""
    hanging = _writers(log)
    ask("scontrol", "update", f"job={job}", "EndTime=now+1")
    end = time.monotonic() + 120
    while (state := state_of(job)) == "RUNNING":
        assert time.monotonic() < end, f"job {job} outlives its limit"
        # Again and again: SLURM wakes what it is about to end.
        for _ in range(500):
            _stop(hanging)
            time.sleep(0.001)
    # From here on SLURM has decided, whatever the script does yet.
    assert state in ("TIMEOUT", "COMPLETING"), f"job {job}, which hung, is {state}"
    wait_until(lambda: state_of(job) == "TIMEOUT", 60, f"job {job} does not run out of time")


def _stop(processes: list[int]) -> bool:
    """Stop processes where they are, until something wakes or ends them; say whether there was one."""
    stopped = False
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGSTOP)
            stopped = True
    return stopped


def _writers(path: Path) -> list[int]:
    """The processes that have a file open."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                if any(handle.readlink() == path for handle in (process / "fd").iterdir()):
                    found.append(int(process.name))
    return found
