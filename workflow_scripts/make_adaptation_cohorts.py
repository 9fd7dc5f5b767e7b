"""Generate the cohorts of the study of microscope adaptation: slides, and photographs of others, with annotations."""

from pathlib import Path

from workflow_scripts.lib.demo.adaptation import make_adaptation_cohorts
from workflow_scripts.lib.journal import logging_to

# Worker processes import this file again, and must not start over.
if __name__ == "__main__":
    with logging_to(snakemake.log[0]):
        make_adaptation_cohorts(
            Path(snakemake.output.split).parent,
            names=snakemake.params.names,
            tile_px=snakemake.params.tile_px,
            tile_mpp=snakemake.params.mpp,
            processes=snakemake.threads,
            **snakemake.params.cohorts,
        )
