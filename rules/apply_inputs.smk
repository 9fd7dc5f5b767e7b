# What is asked of trained models that are applied: how they were trained, and their files.
from functools import cache
from pathlib import Path

from workflow_scripts.lib import model_sets
from workflow_scripts.lib.errors import InputError


@cache
def applied_settings(cohort):
    """How the models that are applied to a cohort were trained; None of a cohort that trains its own."""
    folder = study.cohorts[cohort].models
    if folder is None:
        return None
    for other in study.study.cohorts:
        if Path(folder).resolve() == Path(f"results/{other}/models").resolve():
            raise WorkflowError(
                f"cohorts.{cohort}.models: {folder} are the models of {other}, which this run may train anew; run "
                f"{other} first, and {cohort} by itself after it"
            )
    try:
        return model_sets.read_settings(folder)
    except InputError as error:
        raise WorkflowError(f"cohorts.{cohort}.models: {error}") from None


def applied_file(cohort, name):
    return str(study.cohorts[cohort].models / name)
