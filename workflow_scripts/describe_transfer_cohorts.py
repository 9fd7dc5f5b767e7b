"""Say of each annotated slide of the cross-cancer transfer study how much of it is tumour."""

from workflow_scripts.lib import detection_data, files
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found, asked = snakemake.input, snakemake.params
    table = detection_data.describe_slides(
        asked.slides,
        annotations=found.annotations,
        stores=found.stores,
        labels=found.labels,
        classes=asked.classes,
        label=asked.label,
    )
    files.write_table(table, snakemake.output.cohort)
