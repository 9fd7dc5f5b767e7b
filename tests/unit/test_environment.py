"""There is one environment: the lock. What is imported is in it, and conda installs from it."""

import ast
import re
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from workflow_scripts.lib import provenance

REPOSITORY = Path(__file__).parents[2]
ENVS = REPOSITORY / "envs"


def pins(name: str) -> dict[str, str]:
    """Version by package of a requirements file, in which every line pins one."""
    lines = [line.split("#")[0].strip() for line in (ENVS / name).read_text(encoding="utf-8").splitlines()]
    pairs = [re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([0-9][A-Za-z0-9.+!]*)", line) for line in lines if line]
    assert all(pairs), f"{name}: a line that is not name==version"
    found = {canonicalize_name(pair[1]): pair[2] for pair in pairs}
    assert len(found) == len(pairs), f"{name}: a package twice"
    return found


LOCK, DIRECT = pins("requirements.lock"), pins("requirements.in")


def imported(*folders: str) -> set[str]:
    """Top-level names of other people's packages that are imported anywhere in some folders."""
    names: set[str] = set()
    for folder in folders:
        for path in (REPOSITORY / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    names.update(alias.name.split(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names.add(node.module.split(".")[0])
    own = {"workflow_scripts", "benchmarks", "tests", *(path.stem for path in (REPOSITORY / "tests").rglob("*.py"))}
    return names - set(sys.stdlib_module_names) - own


def distributions(names: set[str]) -> dict[str, set[str]]:
    """The packages that bring each imported name."""
    installed = packages_distributions()
    return {name: {canonicalize_name(package) for package in installed[name]} for name in names}


def test_the_lock_holds_every_direct_dependency_with_its_version():
    assert {name: LOCK.get(name) for name in DIRECT} == DIRECT


def test_conda_installs_from_the_one_lock():
    environment = yaml.safe_load((ENVS / "histocarta.yaml").read_text(encoding="utf-8"))
    assert environment["name"] == "histocarta"
    # Nothing but Python and pip comes from elsewhere; the path of the lock is relative to this file.
    assert environment["dependencies"] == ["python=3.11.*", "pip", {"pip": ["-r requirements.lock"]}]


def test_there_is_one_lock():
    assert sorted(path.name for path in ENVS.iterdir()) == [
        "histocarta.yaml",
        "peers.txt",
        "requirements.in",
        "requirements.lock",
    ]


@pytest.mark.parametrize("found", [LOCK, DIRECT], ids=["lock", "in"])
def test_torch_and_torchvision_are_pinned_as_a_pair(found):
    # torch 2.12 goes with torchvision 0.27, 2.11 with 0.26; of other pairs the operators are missing at import.
    torch, vision = (found[name].split(".") for name in ("torch", "torchvision"))
    assert torch[0] == "2"
    assert vision[0] == "0"
    assert int(vision[1]) == int(torch[1]) + 15


def test_the_installed_torch_is_the_one_that_torchvision_was_built_for():
    (needed,) = [r for r in map(Requirement, requires("torchvision")) if r.name == "torch"]
    assert needed.specifier.contains(version("torch").split("+")[0])


def test_every_package_that_the_workflow_imports_is_a_direct_dependency():
    for name, packages in distributions(imported("workflow_scripts")).items():
        assert packages & set(DIRECT), f"{name} is imported, and none of {packages} is in envs/requirements.in"
        assert packages & set(LOCK), f"{name} is imported, and none of {packages} is in envs/requirements.lock"


def test_every_package_that_the_tests_import_is_in_the_lock():
    for name, packages in distributions(imported("tests")).items():
        assert packages & set(LOCK), f"{name} is imported by a test, and none of {packages} is in the lock"


def test_every_package_that_the_benchmarks_import_is_in_the_lock_or_a_peer():
    names = imported("benchmarks") - set(pins("peers.txt"))
    for name, packages in distributions(names).items():
        assert packages & set(LOCK), f"{name} is imported by a benchmark, and none of {packages} is in the lock"


def test_the_packages_that_a_result_names_are_direct_dependencies():
    assert {canonicalize_name(name) for name in provenance.PACKAGES} <= set(DIRECT)


def test_the_lock_holds_what_its_packages_need():
    """Of the packages that are installed as locked; the test matrix has another torch."""
    missing = {}
    for name, pinned in LOCK.items():
        try:
            as_locked = version(name) == pinned
        except PackageNotFoundError:
            continue
        needed = [Requirement(line) for line in requires(name) or [] if as_locked]
        needed = [r for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]
        lacking = [r.name for r in needed if canonicalize_name(r.name) not in LOCK]
        wrong = [
            str(r) for r in needed
            if (there := LOCK.get(canonicalize_name(r.name))) and not r.specifier.contains(there, prereleases=True)
        ]  # fmt: skip
        if lacking or wrong:
            missing[name] = lacking + wrong
    assert missing == {}


def test_the_python_of_the_project_and_of_conda_agree():
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert 'requires-python = ">=3.11"' in text
