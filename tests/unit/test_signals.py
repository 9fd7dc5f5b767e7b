"""Signals that ask a job to end are heard where it listens, and nowhere else; workers end at their parent's word."""

import multiprocessing
import os
import signal
import subprocess
import time

import pytest

from workflow_scripts.lib import interruption


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in interruption.ASKING]


@pytest.mark.parametrize("asking", interruption.ASKING)
def test_a_signal_is_heard_and_not_obeyed(asking):
    with interruption.listening() as heard:
        assert heard() == 0
        os.kill(os.getpid(), asking)
        assert heard() == asking


def test_the_first_signal_is_the_one_that_is_told():
    with interruption.listening() as heard:
        for number in (signal.SIGUSR1, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert heard() == signal.SIGUSR1


def test_afterwards_signals_do_what_they_did_before():
    before = handlers()
    with pytest.raises(ZeroDivisionError), interruption.listening():
        assert handlers() != before
        1 / 0  # noqa: B018
    assert handlers() == before


def test_an_interrupted_process_ends_with_the_code_that_a_shell_gives_it():
    with pytest.raises(SystemExit) as ended:
        raise interruption.Interrupted(signal.SIGTERM)
    assert ended.value.code == 143


def test_a_worker_ends_by_its_parent_and_by_no_other():
    def work() -> None:
        interruption.obey_only_the_parent()
        ready.set()
        time.sleep(60)

    with interruption.listening():
        context = multiprocessing.get_context("fork")
        ready = context.Event()
        worker = context.Process(target=work, daemon=True)
        worker.start()
        assert ready.wait(30)
        for name in ("TERM", "USR1"):
            subprocess.run(["kill", f"-{name}", str(worker.pid)], check=True)
        os.kill(worker.pid, signal.SIGUSR1)
        worker.join(0.2)
        assert worker.is_alive()
        worker.terminate()
        worker.join(30)
        assert worker.exitcode == 0
