"""Count the patches of microscope adaptation by domain, set and class."""

from workflow_scripts.lib import adaptation_data, files, tile_sources
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked = snakemake.params
    table = adaptation_data.describe(
        asked.slides,
        tile_sources.list_sources(snakemake.input.stores),
        classes=asked.classes,
        paths_to_labels=dict(zip(asked.annotated, snakemake.input.labels, strict=True)),
        slide_labels=asked.slide_labels,
    )
    files.write_table(table, snakemake.output.data)
