# Figures of the metastatic origin study: each figure of the paper is one rule and one target.
#
# Requires the study's tables, its predictions of held-out slides (results/origin/) and the tile stores of those slides.
# Makes results/origin/figures/, and puts each figure into Snakemake's report. Its Fig. 2B and C are of the tumour filters,
# and drawn with them (results/filters/<filter>/figures/).


rule draw_origin_data:
    input:
        data="results/origin/tables/data.tsv",
    output:
        figure=report(
            "results/origin/figures/fig2a_data.png",
            caption="report/origin_data.rst",
            category="7 Metastatic origin",
            labels={"figure": "Fig. 2A Data"},
        ),
    log:
        "results/origin/logs/draw_origin_data.log",
    benchmark:
        "results/origin/benchmarks/draw_origin_data.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        published=published,
        code=code_of("draw_origin_data"),
    script:
        "../workflow_scripts/draw_origin_data.py"


rule draw_origin_roc:
    input:
        roc="results/origin/tables/roc.tsv",
        auroc="results/origin/tables/auroc.tsv",
    output:
        figure=report(
            "results/origin/figures/fig3_roc.png",
            caption="report/origin_roc.rst",
            category="7 Metastatic origin",
            labels={"figure": "Fig. 3 ROC curves"},
        ),
    log:
        "results/origin/logs/draw_origin_roc.log",
    benchmark:
        "results/origin/benchmarks/draw_origin_roc.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        published=published,
        code=code_of("draw_origin_roc"),
    script:
        "../workflow_scripts/draw_origin_roc.py"


rule draw_origin_class_map:
    input:
        predictions="results/origin/predictions.h5",
        slides="results/origin/tables/slide_predictions.tsv",
        ranks="results/origin/tables/ranks.tsv",
        stores=stores_of_held_out,
    output:
        figure=report(
            "results/origin/figures/fig4a_class_map.png",
            caption="report/origin_class_map.rst",
            category="7 Metastatic origin",
            labels={"figure": "Fig. 4A Classes over a slide"},
        ),
    log:
        "results/origin/logs/draw_origin_class_map.log",
    benchmark:
        "results/origin/benchmarks/draw_origin_class_map.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        code=code_of("draw_origin_class_map"),
    script:
        "../workflow_scripts/draw_origin_class_map.py"


# Not in the report, which would grow by a megabyte with each slide.
rule draw_origin_class_maps:
    input:
        predictions="results/origin/predictions.h5",
        slides="results/origin/tables/slide_predictions.tsv",
        stores=stores_of_held_out,
    output:
        maps=directory("results/origin/figures/class_maps"),
    log:
        "results/origin/logs/draw_origin_class_maps.log",
    benchmark:
        "results/origin/benchmarks/draw_origin_class_maps.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        code=code_of("draw_origin_class_maps"),
    script:
        "../workflow_scripts/draw_origin_class_maps.py"


rule draw_origin_confusion:
    input:
        confusion="results/origin/tables/confusion.tsv",
    output:
        figure=report(
            "results/origin/figures/fig4b_confusion.png",
            caption="report/origin_confusion.rst",
            category="7 Metastatic origin",
            labels={"figure": "Fig. 4B Confusion matrices"},
        ),
    log:
        "results/origin/logs/draw_origin_confusion.log",
    benchmark:
        "results/origin/benchmarks/draw_origin_confusion.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        code=code_of("draw_origin_confusion"),
    script:
        "../workflow_scripts/draw_origin_confusion.py"


rule draw_origin_ranks:
    input:
        ranks="results/origin/tables/ranks.tsv",
        top_k="results/origin/tables/top_k.tsv",
    output:
        figure=report(
            "results/origin/figures/fig4c_ranks.png",
            caption="report/origin_ranks.rst",
            category="7 Metastatic origin",
            labels={"figure": "Fig. 4C Rank and confidence"},
        ),
    log:
        "results/origin/logs/draw_origin_ranks.log",
    benchmark:
        "results/origin/benchmarks/draw_origin_ranks.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        published=published,
        code=code_of("draw_origin_ranks"),
    script:
        "../workflow_scripts/draw_origin_ranks.py"


rule draw_origin_tsne:
    input:
        tsne="results/origin/tables/tsne.tsv",
        data="results/origin/tables/data.tsv",
    output:
        figure=report(
            "results/origin/figures/fig5a_tsne.png",
            caption="report/origin_tsne.rst",
            category="7 Metastatic origin",
            labels={"figure": "Fig. 5A t-SNE"},
        ),
    log:
        "results/origin/logs/draw_origin_tsne.log",
    benchmark:
        "results/origin/benchmarks/draw_origin_tsne.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        code=code_of("draw_origin_tsne"),
    script:
        "../workflow_scripts/draw_origin_tsne.py"


rule draw_origin_divergence:
    input:
        divergence="results/origin/tables/divergence.tsv",
        data="results/origin/tables/data.tsv",
    output:
        figure=report(
            "results/origin/figures/fig5b_divergence.png",
            caption="report/origin_divergence.rst",
            category="7 Metastatic origin",
            labels={"figure": "Fig. 5B Divergence"},
        ),
    log:
        "results/origin/logs/draw_origin_divergence.log",
    benchmark:
        "results/origin/benchmarks/draw_origin_divergence.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        code=code_of("draw_origin_divergence"),
    script:
        "../workflow_scripts/draw_origin_divergence.py"


rule draw_origin_divergence_auroc:
    input:
        points="results/origin/tables/divergence_auroc.tsv",
        correlation="results/origin/tables/divergence_correlation.tsv",
    output:
        figure=report(
            "results/origin/figures/fig5c_divergence_auroc.png",
            caption="report/origin_divergence_auroc.rst",
            category="7 Metastatic origin",
            labels={"figure": "Fig. 5C Divergence and AUROC"},
        ),
    log:
        "results/origin/logs/draw_origin_divergence_auroc.log",
    benchmark:
        "results/origin/benchmarks/draw_origin_divergence_auroc.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        published=published,
        code=code_of("draw_origin_divergence_auroc"),
    script:
        "../workflow_scripts/draw_origin_divergence_auroc.py"


rule write_origin_auroc:
    input:
        auroc="results/origin/tables/auroc.tsv",
        tests="results/origin/tables/tests.tsv",
        top_k="results/origin/tables/top_k.tsv",
    output:
        page=report(
            "results/origin/figures/auroc.html",
            caption="report/origin_auroc.rst",
            category="7 Metastatic origin",
            labels={"figure": "AUROCs and paired tests"},
        ),
    log:
        "results/origin/logs/write_origin_auroc.log",
    benchmark:
        "results/origin/benchmarks/write_origin_auroc.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        published=published,
        code=code_of("write_origin_auroc"),
    script:
        "../workflow_scripts/write_origin_auroc.py"
