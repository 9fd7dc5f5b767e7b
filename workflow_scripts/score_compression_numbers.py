"""Judge what is learnt as a number from grids: Spearman coefficients, and what they are of."""

from workflow_scripts.lib import target_scores
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found, asked = snakemake.input, snakemake.params
    target_scores.write_number_tables(
        dict(snakemake.output.items()),
        target_scores.read(asked.targets, found.targets, found.predictions),
        resamples=asked.resamples,
        seed=asked.seed,
    )
