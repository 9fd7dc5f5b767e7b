"""Choose the threshold of a tumour filter on the annotated slides of the validation set."""

from workflow_scripts.lib import tumour_filters
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
    threshold = tumour_filters.choose_threshold(tiles, asked.threshold)
    tumour_filters.write_threshold(snakemake.output.threshold, threshold)
