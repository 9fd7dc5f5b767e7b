"""Write Table 1 of microscope adaptation as a page, with the published values beside ours."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import adaptation_page, tables
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    page = adaptation_page.table1_page(files.read_table(snakemake.input.data, text=["domain", "set", "class"]))
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    tables.save_page(page, snakemake.output.page, made_by=made_by)
