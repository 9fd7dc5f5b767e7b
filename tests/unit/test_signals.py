"""A cluster's signals are heard where a job listens, and passed on to it; workers end at their parent's word."""

import multiprocessing
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

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


@pytest.mark.parametrize("asking", interruption.ASKING)
def test_a_signal_is_told_of_once_and_again_when_it_comes_again(asking):
    with interruption.listening() as heard:
        for _ in range(2):
            for _ in range(3):
                os.kill(os.getpid(), asking)
            assert [heard(), heard()] == [asking, 0]


@pytest.mark.parametrize("order", [1, -1])
def test_of_signals_that_come_together_the_one_to_end_is_told(order):
    with interruption.listening() as heard:
        for number in interruption.ASKING[::order]:
            os.kill(os.getpid(), number)
        assert [heard(), heard()] == [signal.SIGTERM, 0]


def test_the_most_pressing_of_all_processes_signals_is_to_end_or_else_to_save():
    assert interruption.most_pressing([0, signal.SIGCONT, signal.SIGTERM, signal.SIGUSR1]) == signal.SIGTERM
    assert interruption.most_pressing([0, signal.SIGUSR1]) == signal.SIGUSR1
    assert interruption.most_pressing([0, 0]) == interruption.most_pressing([]) == 0


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
        for number in interruption.ASKING:
            subprocess.run(["kill", f"-{number}", str(worker.pid)], check=True)
        for number in interruption.SAVING:
            os.kill(worker.pid, number)
        worker.join(0.2)
        assert worker.is_alive()
        worker.terminate()
        worker.join(30)
        assert worker.exitcode == 0


@pytest.fixture
def passing_on():
    """This process passes signals on, as the one that runs a job's script does, until the test has ended."""
    before = [(number, signal.getsignal(number)) for number in interruption.SAVING]
    interruption.pass_on_to_descendants()
    yield
    for number, handler in before:
        signal.signal(number, handler)


@pytest.mark.parametrize("asking", interruption.SAVING)
def test_a_signal_to_save_reaches_all_processes_below_as_sigcont(passing_on, tmp_path, asking):
    listen = 'for s in CONT USR1 TERM; do trap "echo $s >> $0" $s; done; echo on >> $0; while true; do sleep 0.02; done'
    said = [tmp_path / "child", tmp_path / "grandchild"]
    command = ["bash", "-c", 'bash -c "$1" grandchild & exec bash -c "$1" child', "", listen]

    def all_have_said(words: str) -> bool:
        return all(path.is_file() and path.read_text().split() == words.split() for path in said)

    # Snakemake starts its jobs in threads too.
    with ThreadPoolExecutor(1) as threads:
        child = threads.submit(subprocess.Popen, command, cwd=tmp_path, start_new_session=True).result()
        try:
            for words in ("on", "on CONT", "on CONT CONT"):
                if words != "on":
                    os.kill(os.getpid(), asking)
                deadline = time.monotonic() + 120
                while not all_have_said(words) and time.monotonic() < deadline:
                    time.sleep(0.01)
                assert all_have_said(words)
        finally:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def test_a_thread_that_cannot_pass_signals_on_leaves_them_alone():
    before = handlers()
    with ThreadPoolExecutor(1) as threads:
        threads.submit(interruption.pass_on_to_descendants).result()
    assert handlers() == before
