"""Measure how far the primaries of each class lie from its metastases, and from all else, feature by feature."""

from workflow_scripts.lib import divergence
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    divergence.write_divergences(
        snakemake.output.divergence,
        path_to_latents=snakemake.input.latents,
        estimator=snakemake.params.estimator,
        seed=snakemake.params.seed,
        order=snakemake.params.classes,
    )
