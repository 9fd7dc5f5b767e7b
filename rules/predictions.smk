# Predictions: each tile is decoded once for all the models that its slide needs.
#
# Requires tile stores, models and ensembles.tsv. Test slides get the models of all rounds, because each round is
# evaluated on them; every other slide gets the members of the ensembles. Makes a file per chunk of slides, and
# slide_scores.tsv.


rule predict_slides:
    input:
        stores=lambda wildcards: [tile_store(wildcards, slide) for slide in slides_of_chunk(wildcards)],
        weights=model_files,
        ensembles=rules.rank_models.output.ensembles,
    output:
        predictions="results/{cohort}/predictions/{chunk}.h5",
    log:
        "results/{cohort}/logs/predict_slides/{chunk}.log",
    benchmark:
        "results/{cohort}/benchmarks/predict_slides/{chunk}.tsv"
    conda:
        "../envs/histocarta.yaml"
    threads: study.predictions.threads
    params:
        slides=slides_of_chunk,
        test_slides=test_slides_of_chunk,
        batch_size=study.predictions.batch_size,
        code=code_of("predict_slides"),
    script:
        "../workflow_scripts/predict_slides.py"


rule score_slides:
    input:
        predictions=chunk_files,
        sheet=lambda wildcards: assembled(wildcards).sheet,
        ensembles=rules.rank_models.output.ensembles,
    output:
        scores="results/{cohort}/slide_scores.tsv",
    log:
        "results/{cohort}/logs/score_slides.log",
    benchmark:
        "results/{cohort}/benchmarks/score_slides.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        tile_threshold=study.predictions.tile_threshold,
        code=code_of("score_slides"),
    script:
        "../workflow_scripts/score_slides.py"
