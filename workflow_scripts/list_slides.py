"""List a cohort's slides with the verdict on each: accepted with so many tiles, or excluded for a reason."""

from workflow_scripts.lib import cohorts, files, verdicts
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    sheet = files.read_table(snakemake.input.sheet, text=cohorts.SHEET_TEXT)
    files.write_table(verdicts.list_slides(sheet, snakemake.input.stores), snakemake.output.slides)
