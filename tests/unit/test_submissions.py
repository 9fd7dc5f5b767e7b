"""A plan is counted in submissions by the groups of the profile; the repository's profile names rules that exist."""

import re
from pathlib import Path

import pytest
import yaml

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.submissions import read_local_rules, read_plan, submissions

REPOSITORY = Path(__file__).parents[2]
PROFILE = yaml.safe_load((REPOSITORY / "slurm" / "config.v9+.yaml").read_text())
RULES = {
    name
    for path in [REPOSITORY / "Snakefile", *(REPOSITORY / "rules").glob("*.smk")]
    for name in re.findall(r"^(?:rule|checkpoint) (\w+):", path.read_text(), re.MULTILINE)
}
SAID = """\
Job stats:
job            count
-----------  -------
all                1
tile_slide        41
train_model       10
total             52

"""


def test_members_of_a_group_are_one_submission_and_local_rules_none():
    profile = {
        "default-resources": {"slurm_partition": "cpu"},
        "set-resources": {"train_model": {"gpu": 2, "slurm_partition": "gpu"}},
        "groups": ["tile_slide=tiling"],
        "group-components": ["tiling=20"],
    }
    found = submissions(read_plan(SAID), profile, local={"all"})
    assert found.values.tolist() == [["tile_slide", 41, 3, "cpu", 0], ["train_model", 10, 10, "gpu", 2]]


def test_a_finished_run_submits_nothing_and_what_is_no_plan_is_refused():
    assert read_plan("Nothing to be done (all requested files are present and up to date).") == {}
    with pytest.raises(InputError, match="found 'cohorts: unknown key'"):
        read_plan("something\ncohorts: unknown key\n")


def test_the_profile_names_rules_that_exist_and_every_group_has_its_size():
    grouped = dict(entry.split("=") for entry in PROFILE["groups"])
    assert {*PROFILE["set-resources"], *grouped} <= RULES
    assert set(grouped.values()) == {entry.split("=")[0] for entry in PROFILE["group-components"]}
    # Without it SLURM would be asked for the processors of all members, and for the time of one.
    assert {rule for rule, asked in PROFILE["set-resources"].items() if asked.get("member") == 1} == set(grouped)


def test_local_rules_exist_and_ask_for_nothing_on_the_cluster():
    local = read_local_rules(REPOSITORY / "Snakefile")
    assert "all" in local
    assert local <= RULES
    assert not local & set(PROFILE["set-resources"])


def test_all_that_computes_on_a_gpu_asks_for_one_in_its_rule():
    on_a_gpu = {rule for rule, asked in PROFILE["set-resources"].items() if asked.get("gpu")}
    text = "".join(path.read_text() for path in (REPOSITORY / "rules").glob("*.smk"))
    bodies = dict(re.findall(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL))
    assert {rule for rule, body in bodies.items() if "gpu=1" in body} == on_a_gpu


def test_no_profile_of_the_workflow_replaces_what_the_cluster_is_asked_for():
    # A workflow's own profile wins over the one that is named, key by key.
    own = yaml.safe_load((REPOSITORY / "profiles" / "default" / "config.v9+.yaml").read_text())
    assert not set(own) & set(PROFILE)
