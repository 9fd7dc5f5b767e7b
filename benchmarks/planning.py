"""How long a plan takes, by the number of slides: of a cohort that is new, that is assembled, and that is finished.

The study is the published one of breast cancer, its ten traits and five rounds, with as many slides as asked for, one
of each patient. No slide has a byte: planning opens none.
"""

import argparse
import multiprocessing
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from snakemake import cli
from snakemake.executors import dryrun
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from benchmarks import harness

REPOSITORY = Path(__file__).resolve().parents[1]
COHORT = "brca"
OVERLAY = "study.yaml"
STATES = ("new", "assembled", "finished")
# 30,000 take a quarter of an hour more; they can be asked for.
SLIDES = [1_000, 3_000, 10_000]
ROUNDS = 2
# Larger than what Snakemake takes checksums of, as the files that they stand for; nothing of it is on the disk.
STAND_IN_BYTES = 2_000_000


def make_study(folder: str | Path, *, slides: int, seed: int = 1) -> None:
    """Write the tables and the overlay of a study of so many slides; to be run in `folder`."""
    folder = Path(folder)
    (folder / "input").mkdir(parents=True)
    published = yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8"))
    traits = [published["traits"][name] for name in published["cohorts"][COHORT]["traits"]]
    rng = np.random.default_rng(seed)
    patients = [f"TCGA-{number // 10_000:02d}-{number % 10_000:04d}" for number in range(slides)]
    ids = [rng.bytes(16).hex() for _ in patients]
    manifest = pd.DataFrame(
        {
            "id": ids,
            "filename": [f"{one}-01Z-00-DX1.{id_.upper()}.svs" for one, id_ in zip(patients, ids, strict=True)],
            "md5": ids,
            "size": 10**9,
            "state": "released",
        }
    )
    manifest.to_csv(folder / "input" / "manifest.txt", sep="\t", index=False)
    for table, name, separator in (("mrna", "mrna.tsv", "\t"), ("mirna", "mirna.csv", ",")):
        features = [trait["feature"] for trait in traits if trait["table"] == table]
        values = pd.DataFrame(
            rng.lognormal(5, 1, (len(features), slides)).round(4),
            columns=[f"{patient}-01A-11R-A000-07" for patient in patients],
        )
        if table == "mrna":
            values.insert(0, "gene_id", [f"{feature}|{number}" for number, feature in enumerate(features)])
        else:
            values.insert(0, "Genes", features)
            values.insert(1, "Correction", "Corrected")
        values.to_csv(folder / "input" / name, sep=separator, index=False)
    clinical = pd.DataFrame(
        {
            "Patient ID": patients,
            "Overall Survival (Months)": rng.exponential(60, slides).round(2),
            "Overall Survival Status": rng.choice(["1:DECEASED", "0:LIVING"], slides),
        }
    )
    clinical.to_csv(folder / "input" / "clinical.tsv", sep="\t", index=False)
    overlay = {
        "study": {"cohorts": [COHORT]},
        "cohorts": {
            COHORT: {
                "slides": {"manifest": "input/manifest.txt"},
                "expression": {"mrna": "input/mrna.tsv", "mirna": "input/mirna.csv"},
                "clinical": "input/clinical.tsv",
            }
        },
    }
    (folder / OVERLAY).write_text(yaml.safe_dump(overlay), encoding="utf-8")


def assemble(folder: str | Path) -> None:
    """Make the cohort of a study, as its first job does."""
    subprocess.run([sys.executable, "-m", "snakemake", *_arguments(folder), f"results/{COHORT}/sheet.tsv"], check=True)


def finish(folder: str | Path) -> None:
    """Make a stand-in for each file that a plan of an assembled study lacks, with what Snakemake writes of its job.

    A dry run hands over the jobs one by one, in their order. It is run in a process of its own, which ends here.
    """
    dryrun.Executor.run_job = _stand_in
    cli.main([*_arguments(folder), "--dry-run", "--quiet", "rules"])


def plan(folder: str | Path) -> list[str]:
    """The command of a dry run of the study in `folder`."""
    return [sys.executable, "-m", "snakemake", *_arguments(folder), "--dry-run"]


def _arguments(folder: str | Path) -> list[str]:
    folder = Path(folder)
    where = ["--snakefile", str(REPOSITORY / "Snakefile"), "--directory", str(folder)]
    return [*where, "--configfile", str(folder / OVERLAY), "--cores", str(harness.CORES)]


def _stand_in(self: dryrun.Executor, job) -> None:
    for file in job.output:
        path = Path(file)
        if file.is_directory:
            path.mkdir(parents=True, exist_ok=True)
        elif not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "wb") as stand_in:
                stand_in.truncate(STAND_IN_BYTES)
    self.workflow.async_run(self.workflow.persistence.finished(job))
    self.report_job_submission(SubmittedJobInfo(job=job))
    self.report_job_success(SubmittedJobInfo(job=job))


def main() -> None:
    """Make the studies, plan each in its three states in turn, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slides", type=int, nargs="+", default=SLIDES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    harness.on_two_cores()
    with tempfile.TemporaryDirectory() as folder:
        contenders = {}
        for slides in asked.slides:
            for state in STATES:
                study = Path(folder) / f"{state}-{slides}"
                make_study(study, slides=slides)
                if state != "new":
                    assemble(study)
                if state == "finished":
                    ended = multiprocessing.get_context("spawn").Process(target=finish, args=[study])
                    ended.start()
                    ended.join()
                contenders[f"{state}, {slides} slides"] = partial(_planned, study, slides)
        harness.compare("planning", contenders, work=max(asked.slides), unit="slides", rounds=asked.rounds)


def _planned(study: Path, slides: int) -> harness.Usage:
    return harness.in_process(plan(study))._replace(work=slides)


if __name__ == "__main__":
    main()
