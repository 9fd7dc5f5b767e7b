"""A copy of the workflow, run on a small cohort."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.lib.submissions import read_plan

REPOSITORY = Path(__file__).parents[2]
MINI = "tests/workflow/mini.yaml"


@dataclass(frozen=True)
class Checkout:
    """A copy of the repository in which the workflow runs."""

    folder: Path

    def snakemake(self, *arguments: str, overlay: str = MINI) -> subprocess.CompletedProcess:
        """Run the workflow on the mini cohort, or another, and wait for it; standard error is part of the output."""
        return self.run([sys.executable, "-m", "snakemake", *arguments, "--cores", "2", "--configfile", overlay])

    def run(self, command: list[str]) -> subprocess.CompletedProcess:
        """Run a command in the folder and wait for it; standard error is part of the output."""
        return subprocess.run(
            command, cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )

    def planned(self, *arguments: str) -> dict[str, int]:
        """How many jobs of each rule a dry run plans."""
        run = self.snakemake("--dry-run", *arguments)
        assert run.returncode == 0, run.stdout
        return {name: count for name, count in read_plan(run.stdout).items() if name != "all"}

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace text that occurs in a file."""
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{file} has no {old!r}"
        path.write_text(text.replace(old, new))

    def copy_to(self, folder: Path, *, with_results: bool) -> "Checkout":
        """Another copy; results keep their times of writing, sources get new ones, as a clone's do."""
        hidden = shutil.ignore_patterns(
            ".git", ".venv*", "results", ".snakemake", "__pycache__", ".*_cache", ".hypothesis"
        )
        shutil.copytree(self.folder, folder, ignore=hidden, copy_function=shutil.copyfile)
        if with_results:
            for name in ("results", ".snakemake"):
                shutil.copytree(self.folder / name, folder / name, symlinks=True)
        return Checkout(folder)


def tables_of(checkout: Checkout) -> dict[str, bytes]:
    """All tables, models, predictions and maps in results/; what is measured in seconds is left out."""
    results = checkout.folder / "results"
    found = (path for path in sorted(results.rglob("*")) if path.suffix in {".tsv", ".h5", ".safetensors", ".txt"})
    return {
        str(path.relative_to(results)): path.read_bytes()
        for path in found
        if not {"benchmarks", "efficiency", "logs"} & set(path.relative_to(results).parts)
    }


@dataclass(frozen=True)
class SmallStudy:
    """A sister study in its small form: its demo, with `tests/workflow/<target>.yaml` on top."""

    target: str

    @property
    def command(self) -> list[str]:
        """Snakemake on the study, but for the targets."""
        overlays = [f"studies/{self.target}-demo.yaml", f"tests/workflow/{self.target}.yaml"]
        return [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", *overlays]

    def run(self, checkout: Checkout, *arguments: str) -> subprocess.CompletedProcess:
        """Make the whole study in a checkout."""
        done = checkout.run([*self.command, *arguments, "--", self.target])
        assert done.returncode == 0, done.stdout
        return done

    def planned(self, checkout: Checkout, *arguments: str) -> dict[str, int]:
        """How many jobs of each rule a dry run of the study plans."""
        plan = read_plan(self.run(checkout, "--dry-run", *arguments).stdout)
        return {name: count for name, count in plan.items() if name != self.target}

    def made_in(self, folder: Path) -> Checkout:
        """A checkout in a folder of its own, with all results of the study."""
        checkout = Checkout(REPOSITORY).copy_to(folder / "checkout", with_results=False)
        self.run(checkout)
        return checkout
