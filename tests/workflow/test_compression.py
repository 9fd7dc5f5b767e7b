"""The study of neural image compression on a few generated slides: every table and figure, and what runs again when."""

import json

import h5py
import numpy as np
import pytest
from checkouts import Checkout, SmallStudy

from workflow_scripts.lib import files, slide_targets

STUDY = SmallStudy("compression")
DEMO = "studies/compression-demo.yaml"
SMALL = "tests/workflow/compression.yaml"
RESULTS = "results/compression"
ENCODERS = ["multitask", "mean_rgb"]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Checkout:
    return STUDY.made_in(tmp_path_factory.mktemp("compression"))


def table(study: Checkout, name: str):
    text = ["target", "encoder", "set", "task", "kind", "note", "risk", "cohort", "trait", "model"]
    return files.read_table(study.folder / RESULTS / "tables" / f"{name}.tsv", text=text)


def description(study: Checkout, name: str):
    return json.loads((study.folder / RESULTS / "encoders" / name / "model.json").read_text())


def test_every_target_is_scored_for_every_encoder_that_it_names(study):
    assert set(table(study, "auc")["encoder"]) == set(ENCODERS)
    assert set(table(study, "table1")["set"]) == {"development", "external"}
    survival = table(study, "survival")
    assert set(survival["risk"]) == {"1 - p(desmoplastic)", "Cox"}
    assert survival["c_index"].between(0, 1).all()


def test_an_encoder_that_nothing_names_is_not_trained_and_its_slides_are_not_read(study):
    trained = [path.name for path in (study.folder / RESULTS / "encoders").iterdir()]
    assert sorted(trained) == sorted([*ENCODERS, "ablation_all_1"])
    assert not (study.folder / "results" / "compression_glands").exists()


def test_each_encoder_learns_its_tasks(study):
    assert description(study, "multitask")["tasks"] == {
        "lymph": ["background", "tumour"],
        "tissues": ["tumour", "mucosa", "muscle", "stroma", "lymphoid", "necrosis"],
    }
    assert description(study, "ablation_all_1")["features"] == 16
    assert description(study, "multitask")["settings"]["augmentations"] == ["horizontal_flip"]
    assert len(description(study, "ablation_all_1")["settings"]["augmentations"]) > 1
    assert table(study, "encoders").query("encoder == 'multitask'")["accuracy"].between(0, 1).all()


def test_a_grid_is_the_slides_lattice_in_eight_orientations_with_nothing_outside_tissue(study):
    with h5py.File(study.folder / "results" / "compression_external" / "grids" / "multitask" / "0.h5") as grids:
        slide = next(iter(grids))
        values = grids[slide]["grid"][:]
    with h5py.File(study.folder / "results" / "compression_external" / "tiles" / f"{slide}.h5") as store:
        coords, shape = store["coords"][:], (store.attrs["rows"], store.attrs["columns"])
    assert values.shape == (8, 128, *shape)
    assert values.dtype == np.float16
    has_code = values.any(axis=(0, 1))
    assert sorted(zip(*np.nonzero(has_code.T), strict=True)) == sorted(map(tuple, coords))


def test_no_patient_is_in_two_sets_of_a_model(study):
    for target in ("proliferation", "growth_pattern", "survival"):
        slides = slide_targets.read_slides(study.folder / RESULTS / "targets" / f"{target}.tsv")
        for number in (1, 2, 3):
            used = slides[slides[f"model_{number}"] != ""]
            assert (used.groupby("patient_id")[f"model_{number}"].nunique() == 1).all()


def test_traits_of_the_chain_stand_twice_in_one_table_over_the_same_slides(study):
    traits = table(study, "traits")
    assert traits[["trait", "model"]].to_numpy().tolist() == [
        [trait, model] for trait in ("PRLA", "RIMA") for model in ("tiles", "grids")
    ]
    assert (traits.groupby("trait")["n_test"].nunique() == 1).all()


def test_nothing_is_left_to_do(study):
    assert STUDY.planned(study) == {}


def test_an_encoder_is_planned_with_its_patches_whatever_asks_for_it(study):
    forced = ["--dry-run", "--forcerun", "train_encoder", "--", f"{RESULTS}/tables/ablation.tsv"]
    plan = study.run([*STUDY.command, *forced]).stdout
    assert "rule train_encoder" in plan
    assert "<TBD>" not in plan


def test_states_of_training_go_when_the_run_has_succeeded(study):
    assert not list((study.folder / RESULTS).rglob("*.pt"))


def test_another_target_trains_no_encoder_and_compresses_nothing(study, tmp_path):
    copy = study.copy_to(tmp_path / "after", with_results=True)
    copy.edit(DEMO, "      column: proliferation\n", "      column: proliferation\n      shuffled: true\n")
    after = STUDY.planned(copy)
    assert after["list_target_slides"] == 1
    assert not {"train_encoder", "compress_slides", "tile_slide"} & set(after)


def test_another_rule_for_ties_trains_survival_alone(study, tmp_path):
    copy = study.copy_to(tmp_path / "after", with_results=True)
    copy.edit(DEMO, "    filters: 32\n", "    filters: 32\n    ties: breslow\n")
    assert STUDY.planned(copy)["train_slide_models"] == 1


def test_an_encoder_that_changes_is_trained_again_with_what_stands_on_it_and_no_other(study, tmp_path):
    copy = study.copy_to(tmp_path / "after", with_results=True)
    copy.edit(SMALL, "augmentations: [horizontal_flip]", "augmentations: [noise]")
    after = STUDY.planned(copy)
    assert after["train_encoder"] == 1
    # Of three targets and two traits; not those of the mean colour and of the ablation.
    assert after["train_slide_models"] == 5


@pytest.mark.slow
def test_an_external_slide_that_goes_trains_nothing(study, tmp_path):
    copy = study.copy_to(tmp_path / "after", with_results=True)
    slide = next((copy.folder / RESULTS / "input" / "compression_external" / "slides").iterdir()).stem
    sheet = "      sheet: results/compression/input/compression_external.tsv\n"
    copy.edit(DEMO, sheet, f"{sheet}      exclude: {{{slide}: taken away}}\n")
    done = copy.run([*STUDY.command, "--", f"{RESULTS}/tables/table1.tsv", f"{RESULTS}/tables/ablation.tsv"])
    assert done.returncode == 0, done.stdout
    for encoder in ("multitask", "ablation_all_1"):
        weights = f"{RESULTS}/models/proliferation/{encoder}/model_1/weights.safetensors"
        assert (copy.folder / weights).stat().st_mtime_ns == (study.folder / weights).stat().st_mtime_ns
    assert table(copy, "table1").query("set == 'external'")["patients"].tolist() == [3]


@pytest.mark.slow
def test_an_encoder_that_is_brought_as_two_files_is_not_trained(study, tmp_path):
    copy = study.copy_to(tmp_path / "after", with_results=True)
    (copy.folder / "brought").mkdir()
    for name in ("weights.safetensors", "model.json"):
        (copy.folder / RESULTS / "encoders" / "multitask" / name).rename(copy.folder / "brought" / name)
    learnt = "multitask: {kind: multitask, tasks: [lymph, glands, nuclei, tissues]}"
    copy.edit(DEMO, learnt, "multitask: {kind: trained, folder: brought}")
    copy.edit(SMALL, "  encoders:\n    multitask: {tasks: [lymph, tissues]}\n", "")
    assert "train_encoder" not in STUDY.planned(copy)
    done = copy.run([*STUDY.command, "--", "results/compression_external/grids/multitask/0.h5"])
    assert done.returncode == 0, done.stdout


def test_every_figure_and_table_is_a_file_with_something_in_it(study):
    made = [path for path in (study.folder / RESULTS).rglob("*") if path.suffix in (".png", ".tsv", ".html")]
    assert len(made) > 40
    assert all(path.stat().st_size for path in made)
