# The study of cross-cancer transfer: does a detector of tumour that saw another cancer first do better?
#
# Requires the tiles, stains and annotations of a target cohort and of those that detectors see first, which the chain
# makes. Detectors are tumour filters, trained by the chain's rules (results/filters/). Makes regimes.tsv, which of them
# can be trained here, and the tables and figures under results/transfer/.


localrules:
    transfer,
    find_regimes,
    write_transfer_cohort,
    draw_transfer_annotations,
    draw_transfer_tiles,
    draw_transfer_roc,
    draw_transfer_map,
    draw_transfer_learning,
    draw_transfer_gain,
    write_transfer_table1,


checkpoint find_regimes:
    input:
        imagenet=named_weights(),
    output:
        regimes="results/transfer/regimes.tsv",
    log:
        "results/transfer/logs/find_regimes.log",
    benchmark:
        "results/transfer/benchmarks/find_regimes.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        weights={name: first_weights(name) for name in study.transfer.compared},
        # So that it runs again when the weights that it did not find have been brought.
        cached=planning.cached_weights(),
        code=code_of("find_regimes"),
    script:
        "../workflow_scripts/find_regimes.py"


rule count_transfer_pixels:
    input:
        unpack(lambda wildcards: annotated_files(held_out_of_transfer())),
        tiles="results/filters/{regime}/annotated/test.tsv",
    output:
        pixels="results/transfer/pixels/{regime}.h5",
    log:
        "results/transfer/logs/count_transfer_pixels/{regime}.log",
    benchmark:
        "results/transfer/benchmarks/count_transfer_pixels/{regime}.tsv"
    wildcard_constraints:
        regime=one_of(study.transfer.compared),
    conda:
        "../envs/histocarta.yaml"
    params:
        classes=study.cohorts[study.transfer.target].annotations.classes,
        label=lambda wildcards: study.tumour_filters[wildcards.regime].label,
        mpp=study.transfer.pixels.mpp,
        interpolation=study.transfer.pixels.interpolation,
        domain=study.transfer.pixels.domain,
        code=code_of("count_transfer_pixels"),
    script:
        "../workflow_scripts/count_transfer_pixels.py"


rule score_transfer:
    input:
        regimes="results/transfer/regimes.tsv",
        tiles=of_regimes("results/filters/{regime}/annotated/test.tsv"),
        pixels=of_regimes("results/transfer/pixels/{regime}.h5"),
    output:
        table1="results/transfer/tables/table1.tsv",
        tests="results/transfer/tables/tests.tsv",
        roc="results/transfer/tables/roc.tsv",
    log:
        "results/transfer/logs/score_transfer.log",
    benchmark:
        "results/transfer/benchmarks/score_transfer.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        available=lambda wildcards: available_regimes(),
        resamples=study.evaluation.resamples,
        seed=study.study.seed,
        code=code_of("score_transfer"),
    script:
        "../workflow_scripts/score_transfer.py"


rule score_transfer_gain:
    input:
        regimes="results/transfer/regimes.tsv",
        tiles=tiles_by_slides_learnt_from,
    output:
        gain="results/transfer/tables/gain.tsv",
    log:
        "results/transfer/logs/score_transfer_gain.log",
    benchmark:
        "results/transfer/benchmarks/score_transfer_gain.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        learnt_from=slides_learnt_from,
        resamples=study.evaluation.resamples,
        seed=study.study.seed,
        code=code_of("score_transfer_gain"),
    script:
        "../workflow_scripts/score_transfer_gain.py"


rule transfer:
    input:
        results_of_transfer,
