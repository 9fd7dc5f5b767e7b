"""Train the model of one trait and round on the tiles of its own slides."""

from pathlib import Path

from workflow_scripts.lib.journal import logging_to
from workflow_scripts.lib.training_data import LabelledSlide
from workflow_scripts.lib.trait_models import train_model


def labelled(labels, stores):
    """The slides of a set with their labels; stores are listed in the order of the labels."""
    return [
        LabelledSlide(slide, Path(store), label) for (slide, label), store in zip(labels.items(), stores, strict=True)
    ]


# Worker processes may import this file again, and must not start over.
if __name__ == "__main__":
    with logging_to(snakemake.log[0]):
        train_model(
            Path(snakemake.output.weights).parent,
            trait=snakemake.wildcards.trait,
            round_number=int(snakemake.wildcards.round),
            training=labelled(snakemake.params.labels["train"], snakemake.input.train),
            validation=labelled(snakemake.params.labels["validation"], snakemake.input.validation),
            settings=snakemake.params.training,
            tile_threshold=snakemake.params.tile_threshold,
            seed=snakemake.params.seed,
            code_version=snakemake.params.code,
            workers=snakemake.resources.decoders,
        )
