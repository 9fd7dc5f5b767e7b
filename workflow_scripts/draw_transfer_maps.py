"""Draw the probability of tumour over every held-out slide of cross-cancer transfer, by regime."""

from pathlib import Path

from workflow_scripts.lib import files, provenance, tumour_filters
from workflow_scripts.lib.figures import style, transfer_slides
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found, asked = snakemake.input, snakemake.params
    judged = {
        regime: tumour_filters.read_judged_tiles([path])
        for regime, path in zip(asked.regimes, found.tiles, strict=True)
    }
    tables = [
        files.read_table(path, text=["regime", "level", "slide", "note"]) for path in (found.regimes, found.table1)
    ]
    made_by = provenance.made_by(snakemake.rule, [found.table1, found.regimes], asked)
    folder = Path(snakemake.output.maps)
    folder.mkdir(parents=True, exist_ok=True)
    for detection in transfer_slides.read_detections(
        found.annotations, found.stores, judged, classes=asked.classes, label=asked.label
    ):
        figure = transfer_slides.probability_maps(detection, *tables)
        style.save(figure, folder / f"{detection.slide.slide_id}.png", made_by=made_by)
