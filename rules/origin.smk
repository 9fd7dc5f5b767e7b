# The study of metastatic origin: from which tissue does a metastasis come, and does learning on primaries first help?
#
# Requires the tiles, stains and tumour of two cohorts, one of primaries and one of metastases, which the chain makes, and
# the classes of their slides. Makes slides.tsv, a model per regime, the held-out metastases' predictions, and the
# tables under results/origin/. A regime that starts from another's weights waits for them.


localrules:
    origin,
    select_origin_slides,
    correlate_origin_divergence,
    draw_origin_data,
    draw_origin_roc,
    draw_origin_class_map,
    draw_origin_confusion,
    draw_origin_ranks,
    draw_origin_tsne,
    draw_origin_divergence,
    draw_origin_divergence_auroc,
    write_origin_auroc,


checkpoint select_origin_slides:
    input:
        primary=lambda wildcards: tables_of(study.origin.primary).sheet,
        primary_splits=lambda wildcards: tables_of(study.origin.primary).splits,
        metastatic=lambda wildcards: tables_of(study.origin.metastatic).sheet,
        metastatic_splits=lambda wildcards: tables_of(study.origin.metastatic).splits,
    output:
        slides="results/origin/slides.tsv",
    log:
        "results/origin/logs/select_origin_slides.log",
    benchmark:
        "results/origin/benchmarks/select_origin_slides.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        classes=study.origin.classes,
        control=study.origin.control,
        balanced=study.origin.balanced,
        seed=study.study.seed,
        code=code_of("select_origin_slides"),
    script:
        "../workflow_scripts/select_origin_slides.py"


rule describe_origin_data:
    input:
        unpack(tiles_of_study),
    output:
        data="results/origin/tables/data.tsv",
    log:
        "results/origin/logs/describe_origin_data.log",
    benchmark:
        "results/origin/benchmarks/describe_origin_data.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        slides=slides_of_study,
        thresholds=thresholds_by_domain,
        classes=study.origin.classes,
        control=study.origin.control,
        code=code_of("describe_origin_data"),
    script:
        "../workflow_scripts/describe_origin_data.py"


rule train_origin:
    input:
        unpack(tiles_of_regime),
        start=start_of_regime,
    output:
        weights="results/origin/training/{regime}/weights.safetensors",
        model="results/origin/training/{regime}/model.json",
        curve="results/origin/training/{regime}/curve.tsv",
        scores="results/origin/training/{regime}/scores.tsv",
    log:
        "results/origin/logs/train_origin/{regime}.log",
    benchmark:
        "results/origin/benchmarks/train_origin/{regime}.tsv"
    wildcard_constraints:
        regime=one_of(study.origin.regimes),
    conda:
        "../envs/histocarta.yaml"
    threads: study.origin.training.threads
    resources:
        gpu=1,
        decoders=study.origin.training.workers,
        cpus_per_task=processors_of(study.origin.training),
    params:
        labels=labels_of_regime,
        classes=study.origin.classes,
        training=training_of_regime,
        starts_from=lambda wildcards: study.origin.regimes[wildcards.regime].starts_from,
        tumour_threshold=threshold_of_regime,
        seed=study.study.seed,
        code=code_of("train_origin"),
    script:
        "../workflow_scripts/train_origin.py"


rule predict_origin:
    input:
        unpack(lambda wildcards: tile_inputs(held_out_metastases(), filtered=True)),
        weights=expand("results/origin/training/{regime}/weights.safetensors", regime=study.origin.compared),
    output:
        predictions="results/origin/predictions.h5",
    log:
        "results/origin/logs/predict_origin.log",
    benchmark:
        "results/origin/benchmarks/predict_origin.tsv"
    conda:
        "../envs/histocarta.yaml"
    threads: study.predictions.threads
    resources:
        gpu=1,
    params:
        slides=lambda wildcards: [slide for _, slide in held_out_metastases()],
        regimes=study.origin.compared,
        tumour_threshold=lambda wildcards: threshold_of(study.origin.metastatic),
        batch_size=study.predictions.batch_size,
        threads=study.predictions.threads,
        code=code_of("predict_origin"),
    script:
        "../workflow_scripts/predict_origin.py"


rule score_origin:
    input:
        predictions=rules.predict_origin.output.predictions,
        slides=lambda wildcards: checkpoints.select_origin_slides.get().output.slides,
    output:
        slide_predictions="results/origin/tables/slide_predictions.tsv",
        auroc="results/origin/tables/auroc.tsv",
        tests="results/origin/tables/tests.tsv",
        roc="results/origin/tables/roc.tsv",
        confusion="results/origin/tables/confusion.tsv",
        ranks="results/origin/tables/ranks.tsv",
        top_k="results/origin/tables/top_k.tsv",
    log:
        "results/origin/logs/score_origin.log",
    benchmark:
        "results/origin/benchmarks/score_origin.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        regimes=study.origin.compared,
        classes=study.origin.classes,
        resamples=study.evaluation.resamples,
        seed=study.study.seed,
        code=code_of("score_origin"),
    script:
        "../workflow_scripts/score_origin.py"


rule train_origin_autoencoder:
    input:
        unpack(tiles_of_study),
    output:
        weights="results/origin/autoencoder/weights.safetensors",
        model="results/origin/autoencoder/model.json",
        curve="results/origin/autoencoder/curve.tsv",
        scores="results/origin/autoencoder/scores.tsv",
    log:
        "results/origin/logs/train_origin_autoencoder.log",
    benchmark:
        "results/origin/benchmarks/train_origin_autoencoder.tsv"
    # The longest job of the study: it starts before the regimes do.
    priority: 1
    conda:
        "../envs/histocarta.yaml"
    threads: study.origin.autoencoder.training.threads
    resources:
        gpu=1,
        decoders=study.origin.autoencoder.training.workers,
        cpus_per_task=processors_of(study.origin.autoencoder.training),
    params:
        sampling=sampling_of_study,
        features=study.origin.autoencoder.features,
        kl_weight=study.origin.autoencoder.kl_weight,
        training=study.origin.autoencoder.training.model_dump(mode="json", exclude={"workers"}),
        seed=study.study.seed,
        code=code_of("train_origin_autoencoder"),
    script:
        "../workflow_scripts/train_origin_autoencoder.py"


rule encode_origin_tiles:
    input:
        unpack(tiles_of_study),
        weights=rules.train_origin_autoencoder.output.weights,
    output:
        latents="results/origin/latents.h5",
    log:
        "results/origin/logs/encode_origin_tiles.log",
    benchmark:
        "results/origin/benchmarks/encode_origin_tiles.tsv"
    conda:
        "../envs/histocarta.yaml"
    threads: study.predictions.threads
    resources:
        gpu=1,
    params:
        sampling=sampling_of_study,
        batch_size=study.predictions.batch_size,
        threads=study.predictions.threads,
        code=code_of("encode_origin_tiles"),
    script:
        "../workflow_scripts/encode_origin_tiles.py"


rule measure_origin_divergence:
    input:
        latents=rules.encode_origin_tiles.output.latents,
    output:
        divergence="results/origin/tables/divergence.tsv",
    log:
        "results/origin/logs/measure_origin_divergence.log",
    benchmark:
        "results/origin/benchmarks/measure_origin_divergence.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        estimator=study.origin.divergence.estimator,
        seed=study.study.seed,
        classes=origin_classes,
        code=code_of("measure_origin_divergence"),
    script:
        "../workflow_scripts/measure_origin_divergence.py"


rule correlate_origin_divergence:
    input:
        divergence=rules.measure_origin_divergence.output.divergence,
        auroc=rules.score_origin.output.auroc,
        data=rules.describe_origin_data.output.data,
    output:
        points="results/origin/tables/divergence_auroc.tsv",
        correlation="results/origin/tables/divergence_correlation.tsv",
    log:
        "results/origin/logs/correlate_origin_divergence.log",
    benchmark:
        "results/origin/benchmarks/correlate_origin_divergence.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        # The paper's is the transferred model.
        regime=study.origin.compared[-1],
        code=code_of("correlate_origin_divergence"),
    script:
        "../workflow_scripts/correlate_origin_divergence.py"


rule embed_origin_tiles:
    input:
        latents=rules.encode_origin_tiles.output.latents,
    output:
        tsne="results/origin/tables/tsne.tsv",
    log:
        "results/origin/logs/embed_origin_tiles.log",
    benchmark:
        "results/origin/benchmarks/embed_origin_tiles.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        most=study.origin.divergence.embedded,
        perplexity=study.origin.divergence.perplexity,
        seed=study.study.seed,
        classes=origin_classes,
        code=code_of("embed_origin_tiles"),
    script:
        "../workflow_scripts/embed_origin_tiles.py"


rule origin:
    input:
        results_of_origin,
