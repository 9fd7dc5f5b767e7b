"""Train the models of a target on the grids of an encoder."""

from workflow_scripts.lib import slide_models, slide_targets
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked = snakemake.params
    slide_models.train_slide_models(
        snakemake.output.models,
        folder_of_states=asked.states,
        target=snakemake.wildcards.target,
        encoder=snakemake.wildcards.encoder,
        kind=asked.kind,
        classes=asked.classes,
        slides=slide_targets.read_slides(snakemake.input.slides),
        grid_files={cohort: snakemake.input[f"{cohort}_grids"] for cohort in asked.cohorts},
        network=asked.network,
        settings=asked.training,
        seed=asked.seed,
        code_version=asked.code,
    )
