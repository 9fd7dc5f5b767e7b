# Negative controls: the chain finds nothing where there is nothing.
#
# Requires a cohort with known truth. Its expression, shuffled between patients, is a table of traits of its own, which
# go through the unchanged chain beside the true ones; and survival is drawn independently of the heterogeneity that was
# found. Makes controls/. See studies/controls.yaml.


rule shuffle_expression:
    input:
        tables=lambda wildcards: [table["path"] for table in true_tables(wildcards).values()],
    output:
        table="results/{cohort}/controls/shuffled_expression.tsv",
    log:
        "results/{cohort}/logs/shuffle_expression.log",
    benchmark:
        "results/{cohort}/benchmarks/shuffle_expression.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        tables=true_tables,
        traits=true_traits,
        shuffles=study.controls.shuffles,
        seed=study.study.seed,
        code=code_of("shuffle_expression"),
    script:
        "../workflow_scripts/shuffle_expression.py"


rule score_controls:
    input:
        truth=lambda wildcards: str(cohort_of(wildcards).truth.tiles),
        maps=rules.map_slides.output.maps,
        labels=lambda wildcards: assembled(wildcards).labels,
        splits=lambda wildcards: assembled(wildcards).splits,
        patients=rules.analyse_survival.output.patients,
    output:
        shuffled="results/{cohort}/controls/shuffled.tsv",
        survival="results/{cohort}/controls/survival.tsv",
        uniformity="results/{cohort}/controls/uniformity.tsv",
    log:
        "results/{cohort}/logs/score_controls.log",
    benchmark:
        "results/{cohort}/benchmarks/score_controls.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        trait_a=lambda wildcards: cohort_of(wildcards).truth.trait_a,
        trait_b=lambda wildcards: cohort_of(wildcards).truth.trait_b,
        shuffles=study.controls.shuffles,
        draws=study.controls.draws,
        seed=study.study.seed,
        code=code_of("score_controls"),
    script:
        "../workflow_scripts/score_controls.py"


rule draw_controls:
    input:
        shuffled=rules.score_controls.output.shuffled,
        survival=rules.score_controls.output.survival,
        uniformity=rules.score_controls.output.uniformity,
    output:
        figure=report(
            "results/{cohort}/figures/negative_controls.png",
            caption="report/negative_controls.rst",
            category="6 Recovery",
            subcategory="{cohort}",
            labels={"figure": "Negative controls"},
        ),
    log:
        "results/{cohort}/logs/draw_controls.log",
    benchmark:
        "results/{cohort}/benchmarks/draw_controls.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        tolerance=study.controls.tolerance,
        code=code_of("draw_controls"),
    script:
        "../workflow_scripts/draw_controls.py"


rule negative_controls:
    input:
        [f"results/{cohort}/figures/negative_controls.png" for cohort in cohorts_with_truth()],
