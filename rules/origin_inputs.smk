# What the rules of metastatic origin take: which slides, which of their files, with which labels and settings.

# Those of tumours, and the control's.
origin_classes = [*study.origin.classes, *given(study.origin.control)]


def origin_cohort(domain):
    return getattr(study.origin, domain)


@cache
def origin_table():
    """The table of the study's slides, which a checkpoint makes."""
    return planning.text_table(checkpoints.select_origin_slides.get().output.slides)


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
    """The model that a regime starts from, if there is one."""
    before = study.origin.regimes[wildcards.regime].starts_from
    return (
        [f"results/origin/training/{before}/{name}" for name in ("weights.safetensors", "model.json")] if before else []
    )


def training_of_regime(wildcards):
    """`origin.training` with what the regime has of its own."""
    regime, training = study.origin.regimes[wildcards.regime], study.origin.training.model_dump(exclude={"workers"})
    own = regime.model_dump(include={"max_epochs", "learning_rate"}, exclude_none=True)
    return training | own


def held_out_metastases():
    return [(study.origin.metastatic, slide) for slide in origin_labels("metastatic", "test")]


def stores_of_held_out(_wildcards):
    return [f"results/{cohort}/tiles/{slide}.h5" for cohort, slide in held_out_metastases()]


def slides_by_tissue():
    """All slides of the study as (cohort, slide): tumours of both domains, of which tumour tiles count, and the control's."""
    table = origin_table()
    used = table[table["reason"] == ""]
    found = {name: [] for name in ("primary", "metastatic", "primary_control", "metastatic_control")}
    for slide in used.to_dict("records"):
        tissue = f"{slide['domain']}_control" if slide["class"] == study.origin.control else slide["domain"]
        found[tissue].append((origin_cohort(slide["domain"]), slide["slide_id"]))
    return found


def tiles_by_tissue(_wildcards):
    """The files of all slides of the study, by `slides_by_tissue` and by what they are."""
    return {
        f"{tissue}_{name}": files
        for tissue, places in slides_by_tissue().items()
        for name, files in tile_inputs(places, filtered=not tissue.endswith("control")).items()
    }


def slide_ids_by_tissue(_wildcards):
    return {tissue: [slide for _, slide in places] for tissue, places in slides_by_tissue().items()}


def thresholds_by_domain(_wildcards):
    return {domain: threshold_of(origin_cohort(domain)) for domain in ("primary", "metastatic")}


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
    of_cohorts = [figures(cohort) for cohort in sister_cohorts() for figures in (figures_of_slides, figures_of_filter)]
    return [path for maker in makers for path in maker.output] + sum(of_cohorts, [])
