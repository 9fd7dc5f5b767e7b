"""Draw Fig. 1 of neural image compression: slides beside their grids."""

from workflow_scripts.lib import provenance
from workflow_scripts.lib.figures import compression_slides, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    grids = compression_slides.read_grids(snakemake.input.grids, snakemake.input.stores)
    figure = compression_slides.grids(grids, encoder=snakemake.params.encoder)
    # Grids and stores are too much to be read for their digests.
    made_by = provenance.made_by(snakemake.rule, [], snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
