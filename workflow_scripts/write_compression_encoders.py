"""Write the encoders' accuracies as a page, with the published values beside ours."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import compression_page, tables
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    table = files.read_table(snakemake.input.encoders, text=["encoder", "kind", "task"])
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    tables.save_page(compression_page.encoders_page(table), snakemake.output.page, made_by=made_by)
