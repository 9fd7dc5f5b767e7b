"""Draw Fig. 5a: the same patients split by bulk expression and by heterogeneity."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.figures import survival as figures
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    text = ["trait", "split", "patient_id", "group", "direction", "note"]
    figure = figures.expression_survival(
        files.read_table(snakemake.input.values, text=text), files.read_table(snakemake.input.tests, text=text)
    )
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
