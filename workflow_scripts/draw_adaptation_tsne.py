"""Draw the features of patches of both domains as each shown method lays them out."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import adaptation, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found, asked = snakemake.input, snakemake.params
    plane = files.read_table(found.tsne, text=["method", "domain", "class", "slide_id"])
    figure = adaptation.tsne_planes(plane, asked.methods, shown=asked.shown, classes=asked.classes)
    style.save(figure, snakemake.output.figure, made_by=provenance.made_by(snakemake.rule, found, asked))
