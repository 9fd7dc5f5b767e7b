"""Find out which detectors of the study of cross-cancer transfer can be trained with the weights that are here."""

import pandas as pd

from workflow_scripts.lib import files, models
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    notes = {name: models.lacking_weights(trained) for name, trained in snakemake.params.weights.items()}
    table = pd.DataFrame({"regime": list(notes), "note": list(notes.values())})
    files.write_table(table, snakemake.output.regimes)
