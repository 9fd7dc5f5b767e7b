"""Draw Fig. 5C of metastatic origin: the divergence of each class against its AUROC."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import divergence, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    figure = divergence.divergence_against_auroc(
        files.read_table(snakemake.input.points, text=["class"]), files.read_table(snakemake.input.correlation)
    )
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
