"""Generate the cohorts of the study of neural image compression: four patch tasks, and metastases of two hospitals."""

from pathlib import Path

from workflow_scripts.lib.demo.compression import make_compression_cohorts
from workflow_scripts.lib.journal import logging_to

# Worker processes import this file again, and must not start over.
if __name__ == "__main__":
    with logging_to(snakemake.log[0]):
        make_compression_cohorts(
            Path(snakemake.output.split).parent,
            prefix=snakemake.params.prefix,
            genes=snakemake.params.genes,
            tile_px=snakemake.params.tile_px,
            tile_mpp=snakemake.params.mpp,
            processes=snakemake.threads,
            **snakemake.params.cohorts,
        )
