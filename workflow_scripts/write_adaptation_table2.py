"""Write Table 2 of microscope adaptation as a page, with paired tests and the published values beside ours."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import adaptation_page, tables
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found, text = snakemake.input, ["method", "title", "domain", "labelled", "measure", "first", "second", "note"]
    read = [files.read_table(path, text=text) for path in (found.table2, found.tests, found.seeds)]
    page = adaptation_page.table2_page(*read, snakemake.params.methods)
    tables.save_page(page, snakemake.output.page, made_by=provenance.made_by(snakemake.rule, found, snakemake.params))
