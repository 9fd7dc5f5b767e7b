# Figures: each figure and table of the paper is one rule and one target.
#
# Requires the tables of the other stages. Makes figures/, and puts each figure into Snakemake's report.


rule draw_cohort_flow:
    input:
        flow=rules.describe_cohort.output.flow,
        traits=rules.describe_cohort.output.traits,
    output:
        figure=report(
            "results/{cohort}/figures/cohort_flow.png",
            caption="report/cohort_flow.rst",
            category="1 Cohort",
            subcategory="{cohort}",
            labels={"figure": "Flow of the cohort"},
        ),
    log:
        "results/{cohort}/logs/draw_cohort_flow.log",
    benchmark:
        "results/{cohort}/benchmarks/draw_cohort_flow.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        title=title_of,
        code=code_of("draw_cohort_flow"),
    script:
        "../workflow_scripts/draw_cohort_flow.py"


rule draw_slide_verdicts:
    input:
        slides=rules.list_slides.output.slides,
    output:
        figure=report(
            "results/{cohort}/figures/slide_verdicts.png",
            caption="report/slide_verdicts.rst",
            category="1 Cohort",
            subcategory="{cohort}",
            labels={"figure": "Slides in and out"},
        ),
    log:
        "results/{cohort}/logs/draw_slide_verdicts.log",
    benchmark:
        "results/{cohort}/benchmarks/draw_slide_verdicts.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        code=code_of("draw_slide_verdicts"),
    script:
        "../workflow_scripts/draw_slide_verdicts.py"


rule draw_quality:
    input:
        stores=tile_stores,
    output:
        figure=report(
            "results/{cohort}/figures/quality.png",
            caption="report/quality.rst",
            category="1 Cohort",
            subcategory="{cohort}",
            labels={"figure": "Tiles dropped by quality"},
        ),
    log:
        "results/{cohort}/logs/draw_quality.log",
    benchmark:
        "results/{cohort}/benchmarks/draw_quality.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        limits=lambda wildcards: {
            name: tile_settings(wildcards)[name] for name in ("max_pen", "max_dark", "min_sharpness")
        },
        code=code_of("draw_quality"),
    script:
        "../workflow_scripts/draw_quality.py"


rule draw_training_curves:
    input:
        lambda wildcards: [
            f"results/{wildcards.cohort}/training/{wildcards.trait}/round_{number}/curve.tsv" for number in rounds()
        ],
    output:
        figure=report(
            "results/{cohort}/figures/training/{trait}.png",
            caption="report/training_curves.rst",
            category="2 Training",
            subcategory="{cohort}",
            labels={"figure": "Training of {trait}"},
        ),
    log:
        "results/{cohort}/logs/draw_training_curves/{trait}.log",
    benchmark:
        "results/{cohort}/benchmarks/draw_training_curves/{trait}.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        code=code_of("draw_training_curves"),
    script:
        "../workflow_scripts/draw_training_curves.py"


rule write_table1:
    input:
        table1=rules.evaluate_models.output.table1,
    output:
        page=report(
            "results/{cohort}/figures/table1.html",
            caption="report/table1.rst",
            category="3 Evaluation",
            subcategory="{cohort}",
            labels={"figure": "Table 1"},
        ),
    log:
        "results/{cohort}/logs/write_table1.log",
    benchmark:
        "results/{cohort}/benchmarks/write_table1.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        title=title_of,
        published=published,
        code=code_of("write_table1"),
    script:
        "../workflow_scripts/write_table1.py"


rule draw_score_distributions:
    input:
        distributions=rules.evaluate_models.output.distributions,
        table1=rules.evaluate_models.output.table1,
    output:
        figure=report(
            "results/{cohort}/figures/fig2_score_distributions.png",
            caption="report/score_distributions.rst",
            category="3 Evaluation",
            subcategory="{cohort}",
            labels={"figure": "Fig. 2 Slide scores"},
        ),
    log:
        "results/{cohort}/logs/draw_score_distributions.log",
    benchmark:
        "results/{cohort}/benchmarks/draw_score_distributions.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        code=code_of("draw_score_distributions"),
    script:
        "../workflow_scripts/draw_score_distributions.py"


rule draw_correlations:
    input:
        correlations=rules.evaluate_models.output.correlations,
    output:
        figure=report(
            "results/{cohort}/figures/s1_correlations.png",
            caption="report/correlations.rst",
            category="3 Evaluation",
            subcategory="{cohort}",
            labels={"figure": "S1 Correlations"},
        ),
    log:
        "results/{cohort}/logs/draw_correlations.log",
    benchmark:
        "results/{cohort}/benchmarks/draw_correlations.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        title=title_of,
        published=published,
        code=code_of("draw_correlations"),
    script:
        "../workflow_scripts/draw_correlations.py"


rule draw_heterogeneity_examples:
    input:
        hti=rules.measure_heterogeneity.output.hti,
        maps=rules.map_slides.output.maps,
        stores=tile_stores,
    output:
        figure=report(
            "results/{cohort}/figures/fig3_heterogeneity_examples.png",
            caption="report/heterogeneity_examples.rst",
            category="4 Cartography",
            subcategory="{cohort}",
            labels={"figure": "Fig. 3 Examples"},
        ),
    log:
        "results/{cohort}/logs/draw_heterogeneity_examples.log",
    benchmark:
        "results/{cohort}/benchmarks/draw_heterogeneity_examples.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        code=code_of("draw_heterogeneity_examples"),
    script:
        "../workflow_scripts/draw_heterogeneity_examples.py"


# Not in the report, which would grow by a megabyte with each slide.
rule draw_heterogeneity_maps:
    input:
        hti=rules.measure_heterogeneity.output.hti,
        maps=rules.map_slides.output.maps,
        stores=tile_stores,
    output:
        maps=directory("results/{cohort}/figures/heterogeneity_maps"),
    log:
        "results/{cohort}/logs/draw_heterogeneity_maps.log",
    benchmark:
        "results/{cohort}/benchmarks/draw_heterogeneity_maps.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        code=code_of("draw_heterogeneity_maps"),
    script:
        "../workflow_scripts/draw_heterogeneity_maps.py"


rule draw_survival_curves:
    input:
        patients=rules.analyse_survival.output.patients,
        logrank=rules.analyse_survival.output.logrank,
    output:
        figure=report(
            "results/{cohort}/figures/fig4_survival.png",
            caption="report/survival_curves.rst",
            category="5 Survival",
            subcategory="{cohort}",
            labels={"figure": "Fig. 4 Survival by HTI"},
        ),
    log:
        "results/{cohort}/logs/draw_survival_curves.log",
    benchmark:
        "results/{cohort}/benchmarks/draw_survival_curves.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        published=published,
        code=code_of("draw_survival_curves"),
    script:
        "../workflow_scripts/draw_survival_curves.py"


rule draw_hazard_ratios:
    input:
        cox=rules.analyse_survival.output.cox,
    output:
        figure=report(
            "results/{cohort}/figures/hazard_ratios.png",
            caption="report/hazard_ratios.rst",
            category="5 Survival",
            subcategory="{cohort}",
            labels={"figure": "Cox models"},
        ),
    log:
        "results/{cohort}/logs/draw_hazard_ratios.log",
    benchmark:
        "results/{cohort}/benchmarks/draw_hazard_ratios.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        code=code_of("draw_hazard_ratios"),
    script:
        "../workflow_scripts/draw_hazard_ratios.py"


rule draw_expression_survival:
    input:
        values=rules.analyse_survival.output.expression,
        tests=rules.analyse_survival.output.expression_tests,
    output:
        figure=report(
            "results/{cohort}/figures/fig5a_expression_survival.png",
            caption="report/expression_survival.rst",
            category="5 Survival",
            subcategory="{cohort}",
            labels={"figure": "Fig. 5a Survival by expression"},
        ),
    log:
        "results/{cohort}/logs/draw_expression_survival.log",
    benchmark:
        "results/{cohort}/benchmarks/draw_expression_survival.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        code=code_of("draw_expression_survival"),
    script:
        "../workflow_scripts/draw_expression_survival.py"


rule draw_hti_by_expression:
    input:
        values=rules.analyse_survival.output.hti_by_expression,
        tests=rules.analyse_survival.output.hti_by_expression_tests,
    output:
        figure=report(
            "results/{cohort}/figures/fig5b_hti_by_expression.png",
            caption="report/hti_by_expression.rst",
            category="5 Survival",
            subcategory="{cohort}",
            labels={"figure": "Fig. 5b HTI by expression"},
        ),
    log:
        "results/{cohort}/logs/draw_hti_by_expression.log",
    benchmark:
        "results/{cohort}/benchmarks/draw_hti_by_expression.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        code=code_of("draw_hti_by_expression"),
    script:
        "../workflow_scripts/draw_hti_by_expression.py"


rule draw_hti_by_category:
    input:
        values=rules.analyse_survival.output.hti_by_category,
        tests=rules.analyse_survival.output.hti_by_category_tests,
    output:
        figure=report(
            "results/{cohort}/figures/fig6_hti_by_category.png",
            caption="report/hti_by_category.rst",
            category="5 Survival",
            subcategory="{cohort}",
            labels={"figure": "Fig. 6 HTI by category"},
        ),
    log:
        "results/{cohort}/logs/draw_hti_by_category.log",
    benchmark:
        "results/{cohort}/benchmarks/draw_hti_by_category.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        code=code_of("draw_hti_by_category"),
    script:
        "../workflow_scripts/draw_hti_by_category.py"
