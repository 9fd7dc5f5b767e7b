"""SLURM's jobs, as the tests submit and watch them."""

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from cluster import ACCOUNT, wait_until

REPOSITORY = Path(__file__).parents[2]
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED"}


@dataclass(frozen=True)
class QueuedJob:
    """A job of a master in the queue: its number, the master's name for all of its jobs, and its rule or group."""

    number: str
    name: str
    comment: str


@dataclass(frozen=True)
class Attempt:
    """What the accounting knows of one start of a job of a master; its last process ended at `end`.

    `given` are the resources that it had (`AllocTRES`); `states` are those of the job, then of its steps.
    """

    number: str
    name: str
    comment: str
    states: tuple[str, ...]
    start: datetime | None
    end: datetime
    given: str
    node: str

    @property
    def state(self) -> str:
        return self.states[0]

    def is_of(self, rule: str) -> bool:
        return f"_{rule}" in self.comment


def ask(*command: str) -> str:
    """What a command of SLURM prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def submit(script: str, folder: Path, *options: str) -> str:
    """Submit a script of bash that runs in a folder; its output goes to `<job>.out` there. Return the job's id."""
    command = ("sbatch", "--parsable", f"--chdir={folder}", f"--output={folder}/%j.out", "--mem=100", *options)
    return ask(*command, f"--wrap={script}")


def state_of(job: str) -> str:
    """A job's state in the queue: `RUNNING`, `PENDING`, …; for an hour after its end, how it ended."""
    return ask("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T")


def wait_for(job: str, *states: str, seconds: float = 30) -> None:
    """Wait until a job is in one of some states."""
    wait_until(lambda: state_of(job) in states, seconds, f"job {job} is not {' or '.join(states)}")


def end_of(job: str) -> str:
    """The first word of how a job ended, by the accounting, which hears of it a little later than the queue."""
    wait_for(job, *ENDED)

    def said() -> str:
        return ask("sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={job}", "--format=State")

    wait_until(lambda: said().split(" ")[0] in ENDED, 10, f"sacct knows no end of job {job}")
    return said().split(" ")[0]


def queued(folder: Path, state: str) -> list[QueuedJob]:
    """The jobs that masters have sent from a folder and that are in a state."""
    lines = ask("squeue", "--noheader", f"--states={state}", "--format=%i|%j|%k|%Z").splitlines()
    found = [line.split("|", 3) for line in lines]
    return [
        QueuedJob(number, name, comment)
        for number, name, comment, at in found
        if comment.startswith("rule_") and at == str(folder)
    ]


def attempts(folder: Path) -> list[Attempt]:
    """All that masters ever sent from a folder, in the order of their starts, those that never started first."""
    fields = ("jobid", "jobname", "comment", "state", "start", "end", "alloctres", "nodelist", "workdir")
    # A job that went back to the queue has several starts under its number; and "today" is not all that there was.
    listing = (
        *("sacct", "--noheader", "--parsable2", "--duplicates", "--starttime=now-1days"),
        f"--format={','.join(fields)}",
    )
    wait_until(lambda: "Unknown" not in ask(*listing), 20, "sacct knows of jobs that have no end")
    found: list[tuple[list[str], list[list[str]]]] = []
    for row in (line.split("|", len(fields) - 1) for line in ask(*listing).splitlines()):
        if "." in row[0]:
            found[-1][1].append(row)
        else:
            found.append((row, []))
    ours = [
        Attempt(
            number,
            name,
            comment,
            (state.split()[0], *(step[3].split()[0] for step in steps)),
            None if start in ("None", "Unknown") else datetime.fromisoformat(start),
            max(datetime.fromisoformat(ended) for ended in (end, *(step[5] for step in steps))),
            given,
            node,
        )
        for (number, name, comment, state, start, end, given, node, at), steps in found
        if comment.startswith("rule_") and at == str(folder)
    ]
    return sorted(ours, key=lambda attempt: attempt.start or datetime.min)


def assert_one_writer(found: Sequence[Attempt], output: str) -> None:
    """What was done again was begun after its former attempt had ended; something was done again.

    `output` is what the masters said: by it are told apart the groups of one rule, whose jobs have the same comment.
    """
    group_of = {
        number: group for group, number in re.findall(r"Job ([0-9a-f-]{36}) has been .* SLURM jobid (\d+) ", output)
    }
    started = [(group_of.get(one.number, one.comment), one) for one in found if one.start]
    started.sort(key=lambda named: (named[0], named[1].start))
    assert len(dict(started)) < len(started), "no job was done again"
    for (what, former), (as_well, latter) in pairwise(started):
        assert what != as_well or former.end <= latter.start, (former, latter)


def snakemake(*arguments: str, partition: str = "cpu", mem_mb: int = 500, repository: Path = REPOSITORY) -> list[str]:
    """The command that runs Snakemake with the profile `slurm` of a repository on this cluster."""
    profile = ("--profile", str(repository / "slurm"))
    resources = (f"slurm_account={ACCOUNT}", f"slurm_partition={partition}", f"mem_mb={mem_mb}", "runtime=5")
    impatient = [sys.executable, str(Path(__file__).parent / "impatient.py")]
    return [*impatient, *arguments, *profile, "--default-resources", *resources]
