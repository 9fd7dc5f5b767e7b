"""Choose the threshold of a tumour filter on the annotated slides of the validation set."""

from workflow_scripts.lib import tumour_filters
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    tiles = tumour_filters.read_judged_tiles([snakemake.input.tiles])
    threshold = tumour_filters.choose_threshold(tiles, snakemake.params.threshold)
    tumour_filters.write_threshold(snakemake.output.threshold, threshold)
