"""Give each tile of some slides its probability of being tumour, by a trained filter."""

from pathlib import Path

from workflow_scripts.lib import inference, stains, tile_sources
from workflow_scripts.lib.journal import logging_to
from workflow_scripts.lib.tile_scores import write_tile_scores

with logging_to(snakemake.log[0]):
    sources = tile_sources.list_sources(snakemake.input.stores, normalisations=snakemake.input.stains)
    predicted = inference.predict_tumour(
        list(zip(snakemake.params.slides, sources, strict=True)),
        model_folder=Path(snakemake.input.weights).parent,
        stain=stains.read_target(snakemake.input.reference),
        batch_size=snakemake.params.batch_size,
        threads=snakemake.params.threads,
    )
    write_tile_scores(snakemake.output.tumour, predicted)
