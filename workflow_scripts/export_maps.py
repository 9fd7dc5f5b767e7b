"""Write one map of each slide for other programs: QuPath's GeoJSON, OME-TIFF."""

from workflow_scripts.lib import exports, layers, tile_sources
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found = layers.read_layers(
        snakemake.wildcards.map,
        maps=snakemake.input.get("maps"),
        path_to_hti=snakemake.input.get("hti"),
        sources=tile_sources.list_sources(
            snakemake.input.get("stores", []),
            tumour=snakemake.input.get("tumour", []),
            threshold=snakemake.params.tumour_threshold,
        ),
    )
    for layer in found:
        exports.write_exports(snakemake.output.exports, layer, formats=snakemake.params.formats)
