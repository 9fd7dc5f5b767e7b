# Summary: what a cohort's run came to, in a few lines.


rule summarise:
    input:
        unpack(what_training_found),
        slides=rules.list_slides.output.slides,
        hti=rules.measure_heterogeneity.output.hti,
    output:
        summary="results/{cohort}/summary.txt",
        provenance="results/{cohort}/provenance.json",
    log:
        "results/{cohort}/logs/summarise.log",
    benchmark:
        "results/{cohort}/benchmarks/summarise.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        title=title_of,
        inputs=brought_files,
        configuration=configuration_of,
        code=code_of("summarise"),
    script:
        "../workflow_scripts/summarise.py"
