"""Draw how each loss of the methods of microscope adaptation went over training."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import adaptation, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked = snakemake.params
    read = zip(asked.trained, snakemake.input.curves, strict=True)
    figure = adaptation.learning_curves({of: files.read_table(path) for of, path in read}, asked.methods)
    style.save(figure, snakemake.output.figure, made_by=provenance.made_by(snakemake.rule, snakemake.input, asked))
