"""Draw the training of the models of a trait, round by round."""

import pandas as pd

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import style, training
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    curves = [files.read_table(path).assign(round=number) for number, path in enumerate(snakemake.input, start=1)]
    figure = training.training_curves(pd.concat(curves, ignore_index=True), trait=snakemake.wildcards.trait)
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
