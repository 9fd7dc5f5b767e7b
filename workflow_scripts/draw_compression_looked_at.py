"""Draw what the slide-level network of each target looked at, on the slides that it is surest of either way."""

from workflow_scripts.lib import provenance
from workflow_scripts.lib.figures import compression_slides, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found, targets = snakemake.input, snakemake.params.targets
    attributions, predictions = (
        dict(zip(targets, paths, strict=True)) for paths in (found.attributions, found.predictions)
    )
    examples = compression_slides.read_examples(attributions, predictions, found.stores, described=targets)
    figure = compression_slides.examples(examples, described=targets)
    made_by = provenance.made_by(snakemake.rule, found.predictions, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
