"""Check, before anything takes long, that the clinical table has what the survival stage will ask of it."""

from workflow_scripts.lib import clinical, files
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    described = clinical.describe(
        clinical.read_clinical(snakemake.input.clinical),
        covariates=snakemake.params.covariates,
        categories=snakemake.params.categories,
    )
    files.write_table(described, snakemake.output.described)
