"""Signals by which a cluster asks a job to end: heard while it works, obeyed where nothing is lost.

A scheduler sends SIGTERM to every process of a job that is cancelled, preempted or at its time limit, and SIGKILL some
seconds later; it can be told to send SIGUSR1 some minutes before that.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ASKING = (signal.SIGTERM, signal.SIGUSR1)


class Interrupted(SystemExit):
    """Ends the process because a signal asked for it, with a shell's code for that: 128 + the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


@contextmanager
def listening() -> Iterator[Callable[[], int]]:
    """While the block runs, the signals of ASKING are heard and not obeyed; afterwards they do what they did before.

    Yields a function that gives the number of the first one that came, or 0. For the main thread of a process only.
    """
    heard = 0

    def hear(number: int, _frame: object) -> None:
        nonlocal heard
        heard = heard or number

    before = {number: signal.signal(number, hear) for number in ASKING}
    try:
        yield lambda: heard
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
