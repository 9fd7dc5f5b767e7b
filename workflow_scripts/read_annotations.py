"""Read the annotations of one slide, or say why they cannot be used, and label the slide's tiles by them."""

from workflow_scripts.lib import annotated_slides, files
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    labels = snakemake.params.labels
    slide = annotated_slides.read_slide(snakemake.input.annotations, snakemake.input.store, classes=labels["classes"])
    labelled = annotated_slides.tile_table(slide, **labels)
    files.write_table(labelled, snakemake.output.tiles)
    files.write_table(annotated_slides.class_table(slide, labelled), snakemake.output.classes)
