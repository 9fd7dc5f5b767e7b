"""Count the pixels of the held-out slides by a regime's probability of tumour, and by what the annotations say."""

from workflow_scripts.lib import probability_maps
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked = snakemake.params
    probability_maps.count_pixels(
        snakemake.output.pixels,
        path_to_tiles=snakemake.input.tiles,
        paths_to_stores=snakemake.input.stores,
        paths_to_annotations=snakemake.input.annotations,
        classes=asked.classes,
        label=asked.label,
        mpp=asked.mpp,
        interpolation=asked.interpolation,
        domain=asked.domain,
    )
