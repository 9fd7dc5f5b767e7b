# What a cohort is assembled from: lists of slides, tables of the user or of the portals.
from pathlib import Path

from workflow_scripts.lib import sources


def input_path(source, *, kind, cohort):
    """Where a configured source lies, fetched or not; None where it is not given."""
    return None if source is None else sources.local_path(source, kind=kind, cohort=cohort)


def tables_of_expression(cohort):
    """Source, kind and sample type of a cohort's expression tables by name; none of a sister study's cohort."""
    expression = study.cohorts[cohort].expression
    return expression.by_name() if expression else {}


def expression_tables(wildcards):
    """Path, kind and sample type of the expression tables that a cohort's traits are in, by name."""
    tables = tables_of_expression(wildcards.cohort)
    used = {study.traits[trait].table for trait in traits_of(wildcards)}
    return {
        name: table | {"path": input_path(table["source"], kind="table", cohort=wildcards.cohort)}
        for name, table in tables.items()
        if name in used
    }


def slides_listed_in(wildcards):
    """Where a cohort's slides are listed, for `assembly.list_slides`."""
    slides = cohort_of(wildcards).slides
    folder = f"results/{wildcards.cohort}/slides" if slides.folder is None and slides.sheet is None else slides.folder
    return {
        "manifest": input_path(slides.manifest, kind="manifest", cohort=wildcards.cohort),
        "folder": folder and str(folder),
        "sheet": slides.sheet and str(slides.sheet),
        "exclude": slides.exclude,
        "photographs": slides.photographs,
    }


def slides_brought(wildcards):
    """The files that list a cohort's slides; none where a folder does."""
    slides = slides_listed_in(wildcards)
    return given(slides["manifest"], slides["sheet"])


def assembly_inputs(wildcards):
    cohort = cohort_of(wildcards)
    return {
        "slides": slides_brought(wildcards),
        "expression": [table["path"] for table in expression_tables(wildcards).values()],
        "clinical": given(clinical_table(wildcards)),
        "split": given(cohort.split),
    }


def clinical_table(wildcards):
    return input_path(cohort_of(wildcards).clinical, kind="clinical", cohort=wildcards.cohort)


def folder_listing(wildcards):
    """Names in a folder of slides that has no manifest: a slide that is added or removed changes the cohort."""
    slides = cohort_of(wildcards).slides
    if slides.folder is None or slides.manifest is not None or not slides.folder.is_dir():
        return []
    return sorted(path.name for path in slides.folder.iterdir())


# Inputs from the portals


def queried_cohorts():
    """The cohorts whose manifest is asked for at the GDC."""
    manifests = {name: cohort.slides.manifest for name, cohort in study.cohorts.items()}
    return [name for name, manifest in manifests.items() if manifest and sources.parts(manifest, kind="manifest")]


def gdc_tables():
    """Ids of the tables that are fetched from the GDC, by file name."""
    named = [table["source"] for cohort in trained_cohorts() for table in tables_of_expression(cohort).values()]
    found = [sources.parts(source, kind="table") for source in named]
    return {parts["name"]: parts["id"] for parts in found if parts}


# A job that downloads a slide takes one.
workflow.register_resource("downloads", study.downloads.at_once)
