"""Fetch the clinical file of a study's patients from cBioPortal, and note where and when it came from."""

from workflow_scripts.lib import downloads, web
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    portals = snakemake.config["downloads"]
    downloads.fetch_and_pin(
        f"{portals['cbioportal']}/{snakemake.wildcards.portal_study}/data_clinical_patient.txt",
        snakemake.output.table,
        snakemake.output.pin,
        patience=web.Patience(**portals["patience"]),
    )
