"""Train a tumour filter on the tiles of annotated slides."""

from pathlib import Path

from workflow_scripts.lib import stains, tile_sources, tumour_filters
from workflow_scripts.lib.journal import logging_to
from workflow_scripts.lib.tile_models import train_model
from workflow_scripts.lib.training_data import LabelledSlide


def labelled_slides():
    """The slides of each set whose annotations were read."""
    sources = iter(tile_sources.list_sources(snakemake.input.stores, normalisations=snakemake.input.stains))
    tables = iter(snakemake.input.labels)
    found = {}
    # Files are listed in the order of the slides, set by set.
    for name, places in snakemake.params.slides.items():
        found[name] = []
        for cohort, slide in places:
            source = next(sources)
            annotated = tumour_filters.annotated_tiles(next(tables), label=snakemake.params.label)
            if len(annotated):
                coords, _ = tile_sources.places(source)
                labels = tumour_filters.labels_of(annotated, coords)
                found[name].append(LabelledSlide(f"{cohort}/{slide}", source, labels))
    return found


# Worker processes may import this file again, and must not start over.
if __name__ == "__main__":
    with logging_to(snakemake.log[0]):
        slides = labelled_slides()
        tumour_filters.check_labels(
            {name: [slide.label for slide in of] for name, of in slides.items()},
            name=snakemake.wildcards.filter,
        )
        train_model(
            Path(snakemake.output.weights).parent,
            identity={"trait": "tumour", "round": 1},
            training=slides["train"],
            validation=slides["validation"],
            settings=snakemake.params.training,
            stain=stains.read_target(snakemake.input.reference),
            tile_threshold=0.5,
            seed=snakemake.params.seed,
            code_version=snakemake.params.code,
            workers=snakemake.resources.decoders,
        )
