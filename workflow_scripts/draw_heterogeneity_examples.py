"""Draw the page of Fig. 3: slides of low, middle and high heterogeneity."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import cartography, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    examples = cartography.choose_examples(files.read_table(snakemake.input.hti, text=["slide_id", "traits", "flag"]))
    slides = cartography.read_slide_maps(examples, maps=snakemake.input.maps, stores=snakemake.input.stores)
    figure = cartography.heterogeneity_examples(slides)
    made_by = provenance.made_by(snakemake.rule, [snakemake.input.hti], snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
