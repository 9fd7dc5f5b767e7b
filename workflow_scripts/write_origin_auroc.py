"""Write the AUROCs of the metastatic origin study as a page, with the published means beside them."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import origin_page, tables
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    page = origin_page.auroc_page(
        files.read_table(snakemake.input.auroc, text=["regime", "class", "level", "note"]),
        files.read_table(snakemake.input.tests, text=["level", "first", "second", "note"]),
        files.read_table(snakemake.input.top_k, text=["regime"]),
    )
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    tables.save_page(page, snakemake.output.page, made_by=made_by)
