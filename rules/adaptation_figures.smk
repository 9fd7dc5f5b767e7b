# Figures of microscope adaptation: examples of both domains, and how well each method classifies photographs.
#
# Requires the tile stores and labels of both cohorts, the study's tables, and the methods' learning curves. Makes figures/
# under results/adaptation/, and puts the figures into Snakemake's report.


rule write_adaptation_table1:
    input:
        data="results/adaptation/tables/data.tsv",
    output:
        page=report(
            "results/adaptation/figures/table1.html",
            caption="report/adaptation_table1.rst",
            category="9 Microscope adaptation",
            labels={"figure": "Table 1"},
        ),
    log:
        "results/adaptation/logs/write_adaptation_table1.log",
    benchmark:
        "results/adaptation/benchmarks/write_adaptation_table1.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        published=published,
        code=code_of("write_adaptation_table1"),
    script:
        "../workflow_scripts/write_adaptation_table1.py"


rule draw_adaptation_examples:
    input:
        unpack(lambda wildcards: tile_inputs(tested_places(), filtered=False, stained=False)),
        patches="results/adaptation/tables/patches.tsv",
    output:
        figure=report(
            "results/adaptation/figures/fig1_examples.png",
            caption="report/adaptation_examples.rst",
            category="9 Microscope adaptation",
            labels={"figure": "Fig. 1 Slides and photographs"},
        ),
    log:
        "results/adaptation/logs/draw_adaptation_examples.log",
    benchmark:
        "results/adaptation/benchmarks/draw_adaptation_examples.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        slides=lambda wildcards: described_slides(("test",)),
        classes=study.adaptation.classes,
        seed=study.study.seed,
        code=code_of("draw_adaptation_examples"),
    script:
        "../workflow_scripts/draw_adaptation_examples.py"


rule draw_adaptation_tsne:
    input:
        tsne="results/adaptation/tables/tsne.tsv",
    output:
        figure=report(
            "results/adaptation/figures/fig3_tsne.png",
            caption="report/adaptation_tsne.rst",
            category="9 Microscope adaptation",
            labels={"figure": "Fig. 3 Features of both domains"},
        ),
    log:
        "results/adaptation/logs/draw_adaptation_tsne.log",
    benchmark:
        "results/adaptation/benchmarks/draw_adaptation_tsne.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        methods=described_methods(),
        shown=study.adaptation.shown,
        classes=study.adaptation.classes,
        code=code_of("draw_adaptation_tsne"),
    script:
        "../workflow_scripts/draw_adaptation_tsne.py"


rule draw_adaptation_table2:
    input:
        table2="results/adaptation/tables/table2.tsv",
    output:
        figure=report(
            "results/adaptation/figures/table2.png",
            caption="report/adaptation_table2_figure.rst",
            category="9 Microscope adaptation",
            labels={"figure": "Table 2 as a figure"},
        ),
    log:
        "results/adaptation/logs/draw_adaptation_table2.log",
    benchmark:
        "results/adaptation/benchmarks/draw_adaptation_table2.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        methods=described_methods(),
        code=code_of("draw_adaptation_table2"),
    script:
        "../workflow_scripts/draw_adaptation_table2.py"


rule draw_adaptation_confusion:
    input:
        confusion="results/adaptation/tables/confusion.tsv",
    output:
        figure=report(
            "results/adaptation/figures/confusion.png",
            caption="report/adaptation_confusion.rst",
            category="9 Microscope adaptation",
            labels={"figure": "Confusion on photographs"},
        ),
    log:
        "results/adaptation/logs/draw_adaptation_confusion.log",
    benchmark:
        "results/adaptation/benchmarks/draw_adaptation_confusion.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        methods=described_methods(),
        shown=study.adaptation.shown,
        code=code_of("draw_adaptation_confusion"),
    script:
        "../workflow_scripts/draw_adaptation_confusion.py"


rule draw_adaptation_learning:
    input:
        curves=of_methods("curve.tsv", curved_methods()),
    output:
        figure=report(
            "results/adaptation/figures/learning.png",
            caption="report/adaptation_learning.rst",
            category="9 Microscope adaptation",
            labels={"figure": "Learning curves"},
        ),
    log:
        "results/adaptation/logs/draw_adaptation_learning.log",
    benchmark:
        "results/adaptation/benchmarks/draw_adaptation_learning.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        methods=described_methods(),
        trained=[(method, seed) for method in curved_methods() for seed in adaptation_seeds()],
        code=code_of("draw_adaptation_learning"),
    script:
        "../workflow_scripts/draw_adaptation_learning.py"


rule write_adaptation_table2:
    input:
        table2="results/adaptation/tables/table2.tsv",
        seeds="results/adaptation/tables/seeds.tsv",
        tests="results/adaptation/tables/tests.tsv",
    output:
        page=report(
            "results/adaptation/figures/table2.html",
            caption="report/adaptation_table2.rst",
            category="9 Microscope adaptation",
            labels={"figure": "Table 2"},
        ),
    log:
        "results/adaptation/logs/write_adaptation_table2.log",
    benchmark:
        "results/adaptation/benchmarks/write_adaptation_table2.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        methods=described_methods(),
        published=published,
        code=code_of("write_adaptation_table2"),
    script:
        "../workflow_scripts/write_adaptation_table2.py"
