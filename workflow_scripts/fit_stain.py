"""Find what is to be done to the colours of one slide, or why they are kept."""

from workflow_scripts.lib import stained_slides, stains
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found = stained_slides.fit_slide(snakemake.input.store, snakemake.input.reference, method=snakemake.params.method)
    stains.write_normalisation(snakemake.output.stain, found, code_version=snakemake.params.code)
