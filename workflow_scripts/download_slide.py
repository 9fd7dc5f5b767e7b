"""Download one slide from the GDC, or say in its place why there is none."""

import sys
from pathlib import Path

from workflow_scripts.lib import slide_files, web
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    portals = snakemake.config["downloads"]
    line = slide_files.download(
        snakemake.output.slide,
        slide_files.read(snakemake.input.files),
        # The run that this job is of holds this file since it began.
        run_began_s=Path("results/.held").stat().st_mtime,
        api=portals["gdc"],
        token_file=portals["token_file"],
        patience=web.Patience(**portals["patience"]),
    )
    print(line, file=sys.stderr)
