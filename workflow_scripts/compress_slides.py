"""Compress a chunk of slides into grids by an encoder."""

from pathlib import Path

from workflow_scripts.lib import compression, stains, tile_sources
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked = snakemake.params
    compression.compress_slides(
        snakemake.output.grids,
        tile_sources.list_sources(snakemake.input.stores, normalisations=snakemake.input.stains),
        asked.slides,
        encoder_folder=Path(snakemake.input.weights).parent,
        orientations=asked.orientations,
        stain=stains.read_target(snakemake.input.reference),
        batch_size=asked.batch_size,
        threads=asked.threads,
    )
