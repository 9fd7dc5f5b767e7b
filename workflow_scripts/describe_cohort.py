"""Count the slides and patients of a cohort: in, left out and why, and in each trait's tiers and sets."""

from workflow_scripts.lib import clinical, cohorts, files, flow, labels, splits
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    sheet = files.read_table(snakemake.input.sheet, text=cohorts.SHEET_TEXT)
    split = splits.read_splits(snakemake.input.splits)
    tables = labels.read_labels(snakemake.input.labels, snakemake.params.traits)
    counts = flow.cohort_flow(sheet, split, tables, clinical.read_clinical(snakemake.input.clinical))
    traits = flow.trait_flow(split, tables, missing=snakemake.params.missing, cohort=snakemake.params.title)
    files.write_table(counts, snakemake.output.flow)
    files.write_table(traits, snakemake.output.traits)
