"""Draw what was found against what is true."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import recovery, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    slides = files.read_table(snakemake.input.slides, text=["quantity", "slide_id"])
    table = files.read_table(snakemake.input.recovery, text=["trait", "measure"])
    figure = recovery.recovery(slides, table)
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
