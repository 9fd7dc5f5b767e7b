"""Draw tiles of a cohort's slides before and after they are recoloured, and the stains of all slides."""

from pathlib import Path

from workflow_scripts.lib import files, provenance, stained_slides
from workflow_scripts.lib.figures import stains, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    table = files.read_table(snakemake.input.table, text=stained_slides.TABLE_TEXT)
    stores, normalisations = (
        {Path(path).stem: path for path in paths} for paths in (snakemake.input.stores, snakemake.input.stains)
    )
    figure = stains.before_and_after(
        table,
        stains.read_examples(table, stores, normalisations),
        stained_slides.read_reference(snakemake.input.reference),
        reference=snakemake.params.reference,
    )
    # The stores are all that was tiled: too much to be read for their digests.
    made_by = provenance.made_by(snakemake.rule, [snakemake.input.table, snakemake.input.reference], snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
