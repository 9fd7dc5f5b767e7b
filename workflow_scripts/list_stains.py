"""List what was found of the stains of a cohort's slides, and which of them keep their colours."""

from pathlib import Path

from workflow_scripts.lib import files, stained_slides, stains
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found = {Path(path).stem: stains.read_normalisation(path) for path in snakemake.input.stains}
    files.write_table(stained_slides.list_stains(found), snakemake.output.stains)
