"""Run the subjects that are named, or all, on two cores; then write the page."""

import subprocess
import sys
from pathlib import Path

from benchmarks import harness

# What is no subject: the harness and the page, and what subjects run in processes of their own.
NO_SUBJECT = {"harness", "page", "sections", "peers", "ours"}


def subjects() -> list[str]:
    """The subjects: every module of this folder that measures."""
    modules = sorted(path.stem for path in Path(__file__).parent.glob("*.py"))
    return [name for name in modules if not name.startswith("_") and name not in NO_SUBJECT]


def main(chosen: list[str]) -> None:
    """Run each subject in a process of its own, then the page. Ends with an error where a subject fails, after all."""
    unknown = set(chosen) - set(subjects())
    if unknown:
        sys.exit(f"no such subject: {', '.join(sorted(unknown))}; there are {', '.join(subjects())}")
    harness.on_two_cores()
    failed = [
        name
        for name in chosen or subjects()
        if subprocess.run(harness.python("-m", f"benchmarks.{name}"), check=False).returncode
    ]
    subprocess.run(harness.python("-m", "benchmarks.page"), check=True)
    if failed:
        sys.exit(f"these subjects failed: {', '.join(failed)}")


if __name__ == "__main__":
    main(sys.argv[1:])
