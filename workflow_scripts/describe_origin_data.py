"""Count the slides, patients and tiles of the study of metastatic origin."""

import pandas as pd

from workflow_scripts.lib import files, origins, tile_sources
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked = snakemake.params
    table = pd.DataFrame(asked.slides)
    sources = tile_sources.list_grouped_sources(dict(snakemake.input.items()), table["group"], asked.thresholds)
    data = origins.describe_data(
        table.assign(tiles=[len(tile_sources.selected(source)) for source in sources]),
        classes=asked.classes,
        control=asked.control,
    )
    files.write_table(data, snakemake.output.data)
