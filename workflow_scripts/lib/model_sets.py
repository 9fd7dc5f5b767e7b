"""A model set: a folder with all that it takes to apply a cohort's trained models to other slides.

In it are `ensembles.tsv`; `<trait>/round_<k>/` of each member of an ensemble (see `models.save`); `tumour_filter/`, in
the same form, where tiles are filtered by a model; `stain_reference.json`, where stains are normalised; and
`settings.json`, which is written last. It can be copied to another machine. Nothing in it is run or unpickled.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import StringConstraints, ValidationError

from workflow_scripts.lib import files, provenance
from workflow_scripts.lib.configuration.chain import Heterogeneity, Predictions, Stain, Tiles
from workflow_scripts.lib.configuration.sections import Name, Section, Share
from workflow_scripts.lib.ensembles import members_of
from workflow_scripts.lib.errors import InputError

log = logging.getLogger(__name__)

SETTINGS_FILE = "settings.json"
# What a folder holds changes with this number.
FORM = 1
MODEL_FILES = ("weights.safetensors", "model.json")
# How a cohort's tiles were filtered: by a model, which is in the folder, or by files of the user's own.
BY_MODEL, BY_FILES = "model", "files"

# Names in the settings become paths.
_Member = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}/round_[0-9]{1,4}$")]
_File = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,99}/){0,2}[a-z_]+\.[a-z]+$")]
_Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class Settings(Section):
    """What `settings.json` holds: how the models were trained, and the SHA-256 of each other file of the folder."""

    form: Literal[FORM]
    title: str
    traits: list[Name]
    heterogeneity_traits: list[Name]
    members: list[_Member]
    files: dict[_File, _Digest]
    tiles: Tiles
    stain: Stain
    predictions: Predictions
    heterogeneity: Heterogeneity
    tumour_filter: Literal["model", "files"] | None
    tumour_threshold: Share | None
    code_version: str


def gather(
    folder: str | Path,
    *,
    path_to_ensembles: str | Path,
    training: str | Path,
    tumour_filter: str | Path | None,
    reference: str | Path | None,
    settings: Mapping[str, Any],
) -> None:
    """Write a model set into `folder`.

    path_to_ensembles: the table of `rank_models`; training: the folder with `<trait>/round_<k>/` of all models, of
    which the ensembles' members are taken; tumour_filter: the folder of the filter's model, or None; reference:
    `stain_reference.json`, or None; settings: all of `Settings` but form, members and files.
    """
    folder = Path(folder)
    ensembles = files.read_table(path_to_ensembles, text=["trait"])
    members = [f"{trait}/{model}" for trait in settings["traits"] for model in members_of(ensembles, trait)]
    sources = {"ensembles.tsv": Path(path_to_ensembles)}
    sources |= {f"{name}/{file}": Path(training) / name / file for name in members for file in MODEL_FILES}
    if tumour_filter is not None:
        sources |= {f"tumour_filter/{file}": Path(tumour_filter) / file for file in MODEL_FILES}
    if reference is not None:
        sources["stain_reference.json"] = Path(reference)
    for name, path in sources.items():
        with files.writing(folder / name) as partial:
            shutil.copyfile(path, partial)
    digests = {name: provenance.file_digest(folder / name) for name in sources}
    with files.writing(folder / SETTINGS_FILE) as partial:
        content = {"form": FORM, "members": members, "files": digests, **settings}
        partial.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    log.info("%d models of %s", len(members), ", ".join(settings["traits"]))


def read_settings(folder: str | Path) -> dict[str, Any]:
    """The settings of a model set, checked (`Settings`). Raises InputError when the folder is none, or lacks a file."""
    path = Path(folder) / SETTINGS_FILE
    try:
        settings = Settings.model_validate_json(path.read_bytes(), strict=False)
    except FileNotFoundError:
        raise InputError(
            f"{folder}: expected the folder `models` of a run's results (results/<cohort>/models), found no "
            f"{SETTINGS_FILE} in it"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"{path}: expected the settings of a model set of form {FORM}, found "
            f"{'.'.join(map(str, first['loc'])) or 'no JSON'}: {first['msg']}; gather the models again"
        ) from None
    needed = {"ensembles.tsv"} | {f"{name}/{file}" for name in settings.members for file in MODEL_FILES}
    needed |= {f"tumour_filter/{file}" for file in MODEL_FILES if settings.tumour_filter == BY_MODEL}
    needed |= {"stain_reference.json"} if settings.stain.method != "none" else set()
    lacking = sorted(name for name in needed | set(settings.files) if not (Path(folder) / name).is_file())
    if lacking or not needed <= set(settings.files):
        absent = [*lacking, *sorted(needed - set(settings.files))]
        raise InputError(f"{folder}: {len(absent)} files of the models are missing, the first of them {absent[0]}")
    return settings.model_dump(mode="json")


def check_files(folder: str | Path, digests: Mapping[str, str]) -> None:
    """Raise InputError unless each file of a model set has the SHA-256 that its settings give."""
    for name, digest in digests.items():
        found = provenance.file_digest(Path(folder) / name)
        if found != digest:
            raise InputError(f"{folder}/{name}: expected SHA-256 {digest}, found {found}; copy the folder again, whole")
