"""List the slides that a target is learnt from, with their values, and which model each teaches or validates."""

from workflow_scripts.lib import files, slide_targets
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked = snakemake.params
    found = slide_targets.describe_target(
        files.read_table(snakemake.input.slides, text=["slide_id", "patient_id", "status", "reason"]),
        cohort=asked.cohort,
        kind=asked.kind,
        path_to_table=next(iter(snakemake.input.table), None),
        column=asked.column,
        classes=asked.classes,
        path_to_clinical=next(iter(snakemake.input.clinical), None),
        folds=asked.folds,
        is_tested_elsewhere=asked.is_tested_elsewhere,
        seed=asked.seed,
        is_shuffled=asked.is_shuffled,
    )
    files.write_table(found, snakemake.output.slides)
