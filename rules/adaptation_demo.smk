# The generated cohorts of the study of microscope adaptation: labelled slides of colon, and photographs of other slides.
#
# Requires nothing. Makes what a user would bring: of each cohort the slides or photographs, a sheet of them and
# pathologists' annotations; and one split of the patients of both.


rule make_adaptation_cohorts:
    output:
        slides=directory("results/adaptation/input/adaptation_slides/slides"),
        slides_annotations=directory("results/adaptation/input/adaptation_slides/annotations"),
        slides_sheet="results/adaptation/input/adaptation_slides.tsv",
        photographs=directory("results/adaptation/input/adaptation_photographs/photographs"),
        photographs_annotations=directory("results/adaptation/input/adaptation_photographs/annotations"),
        photographs_sheet="results/adaptation/input/adaptation_photographs.tsv",
        split="results/adaptation/input/split.tsv",
    log:
        "results/adaptation/logs/make_adaptation_cohorts.log",
    benchmark:
        "results/adaptation/benchmarks/make_adaptation_cohorts.tsv"
    conda:
        "../envs/histocarta.yaml"
    threads: 2
    params:
        cohorts=study.adaptation.demo.model_dump(),
        names=["adaptation_slides", "adaptation_photographs"],
        tile_px=study.tiles.tile_px,
        mpp=study.tiles.mpp,
        code=code_of("make_adaptation_cohorts"),
    script:
        "../workflow_scripts/make_adaptation_cohorts.py"
