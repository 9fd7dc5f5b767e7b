"""Draw the ROC curves of the regimes of cross-cancer transfer, by tile and by pixel."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import style, transfer
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found, text = snakemake.input, ["regime", "level", "slide", "note"]
    figure = transfer.roc_curves(
        *(files.read_table(path, text=text) for path in (found.roc, found.table1, found.regimes))
    )
    made_by = provenance.made_by(snakemake.rule, found, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
