"""Draw how the slide-level networks learned."""

from workflow_scripts.lib import provenance
from workflow_scripts.lib.figures import compression_learning, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked = snakemake.params
    trained = compression_learning.read_models(asked.models, [of["curve"] for of in asked.models])
    made_by = provenance.made_by(snakemake.rule, snakemake.input, asked)
    figure = compression_learning.slide_models(trained, titles=asked.titles)
    style.save(figure, snakemake.output.figure, made_by=made_by)
