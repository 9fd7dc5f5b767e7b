"""Assemble a cohort: its slide sheet, the split of its patients, and the labels of each trait."""

from workflow_scripts.lib import assembly
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    assembly.assemble_cohort(
        slides=snakemake.params.slides,
        expression_tables=snakemake.params.expression,
        path_to_clinical=next(iter(snakemake.input.clinical), None),
        path_to_split=next(iter(snakemake.input.split), None),
        traits=snakemake.params.traits,
        label_settings=snakemake.params.labels,
        split_settings=snakemake.params.splits,
        seed=snakemake.params.seed,
        path_to_sheet=snakemake.output.sheet,
        path_to_splits=snakemake.output.splits,
        folder_of_labels=snakemake.output.labels,
    )
