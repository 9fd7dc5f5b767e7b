"""Draw Fig. 6: heterogeneity by the categories of clinical columns."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import style, survival
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    figure = survival.hti_by_category(
        files.read_table(snakemake.input.values, text=["column", "category", "patient_id"]),
        files.read_table(snakemake.input.tests, text=["column", "test", "note"]),
    )
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
