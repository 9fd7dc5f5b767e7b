"""Draw what the shown methods take photographs' patches of each class for."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import adaptation, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    confusion = files.read_table(snakemake.input.confusion, text=["method", "domain", "class", "predicted"])
    figure = adaptation.confusion_matrices(confusion, snakemake.params.methods, shown=snakemake.params.shown)
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
