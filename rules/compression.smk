# The study of neural image compression: can a class, a number or the risk of death be learnt from whole slides?
#
# Requires the tiles and stains of the cohorts that are compressed, and the annotations of those that encoders learn tasks
# from, which the chain makes. Makes encoders, a grid of each slide by each encoder (results/<cohort>/grids/), the slides
# and folds of each target, models on whole grids with their predictions, and the tables under results/compression/.


localrules:
    compression,
    list_target_slides,
    list_trait_slides,


rule train_encoder:
    input:
        unpack(patches_of_encoder),
    output:
        weights="results/compression/encoders/{encoder}/weights.safetensors",
        model="results/compression/encoders/{encoder}/model.json",
        curve="results/compression/encoders/{encoder}/curve.tsv",
        scores="results/compression/encoders/{encoder}/scores.tsv",
    log:
        "results/compression/logs/train_encoder/{encoder}.log",
    benchmark:
        "results/compression/benchmarks/train_encoder/{encoder}.tsv"
    wildcard_constraints:
        encoder=one_of(learnt_encoders()),
    conda:
        "../envs/histocarta.yaml"
    threads: study.compression.training.threads
    resources:
        gpu=1,
        decoders=study.compression.training.workers,
        cpus_per_task=processors_of(study.compression.training),
    params:
        kind=lambda wildcards: study.compression.encoders[wildcards.encoder].kind,
        tasks=tasks_of_encoder,
        slides=lambda wildcards: slides_of_encoder(wildcards.encoder),
        patches=study.compression.patches_per_task,
        features=lambda wildcards: study.compression.encoders[wildcards.encoder].features,
        shrink=study.compression.shrink,
        training=training_of_encoder,
        seed=study.study.seed,
        code=code_of("train_encoder"),
    script:
        "../workflow_scripts/train_encoder.py"


rule compress_slides:
    input:
        unpack(
            lambda wildcards: tile_inputs(
                [(wildcards.cohort, slide) for slide in slides_of_chunk(wildcards)], filtered=False
            )
        ),
        encoder=lambda wildcards: encoder_files(wildcards.encoder),
    output:
        grids="results/{cohort}/grids/{encoder}/{chunk}.h5",
    log:
        "results/{cohort}/logs/compress_slides/{encoder}/{chunk}.log",
    benchmark:
        "results/{cohort}/benchmarks/compress_slides/{encoder}/{chunk}.tsv"
    wildcard_constraints:
        encoder=one_of(study.compression.encoders),
    conda:
        "../envs/histocarta.yaml"
    threads: study.predictions.threads
    resources:
        gpu=1,
    params:
        slides=slides_of_chunk,
        orientations=study.compression.orientations,
        batch_size=study.predictions.batch_size,
        threads=study.predictions.threads,
        code=code_of("compress_slides"),
    script:
        "../workflow_scripts/compress_slides.py"


rule list_target_slides:
    input:
        unpack(brought_tables),
        slides=lambda wildcards: [f"results/{cohort}/slides.tsv" for cohort in cohorts_of_target(wildcards.target)],
    output:
        slides="results/compression/targets/{target}.tsv",
    log:
        "results/compression/logs/list_target_slides/{target}.log",
    benchmark:
        "results/compression/benchmarks/list_target_slides/{target}.tsv"
    wildcard_constraints:
        target=one_of(study.compression.targets),
    conda:
        "../envs/histocarta.yaml"
    params:
        cohorts=lambda wildcards: cohorts_of_target(wildcards.target),
        kind=kind_of_target,
        column=lambda wildcards: study.compression.targets[wildcards.target].column,
        classes=classes_of_target_of_grids,
        folds=lambda wildcards: study.compression.targets[wildcards.target].folds,
        is_shuffled=lambda wildcards: study.compression.targets[wildcards.target].shuffled,
        seed=study.study.seed,
        code=code_of("list_target_slides"),
    script:
        "../workflow_scripts/list_target_slides.py"


rule list_trait_slides:
    input:
        slides=lambda wildcards: f"results/{traits_on_grids[wildcards.target][0]}/slides.tsv",
        labels=lambda wildcards: tables_of(traits_on_grids[wildcards.target][0]).labels,
        splits=lambda wildcards: tables_of(traits_on_grids[wildcards.target][0]).splits,
    output:
        slides="results/compression/targets/{target}.tsv",
    log:
        "results/compression/logs/list_trait_slides/{target}.log",
    benchmark:
        "results/compression/benchmarks/list_trait_slides/{target}.tsv"
    wildcard_constraints:
        target=one_of(traits_on_grids),
    conda:
        "../envs/histocarta.yaml"
    params:
        cohort_and_trait=lambda wildcards: traits_on_grids[wildcards.target],
        code=code_of("list_trait_slides"),
    script:
        "../workflow_scripts/list_trait_slides.py"


rule train_slide_models:
    input:
        slides="results/compression/targets/{target}.tsv",
        grids=grids_of_target,
    output:
        models=directory("results/compression/models/{target}/{encoder}"),
    log:
        "results/compression/logs/train_slide_models/{target}/{encoder}.log",
    benchmark:
        "results/compression/benchmarks/train_slide_models/{target}/{encoder}.tsv"
    wildcard_constraints:
        target=one_of([*study.compression.targets, *traits_on_grids]),
        encoder=one_of(study.compression.encoders),
    conda:
        "../envs/histocarta.yaml"
    threads: study.compression.network.training.threads
    resources:
        gpu=1,
        cpus_per_task=processors_of(study.compression.network.training),
    params:
        cohorts=cohorts_of_grids,
        kind=kind_of_target,
        classes=classes_of_target_of_grids,
        network=study.compression.network.model_dump(mode="json", exclude={"training"}),
        training=study.compression.network.training.model_dump(mode="json", exclude={"workers"}),
        seed=study.study.seed,
        code=code_of("train_slide_models"),
    script:
        "../workflow_scripts/train_slide_models.py"


rule predict_slide_targets:
    input:
        slides=rules.train_slide_models.input.slides,
        grids=grids_of_target,
        models=rules.train_slide_models.output.models,
    output:
        predictions="results/compression/predictions/{target}/{encoder}.tsv",
    log:
        "results/compression/logs/predict_slide_targets/{target}/{encoder}.log",
    benchmark:
        "results/compression/benchmarks/predict_slide_targets/{target}/{encoder}.tsv"
    wildcard_constraints:
        target=one_of([*study.compression.targets, *traits_on_grids]),
        encoder=one_of(study.compression.encoders),
    conda:
        "../envs/histocarta.yaml"
    threads: study.predictions.threads
    resources:
        gpu=1,
    params:
        cohorts=cohorts_of_grids,
        threads=study.predictions.threads,
        code=code_of("predict_slide_targets"),
    script:
        "../workflow_scripts/predict_slide_targets.py"


rule attribute_slides:
    input:
        slides=rules.train_slide_models.input.slides,
        grids=grids_of_target,
        models=rules.train_slide_models.output.models,
    output:
        attributions="results/compression/attributions/{target}/{encoder}.h5",
    log:
        "results/compression/logs/attribute_slides/{target}/{encoder}.log",
    benchmark:
        "results/compression/benchmarks/attribute_slides/{target}/{encoder}.tsv"
    wildcard_constraints:
        target=one_of(study.compression.targets),
        encoder=one_of(study.compression.encoders),
    conda:
        "../envs/histocarta.yaml"
    threads: study.predictions.threads
    resources:
        gpu=1,
    params:
        cohorts=cohorts_of_grids,
        threads=study.predictions.threads,
        code=code_of("attribute_slides"),
    script:
        "../workflow_scripts/attribute_slides.py"


rule score_traits_on_grids:
    input:
        predictions=predictions_of(pairs_of(traits_on_grids)),
        models=[f"results/compression/models/{target}/{encoder}" for target, encoder in pairs_of(traits_on_grids)],
        labels=lambda wildcards: [tables_of(cohort).labels for cohort in cohorts_with_traits_on_grids()],
        splits=lambda wildcards: [tables_of(cohort).splits for cohort in cohorts_with_traits_on_grids()],
        of_tiles=lambda wildcards: [
            f"results/{cohort}/evaluation/table1.tsv" for cohort in cohorts_with_traits_on_grids()
        ],
    output:
        traits="results/compression/tables/traits.tsv",
    log:
        "results/compression/logs/score_traits_on_grids.log",
    benchmark:
        "results/compression/benchmarks/score_traits_on_grids.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        traits=traits_on_grids,
        members=study.ensembles.members,
        resamples=study.evaluation.resamples,
        seed=study.study.seed,
        code=code_of("score_traits_on_grids"),
    script:
        "../workflow_scripts/score_traits_on_grids.py"


rule compression:
    input:
        results_of_compression,
