"""Evaluate the models: Table 1, correlations with expression, and the distributions of slide scores."""

from workflow_scripts.lib import evaluation, files, labels, splits
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    tables = (
        labels.read_labels(snakemake.input.labels, snakemake.params.traits),
        files.read_table(snakemake.input.scores, text=["slide_id", "patient_id", "trait", "model"]),
        splits.read_splits(snakemake.input.splits),
    )
    table1 = evaluation.table1(*tables, resamples=snakemake.params.resamples, seed=snakemake.params.seed)
    files.write_table(table1, snakemake.output.table1)
    files.write_table(evaluation.correlations(*tables), snakemake.output.correlations)
    files.write_table(evaluation.score_distributions(*tables), snakemake.output.distributions)
