"""Train a tumour filter on the tiles of annotated slides."""

from pathlib import Path

from workflow_scripts.lib import filter_training, stains, tile_sources
from workflow_scripts.lib.journal import logging_to
from workflow_scripts.lib.tile_models import train_model

# Worker processes may import this file again, and must not start over.
if __name__ == "__main__":
    with logging_to(snakemake.log[0]):
        asked = snakemake.params
        slides = filter_training.labelled_slides(
            asked.slides,
            tile_sources.list_sources(snakemake.input.stores, normalisations=snakemake.input.stains),
            snakemake.input.labels,
            label=asked.label,
            tiles_per_class=asked.tiles_per_class,
            seed=asked.seed,
            name=snakemake.wildcards.filter,
        )
        train_model(
            Path(snakemake.output.weights).parent,
            identity={"trait": "tumour", "round": 1},
            training=slides["train"],
            validation=slides["validation"],
            settings=asked.training,
            stain=stains.read_target(snakemake.input.reference),
            tile_threshold=0.5,
            seed=asked.seed,
            code_version=asked.code,
            workers=snakemake.resources.decoders,
            starts_from=Path(snakemake.input.start[0]).parent if asked.starts_from else None,
            carries_head=False,
        )
