"""Draw Table 2 of microscope adaptation: how well each method classifies slides and photographs."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import adaptation, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    table2 = files.read_table(snakemake.input.table2, text=["method", "title", "domain", "labelled", "note"])
    figure = adaptation.table2_dots(table2, snakemake.params.methods)
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
