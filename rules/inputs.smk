# Inputs from the portals: manifests, tables and slides that the configuration names by a place and not by a path.
#
# Requires a network, where anything is to be fetched. Makes results/input/ (tables, which cohorts share), and per cohort
# input/gdc_manifest.txt and slides/; beside them, as a memory of its jobs, input/gdc_files.tsv (today's ids of slides).
# What is fetched is pinned: it is fetched anew when another place is named, when a slide's md5 in the list changes, or
# by --forcerun with the rule's name; so neither the code nor how transfers are made is a parameter. These rules run
# where Snakemake does, because compute nodes rarely have a way out. Slides that are not kept are downloaded by the job
# that tiles them (tiles.smk), wherever that runs.


localrules:
    query_manifest,
    fetch_gdc_table,
    fetch_clinical,
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
        cohort=one_of(queried_cohorts()),
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
        file=one_of(gdc_tables()),
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


rule download_slide:
    output:
        slide="results/{cohort}/slides/{file}",
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
    params:
        # A slide of another md5 is another slide.
        md5=lambda wildcards: in_sheet(wildcards.cohort, "md5")[wildcards.file.rpartition(".")[0]],
    script:
        "../workflow_scripts/download_slide.py"
