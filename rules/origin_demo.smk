# The generated cohort of the study of metastatic origin: primaries and metastases of many classes.
#
# Requires nothing. Makes what a user would bring, under results/origin/input/: slides and their sheets, a split, and
# annotations of some slides.


rule make_origin_cohort:
    output:
        primary="results/origin/input/primary.tsv",
        metastatic="results/origin/input/metastatic.tsv",
        split="results/origin/input/split.tsv",
        primary_slides=directory("results/origin/input/primary"),
        metastatic_slides=directory("results/origin/input/metastatic"),
    log:
        "results/origin/logs/make_origin_cohort.log",
    benchmark:
        "results/origin/benchmarks/make_origin_cohort.tsv"
    conda:
        "../envs/histocarta.yaml"
    threads: 2
    params:
        cohort=study.origin.demo.model_dump(),
        classes=study.origin.classes,
        control=study.origin.control,
        tile_px=study.tiles.tile_px,
        mpp=study.tiles.mpp,
        code=code_of("make_origin_cohort"),
    script:
        "../workflow_scripts/make_origin_cohort.py"
