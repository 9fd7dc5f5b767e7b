"""Draw patches of each class, of slides and of photographs."""

from workflow_scripts.lib import adaptation_scores, files, provenance, tile_sources
from workflow_scripts.lib.figures import adaptation_examples, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found, asked = snakemake.input, snakemake.params
    sources = tile_sources.list_sources(found.stores)
    places = [(slide["domain"], slide["slide_id"]) for slide in asked.slides]
    examples = adaptation_examples.read_examples(
        files.read_table(found.patches, text=adaptation_scores.TEXT),
        dict(zip(places, sources, strict=True)),
        classes=asked.classes,
        seed=asked.seed,
    )
    made_by = provenance.made_by(snakemake.rule, found, asked)
    style.save(adaptation_examples.example_patches(examples), snakemake.output.figure, made_by=made_by)
