"""Encode the sampled tiles of primaries and metastases by the autoencoder."""

from pathlib import Path

from workflow_scripts.lib import encoding, stains
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked = snakemake.params
    slides, rows = encoding.sample_slides(dict(snakemake.input.items()), **asked.sampling)
    encoding.encode_slides(
        snakemake.output.latents,
        slides,
        rows,
        model_folder=Path(snakemake.input.weights).parent,
        stain=stains.read_target(snakemake.input.primary_reference),
        batch_size=asked.batch_size,
        threads=asked.threads,
    )
