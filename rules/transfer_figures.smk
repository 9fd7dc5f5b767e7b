# Figures of cross-cancer transfer: the slides and tiles of its cohorts, and how well each regime tells tumour.
#
# Requires the annotated slides of the target and of what the regimes start from, the filters that the regimes are, with
# their probabilities of held-out tiles, and the study's tables. Makes tables/cohort.tsv and figures/ under
# results/transfer/, and puts the figures into Snakemake's report.


rule describe_transfer_cohorts:
    input:
        unpack(lambda wildcards: annotated_files(places_of_transfer(wildcards))),
        labels=lambda wildcards: labels_of_tiles(places_of_transfer(wildcards)),
    output:
        cohort="results/transfer/tables/cohort.tsv",
    log:
        "results/transfer/logs/describe_transfer_cohorts.log",
    benchmark:
        "results/transfer/benchmarks/describe_transfer_cohorts.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        slides=lambda wildcards: slides_of_transfer(),
        classes=tumour_classes,
        label=tumour_labels,
        code=code_of("describe_transfer_cohorts"),
    script:
        "../workflow_scripts/describe_transfer_cohorts.py"


rule write_transfer_cohort:
    input:
        cohort=rules.describe_transfer_cohorts.output.cohort,
    output:
        page=report(
            "results/transfer/figures/cohort.html",
            caption="report/transfer_cohort.rst",
            category="8 Cross-cancer transfer",
            labels={"figure": "Annotated slides"},
        ),
    log:
        "results/transfer/logs/write_transfer_cohort.log",
    benchmark:
        "results/transfer/benchmarks/write_transfer_cohort.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        target=study.transfer.target,
        published=published,
        code=code_of("write_transfer_cohort"),
    script:
        "../workflow_scripts/write_transfer_cohort.py"


rule draw_transfer_annotations:
    input:
        unpack(lambda wildcards: annotated_files(held_out_of_transfer())),
        cohort=rules.describe_transfer_cohorts.output.cohort,
    output:
        figure=report(
            "results/transfer/figures/fig1_annotations.png",
            caption="report/transfer_annotations.rst",
            category="8 Cross-cancer transfer",
            labels={"figure": "Fig. 1 Annotations and mask"},
        ),
    log:
        "results/transfer/logs/draw_transfer_annotations.log",
    benchmark:
        "results/transfer/benchmarks/draw_transfer_annotations.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        target=study.transfer.target,
        classes=classes_of_target,
        label=label_of_target,
        code=code_of("draw_transfer_annotations"),
    script:
        "../workflow_scripts/draw_transfer_annotations.py"


rule draw_transfer_tiles:
    input:
        unpack(lambda wildcards: tile_inputs(places_of_transfer(wildcards), filtered=False)),
        labels=lambda wildcards: labels_of_tiles(places_of_transfer(wildcards)),
    output:
        figure=report(
            "results/transfer/figures/fig2_tiles.png",
            caption="report/transfer_tiles.rst",
            category="8 Cross-cancer transfer",
            labels={"figure": "Fig. 2 Sample tiles"},
        ),
    log:
        "results/transfer/logs/draw_transfer_tiles.log",
    benchmark:
        "results/transfer/benchmarks/draw_transfer_tiles.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        slides=places_of_transfer,
        label=tumour_labels,
        seed=study.study.seed,
        code=code_of("draw_transfer_tiles"),
    script:
        "../workflow_scripts/draw_transfer_tiles.py"


rule draw_transfer_roc:
    input:
        roc="results/transfer/tables/roc.tsv",
        table1="results/transfer/tables/table1.tsv",
        regimes="results/transfer/regimes.tsv",
    output:
        figure=report(
            "results/transfer/figures/fig3_roc.png",
            caption="report/transfer_roc.rst",
            category="8 Cross-cancer transfer",
            labels={"figure": "Fig. 3 ROC curves"},
        ),
    log:
        "results/transfer/logs/draw_transfer_roc.log",
    benchmark:
        "results/transfer/benchmarks/draw_transfer_roc.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        code=code_of("draw_transfer_roc"),
    script:
        "../workflow_scripts/draw_transfer_roc.py"


rule draw_transfer_map:
    input:
        unpack(lambda wildcards: annotated_files(held_out_of_transfer())),
        tiles=of_regimes("results/filters/{regime}/annotated/test.tsv"),
        table1="results/transfer/tables/table1.tsv",
        regimes="results/transfer/regimes.tsv",
        cohort=rules.describe_transfer_cohorts.output.cohort,
    output:
        figure=report(
            "results/transfer/figures/fig4_maps.png",
            caption="report/transfer_map.rst",
            category="8 Cross-cancer transfer",
            labels={"figure": "Fig. 4 Tumour over a slide"},
        ),
    log:
        "results/transfer/logs/draw_transfer_map.log",
    benchmark:
        "results/transfer/benchmarks/draw_transfer_map.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        regimes=lambda wildcards: available_regimes(),
        target=study.transfer.target,
        classes=classes_of_target,
        label=label_of_target,
        code=code_of("draw_transfer_map"),
    script:
        "../workflow_scripts/draw_transfer_map.py"


# Not in the report, which would grow by a megabyte with each slide.
rule draw_transfer_maps:
    input:
        unpack(lambda wildcards: annotated_files(held_out_of_transfer())),
        tiles=of_regimes("results/filters/{regime}/annotated/test.tsv"),
        table1="results/transfer/tables/table1.tsv",
        regimes="results/transfer/regimes.tsv",
    output:
        maps=directory("results/transfer/figures/probability_maps"),
    log:
        "results/transfer/logs/draw_transfer_maps.log",
    benchmark:
        "results/transfer/benchmarks/draw_transfer_maps.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        regimes=lambda wildcards: available_regimes(),
        classes=classes_of_target,
        label=label_of_target,
        code=code_of("draw_transfer_maps"),
    script:
        "../workflow_scripts/draw_transfer_maps.py"


rule draw_transfer_learning:
    input:
        curves=of_regimes("results/filters/{regime}/curve.tsv"),
        regimes="results/transfer/regimes.tsv",
    output:
        figure=report(
            "results/transfer/figures/fig5_learning.png",
            caption="report/transfer_learning.rst",
            category="8 Cross-cancer transfer",
            labels={"figure": "Fig. 5 Learning curves"},
        ),
    log:
        "results/transfer/logs/draw_transfer_learning.log",
    benchmark:
        "results/transfer/benchmarks/draw_transfer_learning.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        regimes=lambda wildcards: available_regimes(),
        code=code_of("draw_transfer_learning"),
    script:
        "../workflow_scripts/draw_transfer_learning.py"


rule draw_transfer_gain:
    input:
        gain="results/transfer/tables/gain.tsv",
        regimes="results/transfer/regimes.tsv",
    output:
        figure=report(
            "results/transfer/figures/fig6_gain.png",
            caption="report/transfer_gain.rst",
            category="8 Cross-cancer transfer",
            labels={"figure": "Fig. 6 Gain by number of slides"},
        ),
    log:
        "results/transfer/logs/draw_transfer_gain.log",
    benchmark:
        "results/transfer/benchmarks/draw_transfer_gain.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        code=code_of("draw_transfer_gain"),
    script:
        "../workflow_scripts/draw_transfer_gain.py"


rule write_transfer_table1:
    input:
        table1="results/transfer/tables/table1.tsv",
        tests="results/transfer/tables/tests.tsv",
        regimes="results/transfer/regimes.tsv",
    output:
        page=report(
            "results/transfer/figures/table1.html",
            caption="report/transfer_table1.rst",
            category="8 Cross-cancer transfer",
            labels={"figure": "Table 1"},
        ),
    log:
        "results/transfer/logs/write_transfer_table1.log",
    benchmark:
        "results/transfer/benchmarks/write_transfer_table1.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        in_paper=study.transfer.in_paper,
        published=published,
        code=code_of("write_transfer_table1"),
    script:
        "../workflow_scripts/write_transfer_table1.py"
