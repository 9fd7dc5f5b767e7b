"""Shuffle the expression of a generated cohort between its patients, several times."""

from workflow_scripts.lib import assembly, controls, files
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found = assembly.read_traits(snakemake.params.tables, snakemake.params.traits)
    table = controls.shuffle_expression(found, shuffles=snakemake.params.shuffles, seed=snakemake.params.seed)
    files.write_table(table, snakemake.output.table)
