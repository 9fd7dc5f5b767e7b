"""Write Tables 2 and 3 of neural image compression as a page, with the published values beside ours."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import compression_page, tables
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found = snakemake.input
    read = [
        files.read_table(path, text=["encoder", "task", "note"])
        for path in (found.ablation, found.by_number, found.by_task)
    ]
    page = compression_page.table2_page(*read, title=snakemake.params.title)
    made_by = provenance.made_by(snakemake.rule, found, snakemake.params)
    tables.save_page(page, snakemake.output.page, made_by=made_by)
