"""Train an encoder of patches: on several tasks at once, or without labels; or write the one that learns nothing."""

from pathlib import Path

from workflow_scripts.lib import encoder_training, stains, tile_sources
from workflow_scripts.lib.journal import logging_to

# Worker processes may import this file again, and must not start over.
if __name__ == "__main__":
    with logging_to(snakemake.log[0]):
        asked, name = snakemake.params, snakemake.wildcards.encoder
        slides = encoder_training.sampled_patches(
            asked.slides,
            tile_sources.list_sources(snakemake.input.stores, normalisations=snakemake.input.stains),
            snakemake.input.labels,
            tasks=asked.tasks,
            patches=asked.patches,
            seed=asked.seed,
            name=name,
        )
        encoder_training.train_encoder(
            Path(snakemake.output.weights).parent,
            identity={"encoder": name},
            kind=asked.kind,
            training=slides["train"],
            validation=slides["validation"],
            tasks=asked.tasks,
            features=asked.features,
            shrink=asked.shrink,
            settings=asked.training,
            stain=stains.read_target(snakemake.input.reference),
            seed=asked.seed,
            code_version=asked.code,
            workers=snakemake.resources.decoders,
        )
