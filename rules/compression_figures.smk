# Scores and figures of neural image compression: what was learnt from compressed slides, and how well.
#
# Requires the encoders, the grids of slides, the tables of targets, and the slide-level networks with their predictions
# and attributions. Makes the tables and figures under results/compression/, and puts the figures into Snakemake's
# report.


rule score_compression_numbers:
    input:
        targets=lambda wildcards: target_tables("number"),
        predictions=lambda wildcards: predictions_of_targets("number"),
    output:
        table1="results/compression/tables/table1.tsv",
        numbers="results/compression/tables/numbers.tsv",
    log:
        "results/compression/logs/score_compression_numbers.log",
    benchmark:
        "results/compression/benchmarks/score_compression_numbers.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        targets=lambda wildcards: scored_targets("number"),
        resamples=study.evaluation.resamples,
        seed=study.study.seed,
        code=code_of("score_compression_numbers"),
    script:
        "../workflow_scripts/score_compression_numbers.py"


rule score_compression_classes:
    input:
        targets=lambda wildcards: target_tables("class"),
        predictions=lambda wildcards: predictions_of_targets("class"),
    output:
        auc="results/compression/tables/auc.tsv",
        auc_tests="results/compression/tables/auc_tests.tsv",
        roc="results/compression/tables/roc.tsv",
    log:
        "results/compression/logs/score_compression_classes.log",
    benchmark:
        "results/compression/benchmarks/score_compression_classes.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        targets=lambda wildcards: scored_targets("class"),
        compared=lambda wildcards: compared_target(),
        resamples=study.evaluation.resamples,
        seed=study.study.seed,
        code=code_of("score_compression_classes"),
    script:
        "../workflow_scripts/score_compression_classes.py"


rule score_compression_survival:
    input:
        targets=lambda wildcards: target_tables("class", "survival"),
        predictions=lambda wildcards: predictions_of_targets("class", "survival"),
    output:
        survival="results/compression/tables/survival.tsv",
        risks="results/compression/tables/risks.tsv",
        survival_curves="results/compression/tables/survival_curves.tsv",
    log:
        "results/compression/logs/score_compression_survival.log",
    benchmark:
        "results/compression/benchmarks/score_compression_survival.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        targets=lambda wildcards: scored_targets("class", "survival"),
        scale=study.compression.risks,
        resamples=study.evaluation.resamples,
        seed=study.study.seed,
        code=code_of("score_compression_survival"),
    script:
        "../workflow_scripts/score_compression_survival.py"


rule score_ablation:
    input:
        target=lambda wildcards: f"results/compression/targets/learnt/{study.compression.ablation.target}.tsv",
        predictions=lambda wildcards: predictions_of(
            study.compression.ablation.target, study.compression.ablation.encoders()
        ),
    output:
        ablation="results/compression/tables/ablation.tsv",
        by_number="results/compression/tables/ablation_by_number.tsv",
        by_task="results/compression/tables/ablation_by_task.tsv",
    log:
        "results/compression/logs/score_ablation.log",
    benchmark:
        "results/compression/benchmarks/score_ablation.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        target=lambda wildcards: {
            study.compression.ablation.target: scored_target(
                study.compression.ablation.target, list(study.compression.ablation.encoders())
            )
        },
        tasks=lambda wildcards: study.compression.ablation.encoders(),
        resamples=study.evaluation.resamples,
        seed=study.study.seed,
        code=code_of("score_ablation"),
    script:
        "../workflow_scripts/score_ablation.py"


rule list_encoders:
    input:
        models=lambda wildcards: of_encoders("model.json"),
        scores=lambda wildcards: of_encoders("scores.tsv"),
    output:
        encoders="results/compression/tables/encoders.tsv",
    log:
        "results/compression/logs/list_encoders.log",
    benchmark:
        "results/compression/benchmarks/list_encoders.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        kinds=lambda wildcards: kinds_of_encoders(),
        code=code_of("list_encoders"),
    script:
        "../workflow_scripts/list_encoders.py"


rule draw_compression_grid:
    input:
        grids=lambda wildcards: grids_of_first_target(),
        stores=lambda wildcards: stores_of_targets(target_names()[0]),
    output:
        figure=report(
            "results/compression/figures/fig1_grid.png",
            caption="report/compression_grid.rst",
            category="9 Neural image compression",
            labels={"figure": "Fig. 1 Slides and their grids"},
        ),
    log:
        "results/compression/logs/draw_compression_grid.log",
    benchmark:
        "results/compression/benchmarks/draw_compression_grid.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        encoder=lambda wildcards: shown_encoder(target_names()[0]),
        code=code_of("draw_compression_grid"),
    script:
        "../workflow_scripts/draw_compression_grid.py"


rule draw_compression_tasks:
    input:
        ablation=rules.score_ablation.output.ablation,
        by_number=rules.score_ablation.output.by_number,
    output:
        figure=report(
            "results/compression/figures/fig3_tasks.png",
            caption="report/compression_tasks.rst",
            category="9 Neural image compression",
            labels={"figure": "Fig. 3 Number of tasks"},
        ),
    log:
        "results/compression/logs/draw_compression_tasks.log",
    benchmark:
        "results/compression/benchmarks/draw_compression_tasks.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        published=published,
        code=code_of("draw_compression_tasks"),
    script:
        "../workflow_scripts/draw_compression_tasks.py"


rule draw_compression_auc:
    input:
        auc=rules.score_compression_classes.output.auc,
        roc=rules.score_compression_classes.output.roc,
    output:
        figure=report(
            "results/compression/figures/fig4_auc.png",
            caption="report/compression_auc.rst",
            category="9 Neural image compression",
            labels={"figure": "Fig. 4 AUC by encoder"},
        ),
    log:
        "results/compression/logs/draw_compression_auc.log",
    benchmark:
        "results/compression/benchmarks/draw_compression_auc.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        target=lambda wildcards: compared_target(),
        titles=lambda wildcards: titles_of_targets(),
        published=published,
        code=code_of("draw_compression_auc"),
    script:
        "../workflow_scripts/draw_compression_auc.py"


rule draw_compression_survival:
    input:
        survival=rules.score_compression_survival.output.survival,
        risks=rules.score_compression_survival.output.risks,
        survival_curves=rules.score_compression_survival.output.survival_curves,
    output:
        figure=report(
            "results/compression/figures/fig5_fig6_survival.png",
            caption="report/compression_survival.rst",
            category="9 Neural image compression",
            labels={"figure": "Figs. 5 and 6 Survival by risk"},
        ),
    log:
        "results/compression/logs/draw_compression_survival.log",
    benchmark:
        "results/compression/benchmarks/draw_compression_survival.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        encoders=lambda wildcards: shown_encoders(),
        titles=lambda wildcards: titles_of_targets(),
        published=published,
        code=code_of("draw_compression_survival"),
    script:
        "../workflow_scripts/draw_compression_survival.py"


rule draw_compression_numbers:
    input:
        numbers=rules.score_compression_numbers.output.numbers,
        table1=rules.score_compression_numbers.output.table1,
    output:
        figure=report(
            "results/compression/figures/numbers.png",
            caption="report/compression_numbers.rst",
            category="9 Neural image compression",
            labels={"figure": "Predicted and true numbers"},
        ),
    log:
        "results/compression/logs/draw_compression_numbers.log",
    benchmark:
        "results/compression/benchmarks/draw_compression_numbers.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        encoders=lambda wildcards: shown_encoders(),
        titles=lambda wildcards: titles_of_targets(),
        code=code_of("draw_compression_numbers"),
    script:
        "../workflow_scripts/draw_compression_numbers.py"


rule draw_compression_encoders:
    input:
        curves=lambda wildcards: of_encoders("curve.tsv"),
        encoders=rules.list_encoders.output.encoders,
    output:
        figure=report(
            "results/compression/figures/encoders.png",
            caption="report/compression_encoders.rst",
            category="9 Neural image compression",
            labels={"figure": "Encoders"},
        ),
    log:
        "results/compression/logs/draw_compression_encoders.log",
    benchmark:
        "results/compression/benchmarks/draw_compression_encoders.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        encoders=lambda wildcards: list(kinds_of_encoders()),
        code=code_of("draw_compression_encoders"),
    script:
        "../workflow_scripts/draw_compression_encoders.py"


rule draw_compression_models:
    input:
        models=lambda wildcards: models_of_targets(),
    output:
        figure=report(
            "results/compression/figures/slide_models.png",
            caption="report/compression_models.rst",
            category="9 Neural image compression",
            labels={"figure": "Slide-level networks"},
        ),
    log:
        "results/compression/logs/draw_compression_models.log",
    benchmark:
        "results/compression/benchmarks/draw_compression_models.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        models=lambda wildcards: described_models(),
        titles=lambda wildcards: titles_of_targets(),
        code=code_of("draw_compression_models"),
    script:
        "../workflow_scripts/draw_compression_models.py"


rule draw_compression_looked_at:
    input:
        attributions=lambda wildcards: attributions_of_targets(),
        predictions=lambda wildcards: shown_predictions(),
        stores=lambda wildcards: stores_of_targets(),
    output:
        figure=report(
            "results/compression/figures/looked_at.png",
            caption="report/compression_looked_at.rst",
            category="9 Neural image compression",
            labels={"figure": "What was looked at"},
        ),
    log:
        "results/compression/logs/draw_compression_looked_at.log",
    benchmark:
        "results/compression/benchmarks/draw_compression_looked_at.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        targets=lambda wildcards: described_targets(),
        code=code_of("draw_compression_looked_at"),
    script:
        "../workflow_scripts/draw_compression_looked_at.py"


# Not in the report, which would grow by a megabyte with each slide.
rule draw_compression_looked_at_slides:
    input:
        attributions=lambda wildcards: attributions_of_targets(),
        stores=lambda wildcards: stores_of_targets(),
    output:
        maps=directory("results/compression/figures/looked_at"),
    log:
        "results/compression/logs/draw_compression_looked_at_slides.log",
    benchmark:
        "results/compression/benchmarks/draw_compression_looked_at_slides.tsv"
    # Alone at the end it would take a minute of one core; before others' training it takes none.
    priority: 1
    conda:
        "../envs/histocarta.yaml"
    params:
        targets=lambda wildcards: described_targets(),
        code=code_of("draw_compression_looked_at_slides"),
    script:
        "../workflow_scripts/draw_compression_looked_at_slides.py"


rule write_compression_table1:
    input:
        table1=rules.score_compression_numbers.output.table1,
        auc=rules.score_compression_classes.output.auc,
        auc_tests=rules.score_compression_classes.output.auc_tests,
        survival=rules.score_compression_survival.output.survival,
        encoders=rules.list_encoders.output.encoders,
    output:
        page=report(
            "results/compression/figures/table1.html",
            caption="report/compression_table1.rst",
            category="9 Neural image compression",
            labels={"figure": "Table 1"},
        ),
    log:
        "results/compression/logs/write_compression_table1.log",
    benchmark:
        "results/compression/benchmarks/write_compression_table1.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        titles=lambda wildcards: titles_of_targets(),
        published=published,
        code=code_of("write_compression_table1"),
    script:
        "../workflow_scripts/write_compression_table1.py"


rule write_compression_table2:
    input:
        ablation=rules.score_ablation.output.ablation,
        by_number=rules.score_ablation.output.by_number,
        by_task=rules.score_ablation.output.by_task,
    output:
        page=report(
            "results/compression/figures/table2.html",
            caption="report/compression_table2.rst",
            category="9 Neural image compression",
            labels={"figure": "Tables 2 and 3"},
        ),
    log:
        "results/compression/logs/write_compression_table2.log",
    benchmark:
        "results/compression/benchmarks/write_compression_table2.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        title=lambda wildcards: titles_of_targets()[study.compression.ablation.target],
        published=published,
        code=code_of("write_compression_table2"),
    script:
        "../workflow_scripts/write_compression_table2.py"


rule write_compression_encoders:
    input:
        encoders=rules.list_encoders.output.encoders,
    output:
        page=report(
            "results/compression/figures/encoders.html",
            caption="report/compression_encoders_page.rst",
            category="9 Neural image compression",
            labels={"figure": "Accuracy of encoders"},
        ),
    log:
        "results/compression/logs/write_compression_encoders.log",
    benchmark:
        "results/compression/benchmarks/write_compression_encoders.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        published=published,
        code=code_of("write_compression_encoders"),
    script:
        "../workflow_scripts/write_compression_encoders.py"


rule write_compression_traits:
    input:
        traits="results/compression/tables/traits.tsv",
    output:
        page=report(
            "results/compression/figures/traits.html",
            caption="report/compression_traits.rst",
            category="9 Neural image compression",
            labels={"figure": "Traits from tiles and grids"},
        ),
    log:
        "results/compression/logs/write_compression_traits.log",
    benchmark:
        "results/compression/benchmarks/write_compression_traits.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        code=code_of("write_compression_traits"),
    script:
        "../workflow_scripts/write_compression_traits.py"
