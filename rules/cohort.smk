# The cohort: which slides there are, which set each patient is in, which label each slide has for each trait.
#
# Requires the manifest (or folder, or sheet), the expression tables and the clinical table. Makes sheet.tsv,
# splits.tsv and labels/<trait>.tsv without opening a slide. It is the workflow's one checkpoint.


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
    conda:
        "../envs/histocarta.yaml"
    params:
        cohort=lambda wildcards: cohort_of(wildcards).model_dump(
            mode="json", include={"slides", "expression", "clinical", "split"}
        ),
        traits=lambda wildcards: {trait: study.traits[trait].model_dump() for trait in traits_of(wildcards)},
        labels=study.labels.model_dump(),
        splits=study.splits.model_dump(),
        seed=study.study.seed,
        listing=folder_listing,
        code=code_of("assemble_cohort"),
    script:
        "../workflow_scripts/assemble_cohort.py"
