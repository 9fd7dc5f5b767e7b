"""Draw the annotations of one slide over its picture, or say why they cannot be used."""

from workflow_scripts.lib import annotated_slides, provenance
from workflow_scripts.lib.figures import annotations, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    classes = snakemake.params.classes
    slide = annotated_slides.read_slide(snakemake.input.annotations, snakemake.input.store, classes=classes)
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(annotations.checked_slide(slide, classes=classes), snakemake.output.figure, made_by=made_by)
