"""Figures of microscope adaptation: what each says, and that none breaks on little, on much or on long names."""

import itertools

import numpy as np
import pandas as pd
import pytest
from adaptation_study import CLASSES, Study, data_table, published_methods
from drawn import DEUTERANOPIA, PROTANOPIA, lightness_distance, outside, read_page, words
from stores import make_store

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.figures import adaptation, adaptation_examples, adaptation_page, style
from workflow_scripts.lib.tile_sources import TileSource

SHOWN = ["source_only", "ddc", "dann", "dman"]
LONG = [f"Adenocarcinoma_of_unusual_differentiation_{letter}" for letter in "abcdefgh"]


def large() -> Study:
    """As much as there may be: 16 methods with long titles, 8 classes with long names, several seeds."""
    names = [f"m{number}" for number in range(16)]
    titles = [f"A method with a very long title indeed, number {number}" for number in range(16)]
    return Study(names, classes=LONG, seeds=range(10), patients=3, patches=12, titles=titles)


def studies() -> dict[str, Study]:
    return {
        "as published": Study(tuple(published_methods())),
        "as much as there may be": large(),
        "one method, two classes": Study(("dman",), classes=("a", "b"), patients=1, patches=4),
    }


@pytest.fixture(scope="module", params=studies())
def study(request) -> Study:
    return studies()[request.param]


@pytest.fixture(scope="module")
def tables(study) -> dict[str, pd.DataFrame]:
    return study.tables(exported=list(study.methods)[-1])


def shown_of(study: Study) -> list[str]:
    return [name for name in SHOWN if name in study.methods] or list(study.methods)[:6]


def plane_of(study: Study) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    rows = [
        (method, domain, name, *draw.normal(0, 1, 2))
        for method, domain, name, _ in itertools.product(
            shown_of(study), ("source", "target"), study.classes, range(20)
        )
    ]
    return pd.DataFrame(rows, columns=["method", "domain", "class", "x", "y"])


# Figures


def test_every_figure_keeps_its_words_on_the_page(study, tables):
    shown = shown_of(study)
    figures = [
        adaptation.table2_dots(tables["table2"], study.methods),
        adaptation.confusion_matrices(tables["confusion"], study.methods, shown=shown),
        adaptation.tsne_planes(plane_of(study), study.methods, shown=shown, classes=study.classes),
        adaptation.learning_curves(study.curves(), study.methods),
    ]
    for figure in figures:
        assert not outside(figure)


def test_table_2_has_a_dot_with_its_interval_for_each_method_domain_and_measure():
    study = Study(("source_only", "dman"))
    table = study.tables()["table2"]
    figure = adaptation.table2_dots(table, study.methods)
    for axes, measure in zip(figure.axes, ("accuracy", "precision", "recall", "f1"), strict=True):
        points = [100 * row[measure] for row in table.sort_values(["method", "domain"]).to_dict("records")]
        drawn = [line.get_xdata()[0] for line in axes.lines if line.get_marker() in "so" and len(line.get_xdata()) == 1]
        assert set(np.round(points, 6)) <= set(np.round(drawn, 6))
        lines = {tuple(np.round(line.get_xdata(), 6)) for line in axes.lines if len(line.get_xdata()) == 2}
        bounds = 100 * table[[f"{measure}_low", f"{measure}_high"]].to_numpy()
        assert lines == {tuple(np.round(row, 6)) for row in bounds}


def test_the_paper_s_values_stand_at_its_methods():
    study = Study(("source_only", "batch_norm"))
    axes = adaptation.table2_dots(study.tables()["table2"], study.methods).axes[0]
    green = [line for line in axes.lines if line.get_color() == "#0F7B6C"]
    drawn = [(line.get_marker(), round(line.get_xdata()[0], 2)) for line in green if np.isfinite(line.get_xdata()[0])]
    assert drawn == [("s", 93.67), ("D", 83.72)]


def test_a_method_that_learns_from_labels_of_photographs_is_starred():
    study = Study(("source_only", "mix"))
    said = words(adaptation.table2_dots(study.tables()["table2"], study.methods))
    assert "Mix*" in said
    assert "Source-only*" not in said
    assert "* learns from labels of photographs" in said


def test_of_several_seeds_the_mean_is_drawn_and_each_is_a_tick():
    study = Study(("dman",), seeds=(1, 2, 3))
    table = study.tables()["table2"]
    axes = adaptation.table2_dots(table, study.methods).axes[3]
    values = 100 * table.query("domain == 'target'")["f1"]
    (dot,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert dot.get_xdata() == pytest.approx([values.mean()])
    assert values.tolist() in [line.get_xdata().tolist() for line in axes.lines if line.get_marker() == "|"]


def test_a_confusion_matrix_has_shares_of_the_target_s_classes():
    counts = [("target", 3, 1), ("target", 0, 4), ("source", 9, 9), ("source", 9, 9)]
    rows = [
        ("dman", 1, domain, name, other, n)
        for (domain, *numbers), name in zip(counts, ("a", "b", "a", "b"), strict=True)
        for other, n in zip("ab", numbers, strict=True)
    ]
    confusion = pd.DataFrame(rows, columns=["method", "seed", "domain", "class", "predicted", "n"])
    figure = adaptation.confusion_matrices(confusion, published_methods(), shown=["dman"])
    said = words(figure).split("\n")
    assert [text for text in said if text.isdigit()] == ["75", "25", "100", "4", "4"]


def test_seeds_count_together_in_a_confusion_matrix():
    rows = [
        ("dman", seed, "target", "a", other, n)
        for seed, *ns in ((1, 4, 0), (2, 2, 2))
        for other, n in zip("ab", ns, strict=True)
    ]
    rows += [("dman", seed, "target", "b", other, 0) for seed in (1, 2) for other in "ab"]
    confusion = pd.DataFrame(rows, columns=["method", "seed", "domain", "class", "predicted", "n"])
    said = words(adaptation.confusion_matrices(confusion, published_methods(), shown=["dman"])).split("\n")
    # 6 of 8 and 2 of 8; the class has 4 patches, and the other none.
    assert [text for text in said if text.isdigit()] == ["75", "25", "4", "0"]
    assert "2 seeds together" in "\n".join(said)


def test_the_plane_tells_classes_by_colour_and_domains_by_marker():
    study = Study(("dman",))
    figure = adaptation.tsne_planes(plane_of(study), study.methods, shown=["dman"], classes=CLASSES)
    slides, photographs = figure.axes[0].collections
    assert len(slides.get_offsets()) == len(photographs.get_offsets()) == 60
    assert len(slides.get_facecolor()) == 0
    colours = {tuple(colour) for colour in photographs.get_facecolor()}
    assert colours == {tuple(colour) for colour in slides.get_edgecolor()}
    assert len(colours) == 3


def test_the_first_three_classes_are_told_apart_by_everyone_and_eight_by_most():
    for matrix in (np.eye(3), DEUTERANOPIA, PROTANOPIA):
        for number, least in ((3, 30), (8, 20)):
            pairs = itertools.combinations(adaptation.COLOURS[:number], 2)
            assert min(lightness_distance(*pair, matrix) for pair in pairs) > least


def test_more_than_can_be_told_apart_are_refused():
    with pytest.raises(InputError, match=r"expected at most 8 classes.*found 9"):
        adaptation.class_colours(list("abcdefghi"))
    with pytest.raises(InputError, match=r"expected at most 16 methods.*found 17.*compare fewer"):
        adaptation.looks_of([f"m{number}" for number in range(17)])


def test_each_loss_has_a_line_of_each_method_that_has_it():
    study = Study(tuple(published_methods()), seeds=(1, 2))
    curves = study.curves()
    figure = adaptation.learning_curves(curves, study.methods)
    adapted = [name for name, method in study.methods.items() if method["domain"]]
    # Batch statistics are measured, and not learnt.
    assert [len(axes.lines) for axes in figure.axes] == [13, 13, len(adapted), len(adapted)]
    means = (curves["source_only_c", 1]["validation_loss"] + curves["source_only_c", 2]["validation_loss"]) / 2
    assert figure.axes[0].lines[0].get_ydata() == pytest.approx(means.to_numpy())
    assert "Without training: Target batch norm." in words(figure).replace("\n", " ")
    assert figure.axes[3].get_yscale() == "log"


def test_a_curve_of_one_evaluation_without_the_target_is_drawn():
    study = Study(("source_only",))
    figure = adaptation.learning_curves(study.curves(epochs=1), study.methods)
    assert words(figure).count("no method has one") == 2
    assert not outside(figure)


def test_the_same_tables_give_the_same_file(tmp_path):
    study = Study(("source_only", "dman"))
    for name in ("first", "second"):
        figure = adaptation.table2_dots(study.tables()["table2"], study.methods)
        (tmp_path / name).mkdir()
        style.save(figure, tmp_path / name / "table2.png", made_by={"rule": "draw"})
    first, second = ((tmp_path / name / "table2.png").read_bytes() for name in ("first", "second"))
    assert first == second


def test_a_table_without_a_column_is_refused_by_name():
    table = Study(("dman",)).tables()["table2"].drop(columns="f1_low")
    with pytest.raises(InputError, match=r"tables/table2.tsv: column\(s\) f1_low not found"):
        adaptation.table2_dots(table, published_methods())


def test_nothing_is_said_in_words():
    study = Study(("dman",))
    found = study.tables()
    empty = {name: table.iloc[:0] for name, table in found.items()}
    assert "No method was judged" in words(adaptation.table2_dots(empty["table2"], study.methods))
    assert "No shown method" in words(adaptation.confusion_matrices(empty["confusion"], study.methods, shown=["dman"]))
    plane = plane_of(study).iloc[:0]
    assert "No patch" in words(adaptation.tsne_planes(plane, study.methods, shown=["dman"], classes=CLASSES))
    assert "No method was trained" in words(adaptation.learning_curves({}, study.methods))


# Examples


@pytest.fixture
def examples(tmp_path):
    """Three slides of either domain with patches of their own grey, and what `patches.tsv` says of them."""
    sources, rows = {}, []
    for domain, shade in (("source", 40), ("target", 160)):
        for place, slide in enumerate("abc"):
            images = np.full((30, 16, 16, 3), shade + 20 * place, np.uint8)
            path = make_store(tmp_path / domain / f"{slide}.h5", images, slide_id=slide, mpp=1.333)
            sources[domain, slide] = TileSource(path)
            rows += [(domain, slide, col, 0, CLASSES[col % 2]) for col in range(30)]
    table = pd.DataFrame(rows, columns=["domain", "slide_id", "col", "row", "class"])
    return pd.concat([table.assign(method=name) for name in ("dann", "dman")]), sources


def test_examples_are_of_their_class_and_domain_and_from_all_slides(examples):
    patches, sources = examples
    found = adaptation_examples.read_examples(patches, sources, classes=CLASSES, seed=0)
    assert {key: len(of) for key, of in found.patches.items()} == {
        ("source", "Normal"): 6, ("source", "Adenoma"): 6, ("source", "Adenocarcinoma"): 0,
        ("target", "Normal"): 6, ("target", "Adenoma"): 6, ("target", "Adenocarcinoma"): 0,
    }  # fmt: skip
    shades = sorted(round(float(one.mean())) for one in found.patches["target", "Normal"])
    assert shades == [160, 160, 180, 180, 200, 200]
    assert found.mpp == 1.333


def test_examples_are_the_same_for_a_seed_and_whatever_the_order_of_the_table(examples):
    patches, sources = examples
    drawn = [
        adaptation_examples.read_examples(table, sources, classes=CLASSES, seed=3)
        for table in (patches, patches.iloc[::-1])
    ]
    for key, of in drawn[0].patches.items():
        assert all((one == other).all() for one, other in zip(of, drawn[1].patches[key], strict=True))


def test_examples_have_a_column_for_each_class_and_a_scale_bar(examples):
    found = adaptation_examples.read_examples(*examples, classes=CLASSES, seed=0)
    figure = adaptation_examples.example_patches(found)
    said = words(figure)
    assert [axes.get_title(loc="left") for axes in figure.axes[:3]] == list(CLASSES)
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == ["Slides", "Photographs"]
    # Three patches of 21.3 µm: the bar is the largest round length in a quarter of them.
    assert "0.01 mm" in said
    assert "A patch: 16 px at 1.33 µm/px, 21.3 µm wide" in said
    assert said.count("none") == 2
    assert not outside(figure)


@pytest.mark.parametrize("classes", [2, 8])
def test_examples_of_few_and_of_many_classes_stay_on_the_page(classes):
    number = 2 * adaptation_examples.patches_across(classes)
    patches = {
        (domain, name): [np.zeros((64, 64, 3), np.uint8)] * number
        for domain in ("source", "target")
        for name in LONG[:classes]
    }
    examples = adaptation_examples.Examples(patches, tuple(LONG[:classes]), 0.5)
    assert not outside(adaptation_examples.example_patches(examples))


def test_no_example_is_said_in_words():
    nothing = adaptation_examples.Examples({("source", "a"): [], ("target", "a"): []}, ("a",), 0.5)
    assert "No test patch has a class" in words(adaptation_examples.example_patches(nothing))


# Pages


def test_table_1_stands_beside_the_paper_s():
    page = read_page(adaptation_page.table1_page(data_table()))
    texts = [text.strip() for text in page.texts if text.strip()]
    assert page.links == []
    for ours, theirs in (("3,604", "36,047"), ("71", "713"), ("236", "2,368")):
        assert {ours, theirs} <= set(texts)
    # 269 + 104 + 108 labelled patches of the training photographs, and all of them.
    assert {"481", "531"} <= set(texts)


def test_a_class_that_the_paper_has_not_is_not_studied():
    page = adaptation_page.table1_page(data_table(("Normal", "Serrated", "<b>")))
    assert page.count("not studied") == 8
    assert "36,047" in page
    assert "&lt;b&gt;" in page
    read_page(page)


def test_a_table_that_was_read_again_gives_the_same_page():
    table = data_table()
    assert adaptation_page.table1_page(table.replace({"class": {"": np.nan}})) == adaptation_page.table1_page(table)


def test_table_2_has_every_method_and_what_the_paper_says_of_it(study, tables):
    page = adaptation_page.table2_page(tables["table2"], tables["tests"], tables["seeds"], study.methods)
    texts = "\n".join(read_page(page).texts)
    for method in study.methods.values():
        assert method["title"] in texts
    assert ("± " in texts) == (len(study.seeds) > 1)
    assert "nan" not in texts


def test_values_of_table_2_are_those_of_their_method():
    study = Study(tuple(published_methods()))
    found = study.tables(exported="dman")
    page = adaptation_page.table2_page(found["table2"], found["tests"], found["seeds"], study.methods)
    row = found["table2"].query("method == 'dman' and domain == 'target'").iloc[0]
    ours = f"{100 * row['f1']:.1f}<small>{100 * row['f1_low']:.1f}–{100 * row['f1_high']:.1f}</small>"
    assert f'{ours}</td><td class="paper">90.48</td>' in page
    assert "Deep CORAL − Source-only" in page
    # The paper's F1 of DMAN less that of Source-only.
    assert "+0.094" in page
    assert page.count('<td class="paper" colspan="4">not studied</td>') == 4 + 13


def test_a_note_that_many_share_stands_once():
    study = Study(tuple(published_methods()), patients=4)
    found = study.tables(exported="dman")
    page = adaptation_page.table2_page(found["table2"], found["tests"], found["seeds"], study.methods)
    assert page.count("few patients: the signs of 4 give no p below 0.12") <= 2
    assert "more</strong>" in page
