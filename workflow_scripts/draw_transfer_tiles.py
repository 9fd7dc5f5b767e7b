"""Draw Fig. 2 of cross-cancer transfer: sample tiles of each cohort, as models see them."""

from workflow_scripts.lib import provenance, tile_sources
from workflow_scripts.lib.figures import style, transfer_tiles
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    found, asked = snakemake.input, snakemake.params
    sources = tile_sources.list_sources(found.stores, normalisations=found.stains)
    samples = transfer_tiles.read_samples(asked.slides, sources, found.labels, label=asked.label, seed=asked.seed)
    # The stores are all that was tiled: too much to be read for their digests.
    made_by = provenance.made_by(snakemake.rule, [], asked)
    style.save(transfer_tiles.sample_tiles(samples), snakemake.output.figure, made_by=made_by)
