# The cohort: which slides there are, which set each patient is in, which label each slide has for each trait.
#
# Requires the manifest (or folder, or sheet), the expression tables and the clinical table. Makes sheet.tsv,
# splits.tsv and labels/<trait>.tsv without opening a slide. It is the checkpoint of
# cohorts that models are trained in.


checkpoint assemble_cohort:
    input:
        unpack(assembly_inputs),
    output:
        sheet="results/{cohort}/sheet.tsv",
        splits="results/{cohort}/splits.tsv",
        labels=directory("results/{cohort}/labels"),
    log:
        "results/{cohort}/logs/assemble_cohort.log",
    benchmark:
        "results/{cohort}/benchmarks/assemble_cohort.tsv"
    wildcard_constraints:
        cohort=one_of(trained_cohorts()),
    conda:
        "../envs/histocarta.yaml"
    params:
        slides=slides_listed_in,
        expression=expression_tables,
        traits=lambda wildcards: {trait: study.traits[trait].model_dump() for trait in traits_of(wildcards)},
        labels=study.labels.model_dump(),
        splits=study.splits.model_dump(),
        seed=study.study.seed,
        listing=folder_listing,
        code=code_of("assemble_cohort"),
    script:
        "../workflow_scripts/assemble_cohort.py"


rule describe_cohort:
    input:
        sheet=lambda wildcards: assembled(wildcards).sheet,
        splits=lambda wildcards: assembled(wildcards).splits,
        labels=lambda wildcards: assembled(wildcards).labels,
        clinical=clinical_table,
    output:
        flow="results/{cohort}/flow.tsv",
        traits="results/{cohort}/flow_traits.tsv",
    log:
        "results/{cohort}/logs/describe_cohort.log",
    benchmark:
        "results/{cohort}/benchmarks/describe_cohort.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        traits=traits_of,
        missing=lambda wildcards: cohort_of(wildcards).missing_traits,
        title=title_of,
        published=published,
        code=code_of("describe_cohort"),
    script:
        "../workflow_scripts/describe_cohort.py"


rule cohort:
    input:
        [
            f"results/{cohort}/{name}"
            for cohort in study.study.cohorts
            if cohort in trained_cohorts()
            for name in ("sheet.tsv", "splits.tsv", "labels", "figures/cohort_flow.png")
        ],
        [f"results/{cohort}/{name}" for cohort in sister_cohorts() for name in ("sheet.tsv", "splits.tsv")],
