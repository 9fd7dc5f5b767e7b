"""Lay each slide's votes and probabilities out on its lattice."""

from workflow_scripts.lib import files, mapping, tile_sources
from workflow_scripts.lib.cohorts import SHEET_TEXT
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    mapping.map_slides(
        snakemake.output.maps,
        sheet=files.read_table(snakemake.input.sheet, text=SHEET_TEXT),
        sources=tile_sources.list_sources(
            snakemake.input.stores,
            tumour=snakemake.input.tumour,
            threshold=snakemake.params.tumour_threshold,
        ),
        predictions=snakemake.input.predictions,
        ensembles=files.read_table(snakemake.input.ensembles, text=["trait"]),
        traits=snakemake.params.traits,
        threshold=snakemake.params.tile_threshold,
    )
