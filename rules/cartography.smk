# Cartography: the molecular maps of each slide, and the heterogeneity index of each map.
#
# Requires tile stores, predictions and ensembles.tsv. Makes maps/<slide>.h5, hti.tsv and combinations.tsv.


rule map_slides:
    input:
        unpack(tiles_of_cohort),
        sheet=sheet_of,
        predictions=chunk_files,
        ensembles=ensembles_of,
    output:
        maps=directory("results/{cohort}/maps"),
    log:
        "results/{cohort}/logs/map_slides.log",
    benchmark:
        "results/{cohort}/benchmarks/map_slides.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        traits=traits_of,
        tumour_threshold=lambda wildcards: threshold_of(wildcards.cohort),
        tile_threshold=lambda wildcards: prediction_settings(wildcards)["tile_threshold"],
        code=code_of("map_slides"),
    script:
        "../workflow_scripts/map_slides.py"


rule measure_heterogeneity:
    input:
        maps=rules.map_slides.output.maps,
        table1=table1_where_traits_are_chosen_by_it,
    output:
        hti="results/{cohort}/hti.tsv",
        combinations="results/{cohort}/combinations.tsv",
    log:
        "results/{cohort}/logs/measure_heterogeneity.log",
    benchmark:
        "results/{cohort}/benchmarks/measure_heterogeneity.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        traits=heterogeneity_traits_of,
        heterogeneity=heterogeneity_settings,
        seed=study.study.seed,
        code=code_of("measure_heterogeneity"),
    script:
        "../workflow_scripts/measure_heterogeneity.py"
