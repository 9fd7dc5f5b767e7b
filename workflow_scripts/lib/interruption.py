"""Signals by which a cluster tells a job that it is about to end: heard while it works, obeyed where nothing is lost.

A scheduler sends SIGTERM to a job that is cancelled, preempted or at its time limit, and SIGKILL some seconds later.
SLURM sends SIGCONT with it, and on most clusters both to the first process of a job's step alone, which
`pass_on_to_descendants` is for. SIGCONT is what is passed on: whoever does not listen to it does not notice it.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Asks for all that is done so far to be saved, and then for the end.
ENDING = (signal.SIGTERM,)
# Asks for the first alone. The end may come or not, and is not for the job to choose: one that SLURM takes from its
# node goes back to the queue, and one that ended by itself has failed.
SAVING = (signal.SIGCONT, signal.SIGUSR1)
ASKING = (*ENDING, *SAVING)


class Interrupted(SystemExit):
    """Ends the process because a signal asked for it, with a shell's code for that: 128 + the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


def most_pressing(numbers: Iterable[int]) -> int:
    """Of some signals of ASKING the number of the one to act on, which is one of ENDING if any is; 0 of none."""
    return min((number for number in numbers if number), key=ASKING.index, default=0)


@contextmanager
def listening() -> Iterator[Callable[[], int]]:
    """While the block runs, the signals of ASKING are heard and not obeyed; afterwards they do what they did before.

    Yields a function that gives the number of the most pressing one that came since it was last called, or 0: however
    often signals come, each call tells of them once. For the main thread of a process only.
    """
    heard: set[int] = set()

    def tell() -> int:
        # What comes from here on is told of by the next call.
        told = heard.copy()
        heard.difference_update(told)
        return most_pressing(told)

    before = {number: signal.signal(number, lambda came, _frame: heard.add(came)) for number in ASKING}
    try:
        yield tell
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def obey_only_the_parent(_worker: int = 0) -> None:
    """Let a worker process end by its parent's SIGTERM, and by none of ASKING that comes from elsewhere.

    A signal to all processes of a job would otherwise end the workers that its parent needs to finish its step.
    """
    parent = os.getppid()
    # Threads begin with the mask of the one that starts them.
    signal.pthread_sigmask(signal.SIG_BLOCK, ASKING)

    def wait() -> None:
        while True:
            came = signal.sigwaitinfo(ASKING)
            if came.si_signo == signal.SIGTERM and came.si_pid == parent:
                os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def pass_on_to_descendants() -> None:
    """From now on, let each signal of SAVING that comes to this process reach all processes below it, as SIGCONT.

    Of a job's step SLURM signals only the first process where it tracks them by cgroups. For the main thread alone; in
    any other nothing is done.
    """

    def pass_on(_number: int, _frame: object) -> None:
        for pid in _descendants(os.getpid()):
            with suppress(OSError):
                os.kill(pid, signal.SIGCONT)

    if threading.current_thread() is threading.main_thread():
        for number in SAVING:
            signal.signal(number, pass_on)


def _descendants(pid: int) -> list[int]:
    """The processes below one; those that end meanwhile may be missing, and so are all that lost their parent."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return [*found, *(below for child in found for below in _descendants(child))]
