"""Select the slides of the study of metastatic origin, and say which set each is in."""

from workflow_scripts.lib import files, origins, splits
from workflow_scripts.lib.cohorts import SHEET_TEXT
from workflow_scripts.lib.domains import DOMAINS
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    table = origins.select_slides(
        {domain: files.read_table(snakemake.input[domain], text=SHEET_TEXT) for domain in DOMAINS},
        {domain: splits.read_splits(snakemake.input[f"{domain}_splits"]) for domain in DOMAINS},
        classes=snakemake.params.classes,
        control=snakemake.params.control,
        balanced=snakemake.params.balanced,
        seed=snakemake.params.seed,
    )
    files.write_table(table, snakemake.output.slides)
