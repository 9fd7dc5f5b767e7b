# The demo cohort: slides, tables and their truth, generated.
#
# Requires nothing. Makes what a user would bring: slides, a GDC manifest, expression tables, a clinical table, and
# pathologists' annotations of some slides; and beside them the truth, which only scoring reads.


rule make_demo_cohort:
    output:
        slides=directory("results/{cohort}/input/slides"),
        annotations=directory("results/{cohort}/input/annotations"),
        manifest="results/{cohort}/input/gdc_manifest.txt",
        mrna="results/{cohort}/input/mrna.geneExp.tsv",
        mirna="results/{cohort}/input/mirna.csv",
        clinical="results/{cohort}/input/clinical.tsv",
        truth_slides="results/{cohort}/truth/slides.tsv",
        truth_tiles="results/{cohort}/truth/tiles.tsv",
    log:
        "results/{cohort}/logs/make_demo_cohort.log",
    benchmark:
        "results/{cohort}/benchmarks/make_demo_cohort.tsv"
    wildcard_constraints:
        cohort=one_of(generated_cohorts()),
    conda:
        "../envs/histocarta.yaml"
    threads: 2
    params:
        cohort=study.demo.model_dump(),
        tile_px=study.tiles.tile_px,
        mpp=study.tiles.mpp,
        code=code_of("make_demo_cohort"),
    script:
        "../workflow_scripts/make_demo_cohort.py"
