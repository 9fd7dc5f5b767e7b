"""Judge a tumour filter on the annotated slides of each set."""

from workflow_scripts.lib import files, tile_sources, tumour_filters
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    evaluation, curves = tumour_filters.judge(
        tumour_filters.read_judged_tiles(snakemake.input.tiles),
        threshold=tile_sources.read_threshold(snakemake.input.threshold),
        resamples=snakemake.params.resamples,
        seed=snakemake.params.seed,
    )
    files.write_table(evaluation, snakemake.output.evaluation)
    files.write_table(curves, snakemake.output.roc)
