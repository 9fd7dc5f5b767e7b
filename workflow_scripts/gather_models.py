"""Gather what it takes to apply a cohort's models to other slides."""

from pathlib import Path

from workflow_scripts.lib import evaluation, files, model_sets, tile_sources
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked = snakemake.params
    model_sets.gather(
        snakemake.output.models,
        path_to_ensembles=snakemake.input.ensembles,
        training=Path(snakemake.input.ensembles).parent / "training",
        tumour_filter=next((Path(path).parent for path in snakemake.input.filter), None),
        reference=next(iter(snakemake.input.reference), None),
        settings={
            "title": asked.title,
            "traits": asked.traits,
            "heterogeneity_traits": asked.heterogeneity_traits
            or evaluation.choose_traits(files.read_table(snakemake.input.table1, text=["trait"])),
            "tiles": asked.tiles,
            "stain": asked.stain,
            "predictions": asked.predictions,
            "heterogeneity": asked.heterogeneity,
            "tumour_filter": asked.tumour_filter,
            "tumour_threshold": tile_sources.read_threshold(asked.tumour_threshold),
            "code_version": asked.code,
        },
    )
