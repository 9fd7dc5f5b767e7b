"""Draw Fig. 4C of metastatic origin: rank and confidence of each slide's true class."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import origin, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    figure = origin.rank_confidence(
        files.read_table(snakemake.input.ranks, text=["regime", "slide_id", "class"]),
        files.read_table(snakemake.input.top_k, text=["regime"]),
    )
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
