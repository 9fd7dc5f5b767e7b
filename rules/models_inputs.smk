# What the rules of training, predictions and maps take.
from functools import cache
from pathlib import Path

from workflow_scripts.lib import planning

# Training


def selection_of(wildcards):
    """Labels of the slides of a model's two sets, by slide id; the job's parameters, so that it reruns with them."""
    return selection_of_model(wildcards.cohort, wildcards.trait, int(wildcards.round))


@cache
def selection_of_model(cohort, trait, number):
    tables = tables_of(cohort)
    return planning.selection(tables.splits, Path(tables.labels) / f"{trait}.tsv", round_number=number)


def processors_of(training):
    """What a training asks of a cluster: the threads that compute, and the processes that decode tiles."""
    return training.threads + training.workers


def learns_from_tumour(cohort):
    """Whether a cohort's trait models learn from tumour tiles alone."""
    used = filter_of(cohort)
    return used is not None and used.in_training


def tiles_of_model(wildcards):
    """What a model learns from: the tiles of its training slides, then those of its validation slides."""
    places = [(wildcards.cohort, slide) for labels in selection_of(wildcards).values() for slide in labels]
    return tile_inputs(places, filtered=learns_from_tumour(wildcards.cohort))


# Predictions


def prediction_settings(wildcards):
    """`predictions` of the configuration but its chunks; where models are applied, those of their own cohort."""
    applied = applied_settings(wildcards.cohort)
    return applied["predictions"] if applied else study.predictions.model_dump(exclude={"chunks"})


def model_digests(wildcards):
    """The digests of the models that are applied, for a job's parameters: files of one name and another content."""
    applied = applied_settings(wildcards.cohort)
    return applied["files"] if applied else None


def prediction_threads(wildcards):
    return prediction_settings(wildcards)["threads"]


def slides_of_chunk(wildcards):
    chunks = planning.slides_by_chunk(sheet_of(wildcards), chunks=study.predictions.chunks)
    return chunks[int(wildcards.chunk)]


def tiles_of_chunk(wildcards):
    places = [(wildcards.cohort, slide) for slide in slides_of_chunk(wildcards)]
    return tile_inputs(places, filtered=True)


def tiles_of_cohort(wildcards):
    places = [(wildcards.cohort, slide) for slide in listed_slides(wildcards)]
    return tile_inputs(places, filtered=True)


def chunk_files(wildcards):
    """The predictions of a cohort: a file for each chunk that has slides."""
    chunks = planning.slides_by_chunk(sheet_of(wildcards), chunks=study.predictions.chunks)
    return [f"results/{wildcards.cohort}/predictions/{chunk}.h5" for chunk in sorted(chunks)]


def ensembles_of(wildcards):
    """The table of a cohort's ensembles: its own, or that of the models that are applied."""
    if cohort_of(wildcards).models is not None:
        return applied_file(wildcards.cohort, "ensembles.tsv")
    return f"results/{wildcards.cohort}/ensembles.tsv"


def model_files(wildcards):
    applied = applied_settings(wildcards.cohort)
    if applied:
        return [applied_file(wildcards.cohort, f"{name}/weights.safetensors") for name in applied["members"]]
    return [
        f"results/{wildcards.cohort}/training/{trait}/round_{number}/weights.safetensors"
        for trait in traits_of(wildcards)
        for number in rounds()
    ]


def test_slides_of_chunk(wildcards):
    if cohort_of(wildcards).models is not None:
        return []
    found = assembled(wildcards)
    return planning.held_out_slides(found.sheet, found.splits, slides_of_chunk(wildcards))


# Cartography


def table1_where_traits_are_chosen_by_it(wildcards):
    return rules.evaluate_models.output.table1 if heterogeneity_traits_of(wildcards) is None else []
