"""Shuffle the expression of a generated cohort between its patients, several times."""

from workflow_scripts.lib import controls, expression, files
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found = {
        trait: expression.one_value_per_sample_type(
            expression.read_expression(snakemake.input[source["table"]], source["feature"], kind=source["table"])
        )
        for trait, source in snakemake.params.traits.items()
    }
    table = controls.shuffle_expression(found, shuffles=snakemake.params.shuffles, seed=snakemake.params.seed)
    files.write_table(table, snakemake.output.table)
