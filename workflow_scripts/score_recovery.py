"""Score what the chain found against the known truth, which nothing before this has read."""

from workflow_scripts.lib import cartography, files, labels, scoring, splits
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    traits = [snakemake.params.trait_a, snakemake.params.trait_b]
    truth = scoring.read_truth_tiles(snakemake.input.truth, trait_a=traits[0], trait_b=traits[1])
    found = scoring.predicted_tiles(cartography.maps_in(snakemake.input.maps), traits)
    scores = files.read_table(snakemake.input.scores, text=["slide_id", "patient_id", "trait", "model"])
    hti = files.read_table(snakemake.input.hti, text=["slide_id", "patient_id", "traits", "flag"])
    tables = labels.read_labels(snakemake.input.labels, traits)
    split = splits.read_splits(snakemake.input.splits)
    denominator = snakemake.params.denominator
    table = scoring.recovery_table(truth, found, scores, hti, tables, split, denominator=denominator)
    files.write_table(table, snakemake.output.recovery)
    unseen = {trait: scoring.unseen_slides(tables[trait], split) for trait in traits}
    slides = scoring.recovered_slides(
        scoring.truth_of_slides(truth, traits, denominator=denominator), scores, hti, unseen
    )
    files.write_table(slides, snakemake.output.slides)
