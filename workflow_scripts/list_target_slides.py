"""List the slides that a target is learnt from, and those of another cohort that its models are tested on."""

from workflow_scripts.lib import files, slide_targets
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked = snakemake.params
    found = slide_targets.read_slides(snakemake.input.learnt)
    for path in snakemake.input.tested:
        found = slide_targets.with_tested(
            found,
            files.read_table(path, text=["slide_id", "patient_id", "status", "reason"]),
            cohort=asked.cohort,
            path_to_table=next(iter(snakemake.input.table), None),
            column=asked.column,
            classes=asked.classes,
            path_to_clinical=next(iter(snakemake.input.clinical), None),
            seed=asked.seed,
            is_shuffled=asked.is_shuffled,
        )
    files.write_table(found, snakemake.output.slides)
