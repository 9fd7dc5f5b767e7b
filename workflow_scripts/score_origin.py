"""Judge the regimes on the held-out metastases: AUROC, paired tests, confusion, ranks of the true class."""

from workflow_scripts.lib import origin_scores
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    origin_scores.write_tables(
        dict(snakemake.output.items()),
        path_to_predictions=snakemake.input.predictions,
        path_to_slides=snakemake.input.slides,
        regimes=snakemake.params.regimes,
        classes=snakemake.params.classes,
        resamples=snakemake.params.resamples,
        seed=snakemake.params.seed,
    )
