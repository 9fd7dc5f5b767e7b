# What the rules of cross-cancer transfer take: which detectors there are, and the files of the target's held-out slides.


@cache
def regimes_of_transfer():
    """Why each compared detector is not available, '' of one that is; a checkpoint says."""
    table = planning.text_table(checkpoints.find_regimes.get().output.regimes)
    return dict(zip(table["regime"], table["note"], strict=True))


def available_regimes():
    return [name for name, note in regimes_of_transfer().items() if not note]


def first_weights(name):
    """What the first weights of a compared detector's models are, from the first that is trained on."""
    trained = study.with_starts([name])
    keys = {"backbone", "weights", "imagenet"}
    return [study.tumour_filters[filter].training.model_dump(mode="json", include=keys) for filter in trained]


def of_regimes(pattern):
    """A file of each available detector, whose `pattern` has a place for its name."""
    return lambda _wildcards: [pattern.format(regime=name) for name in available_regimes()]


def held_out_target():
    """The held-out slides of the target that have annotations."""
    return [slide for _, slide in annotated_by_set(study.transfer.compared[0])["test"]]


def stores_of_held_out_target(_wildcards):
    return [f"results/{study.transfer.target}/tiles/{slide}.h5" for slide in held_out_target()]


def annotations_of_held_out_target(_wildcards):
    found = annotation_files(study.transfer.target)
    return [found[slide] for slide in held_out_target()]


def tumour_classes(cohort, label):
    """The classes of a cohort's annotations whose tiles have a label."""
    return [name for name, given_label in study.cohorts[cohort].annotations.classes.items() if given_label == label]
