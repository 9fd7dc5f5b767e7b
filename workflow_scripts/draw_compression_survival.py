"""Draw Figs. 5 and 6 of neural image compression: survival of patients above and at most the median risk."""

from workflow_scripts.lib import files, provenance, target_scores
from workflow_scripts.lib.figures import compression, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found, asked, text = snakemake.input, snakemake.params, [*target_scores.TEXT, "group"]
    risks, curves = (files.read_table(path, text=text) for path in (found.risks, found.survival_curves))
    table = files.read_table(found.survival, text=[*text, "risk", "direction"])
    figure = compression.risk_curves(table, risks, curves, encoders=asked.encoders, titles=asked.titles)
    made_by = provenance.made_by(snakemake.rule, found, asked)
    style.save(figure, snakemake.output.figure, made_by=made_by)
