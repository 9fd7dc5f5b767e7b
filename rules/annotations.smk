# Annotations: what pathologists drew on a cohort's slides, for checking, and as labels of tiles.
#
# Requires a folder of annotations and the tile stores of the slides that have one. Makes, for each of them, the labels
# of its tiles and a picture; and regions.tsv and classes.tsv, which say what was read, what was refused and why, and
# which classes there are beside those that have a label. `snakemake annotations` makes all this and no model.


rule read_annotations:
    input:
        annotations=annotation_file,
        store=rules.tile_slide.output.store,
    output:
        tiles="results/{cohort}/annotations/tiles/{slide}.tsv",
        classes="results/{cohort}/annotations/classes/{slide}.tsv",
    log:
        "results/{cohort}/logs/read_annotations/{slide}.log",
    benchmark:
        "results/{cohort}/benchmarks/read_annotations/{slide}.tsv"
    wildcard_constraints:
        cohort=one_of(annotated_cohorts()),
    conda:
        "../envs/histocarta.yaml"
    params:
        labels=lambda wildcards: cohort_of(wildcards).annotations.model_dump(exclude={"folder"}),
        code=code_of("read_annotations"),
    script:
        "../workflow_scripts/read_annotations.py"


rule list_annotations:
    input:
        classes=lambda wildcards: [
            f"results/{wildcards.cohort}/annotations/classes/{slide}.tsv"
            for slide in annotation_files(wildcards.cohort)
        ],
    output:
        regions="results/{cohort}/annotations/regions.tsv",
        classes="results/{cohort}/annotations/classes.tsv",
    log:
        "results/{cohort}/logs/list_annotations.log",
    benchmark:
        "results/{cohort}/benchmarks/list_annotations.tsv"
    wildcard_constraints:
        cohort=one_of(annotated_cohorts()),
    conda:
        "../envs/histocarta.yaml"
    params:
        classes=lambda wildcards: cohort_of(wildcards).annotations.classes,
        files_of_no_slide=annotations_of_no_slide,
        code=code_of("list_annotations"),
    script:
        "../workflow_scripts/list_annotations.py"


rule draw_annotations:
    input:
        annotations=annotation_file,
        store=rules.tile_slide.output.store,
    output:
        figure=report(
            "results/{cohort}/figures/annotations/{slide}.png",
            caption="report/annotations.rst",
            category="1 Cohort",
            subcategory="{cohort}",
            labels={"figure": "Annotations of {slide}"},
        ),
    log:
        "results/{cohort}/logs/draw_annotations/{slide}.log",
    benchmark:
        "results/{cohort}/benchmarks/draw_annotations/{slide}.tsv"
    wildcard_constraints:
        cohort=one_of(annotated_cohorts()),
    conda:
        "../envs/histocarta.yaml"
    params:
        classes=lambda wildcards: cohort_of(wildcards).annotations.classes,
        code=code_of("draw_annotations"),
    script:
        "../workflow_scripts/draw_annotations.py"


rule annotations:
    input:
        checked_annotations,
