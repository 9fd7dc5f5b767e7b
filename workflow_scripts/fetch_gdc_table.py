"""Fetch a table from the GDC by its fixed id, and note where and when it came from."""

from workflow_scripts.lib import downloads, gdc, web
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    portals = snakemake.config["downloads"]
    downloads.fetch_and_pin(
        gdc.url_of_file(snakemake.params.id, api=portals["gdc"]),
        snakemake.output.table,
        snakemake.output.pin,
        token_file=portals["token_file"],
        patience=web.Patience(**portals["patience"]),
    )
