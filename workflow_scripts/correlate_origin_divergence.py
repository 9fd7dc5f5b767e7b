"""Put each class's divergence beside its AUROC, and correlate the two."""

from workflow_scripts.lib import files, origin_scores
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    points, correlation = origin_scores.divergence_with_auroc(
        snakemake.input.divergence,
        snakemake.input.auroc,
        snakemake.input.data,
        regime=snakemake.params.regime,
    )
    files.write_table(points, snakemake.output.points)
    files.write_table(correlation, snakemake.output.correlation)
