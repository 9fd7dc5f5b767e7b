"""Draw Fig. 3 of neural image compression: how well encoders do by the number of tasks that they learnt."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import compression, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found = snakemake.input
    ablation = files.read_table(found.ablation, text=["encoder", "note"])
    figure = compression.tasks_and_performance(ablation, files.read_table(found.by_number))
    made_by = provenance.made_by(snakemake.rule, found, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
