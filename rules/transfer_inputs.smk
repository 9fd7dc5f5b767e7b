# What the rules of cross-cancer transfer take: which detectors there are, what they learn from, and files of both.
from functools import cache
from pathlib import Path

from workflow_scripts.lib import planning, splits
from workflow_scripts.lib.configuration.transfer import with_fewer_slides


def filters_of_transfer():
    """The compared detectors, and then the filters that they start from, each once."""
    return list(dict.fromkeys([*study.transfer.compared, *study.with_starts(study.transfer.compared)]))


# Detectors


def first_weights(name):
    """The first weights of a detector and of those that it starts from, the first that is trained first."""
    keys = {"backbone", "weights", "imagenet"}
    return [
        study.tumour_filters[trained].training.model_dump(mode="json", include=keys)
        for trained in study.with_starts([name])
    ]


def named_weights():
    """The files of weights that detectors name, as far as they are here: one that is brought makes it known anew."""
    trained = [study.tumour_filters[name].training.imagenet for name in filters_of_transfer()]
    return sorted({path for path in given(*trained) if Path(path).is_file()})


def available_regimes():
    """The compared detectors whose first weights are here; a checkpoint says."""
    table = planning.text_table(checkpoints.find_regimes.get().output.regimes)
    return table.loc[table["note"] == "", "regime"].tolist()


def of_regimes(pattern):
    """A file of each available detector, for a rule's input; pattern: its path, with a place for the name."""
    return lambda wildcards: [pattern.format(regime=regime) for regime in available_regimes()]


def slides_learnt_from(_wildcards):
    """Each available detector with each number of the target's slides that it learns from: all of them last."""
    numbers = {regime: len(annotated_by_set(regime)["train"]) for regime in available_regimes()}
    return [(regime, slides) for regime in numbers for slides in [*sorted(study.transfer.fewer), numbers[regime]]]


def tiles_by_slides_learnt_from(wildcards):
    """What these detectors say of the held-out tiles."""
    names = [
        with_fewer_slides(regime, slides) if slides in study.transfer.fewer else regime
        for regime, slides in slides_learnt_from(wildcards)
    ]
    return [f"results/filters/{name}/annotated/test.tsv" for name in names]


# Slides


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


def places_of_transfer(_wildcards):
    return [(slide["cohort"], slide["slide_id"]) for slide in slides_of_transfer()]


def held_out_of_transfer():
    """The target's annotated slides that no detector learns from, as (cohort, slide)."""
    held_out = annotated_by_set(study.transfer.compared[0])[splits.TEST]
    if not held_out:
        raise WorkflowError(
            f"transfer.target: no annotated slide of {study.transfer.target} is held out; give the test set a larger share "
            f"(splits.test), or the cohort a split of your own (cohorts.{study.transfer.target}.split)"
        )
    return held_out


def annotated_files(places):
    """The annotations of some slides, as (cohort, slide), and the stores of all their tiles."""
    return {
        "annotations": [annotation_files(cohort)[slide] for cohort, slide in places],
        "stores": [f"results/{cohort}/tiles/{slide}.h5" for cohort, slide in places],
    }


def labels_of_tiles(places):
    return [f"results/{cohort}/annotations/tiles/{slide}.tsv" for cohort, slide in places]


# Labels


def tumour_classes(_wildcards):
    """The label of each class of the annotations, by cohort."""
    return {cohort: study.cohorts[cohort].annotations.classes for cohort in transfer_cohorts()}


def tumour_labels(_wildcards):
    """The label that is tumour, by cohort."""
    labels = {}
    # The compared detectors come first, and theirs holds.
    for name in filters_of_transfer():
        for cohort in study.tumour_filters[name].cohorts:
            labels.setdefault(cohort, study.tumour_filters[name].label)
    return labels


def classes_of_target(wildcards):
    return tumour_classes(wildcards)[study.transfer.target]


def label_of_target(wildcards):
    return tumour_labels(wildcards)[study.transfer.target]


# All


def results_of_transfer(_wildcards):
    """Every table and figure of the study, and what shows the slides of its cohorts."""
    makers = [
        rules.find_regimes,
        rules.describe_transfer_cohorts,
        rules.score_transfer,
        rules.write_transfer_cohort,
        rules.write_transfer_table1,
        rules.draw_transfer_annotations,
        rules.draw_transfer_tiles,
        rules.draw_transfer_roc,
        rules.draw_transfer_map,
        rules.draw_transfer_maps,
        rules.draw_transfer_learning,
    ]
    if study.transfer.fewer:
        makers += [rules.score_transfer_gain, rules.draw_transfer_gain]
    return [path for maker in makers for path in maker.output] + sum(map(figures_of_slides, transfer_cohorts()), [])
