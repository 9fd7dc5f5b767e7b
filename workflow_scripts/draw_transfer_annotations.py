"""Draw Fig. 1 of cross-cancer transfer: a held-out slide with its annotations, and its mask."""

from workflow_scripts.lib import detection_data, files, provenance
from workflow_scripts.lib.figures import style, transfer_slides
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found, asked = snakemake.input, snakemake.params
    example = transfer_slides.read_example(
        files.read_table(found.cohort, text=detection_data.SLIDE),
        found.annotations,
        found.stores,
        {},
        target=asked.target,
        classes=asked.classes,
        label=asked.label,
    )
    made_by = provenance.made_by(snakemake.rule, [found.cohort], asked)
    style.save(transfer_slides.slide_and_mask(example), snakemake.output.figure, made_by=made_by)
