# Training: one model per trait and round, then the best of each trait as its ensemble.
#
# Requires the tiles of the slides that a model trains and validates on, and no other. Makes the weights, their
# description, the curve and the scores of each model, and ensembles.tsv.


rule train_model:
    input:
        unpack(tiles_of_model),
        imagenet=given(study.training.imagenet),
    output:
        weights="results/{cohort}/training/{trait}/round_{round}/weights.safetensors",
        model="results/{cohort}/training/{trait}/round_{round}/model.json",
        curve="results/{cohort}/training/{trait}/round_{round}/curve.tsv",
        scores="results/{cohort}/training/{trait}/round_{round}/scores.tsv",
    log:
        "results/{cohort}/logs/train_model/{trait}_round_{round}.log",
    benchmark:
        "results/{cohort}/benchmarks/train_model/{trait}_round_{round}.tsv"
    conda:
        "../envs/histocarta.yaml"
    threads: study.training.threads
    resources:
        gpu=1,
        decoders=study.training.workers,
        cpus_per_task=processors_of(study.training),
    params:
        labels=selection_of,
        training=study.training.model_dump(mode="json", exclude={"workers"}),
        tumour_threshold=lambda wildcards: (
            threshold_of(wildcards.cohort) if learns_from_tumour(wildcards.cohort) else None
        ),
        tile_threshold=study.predictions.tile_threshold,
        seed=study.study.seed,
        code=code_of("train_model"),
    script:
        "../workflow_scripts/train_model.py"


rule rank_models:
    input:
        scores=lambda wildcards: [
            f"results/{wildcards.cohort}/training/{trait}/round_{number}/scores.tsv"
            for trait in traits_of(wildcards)
            for number in rounds()
        ],
    output:
        ensembles="results/{cohort}/ensembles.tsv",
    log:
        "results/{cohort}/logs/rank_models.log",
    benchmark:
        "results/{cohort}/benchmarks/rank_models.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        members=study.ensembles.members,
        code=code_of("rank_models"),
    script:
        "../workflow_scripts/rank_models.py"
