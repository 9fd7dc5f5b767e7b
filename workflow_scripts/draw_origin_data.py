"""Draw Fig. 2A of metastatic origin: the slides and tiles of each class and domain."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import origin, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    figure = origin.data_overview(files.read_table(snakemake.input.data, text=["class", "domain"]))
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
