"""Measure the heterogeneity of each slide's map."""

from workflow_scripts.lib import cartography, evaluation, files, heterogeneity
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    traits = snakemake.params.traits or evaluation.choose_traits(
        files.read_table(snakemake.input.table1, text=["trait"])
    )
    index, combinations = heterogeneity.hti_tables(
        (cartography.read_map(path) for path in cartography.maps_in(snakemake.input.maps)),
        traits,
        seed=snakemake.params.seed,
        **snakemake.params.heterogeneity,
    )
    files.write_table(index, snakemake.output.hti)
    files.write_table(combinations, snakemake.output.combinations)
