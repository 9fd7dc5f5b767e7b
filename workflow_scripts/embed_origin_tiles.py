"""Lay encoded tiles out in a plane by t-SNE."""

from workflow_scripts.lib import divergence
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    divergence.write_plane(
        snakemake.output.tsne,
        path_to_latents=snakemake.input.latents,
        most=snakemake.params.most,
        perplexity=snakemake.params.perplexity,
        seed=snakemake.params.seed,
        order=snakemake.params.classes,
    )
