# What the rules of microscope adaptation take: which slides and photographs of which set, which methods, and files of both.
from functools import cache

from workflow_scripts.lib import planning
from workflow_scripts.lib.domains import LABELLED_TARGET, RAW, SOURCE, STAINED, TARGET

# Slides and photographs


@cache
def labels_in_sheet(cohort):
    """The class of each slide of a cohort that is not annotated, by slide id, as its sheet says."""
    if study.cohorts[cohort].annotations is not None:
        return {}
    found = in_sheet(cohort, "class")
    return {slide: found[slide] for slide in slides_listed(cohort) if found[slide] in study.adaptation.classes}


def labelled_slides(cohort):
    """The slides of a cohort that have labels: by annotations, or one for each in its sheet."""
    has_annotations = study.cohorts[cohort].annotations is not None
    return list(annotation_files(cohort)) if has_annotations else list(labels_in_sheet(cohort))


def sets_of_adaptation(cohort, slides):
    """Some slides of a cohort in each set, as (cohort, slide)."""
    tables = tables_of(cohort)
    sets = planning.sets_of_slides(tables.sheet, tables.splits, slides, round_number=1)
    return {name: [(cohort, slide) for slide in of_set] for name, of_set in sets.items()}


@cache
def slides_of_adaptation():
    """The slides of both cohorts in each set: those with labels of each domain, and all of the target's.

    Both cohorts' checkpoints are asked for here, by whatever job comes first.
    """
    source, target = study.adaptation.source, study.adaptation.target
    found = {
        SOURCE: sets_of_adaptation(source, labelled_slides(source)),
        LABELLED_TARGET: sets_of_adaptation(target, labelled_slides(target)),
        TARGET: sets_of_adaptation(target, list(slides_listed(target))),
    }
    check_methods_have_slides(found)
    check_sets_agree(
        {name: [place for part in found.values() for place in part[name]] for name in ("train", "validation", "test")},
        where="adaptation",
    )
    return found


def check_methods_have_slides(found):
    """Refuse methods whose labels, or whose photographs to adapt to, are in no slide of a set that they need."""
    methods = [study.adaptation.methods[name] for name in study.adaptation.used_methods()]
    needed = {(SOURCE, "validation"): methods, (SOURCE, "train"): [m for m in methods if m.labelled != "target"]}
    needed[LABELLED_TARGET, "train"] = [m for m in methods if m.labelled != "source"]
    needed[TARGET, "train"] = [m for m in methods if m.sees_target]
    needed[TARGET, "validation"] = [m for m in methods if m.sees_target and not m.batch_statistics]
    for (part, name), of in needed.items():
        if of and not found[part][name]:
            cohort = study.adaptation.source if part == SOURCE else study.adaptation.target
            kind = "slide" if part == TARGET else "labelled slide"
            raise WorkflowError(
                f"adaptation: expected a {kind} of {cohort} in the {name} set, which {', '.join(m.title for m in of)} "
                "need, found none; give the cohort a split (cohorts.<name>.split) or more labels, or take these methods "
                "out of adaptation.compared"
            )


def label_tables(places):
    """The labels of the tiles of those of some slides, as (cohort, slide), whose cohort is annotated."""
    return [
        f"results/{cohort}/annotations/tiles/{slide}.tsv"
        for cohort, slide in places
        if study.cohorts[cohort].annotations is not None
    ]


def annotated_keys(places):
    """What `label_tables` are of, in their order."""
    return [f"{cohort}/{slide}" for cohort, slide in places if study.cohorts[cohort].annotations is not None]


def labels_of_slides(places):
    """The label of all tiles of those of some slides, as (cohort, slide), whose cohort is not annotated."""
    return {
        f"{cohort}/{slide}": labels_in_sheet(cohort)[slide]
        for cohort, slide in places
        if study.cohorts[cohort].annotations is None
    }


# Methods


def methods_of_adaptation(*, learnt):
    """The methods that are used and learn something, or those that measure batch statistics alone."""
    return [
        name for name in study.adaptation.used_methods() if study.adaptation.methods[name].batch_statistics != learnt
    ]


def adaptation_seeds():
    return study.adaptation.seeds or [study.study.seed]


def method_of(wildcards):
    return study.adaptation.methods[wildcards.method]


def parts_of_method(wildcards):
    """The slides that a method learns from, and is judged on in training, of each part and set; none that it does not use.

    The labels of the target are those of LABELLED_TARGET alone.
    """
    method, slides = method_of(wildcards), slides_of_adaptation()
    if method.batch_statistics:
        return {TARGET: {"train": slides[TARGET]["train"]}}
    # Whatever teaches a method, the source judges it.
    learnt = ["train"] if method.labelled in ("source", "both") else []
    parts = {SOURCE: {name: slides[SOURCE][name] for name in [*learnt, "validation"]}}
    if method.labelled in ("target", "both"):
        parts[LABELLED_TARGET] = {"train": slides[LABELLED_TARGET]["train"]}
    if method.sees_target:
        parts[TARGET] = {name: slides[TARGET][name] for name in ("train", "validation")}
    return parts


def places_of_parts(parts):
    """All slides of some parts, part by part and set by set."""
    return [place for sets in parts.values() for of_set in sets.values() for place in of_set]


def places_with_labels(wildcards):
    return places_of_parts({part: sets for part, sets in parts_of_method(wildcards).items() if part != TARGET})


def patches_of_method(wildcards):
    """The tiles that a method learns from, and the labels of those that have some."""
    places = places_of_parts(parts_of_method(wildcards))
    stained = method_of(wildcards).stain
    return tile_inputs(places, filtered=False, stained=stained) | {
        "labels": label_tables(places_with_labels(wildcards))
    }


def training_of_method(wildcards):
    """`adaptation.training`, with what the method has of its own."""
    training = study.adaptation.training.model_dump(mode="json", exclude={"workers"})
    own = method_of(wildcards).model_dump(include={"max_epochs", "learning_rate"}, exclude_none=True)
    return training | own


def learning_of_method(wildcards):
    """What shapes a method's learning beside `training`: its title and its row in the paper do not."""
    return method_of(wildcards).model_dump(mode="json", exclude={"title", "in_paper", "max_epochs", "learning_rate"})


def start_of_method(wildcards):
    """The files that a method's first weights are read from, if there are any."""
    before = method_of(wildcards).starts_from
    if before is None:
        return given(study.adaptation.training.imagenet)
    folder = f"results/adaptation/training/{before}/{wildcards.seed}"
    return [f"{folder}/{name}" for name in ("weights.safetensors", "model.json")]


files_of_a_method = {
    name: f"results/adaptation/training/{{method}}/{{seed}}/{file}"
    for name, file in {
        "weights": "weights.safetensors",
        "model": "model.json",
        "curve": "curve.tsv",
        "scores": "scores.tsv",
    }.items()
}


def of_methods(file, methods):
    """A file of each of some methods with each seed, method by method."""
    return [f"results/adaptation/training/{method}/{seed}/{file}" for method in methods for seed in adaptation_seeds()]


# Tests


def methods_by_colours():
    """The compared methods that see patches in each colours; without those that no method needs."""
    found = {RAW: [], STAINED: []}
    for name in study.adaptation.compared:
        found[STAINED if study.adaptation.methods[name].stain else RAW].append(name)
    return {colours: names for colours, names in found.items() if names}


def cohort_of_domain(domain):
    return study.adaptation.source if domain == SOURCE else study.adaptation.target


def tested_in(domain):
    """The slides or photographs with labels that no method has seen, as (cohort, slide)."""
    found = slides_of_adaptation()[SOURCE if domain == SOURCE else LABELLED_TARGET]["test"]
    if not found:
        cohort = cohort_of_domain(domain)
        raise WorkflowError(
            f"adaptation.{domain}: no labelled slide of {cohort} is held out; label more, by annotations or by a class of "
            f"adaptation.classes in its sheet, or give it a split of your own (cohorts.{cohort}.split)"
        )
    return found


def tested_places():
    return [place for domain in (SOURCE, TARGET) for place in tested_in(domain)]


def described_predictions():
    """What each of `predicted_files` is of, in their order: seed, domain and colours."""
    return [
        (seed, domain, colours)
        for seed in adaptation_seeds()
        for domain in (SOURCE, TARGET)
        for colours in methods_by_colours()
    ]


def predicted_files():
    """The predictions of all test patches: of each seed, domain and colours."""
    return [
        f"results/adaptation/predictions/{seed}/{domain}_{colours}.h5"
        for seed, domain, colours in described_predictions()
    ]


def described_slides(set_names):
    """The slides and photographs that take part in some sets, as the tables name them.

    Of the target's test set those with labels, which alone are judged; of its other sets all, which methods adapt to.
    """
    found = slides_of_adaptation()
    return [
        {
            "domain": domain,
            "set": name,
            "cohort": cohort,
            "slide_id": slide,
            "patient_id": patients_of([(cohort, slide)])[0],
        }
        for domain in (SOURCE, TARGET)
        for name in set_names
        for cohort, slide in (tested_in(domain) if name == "test" else found[domain][name])
    ]


def all_places():
    return [(slide["cohort"], slide["slide_id"]) for slide in described_slides(("train", "validation", "test"))]


def labelled_places():
    """The slides and photographs with labels, in every set."""
    found = slides_of_adaptation()
    return [place for part in (SOURCE, LABELLED_TARGET) for places in found[part].values() for place in places]


def labels_learnt_from(name):
    """Whose labels a method learns from, those of the methods that it starts from too."""
    learnt = {study.adaptation.methods[each].labelled for each in study.adaptation.starts_of(name)}
    return learnt.pop() if len(learnt) == 1 else "both"


def described_methods():
    """What tables and figures say of each compared method, by its name."""
    keys = {"title", "stain", "in_paper"}
    return {
        name: study.adaptation.methods[name].model_dump(include=keys) | {"labelled": labels_learnt_from(name)}
        for name in study.adaptation.compared
    }


def curved_methods():
    """The compared methods that learn something."""
    return [name for name in study.adaptation.compared if not study.adaptation.methods[name].batch_statistics]


def of_shown_methods(file):
    """A file of each method whose features are shown, of the first seed."""
    return [f"results/adaptation/training/{method}/{adaptation_seeds()[0]}/{file}" for method in study.adaptation.shown]


def tested_photographs():
    """The held-out photographs that are there, as (cohort, slide); the chain excludes others with their reason."""
    return [place for place in tested_in(TARGET) if planning.find_slide(slides_listed(place[0])[place[1]])]


def exported_weights(_wildcards):
    """The model that is exported: of the first seed."""
    folder = f"results/adaptation/training/{study.adaptation.exported}/{adaptation_seeds()[0]}"
    return {"weights": f"{folder}/weights.safetensors", "model": f"{folder}/model.json"}


# All


def results_of_adaptation(_wildcards):
    """Every table and figure of the study, and what shows the slides and photographs of its cohorts."""
    makers = [
        rules.describe_adaptation_data,
        rules.score_adaptation,
        rules.embed_adaptation_patches,
        rules.draw_adaptation_examples,
        rules.draw_adaptation_tsne,
        rules.draw_adaptation_table2,
        rules.draw_adaptation_confusion,
        rules.draw_adaptation_learning,
        rules.write_adaptation_table1,
        rules.write_adaptation_table2,
    ]
    if study.adaptation.exported:
        makers += [rules.export_adapted_model, rules.classify_test_photographs]
    cohorts = adaptation_cohorts()
    return [path for maker in makers for path in maker.output] + sum(map(figures_of_slides, cohorts), [])
