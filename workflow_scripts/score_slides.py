"""Score each slide by its share of positive tiles, for each model and for each trait's ensemble."""

from workflow_scripts.lib import evaluation, files
from workflow_scripts.lib.cohorts import SHEET_TEXT
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    scores = evaluation.score_slides(
        snakemake.input.predictions,
        files.read_table(snakemake.input.sheet, text=SHEET_TEXT),
        files.read_table(snakemake.input.ensembles, text=["trait"]),
        threshold=snakemake.params.tile_threshold,
    )
    files.write_table(scores, snakemake.output.scores)
