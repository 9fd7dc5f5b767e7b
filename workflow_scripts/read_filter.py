"""Give each tile of a slide its probability of being tumour, by a file of the user's own."""

from workflow_scripts.lib import own_scores, tiles
from workflow_scripts.lib.journal import logging_to
from workflow_scripts.lib.tile_scores import write_tile_scores

with logging_to(snakemake.log[0]), tiles.open_store(snakemake.input.store) as store:
    probabilities = own_scores.read_own_scores(
        snakemake.input.own,
        store.lattice,
        store.coords,
        size=(store.attributes["width"], store.attributes["height"]),
        classes=snakemake.params.classes,
        slide_id=snakemake.wildcards.slide,
    )
    write_tile_scores(snakemake.output.tumour, [(snakemake.wildcards.slide, store.coords, probabilities)])
