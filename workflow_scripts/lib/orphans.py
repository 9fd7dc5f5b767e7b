"""Jobs that a run left in SLURM when it died: found, cancelled and waited for, before another run writes.

The jobs of a run that is killed stay in the queue, start, and write. So a run that holds `results/` asks, before it
submits anything, which jobs work on it: they are of no run that lives. They need not be known by their ids, which a run
that dies between sbatch and its log has not written down.

They are cancelled, not let finish. By then the next run is planned, and makes their outputs anyway; and a job may stand
in the queue for days. What is lost is the time since they began; training goes on from the state that it saved last.
"""

import contextlib
import os
import re
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.lib.errors import InputError

# States of a job that has no process and will not get one. Whatever else SLURM says is taken for alive.
_ENDED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED"),
    *("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
}
# A job's id, the id of its array (or its own), state, folder, name. The executor names jobs by the UUID of their run,
# after a prefix that a user may give; the user's other jobs in the folder are not named so.
_FORMAT = "%A|%F|%T|%Z|%j"
_JOB = re.compile(r"(\d+)\|(\d+)\|(\w+)\|(.+)\|(?:[\w-]+_)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Patience:
    """How long SLURM's answers and the end of jobs are waited for (s).

    squeue is asked up to `attempts` times, with a wait of `first_wait_s` between them that doubles; an answer may take
    `answer_s`. `apart_s` is between the two looks that must find nothing: an sbatch may outlive its run for a moment.
    `end_s` is longer than the five minutes after which SLURM gives up a node that it has lost.
    """

    attempts: int = 5
    first_wait_s: float = 2.0
    answer_s: float = 60.0
    apart_s: float = 5.0
    poll_s: float = 2.0
    tell_every_s: float = 30.0
    end_s: float = 600.0


PATIENCE = Patience()


def end_orphans(
    folder: str | Path,
    *,
    own: Collection[str],
    is_held: bool,
    is_used: bool,
    tell: Callable[[str], None],
    patience: Patience = PATIENCE,
) -> None:
    """Cancel the SLURM jobs of dead runs that write into `<folder>/results`; return when all of them have ended.

    The caller holds these results and has submitted nothing yet. Where the disk has no locks, and `is_held` is false,
    the run that sent the jobs may live: none is cancelled. `is_used` says that jobs may have been sent from the folder;
    then squeue must answer, and find nothing twice. Otherwise one look is enough, and a SLURM that does not answer has
    no jobs (its commands may be installed where it is not). `own` are the ids of the job and of the array that this
    process itself runs in, if it does, which are left alone. `tell` takes lines of progress.

    Raises InputError when squeue does not answer, when the jobs do not end, or when their run may live.
    """
    results = Path(folder) / "results"
    if not is_used and not _at_a_glance(results, own, patience):
        return
    began_s, next_word_s, known = time.monotonic(), 0.0, set()
    while jobs := _in_two_looks(results, own, patience):
        if not is_held:
            raise InputError(
                f"{results}: {_named(jobs)} of SLURM may write here, and their run may live: this disk has no locks. "
                f"Wait for that run, or stop it; if there is none, `scancel {' '.join(jobs)}`. Then run this again."
            )
        known |= jobs.keys()
        waited_s = time.monotonic() - began_s
        if waited_s > patience.end_s:
            raise InputError(
                f"{results}: {_named(jobs)} of a run that died did not end within {patience.end_s:.0f} s of scancel. "
                f"Run this again when `squeue --jobs={','.join(jobs)}` lists none."
            )
        if waited_s >= next_word_s:
            tell(f"cancelled, and waiting for the end of {_named(jobs)} of a run that died")
            next_word_s = waited_s + patience.tell_every_s
        _cancel([job for job, states in jobs.items() if states != {"COMPLETING"}], patience)
        time.sleep(patience.poll_s)
    if known:
        tell(f"ended: {_named(known)} of a run that died; what they had begun is made again")


def _at_a_glance(results: Path, own: Collection[str], patience: Patience) -> bool:
    """Whether one look finds jobs, where there may be no SLURM at all."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return bool(_look(results, own, patience))
    return False


def _in_two_looks(results: Path, own: Collection[str], patience: Patience) -> dict[str, set[str]]:
    """What `_look` finds, at once or somewhat later. Raises InputError when squeue goes on to fail."""
    jobs = _look_patiently(results, own, patience)
    if not jobs:
        time.sleep(patience.apart_s)
        jobs = _look_patiently(results, own, patience)
    return jobs


def _look_patiently(results: Path, own: Collection[str], patience: Patience) -> dict[str, set[str]]:
    for attempt in range(patience.attempts):
        try:
            return _look(results, own, patience)
        except (OSError, subprocess.SubprocessError) as error:
            reason = error
            time.sleep(patience.first_wait_s * 2**attempt if attempt + 1 < patience.attempts else 0)
    said = (getattr(reason, "stderr", None) or b"").decode(errors="replace").strip().splitlines()
    raise InputError(
        f"{results}: squeue does not answer ({said[-1] if said else reason}), and jobs of a run that died may write "
        "here. Run this again when it does."
    )


def _look(results: Path, own: Collection[str], patience: Patience) -> dict[str, set[str]]:
    """Jobs, or whole arrays, that write into some results and have not ended: the states of their tasks, by id."""
    # With all states: `PENDING,RUNNING` leaves out a job that is held, or whose node starts.
    answer = _run(["squeue", "--me", "--all", "--noheader", "--states=all", f"--format={_FORMAT}"], patience)
    jobs = defaultdict(set)
    for job in filter(None, map(_JOB.fullmatch, answer.split("\n"))):
        task, array, state, folder = job.groups()
        if state not in _ENDED and not {task, array} & set(own) and _is_same(Path(folder) / results.name, results):
            jobs[array].add(state)
    return jobs


def _is_same(found: Path, expected: Path) -> bool:
    """Whether two paths lead to one folder, by whatever links; of one that does not, no job can write there."""
    with contextlib.suppress(OSError):
        return found.samefile(expected)
    return False


def _cancel(jobs: Sequence[str], patience: Patience) -> None:
    """Ask SLURM to end jobs. Whether they do, squeue says; to scancel it is an error that one has just ended."""
    if jobs:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            _run(["scancel", *jobs], patience)


def _run(command: Sequence[str], patience: Patience) -> str:
    # A user's defaults (SQUEUE_PARTITION, SCANCEL_INTERACTIVE, …) would hide jobs, or ask.
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("SQUEUE_", "SCANCEL_"))}
    done = subprocess.run(
        command, env=settings, stdin=subprocess.DEVNULL, capture_output=True, timeout=patience.answer_s, check=True
    )
    return os.fsdecode(done.stdout)


def _named(jobs: Collection[str]) -> str:
    return f"{len(jobs)} job{'s' * (len(jobs) != 1)} ({', '.join(sorted(jobs, key=int))})"
