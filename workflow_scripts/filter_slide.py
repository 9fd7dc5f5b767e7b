"""Give each tile of a slide its probability of being tumour, by a trained filter."""

from pathlib import Path

from workflow_scripts.lib import inference, stains, tile_sources
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    (source,) = tile_sources.list_sources(snakemake.input.stores, normalisations=snakemake.input.stains)
    inference.predict_tumour(
        snakemake.output.tumour,
        slide_id=snakemake.wildcards.slide,
        source=source,
        model_folder=Path(snakemake.input.weights).parent,
        stain=stains.read_target(snakemake.input.reference),
        batch_size=snakemake.params.batch_size,
        threads=snakemake.params.threads,
    )
