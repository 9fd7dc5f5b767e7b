# What the rules of neural image compression take: which encoders, grids and targets there are, and files of all.
from functools import cache
from pathlib import Path

from workflow_scripts.lib import planning
from workflow_scripts.lib.slide_targets import CLASS, NUMBER, SURVIVAL

# What scores are made by, beside the files; a target's title changes none.
SCORED = {"kind", "cohort", "test_cohort", "classes", "favourable", "slides_of_patient", "encoders"}


# The kinds of encoders that are trained.
LEARNT = ("multitask", "autoencoder", "bigan")


# Targets


def target_names(*kinds):
    """The targets, of some kinds or of all, in their order."""
    return [name for name, target in study.compression.targets.items() if not kinds or target.kind in kinds]


def targets_of_traits():
    """The traits of the main chain that are learnt on grids too: cohort and trait, by the name of their target."""
    cohorts = trained_cohorts() if study.compression.trait_encoder else []
    found = {
        f"{cohort}.{trait}": (cohort, trait)
        for cohort in study.study.cohorts
        if cohort in cohorts
        for trait in study.cohorts[cohort].traits
    }
    for name in found:
        if name in study.compression.targets:
            raise WorkflowError(f"compression.targets.{name}: a trait of study.cohorts is called so; rename the target")
    return found


traits_on_grids = targets_of_traits()


def all_targets():
    return [*study.compression.targets, *traits_on_grids]


def cohorts_of_target(name):
    """The cohort that is learnt from, and that which only tests, if there is one."""
    if name in traits_on_grids:
        return [traits_on_grids[name][0]]
    target = study.compression.targets[name]
    return [target.cohort, *given(target.test_cohort)]


def cohorts_with_traits_on_grids():
    return list(dict.fromkeys(cohort for cohort, _ in traits_on_grids.values()))


def kind_of_target(wildcards):
    return CLASS if wildcards.target in traits_on_grids else study.compression.targets[wildcards.target].kind


def classes_of_slides(wildcards):
    """The classes of a target; none of a number or of survival."""
    return (
        ["low", "high"] if wildcards.target in traits_on_grids else study.compression.targets[wildcards.target].classes
    )


def brought_tables(wildcards):
    """The user's own tables of a target."""
    target = study.compression.targets[wildcards.target]
    return {"table": given(target.table), "clinical": given(target.clinical)}


def scored_target(name, encoders=None):
    """What a target's predictions are read by, of its own encoders or of others."""
    plain = study.compression.targets[name].model_dump(mode="json", include=SCORED)
    return plain | ({"encoders": encoders} if encoders is not None else {})


def scored_targets(*kinds):
    return {name: scored_target(name) for name in target_names(*kinds)}


def described_targets():
    """Kind, classes and title of each target, and how its patients' slides become one."""
    keys = {"kind", "classes", "title", "slides_of_patient"}
    return {name: target.model_dump(mode="json", include=keys) for name, target in study.compression.targets.items()}


def titles_of_targets():
    return {name: target.title for name, target in study.compression.targets.items()}


def compared_target():
    """The class target that encoders are compared by, or None."""
    return study.compression.compared or next(iter(target_names(CLASS)), None)


# Encoders


def shown_encoder(name):
    """The encoder that a target's figures are of: the last."""
    return study.compression.targets[name].encoders[-1]


def shown_encoders():
    return {name: shown_encoder(name) for name in target_names()}


def kinds_of_encoders():
    """The kind of each encoder that is trained here for a target, but for the ablation; in the order of definitions."""
    used = {encoder for target in study.compression.targets.values() for encoder in target.encoders}
    return {
        name: encoder.kind
        for name, encoder in study.compression.encoders.items()
        if name in used and encoder.kind != "trained"
    }


def encoders_of_kind(*kinds):
    return [name for name, encoder in study.compression.encoders.items() if encoder.kind in kinds]


def encoder_file(name, file):
    """A file of an encoder, which is trained here, or brought."""
    folder = study.compression.encoders[name].folder or f"results/compression/encoders/{name}"
    return f"{folder}/{file}"


files_of_an_encoder = {
    name: f"results/compression/encoders/{{encoder}}/{file}"
    for name, file in {
        "weights": "weights.safetensors",
        "model": "model.json",
        "curve": "curve.tsv",
        "scores": "scores.tsv",
    }.items()
}


def of_encoders(file):
    """A file of each encoder that a target names."""
    return [encoder_file(name, file) for name in kinds_of_encoders()]


def patches_by_set(cohort, slides):
    """Some slides of a cohort, as (cohort, slide), that an encoder learns from and that validate it.

    Patients whom the cohort holds out are among the first, but in a cohort of the main chain, whose models are tested
    on them.
    """
    tables = tables_of(cohort)
    sets = planning.sets_of_slides(tables.sheet, tables.splits, slides, round_number=1)
    held_out = sets["test"] if cohort not in study.study.cohorts else []
    return {
        "train": [(cohort, slide) for slide in sets["train"] + held_out],
        "validation": [(cohort, slide) for slide in sets["validation"]],
    }


@cache
def slides_of_encoder(name):
    """The slides of both sets that an encoder learns from, by task; without tasks, all as one."""
    encoder = study.compression.encoders[name]
    if encoder.kind == "multitask":
        parts = {
            task: [
                patches_by_set(cohort, list(annotation_files(cohort)))
                for cohort in study.compression.tasks[task].cohorts
            ]
            for task in encoder.tasks
        }
    else:
        parts = {name: [patches_by_set(cohort, list(slides_listed(cohort))) for cohort in encoder.cohorts]}
    return {
        part: {of: [place for sets in of_cohorts for place in sets[of]] for of in ("train", "validation")}
        for part, of_cohorts in parts.items()
    }


def patches_of_encoder(wildcards):
    """The tiles that an encoder learns from, and their labels where it has tasks: task by task, set by set."""
    sets = slides_of_encoder(wildcards.encoder).values()
    places = [place for of_task in sets for of_set in of_task.values() for place in of_set]
    has_tasks = study.compression.encoders[wildcards.encoder].kind == "multitask"
    labels = [f"results/{cohort}/annotations/tiles/{slide}.tsv" for cohort, slide in places if has_tasks]
    return tile_inputs(places, filtered=False) | {"labels": labels}


def classes_of_tasks(wildcards):
    """The classes of each task of an encoder."""
    return {task: study.compression.tasks[task].classes for task in study.compression.encoders[wildcards.encoder].tasks}


def training_of_encoder(wildcards):
    """`compression.training`, with the augmentations that an encoder has of its own."""
    training = study.compression.training.model_dump(mode="json", exclude={"workers"})
    own = study.compression.encoders[wildcards.encoder].augmentations
    return training if own is None else training | {"augmentations": own}


# Grids


def grid_files(cohort, encoder):
    """A cohort's grids by an encoder: a file for each chunk that has slides."""
    # Snakemake 9.27 does not look again for what a job takes that it comes upon after a checkpoint and that waits for
    # another: so whoever takes grids waits for the checkpoints of the encoder's cohorts too.
    if study.compression.encoders[encoder].kind in LEARNT:
        slides_of_encoder(encoder)
    chunks = planning.slides_by_chunk(sheet_of_cohort(cohort), chunks=study.predictions.chunks)
    return [f"results/{cohort}/grids/{encoder}/{chunk}.h5" for chunk in sorted(chunks)]


def grids_learnt_from(wildcards):
    """The grids of the cohort that a target is learnt from, by its name."""
    cohort = cohorts_of_target(wildcards.target)[0]
    return {f"{cohort}_grids": grid_files(cohort, wildcards.encoder)}


def cohorts_predicted(wildcards):
    """The cohorts whose slides a target's models predict: without the one that only tests where that is not asked."""
    cohorts = cohorts_of_target(wildcards.target)
    return cohorts[:1] if is_of_ablation_alone(wildcards) else cohorts


def grids_predicted(wildcards):
    return {f"{cohort}_grids": grid_files(cohort, wildcards.encoder) for cohort in cohorts_predicted(wildcards)}


def grids_of_first_target():
    """The grids of the first target's cohort."""
    name = next(iter(study.compression.targets))
    return grid_files(study.compression.targets[name].cohort, shown_encoder(name))


def stores_of_targets(*names):
    """The stores of all slides of targets' cohorts, of some or of all."""
    cohorts = dict.fromkeys(cohort for name in names or target_names() for cohort in cohorts_of_target(name))
    return [f"results/{cohort}/tiles/{slide}.h5" for cohort in cohorts for slide in slides_listed(cohort)]


# Slide models


def learnt_slides(wildcards):
    """The table of the slides that a target is learnt from."""
    part = "" if wildcards.target in traits_on_grids else "learnt/"
    return f"results/compression/targets/{part}{wildcards.target}.tsv"


def is_of_ablation_alone(wildcards):
    """Whether an encoder serves a target in the ablation only, which is judged on the slides that are learnt from."""
    return wildcards.target in study.compression.targets and (
        wildcards.encoder not in study.compression.targets[wildcards.target].encoders
    )


def predicted_slides(wildcards):
    """The table of the slides that a target's models predict."""
    return learnt_slides(wildcards) if is_of_ablation_alone(wildcards) else target_table(wildcards.target)


def network_of_target(wildcards):
    """`compression.network` but for its training, and without what is of other kinds of targets."""
    kept = {"filters", "dropout", "l2"} | ({"ties"} if kind_of_target(wildcards) == SURVIVAL else set())
    return study.compression.network.model_dump(mode="json", include=kept)


def target_table(name):
    return f"results/compression/targets/{name}.tsv"


def target_tables(*kinds):
    return [target_table(name) for name in target_names(*kinds)]


def predictions_of(name, encoders):
    return [f"results/compression/predictions/{name}/{encoder}.tsv" for encoder in encoders]


def predictions_of_targets(*kinds):
    """Those of each encoder of each target."""
    return sum((predictions_of(name, study.compression.targets[name].encoders) for name in target_names(*kinds)), [])


def shown_predictions():
    return sum((predictions_of(name, [shown_encoder(name)]) for name in target_names()), [])


def attributions_of_targets():
    return [f"results/compression/attributions/{name}/{shown_encoder(name)}.h5" for name in target_names()]


def models_of_targets():
    """The folder of the models of each target and encoder."""
    return [
        f"results/compression/models/{name}/{encoder}"
        for name, target in study.compression.targets.items()
        for encoder in target.encoders
    ]


def described_models():
    """Every model of these: target, kind, encoder, number, and its training curve."""
    return [
        {
            "target": name,
            "kind": target.kind,
            "encoder": encoder,
            "number": number,
            "curve": f"results/compression/models/{name}/{encoder}/model_{number}/curve.tsv",
        }
        for name, target in study.compression.targets.items()
        for encoder in target.encoders
        for number in range(1, target.folds + 1)
    ]


# All


def results_of_compression(_wildcards):
    """Every table and figure of the study, and what shows the slides of its cohorts."""
    makers = [rules.list_encoders, rules.draw_compression_encoders, rules.write_compression_encoders]
    if target_names():
        makers += [
            rules.draw_compression_grid,
            rules.draw_compression_models,
            rules.draw_compression_looked_at,
            rules.draw_compression_looked_at_slides,
            rules.write_compression_table1,
        ]
    if target_names(NUMBER):
        makers += [rules.score_compression_numbers, rules.draw_compression_numbers]
    if target_names(CLASS):
        makers += [rules.score_compression_classes, rules.draw_compression_auc]
    if risk_targets():
        makers += [rules.score_compression_survival, rules.draw_compression_survival]
    if study.compression.ablation:
        makers += [rules.score_ablation, rules.draw_compression_tasks, rules.write_compression_table2]
    if traits_on_grids:
        makers += [rules.score_traits_on_grids, rules.write_compression_traits]
    shown = [figures_of_slides(cohort) for cohort in compression_cohorts()]
    return [path for maker in makers for path in maker.output] + sum(shown, [])


def risk_targets():
    """The targets that give a risk of death."""
    favourable = [name for name in target_names(CLASS) if study.compression.targets[name].favourable]
    return [*favourable, *target_names(SURVIVAL)]
