# The generated cohorts of the study of cross-cancer transfer: annotated slides of a target organ, of one that resembles it
# and of one that does not.
#
# Requires nothing. Makes what a user would bring: for each organ the slides, a sheet of them and pathologists' annotations
# of all; and one split of the patients of all three.


rule make_transfer_cohorts:
    output:
        target_slides=directory("results/transfer/input/transfer_target/slides"),
        target_annotations=directory("results/transfer/input/transfer_target/annotations"),
        target="results/transfer/input/transfer_target.tsv",
        source_slides=directory("results/transfer/input/transfer_source/slides"),
        source_annotations=directory("results/transfer/input/transfer_source/annotations"),
        source="results/transfer/input/transfer_source.tsv",
        unrelated_slides=directory("results/transfer/input/transfer_unrelated/slides"),
        unrelated_annotations=directory("results/transfer/input/transfer_unrelated/annotations"),
        unrelated="results/transfer/input/transfer_unrelated.tsv",
        split="results/transfer/input/split.tsv",
    log:
        "results/transfer/logs/make_transfer_cohorts.log",
    benchmark:
        "results/transfer/benchmarks/make_transfer_cohorts.tsv"
    conda:
        "../envs/histocarta.yaml"
    threads: 2
    params:
        cohorts=study.transfer.demo.model_dump(),
        names=["transfer_target", "transfer_source", "transfer_unrelated"],
        tile_px=study.tiles.tile_px,
        mpp=study.tiles.mpp,
        code=code_of("make_transfer_cohorts"),
    script:
        "../workflow_scripts/make_transfer_cohorts.py"
