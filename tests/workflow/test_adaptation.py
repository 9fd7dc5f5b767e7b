"""The study of microscope adaptation on a few generated slides and photographs: every table, and what runs again."""

import json
import re

import pytest
from checkouts import Checkout, SmallStudy

from workflow_scripts.lib import exported_models, files

STUDY = SmallStudy("adaptation")
OVERLAY = "tests/workflow/adaptation.yaml"
RESULTS = "results/adaptation"
METHODS = ["source_only", "mix", "adda", "dman", "batch_norm", "stain_normalised"]
# What learns from labels of photographs.
SUPERVISED = ["mix"]
SEED = 20201102


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Checkout:
    return STUDY.made_in(tmp_path_factory.mktemp("adaptation"))


def table(study: Checkout, name: str):
    text = ["method", "title", "domain", "labelled", "note", "class", "predicted", "slide_id", "patient_id", "set"]
    return files.read_table(study.folder / RESULTS / "tables" / f"{name}.tsv", text=text)


def trained(study: Checkout, method: str):
    return study.folder / RESULTS / "training" / method / str(SEED)


def test_table_2_has_every_method_on_slides_and_on_photographs(study):
    table2 = table(study, "table2")
    assert table2["method"].drop_duplicates().tolist() == METHODS
    assert {tuple(sorted(of)) for _, of in table2.groupby("method")["domain"]} == {("source", "target")}
    assert table2[["accuracy", "precision", "recall", "f1"]].stack().between(0, 1).all()


def test_a_method_that_others_start_from_is_trained_without_being_judged(study):
    assert (trained(study, "source_only_c") / "weights.safetensors").is_file()
    assert "source_only_c" not in table(study, "table2")["method"].to_numpy()


def test_no_patient_is_tested_and_learnt_from(study):
    tested = set(table(study, "patches")["patient_id"])
    splits = files.read_table(study.folder / RESULTS / "input" / "split.tsv", text=["patient_id", "set"])
    assert tested <= set(splits.loc[splits["set"] == "test", "patient_id"])


def test_all_methods_are_judged_on_the_same_patches(study):
    of_methods = table(study, "patches").groupby("method")[["domain", "slide_id", "col", "row"]]
    assert len({tuple(map(tuple, of.to_numpy().tolist())) for _, of in of_methods}) == 1


def test_other_labels_of_photographs_train_nothing_that_learns_without_them(study, tmp_path):
    copy = study.copy_to(tmp_path / "after", with_results=True)
    for path in (copy.folder / RESULTS / "input" / "adaptation_photographs" / "annotations").iterdir():
        path.write_text(path.read_text().replace('"Normal"', '"Swapped"').replace('"Adenoma"', '"Normal"'))
    plan = STUDY.run(copy, "--dry-run").stdout
    again = set(re.findall(r"output: results/adaptation/training/(\w+)/", plan))
    assert again == set(SUPERVISED)
    assert "rule score_adaptation:" in plan


def test_another_seed_is_trained_beside_the_first(study, tmp_path):
    copy = study.copy_to(tmp_path / "after", with_results=True)
    copy.edit(OVERLAY, "adaptation:\n", f"adaptation:\n  seeds: [{SEED}, 1]\n")
    after = STUDY.planned(copy)
    assert after["train_adaptation"] == len(METHODS)
    assert after["measure_batch_statistics"] == 1
    assert not {"tile_slide", "fit_stain", "export_adapted_model"} & set(after)


def test_another_title_of_a_method_trains_nothing(study, tmp_path):
    copy = study.copy_to(tmp_path / "after", with_results=True)
    copy.edit(OVERLAY, "    mix: {", "    mix: {title: Mixture, ")
    after = STUDY.planned(copy)
    assert after["score_adaptation"] == 1
    assert not {"train_adaptation", "predict_adaptation"} & set(after)


def test_the_exported_model_classifies_the_held_out_photographs(study):
    model = exported_models.open_model(study.folder / RESULTS / "exported" / "dman.onnx", threads=1)
    assert model.description["classes"] == ["normal", "adenoma", "adenocarcinoma"]
    assert model.description["tiles"]["mpp"] == 1.333
    found = files.read_table(study.folder / RESULTS / "classified" / "photographs.tsv", text=["file", "status"])
    tested = table(study, "patches").query("domain == 'target'")["slide_id"].unique()
    assert {name.rpartition(".")[0] for name in found["file"]} == set(tested)


def test_the_command_gives_a_patch_the_probabilities_of_the_study(study):
    # Of the same pixels: patches are stored as JPEG, and what the command cuts is encoded in the same way.
    of_command = files.read_table(study.folder / RESULTS / "classified" / "patches.tsv", text=["file", "class"])
    of_command["slide_id"] = of_command["file"].str.rpartition(".")[0]
    of_study = table(study, "patches").query("method == 'dman' and domain == 'target'")
    both = of_study.merge(of_command, on=["slide_id", "col", "row"], suffixes=("", "_of_command"))
    assert len(both) == len(of_study)
    for name in ("normal", "adenoma", "adenocarcinoma"):
        assert (both[f"p_{name}"] - both[f"p_{name}_of_command"]).abs().max() < 1e-4


def test_what_a_model_learnt_by_is_told(study):
    described = json.loads((trained(study, "dman") / "model.json").read_text())
    assert described["adaptation"]["domain"] == "least_squares"
    assert (described["method"], described["seed"]) == ("dman", SEED)


def test_the_doctor_knows_the_cohorts_of_a_sister_study(study):
    said = study.run([*STUDY.command, "--quiet", "all", "--", "doctor"]).stdout
    assert "Slides of colon" in said
    assert "Photographs of colon" in said
    assert said.count("8 of 8 are here") == 2


def test_nothing_is_left_to_do(study):
    assert STUDY.planned(study) == {}


def test_states_of_training_go_when_the_run_has_succeeded(study):
    assert not list((study.folder / "results").rglob("state.pt"))


def test_every_figure_and_table_is_a_file_with_something_in_it(study):
    made = [path for path in (study.folder / RESULTS).rglob("*") if path.suffix in (".png", ".tsv", ".html", ".onnx")]
    assert len(made) > 20
    assert all(path.stat().st_size for path in made)
