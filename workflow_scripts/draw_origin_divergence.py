"""Draw Fig. 5B of metastatic origin, in both its readings: divergences of the latent features by class."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import divergence, style
from workflow_scripts.lib.figures.origin import in_order
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    text = ["reading", "comparison", "class", "other", "estimator"]
    classes = in_order(files.read_table(snakemake.input.data, text=text)["class"])
    figure = divergence.divergence_boxes(files.read_table(snakemake.input.divergence, text=text), classes=classes)
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
