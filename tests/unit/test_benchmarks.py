"""The harness takes turns and counts right; the page of performance says what its tables say."""

import importlib
import json
import sys
import time

import pandas as pd
import pytest

from benchmarks import __main__ as command
from benchmarks import harness, page
from benchmarks.harness import Usage
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import write_table


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    return tmp_path


def table(**seconds):
    """A comparison with so many seconds of each contender's rounds, the first of them cold; ten tiles each."""
    rows = [
        (name, number, took, 10, "tiles", float("nan"))
        for name, of in seconds.items()
        for number, took in enumerate(of)
    ]
    return pd.DataFrame(rows, columns=harness.COLUMNS)


# The harness


def test_contenders_take_turns_in_another_order_each_round(results):
    called = []
    harness.compare("try", {name: lambda n=name: called.append(n) for name in "abc"}, work=1, unit="steps", rounds=3)
    assert "".join(called) == "abc" + "bca" + "cab" + "abc"


def test_a_table_has_a_row_per_contender_and_round_and_says_what_it_was_made_on(results):
    made = harness.compare("try", {"a": lambda: None, "b": lambda: 2.0}, work=4, unit="steps", rounds=2)
    written = pd.read_csv(results / "try.tsv", sep="\t")
    assert list(written.columns) == harness.COLUMNS
    assert list(zip(written["contender"], written["round"], strict=True)) == [(n, r) for n in "ab" for r in range(3)]
    assert made["seconds"].tolist() == pytest.approx(written["seconds"].tolist())
    conditions = json.loads((results / "try.json").read_text())
    assert conditions["cores"] >= 1
    assert set(harness.PACKAGES) < set(conditions["versions"])


def test_what_a_contender_measured_itself_counts_and_else_the_clock(results):
    def sleep_and_say():
        time.sleep(0.02)
        return 5.0

    made = harness.compare("try", {"own": sleep_and_say, "clock": lambda: time.sleep(0.02)}, work=1, unit="u", rounds=1)
    assert made.loc[made["contender"] == "own", "seconds"].tolist() == [5.0, 5.0]
    assert (made.loc[made["contender"] == "clock", "seconds"].between(0.02, 2)).all()


def test_a_contender_may_say_how_much_it_did(results):
    made = harness.compare("try", {"a": lambda: Usage(2.0, 50.0, work=7)}, work=1, unit="tiles", rounds=1)
    assert made[["seconds", "work", "peak_mb"]].to_numpy().tolist() == [[2.0, 7, 50.0]] * 2


def test_speed_is_the_median_of_warm_rounds():
    found = harness.speeds(table(a=[100.0, 1.0, 2.0, 5.0])).iloc[0]
    assert (found["cold"], found["speed"], found["low"], found["high"]) == (0.1, 5.0, 2.0, 10.0)


def test_a_ratio_is_taken_within_a_round():
    # Both are ten times slower in the second round, when somebody else computed.
    found = harness.ratios(table(a=[9.0, 2.0, 20.0, 2.0], b=[9.0, 1.0, 10.0, 1.0]), to="a").set_index("contender")
    assert found.loc["b"].tolist() == [2.0, 2.0, 2.0]
    assert found.loc["a"].tolist() == [1.0, 1.0, 1.0]


def test_what_was_run_once_counts_as_it_was():
    assert harness.speeds(table(a=[2.0]))["speed"].tolist() == [5.0]
    assert harness.ratios(table(a=[2.0], b=[4.0]), to="a")["ratio"].tolist() == [1.0, 0.5]


def test_a_ratio_to_a_contender_that_is_not_there_says_who_is():
    with pytest.raises(InputError, match="no contender 'x' among a"):
        harness.ratios(table(a=[1.0, 1.0]), to="x")


def test_memory_of_a_process_counts_its_children():
    held = "x = bytes(b'1') * 60_000_000"
    child = f"import time; {held}; time.sleep(0.6)"
    program = f"import subprocess, sys; {held}; subprocess.run([sys.executable, '-c', {child!r}])"
    assert 120 < harness.in_process(harness.python("-c", program)).peak_mb < 250


def test_a_command_that_fails_is_named():
    with pytest.raises(InputError, match="ended with 3"):
        harness.in_process([sys.executable, "-c", "raise SystemExit(3)"])


def test_every_subject_runs_alone():
    assert {"tiling", "stains", "store", "startup"} <= set(command.subjects())
    for name in command.subjects():
        assert callable(importlib.import_module(f"benchmarks.{name}").main), name


def test_what_ours_is_compared_with_is_pinned():
    assert set(harness.peer_versions("hs2p", "histolab", "staintools", "openslide-python")) < {
        line.split("==")[0] for line in (harness.REPOSITORY / "envs" / "peers.txt").read_text().splitlines()
    }


# The page


def test_the_page_says_what_its_tables_say():
    assert (page.DOCS / "performance.md").read_text() == page.write_page(page.read_all(page.FOLDER)), (
        "docs/performance.md is not what its tables say: run python -m benchmarks.page"
    )


def test_the_page_shows_every_plot_and_no_other():
    text = (page.DOCS / "performance.md").read_text()
    plots = {path.name for path in page.FOLDER.glob("*.png")}
    assert {name for name in plots if f"(performance/{name})" in text} == plots
    assert text.count("![") == len(plots)


def test_a_subject_that_is_measured_again_leaves_the_others(tmp_path):
    made, kept = tmp_path / "made", tmp_path / "kept"
    conditions = {"processor": "P", "cores": 2, "memory_gb": 8, "date": "2020-01-01", "versions": {"python": "3"}}
    for folder, name, took in ((kept, "one", 1.0), (kept, "two", 1.0), (made, "two", 2.0)):
        write_table(table(ours=[took, took], other=[4.0, 4.0]), folder / f"{name}.tsv")
        (folder / f"{name}.json").write_text(json.dumps(conditions))
    page.main(made=made, folder=kept, page=tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "| ours | 1.00 | 10.0 | 10.0–10.0 | 10.0 | 1 |  |" in text
    assert "| other | 4.00 | 2.50 | 2.50–2.50 | 2.50 | 0.250 | 0.250–0.250 |" in text
    assert "| ours | 2.00 | 5.00 | 5.00–5.00 |" in text
    assert {path.name for path in kept.glob("*.png")} == {"one.png", "two.png"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.01234, "0.0123"), (1.0, "1.00"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12,300"), (None, "")],
)
def test_a_number_has_three_digits(value, text):
    assert page.number(value) == text
