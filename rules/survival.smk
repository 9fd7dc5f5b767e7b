# Survival: whether patients with heterogeneous tumours die sooner.
#
# Requires hti.tsv, slides.tsv, labels, splits and the clinical table. Makes the tables under survival/.


rule describe_clinical:
    input:
        clinical=clinical_table,
    output:
        described="results/{cohort}/survival/clinical.tsv",
    log:
        "results/{cohort}/logs/describe_clinical.log",
    benchmark:
        "results/{cohort}/benchmarks/describe_clinical.tsv"
    # First of all: a misspelt column stops the run before slides are read and models trained.
    priority: 1
    conda:
        "../envs/histocarta.yaml"
    params:
        covariates=lambda wildcards: cohort_of(wildcards).covariates,
        categories=lambda wildcards: cohort_of(wildcards).categories,
        code=code_of("describe_clinical"),
    script:
        "../workflow_scripts/describe_clinical.py"


rule analyse_survival:
    input:
        hti=rules.measure_heterogeneity.output.hti,
        slides=rules.list_slides.output.slides,
        labels=lambda wildcards: assembled(wildcards).labels,
        splits=lambda wildcards: assembled(wildcards).splits,
        clinical=clinical_table,
        checked=rules.describe_clinical.output.described,
    output:
        patients="results/{cohort}/survival/patients.tsv",
        exclusions="results/{cohort}/survival/exclusions.tsv",
        logrank="results/{cohort}/survival/logrank.tsv",
        cox="results/{cohort}/survival/cox.tsv",
        curves="results/{cohort}/survival/curves.tsv",
        expression="results/{cohort}/survival/by_expression.tsv",
        expression_tests="results/{cohort}/survival/by_expression_tests.tsv",
        hti_by_expression="results/{cohort}/survival/hti_by_expression.tsv",
        hti_by_expression_tests="results/{cohort}/survival/hti_by_expression_tests.tsv",
        hti_by_category="results/{cohort}/survival/hti_by_category.tsv",
        hti_by_category_tests="results/{cohort}/survival/hti_by_category_tests.tsv",
    log:
        "results/{cohort}/logs/analyse_survival.log",
    benchmark:
        "results/{cohort}/benchmarks/analyse_survival.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        traits=traits_of,
        survival=study.survival.model_dump(),
        covariates=lambda wildcards: cohort_of(wildcards).covariates,
        categories=lambda wildcards: cohort_of(wildcards).categories,
        code=code_of("analyse_survival"),
    script:
        "../workflow_scripts/analyse_survival.py"
