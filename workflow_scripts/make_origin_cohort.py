"""Generate the cohort of the study of metastatic origin: slides, sheets, the split, and annotations."""

from pathlib import Path

from workflow_scripts.lib.demo.origins import make_origin_cohort
from workflow_scripts.lib.journal import logging_to

# Worker processes import this file again, and must not start over.
if __name__ == "__main__":
    with logging_to(snakemake.log[0]):
        make_origin_cohort(
            Path(snakemake.output.split).parent,
            classes=snakemake.params.classes,
            control=snakemake.params.control,
            tile_px=snakemake.params.tile_px,
            tile_mpp=snakemake.params.mpp,
            processes=snakemake.threads,
            **snakemake.params.cohort,
        )
