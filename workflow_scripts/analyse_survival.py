"""Ask whether heterogeneity is linked to survival: groups, log-rank, Kaplan-Meier and Cox models."""

from pathlib import Path

from workflow_scripts.lib import clinical, files, labels, splits, survival
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    survival.analyse(
        files.read_table(snakemake.input.hti, text=["slide_id", "patient_id", "traits", "flag"]),
        files.read_table(snakemake.input.slides, text=["slide_id", "patient_id", "sample_type", "status"]),
        labels.read_labels(snakemake.input.labels, snakemake.params.traits),
        splits.read_splits(snakemake.input.splits),
        clinical.read_clinical(snakemake.input.clinical),
        folder=Path(snakemake.output.patients).parent,
        covariates=snakemake.params.covariates,
        categories=snakemake.params.categories,
        **snakemake.params.survival,
    )
