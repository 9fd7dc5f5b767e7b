"""Rank the models of each trait by how they did on their validation sets, and name its ensemble."""

import pandas as pd

from workflow_scripts.lib import ensembles, files
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    scores = pd.concat([files.read_table(path) for path in snakemake.input.scores], ignore_index=True)
    files.write_table(ensembles.rank_models(scores, members=snakemake.params.members), snakemake.output.ensembles)
