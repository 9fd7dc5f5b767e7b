"""Write one slide's tile store anew with its tiles recoloured."""

from workflow_scripts.lib import stained_slides, stains
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    stained_slides.normalise_tiles(
        snakemake.input.store,
        snakemake.output.store,
        stains.read_normalisation(snakemake.input.stain),
        code_version=snakemake.params.code,
    )
