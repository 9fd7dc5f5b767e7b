"""Draw the hazard ratios of the Cox models."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import style, survival
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    figure = survival.hazard_ratios(files.read_table(snakemake.input.cox, text=["model", "covariate", "note"]))
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
