"""Train the model of one regime: the classes of the tumour tiles of its own slides."""

from pathlib import Path

from workflow_scripts.lib import stains, tile_sources
from workflow_scripts.lib.journal import logging_to
from workflow_scripts.lib.tile_models import train_model
from workflow_scripts.lib.training_data import labelled_sets

# Worker processes may import this file again, and must not start over.
if __name__ == "__main__":
    with logging_to(snakemake.log[0]):
        sources = tile_sources.list_sources(
            snakemake.input.stores,
            normalisations=snakemake.input.stains,
            tumour=snakemake.input.tumour,
            threshold=snakemake.params.tumour_threshold,
        )
        sets = labelled_sets(snakemake.params.labels, sources)
        train_model(
            Path(snakemake.output.weights).parent,
            identity={"regime": snakemake.wildcards.regime},
            training=sets["train"],
            validation=sets["validation"],
            settings=snakemake.params.training,
            stain=stains.read_target(snakemake.input.reference),
            tile_threshold=None,
            seed=snakemake.params.seed,
            code_version=snakemake.params.code,
            workers=snakemake.resources.decoders,
            classes=snakemake.params.classes,
            starts_from=Path(snakemake.input.start[0]).parent if snakemake.params.starts_from else None,
        )
