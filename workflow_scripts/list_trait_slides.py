"""List the slides of a trait of the main chain with their labels, and which round's model each teaches or tests."""

from workflow_scripts.lib import files, labels, slide_targets, splits
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    cohort, trait = snakemake.params.cohort_and_trait
    found = slide_targets.describe_trait(
        files.read_table(snakemake.input.slides, text=["slide_id", "patient_id", "status", "reason"]),
        labels.read_labels(snakemake.input.labels, [trait])[trait],
        splits.read_splits(snakemake.input.splits),
        cohort=cohort,
    )
    files.write_table(found, snakemake.output.slides)
