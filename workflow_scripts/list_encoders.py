"""List the encoders, with their accuracy on validation patches."""

from pathlib import Path

from workflow_scripts.lib import encoder_scores, files
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    folders = [Path(path).parent for path in snakemake.input.models]
    table = encoder_scores.encoder_table(snakemake.params.kinds, folders)
    files.write_table(table, snakemake.output.encoders)
