"""Draw Fig. 2: slide scores below and above the median of bulk expression."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import evaluation, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    figure = evaluation.score_distributions(
        files.read_table(snakemake.input.distributions, text=["trait", "set", "slide_id", "label"]),
        files.read_table(snakemake.input.table1, text=["trait", "note"]),
    )
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
