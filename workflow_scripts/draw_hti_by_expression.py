"""Draw Fig. 5b: heterogeneity below and above the median of bulk expression."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import style, survival
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    figure = survival.hti_by_expression(
        files.read_table(snakemake.input.values, text=["trait", "patient_id", "label"]),
        files.read_table(snakemake.input.tests, text=["trait", "test", "note"]),
    )
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
