"""Ask the GDC for a project's open diagnostic slides, and pin the answer as a manifest."""

from workflow_scripts.lib import gdc, web
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    portals = snakemake.config["downloads"]
    answer = gdc.query_manifest(
        snakemake.params.project, api=portals["gdc"], patience=web.Patience(**portals["patience"])
    )
    gdc.write_manifest(answer, snakemake.output.manifest, snakemake.output.pin)
