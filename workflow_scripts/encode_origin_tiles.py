"""Encode the sampled tiles of primaries and metastases by the autoencoder."""

from pathlib import Path

from workflow_scripts.lib import encoding, files, origins, stains, tile_sources
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked = snakemake.params
    slides, rows = encoding.sample_slides(
        files.read_table(snakemake.input.slides, text=origins.COLUMNS),
        tile_sources.list_grouped_sources(dict(snakemake.input.items()), asked.slides, asked.thresholds),
        classes=asked.classes,
        tiles_per_class=asked.tiles_per_class,
        seed=asked.seed,
    )
    encoding.encode_slides(
        snakemake.output.latents,
        slides,
        rows,
        model_folder=Path(snakemake.input.weights).parent,
        stain=stains.read_target(snakemake.input.primary_reference),
        batch_size=asked.batch_size,
        threads=asked.threads,
    )
