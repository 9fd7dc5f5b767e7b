# What the rules of metastatic origin take: which slides, which of their files, with which labels and settings.
from functools import cache

from workflow_scripts.lib import origins, planning
from workflow_scripts.lib.domains import DOMAINS

# Those of tumours, and the control's.
origin_classes = [*study.origin.classes, *given(study.origin.control)]


def origin_cohort(domain):
    return getattr(study.origin, domain)


@cache
def origin_table():
    """The table of the study's slides, which a checkpoint makes."""
    return planning.text_table(checkpoints.select_origin_slides.get().output.slides)


@cache
def origin_sets():
    """The set of each slide of the study, by slide id; '' of one that is not used."""
    return dict(zip(origin_table()["slide_id"], origin_table()["set"], strict=True))


def origin_labels(domain, name):
    """The class, as a number, of each slide of a domain and set, by slide id."""
    return origins.labels_of_set(origin_table(), study.origin.classes, domain=domain, name=name)


def labels_of_regime(wildcards):
    """Labels of the slides of a regime's two sets, by slide id; the job's parameters, so that it reruns with them."""
    regime = study.origin.regimes[wildcards.regime]
    sets = {name: origin_labels(regime.domain, name) for name in ("train", "validation")}
    if regime.shuffled:
        return {name: origins.shuffled(labels, seed=study.study.seed) for name, labels in sets.items()}
    return sets


def tiles_of_regime(wildcards):
    """What a regime learns from: the tumour tiles of its training slides, then those of its validation slides."""
    cohort = origin_cohort(study.origin.regimes[wildcards.regime].domain)
    places = [(cohort, slide) for labels in labels_of_regime(wildcards).values() for slide in labels]
    return tile_inputs(places, filtered=True)


def threshold_of_regime(wildcards):
    return threshold_of(origin_cohort(study.origin.regimes[wildcards.regime].domain))


def start_of_regime(wildcards):
    """The files that a regime's first weights are read from, if there are any."""
    before = study.origin.regimes[wildcards.regime].starts_from
    if before is None:
        return given(study.origin.training.imagenet)
    return [f"results/origin/training/{before}/{name}" for name in ("weights.safetensors", "model.json")]


def training_of_regime(wildcards):
    """`origin.training` with what the regime has of its own."""
    regime, training = study.origin.regimes[wildcards.regime], study.origin.training.model_dump(
        mode="json", exclude={"workers"}
    )
    own = regime.model_dump(include={"max_epochs", "learning_rate"}, exclude_none=True)
    return training | own


def held_out_metastases():
    return [(study.origin.metastatic, slide) for slide in origin_labels("metastatic", "test")]


def stores_of_held_out(_wildcards):
    return [f"results/{cohort}/tiles/{slide}.h5" for cohort, slide in held_out_metastases()]


def slides_of_study(_wildcards):
    """The slides that the study uses, each with its group: its domain, of which tumour tiles count, or a control's."""
    table = origin_table()
    used = table[table["set"] != ""].drop(columns="reason").to_dict("records")
    kinds = {study.origin.control: "_control"}
    return [slide | {"group": slide["domain"] + kinds.get(slide["class"], "")} for slide in used]


def tiles_of_study(wildcards):
    """The files of all slides of the study, by group and by what they are."""
    places = {}
    for slide in slides_of_study(wildcards):
        places.setdefault(slide["group"], []).append((origin_cohort(slide["domain"]), slide["slide_id"]))
    return {
        f"{group}_{name}": files
        for group, of_group in places.items()
        for name, files in tile_inputs(of_group, filtered=group in DOMAINS).items()
    }


def thresholds_by_domain(_wildcards):
    return {domain: threshold_of(origin_cohort(domain)) for domain in DOMAINS}


def sampling_of_study(wildcards):
    """What the tiles that the autoencoder learns from, and then encodes, are sampled by."""
    return {
        "slides": slides_of_study(wildcards),
        "thresholds": thresholds_by_domain(wildcards),
        "classes": origin_classes,
        "tiles_per_class": study.origin.autoencoder.tiles_per_class,
        "seed": study.study.seed,
    }


def results_of_origin(_wildcards):
    """Every table and figure of the study, and what shows the slides and the tumour filters of its cohorts."""
    makers = (
        rules.describe_origin_data,
        rules.score_origin,
        rules.measure_origin_divergence,
        rules.correlate_origin_divergence,
        rules.draw_origin_data,
        rules.draw_origin_roc,
        rules.write_origin_auroc,
        rules.draw_origin_class_map,
        rules.draw_origin_class_maps,
        rules.draw_origin_confusion,
        rules.draw_origin_ranks,
        rules.draw_origin_tsne,
        rules.draw_origin_divergence,
        rules.draw_origin_divergence_auroc,
    )
    of_cohorts = [figures(cohort) for cohort in origin_cohorts() for figures in (figures_of_slides, figures_of_filter)]
    return [path for maker in makers for path in maker.output] + sum(of_cohorts, [])
