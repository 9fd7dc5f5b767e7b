"""Draw Fig. 4A of metastatic origin: the probability of each class over one held-out slide."""

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.figures import class_maps, style
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    chosen = class_maps.choose_slide(
        files.read_table(snakemake.input.ranks, text=["regime", "slide_id"]),
        files.read_table(snakemake.input.slides, text=["regime", "slide_id", "patient_id", "class"]),
    )
    made_by = provenance.made_by(snakemake.rule, [snakemake.input.ranks, snakemake.input.slides], snakemake.params)
    figure = class_maps.example(chosen, probabilities=snakemake.input.predictions, stores=snakemake.input.stores)
    style.save(figure, snakemake.output.figure, made_by=made_by)
