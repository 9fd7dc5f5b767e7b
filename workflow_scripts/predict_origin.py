"""Predict the tumour tiles of the held-out metastases by the models of all regimes that are compared."""

from pathlib import Path

from workflow_scripts.lib import inference, stains, tile_sources
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked = snakemake.params
    sources = tile_sources.list_sources(
        snakemake.input.stores,
        normalisations=snakemake.input.stains,
        tumour=snakemake.input.tumour,
        threshold=asked.tumour_threshold,
    )
    inference.predict_slides(
        snakemake.output.predictions,
        sources=dict(zip(asked.slides, sources, strict=True)),
        models_of_slide=dict.fromkeys(asked.slides, asked.regimes),
        model_folders={Path(path).parent.name: Path(path).parent for path in snakemake.input.weights},
        stain=stains.read_target(snakemake.input.reference),
        batch_size=asked.batch_size,
        threads=asked.threads,
    )
