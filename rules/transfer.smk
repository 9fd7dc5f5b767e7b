# The study of cross-cancer transfer: does a detector of tumour that saw another cancer first do better?
#
# Requires the tiles, stains and annotations of a target cohort and of those that detectors see first, which the chain
# makes. Detectors are tumour filters, trained by the chain's rules (results/filters/). Makes regimes.tsv, which of them
# can be trained here, and the tables and figures under results/transfer/.


localrules:
    transfer,
    find_regimes,


checkpoint find_regimes:
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
