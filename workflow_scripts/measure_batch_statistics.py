"""Measure a model's batch statistics anew on the unlabelled patches of photographs."""

from pathlib import Path

from workflow_scripts.lib import adaptation_training, stains, tile_sources
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked, found, wildcards = snakemake.params, snakemake.input, snakemake.wildcards
    parts = adaptation_training.labelled_parts(
        asked.slides,
        tile_sources.list_sources(found.stores, normalisations=found.stains),
        [],
        {},
        classes=asked.classes,
    )
    adaptation_training.measure_batch_statistics(
        Path(snakemake.output.weights).parent,
        identity={"method": wildcards.method, "seed": int(wildcards.seed)},
        starts_from=Path(found.start[0]).parent,
        target=parts["target"]["train"],
        batch_size=asked.batch_size,
        stain=stains.read_target(found.reference),
        seed=int(wildcards.seed),
        code_version=asked.code,
        threads=asked.threads,
    )
