"""The study of metastatic origin on a few generated slides: every table and figure, and what runs again when."""

import json

import pytest
from checkouts import Checkout, SmallStudy

from workflow_scripts.lib import files, provenance

STUDY = SmallStudy("origin")
DEMO = "studies/origin-demo.yaml"
RESULTS = "results/origin"
CLASSES = ["colonic_adenocarcinoma", "melanoma", "leiomyosarcoma"]
REGIMES = ["primary", "metastatic", "transfer"]
TRANSFER = "transfer: {domain: metastatic, starts_from: pretrained, max_epochs: 2}"


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Checkout:
    return STUDY.made_in(tmp_path_factory.mktemp("origin"))


def table(study: Checkout, name: str):
    return files.read_table(study.folder / RESULTS / "tables" / f"{name}.tsv", text=["class", "note"])


def test_every_regime_is_judged_on_every_class_by_tile_and_by_slide(study):
    auroc = table(study, "auroc")
    expected = {
        (regime, name, level) for regime in REGIMES for name in [*CLASSES, "macro"] for level in ("tile", "slide")
    }
    assert set(auroc[["regime", "class", "level"]].itertuples(index=False, name=None)) == expected
    assert auroc["auroc"].between(0, 1).all()
    slides = table(study, "slide_predictions")
    assert len({tuple(slides.loc[slides["regime"] == regime, "slide_id"]) for regime in REGIMES}) == 1
    assert abs(slides.loc[slides["tiles"] > 0, CLASSES].sum(axis=1) - 1).max() < 1e-5


def test_held_out_slides_are_metastases_of_patients_whom_no_model_has_seen(study):
    slides = files.read_table(study.folder / RESULTS / "slides.tsv", text=["set", "reason"])
    judged = set(table(study, "slide_predictions")["slide_id"])
    assert judged == set(
        slides.loc[
            (slides["domain"] == "metastatic") & (slides["set"] == "test") & slides["class"].isin(CLASSES), "slide_id"
        ]
    )
    of_test = set(slides.loc[slides["set"] == "test", "patient_id"])
    assert not of_test & set(slides.loc[slides["set"].isin(["train", "validation"]), "patient_id"])


def test_the_control_is_compared_and_not_classified(study):
    assert set(table(study, "data")["class"]) == {*CLASSES, "normal_liver"}
    assert set(table(study, "divergence")["class"]) == {*CLASSES, "normal_liver"}
    assert set(table(study, "tsne")["class"]) == {*CLASSES, "normal_liver"}
    assert set(table(study, "divergence_auroc")["class"]) == set(CLASSES)


def test_the_transferred_model_began_with_the_weights_of_the_one_before(study):
    models = study.folder / RESULTS / "training"
    described = json.loads((models / "transfer" / "model.json").read_text())
    assert described["starts_from"] == provenance.file_digest(models / "pretrained" / "weights.safetensors")
    assert described["classes"] == CLASSES


def test_nothing_is_left_to_do(study):
    assert STUDY.planned(study) == {}


def test_a_regime_that_changes_trains_again_with_those_that_start_from_it_and_no_other(study, tmp_path):
    copy = study.copy_to(tmp_path / "after", with_results=True)
    copy.edit(DEMO, TRANSFER, TRANSFER.replace("}", ", learning_rate: 1.0e-3}"))
    after = STUDY.planned(copy)
    assert after["train_origin"] == 1
    assert not {"train_origin_autoencoder", "tile_slide", "train_filter"} & set(after)
    copy.edit(DEMO, "pretrained: {domain: primary, max_epochs: 2}", "pretrained: {domain: primary, max_epochs: 1}")
    assert STUDY.planned(copy)["train_origin"] == 2


def test_a_held_out_slide_that_is_replaced_trains_no_classifier(study):
    slides = files.read_table(study.folder / RESULTS / "slides.tsv", text=["set", "reason"])
    annotated = [path.stem for path in (study.folder / RESULTS / "input").glob("*/annotations/*.geojson")]
    judged = slides[(slides["domain"] == "metastatic") & (slides["set"] == "test") & slides["class"].isin(CLASSES)]
    replaced = judged.loc[~judged["slide_id"].isin(annotated), "slide_id"].iloc[0]
    after = STUDY.planned(study, "--forcerun", f"results/origin_metastatic/tiles/{replaced}.h5")
    assert after["tile_slide"] == after["filter_slides"] == after["predict_origin"] == 1
    assert not {"train_origin", "train_filter"} & set(after)


def test_every_figure_and_table_is_a_file_with_something_in_it(study):
    made = [path for path in (study.folder / RESULTS).rglob("*") if path.suffix in (".png", ".tsv", ".html")]
    assert len(made) > 25
    assert all(path.stat().st_size for path in made)
