"""Draw how the regimes of cross-cancer transfer learned."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import style, transfer
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found, regimes = snakemake.input, snakemake.params.regimes
    curves = {regime: files.read_table(path) for regime, path in zip(regimes, found.curves, strict=True)}
    figure = transfer.learning_curves(curves, files.read_table(found.regimes, text=["regime", "note"]))
    made_by = provenance.made_by(snakemake.rule, found, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
