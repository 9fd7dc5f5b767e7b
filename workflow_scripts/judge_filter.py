"""Judge a tumour filter on the annotated slides of each set."""

from workflow_scripts.lib import files, tile_sources, tumour_filters
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked = snakemake.params
    tiles = tumour_filters.judged_tiles(
        snakemake.input.labels,
        snakemake.input.tumour,
        sets=[name for name, slides in asked.slides.items() for _ in slides],
        patients=asked.patients,
        label=asked.label,
    )
    threshold = tile_sources.read_threshold(snakemake.input.threshold)
    evaluation, curves = tumour_filters.judge(tiles, threshold=threshold, resamples=asked.resamples, seed=asked.seed)
    files.write_table(evaluation, snakemake.output.evaluation)
    files.write_table(curves, snakemake.output.roc)
