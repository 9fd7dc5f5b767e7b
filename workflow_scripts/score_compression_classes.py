"""Judge the classes that are learnt from grids: AUC, paired tests between encoders, ROC curves."""

from workflow_scripts.lib import target_scores
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found, asked = snakemake.input, snakemake.params
    target_scores.write_class_tables(
        dict(snakemake.output.items()),
        target_scores.read(asked.targets, found.targets, found.predictions),
        compared=asked.compared,
        resamples=asked.resamples,
        seed=asked.seed,
    )
