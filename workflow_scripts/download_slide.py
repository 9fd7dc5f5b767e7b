"""Download one slide from the GDC, or say in its place why there is none."""

import sys
from pathlib import Path

from workflow_scripts.lib import slide_files
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    line = slide_files.download(
        snakemake.output.slide,
        portal=slide_files.Portal.of(snakemake.config["downloads"]),
        # The run that this job is of holds this file since it began.
        run_began_s=Path("results/.held").stat().st_mtime,
    )
    print(line, file=sys.stderr)
