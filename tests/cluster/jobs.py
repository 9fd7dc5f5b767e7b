"""SLURM's jobs, as the tests submit and watch them."""

import subprocess
import sys
from pathlib import Path

from cluster import ACCOUNT, wait_until

REPOSITORY = Path(__file__).parents[2]
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED"}


def ask(*command: str) -> str:
    """What a command of SLURM prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def submit(script: str, folder: Path, *options: str) -> str:
    """Submit a script of bash that runs in a folder; its output goes to `<job>.out` there. Return the job's id."""
    command = ("sbatch", "--parsable", f"--chdir={folder}", f"--output={folder}/%j.out", "--mem=100", *options)
    return ask(*command, f"--wrap={script}")


def state_of(job: str) -> str:
    """A job's state in the queue: `RUNNING`, `PENDING`, …; for an hour after its end, how it ended."""
    return ask("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T")


def wait_for(job: str, *states: str, seconds: float = 30) -> None:
    """Wait until a job is in one of some states."""
    wait_until(lambda: state_of(job) in states, seconds, f"job {job} is not {' or '.join(states)}")


def accounted(job: str, field: str) -> list[str]:
    """A field of the accounting: of a job, then of each of its steps."""
    return ask("sacct", "--noheader", "--parsable2", f"--jobs={job}", f"--format={field}").splitlines()


def snakemake(*arguments: str, partition: str = "cpu", mem_mb: int = 500) -> list[str]:
    """The command that runs Snakemake with the profile `slurm` on this cluster."""
    profile = ("--profile", str(REPOSITORY / "slurm"))
    resources = (f"slurm_account={ACCOUNT}", f"slurm_partition={partition}", f"mem_mb={mem_mb}", "runtime=5")
    impatient = [sys.executable, str(Path(__file__).parent / "impatient.py")]
    return [*impatient, *arguments, *profile, "--default-resources", *resources]
