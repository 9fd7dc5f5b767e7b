"""Predict the tiles of a chunk of slides with all the models that each slide needs."""

from pathlib import Path

from workflow_scripts.lib import files, inference, predictions, stains, tile_sources
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    sources = tile_sources.list_sources(
        snakemake.input.stores,
        normalisations=snakemake.input.stains,
        tumour=snakemake.input.tumour,
        threshold=snakemake.params.tumour_threshold,
    )
    inference.predict_slides(
        snakemake.output.predictions,
        sources=dict(zip(snakemake.params.slides, sources, strict=True)),
        models_of_slide=predictions.models_of_slides(
            snakemake.params.slides,
            files.read_table(snakemake.input.ensembles, text=["trait"]),
            test_slides=snakemake.params.test_slides,
        ),
        model_folders={predictions.model_name_of(path): Path(path).parent for path in snakemake.input.weights},
        stain=stains.read_target(snakemake.input.reference),
        batch_size=snakemake.params.batch_size,
        threads=snakemake.params.threads,
    )
