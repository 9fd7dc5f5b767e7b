# What the rules of annotations and tumour filters take, and which tiles models read.
from functools import cache

from workflow_scripts.lib import model_sets, planning

# Annotations


def annotated_cohorts():
    return [name for name, cohort in study.cohorts.items() if cohort.annotations]


def annotation_files(cohort):
    """The annotation file of each slide of a cohort that has one, by slide id."""
    return planning.files_of_slides(
        tables_of(cohort).sheet, study.cohorts[cohort].annotations.folder, planning.ANNOTATIONS
    )


def annotation_file(wildcards):
    return annotation_files(wildcards.cohort)[wildcards.slide]


def annotations_of_no_slide(wildcards):
    """Names in a folder of annotations that are no slide's: the list of annotations says so."""
    folder = cohort_of(wildcards).annotations.folder
    return planning.files_of_no_slide(sheet_of(wildcards), folder, planning.ANNOTATIONS)


def checked_annotations(_wildcards):
    """Tables and pictures of all cohorts that have annotations; which slides have some is known once it is assembled."""
    return [
        f"results/{cohort}/{name}"
        for cohort in annotated_cohorts()
        if cohort in (*study.study.cohorts, *sister_cohorts())
        for name in (
            "annotations/regions.tsv",
            *(f"figures/annotations/{slide}.png" for slide in annotation_files(cohort)),
        )
    ]


# Tumour filters


def filter_of(cohort):
    """The definition of a cohort's tumour filter; None where all tiles are used, or models bring a filter."""
    name = study.cohorts[cohort].tumour_filter
    return None if name is None else study.tumour_filters[name]


def trained_filters():
    return [name for name, definition in study.tumour_filters.items() if definition.cohorts]


def kind_of_filter(cohort):
    """Whether only a cohort's tumour tiles are used: by a model, by files of the user's own, or not (None)."""
    used, applied = filter_of(cohort), applied_settings(cohort)
    if used is not None:
        return model_sets.BY_MODEL if used.cohorts else model_sets.BY_FILES
    if applied and applied["tumour_filter"] == model_sets.BY_FILES:
        raise WorkflowError(
            f"cohorts.{cohort}: its models are for tumour tiles, by files that the new slides need too: give the cohort "
            "a `tumour_filter` with such a `folder`"
        )
    return applied["tumour_filter"] if applied else None


def cohorts_filtered(kind):
    return [cohort for cohort in known_cohorts() if kind_of_filter(cohort) == kind]


def filter_file(cohort, name):
    """A file of the trained filter that a cohort uses."""
    if study.cohorts[cohort].models is not None:
        return applied_file(cohort, f"tumour_filter/{name}")
    return f"results/filters/{study.cohorts[cohort].tumour_filter}/{name}"


def filter_model_of(cohort):
    """The weights of the filter that a cohort uses, if that is a model."""
    return [filter_file(cohort, "weights.safetensors")] if kind_of_filter(cohort) == model_sets.BY_MODEL else []


def threshold_of(cohort):
    """The threshold of a cohort's filter: a number, the file of the one that is chosen, or None without a filter."""
    used, applied = filter_of(cohort), applied_settings(cohort)
    if used is None:
        return applied["tumour_threshold"] if applied else None
    if applied and applied["tumour_threshold"] != used.threshold:
        raise WorkflowError(
            f"cohorts.{cohort}.tumour_filter: its threshold is {used.threshold}, and that of the models "
            f"{applied['tumour_threshold']}; give it theirs"
        )
    return filter_file(cohort, "threshold.json") if isinstance(used.threshold, str) else used.threshold


@cache
def annotated_by_set(filter_name):
    """A trained filter's annotated slides in each set, as (cohort, slide)."""
    definition = study.tumour_filters[filter_name]
    found = {"train": [], "validation": [], "test": []}
    for cohort in definition.cohorts:
        tables = tables_of(cohort)
        sets = planning.sets_of_slides(tables.sheet, tables.splits, list(annotation_files(cohort)), round_number=1)
        for name, slides in sets.items():
            found[name] += [(cohort, slide) for slide in slides]
    check_sets_agree(found, where=f"tumour_filters.{filter_name}")
    if not definition.held_out:
        found["train"] += found["test"]
        found["test"] = []
    if definition.slides is not None:
        if len(found["train"]) < definition.slides:
            raise WorkflowError(
                f"tumour_filters.{filter_name}.slides: {definition.slides}, and {len(found['train'])} annotated slides "
                "are in the training set; annotate more, or ask for fewer"
            )
        found["train"] = planning.drawn(found["train"], definition.slides, seed=study.study.seed)
    check_starts_unseen(filter_name, found["test"])
    return found


def check_sets_agree(sets, *, where):
    """Refuse slides, as (cohort, slide) by set, of which a patient's are in several sets."""
    sets_of = {}
    for name, places in sets.items():
        for patient in patients_of(places):
            sets_of.setdefault(patient, set()).add(name)
    torn = [patient for patient, names in sets_of.items() if len(names) > 1]
    if torn:
        raise WorkflowError(
            f"{where}: {len(torn)} patients are in one set by one cohort's split and in another by another's, the first "
            f"of them {torn[0]}; give the cohorts splits that agree (cohorts.<name>.split)"
        )


def check_starts_unseen(filter_name, held_out):
    """Refuse a filter that starts from one that learns from patients whom it holds out itself."""
    patients = dict(zip(patients_of(held_out), held_out, strict=True))
    for start in study.with_starts([filter_name])[:-1]:
        sets = annotated_by_set(start)
        seen = [patient for patient in patients_of(sets["train"] + sets["validation"]) if patient in patients]
        if seen:
            raise WorkflowError(
                f"tumour_filters.{filter_name}.starts_from: {len(set(seen))} of its held-out patients teach {start}, that "
                f"of {'/'.join(patients[seen[0]])} for one; hold them out there too (held_out, cohorts.<name>.split)"
            )


def start_of_filter(wildcards):
    """The files that a trained filter's first weights are read from, if there are any."""
    definition = study.tumour_filters[wildcards.filter]
    if definition.starts_from is None:
        return given(definition.training.imagenet)
    folder = f"results/filters/{definition.starts_from}"
    return [f"{folder}/weights.safetensors", f"{folder}/model.json"]


def annotated_in(*sets):
    """A trained filter's annotated slides in some sets, for a job's parameters."""

    def slides(wildcards):
        found = annotated_by_set(wildcards.filter)
        return {name: found[name] for name in sets}

    return slides


def patients_of(places):
    """The patient of each of some slides, as (cohort, slide), in their order."""
    return [in_sheet(cohort, "patient_id")[slide] for cohort, slide in places]


def tiles_of_annotated(*sets):
    """The tiles, and the labels of the tiles, of a filter's annotated slides in some sets."""

    def inputs(wildcards):
        chosen = [place for slides in annotated_in(*sets)(wildcards).values() for place in slides]
        labels = [f"results/{cohort}/annotations/tiles/{slide}.tsv" for cohort, slide in chosen]
        return tile_inputs(chosen, filtered=False) | {"labels": labels}

    return inputs


def tumour_part(cohort, slide):
    """The name of the file that has a slide's tumour probabilities: its own, or that of a chunk of slides.

    Where models learn from tumour tiles, a replaced slide trains none that does not see it: in the main chain, whose
    models have sets of their own each, by a file per slide; in a sister study by chunks of slides of one set.
    """
    if kind_of_filter(cohort) == model_sets.BY_FILES or learns_from_tumour(cohort):
        return slide
    chunk = planning.chunk_of(slide, chunks=study.predictions.chunks)
    return f"{origin_sets()[slide] or 'unused'}_{chunk}" if cohort in origin_cohorts() else str(chunk)


def tumour_file(cohort, slide):
    return f"results/{cohort}/tumour/{tumour_part(cohort, slide)}.h5"


@cache
def slides_by_tumour_part(cohort):
    found = {}
    for slide in planning.usable_files(sheet_of_cohort(cohort)):
        found.setdefault(tumour_part(cohort, slide), []).append(slide)
    return found


def slides_of_tumour_file(wildcards):
    return slides_by_tumour_part(wildcards.cohort)[wildcards.part]


def own_tumour_file(wildcards):
    """The user's own file of a slide's tumour, in place of a filter's model."""
    sheet, folder = sheet_of(wildcards), filter_of(wildcards.cohort).folder
    lacking = planning.slides_without_file(sheet, folder, planning.TILE_SCORES)
    if lacking:
        raise WorkflowError(
            f"{folder}: {len(lacking)} slides of {wildcards.cohort} have no tumour file there, the first of them "
            f"{lacking[0]}; add them, or take the slides out (slides.exclude)"
        )
    return planning.files_of_slides(sheet, folder, planning.TILE_SCORES)[wildcards.slide]


# What models read


def tile_inputs(places, *, filtered, stained=True):
    """The files that make some slides' tiles, places of (cohort, slide), what models see; `filtered` by tumour or not.

    stained: with what is done to their colours, if anything is. See `tile_sources.list_sources`; a threshold that is a
    number is a parameter, see `threshold_of`.
    """
    cohorts = {cohort for cohort, _ in places}
    if stained:
        found = {
            "stores": [model_store(cohort, slide) for cohort, slide in places],
            "stains": [path for cohort, slide in places for path in stain_file(cohort, slide)],
            "reference": [path for cohort in sorted(cohorts) for path in stain_reference(cohort)],
        }
    else:
        stores = [f"results/{cohort}/tiles/{slide}.h5" for cohort, slide in places]
        found = {"stores": stores, "stains": [], "reference": []}
    if filtered:
        chosen = [threshold_of(cohort) for cohort in cohorts]
        found["tumour"] = [tumour_file(cohort, slide) for cohort, slide in places if kind_of_filter(cohort)]
        found["threshold"] = [path for path in chosen if isinstance(path, str)]
    return found
