# What the figures of cross-cancer transfer take: the annotated slides of its cohorts, and files of the regimes.
from workflow_scripts.lib import splits


def filters_of_transfer():
    """The regimes and the filters that they start from, each once: all regimes first, whose slides are the target's."""
    found = list(study.transfer.compared)
    for name in found:
        before = study.tumour_filters[name].starts_from
        if before is not None and before not in found:
            found.append(before)
    return found


@cache
def slides_of_transfer():
    """Every annotated slide of the study, the target's first: cohort, slide_id, patient_id and set."""
    sets = {}
    for name in filters_of_transfer():
        for set_name, places in annotated_by_set(name).items():
            for place in places:
                sets.setdefault(place, set_name)
    return [
        {"cohort": cohort, "slide_id": slide, "patient_id": patients_of([(cohort, slide)])[0], "set": set_name}
        for (cohort, slide), set_name in sets.items()
    ]


def held_out_of_transfer():
    """The target's annotated slides that no regime learns from, as (cohort, slide)."""
    return [
        (slide["cohort"], slide["slide_id"])
        for slide in slides_of_transfer()
        if slide["cohort"] == study.transfer.target and slide["set"] == splits.TEST
    ]


def places_of_transfer(_wildcards):
    return [(slide["cohort"], slide["slide_id"]) for slide in slides_of_transfer()]


def annotated_files(places):
    """The annotations of some slides, as (cohort, slide), and the stores of all their tiles."""
    return {
        "annotations": [annotation_files(cohort)[slide] for cohort, slide in places],
        "stores": [f"results/{cohort}/tiles/{slide}.h5" for cohort, slide in places],
    }


def labels_of_tiles(places):
    return [f"results/{cohort}/annotations/tiles/{slide}.tsv" for cohort, slide in places]


def tumour_classes(_wildcards):
    """The label of each class of the annotations, by cohort."""
    return {
        cohort: study.cohorts[cohort].annotations.classes
        for name in filters_of_transfer()
        for cohort in study.tumour_filters[name].cohorts
    }


def tumour_labels(_wildcards):
    """The label that is tumour, by cohort."""
    return {
        cohort: study.tumour_filters[name].label
        for name in filters_of_transfer()
        for cohort in study.tumour_filters[name].cohorts
    }


def classes_of_target(wildcards):
    return tumour_classes(wildcards)[study.transfer.target]


def label_of_target(wildcards):
    return tumour_labels(wildcards)[study.transfer.target]


def of_regimes(name):
    """A file of each regime that is available, for a rule's input."""
    return lambda wildcards: [f"results/filters/{regime}/{name}" for regime in available_regimes()]
