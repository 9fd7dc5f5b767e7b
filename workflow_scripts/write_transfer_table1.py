"""Write Table 1 of cross-cancer transfer as a page, with the published values beside ours."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import tables, transfer_page
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found, text = snakemake.input, ["regime", "level", "slide", "first", "second", "note"]
    read = [files.read_table(path, text=text) for path in (found.table1, found.tests, found.regimes)]
    page = transfer_page.table1_page(*read, in_paper=snakemake.params.in_paper)
    made_by = provenance.made_by(snakemake.rule, found, snakemake.params)
    tables.save_page(page, snakemake.output.page, made_by=made_by)
