"""Give the annotated tiles of a set their probability of being tumour, by a trained filter."""

from pathlib import Path

from workflow_scripts.lib import files, inference, stains, tile_sources, tumour_filters
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked = snakemake.params
    sources = tile_sources.list_sources(snakemake.input.stores, normalisations=snakemake.input.stains)
    predicted = inference.predict_tumour(
        list(zip(asked.slides, sources, strict=True)),
        model_folder=Path(snakemake.input.weights).parent,
        stain=stains.read_target(snakemake.input.reference),
        batch_size=asked.batch_size,
        threads=asked.threads,
    )
    tiles = tumour_filters.judged_tiles(
        predicted,
        snakemake.input.labels,
        patients=asked.patients,
        set_name=snakemake.wildcards.set,
        label=asked.label,
    )
    files.write_table(tiles, snakemake.output.tiles)
