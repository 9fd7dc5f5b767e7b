"""Score all methods of microscope adaptation on the held-out patches of slides and of photographs."""

from workflow_scripts.lib import adaptation_scores
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked = snakemake.params
    adaptation_scores.write_tables(
        snakemake.output,
        paths_to_predictions=dict(zip(asked.predictions, snakemake.input.predictions, strict=True)),
        slides=asked.slides,
        methods=asked.methods,
        classes=asked.classes,
        paths_to_labels=dict(zip(asked.annotated, snakemake.input.labels, strict=True)),
        slide_labels=asked.slide_labels,
        exported=asked.exported,
        resamples=asked.resamples,
        seed=asked.seed,
    )
