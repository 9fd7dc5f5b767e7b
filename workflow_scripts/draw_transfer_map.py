"""Draw the probability of tumour over one held-out slide of cross-cancer transfer, by regime."""

from workflow_scripts.lib import detection_data, files, provenance, tumour_filters
from workflow_scripts.lib.figures import style, transfer_slides
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found, asked = snakemake.input, snakemake.params
    example = transfer_slides.read_example(
        files.read_table(found.cohort, text=detection_data.SLIDE),
        found.annotations,
        found.stores,
        {
            regime: tumour_filters.read_judged_tiles([path])
            for regime, path in zip(asked.regimes, found.tiles, strict=True)
        },
        target=asked.target,
        classes=asked.classes,
        label=asked.label,
    )
    tables = [
        files.read_table(path, text=["regime", "level", "slide", "note"]) for path in (found.regimes, found.table1)
    ]
    made_by = provenance.made_by(snakemake.rule, [found.cohort, found.table1, found.regimes], asked)
    style.save(transfer_slides.probability_maps(example, *tables), snakemake.output.figure, made_by=made_by)
