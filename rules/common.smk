# What every stage asks for: the validated configuration, the paths of results, and the slides of a cohort.
import os
import re
from functools import cache
from pathlib import Path

from workflow_scripts.lib import configuration, interruption, planning, provenance
from workflow_scripts.lib.errors import InputError

# The Snakemake that runs a single job, as the first process of a step of SLURM's: its script, below it, hears nothing.
if workflow.remote_exec and "SLURM_STEP_ID" in os.environ:
    interruption.pass_on_to_descendants()

try:
    study = configuration.load(config)
except InputError as error:
    raise WorkflowError(str(error)) from None


def one_of(names):
    """A wildcard's pattern that these names match and nothing else; without a name, nothing does."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    # No other folder of results/ is a cohort's.
    cohort=one_of(study.cohorts),
    slide="[A-Za-z0-9][A-Za-z0-9._-]*",
    trait="[A-Za-z0-9][A-Za-z0-9._-]*",
    round=r"\d+",
    part="[A-Za-z0-9][A-Za-z0-9._-]*",
    chunk=r"\d+",


code_version = cache(provenance.code_version)


def code_of(rule_name):
    """Fingerprint of the code that a rule's script runs; as a parameter it reruns the rule when that code changes.

    It is found when a job is planned: to read the code of every rule would take the process of each job a second.
    """
    script = Path(workflow.basedir) / "workflow_scripts" / f"{rule_name}.py"
    return lambda wildcards: code_version(script)


def cohort_of(wildcards):
    return study.cohorts[wildcards.cohort]


def traits_of(wildcards):
    applied = applied_settings(wildcards.cohort)
    return applied["traits"] if applied else cohort_of(wildcards).traits


def heterogeneity_traits_of(wildcards):
    """The traits of the heterogeneity index; None where Table 1 chooses them."""
    applied = applied_settings(wildcards.cohort)
    return applied["heterogeneity_traits"] if applied else cohort_of(wildcards).heterogeneity_traits


def rounds():
    return range(1, study.splits.rounds + 1)


def given(*paths):
    """Those of some configured paths that are given, as Snakemake wants them."""
    return [str(path) for path in paths if path is not None]


def trained_cohorts():
    """The cohorts that models are trained in."""
    return [name for name, cohort in study.cohorts.items() if cohort.models is None]


def applied_cohorts():
    """The cohorts that trained models are applied to."""
    return [name for name, cohort in study.cohorts.items() if cohort.models is not None]


def origin_cohorts():
    return [study.origin.primary, study.origin.metastatic] if study.origin else []


def transfer_cohorts():
    """The target of the study of cross-cancer transfer, and then the cohorts that detectors see first."""
    if study.transfer is None:
        return []
    trained = study.with_starts(study.transfer.compared)
    seen = [cohort for name in trained for cohort in study.tumour_filters[name].cohorts]
    return list(dict.fromkeys([study.transfer.target, *seen]))


def compression_cohorts():
    return study.compression.cohorts() if study.compression else []


def adaptation_cohorts():
    return [study.adaptation.source, study.adaptation.target] if study.adaptation else []


def sister_cohorts():
    """The cohorts of the sister studies that are configured."""
    of_all = [*origin_cohorts(), *transfer_cohorts(), *compression_cohorts(), *adaptation_cohorts()]
    return list(dict.fromkeys(of_all))


def known_cohorts():
    """The cohorts of which all is known that was configured; of one that does not run the models need not be there."""
    return [cohort for cohort in study.cohorts if cohort in trained_cohorts() or cohort in study.study.cohorts]


# What a checkpoint made is remembered, because every slide asks for it. Before the checkpoint is done it raises, which is
# not remembered; once it is done, no job of this run writes its tables again.


@cache
def tables_of(cohort):
    """Outputs of a trained cohort's checkpoint: after it, which slides there are and what each model learns is known."""
    return checkpoints.assemble_cohort.get(cohort=cohort).output


def assembled(wildcards):
    return tables_of(wildcards.cohort)


@cache
def sheet_of_cohort(cohort):
    if study.cohorts[cohort].models is None:
        return tables_of(cohort).sheet
    return checkpoints.list_new_slides.get(cohort=cohort).output.sheet


def sheet_of(wildcards):
    """A cohort's slide sheet, which is made by a checkpoint."""
    return sheet_of_cohort(wildcards.cohort)


@cache
def slides_listed(cohort):
    return planning.usable_files(sheet_of_cohort(cohort))


def listed_slides(wildcards):
    """The usable rows of a cohort's sheet, file by slide id."""
    return slides_listed(wildcards.cohort)


@cache
def in_sheet(cohort, column):
    """What a cohort's sheet says in a column, as text, by slide id; '' where it says nothing."""
    return planning.in_sheet(sheet_of_cohort(cohort), column)


def tile_store(wildcards, slide):
    return f"results/{wildcards.cohort}/tiles/{slide}.h5"


def tile_stores(wildcards):
    return [tile_store(wildcards, slide) for slide in listed_slides(wildcards)]


# The paper's values stand beside ours; by their digest, because a clone's files are all new.
published = provenance.file_digest(Path(workflow.basedir) / "workflow_scripts" / "lib" / "published.tsv")


def title_of(wildcards):
    return cohort_of(wildcards).title
