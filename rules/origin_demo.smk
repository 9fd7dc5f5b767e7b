# The generated cohort of the study of metastatic origin: slides of primaries and of metastases.
#
# Requires nothing. Makes what a user would bring: for each domain the slides, a sheet of them and pathologists'
# annotations of some; and one split of the patients of both.


rule make_origin_cohort:
    output:
        primary_slides=directory("results/origin/input/primary/slides"),
        primary_annotations=directory("results/origin/input/primary/annotations"),
        primary="results/origin/input/primary.tsv",
        metastatic_slides=directory("results/origin/input/metastatic/slides"),
        metastatic_annotations=directory("results/origin/input/metastatic/annotations"),
        metastatic="results/origin/input/metastatic.tsv",
        split="results/origin/input/split.tsv",
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
