"""Draw how well a tumour filter tells tiles apart."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import style, tumour_filter
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    figure = tumour_filter.roc_and_counts(
        files.read_table(snakemake.input.evaluation, text=["set"]),
        files.read_table(snakemake.input.roc, text=["set"]),
    )
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
