"""Train the autoencoder of the tiles of primaries and metastases, sampled evenly over classes and domains."""

from pathlib import Path

from workflow_scripts.lib import autoencoders, encoding, files, origins, stains
from workflow_scripts.lib.journal import logging_to

# Worker processes may import this file again, and must not start over.
if __name__ == "__main__":
    with logging_to(snakemake.log[0]):
        asked = snakemake.params
        table = files.read_table(snakemake.input.slides, text=origins.COLUMNS)
        slides = encoding.sample_slides(
            table,
            origins.sources_of_slides(dict(snakemake.input.items()), asked.slides, asked.thresholds),
            classes=asked.classes,
            tiles_per_class=asked.tiles_per_class,
            seed=asked.seed,
        )
        training, validation = encoding.parted(slides, table)
        autoencoders.train_autoencoder(
            Path(snakemake.output.weights).parent,
            identity={"model": "autoencoder"},
            training=training,
            validation=validation,
            settings=asked.training,
            stain=stains.read_target(snakemake.input.primary_reference),
            seed=asked.seed,
            code_version=asked.code,
            workers=snakemake.resources.decoders,
            features=asked.features,
            kl_weight=asked.kl_weight,
        )
