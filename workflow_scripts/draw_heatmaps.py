"""Draw the scores of one map over each slide's thumbnail."""

from pathlib import Path

from workflow_scripts.lib import layers, provenance, tile_sources
from workflow_scripts.lib.figures import heatmaps, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    made_by = provenance.made_by(snakemake.rule, [], snakemake.params)
    found = layers.read_layers(
        snakemake.wildcards.map,
        maps=snakemake.input.get("maps"),
        sources=tile_sources.list_sources(
            snakemake.input.get("stores", []),
            tumour=snakemake.input.get("tumour", []),
            threshold=snakemake.params.tumour_threshold,
        ),
    )
    for layer, figure in heatmaps.heatmaps(found, stores=snakemake.input.thumbnails):
        style.save(figure, Path(snakemake.output.heatmaps) / f"{layer.slide_id}.png", made_by=made_by)
