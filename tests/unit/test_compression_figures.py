"""Figures of the neural image compression study: what each says, and that none breaks on little or nothing."""

import json
from pathlib import Path

import h5py
import matplotlib
import numpy as np
import pandas as pd
import pytest
from compression_study import FOLDS, GROWTH, TASKS, Study, ablation
from drawn import DEUTERANOPIA, PROTANOPIA, lightness_distance, outside, read_page, words
from stores import jpeg, make_store

from workflow_scripts.lib import encoder_scores, published, risk_scores, target_scores
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.figures import (
    compression,
    compression_learning,
    compression_page,
    compression_slides,
    style,
)
from workflow_scripts.lib.figures.compression_learning import Trained
from workflow_scripts.lib.figures.compression_slides import Grid, Looked, Picture
from workflow_scripts.lib.files import read_table, write_table

DRAWN = {"resamples": 20, "seed": 3}
TITLES = {"proliferation": "Speed of proliferation", "growth": "Growth pattern", "death": "Overall survival"}
SHOWN = dict.fromkeys(TITLES, "multitask")
KINDS = {"mean_rgb": "mean_rgb", "bigan": "bigan", "lymph_node": "multitask", "multitask": "multitask"}
NAN = float("nan")
LONG = "an_encoder_of_many_tasks_with_a_name_that_is_much_too_long_for_any_axis"


class Tables:
    """All tables of a study, by name, as they read back."""

    def __init__(self, folder: Path, encoders=tuple(KINDS), patients: int = 24) -> None:
        study = Study(encoders=encoders, patients=patients)
        study.write(folder)
        paths = {name: folder / f"{name}.tsv" for name in (
            "table1", "numbers", "auc", "auc_tests", "roc", "survival", "risks", "survival_curves", "ablation",
            "by_number", "by_task",
        )}  # fmt: skip
        targets = study.read(folder)
        target_scores.write_number_tables(paths, targets, **DRAWN)
        target_scores.write_class_tables(paths, targets, compared="growth", **DRAWN)
        risk_scores.write_tables(paths, targets, scale="standardised", **DRAWN)
        tasks = ablation(repeats=2)
        encoder_scores.write_ablation(paths, study.ablated(folder, tasks), tasks, **DRAWN)
        text = [*target_scores.TEXT, "first", "second", "risk", "group", "direction", "task"]
        self.of = {name: read_table(path, text=[*text] if name != "risks" else [n for n in text if n != "risk"])
                   for name, path in paths.items()}  # fmt: skip

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self.of[name].copy()


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Tables:
    return Tables(tmp_path_factory.mktemp("compression"))


def encoders_table() -> pd.DataFrame:
    rows = [("mean_rgb", "mean_rgb", 3, "", NAN, NAN), ("bigan", "bigan", 128, "", NAN, 40_000.0)]
    rows += [("lymph_node", "multitask", 128, "lymph_node", 0.9, 40_000.0)]
    rows += [("multitask", "multitask", 128, task, 0.8 + 0.03 * place, 160_000.0) for place, task in enumerate(TASKS)]
    return pd.DataFrame(rows, columns=["encoder", "kind", "features", "task", "accuracy", "patches"])


# Fig. 3


def test_fig_3_has_a_point_per_encoder_and_the_papers_means_beside_ours(tables):
    figure = compression.tasks_and_performance(tables["ablation"], tables["by_number"])
    assert not outside(figure)
    (axes,) = figure.axes
    points = [line for line in axes.lines if line.get_color() == compression.POINT]
    assert sum(len(line.get_xdata()) for line in points) == 16
    assert "the paper's, other data" in words(figure)
    assert "2 encoders" in words(figure)


def test_the_papers_means_of_fig_3_are_made_of_its_table_3():
    found = compression.paper_by_number()
    assert found["mean"].round(3).tolist() == [0.512, 0.566, 0.563, 0.588]


def test_one_encoder_and_none_are_drawn(tables):
    one = tables["ablation"].head(1)
    assert not outside(compression.tasks_and_performance(one, encoder_scores.by_number(one)))
    none = one.assign(spearman=NAN)
    said = words(compression.tasks_and_performance(none, encoder_scores.by_number(none)))
    assert "ablation.tsv says why" in said.replace("\n", " ")


# Fig. 4


def test_fig_4_has_the_held_out_auc_of_each_encoder_and_its_curve(tables):
    figure = compression.auc_by_encoder(tables["auc"], tables["roc"], target="growth", title="Growth pattern")
    assert not outside(figure)
    rows = tables["auc"].query("set == 'test'")
    for row in rows.itertuples():
        assert f"{row.auc:.3f}" in words(figure)
    curves = [line for line in figure.axes[1].lines if len(line.get_xdata()) > 2]
    assert [line.get_color() for line in curves] == [look[0] for look in compression.LOOKS[:4]]
    assert f"{published.value('growth_pattern_auc', cohort=''):g}" in words(figure)


def test_an_auc_that_is_missing_is_na_with_its_reason_and_no_class_target_is_said(tables):
    auc = tables["auc"].assign(auc=NAN, low=NAN, high=NAN, note="one class: all slides are mixed")
    figure = compression.auc_by_encoder(auc, tables["roc"].head(0), target="growth", title="Growth pattern")
    assert not outside(figure)
    assert words(figure).count("NA: one class: all slides are mixed") == 4
    assert "no curve" in words(figure)
    nothing = compression.auc_by_encoder(auc.head(0), tables["roc"].head(0), target=None, title="")
    assert "No class is learnt." in words(nothing)


def test_encoders_that_could_not_be_told_apart_have_no_curve_and_are_named(tables):
    row = tables["auc"].query("set == 'test'").head(1)
    many = pd.concat([row.assign(encoder=f"encoder_{number}") for number in range(10)] + [row.assign(encoder=LONG)])
    figure = compression.auc_by_encoder(many, tables["roc"].head(0), target="growth", title="Growth pattern")
    assert not outside(figure)
    assert "encoder 8, encoder 9, an encoder" in words(figure).replace("\n", " ")


@pytest.mark.parametrize("matrix", [np.eye(3), DEUTERANOPIA, PROTANOPIA], ids=["all", "deuteranopia", "protanopia"])
def test_groups_of_risk_and_ends_of_attributions_are_told_apart(matrix):
    ends = [matplotlib.colors.to_hex(compression_slides.LOOKED_AT(end)) for end in (0.0, 1.0)]
    for one, other in ((style.LOW_RISK, style.HIGH_RISK), ends):
        assert lightness_distance(one, other, matrix) > 30
        grey = [np.dot(matplotlib.colors.to_rgb(colour), (0.299, 0.587, 0.114)) for colour in (one, other)]
        assert abs(grey[0] - grey[1]) > 0.15


# Figs. 5 and 6


def test_figs_5_and_6_have_a_panel_for_each_target_with_a_risk(tables):
    figure = compression.risk_curves(
        tables["survival"], tables["risks"], tables["survival_curves"], encoders=SHOWN, titles=TITLES
    )
    assert not outside(figure)
    said = words(figure)
    assert "Growth pattern: 1 − p(desmoplastic)" in said
    assert "Overall survival: Cox" in said
    assert said.count("C-index 0.") == 2
    assert said.count("Patients at risk") == 2
    assert "Fig. 5: p < 0.001" in said.replace("\n", " ")


def test_survival_that_cannot_be_compared_says_why_and_no_risk_is_drawn(tables):
    survival = tables["survival"].assign(p=NAN, p_adjusted=NAN, c_index=NAN, note="no death in either group")
    figure = compression.risk_curves(
        survival, tables["risks"], tables["survival_curves"], encoders=SHOWN, titles=TITLES
    )
    assert words(figure).replace("\n", " ").count("C-index: not available; no death in either group") == 2
    empty = [tables[name].head(0) for name in ("survival", "risks", "survival_curves")]
    assert "No groups" in words(compression.risk_curves(*empty, encoders=SHOWN, titles=TITLES))


# Numbers


def test_numbers_are_a_point_per_patient_in_each_set(tables):
    figure = compression.numbers(tables["numbers"], tables["table1"], encoders=SHOWN, titles=TITLES)
    assert not outside(figure)
    for axes, row in zip(figure.axes, tables["table1"].query("encoder == 'multitask'").itertuples(), strict=True):
        assert len(axes.lines[-1].get_xdata()) == row.patients
        assert f"Spearman {row.spearman:.2f}" in words(figure)


def test_numbers_without_a_coefficient_or_without_any_are_said(tables):
    table1 = tables["table1"].assign(spearman=NAN, low=NAN, high=NAN)
    assert "Spearman: NA" in words(compression.numbers(tables["numbers"], table1, encoders=SHOWN, titles=TITLES))
    none = compression.numbers(tables["numbers"].head(0), table1.head(0), encoders=SHOWN, titles=TITLES)
    assert "No number is learnt." in words(none)


# Learning


def curve(length: int = 12, **measures: float) -> pd.DataFrame:
    loss = np.exp(-np.arange(length) / 4) - 0.5
    table = {"epoch": np.arange(1, length + 1) / 2, "train_loss": loss, "validation_loss": loss + 0.1}
    table |= {name: np.linspace(0.3, value, length) for name, value in measures.items()}
    return pd.DataFrame(table).assign(chosen=[0] * (length - 1) + [1] if length else [])


def test_encoders_show_their_losses_and_the_accuracy_of_each_task():
    accuracies = {f"validation_accuracy_{task}": 0.9 for task in TASKS}
    curves = {"mean_rgb": curve(0), "bigan": curve(), "lymph_node": curve(1, validation_accuracy_lymph_node=0.9)}
    curves |= {"multitask": curve(**accuracies)}
    figure = compression_learning.encoders(curves, encoders_table())
    assert not outside(figure)
    said = words(figure)
    assert "Without training: mean rgb." in said
    for task in TASKS:
        assert f"accuracy, {task.replace('_', ' ')}" in said
    assert "Loss, without labels" in said


def test_many_encoders_one_without_tasks_and_none_are_drawn():
    many = {f"{LONG}_{number}": curve() for number in range(6)}
    assert not outside(compression_learning.encoders(many, encoders_table().head(0)))
    assert not outside(compression_learning.encoders({"bigan": curve()}, encoders_table().iloc[1:2]))
    nothing = compression_learning.encoders({"mean_rgb": curve(0)}, encoders_table().head(1))
    assert "No encoder was trained." in words(nothing)


def test_slide_level_networks_show_a_line_for_each_fold(tmp_path):
    measures = {"proliferation": "spearman", "growth": "slide_auc", "death": "c_index"}
    kinds = {"proliferation": "number", "growth": "class", "death": "survival"}
    described, paths = [], []
    for target, measure in measures.items():
        for encoder in ("bigan", "multitask"):
            for number in range(1, FOLDS + 1):
                paths.append(tmp_path / f"{target}_{encoder}_{number}.tsv")
                write_table(curve(**{f"validation_{measure}": 0.7}), paths[-1])
                described.append({"target": target, "kind": kinds[target], "encoder": encoder, "number": number})
    trained = compression_learning.read_models(described, paths)
    assert (trained[0].target, trained[0].encoder, list(trained[0].curves)) == ("proliferation", "bigan", [1, 2, 3, 4])
    figure = compression_learning.slide_models(trained, titles=TITLES)
    assert not outside(figure)
    assert len(figure.findobj(matplotlib.axes.Axes)) == 12
    assert all(f"model {number}" in words(figure) for number in range(1, FOLDS + 1))


def test_one_network_whose_measure_is_missing_and_none_are_drawn():
    one = Trained("death", "survival", "multitask", {1: curve(1, validation_c_index=NAN)})
    assert not outside(compression_learning.slide_models([one], titles=TITLES))
    assert "No slide-level network" in words(compression_learning.slide_models([], titles=TITLES))


# Fig. 1


def test_like_codes_have_like_colours_and_no_tissue_is_white():
    codes = np.zeros((8, 3, 4), np.float32)
    codes[:, 0] = np.arange(1, 9)[:, None]
    codes[:, 1] = -1
    first, second = compression_slides.components([codes, codes[:, :2]])
    assert (first[2] == 1).all()
    assert (first[0] == first[0, 0]).all()
    assert not (first[0, 0] == first[1, 0]).all()
    assert np.array_equal(first[:2], second)


@pytest.mark.parametrize("features", [1, 2, 3, 16])
def test_codes_of_any_length_are_colours(features):
    codes = np.random.default_rng(0).normal(size=(features, 5, 6))
    (found,) = compression_slides.components([codes])
    assert found.shape == (5, 6, 3)
    assert found.min() >= 0
    assert found.max() <= 1
    assert (np.ptp(found, axis=(0, 1)) > 0).tolist() == [place < features for place in range(3)]


def test_slides_without_any_tissue_are_white():
    (found,) = compression_slides.components([np.zeros((4, 2, 2))])
    assert (found == 1).all()


def store_of(path: Path, slide_id: str, *, thumbnail: bool = True, columns: int = 6, rows: int = 4) -> Path:
    make_store(path, np.full((2, 8, 8, 3), 200, np.uint8), slide_id=slide_id)
    with h5py.File(path, "a") as file:
        file.attrs.update(columns=columns, rows=rows, width=columns * 8 + 3, height=rows * 8 + 2)
        if thumbnail:
            del file["thumbnail"]
            file["thumbnail"] = np.frombuffer(jpeg(np.full((40, 60, 3), (180, 90, 160), np.uint8)), np.uint8)
    return path


@pytest.fixture
def stores(tmp_path) -> list[Path]:
    return [store_of(tmp_path / f"S{number}.h5", f"S{number}", thumbnail=number != 1) for number in range(7)]


def test_a_few_slides_stand_beside_their_grids(stores, tmp_path):
    with h5py.File(tmp_path / "0.h5", "w") as file:
        for number in range(7):
            file.create_group(f"S{number}")["grid"] = np.full((8, 5, 8, 12), number + 1, np.float16)
    found = compression_slides.read_grids([tmp_path / "0.h5"], stores)
    assert [(grid.picture.slide_id, grid.codes.shape) for grid in found] == [
        (slide, (5, 8, 12)) for slide in ("S1", "S3", "S5")
    ]
    figure = compression_slides.grids(found, encoder="multitask")
    assert not outside(figure)
    assert words(figure).count("12 × 8 patches of 5 numbers") == 3
    assert "no picture of this slide" in words(figure)
    with pytest.raises(InputError, match="expected the tile store of S1, found none"):
        compression_slides.read_grids([tmp_path / "0.h5"], stores[2:])


def test_no_grid_is_said():
    assert "No slide has tissue" in words(compression_slides.grids([], encoder="multitask"))


def test_a_grid_of_a_wide_slide_is_drawn():
    wide = Picture("a-slide-of-a-long-name-" * 3, None, 60.0, 2.0, (60.0, 2.0))
    assert not outside(compression_slides.grids([Grid(wide, np.ones((3, 2, 60)))], encoder=LONG))


# What was looked at

DESCRIBED = {
    "proliferation": {"kind": "number", "classes": [], "title": TITLES["proliferation"]},
    "growth": {"kind": "class", "classes": list(GROWTH), "title": TITLES["growth"]},
    "death": {"kind": "survival", "classes": [], "slides_of_patient": "mean", "title": TITLES["death"]},
}


@pytest.fixture
def looked(stores, tmp_path) -> dict[str, dict[str, Path]]:
    """Attributions and predictions of S0 … S4 by target; what is predicted grows with the slide's number."""
    found: dict[str, dict[str, Path]] = {"attributions": {}, "predictions": {}}
    for target, asked in DESCRIBED.items():
        path = found["attributions"][target] = tmp_path / target / "multitask.h5"
        path.parent.mkdir()
        with h5py.File(path, "w") as file:
            for number in range(5):
                values = np.linspace(-1, 2, 8 * 12, dtype=np.float32).reshape(8, 12)
                values[0] = NAN
                file.create_group(f"S{number}")["attribution"] = values
        rows = pd.DataFrame({
            "target": target, "encoder": "multitask", "cohort": "liver", "slide_id": [f"S{n}" for n in range(6)],
            "patient_id": [f"P{n}" for n in range(6)], "model": 1, "set": ["test"] * 5 + ["validation"],
        })  # fmt: skip
        outputs = {"p_0": 1 - np.arange(6) / 6, "p_1": np.arange(6) / 6}
        rows = rows.assign(**(outputs if asked["kind"] == "class" else {"prediction": np.arange(6) - 2.5}))
        path = found["predictions"][target] = tmp_path / target / "multitask.tsv"
        write_table(rows, path)
    return found


def test_log_risks_of_different_models_are_on_one_scale_before_the_highest_is_chosen(looked, stores):
    # S0 … S2 are tested by the first model, S3 and S4 by the second, whose log risks are all higher by 50.
    rows = pd.DataFrame({
        "target": "death", "encoder": "multitask", "cohort": "liver", "slide_id": [f"S{n}" for n in range(5)] * 2,
        "patient_id": [f"P{n}" for n in range(5)] * 2, "model": [1] * 5 + [2] * 5,
        "set": ["test"] * 3 + ["validation"] * 5 + ["test"] * 2,
        "prediction": [-1.0, 3.0, 0.0, 1.0, -1.0, 50.0, 49.0, 51.0, 50.5, 49.5],
    })  # fmt: skip
    write_table(rows, looked["predictions"]["death"])
    paths = ({"death": looked[name]["death"]} for name in ("attributions", "predictions"))
    found = compression_slides.read_examples(*paths, stores, described=DESCRIBED)
    assert [picture.slide_id for picture, _ in found["death"]] == ["S0", "S1"]


def test_a_page_shows_the_lowest_and_the_highest_prediction_of_each_target(looked, stores):
    found = compression_slides.read_examples(looked["attributions"], looked["predictions"], stores, described=DESCRIBED)
    assert [[picture.slide_id for picture, _ in pairs] for pairs in found.values()] == [["S0", "S4"]] * 3
    figure = compression_slides.examples(found, described=DESCRIBED)
    assert not outside(figure)
    said = words(figure)
    for text in (
        "what raises p(desmoplastic)",
        "number = −2.50",
        "p(desmoplastic) = 0.67",
        "standardised risk = −1.00",
    ):
        assert text in said


def test_every_tested_slide_has_what_each_target_looked_at(looked, stores):
    found = list(compression_slides.read_slides(looked["attributions"], stores, described=DESCRIBED))
    assert [(picture.slide_id, list(maps)) for picture, maps in found] == [(f"S{n}", list(DESCRIBED)) for n in range(5)]
    figure = compression_slides.looked_at(*found[1], titles=TITLES)
    assert not outside(figure)
    assert "raises p(desmoplastic)" in words(figure)


@pytest.mark.parametrize("values", [np.full((4, 6), NAN), np.zeros((4, 6)), np.zeros((0, 0))])
def test_attributions_that_say_nothing_are_drawn(values):
    picture = Picture("S", np.full((40, 60, 3), 200, np.uint8), 3.0, 2.0, (3.0, 2.0))
    assert not outside(compression_slides.looked_at(picture, {"death": Looked(values, "risk")}, titles=TITLES))


def test_no_tested_slide_is_said():
    said = words(compression_slides.examples({"death": []}, described=DESCRIBED))
    assert "No tested slide has an attribution." in said


# Pages


def test_table_1_has_the_papers_values_beside_those_of_the_same_kind(tables):
    page = compression_page.table1_page(
        *(tables[name] for name in ("table1", "auc", "auc_tests", "survival")), encoders_table(), titles=TITLES
    )
    texts = read_page(page).texts
    # Beside ours, and in the paper's table.
    assert texts.count("0.597–0.664") == texts.count("0.519–0.596") == 2
    assert (texts.count("0.895"), texts.count("p < 0.001 (Fig. 5)")) == (1, 1)
    said = " ".join(texts)
    assert "paired tests between encoders" in said
    for row in tables["survival"].itertuples():
        assert f"{row.c_index:.3f}" in said


def test_table_1_of_nothing_is_a_page(tables):
    empty = [tables[name].head(0) for name in ("table1", "auc", "auc_tests", "survival")]
    said = " ".join(read_page(compression_page.table1_page(*empty, encoders_table().head(0), titles={})).texts)
    assert "The paper's Table 1" in said


def test_what_a_table_cannot_say_stands_in_the_notes(tables):
    table1 = tables["table1"].assign(spearman=NAN, note="all predictions are <alike>")
    rest = [tables[name] for name in ("auc", "auc_tests", "survival")]
    page = compression_page.table1_page(table1, *rest, encoders_table(), titles=TITLES)
    said = " ".join(read_page(page).texts)
    assert "all predictions are <alike>" in said
    assert "and 4 more" in said


def test_tables_2_and_3_have_the_papers_value_of_the_same_tasks(tables):
    page = compression_page.table2_page(
        tables["ablation"], tables["by_number"], tables["by_task"], title="Speed of proliferation"
    )
    said = " ".join(read_page(page).texts)
    assert said.count("0.824") == 1
    # Each beside ours and in the paper's own table; of the full set two of ours are compared.
    for value in ("0.613", "0.569", "0.594"):
        assert said.count(value) >= 2
    assert said.count("0.597") == 1


def test_tasks_that_the_paper_has_not_are_not_studied(tables):
    renamed = {"mitosis": "necrosis"}
    page = compression_page.table2_page(
        tables["ablation"].rename(columns=renamed), tables["by_number"],
        tables["by_task"].replace({"task": renamed}), title="Speed",
    )  # fmt: skip
    assert "not studied" in read_page(page).texts


def test_encoders_have_their_accuracies_beside_the_papers():
    said = " ".join(read_page(compression_page.encoders_page(encoders_table())).texts)
    for value in ("90.87 %", "94.81 %", "86.48 %", "77.49 %"):
        assert said.count(value) == 2
    assert "83.00 %" in said


def test_traits_stand_side_by_side_and_one_that_was_not_run_is_said():
    columns = {f"{name}{end}": 0.5 for name in compression_page.AUCS for end in ("", "_low", "_high")}
    rows = [{"cohort": "demo", "trait": "MKI67", "model": model, "note": ""} | columns for model in ("tiles", "grids")]
    rows.append(rows[0] | {"trait": "FOXA1", "note": "test: one class", "mean_test_auc": NAN})
    said = read_page(compression_page.traits_page(pd.DataFrame(rows))).texts
    assert said.count("0.500") == 11
    assert said.count("NA") == 1
    assert said.count("not run") == 4
    assert "test: one class" in " ".join(said)


def test_a_table_of_another_kind_is_refused(tables):
    with pytest.raises(InputError, match=r"tables/encoders\.tsv"):
        compression_page.encoders_page(tables["auc"])


def test_the_same_figure_has_the_same_bytes_and_says_what_made_it(tables, tmp_path):
    made_by = {"rule": "draw_compression_tasks"}
    paths = [tmp_path / run / "fig3_tasks.png" for run in ("one", "two")]
    for path in paths:
        figure = compression.tasks_and_performance(tables["ablation"], tables["by_number"])
        style.save(figure, path, made_by=made_by)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert json.dumps(made_by).encode() in paths[0].read_bytes()
