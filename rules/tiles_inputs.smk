# What the rules of tiles and stains take: slide files, and what is done to colours.
from functools import cache
from pathlib import Path

from workflow_scripts.lib import planning, sources
from workflow_scripts.lib.errors import InputError


def tile_settings(wildcards):
    """`tiles` of the configuration, or of the models that are applied, without `threads`, which shapes no tile."""
    applied = applied_settings(wildcards.cohort)
    settings = applied["tiles"] if applied else study.tiles.model_dump()
    return {name: value for name, value in settings.items() if name != "threads"}


def slide_file(wildcards):
    """A slide's file: where it lies, or where a job of its own downloads it to.

    One that is not there and is not to be downloaded, or is downloaded by the job that tiles it, is no input; in the
    first case its store says so, and its coming reruns it. One that is gone after it was tiled stays the input, so that
    its tiles are kept.
    """
    file = listed_slides(wildcards)[wildcards.slide]
    found = planning.find_slide(file)
    if found:
        return found
    tiled = Path(tile_store(wildcards, wildcards.slide)).is_file()
    if not cohort_of(wildcards).slides.download:
        return file if tiled else []
    if not study.downloads.keep_slides:
        return []
    name = Path(file).name
    came = not tiled or Path(f"results/{wildcards.cohort}/logs/download_slide/{name}.log").is_file()
    return f"results/{wildcards.cohort}/slides/{name}" if came else file


def slide_to_bring(wildcards):
    """Where the job that tiles a slide downloads it to, if it does."""
    if study.downloads.keep_slides or not cohort_of(wildcards).slides.download:
        return None
    file = listed_slides(wildcards)[wildcards.slide]
    return None if planning.find_slide(file) else f"results/{wildcards.cohort}/slides/{Path(file).name}"


def configured_mpp(cohort, slide):
    """µm/px for a slide whose file does not say: of the sheet, or else of the cohort."""
    given_in_sheet = in_sheet(cohort, "mpp")[slide]
    return float(given_in_sheet) if given_in_sheet else study.cohorts[cohort].slides.mpp


def listed_md5(wildcards):
    """The md5 that a slide's file must have; '' for any."""
    is_checked = cohort_of(wildcards).slides.check_md5
    return in_sheet(wildcards.cohort, "md5")[wildcards.slide] if is_checked else ""


def is_photograph(wildcards):
    """Whether a cohort's slides are photographs."""
    return cohort_of(wildcards).slides.photographs


# Stains


@cache
def stain_settings(cohort):
    """`stain` of the configuration; where models are applied, that of their own cohort."""
    applied = applied_settings(cohort)
    return applied["stain"] if applied else study.stain.model_dump()


@cache
def is_stained(cohort):
    """Whether a cohort's stains are normalised."""
    return stain_settings(cohort)["method"] != "none"


def stained_cohorts():
    return [cohort for cohort in known_cohorts() if is_stained(cohort)]


def file_of_stain_reference(wildcards):
    """The image or the tile store that the stains' reference is in; the published values are in none."""
    reference = study.stain.reference
    if reference == sources.PUBLISHED:
        return []
    tile = sources.parts(reference, kind="stain")
    if tile and tile["slide"] not in slides_listed(tile["cohort"]):
        raise InputError(f"stain.reference: {reference}: cohort {tile['cohort']} lists no slide {tile['slide']}")
    return sources.local_path(reference, kind="stain", cohort=wildcards.cohort)


def stain_reference(cohort):
    """What a cohort's stains are normalised to; no file where they are not."""
    if not is_stained(cohort):
        return []
    brought = study.cohorts[cohort].models is not None
    return [applied_file(cohort, "stain_reference.json") if brought else f"results/{cohort}/stain_reference.json"]


def stain_files(wildcards):
    return [f"results/{wildcards.cohort}/stains/{slide}.json" for slide in listed_slides(wildcards)]


def stain_file(cohort, slide):
    """What is done to the colours of a slide's tiles where models read them; no file where nothing is."""
    is_done = is_stained(cohort) and stain_settings(cohort)["applied"] == "on_read"
    return [f"results/{cohort}/stains/{slide}.json"] if is_done else []


def model_store(cohort, slide):
    """The tile store that models read: with tiles as scanned, or recoloured at tiling."""
    is_recoloured = is_stained(cohort) and stain_settings(cohort)["applied"] == "at_tiling"
    return f"results/{cohort}/{'normalised' if is_recoloured else 'tiles'}/{slide}.h5"
