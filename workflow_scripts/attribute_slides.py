"""Say how much each patch of a slide adds to what the models that test it predict."""

from workflow_scripts.lib import slide_models, slide_targets
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked = snakemake.params
    slide_models.attribute(
        snakemake.output.attributions,
        slides=slide_targets.read_slides(snakemake.input.slides),
        grid_files={cohort: snakemake.input[f"{cohort}_grids"] for cohort in asked.cohorts},
        folder=snakemake.input.models,
        threads=asked.threads,
    )
