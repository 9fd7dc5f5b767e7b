"""Classify the held-out photographs with the exported model, as the command does those of a folder."""

from pathlib import Path

from workflow_scripts.classify_photographs import write_classes
from workflow_scripts.lib import exported_models
from workflow_scripts.lib.journal import logging_to
from workflow_scripts.lib.photograph_classes import Photograph

with logging_to(snakemake.log[0]):
    named = zip(snakemake.input.photographs, snakemake.params.mpp, strict=True)
    write_classes(
        [Photograph(Path(path).name, Path(path), mpp) for path, mpp in named],
        exported_models.open_model(snakemake.input.model, threads=snakemake.params.threads),
        Path(snakemake.output.classified),
    )
