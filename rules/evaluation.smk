# Evaluation: how well the models and ensembles tell high from low expression on slides that they have not seen.
#
# Requires labels, splits and slide scores. Makes the paper's Table 1 with intervals, the correlations of supplement S1
# and the distributions of Fig. 2, as tables and as figures.


rule evaluate_models:
    input:
        labels=lambda wildcards: assembled(wildcards).labels,
        splits=lambda wildcards: assembled(wildcards).splits,
        scores=rules.score_slides.output.scores,
    output:
        table1="results/{cohort}/evaluation/table1.tsv",
        correlations="results/{cohort}/evaluation/correlations.tsv",
        distributions="results/{cohort}/evaluation/score_distributions.tsv",
    log:
        "results/{cohort}/logs/evaluate_models.log",
    benchmark:
        "results/{cohort}/benchmarks/evaluate_models.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        traits=traits_of,
        resamples=study.evaluation.resamples,
        seed=study.study.seed,
        code=code_of("evaluate_models"),
    script:
        "../workflow_scripts/evaluate_models.py"
