"""Draw the cohort's flow: from the list of slides to the sets, and each trait's slides beside the paper's."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import cohort, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    flow = files.read_table(snakemake.input.flow, text=["step", "name"])
    traits = files.read_table(snakemake.input.traits, text=["trait", "status", "reason"])
    figure = cohort.cohort_flow(flow, traits, title=snakemake.params.title)
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
