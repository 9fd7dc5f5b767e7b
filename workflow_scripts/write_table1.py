"""Write Table 1 as a page, with the published values beside it."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import tables
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    page = tables.table1(
        files.read_table(snakemake.input.table1, text=["trait", "note"]), cohort=snakemake.params.title
    )
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    tables.save_page(page, snakemake.output.page, made_by=made_by)
