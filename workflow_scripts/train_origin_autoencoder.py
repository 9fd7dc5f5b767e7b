"""Train the autoencoder of the tiles of primaries and metastases, sampled evenly over classes and domains."""

from pathlib import Path

from workflow_scripts.lib import autoencoders, encoding, stains
from workflow_scripts.lib.journal import logging_to

# Worker processes may import this file again, and must not start over.
if __name__ == "__main__":
    with logging_to(snakemake.log[0]):
        asked = snakemake.params
        slides, rows = encoding.sample_slides(dict(snakemake.input.items()), **asked.sampling)
        # It learns no class, so that held-out slides may teach it; those of validation say when to stop.
        is_validation = (rows["set"] == "validation").tolist()
        autoencoders.train_autoencoder(
            Path(snakemake.output.weights).parent,
            identity={"model": "autoencoder"},
            training=[slide for slide, judges in zip(slides, is_validation, strict=True) if not judges],
            validation=[slide for slide, judges in zip(slides, is_validation, strict=True) if judges],
            settings=asked.training,
            stain=stains.read_target(snakemake.input.primary_reference),
            seed=asked.seed,
            code_version=asked.code,
            workers=snakemake.resources.decoders,
            features=asked.features,
            kl_weight=asked.kl_weight,
        )
