"""Draw Fig. 5A of metastatic origin: where primary and metastatic tiles lie in the plane of the t-SNE."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import divergence, style
from workflow_scripts.lib.figures.origin import in_order
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    text = ["slide_id", "class", "domain"]
    classes = in_order(files.read_table(snakemake.input.data, text=text)["class"])
    figure = divergence.tsne_densities(files.read_table(snakemake.input.tsne, text=text), classes=classes)
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
