# Stains: the colours of a cohort's tiles made alike, by configuration.
#
# Requires the tile stores, and the image or the tile that the others are to look like. Makes the reference's stains and
# what is done to each slide's colours, as small JSON files that models read beside the raw stores (`on_read`), or
# stores with recoloured tiles (`at_tiling`); stains.tsv, and a sheet of tiles before and after.


rule fit_reference:
    input:
        file_of_stain_reference,
    output:
        reference="results/{cohort}/stain_reference.json",
    log:
        "results/{cohort}/logs/fit_reference.log",
    benchmark:
        "results/{cohort}/benchmarks/fit_reference.tsv"
    wildcard_constraints:
        cohort=one_of([cohort for cohort in stained_cohorts() if cohort in trained_cohorts()]),
    conda:
        "../envs/histocarta.yaml"
    params:
        method=study.stain.method,
        reference=study.stain.reference,
        code=code_of("fit_reference"),
    script:
        "../workflow_scripts/fit_reference.py"


rule fit_stain:
    input:
        store=rules.tile_slide.output.store,
        reference=lambda wildcards: stain_reference(wildcards.cohort)[0],
    output:
        stain="results/{cohort}/stains/{slide}.json",
    log:
        "results/{cohort}/logs/fit_stain/{slide}.log",
    benchmark:
        "results/{cohort}/benchmarks/fit_stain/{slide}.tsv"
    wildcard_constraints:
        cohort=one_of(stained_cohorts()),
    conda:
        "../envs/histocarta.yaml"
    params:
        method=lambda wildcards: stain_settings(wildcards.cohort)["method"],
        models=model_digests,
        code=code_of("fit_stain"),
    script:
        "../workflow_scripts/fit_stain.py"


rule list_stains:
    input:
        stains=stain_files,
    output:
        stains="results/{cohort}/stains.tsv",
    log:
        "results/{cohort}/logs/list_stains.log",
    benchmark:
        "results/{cohort}/benchmarks/list_stains.tsv"
    wildcard_constraints:
        cohort=one_of(stained_cohorts()),
    conda:
        "../envs/histocarta.yaml"
    params:
        code=code_of("list_stains"),
    script:
        "../workflow_scripts/list_stains.py"


rule normalise_tiles:
    input:
        store=rules.tile_slide.output.store,
        stain=rules.fit_stain.output.stain,
    output:
        store="results/{cohort}/normalised/{slide}.h5",
    log:
        "results/{cohort}/logs/normalise_tiles/{slide}.log",
    benchmark:
        "results/{cohort}/benchmarks/normalise_tiles/{slide}.tsv"
    wildcard_constraints:
        cohort=one_of(stained_cohorts()),
    conda:
        "../envs/histocarta.yaml"
    params:
        code=code_of("normalise_tiles"),
    script:
        "../workflow_scripts/normalise_tiles.py"


rule draw_stains:
    input:
        table=rules.list_stains.output.stains,
        reference=lambda wildcards: stain_reference(wildcards.cohort)[0],
        stains=stain_files,
        stores=tile_stores,
    output:
        figure=report(
            "results/{cohort}/figures/stains.png",
            caption="report/stains.rst",
            category="1 Cohort",
            subcategory="{cohort}",
            labels={"figure": "Stains before and after"},
        ),
    log:
        "results/{cohort}/logs/draw_stains.log",
    benchmark:
        "results/{cohort}/benchmarks/draw_stains.tsv"
    wildcard_constraints:
        cohort=one_of(stained_cohorts()),
    conda:
        "../envs/histocarta.yaml"
    params:
        reference=lambda wildcards: stain_settings(wildcards.cohort)["reference"],
        code=code_of("draw_stains"),
    script:
        "../workflow_scripts/draw_stains.py"
