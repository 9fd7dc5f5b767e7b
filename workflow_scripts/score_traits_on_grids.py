"""Score the traits that are learnt on grids, beside the tile models of the same traits."""

from pathlib import Path

import pandas as pd

from workflow_scripts.lib import files, grid_traits, labels, splits
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked, given = snakemake.params, snakemake.input
    scores = {}
    for place, folder, (cohort, trait) in zip(given.predictions, given.models, asked.traits.values(), strict=True):
        of_models = [files.read_table(path) for path in sorted(Path(folder).glob("model_*/scores.tsv"))]
        scores[cohort, trait] = grid_traits.slide_scores(
            files.read_table(place, text=["slide_id", "patient_id", "set"]),
            pd.concat(of_models, ignore_index=True),
            trait=trait,
            members=asked.members,
        )
    tables = []
    cohorts = dict.fromkeys(cohort for cohort, _ in scores)
    for cohort, of_tiles, folder, split in zip(cohorts, given.of_tiles, given.labels, given.splits, strict=True):
        traits = [trait for of, trait in scores if of == cohort]
        tables.append(
            grid_traits.traits_table(
                files.read_table(of_tiles, text=["trait", "note"]),
                labels.read_labels(folder, traits),
                pd.concat([scores[cohort, trait] for trait in traits], ignore_index=True),
                splits.read_splits(split),
                cohort=cohort,
                resamples=asked.resamples,
                seed=asked.seed,
            )
        )
    files.write_table(pd.concat(tables, ignore_index=True), snakemake.output.traits)
