# Summary: what a cohort's run came to, in a few lines.


rule summarise:
    input:
        slides=rules.list_slides.output.slides,
        table1=rules.evaluate_models.output.table1,
        hti=rules.measure_heterogeneity.output.hti,
        logrank=rules.analyse_survival.output.logrank,
        recovery=lambda wildcards: rules.score_recovery.output.recovery if cohort_of(wildcards).truth else [],
    output:
        summary="results/{cohort}/summary.txt",
        provenance="results/{cohort}/provenance.json",
    log:
        "results/{cohort}/logs/summarise.log",
    benchmark:
        "results/{cohort}/benchmarks/summarise.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        title=title_of,
        inputs=lambda wildcards: sum(assembly_inputs(wildcards).values(), []),
        configuration=lambda wildcards: study.of_cohort(wildcards.cohort),
        code=code_of("summarise"),
    script:
        "../workflow_scripts/summarise.py"
