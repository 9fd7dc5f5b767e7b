# What a run does when it starts and when it ends: it holds results/, ends what a dead run left, sums up its jobs.
import fcntl
import gc
import os
import shutil
import sys
from functools import cache
from pathlib import Path

from snakemake.logging import logger
from snakemake.output_index import OutputIndex

from workflow_scripts.lib import efficiency, orphans
from workflow_scripts.lib.errors import InputError


def hold_results():
    """Let one run at a time write into results/; return whether this disk has the locks for it.

    The kernel drops the hold with the process, however that ends.
    """
    Path("results").mkdir(exist_ok=True)
    hold = open("results/.held", "a")
    is_held = True
    try:
        fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("another run is writing into results/ of this folder: wait for it, or stop it, then run this again")
    except OSError as error:
        is_held = False
        print(f"results/ cannot be held on this disk ({error}): take care that no other run writes into it")
    # Its time is when the run began; downloads tell their rate from it.
    os.utime("results/.held")
    globals()["held_results"] = hold
    return is_held


# The job of SLURM that this run itself is in, if it is in one; the executor takes these away before a run starts.
own_jobs = [os.environ[name] for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID") if name in os.environ]


def end_orphans(is_held):
    """Cancel the jobs that a run which died left in SLURM, also where this run sends none there."""
    if shutil.which("squeue") is None:
        return
    # The executor's logs: it makes their folder before it sends the first job.
    is_used = workflow.non_local_exec or Path(".snakemake/slurm_logs").exists()
    try:
        orphans.end_orphans(Path.cwd(), own=own_jobs, is_held=is_held, is_used=is_used, tell=logger.warning)
    except InputError as error:
        sys.exit(str(error))


def write_efficiency(logs):
    """Write what the jobs that this run sent to SLURM used of what they asked for; one of `logs` is Snakemake's own."""
    ending = ".snakemake.log"
    log = next((log for log in map(Path, logs) if log.name.endswith(ending)), None)
    if not workflow.non_local_exec or log is None:
        return
    path = Path("results/efficiency") / log.name.replace(ending, ".tsv")
    try:
        efficiency.write_efficiency(log, path, rules=[rule.name for rule in workflow.rules])
    except InputError as error:
        logger.warning(str(error))


def remove_states():
    """Remove the states of trainings that have ended: `state.pt` beside weights, and those of slide models.

    Not earlier: a job whose node is lost after its last step, but before Snakemake has seen its end, is done again, and
    what it wrote is removed.
    """
    trained = (
        "*/training/*/*",
        "filters/*",
        "origin/training/*",
        "origin/*",
        "compression/encoders/*",
        "adaptation/training/*/*",
    )
    for pattern in trained:
        for state in Path("results").glob(f"{pattern}/state.pt"):
            if (state.parent / "weights.safetensors").is_file():
                state.unlink()
    for states in Path("results/compression/states").glob("*/*"):
        if Path("results/compression/models", *states.parts[-2:]).is_dir():
            shutil.rmtree(states)


def schedule_when_jobs_end():
    """Take Snakemake's default limit away, 100 new jobs a second; one that the user gives stays.

    By that limit Snakemake 9.27 looks for jobs to start once a second for every job that has ended, as long as one
    waits: after some hundred jobs that takes a core. Without it, it looks when a job ends.
    """
    limiter = workflow.scheduler.job_rate_limiter
    if limiter is not None and (limiter.max_jobs, limiter.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


def plan_swiftly():
    """Have Snakemake remember what it looks up again and again while it plans.

    Snakemake 9.27 looks through all rules for the one that makes a file each time that a job takes it, which some 25 do
    of a tile store; what it finds does not change. A plan is millions of objects that stay, in which Python looks for
    garbage all the time: it may do so less often.
    """
    if hasattr(OutputIndex, "match_producers"):
        OutputIndex.match_producers = cache(OutputIndex.match_producers)
    gc.set_threshold(100_000, 20, 20)


plan_swiftly()


def print_summaries():
    """Print the summaries of the cohorts that have one, at the end of a run that succeeded."""
    for cohort in study.study.cohorts:
        summary = Path(summary_of(cohort))
        if summary.is_file():
            print(summary.read_text(), file=sys.stderr)
