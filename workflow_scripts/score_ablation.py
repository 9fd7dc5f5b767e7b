"""Judge which tasks help an encoder: Tables 2 and 3 of neural image compression, and Fig. 3."""

from workflow_scripts.lib import encoder_scores, target_scores
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found, asked = snakemake.input, snakemake.params
    (target,) = target_scores.read(asked.target, [found.target], found.predictions)
    encoder_scores.write_ablation(
        dict(snakemake.output.items()), target, asked.tasks, resamples=asked.resamples, seed=asked.seed
    )
