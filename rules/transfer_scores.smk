# Cross-cancer transfer, judged: which way to begin makes the better detector of tumour, by tile and by pixel?
#
# Requires of each regime that is available what its tumour filter says of the target's held-out slides, these slides'
# tile stores and annotations, and regimes.tsv. Makes counts of pixels per regime, and Table 1, its paired tests, its ROC
# curves and the gain by the number of slides learnt from. A new resolution counts anew, and trains nothing.


localrules:
    score_transfer,
    score_transfer_gain,


rule count_transfer_pixels:
    input:
        tiles="results/filters/{regime}/annotated/test.tsv",
        stores=stores_of_held_out_target,
        annotations=annotations_of_held_out_target,
    output:
        pixels="results/transfer/pixels/{regime}.h5",
    log:
        "results/transfer/logs/count_transfer_pixels/{regime}.log",
    benchmark:
        "results/transfer/benchmarks/count_transfer_pixels/{regime}.tsv"
    wildcard_constraints:
        regime=one_of(available_regimes()),
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
        tiles=expand("results/filters/{regime}/annotated/test.tsv", regime=available_regimes()),
        pixels=expand(rules.count_transfer_pixels.output.pixels, regime=available_regimes()),
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
        available=available_regimes(),
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
