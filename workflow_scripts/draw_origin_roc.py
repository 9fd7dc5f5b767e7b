"""Draw Fig. 3 of metastatic origin: ROC curves of each class, by regime."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import origin, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    text = ["regime", "class", "level", "note"]
    figure = origin.roc_grid(
        files.read_table(snakemake.input.roc, text=text), files.read_table(snakemake.input.auroc, text=text)
    )
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
