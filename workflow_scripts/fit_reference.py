"""Find the stains that all slides of a cohort are to have: of an image or a tile, or the published ones."""

from workflow_scripts.lib import stained_slides
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    stained_slides.fit_reference(
        next(iter(snakemake.input), None),
        snakemake.output.reference,
        method=snakemake.params.method,
        reference=snakemake.params.reference,
        code_version=snakemake.params.code,
    )
