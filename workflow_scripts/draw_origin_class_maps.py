"""Draw the probability of each class over every held-out slide."""

from pathlib import Path

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import class_maps, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    slides = class_maps.of_last_regime(
        files.read_table(snakemake.input.slides, text=["regime", "slide_id", "patient_id", "class"])
    )
    made_by = provenance.made_by(snakemake.rule, [snakemake.input.slides], snakemake.params)
    folder = Path(snakemake.output.maps)
    folder.mkdir(parents=True, exist_ok=True)
    for slide in class_maps.read_class_maps(
        slides, probabilities=snakemake.input.predictions, stores=snakemake.input.stores
    ):
        style.save(class_maps.class_map(slide), folder / f"{slide.slide_id}.png", made_by=made_by)
