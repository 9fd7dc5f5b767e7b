"""Judge the regimes on the held-out slides: AUC by tile and by pixel, paired tests, ROC curves."""

from workflow_scripts.lib import transfer_scores
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked = snakemake.params
    transfer_scores.write_tables(
        dict(snakemake.output.items()),
        path_to_regimes=snakemake.input.regimes,
        paths_to_tiles=dict(zip(asked.available, snakemake.input.tiles, strict=True)),
        paths_to_pixels=dict(zip(asked.available, snakemake.input.pixels, strict=True)),
        resamples=asked.resamples,
        seed=asked.seed,
    )
