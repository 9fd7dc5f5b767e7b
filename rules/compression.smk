# The study of neural image compression: can a class, a number or the risk of death be learnt from whole slides?
#
# Requires the tiles and stains of the cohorts that are compressed, and the annotations of those that encoders learn tasks
# from, which the chain makes. Makes encoders, a grid of each slide by each encoder (results/<cohort>/grids/), the slides
# and folds of each target, models on whole grids with their predictions, and the tables under results/compression/.


localrules:
    compression,
    make_mean_colour_encoder,
    list_learnt_slides,
    list_target_slides,
    list_trait_slides,
    list_encoders,
    draw_compression_grid,
    draw_compression_tasks,
    draw_compression_auc,
    draw_compression_survival,
    draw_compression_numbers,
    draw_compression_encoders,
    draw_compression_models,
    draw_compression_looked_at,
    write_compression_table1,
    write_compression_table2,
    write_compression_encoders,
    write_compression_traits,


rule make_mean_colour_encoder:
    input:
        reference=lambda wildcards: stain_reference(cohorts_of_target(all_targets()[0])[0]),
    output:
        **files_of_an_encoder,
    log:
        "results/compression/logs/make_mean_colour_encoder/{encoder}.log",
    benchmark:
        "results/compression/benchmarks/make_mean_colour_encoder/{encoder}.tsv"
    wildcard_constraints:
        encoder=one_of(encoders_of_kind("mean_rgb")),
    conda:
        "../envs/histocarta.yaml"
    params:
        tile_px=study.tiles.tile_px,
        mpp=study.tiles.mpp,
        code=code_of("make_mean_colour_encoder"),
    script:
        "../workflow_scripts/make_mean_colour_encoder.py"


rule train_encoder:
    input:
        unpack(patches_of_encoder),
    output:
        **files_of_an_encoder,
    log:
        "results/compression/logs/train_encoder/{encoder}.log",
    benchmark:
        "results/compression/benchmarks/train_encoder/{encoder}.tsv"
    wildcard_constraints:
        encoder=one_of(encoders_of_kind(*LEARNT)),
    # All else waits for them: without it the last ones train while a core is idle.
    priority: 1
    conda:
        "../envs/histocarta.yaml"
    threads: study.compression.training.threads
    resources:
        gpu=1,
        decoders=study.compression.training.workers,
        cpus_per_task=processors_of(study.compression.training),
    params:
        kind=lambda wildcards: study.compression.encoders[wildcards.encoder].kind,
        tasks=classes_of_tasks,
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
        weights=lambda wildcards: encoder_file(wildcards.encoder, "weights.safetensors"),
        model=lambda wildcards: encoder_file(wildcards.encoder, "model.json"),
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


# Apart from the slides of a cohort that only tests, so that no training waits for those, or is done again with them.
rule list_learnt_slides:
    input:
        unpack(brought_tables),
        slides=lambda wildcards: f"results/{study.compression.targets[wildcards.target].cohort}/slides.tsv",
    output:
        slides="results/compression/targets/learnt/{target}.tsv",
    log:
        "results/compression/logs/list_learnt_slides/{target}.log",
    benchmark:
        "results/compression/benchmarks/list_learnt_slides/{target}.tsv"
    wildcard_constraints:
        target=one_of(study.compression.targets),
    conda:
        "../envs/histocarta.yaml"
    params:
        cohort=lambda wildcards: study.compression.targets[wildcards.target].cohort,
        kind=kind_of_target,
        column=lambda wildcards: study.compression.targets[wildcards.target].column,
        classes=classes_of_slides,
        folds=lambda wildcards: study.compression.targets[wildcards.target].folds,
        is_tested_elsewhere=lambda wildcards: study.compression.targets[wildcards.target].test_cohort is not None,
        is_shuffled=lambda wildcards: study.compression.targets[wildcards.target].shuffled,
        seed=study.study.seed,
        code=code_of("list_learnt_slides"),
    script:
        "../workflow_scripts/list_learnt_slides.py"


rule list_target_slides:
    input:
        unpack(brought_tables),
        learnt=rules.list_learnt_slides.output.slides,
        tested=lambda wildcards: [
            f"results/{cohort}/slides.tsv" for cohort in given(study.compression.targets[wildcards.target].test_cohort)
        ],
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
        cohort=lambda wildcards: study.compression.targets[wildcards.target].test_cohort,
        column=lambda wildcards: study.compression.targets[wildcards.target].column,
        classes=classes_of_slides,
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
        unpack(grids_learnt_from),
        slides=learnt_slides,
    output:
        models=directory("results/compression/models/{target}/{encoder}"),
    log:
        "results/compression/logs/train_slide_models/{target}/{encoder}.log",
    benchmark:
        "results/compression/benchmarks/train_slide_models/{target}/{encoder}.tsv"
    wildcard_constraints:
        target=one_of(all_targets()),
        encoder=one_of(study.compression.encoders),
    conda:
        "../envs/histocarta.yaml"
    threads: study.compression.network.training.threads
    resources:
        gpu=1,
        cpus_per_task=processors_of(study.compression.network.training),
    params:
        cohorts=lambda wildcards: cohorts_of_target(wildcards.target)[:1],
        states="results/compression/states/{target}/{encoder}",
        kind=kind_of_target,
        classes=classes_of_slides,
        network=network_of_target,
        training=study.compression.network.training.model_dump(mode="json", exclude={"workers"}),
        seed=study.study.seed,
        code=code_of("train_slide_models"),
    script:
        "../workflow_scripts/train_slide_models.py"


rule predict_slide_targets:
    input:
        unpack(grids_predicted),
        slides=predicted_slides,
        models=rules.train_slide_models.output.models,
    output:
        predictions="results/compression/predictions/{target}/{encoder}.tsv",
    log:
        "results/compression/logs/predict_slide_targets/{target}/{encoder}.log",
    benchmark:
        "results/compression/benchmarks/predict_slide_targets/{target}/{encoder}.tsv"
    wildcard_constraints:
        target=one_of(all_targets()),
        encoder=one_of(study.compression.encoders),
    conda:
        "../envs/histocarta.yaml"
    threads: study.predictions.threads
    resources:
        gpu=1,
    params:
        cohorts=cohorts_predicted,
        threads=study.predictions.threads,
        code=code_of("predict_slide_targets"),
    script:
        "../workflow_scripts/predict_slide_targets.py"


rule attribute_slides:
    input:
        unpack(grids_predicted),
        slides=predicted_slides,
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
    # What is drawn of it takes longest.
    priority: 1
    conda:
        "../envs/histocarta.yaml"
    threads: study.predictions.threads
    resources:
        gpu=1,
    params:
        cohorts=cohorts_predicted,
        threads=study.predictions.threads,
        code=code_of("attribute_slides"),
    script:
        "../workflow_scripts/attribute_slides.py"


rule score_traits_on_grids:
    input:
        predictions=[
            path for name in traits_on_grids for path in predictions_of(name, [study.compression.trait_encoder])
        ],
        models=[f"results/compression/models/{name}/{study.compression.trait_encoder}" for name in traits_on_grids],
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
        traits=list(traits_on_grids.values()),
        cohorts=cohorts_with_traits_on_grids(),
        rounds=study.splits.rounds,
        members=study.ensembles.members,
        resamples=study.evaluation.resamples,
        seed=study.study.seed,
        code=code_of("score_traits_on_grids"),
    script:
        "../workflow_scripts/score_traits_on_grids.py"


rule compression:
    input:
        results_of_compression,
