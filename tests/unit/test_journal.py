"""A job's log holds what it said, and bad input ends it with a message instead of a traceback."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.journal import logging_to


@pytest.fixture(autouse=True)
def own_handlers():
    """Give a test the root logger to itself, as a job has it."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers = handlers
    root.setLevel(level)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "job.log"


def test_messages_go_to_the_log_and_warnings_to_the_terminal_too(path, capfd):
    with logging_to(path):
        logging.getLogger("workflow_scripts.lib.tiles").info("48 of 60 tiles kept")
        logging.getLogger("workflow_scripts.lib.tiles").warning("slide s1: excluded")
    told = capfd.readouterr()
    assert "48 of 60 tiles kept" in path.read_text()
    assert "slide s1: excluded" in path.read_text()
    assert "48 of 60" not in told.err
    assert "slide s1: excluded" in told.err
    assert told.out == ""


def test_bad_input_ends_the_job_with_its_message_alone(path, capfd):
    with pytest.raises(SystemExit) as ended, logging_to(path):
        raise InputError("clinical.tsv: expected a patient column, found 3 others")
    assert ended.value.code == 1
    for said in (path.read_text(), capfd.readouterr().err):
        assert "clinical.tsv: expected a patient column, found 3 others" in said
        assert "Traceback" not in said


def test_any_other_error_goes_on_and_leaves_its_traceback_in_the_log(path):
    with pytest.raises(ZeroDivisionError), logging_to(path):
        1 / 0  # noqa: B018
    assert "failed" in path.read_text()
    assert "Traceback" in path.read_text()
    assert "ZeroDivisionError: division by zero" in path.read_text()


def test_the_log_is_utf_8_where_the_locale_is_not(path):
    job = (
        "import logging; from workflow_scripts.lib.journal import logging_to\n"
        f"with logging_to({str(path)!r}): logging.getLogger().info('\\u00b5m/px')"
    )
    ascii_locale = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", job], cwd=Path(__file__).parents[2], env=ascii_locale, check=True)
    assert "µm/px".encode() in path.read_bytes()


def test_a_job_that_runs_again_starts_its_log_anew(path):
    for said in ("first", "second"):
        with logging_to(path):
            logging.getLogger().info("%s run, µm/px ≥ 1", said)
    assert "first" not in path.read_text()
    assert "second run, µm/px ≥ 1" in path.read_text(encoding="utf-8")


def test_the_processes_of_a_job_share_its_log_and_the_first_tells_for_all(path, monkeypatch):
    with logging_to(path):
        logging.getLogger().info("evaluation 1")
        monkeypatch.setenv("LOCAL_RANK", "1")
        with logging_to(path):
            logging.getLogger().info("evaluation 1")
            logging.getLogger().warning("slide s1: excluded")
    assert [line[9:] for line in path.read_text().splitlines()] == ["evaluation 1", "slide s1: excluded"]


def test_a_line_says_when(path):
    with logging_to(path):
        logging.getLogger().info("one line")
    assert path.read_text()[8:] == " one line\n"
    assert path.read_text()[:8].replace(":", "").isdigit()
