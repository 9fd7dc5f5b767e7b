"""A plan of twice the slides asks twice as much, and what a whole cohort needs is asked once. Calls are counted."""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks import planning
from workflow_scripts.lib.submissions import read_plan

REPOSITORY = Path(__file__).parents[2]
# Counts the calls of each function that the workflow's own code has, and of those that ask the file system.
COUNTING = """
import atexit, cProfile, json, pstats, sys
from snakemake import cli

path, profile = sys.argv[1], cProfile.Profile()

def write():
    profile.disable()
    ours, disk = {}, 0
    for (file, _, name), (_, count, *_) in pstats.Stats(profile).stats.items():
        if "/rules/" in file or "/workflow_scripts/" in file:
            ours[name] = ours.get(name, 0) + count
        elif any(f"posix.{call}" in name for call in ("stat", "lstat", "open", "scandir", "listdir", "access")):
            disk += count
    with open(path, "w") as file:
        json.dump({"ours": ours, "disk": disk, "imports_torch": "torch" in sys.modules}, file)

atexit.register(write)
profile.enable()
cli.main(sys.argv[2:])
"""
FEW, MANY = 100, 200
LIMIT = 25


class Planned(NamedTuple):
    """A plan: its jobs by rule, the calls of each function of ours and of the file system, whether torch came in."""

    jobs: dict[str, int]
    ours: dict[str, int]
    disk: int
    imports_torch: bool


@pytest.fixture(scope="module")
def plans(tmp_path_factory) -> dict[int, Planned]:
    """The plans of a few slides and of twice as many, whose cohorts are assembled."""
    found = {}
    for slides in (FEW, MANY):
        folder = tmp_path_factory.mktemp("planned") / "study"
        planning.make_study(folder, slides=slides)
        planning.assemble(folder)
        counts = folder / "calls.json"
        run = subprocess.run(
            [sys.executable, "-c", COUNTING, str(counts), *planning.plan(folder)[3:]],
            cwd=REPOSITORY,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert run.returncode == 0, run.stdout
        found[slides] = Planned(read_plan(run.stdout), **json.loads(counts.read_text()))
    return found


@pytest.mark.slow
def test_every_slide_is_planned_and_none_is_there(plans):
    assert {slides: plan.jobs["tile_slide"] for slides, plan in plans.items()} == {FEW: FEW, MANY: MANY}
    assert plans[FEW].jobs["train_model"] == plans[MANY].jobs["train_model"] == 50


@pytest.mark.slow
def test_no_function_of_ours_is_called_more_than_a_few_times_for_a_slide(plans):
    # The most is for the places of stores: 18 models learn from a slide, and its chunk and its cohort read it.
    few, many = plans[FEW].ours, plans[MANY].ours
    per_slide = {name: (many[name] - few.get(name, 0)) / (MANY - FEW) for name in many}
    assert {name: round(calls) for name, calls in per_slide.items() if calls > LIMIT} == {}


@pytest.mark.slow
def test_what_is_of_a_cohort_is_asked_as_often_for_many_slides_as_for_few(plans):
    for name in ("read_table", "selection", "usable_files", "in_sheet", "code_version"):
        assert plans[FEW].ours[name] == plans[MANY].ours[name], name


@pytest.mark.slow
def test_the_disk_is_asked_a_few_times_for_a_slide(plans):
    assert (plans[MANY].disk - plans[FEW].disk) / (MANY - FEW) < 20


@pytest.mark.slow
def test_a_plan_imports_no_torch(plans):
    assert not plans[FEW].imports_torch
