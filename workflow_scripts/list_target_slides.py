"""List the slides of a target with their values, and which model each teaches, validates or tests."""

from workflow_scripts.lib import files, slide_targets
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked = snakemake.params
    text = ["slide_id", "patient_id", "status", "reason"]
    found = slide_targets.describe_target(
        {
            cohort: files.read_table(path, text=text)
            for cohort, path in zip(asked.cohorts, snakemake.input.slides, strict=True)
        },
        kind=asked.kind,
        path_to_table=next(iter(snakemake.input.table), None),
        column=asked.column,
        classes=asked.classes,
        path_to_clinical=next(iter(snakemake.input.clinical), None),
        folds=asked.folds,
        seed=asked.seed,
        is_shuffled=asked.is_shuffled,
    )
    files.write_table(found, snakemake.output.slides)
