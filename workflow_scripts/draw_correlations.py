"""Draw supplement S1: correlations of slide scores with expression percentiles."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import evaluation, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    correlations = files.read_table(snakemake.input.correlations, text=["trait", "set"])
    figure = evaluation.correlations(correlations, cohort=snakemake.params.title)
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
