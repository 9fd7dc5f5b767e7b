"""What each script imports before its work begins, and how long that takes: a row per script, warm."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from statistics import median

import pandas as pd

from benchmarks import harness

SCRIPTS = harness.REPOSITORY / "workflow_scripts"
ROUNDS = 3
LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")
# Packages that are worth a word: by what the table calls them, the module that is theirs.
HEAVY = (
    "torch",
    "torchvision",
    "matplotlib",
    "scipy.stats",
    "sklearn",
    "lifelines",
    "pandas",
    "pydantic",
    "shapely",
    "requests",
)


def imports_of(script: Path) -> str:
    """The import statements of a script, as a program."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return "\n".join(ast.unparse(node) for node in found)


def imported(program: str) -> dict[str, float]:
    """Seconds that each module took by itself, in a Python that ran a program of imports."""
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program],
        cwd=harness.REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    return {name: int(microseconds) / 1e6 for microseconds, name in LINE.findall(ran.stderr)}


def large(modules: list[str]) -> list[str]:
    """Which of the large packages are among some modules; of one that is loaded by name, only parts are."""
    return [one for one in HEAVY if any(name == one or name.startswith(f"{one}.") for name in modules)]


def main() -> None:
    """Measure every script, in turn, and write the table."""
    harness.on_two_cores()
    programs = {script.stem: imports_of(script) for script in sorted(SCRIPTS.glob("*.py"))}
    python_alone = imported("")
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    modules: dict[str, list[str]] = {}
    for number in range(ROUNDS + 1):
        for name, program in programs.items():
            found = {module: took for module, took in imported(program).items() if module not in python_alone}
            modules[name] = list(found)
            if number != harness.COLD:
                seconds[name].append(sum(found.values()))
        print(f"startup: round {number} of {ROUNDS}", flush=True)
    table = pd.DataFrame(
        {
            "script": list(programs),
            "seconds": [round(median(seconds[name]), 4) for name in programs],
            "low": [round(min(seconds[name]), 4) for name in programs],
            "high": [round(max(seconds[name]), 4) for name in programs],
            "modules": [len(modules[name]) for name in programs],
            "of_the_library": [
                sum(one.startswith("workflow_scripts.lib.") for one in modules[name]) for name in programs
            ],
            "heavy": [", ".join(large(modules[name])) for name in programs],
        }
    )
    harness.write("startup", table)


if __name__ == "__main__":
    main()
