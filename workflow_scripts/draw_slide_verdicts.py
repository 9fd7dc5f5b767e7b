"""Draw the slides of a cohort: listed, accepted, excluded and why, and their numbers of tiles."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import cohort, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    slides = files.read_table(snakemake.input.slides, text=["slide_id", "patient_id", "status", "reason"])
    figure = cohort.slide_verdicts(slides)
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
