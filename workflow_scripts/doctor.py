"""Say what a run of the configured study will need, and what it will miss."""

import torch

from workflow_scripts.lib import doctor
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    examined = [doctor.examine_cohort(**cohort, **snakemake.params.settings) for cohort in snakemake.params.cohorts]
reports, estimates = zip(*examined, strict=True)
machine = doctor.examine_machine(gpus=torch.cuda.device_count(), backbone=snakemake.params.backbone)
machine.append(doctor.examine_disk("results", estimates, kept=snakemake.params.kept))
machine += doctor.examine_weights(**snakemake.params.weights)
print("\n\n".join([doctor.report("This machine", machine), *reports]))
