"""Judge the risks that are learnt from grids: C-index, groups by the median, log-rank tests, survival curves."""

from workflow_scripts.lib import risk_scores, target_scores
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found, asked = snakemake.input, snakemake.params
    risk_scores.write_tables(
        dict(snakemake.output.items()),
        target_scores.read(asked.targets, found.targets, found.predictions),
        scale=asked.scale,
        resamples=asked.resamples,
        seed=asked.seed,
    )
