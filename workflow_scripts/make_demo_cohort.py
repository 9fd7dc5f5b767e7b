"""Generate the demo cohort: slides, annotations, tables and their truth."""

from pathlib import Path

from workflow_scripts.lib.demo.cohort import make_cohort
from workflow_scripts.lib.journal import logging_to

# Worker processes import this file again, and must not start over.
if __name__ == "__main__":
    with logging_to(snakemake.log[0]):
        make_cohort(
            Path(snakemake.output.manifest).parent,
            truth_folder=Path(snakemake.output.truth_tiles).parent,
            tile_px=snakemake.params.tile_px,
            tile_mpp=snakemake.params.mpp,
            processes=snakemake.threads,
            **snakemake.params.cohort,
        )
