"""List the slides that trained models are applied to, and see that the models are whole."""

from workflow_scripts.lib import assembly, files, model_sets
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    model_sets.check_files(snakemake.params.models, snakemake.params.digests)
    files.write_table(assembly.list_slides(**snakemake.params.slides), snakemake.output.sheet)
