"""Draw how the gain of each regime of cross-cancer transfer changes with the number of the target's slides."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import style, transfer
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found = snakemake.input
    figure = transfer.gain(*(files.read_table(path, text=["regime", "note"]) for path in (found.gain, found.regimes)))
    made_by = provenance.made_by(snakemake.rule, found, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
