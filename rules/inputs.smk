# Inputs from the portals: manifests, tables and slides that the configuration names by a place and not by a path.
#
# Requires a network, where anything is to be fetched. Makes results/input/ (tables, which cohorts share), and per cohort
# input/gdc_manifest.txt, input/gdc_files.tsv (today's ids of its slides) and slides/. What is fetched is pinned: only
# deleting it, or naming another place, fetches it anew; so neither the code nor how transfers are made is a parameter.
# These rules run where Snakemake does, because compute nodes rarely have a way out.


localrules:
    query_manifest,
    fetch_gdc_table,
    fetch_clinical,
    resolve_slides,
    download_slide,


rule query_manifest:
    output:
        manifest="results/{cohort}/input/gdc_manifest.txt",
        pin="results/{cohort}/input/gdc_manifest.json",
    log:
        "results/{cohort}/logs/query_manifest.log",
    benchmark:
        "results/{cohort}/benchmarks/query_manifest.tsv"
    wildcard_constraints:
        cohort=queried_cohorts(),
    conda:
        "../envs/histocarta.yaml"
    params:
        project=lambda wildcards: sources.parts(cohort_of(wildcards).slides.manifest, kind="manifest")["project"],
    script:
        "../workflow_scripts/query_manifest.py"


rule fetch_gdc_table:
    output:
        table="results/input/gdc/{file}",
        pin="results/input/gdc/{file}.json",
    log:
        "results/input/logs/fetch_gdc_table/{file}.log",
    benchmark:
        "results/input/benchmarks/fetch_gdc_table/{file}.tsv"
    wildcard_constraints:
        file="|".join(map(re.escape, gdc_tables())) or "(?!)",
    conda:
        "../envs/histocarta.yaml"
    params:
        id=lambda wildcards: gdc_tables()[wildcards.file],
    script:
        "../workflow_scripts/fetch_gdc_table.py"


rule fetch_clinical:
    output:
        table="results/input/cbioportal/{portal_study}/data_clinical_patient.txt",
        pin="results/input/cbioportal/{portal_study}/data_clinical_patient.txt.json",
    log:
        "results/input/logs/fetch_clinical/{portal_study}.log",
    benchmark:
        "results/input/benchmarks/fetch_clinical/{portal_study}.tsv"
    wildcard_constraints:
        portal_study="[a-z0-9][a-z0-9_-]*",
    conda:
        "../envs/histocarta.yaml"
    script:
        "../workflow_scripts/fetch_clinical.py"


rule resolve_slides:
    input:
        sheet=lambda wildcards: assembled(wildcards).sheet,
    output:
        files="results/{cohort}/input/gdc_files.tsv",
    log:
        "results/{cohort}/logs/resolve_slides.log",
    benchmark:
        "results/{cohort}/benchmarks/resolve_slides.tsv"
    conda:
        "../envs/histocarta.yaml"
    script:
        "../workflow_scripts/resolve_slides.py"


rule download_slide:
    input:
        # Ids that are looked up anew are no reason to download anew.
        files=ancient(rules.resolve_slides.output.files),
    output:
        slide=kept_or_temporary("results/{cohort}/slides/{file}"),
    log:
        "results/{cohort}/logs/download_slide/{file}.log",
    benchmark:
        "results/{cohort}/benchmarks/download_slide/{file}.tsv"
    wildcard_constraints:
        file=r"[A-Za-z0-9][A-Za-z0-9._-]*",
    conda:
        "../envs/histocarta.yaml"
    resources:
        downloads=1,
    script:
        "../workflow_scripts/download_slide.py"
