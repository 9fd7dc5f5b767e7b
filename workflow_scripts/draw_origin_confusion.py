"""Draw Fig. 4B of metastatic origin: which class tiles and slides of each class are said to be of."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import origin, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    text = ["regime", "level", "class", "predicted"]
    figure = origin.confusion_matrices(files.read_table(snakemake.input.confusion, text=text))
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
