"""Look up today's ids of a cohort's slides at the GDC, and check that the disk holds those that are to come."""

from workflow_scripts.lib import files, slide_files, web
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    portals = snakemake.config["downloads"]
    found = slide_files.resolve(snakemake.input.sheet, api=portals["gdc"], patience=web.Patience(**portals["patience"]))
    slide_files.check_disk(
        found,
        snakemake.input.sheet,
        f"results/{snakemake.wildcards.cohort}/slides",
        kept=portals["keep_slides"],
        at_once=portals["at_once"],
    )
    files.write_table(found, snakemake.output.files)
