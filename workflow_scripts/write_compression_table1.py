"""Write what is learnt from grids as a page, with the published values beside ours."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import compression_page, tables
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found = snakemake.input
    text = ["target", "encoder", "set", "first", "second", "risk", "direction", "kind", "task", "note"]
    read = [
        files.read_table(path, text=text)
        for path in (found.table1, found.auc, found.auc_tests, found.survival, found.encoders)
    ]
    page = compression_page.table1_page(*read, titles=snakemake.params.titles)
    made_by = provenance.made_by(snakemake.rule, found, snakemake.params)
    tables.save_page(page, snakemake.output.page, made_by=made_by)
