"""Draw each slide's heterogeneity map beside its thumbnail, and the maps of its traits."""

from pathlib import Path

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import cartography, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    hti = files.read_table(snakemake.input.hti, text=["slide_id", "traits", "flag"])
    made_by = provenance.made_by(snakemake.rule, [snakemake.input.hti], snakemake.params)
    for slide in cartography.read_slide_maps(hti, maps=snakemake.input.maps, stores=snakemake.input.stores):
        path = Path(snakemake.output.maps) / slide.cartography.slide_id
        style.save(cartography.heterogeneity_map(slide), f"{path}.png", made_by=made_by)
        style.save(cartography.trait_maps(slide.cartography), f"{path}_traits.png", made_by=made_by)
