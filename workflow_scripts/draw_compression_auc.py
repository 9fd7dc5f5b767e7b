"""Draw Fig. 4 of neural image compression: the AUC of each encoder, and its ROC curve."""

from workflow_scripts.lib import files, provenance, target_scores
from workflow_scripts.lib.figures import compression, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found, asked = snakemake.input, snakemake.params
    auc, roc = (files.read_table(path, text=target_scores.TEXT) for path in (found.auc, found.roc))
    figure = compression.auc_by_encoder(auc, roc, target=asked.target, title=asked.titles.get(asked.target, ""))
    made_by = provenance.made_by(snakemake.rule, found, asked)
    style.save(figure, snakemake.output.figure, made_by=made_by)
