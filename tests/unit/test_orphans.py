"""Jobs that a dead run left in SLURM are cancelled before another run writes; all other jobs are left alone."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from workflow_scripts.lib import orphans
from workflow_scripts.lib.errors import InputError

RUN = "7424dd28-e97d-4bb5-9a51-374da33adb04"
HASTE = orphans.Patience(
    attempts=3, first_wait_s=0.001, answer_s=60.0, apart_s=0.01, poll_s=0.001, tell_every_s=600.0, end_s=60.0
)
# Its answers lie in a folder: each is given once, and the last again and again.
SQUEUE = """#!/bin/sh
cd '{folder}' && env > environment && echo "$@" >> asked
answer=answers/$(ls answers | head -n 1)
if [ "$(ls answers | wc -l)" -gt 1 ]; then mv "$answer" given; answer=given; fi
if grep -q '^no answer$' "$answer"; then echo 'slurm_load_jobs error: Connection refused' >&2; exit 1; fi
cat "$answer"
"""
SCANCEL = """#!/bin/sh
echo "$@" >> '{folder}/cancelled'
echo 'scancel: error: Kill job error on job id 12: Job/step already completing or completed' >&2
exit 1
"""


def job(folder: Path, number: int = 12, state: str = "RUNNING", *, array: int | None = None, name: str = RUN) -> str:
    return f"{number}|{array or number}|{state}|{folder}|{name}"


class Slurm:
    """Commands that answer as they are told, write down what they are asked, and a folder with results."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run = folder / "slurm", folder / "run"
        (self.folder / "answers").mkdir(parents=True)
        (self.run / "results").mkdir(parents=True)
        for name, script in (("squeue", SQUEUE), ("scancel", SCANCEL)):
            (self.folder / name).write_text(script.format(folder=self.folder))
            (self.folder / name).chmod(0o755)
        self.told: list[str] = []

    def answers(self, *answers: list[str] | None) -> None:
        """What squeue lists when it is asked the first time, the second time, …; None is no answer."""
        for number, lines in enumerate(answers):
            text = "no answer" if lines is None else "\n".join(lines)
            (self.folder / "answers" / f"{number:03}").write_text(f"{text}\n")

    def end_orphans(
        self,
        *,
        own: Sequence[str] = (),
        is_held: bool = True,
        is_used: bool = True,
        folder: Path | None = None,
        patience: orphans.Patience = HASTE,
    ) -> list[str]:
        """Return what scancel was told, call by call."""
        orphans.end_orphans(
            folder or self.run, own=own, is_held=is_held, is_used=is_used, tell=self.told.append, patience=patience
        )
        return self.cancelled

    @property
    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()

    @property
    def cancelled(self) -> list[str]:
        path = self.folder / "cancelled"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Slurm:
    made = Slurm(tmp_path)
    monkeypatch.setenv("PATH", f"{made.folder}{os.pathsep}{os.environ['PATH']}")
    return made


def test_jobs_of_a_dead_run_are_cancelled_and_waited_for(slurm):
    running, pending = job(slurm.run, 12), job(slurm.run, 13, "PENDING", name=f"ours_{RUN}")
    slurm.answers([running, pending], [job(slurm.run, 12, "COMPLETING")], [job(slurm.run, 12, "CANCELLED")])
    # A job that is ending is waited for and not cancelled again.
    assert slurm.end_orphans() == ["12 13"]
    assert slurm.told == [
        "cancelled, and waiting for the end of 2 jobs (12, 13) of a run that died",
        "ended: 2 jobs (12, 13) of a run that died; what they had begun is made again",
    ]


def test_where_there_is_none_nothing_is_said_and_nothing_is_cancelled(slurm):
    slurm.answers([])
    assert slurm.end_orphans() == []
    assert slurm.told == []
    assert len(slurm.asked) == 2


def test_a_job_that_comes_a_moment_after_its_run_died_is_found(slurm):
    slurm.answers([], [job(slurm.run)], [], [])
    assert slurm.end_orphans() == ["12"]


def test_a_job_that_goes_back_to_the_queue_is_cancelled_again(slurm):
    slurm.answers([job(slurm.run)], [job(slurm.run, state="REQUEUED")], [job(slurm.run, state="PENDING")], [])
    assert slurm.end_orphans() == ["12", "12", "12"]


@pytest.mark.parametrize("state", ["CONFIGURING", "SUSPENDED", "REQUEUE_HOLD", "A_STATE_TO_COME"])
def test_a_state_that_is_not_an_end_is_that_of_a_living_job(slurm, state):
    slurm.answers([job(slurm.run, state=state)], [])
    assert slurm.end_orphans() == ["12"]


@pytest.mark.parametrize("state", sorted(orphans._ENDED))
def test_a_job_that_has_ended_is_left_alone(slurm, state):
    slurm.answers([job(slurm.run, state=state)])
    assert slurm.end_orphans() == []


def test_only_jobs_of_the_user_and_in_all_partitions_are_asked_for(slurm, monkeypatch):
    monkeypatch.setenv("SQUEUE_PARTITION", "gpu")
    slurm.answers([])
    slurm.end_orphans()
    assert all({"--me", "--all", "--states=all"} <= set(asked.split()) for asked in slurm.asked)
    assert "SQUEUE_PARTITION" not in (slurm.folder / "environment").read_text()


def test_jobs_of_other_folders_are_never_touched(slurm, tmp_path):
    for name in ("other", "run/sub", "run2"):
        (tmp_path / name / "results").mkdir(parents=True)
    folders = [tmp_path / "other", slurm.run / "sub", tmp_path / "run2", tmp_path, tmp_path / "gone", Path("/")]
    slurm.answers([job(folder, number) for number, folder in enumerate(folders, start=12)])
    assert slurm.end_orphans() == []


def test_other_jobs_of_the_user_in_this_folder_are_never_touched(slurm):
    names = ["snakemake", "bash", "interactive", f"{RUN}.sh", f"analysis {RUN}", RUN[:-1]]
    slurm.answers([job(slurm.run, number, name=name) for number, name in enumerate(names, start=12)])
    assert slurm.end_orphans() == []


def test_a_folder_is_the_same_by_whatever_links_it_is_reached(slurm, tmp_path):
    (tmp_path / "link").symlink_to(slurm.run)
    (tmp_path / "twin").mkdir()
    (tmp_path / "twin" / "results").symlink_to(slurm.run / "results")
    slurm.answers([job(tmp_path / "link", 12), job(tmp_path / "twin", 13)], [])
    assert slurm.end_orphans() == ["12 13"]
    slurm.answers([job(slurm.run, 14)], [])
    assert slurm.end_orphans(folder=tmp_path / "link") == ["12 13", "14"]


def test_a_folder_may_have_any_character_but_a_line_end(slurm, tmp_path):
    run = tmp_path / "my run|12|PENDING|µ\u2028%"
    (run / "results").mkdir(parents=True)
    slurm.answers([job(run)], [])
    assert slurm.end_orphans(folder=run) == ["12"]


def test_an_array_is_cancelled_once_as_long_as_one_task_is_not_ending(slurm):
    ending, waiting = job(slurm.run, 14, "COMPLETING", array=12), job(slurm.run, 12, "PENDING", array=12)
    slurm.answers([ending, waiting], [ending], [])
    assert slurm.end_orphans() == ["12"]


def test_the_job_that_the_run_is_in_is_never_touched_nor_its_array(slurm):
    slurm.answers([job(slurm.run, 12), job(slurm.run, 13, array=12), job(slurm.run, 112)], [])
    assert slurm.end_orphans(own=["12"]) == ["112"]
    slurm.answers([job(slurm.run, 13, array=12), job(slurm.run, 12, "PENDING", array=12)])
    assert slurm.end_orphans(own=["13", "12"]) == ["112"]


def test_a_silence_of_squeue_is_waited_out(slurm):
    slurm.answers(None, None, [job(slurm.run)], None, [], None, None, [])
    assert slurm.end_orphans() == ["12"]


def test_a_run_does_not_go_on_without_knowing(slurm):
    slurm.answers(None)
    with pytest.raises(InputError, match=r"squeue does not answer \(slurm_load_jobs error: Connection refused\)"):
        slurm.end_orphans()
    assert len(slurm.asked) == HASTE.attempts
    slurm.answers([job(slurm.run)], None)
    with pytest.raises(InputError, match="does not answer"):
        slurm.end_orphans()


def test_a_command_that_hangs_is_one_that_does_not_answer(slurm, monkeypatch):
    (slurm.folder / "squeue").write_text("#!/bin/sh\nexec sleep 60\n")
    patience = orphans.Patience(attempts=1, answer_s=0.05)
    with pytest.raises(InputError, match="timed out after"):
        orphans.end_orphans(slurm.run, own=[], is_held=True, is_used=True, tell=print, patience=patience)


def test_a_folder_from_which_no_job_was_sent_needs_one_look_and_no_answer(slurm):
    slurm.answers([])
    slurm.end_orphans(is_used=False)
    assert len(slurm.asked) == 1
    slurm.answers(None)
    slurm.end_orphans(is_used=False)
    assert len(slurm.asked) == 2
    slurm.answers([job(slurm.run)], [job(slurm.run)], [])
    assert slurm.end_orphans(is_used=False) == ["12"]


def test_jobs_that_do_not_end_are_an_error_that_names_them(slurm):
    patience = replace(HASTE, end_s=0.2)
    slurm.answers([job(slurm.run, 12), job(slurm.run, 9, "COMPLETING")])
    began_s = time.monotonic()
    with pytest.raises(InputError, match=r"2 jobs \(9, 12\) of a run that died did not end within 0 s") as error:
        slurm.end_orphans(patience=patience)
    assert time.monotonic() - began_s > patience.end_s
    assert "squeue --jobs=12,9" in str(error.value)


def test_where_the_disk_has_no_locks_the_jobs_may_be_of_a_run_that_lives(slurm):
    slurm.answers([job(slurm.run)])
    with pytest.raises(InputError, match=r"1 job \(12\) .*`scancel 12`"):
        slurm.end_orphans(is_held=False)
    assert slurm.cancelled == []
    slurm.answers([])
    assert slurm.end_orphans(is_held=False) == []
