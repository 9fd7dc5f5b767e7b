"""Draw a cohort's contact sheet: tiles that quality dropped and why, and the measures of all tiles."""

from workflow_scripts.lib import provenance
from workflow_scripts.lib.figures import quality, style
from workflow_scripts.lib.journal import logging_to
from workflow_scripts.lib.quality import Limits

with logging_to(snakemake.log[0]):
    figure = quality.contact_sheet(quality.read_quality(snakemake.input.stores), Limits(**snakemake.params.limits))
    # The stores are all that was tiled: too much to be read for their digests.
    made_by = provenance.made_by(snakemake.rule, [], snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
