"""Predict a target of the slides that its models do not learn from."""

from workflow_scripts.lib import slide_models, slide_targets
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked = snakemake.params
    slide_models.predict_targets(
        snakemake.output.predictions,
        target=snakemake.wildcards.target,
        encoder=snakemake.wildcards.encoder,
        slides=slide_targets.read_slides(snakemake.input.slides),
        grid_files={cohort: snakemake.input[f"{cohort}_grids"] for cohort in asked.cohorts},
        folder=snakemake.input.models,
        threads=asked.threads,
    )
