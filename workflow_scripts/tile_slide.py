"""Cut one slide into tiles, or say why it cannot be used."""

from workflow_scripts.lib import tiles
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    tiles.tile_slide(
        next(iter(snakemake.input), None),
        snakemake.output.store,
        slide_id=snakemake.wildcards.slide,
        configured_mpp=snakemake.params.configured_mpp,
        md5=snakemake.params.md5,
        code_version=snakemake.params.code,
        threads=snakemake.threads,
        photograph=snakemake.params.photograph,
        **snakemake.params.tiles,
    )
