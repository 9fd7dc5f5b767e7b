# Tumour filters: which tiles are tumour, by a classifier that annotated slides train, or by files of the user's own.
#
# Requires tile stores and the labels of annotated tiles. Makes, of each trained filter, its model and how it did on the
# annotated slides of each set (results/filters/<filter>/), and of each slide a probability per tile. A threshold on
# that is the filter: a new one trains no filter, and reruns those stages alone that use tumour tiles.


rule train_filter:
    input:
        unpack(tiles_of_annotated("train", "validation")),
    output:
        weights="results/filters/{filter}/weights.safetensors",
        model="results/filters/{filter}/model.json",
        curve="results/filters/{filter}/curve.tsv",
        scores="results/filters/{filter}/scores.tsv",
    log:
        "results/filters/{filter}/logs/train_filter.log",
    benchmark:
        "results/filters/{filter}/benchmarks/train_filter.tsv"
    wildcard_constraints:
        filter=one_of(trained_filters()),
    conda:
        "../envs/histocarta.yaml"
    threads: lambda wildcards: study.tumour_filters[wildcards.filter].training.threads
    resources:
        decoders=lambda wildcards: study.tumour_filters[wildcards.filter].training.workers,
    params:
        slides=annotated_in("train", "validation"),
        label=lambda wildcards: study.tumour_filters[wildcards.filter].label,
        training=lambda wildcards: study.tumour_filters[wildcards.filter].training.model_dump(exclude={"workers"}),
        seed=study.study.seed,
        code=code_of("train_filter"),
    script:
        "../workflow_scripts/train_filter.py"


rule filter_slide:
    input:
        unpack(lambda wildcards: tile_inputs([(wildcards.cohort, wildcards.slide)], filtered=False)),
        weights=lambda wildcards: filter_file(wildcards.cohort, "weights.safetensors"),
    output:
        tumour="results/{cohort}/tumour/{slide}.tsv",
    log:
        "results/{cohort}/logs/filter_slide/{slide}.log",
    benchmark:
        "results/{cohort}/benchmarks/filter_slide/{slide}.tsv"
    wildcard_constraints:
        cohort=one_of(cohorts_filtered(model_sets.BY_MODEL)),
    conda:
        "../envs/histocarta.yaml"
    threads: prediction_threads
    params:
        batch_size=lambda wildcards: prediction_settings(wildcards)["batch_size"],
        threads=prediction_threads,
        models=model_digests,
        code=code_of("filter_slide"),
    script:
        "../workflow_scripts/filter_slide.py"


rule read_filter:
    input:
        own=own_tumour_file,
        store=lambda wildcards: tile_store(wildcards, wildcards.slide),
    output:
        tumour="results/{cohort}/tumour/{slide}.tsv",
    log:
        "results/{cohort}/logs/read_filter/{slide}.log",
    benchmark:
        "results/{cohort}/benchmarks/read_filter/{slide}.tsv"
    wildcard_constraints:
        cohort=one_of(cohorts_filtered(model_sets.BY_FILES)),
    conda:
        "../envs/histocarta.yaml"
    params:
        classes=lambda wildcards: filter_of(wildcards.cohort).classes,
        code=code_of("read_filter"),
    script:
        "../workflow_scripts/read_filter.py"


rule choose_threshold:
    input:
        unpack(judged_files("validation")),
    output:
        threshold="results/filters/{filter}/threshold.json",
    log:
        "results/filters/{filter}/logs/choose_threshold.log",
    benchmark:
        "results/filters/{filter}/benchmarks/choose_threshold.tsv"
    wildcard_constraints:
        filter=one_of(trained_filters()),
    conda:
        "../envs/histocarta.yaml"
    params:
        slides=annotated_in("validation"),
        patients=patients_of_annotated("validation"),
        label=lambda wildcards: study.tumour_filters[wildcards.filter].label,
        threshold=lambda wildcards: study.tumour_filters[wildcards.filter].threshold,
        code=code_of("choose_threshold"),
    script:
        "../workflow_scripts/choose_threshold.py"


rule judge_filter:
    input:
        unpack(judged_files("train", "validation", "test")),
        threshold=rules.choose_threshold.output.threshold,
    output:
        evaluation="results/filters/{filter}/evaluation.tsv",
        roc="results/filters/{filter}/roc.tsv",
    log:
        "results/filters/{filter}/logs/judge_filter.log",
    benchmark:
        "results/filters/{filter}/benchmarks/judge_filter.tsv"
    wildcard_constraints:
        filter=one_of(trained_filters()),
    conda:
        "../envs/histocarta.yaml"
    params:
        slides=annotated_in("train", "validation", "test"),
        patients=patients_of_annotated("train", "validation", "test"),
        label=lambda wildcards: study.tumour_filters[wildcards.filter].label,
        resamples=study.evaluation.resamples,
        seed=study.study.seed,
        code=code_of("judge_filter"),
    script:
        "../workflow_scripts/judge_filter.py"


rule draw_filter:
    input:
        evaluation=rules.judge_filter.output.evaluation,
        roc=rules.judge_filter.output.roc,
    output:
        figure=report(
            "results/filters/{filter}/figures/tumour_filter.png",
            caption="report/tumour_filter.rst",
            category="2 Training",
            subcategory="{filter}",
            labels={"figure": "Tumour filter (metastatic origin, Fig. 2B and C)"},
        ),
    log:
        "results/filters/{filter}/logs/draw_filter.log",
    benchmark:
        "results/filters/{filter}/benchmarks/draw_filter.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        published=published,
        code=code_of("draw_filter"),
    script:
        "../workflow_scripts/draw_filter.py"
