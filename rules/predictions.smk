# Predictions: each tile is decoded once for all the models that its slide needs.
#
# Requires tile stores, models and ensembles.tsv. Test slides get the models of all rounds, because each round is
# evaluated on them; every other slide gets the members of the ensembles. Makes a file per chunk of slides, and
# slide_scores.tsv.


rule predict_slides:
    input:
        unpack(tiles_of_chunk),
        weights=model_files,
        ensembles=ensembles_of,
    output:
        predictions="results/{cohort}/predictions/{chunk}.h5",
    log:
        "results/{cohort}/logs/predict_slides/{chunk}.log",
    benchmark:
        "results/{cohort}/benchmarks/predict_slides/{chunk}.tsv"
    conda:
        "../envs/histocarta.yaml"
    threads: prediction_threads
    resources:
        gpu=1,
    params:
        slides=slides_of_chunk,
        test_slides=test_slides_of_chunk,
        tumour_threshold=lambda wildcards: threshold_of(wildcards.cohort),
        batch_size=lambda wildcards: prediction_settings(wildcards)["batch_size"],
        threads=prediction_threads,
        models=model_digests,
        code=code_of("predict_slides"),
    script:
        "../workflow_scripts/predict_slides.py"


rule score_slides:
    input:
        predictions=chunk_files,
        sheet=sheet_of,
        ensembles=ensembles_of,
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
