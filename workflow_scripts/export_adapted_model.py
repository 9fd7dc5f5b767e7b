"""Export a method's model as one file, by which photographs are classified anywhere."""

from pathlib import Path

from workflow_scripts.lib import model_export
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    model_export.export(
        snakemake.output.model,
        path_to_model=Path(snakemake.input.weights).parent,
        tiles=snakemake.params.tiles,
        method=snakemake.params.method,
        code_version=snakemake.params.code,
    )
