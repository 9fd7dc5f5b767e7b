"""Draw Fig. 4: survival of patients with heterogeneous and with homogeneous tumours."""

from workflow_scripts.lib import files, provenance, survival
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.figures import survival as figures
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    patients = survival.read_patients(snakemake.input.patients)
    tests = files.read_table(snakemake.input.logrank, text=["direction", "note"])
    figure = figures.survival_curves(figures.comparisons_by_hti(patients, tests))
    made_by = provenance.made_by(snakemake.rule, snakemake.input, snakemake.params)
    style.save(figure, snakemake.output.figure, made_by=made_by)
