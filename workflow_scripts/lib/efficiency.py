"""What a run's jobs used of the time, processors, memory and GPUs that they asked SLURM for, rule by rule."""

import os
import re
import subprocess
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import write_table

# As the executor says it in Snakemake's log. A group's folder has the group's name, then the rule's.
_SUBMITTED = re.compile(r"has been submitted with SLURM jobid (\d+) \(log: \S*?/slurm_logs/(?:rule|group)_([^/]+)/")
_FIELDS = ("jobid", "state", "elapsedraw", "totalcpu", "cputimeraw", "reqmem", "maxrss", "alloctres")
_BYTES = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# Ids in one question, of which a command's line has room for more.
_MOST_IDS = 1000


@dataclass(frozen=True)
class Start:
    """One start of a job; one that SLURM sent back to its queue has several.

    `seconds` of wall time; `cpu_s` that its processors worked, of `had_cpu_s` that it had them; memory in bytes, asked
    and at its highest; `gpus` that it had.
    """

    job: str
    state: str
    seconds: float
    cpu_s: float
    had_cpu_s: float
    asked_bytes: float
    used_bytes: float
    gpus: int


def write_efficiency(log: str | Path, path: str | Path, *, rules: Collection[str], patience_s: float = 20.0) -> None:
    """Write the table of a run that has ended, from Snakemake's log of it and SLURM's accounting.

    log: Snakemake's log, which names the jobs that the run sent; of a run without one nothing is written. `rules` are
    all there are. Jobs that ended just now have `patience_s` to reach the accounting. The columns are those of `table`.

    Raises InputError when SLURM's accounting does not answer, or knows none of the jobs.
    """
    rule_of = submitted(Path(log).read_text(encoding="utf-8", errors="replace"), rules)
    if not rule_of:
        return
    end = time.monotonic() + patience_s
    while True:
        starts = [start for start in read_starts(_ask(list(rule_of))) if start.job in rule_of]
        all_ended = not {start.state for start in starts} & {"RUNNING", "COMPLETING", "PENDING"}
        if (all_ended and {start.job for start in starts} == set(rule_of)) or time.monotonic() > end:
            break
        time.sleep(1)
    if not starts:
        raise InputError(
            f"SLURM's accounting (sacct) knows none of this run's {len(rule_of)} jobs; "
            "there is no table of what they used"
        )
    write_table(table(starts, rule_of), path)


def submitted(log: str, rules: Collection[str]) -> dict[str, str]:
    """The jobs that a run sent, by Snakemake's log of it: number and rule; of a group of jobs the rule of its members.

    Array jobs (`--slurm-array-jobs`) are not among them. A folder's name that ends like no rule stands for itself.
    """

    def rule(folder: str) -> str:
        fitting = [name for name in rules if folder == name or folder.endswith(f"_{name}")]
        return max(fitting, key=len, default=folder)

    return {number: rule(folder) for number, folder in _SUBMITTED.findall(log)}


def read_starts(listing: str) -> list[Start]:
    """The starts of jobs from sacct's rows of `_FIELDS`, with `|` between: a job's own row, then those of its steps.

    The processors' work and the highest memory are known of the steps; what was asked, of the job.
    """
    starts: list[list[dict[str, str]]] = []
    for line in filter(None, listing.splitlines()):
        row = dict(zip(_FIELDS, line.split("|", len(_FIELDS) - 1), strict=True))
        if "." not in row["jobid"]:
            starts.append([])
        starts[-1].append(row)
    return [
        Start(
            job=job["jobid"],
            # "CANCELLED by 1000"; of a job whose step ran out of memory the step knows it, and the job has failed.
            state="OUT_OF_MEMORY" if _any_out_of_memory(steps) else job["state"].split()[0],
            seconds=float(job["elapsedraw"] or 0),
            cpu_s=_seconds(job["totalcpu"]),
            had_cpu_s=float(job["cputimeraw"] or 0),
            asked_bytes=_bytes(job["reqmem"]),
            used_bytes=max((_bytes(step["maxrss"]) for step in steps), default=0.0),
            gpus=int(match[1]) if (match := re.search(r"gres/gpu=(\d+)", job["alloctres"])) else 0,
        )
        for job, *steps in starts
    ]


def table(starts: Iterable[Start], rule_of: Mapping[str, str]) -> pd.DataFrame:
    """A row per rule, the longest first.

    rule; jobs; starts, which are more than jobs where one went back to the queue; ended_badly (starts whose state is
    not COMPLETED); hours and gpu_hours, in sum; longest_h (of one start); cpu_used (of the processors' time, the share
    in which they worked); memory_asked_gb and memory_used_gb (the largest of any start, GB of 10⁹ bytes).
    """
    rows = []
    by_rule: dict[str, list[Start]] = {}
    for start in starts:
        by_rule.setdefault(rule_of[start.job], []).append(start)
    for rule, found in by_rule.items():
        had_cpu_s = sum(start.had_cpu_s for start in found)
        rows.append(
            {
                "rule": rule,
                "jobs": len({start.job for start in found}),
                "starts": len(found),
                "ended_badly": sum(start.state != "COMPLETED" for start in found),
                "hours": round(sum(start.seconds for start in found) / 3600, 3),
                "gpu_hours": round(sum(start.seconds * start.gpus for start in found) / 3600, 3),
                "longest_h": round(max(start.seconds for start in found) / 3600, 3),
                "cpu_used": round(sum(start.cpu_s for start in found) / had_cpu_s, 2) if had_cpu_s else None,
                "memory_asked_gb": round(max(start.asked_bytes for start in found) / 1e9, 2),
                "memory_used_gb": round(max(start.used_bytes for start in found) / 1e9, 2),
            }
        )
    return pd.DataFrame(rows).sort_values(["hours", "rule"], ascending=[False, True], ignore_index=True)


def _any_out_of_memory(steps: Sequence[Mapping[str, str]]) -> bool:
    return any(step["state"].startswith("OUT_OF_ME") for step in steps)


def _ask(jobs: Sequence[str]) -> str:
    """What the accounting says of jobs, whenever they ran (without their numbers sacct tells of today alone)."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("SACCT_")}
    answers = []
    for first in range(0, len(jobs), _MOST_IDS):
        some = ",".join(jobs[first : first + _MOST_IDS])
        options = ("--noheader", "--parsable2", "--duplicates", f"--jobs={some}", f"--format={','.join(_FIELDS)}")
        try:
            done = subprocess.run(
                ["sacct", *options],
                env=settings,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=120,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            said = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip().splitlines()
            raise InputError(
                f"SLURM's accounting (sacct) does not answer: {said[-1] if said else error}; "
                "there is no table of what the jobs used"
            ) from error
        answers.append(os.fsdecode(done.stdout))
    return "".join(answers)


def _seconds(written: str) -> float:
    """Seconds of sacct's `[days-][hours:]minutes:seconds`."""
    days, _, clock = written.rpartition("-")
    total = 0.0
    for part in clock.split(":") if clock else ():
        total = total * 60 + float(part)
    return total + 86400 * float(days or 0)


def _bytes(written: str) -> float:
    """Bytes of `4000M` or `1279.5K`; SLURM before 21.08 adds `c` or `n` (per processor, per node) to what is asked."""
    match = re.fullmatch(r"([\d.]+)([KMGT]?)[cn]?", written)
    return float(match[1]) * _BYTES.get(match[2], 1) if match else 0.0
