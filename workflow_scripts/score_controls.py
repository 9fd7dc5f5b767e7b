"""Score the negative controls: models of shuffled expression, and survival drawn independently of the HTI."""

import pandas as pd

from workflow_scripts.lib import cartography, controls, files, labels, scoring, splits, survival
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    traits = (snakemake.params.trait_a, snakemake.params.trait_b)
    shuffles = snakemake.params.shuffles
    names = [controls.shuffled_name(trait, shuffle) for trait in traits for shuffle in range(1, shuffles + 1)]
    shuffled = controls.score_shuffles(
        scoring.read_truth_tiles(snakemake.input.truth, trait_a=traits[0], trait_b=traits[1]),
        scoring.predicted_tiles(cartography.maps_in(snakemake.input.maps), names),
        labels.read_labels(snakemake.input.labels, names),
        splits.read_splits(snakemake.input.splits),
        traits=traits,
        shuffles=shuffles,
    )
    files.write_table(shuffled, snakemake.output.shuffled)
    patients = survival.read_patients(snakemake.input.patients)
    drawn = scoring.survival_uniformity(patients, draws=snakemake.params.draws, seed=snakemake.params.seed)
    files.write_table(pd.DataFrame({"p": drawn.p_values}), snakemake.output.survival)
    uniformity = {"draws": [len(drawn.p_values)], "patients": [len(patients)], "ks_p": [drawn.ks_p]}
    files.write_table(pd.DataFrame(uniformity), snakemake.output.uniformity)
