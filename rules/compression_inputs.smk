# What the rules of neural image compression take: which encoders, grids and targets there are, and files of all.
from functools import cache
from itertools import chain

from workflow_scripts.lib import planning
from workflow_scripts.lib.slide_targets import CLASS, NUMBER, SURVIVAL

# The traits of the main chain that are learnt on grids too: cohort and trait by the name of their target.
traits_on_grids = {
    f"{cohort}.{trait}": (cohort, trait)
    for cohort in (study.study.cohorts if study.compression.trait_encoder else [])
    if cohort in trained_cohorts()
    for trait in study.cohorts[cohort].traits
}
for name in traits_on_grids:
    if name in study.compression.targets:
        raise WorkflowError(f"compression.targets.{name}: a trait of study.cohorts is called so; rename the target")


def targets_of_kind(*kinds):
    return [name for name, target in study.compression.targets.items() if target.kind in kinds]


# Encoders


def encoders_of_compression():
    """Every encoder that a target, the ablation or the traits use, in the order of their definition."""
    used = set(chain.from_iterable(map(encoders_of_target, [*study.compression.targets, *traits_on_grids])))
    return [name for name in study.compression.encoders if name in used]


def ablation_encoders():
    return list(study.compression.ablation.encoders()) if study.compression.ablation else []


def learnt_encoders():
    """Those that are trained here."""
    return [name for name, encoder in study.compression.encoders.items() if encoder.kind != "trained"]


def encoder_files(name):
    """An encoder's model: trained here, or brought."""
    folder = study.compression.encoders[name].folder or f"results/compression/encoders/{name}"
    return [f"{folder}/weights.safetensors", f"{folder}/model.json"]


def patches_by_set(cohort, slides):
    """Some slides of a cohort, as (cohort, slide), that an encoder learns from and that validate it.

    Patients whom the cohort holds out are among the first, but in a cohort of the main chain, whose models are tested on
    them.
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
    """The slides of both sets that an encoder learns from, by task; by cohort where it has no task."""
    encoder = study.compression.encoders[name]
    if encoder.kind == "multitask":
        asked = {task: study.compression.tasks[task].cohorts for task in encoder.tasks}
        slides_in = lambda cohort: list(annotation_files(cohort))
    else:
        asked = {cohort: [cohort] for cohort in encoder.cohorts}
        slides_in = lambda cohort: list(slides_listed(cohort))
    return {
        part: {
            name: sum((patches_by_set(cohort, slides_in(cohort))[name] for cohort in cohorts), [])
            for name in ("train", "validation")
        }
        for part, cohorts in asked.items()
    }


def places_of_encoder(wildcards):
    return [place for sets in slides_of_encoder(wildcards.encoder).values() for of in sets.values() for place in of]


def patches_of_encoder(wildcards):
    """The tiles of these slides, and the labels of the tiles where there are tasks: part by part, set by set."""
    places = places_of_encoder(wildcards)
    has_tasks = study.compression.encoders[wildcards.encoder].kind == "multitask"
    labels = [f"results/{cohort}/annotations/tiles/{slide}.tsv" for cohort, slide in places if has_tasks]
    return tile_inputs(places, filtered=False) | {"labels": labels}


def tasks_of_encoder(wildcards):
    """The classes of each task of an encoder."""
    return {task: study.compression.tasks[task].classes for task in study.compression.encoders[wildcards.encoder].tasks}


def training_of_encoder(wildcards):
    """`compression.training`, with the augmentations that an encoder has of its own."""
    training = study.compression.training.model_dump(mode="json", exclude={"workers"})
    own = study.compression.encoders[wildcards.encoder].augmentations
    return training if own is None else training | {"augmentations": own}


# Grids


def compressed_cohorts():
    """The cohorts whose slides are made grids of."""
    targets = study.compression.targets.values()
    named = [name for target in targets for name in (target.cohort, *given(target.test_cohort))]
    return list(dict.fromkeys([*named, *(cohort for cohort, _ in traits_on_grids.values())]))


def grid_files(cohort, encoder):
    """A cohort's grids by an encoder: a file for each chunk that has slides."""
    chunks = planning.slides_by_chunk(sheet_of_cohort(cohort), chunks=study.predictions.chunks)
    return [f"results/{cohort}/grids/{encoder}/{chunk}.h5" for chunk in sorted(chunks)]


# Targets


def cohorts_of_target(name):
    """The cohort that is learnt from, and that which only tests, if there is one."""
    if name in traits_on_grids:
        return [traits_on_grids[name][0]]
    target = study.compression.targets[name]
    return [target.cohort, *given(target.test_cohort)]


def encoders_of_target(name):
    """The encoders on whose grids a target is learnt: those that it names, then those of the ablation."""
    if name in traits_on_grids:
        return [study.compression.trait_encoder]
    ablation = study.compression.ablation
    own = study.compression.targets[name].encoders
    return [*own, *(ablation_encoders() if ablation and ablation.target == name else [])]


def kind_of_target(wildcards):
    return CLASS if wildcards.target in traits_on_grids else study.compression.targets[wildcards.target].kind


def classes_of_target_of_grids(wildcards):
    """The classes of a target; none of a number or of survival."""
    return (
        ["low", "high"] if wildcards.target in traits_on_grids else study.compression.targets[wildcards.target].classes
    )


def grids_of_target(wildcards):
    """The grids of a target's cohorts."""
    return [path for cohort in cohorts_of_target(wildcards.target) for path in grid_files(cohort, wildcards.encoder)]


def cohorts_of_grids(wildcards):
    """The cohort of each of `grids_of_target`."""
    return [cohort for cohort in cohorts_of_target(wildcards.target) for _ in grid_files(cohort, wildcards.encoder)]


def brought_tables(wildcards):
    """The user's own tables of a target."""
    target = study.compression.targets[wildcards.target]
    return {"table": given(target.table), "clinical": given(target.clinical)}


def cohorts_with_traits_on_grids():
    return list(dict.fromkeys(cohort for cohort, _ in traits_on_grids.values()))


# The targets and encoders of a table, by name, for a rule's input: predictions of the one on grids of the other.


def pairs_of(targets):
    return [(target, encoder) for target in targets for encoder in encoders_of_target(target)]


def predictions_of(pairs):
    return [f"results/compression/predictions/{target}/{encoder}.tsv" for target, encoder in pairs]


def slides_of_targets(targets):
    return [f"results/compression/targets/{target}.tsv" for target in targets]
