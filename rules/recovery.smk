# Recovery: how much of a known truth the chain found, and that it finds nothing where there is nothing.
#
# Requires predictions, slide scores, hti.tsv and the truth, which no other stage reads. Makes recovery.tsv. The
# negative controls are a target of their own (`negative_controls`), see studies/controls.yaml.


rule score_recovery:
    input:
        truth=lambda wildcards: str(cohort_of(wildcards).truth.tiles),
        maps=rules.map_slides.output.maps,
        scores=rules.score_slides.output.scores,
        hti=rules.measure_heterogeneity.output.hti,
        labels=lambda wildcards: assembled(wildcards).labels,
        splits=lambda wildcards: assembled(wildcards).splits,
    output:
        recovery="results/{cohort}/recovery/recovery.tsv",
        slides="results/{cohort}/recovery/slides.tsv",
    log:
        "results/{cohort}/logs/score_recovery.log",
    benchmark:
        "results/{cohort}/benchmarks/score_recovery.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        trait_a=lambda wildcards: cohort_of(wildcards).truth.trait_a,
        trait_b=lambda wildcards: cohort_of(wildcards).truth.trait_b,
        denominator=study.heterogeneity.denominator,
        code=code_of("score_recovery"),
    script:
        "../workflow_scripts/score_recovery.py"


rule draw_recovery:
    input:
        slides=rules.score_recovery.output.slides,
        recovery=rules.score_recovery.output.recovery,
    output:
        figure=report(
            "results/{cohort}/figures/recovery.png",
            caption="report/recovery.rst",
            category="6 Recovery",
            subcategory="{cohort}",
            labels={"figure": "Found against true"},
        ),
    log:
        "results/{cohort}/logs/draw_recovery.log",
    benchmark:
        "results/{cohort}/benchmarks/draw_recovery.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        code=code_of("draw_recovery"),
    script:
        "../workflow_scripts/draw_recovery.py"
