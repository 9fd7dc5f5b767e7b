"""A model set is all that it takes to apply trained models elsewhere, and nothing in it is trusted."""

import json
from pathlib import Path

import pandas as pd
import pytest

from workflow_scripts.lib import files, model_sets
from workflow_scripts.lib.configuration.chain import Heterogeneity, Predictions, Stain, Tiles
from workflow_scripts.lib.errors import InputError

SETTINGS = {
    "title": "Cohort",
    "traits": ["A", "B"],
    "heterogeneity_traits": ["A", "B"],
    "tiles": Tiles(tile_px=64).model_dump(),
    "stain": Stain(method="macenko").model_dump(),
    "predictions": Predictions().model_dump(),
    "heterogeneity": Heterogeneity().model_dump(),
    "tumour_filter": model_sets.BY_MODEL,
    "tumour_threshold": 0.25,
    "code_version": "0",
}


@pytest.fixture
def run(tmp_path) -> Path:
    """The results of a run with two rounds, of which one is a member."""
    rows = [("A", 1, 0), ("A", 2, 1), ("B", 1, 1), ("B", 2, 0)]
    ensembles = pd.DataFrame(rows, columns=["trait", "round", "member"]).assign(rank=1)
    files.write_table(ensembles, tmp_path / "run" / "ensembles.tsv")
    for name in ("training/A/round_1", "training/A/round_2", "training/B/round_1", "training/B/round_2", "filter"):
        (tmp_path / "run" / name).mkdir(parents=True)
        for file in model_sets.MODEL_FILES:
            (tmp_path / "run" / name / file).write_text(f"{name}/{file}")
    (tmp_path / "run" / "reference.json").write_text("{}")
    return tmp_path / "run"


def gather(run: Path, **changes: object) -> Path:
    given = {"tumour_filter": run / "filter", "reference": run / "reference.json", "settings": SETTINGS} | changes
    folder = run / "models"
    model_sets.gather(folder, path_to_ensembles=run / "ensembles.tsv", training=run / "training", **given)
    return folder


def change(folder: Path, **changes: object) -> None:
    path = folder / model_sets.SETTINGS_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_members_of_the_ensembles_are_gathered_and_no_other_model(run):
    folder = gather(run)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    kept = ("A/round_2", "B/round_1", "tumour_filter")
    models = [f"{name}/{file}" for name in kept for file in model_sets.MODEL_FILES]
    assert found == {"ensembles.tsv", "stain_reference.json", "settings.json", *models}
    assert (folder / "A/round_2/model.json").read_text() == "training/A/round_2/model.json"
    settings = model_sets.read_settings(folder)
    assert settings["members"] == ["A/round_2", "B/round_1"]
    assert {name: settings[name] for name in SETTINGS} == SETTINGS
    assert set(settings["files"]) == found - {"settings.json"}


def test_what_a_run_does_without_is_not_in_its_model_set(run):
    plain = {"stain": Stain().model_dump(), "tumour_filter": None, "tumour_threshold": None}
    folder = gather(run, tumour_filter=None, reference=None, settings=SETTINGS | plain)
    assert {path.name for path in folder.iterdir()} == {"ensembles.tsv", "settings.json", "A", "B"}
    assert model_sets.read_settings(folder)["tumour_filter"] is None


def test_another_folder_is_no_model_set(tmp_path):
    with pytest.raises(InputError, match=r"expected the folder `models` of a run's results .* found no settings.json"):
        model_sets.read_settings(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"form": 2}'])
def test_settings_of_another_form_are_refused(tmp_path, content):
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(InputError, match=r"settings\.json: expected the settings of a model set of form 1, found"):
        model_sets.read_settings(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"form": 2},
        {"members": ["../../etc/round_1"]},
        {"members": ["A/round_1/x"]},
        {"members": 5},
        {"traits": ["A", "../../../victim"]},
        {"traits": "A"},
        {"files": {"../weights.safetensors": "0" * 64}},
        {"files": {"/etc/a.b": "0" * 64}},
        {"tumour_threshold": "/etc/hostname"},
        {"tumour_filter": True},
        {"stain": None},
        {"predictions": {"threads": "x"}},
        {"tiles": {"tile_px": 64, "shape": 3}},
        {"surprise": 1},
    ],
)
def test_settings_are_not_trusted(run, changes):
    folder = gather(run)
    change(folder, **changes)
    with pytest.raises(InputError, match=rf"settings\.json: .* found .*{next(iter(changes))}"):
        model_sets.read_settings(folder)


@pytest.mark.parametrize("name", ["B/round_1/weights.safetensors", "tumour_filter/model.json", "stain_reference.json"])
def test_a_file_that_is_missing_is_named(run, name):
    folder = gather(run)
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"1 files of the models are missing, the first of them {name}"):
        model_sets.read_settings(folder)


def test_a_file_that_is_not_the_one_that_was_gathered_is_refused(run):
    folder = gather(run)
    digests = model_sets.read_settings(folder)["files"]
    model_sets.check_files(folder, digests)
    (folder / "A/round_2/weights.safetensors").write_text("other")
    with pytest.raises(InputError, match=r"A/round_2/weights\.safetensors: expected SHA-256"):
        model_sets.check_files(folder, digests)
