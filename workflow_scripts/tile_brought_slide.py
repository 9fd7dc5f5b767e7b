"""Cut one slide into tiles, or say why it cannot be used; one that is not here is downloaded for it and deleted."""

from contextlib import nullcontext
from pathlib import Path

from workflow_scripts.lib import slide_files, tiles
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    portal = slide_files.Portal.of(snakemake.config["downloads"])
    began_s = Path("results/.held").stat().st_mtime
    path = snakemake.params.brought
    here = nullcontext(next(iter(snakemake.input), None))
    with slide_files.brought(path, portal=portal, run_began_s=began_s) if path else here as slide:
        tiles.tile_slide(
            slide,
            snakemake.output.store,
            slide_id=snakemake.wildcards.slide,
            configured_mpp=snakemake.params.configured_mpp,
            md5=snakemake.params.md5,
            code_version=snakemake.params.code,
            threads=snakemake.threads,
            photograph=snakemake.params.photograph,
            **snakemake.params.tiles,
        )
