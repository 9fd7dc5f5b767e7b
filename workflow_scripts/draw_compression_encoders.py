"""Draw how the encoders learned."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import compression_learning, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found, names = snakemake.input, snakemake.params.encoders
    curves = {name: files.read_table(path) for name, path in zip(names, found.curves, strict=True)}
    table = files.read_table(found.encoders, text=["encoder", "kind", "task"])
    made_by = provenance.made_by(snakemake.rule, found, snakemake.params)
    style.save(compression_learning.encoders(curves, table), snakemake.output.figure, made_by=made_by)
