# Trained models on new slides: the way out of the chain for people who only have slides.
#
# Of a cohort that models are trained in, gathers what it takes to apply them into one folder, models/. Of a cohort that
# such a folder is applied to, lists the slides (its checkpoint); tiles, stain, tumour filter, predictions, maps and HTI
# are made by the rules of the other stages, with the settings that the models were trained with.


rule gather_models:
    input:
        ensembles=rules.rank_models.output.ensembles,
        weights=model_files,
        filter=lambda wildcards: filter_model_of(wildcards.cohort),
        threshold=lambda wildcards: [path for path in [threshold_of(wildcards.cohort)] if isinstance(path, str)],
        reference=lambda wildcards: stain_reference(wildcards.cohort),
        table1=table1_where_traits_are_chosen_by_it,
    output:
        models=directory("results/{cohort}/models"),
    log:
        "results/{cohort}/logs/gather_models.log",
    benchmark:
        "results/{cohort}/benchmarks/gather_models.tsv"
    wildcard_constraints:
        cohort=one_of(trained_cohorts()),
    conda:
        "../envs/histocarta.yaml"
    params:
        title=title_of,
        traits=traits_of,
        heterogeneity_traits=heterogeneity_traits_of,
        tiles=tile_settings,
        stain=lambda wildcards: stain_settings(wildcards.cohort),
        predictions=prediction_settings,
        heterogeneity=heterogeneity_settings,
        tumour_filter=lambda wildcards: kind_of_filter(wildcards.cohort),
        tumour_threshold=lambda wildcards: threshold_of(wildcards.cohort),
        code=code_of("gather_models"),
    script:
        "../workflow_scripts/gather_models.py"


checkpoint list_new_slides:
    input:
        slides_brought,
    output:
        sheet="results/{cohort}/sheet.tsv",
    log:
        "results/{cohort}/logs/list_new_slides.log",
    benchmark:
        "results/{cohort}/benchmarks/list_new_slides.tsv"
    wildcard_constraints:
        cohort=one_of(applied_cohorts()),
    conda:
        "../envs/histocarta.yaml"
    params:
        slides=slides_listed_in,
        listing=folder_listing,
        models=lambda wildcards: str(cohort_of(wildcards).models),
        digests=model_digests,
        code=code_of("list_new_slides"),
    script:
        "../workflow_scripts/list_new_slides.py"
