"""Draw the numbers that are learnt from grids, predicted against true."""

from workflow_scripts.lib import files, provenance, target_scores
from workflow_scripts.lib.figures import compression, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found, asked = snakemake.input, snakemake.params
    tables = [files.read_table(path, text=target_scores.TEXT) for path in (found.numbers, found.table1)]
    figure = compression.numbers(*tables, encoders=asked.encoders, titles=asked.titles)
    made_by = provenance.made_by(snakemake.rule, found, asked)
    style.save(figure, snakemake.output.figure, made_by=made_by)
