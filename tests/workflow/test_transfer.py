"""The study of cross-cancer transfer on a few generated slides: every table and figure, and what runs again when."""

import json

import pytest
from checkouts import Checkout, SmallStudy

from workflow_scripts.lib import files, provenance

STUDY = SmallStudy("transfer")
DEMO = "studies/transfer-demo.yaml"
RESULTS = "results/transfer"
AVAILABLE = ["random", "source", "unrelated"]
LACKING = ["imagenet", "imagenet_then_source"]
WEIGHTS = "results/filters/source/weights.safetensors"


@pytest.fixture(scope="module", autouse=True)
def no_weights(tmp_path_factory):
    """An empty cache of torch's, so that no weights of ImageNet's are found, whatever this machine has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Checkout:
    return STUDY.made_in(tmp_path_factory.mktemp("transfer"))


def table(study: Checkout, name: str):
    return files.read_table(study.folder / RESULTS / f"{name}.tsv", text=["regime", "slide", "note", "cohort", "set"])


def scores(study: Checkout, name: str):
    return files.read_table(study.folder / "results" / "filters" / name / "scores.tsv").iloc[0]


def model(study: Checkout, name: str):
    return json.loads((study.folder / "results" / "filters" / name / "model.json").read_text())


def test_table_1_has_every_regime_by_tile_and_pixel_of_every_held_out_slide(study):
    table1 = table(study, "tables/table1")
    held_out = table(study, "tables/cohort").query("cohort == 'transfer_target' and set == 'test'")["slide_id"]
    expected = {
        (regime, level, slide)
        for regime in [*AVAILABLE, *LACKING] for level in ("tile", "pixel") for slide in [*held_out, "overall"]
    }  # fmt: skip
    assert set(table1[["regime", "level", "slide"]].itertuples(index=False, name=None)) == expected
    assert table1.loc[table1["regime"].isin(AVAILABLE), "auc"].between(0, 1).all()


def test_what_needs_weights_that_are_not_here_is_not_available_and_says_how_to_get_them(study):
    notes = table(study, "regimes").set_index("regime")["note"]
    assert [name for name, note in notes.items() if note] == LACKING
    assert notes[LACKING].str.contains("curl --create-dirs --output").all()
    lacking = table(study, "tables/table1").query("regime in @LACKING")
    assert lacking["auc"].isna().all()
    assert lacking["note"].str.contains("not available").all()


def test_all_regimes_learn_from_the_same_tiles_in_the_same_sets(study):
    assert len({model(study, name)["learned_from"] for name in AVAILABLE}) == 1
    assert model(study, "source_detector")["learned_from"] != model(study, "source")["learned_from"]
    assert sum(scores(study, "random")[["train_tiles", "validation_tiles"]]) == 60
    # The held-out patients of no source are held out.
    assert sum(scores(study, "source_detector")[["train_slides", "validation_slides"]]) == 4


def test_a_detector_begins_with_the_convolutions_of_the_one_before(study):
    start = study.folder / "results" / "filters" / "source_detector" / "weights.safetensors"
    assert model(study, "source")["starts_from"] == provenance.file_digest(start)
    assert model(study, "source")["head"] == [64, 32]


def test_fewer_slides_are_a_point_of_the_gain(study):
    gain = table(study, "tables/gain")
    of_two = gain[(gain["slides"] == 2) & gain["regime"].isin(AVAILABLE)]
    assert of_two["regime"].tolist() == AVAILABLE
    assert scores(study, "source_of_2_slides")["train_slides"] == 2


def test_nothing_is_left_to_do(study):
    assert STUDY.planned(study) == {}


def test_weights_that_are_brought_make_what_lacked_them(study, monkeypatch, tmp_path):
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    (cache / "shufflenetv2_x0.5-f707e7126e.pth").touch()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert STUDY.planned(study)["find_regimes"] == 1


@pytest.mark.slow
def test_a_named_file_of_weights_that_is_brought_does_so_too(study, tmp_path):
    copy = study.copy_to(tmp_path / "after", with_results=True)
    copy.edit(DEMO, "      weights: imagenet\n", "      weights: imagenet\n      imagenet: own.safetensors\n")
    STUDY.run(copy)
    assert STUDY.planned(copy) == {}
    (copy.folder / "own.safetensors").touch()
    assert STUDY.planned(copy)["find_regimes"] == 1


@pytest.mark.slow
def test_a_detector_whose_start_saw_its_held_out_patients_is_refused(study, tmp_path):
    copy = study.copy_to(tmp_path / "after", with_results=False)
    copy.edit(DEMO, "    cohorts: [transfer_source]\n", "    cohorts: [transfer_target]\n")
    done = copy.run([*STUDY.command, "--", "results/transfer/tables/cohort.tsv"])
    assert done.returncode != 0
    assert "tumour_filters.source.starts_from: 2 of its held-out patients teach source_detector" in done.stdout


def test_another_resolution_of_the_map_trains_nothing(study, tmp_path):
    copy = study.copy_to(tmp_path / "after", with_results=True)
    copy.edit(DEMO, "  fewer: [2, 4]\n", "  fewer: [2, 4]\n  pixels: {mpp: 8.0, interpolation: nearest}\n")
    after = STUDY.planned(copy)
    assert after["count_transfer_pixels"] == len(AVAILABLE)
    assert not {"train_filter", "tile_slide", "score_annotated"} & set(after)


@pytest.mark.slow
def test_a_detector_is_a_tumour_filter_of_the_chain_by_configuration_alone(study, tmp_path):
    copy = study.copy_to(tmp_path / "after", with_results=True)
    copy.edit(DEMO, "  transfer_target:\n", "  transfer_target:\n    tumour_filter: source\n")
    copy.edit(DEMO, "predictions:\n", "predictions:\n  chunks: 1\n")
    files_of_filter = ["results/transfer_target/tumour/0.h5", "results/filters/source/evaluation.tsv"]
    done = copy.run([*STUDY.command, "--", *files_of_filter])
    assert done.returncode == 0, done.stdout
    assert all((copy.folder / name).stat().st_size for name in files_of_filter)
    assert (copy.folder / WEIGHTS).stat().st_mtime_ns == (study.folder / WEIGHTS).stat().st_mtime_ns


def test_every_figure_and_table_is_a_file_with_something_in_it(study):
    made = [path for path in (study.folder / RESULTS).rglob("*") if path.suffix in (".png", ".tsv", ".html")]
    assert len(made) > 20
    assert all(path.stat().st_size for path in made)
