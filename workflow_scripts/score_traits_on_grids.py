"""Score the traits that are learnt on grids, beside the tile models of the same traits."""

from workflow_scripts.lib import grid_traits
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked, given = snakemake.params, snakemake.input
    grid_traits.write_traits(
        snakemake.output.traits,
        asked.traits,
        paths_to_predictions=given.predictions,
        folders_of_models=given.models,
        tables_of_tiles=dict(zip(asked.cohorts, given.of_tiles, strict=True)),
        folders_of_labels=dict(zip(asked.cohorts, given.labels, strict=True)),
        paths_to_splits=dict(zip(asked.cohorts, given.splits, strict=True)),
        rounds=asked.rounds,
        members=asked.members,
        resamples=asked.resamples,
        seed=asked.seed,
    )
