"""Predict the held-out patches of one domain by all methods of one seed that see patches in the same colours."""

from pathlib import Path

from workflow_scripts.lib import inference, stains, tile_sources
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked, found = snakemake.params, snakemake.input
    sources = tile_sources.list_sources(found.stores, normalisations=found.stains)
    inference.predict_slides(
        snakemake.output.predictions,
        sources=dict(zip(asked.slides, sources, strict=True)),
        models_of_slide=dict.fromkeys(asked.slides, asked.methods),
        model_folders={method: Path(path).parent for method, path in zip(asked.methods, found.weights, strict=True)},
        stain=stains.read_target(found.reference),
        batch_size=asked.batch_size,
        threads=asked.threads,
    )
