# The doctor: what a run will need and miss, before it begins. `make doctor`, or the target `doctor`.
#
# Requires the assembled cohorts. Makes no file, so that it looks anew each time.


localrules:
    doctor,


rule doctor:
    input:
        all_tables_of_assembly,
    log:
        "results/input/logs/doctor.log",
    conda:
        "../envs/histocarta.yaml"
    params:
        cohorts=lambda wildcards: [what_the_doctor_asks(cohort) for cohort in examined_cohorts()],
        settings=study.tiles.model_dump(include={"tile_px", "mpp", "mpp_tolerance"})
        | {"rounds": study.splits.rounds, "chunks": study.predictions.chunks},
        backbone=study.training.backbone,
        weights=lambda wildcards: first_weights_of_trainings(),
        kept=study.downloads.keep_slides,
    script:
        "../workflow_scripts/doctor.py"
