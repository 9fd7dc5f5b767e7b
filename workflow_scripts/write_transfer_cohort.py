"""Write what the cohorts of cross-cancer transfer are made of as a page, with the published values beside ours."""

from workflow_scripts.lib import detection_data, files, provenance
from workflow_scripts.lib.figures import tables, transfer_page
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    table = files.read_table(snakemake.input.cohort, text=detection_data.SLIDE)
    page = transfer_page.cohort_page(table, target=snakemake.params.target)
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    tables.save_page(page, snakemake.output.page, made_by=made_by)
