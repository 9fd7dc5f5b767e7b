"""Draw what the slide-level networks looked at on every tested slide."""

from pathlib import Path

from workflow_scripts.lib import provenance
from workflow_scripts.lib.figures import compression_slides, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found, targets = snakemake.input, snakemake.params.targets
    attributions = dict(zip(targets, found.attributions, strict=True))
    made_by = provenance.made_by(snakemake.rule, [], snakemake.params)
    titles = {name: target["title"] for name, target in targets.items()}
    folder = Path(snakemake.output.maps)
    folder.mkdir(parents=True, exist_ok=True)
    for picture, looked in compression_slides.read_slides(attributions, found.stores, described=targets):
        figure = compression_slides.looked_at(picture, looked, titles=titles)
        style.save(figure, folder / f"{picture.slide_id}.png", made_by=made_by)
