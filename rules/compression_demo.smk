# The generated cohorts of the study of neural image compression: annotated slides of four patch tasks, and liver metastases
# of two hospitals with a class, a number and survival.
#
# Requires nothing. Makes what a user would bring: for each cohort the slides and a sheet of them; for the patch tasks
# pathologists' annotations and one split of their patients; for the hospitals the targets and a clinical file, and for the
# first of them expression. truth.tsv is what was planted, and no stage reads it.


rule make_compression_cohorts:
    output:
        annotations=[
            directory(f"results/compression/input/compression_{role}/annotations")
            for role in ["lymph_node_a", "lymph_node_b", "glands", "nuclei", "tissues"]
        ],
        slides=[
            directory(f"results/compression/input/compression_{role}/slides")
            for role in ["lymph_node_a", "lymph_node_b", "glands", "nuclei", "tissues", "development", "external"]
        ],
        sheets=[
            f"results/compression/input/compression_{role}.tsv"
            for role in ["lymph_node_a", "lymph_node_b", "glands", "nuclei", "tissues", "development", "external"]
        ],
        split="results/compression/input/split.tsv",
        targets="results/compression/input/targets.tsv",
        clinical="results/compression/input/clinical.tsv",
        mrna="results/compression/input/mrna.geneExp.tsv",
        truth="results/compression/input/truth.tsv",
    log:
        "results/compression/logs/make_compression_cohorts.log",
    benchmark:
        "results/compression/benchmarks/make_compression_cohorts.tsv"
    conda:
        "../envs/histocarta.yaml"
    threads: 2
    params:
        cohorts=study.compression.demo.model_dump(),
        prefix="compression",
        genes=["PRLA", "RIMA"],
        tile_px=study.tiles.tile_px,
        mpp=study.tiles.mpp,
        code=code_of("make_compression_cohorts"),
    script:
        "../workflow_scripts/make_compression_cohorts.py"
