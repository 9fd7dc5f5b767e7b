"""Train one method of microscope adaptation with one seed."""

from pathlib import Path

from workflow_scripts.lib import adaptation_training, stains, tile_sources
from workflow_scripts.lib.journal import logging_to

# Worker processes may import this file again, and must not start over.
if __name__ == "__main__":
    with logging_to(snakemake.log[0]):
        asked, found, wildcards = snakemake.params, snakemake.input, snakemake.wildcards
        sets = adaptation_training.learning_sets(
            asked.slides,
            tile_sources.list_sources(found.stores, normalisations=found.stains),
            found.labels,
            asked.slide_labels,
            classes=asked.classes,
            target_patches=asked.method["target_patches"],
            seed=asked.study_seed,
        )
        adaptation_training.train_method(
            Path(snakemake.output.weights).parent,
            identity={"method": wildcards.method, "seed": int(wildcards.seed)},
            method=asked.method,
            classes=asked.classes,
            focal_gamma=asked.focal_gamma,
            label_weight=asked.label_weight,
            discriminator=asked.discriminator,
            training=sets["train"],
            validation=sets["validation"],
            settings=asked.training,
            stain=stains.read_target(found.reference),
            seed=int(wildcards.seed),
            code_version=asked.code,
            workers=snakemake.resources.decoders,
            starts_from=Path(found.start[0]).parent if asked.method["starts_from"] else None,
        )
