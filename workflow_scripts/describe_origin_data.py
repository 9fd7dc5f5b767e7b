"""Count the slides, patients and tiles of the study of metastatic origin."""

from workflow_scripts.lib import files, origins, tile_sources
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked = snakemake.params
    sources = tile_sources.list_grouped_sources(dict(snakemake.input.items()), asked.slides, asked.thresholds)
    tiles = {slide: len(tile_sources.selected(source)) for slide, source in sources.items()}
    table = files.read_table(snakemake.input.slides, text=origins.COLUMNS)
    data = origins.describe_data(table, tiles, classes=asked.classes, control=asked.control)
    files.write_table(data, snakemake.output.data)
