"""Write the encoder that knows the mean colour of a patch, which learns nothing."""

from pathlib import Path

from workflow_scripts.lib import encoder_training, stains
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    encoder_training.write_mean_colour(
        Path(snakemake.output.weights).parent,
        identity={"encoder": snakemake.wildcards.encoder},
        tile_px=snakemake.params.tile_px,
        mpp=snakemake.params.mpp,
        stain=stains.read_target(snakemake.input.reference),
        code_version=snakemake.params.code,
    )
