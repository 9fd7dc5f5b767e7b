"""Draw the negative controls."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import recovery, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    figure = recovery.negative_controls(
        files.read_table(snakemake.input.shuffled, text=["trait", "measure"]),
        files.read_table(snakemake.input.survival)["p"].to_numpy(),
        ks_p=files.read_table(snakemake.input.uniformity)["ks_p"].iloc[0],
        tolerance=snakemake.params.tolerance,
    )
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
