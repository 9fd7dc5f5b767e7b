"""How many jobs a run submits to SLURM: counted from Snakemake's plan, by the profile that groups them."""

import argparse
import re
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from workflow_scripts.lib.errors import InputError

COLUMNS = ["rule", "jobs", "submissions", "partition", "gpus"]


def read_plan(said: str) -> dict[str, int]:
    """How many jobs of each rule a dry run of Snakemake says that it would run; none where nothing is to be done.

    Raises InputError where it says neither.
    """
    table = re.search(r"^job +count\n-+ +-+\n(.*?)^total", said, re.MULTILINE | re.DOTALL)
    if table is None:
        if "Nothing to be done" in said:
            return {}
        last = (said.strip().splitlines() or ["nothing"])[-1]
        raise InputError(f"expected the plan of a dry run (snakemake -n), found {last!r}")
    return {name: int(count) for name, count in (line.split() for line in table[1].splitlines())}


def read_local_rules(path_to_snakefile: str | Path) -> set[str]:
    """The rules that run beside Snakemake: those of `localrules`."""
    block = re.search(
        r"^localrules:\n((?: +\w+,?\n)+)", Path(path_to_snakefile).read_text(encoding="utf-8"), re.MULTILINE
    )
    return set(re.findall(r"\w+", block[1])) if block else set()


def submissions(plan: Mapping[str, int], profile: Mapping[str, Any], *, local: Collection[str]) -> pd.DataFrame:
    """What a plan submits: a row per rule, by name; rules that run beside Snakemake submit nothing and have no row.

    profile: of SLURM, as its YAML says it. gpus: of one submission. partition: `default` where the profile names none.
    """
    group_of = dict(entry.split("=") for entry in profile.get("groups", ()))
    members = {group: int(count) for group, count in (e.split("=") for e in profile.get("group-components", ()))}
    default = profile.get("default-resources") or {}
    rows = []
    for rule, jobs in sorted(plan.items()):
        if rule not in local:
            asked = default | profile.get("set-resources", {}).get(rule, {})
            together = members.get(group_of.get(rule), 1)
            rows.append(
                (rule, jobs, -(-jobs // together), asked.get("slurm_partition", "default"), asked.get("gpu", 0))
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def main() -> None:
    """Print what a plan, a dry run on standard input, submits by a profile."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("profile", type=Path, help="the profile, such as slurm/config.v9+.yaml")
    parser.add_argument("--snakefile", type=Path, default=Path("Snakefile"))
    asked = parser.parse_args()
    try:
        found = submissions(
            read_plan(sys.stdin.read()),
            yaml.safe_load(asked.profile.read_text(encoding="utf-8")),
            local=read_local_rules(asked.snakefile),
        )
    except InputError as error:
        sys.exit(str(error))
    print(found.to_string(index=False))
    print(found.groupby(["partition", "gpus"])[["jobs", "submissions"]].sum().to_string())
    print(f"{found['submissions'].sum()} submissions of {found['jobs'].sum()} jobs")


if __name__ == "__main__":
    main()
