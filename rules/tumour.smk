# Tumour filters: which tiles are tumour, by a classifier that annotated slides train, or by files of the user's own.
#
# Requires tile stores and the labels of annotated tiles. Makes, of each trained filter, its model and how it did on the
# annotated slides of each set (results/filters/<filter>/), and of each slide a probability per tile, in files of some
# slides each. A threshold on that is the filter: a new one trains no filter, and reruns those stages alone that use tumour
# tiles.


rule train_filter:
    input:
        unpack(tiles_of_annotated("train", "validation")),
        start=start_of_filter,
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
        gpu=1,
        decoders=lambda wildcards: study.tumour_filters[wildcards.filter].training.workers,
        cpus_per_task=lambda wildcards: processors_of(study.tumour_filters[wildcards.filter].training),
    params:
        slides=annotated_in("train", "validation"),
        label=lambda wildcards: study.tumour_filters[wildcards.filter].label,
        tiles_per_class=lambda wildcards: study.tumour_filters[wildcards.filter].tiles_per_class,
        starts_from=lambda wildcards: study.tumour_filters[wildcards.filter].starts_from,
        training=lambda wildcards: study.tumour_filters[wildcards.filter].training.model_dump(
            mode="json", exclude={"workers"}
        ),
        seed=study.study.seed,
        code=code_of("train_filter"),
    script:
        "../workflow_scripts/train_filter.py"


rule filter_slides:
    input:
        unpack(
            lambda wildcards: tile_inputs(
                [(wildcards.cohort, slide) for slide in slides_of_tumour_file(wildcards)], filtered=False
            )
        ),
        weights=lambda wildcards: filter_file(wildcards.cohort, "weights.safetensors"),
    output:
        tumour="results/{cohort}/tumour/{part}.h5",
    log:
        "results/{cohort}/logs/filter_slides/{part}.log",
    benchmark:
        "results/{cohort}/benchmarks/filter_slides/{part}.tsv"
    wildcard_constraints:
        cohort=one_of(cohorts_filtered(model_sets.BY_MODEL)),
    conda:
        "../envs/histocarta.yaml"
    threads: prediction_threads
    resources:
        gpu=1,
    params:
        slides=slides_of_tumour_file,
        batch_size=lambda wildcards: prediction_settings(wildcards)["batch_size"],
        threads=prediction_threads,
        models=model_digests,
        code=code_of("filter_slides"),
    script:
        "../workflow_scripts/filter_slides.py"


rule read_filter:
    input:
        own=own_tumour_file,
        store=lambda wildcards: tile_store(wildcards, wildcards.slide),
    output:
        tumour="results/{cohort}/tumour/{slide}.h5",
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


rule score_annotated:
    input:
        unpack(lambda wildcards: tiles_of_annotated(wildcards.set)(wildcards)),
        weights=rules.train_filter.output.weights,
    output:
        tiles="results/filters/{filter}/annotated/{set}.tsv",
    log:
        "results/filters/{filter}/logs/score_annotated/{set}.log",
    benchmark:
        "results/filters/{filter}/benchmarks/score_annotated/{set}.tsv"
    wildcard_constraints:
        filter=one_of(trained_filters()),
        set="train|validation|test",
    conda:
        "../envs/histocarta.yaml"
    threads: study.predictions.threads
    resources:
        gpu=1,
    params:
        slides=lambda wildcards: [slide for _, slide in annotated_by_set(wildcards.filter)[wildcards.set]],
        patients=lambda wildcards: patients_of(annotated_by_set(wildcards.filter)[wildcards.set]),
        label=lambda wildcards: study.tumour_filters[wildcards.filter].label,
        batch_size=study.predictions.batch_size,
        threads=study.predictions.threads,
        code=code_of("score_annotated"),
    script:
        "../workflow_scripts/score_annotated.py"


rule choose_threshold:
    input:
        tiles="results/filters/{filter}/annotated/validation.tsv",
    output:
        threshold="results/filters/{filter}/threshold.json",
    log:
        "results/filters/{filter}/logs/choose_threshold.log",
    benchmark:
        "results/filters/{filter}/benchmarks/choose_threshold.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        threshold=lambda wildcards: study.tumour_filters[wildcards.filter].threshold,
        code=code_of("choose_threshold"),
    script:
        "../workflow_scripts/choose_threshold.py"


rule judge_filter:
    input:
        tiles=expand("results/filters/{{filter}}/annotated/{set}.tsv", set=["train", "validation", "test"]),
        threshold=rules.choose_threshold.output.threshold,
    output:
        evaluation="results/filters/{filter}/evaluation.tsv",
        roc="results/filters/{filter}/roc.tsv",
    log:
        "results/filters/{filter}/logs/judge_filter.log",
    benchmark:
        "results/filters/{filter}/benchmarks/judge_filter.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
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
