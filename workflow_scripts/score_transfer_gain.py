"""Judge the regimes by how many of the target's slides they learnt from."""

from workflow_scripts.lib import files, transfer_scores
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked = snakemake.params
    gain = transfer_scores.gain_table(
        dict(zip(map(tuple, asked.learnt_from), snakemake.input.tiles, strict=True)),
        path_to_regimes=snakemake.input.regimes,
        resamples=asked.resamples,
        seed=asked.seed,
    )
    files.write_table(gain, snakemake.output.gain)
