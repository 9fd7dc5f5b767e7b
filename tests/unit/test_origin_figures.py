"""Figures of the metastatic origin study: what each says, and that none breaks on little or nothing."""

from dataclasses import replace
from pathlib import Path

import h5py
import matplotlib
import numpy as np
import origin_study
import pandas as pd
import pytest
from drawn import outside, read_page, words
from matplotlib.figure import Figure
from matplotlib.text import Text
from origin_study import CLASSES, CONTROL, Study
from stores import make_store

from workflow_scripts.lib import divergence as divergence_room
from workflow_scripts.lib import palette, published
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.figures import class_maps, divergence, origin, origin_page, style
from workflow_scripts.lib.origin_scores import DESCRIBED
from workflow_scripts.lib.tiles import Lattice

FIVE = ("primary", "metastatic", "transfer", "transfer_at_a_lower_learning_rate", "shuffled")
ALL = [*CLASSES, CONTROL]


def studies() -> dict[str, Study]:
    return {
        "as published": Study(),
        "five regimes, a class without slides": Study(regimes=FIVE, without=["melanoma"]),
        "one regime, two classes": Study(CLASSES[:2], ["transfer"], tiles=5),
    }


@pytest.fixture(scope="module", params=studies())
def study(request) -> Study:
    return studies()[request.param]


# Fig. 2A


def test_the_overview_has_a_bar_for_each_class_and_domain_and_the_totals():
    table = origin_study.data_table()
    figure = origin.data_overview(table)
    said = words(figure)
    slides, tiles = figure.axes
    assert [bar.get_width() for bar in slides.patches] == [
        *table.loc[table["domain"] == "primary", "slides"],
        *table.loc[table["domain"] == "metastatic", "slides"],
    ]
    assert sum(bar.get_width() for bar in tiles.patches) == table["tiles"].sum()
    assert [label.get_text() for label in slides.get_yticklabels()][-1] == "normal liver"
    ours = table[table["domain"] == "primary"][["slides", "tiles"]].sum()
    assert f"primary: {ours['slides']} slides, {ours['tiles']:,} tiles" in said
    assert "344 primary and 324 metastatic slides" in said
    assert not outside(figure)


def test_a_class_without_slides_of_a_domain_has_none():
    table = origin_study.data_table(["a", "b"]).iloc[:3]
    figure = origin.data_overview(table)
    assert [bar.get_width() for bar in figure.axes[0].patches][-1] == 0
    assert "No slide of the study is used" in words(origin.data_overview(table.iloc[:0]))


# Fig. 3


def test_every_class_has_a_panel_with_its_curves_and_aurocs(study):
    auroc, roc = study.auroc(), study.roc()
    figure = origin.roc_grid(roc, auroc)
    assert not outside(figure)
    panels = {axes.get_title(loc="left").replace("\n", " "): axes for axes in figure.axes if axes.axison}
    assert list(panels) == [*map(origin.readable, study.classes), "Mean of the classes"]
    rows = auroc.set_index(["regime", "class", "level"])
    for name in study.classes:
        axes = panels[origin.readable(name)]
        texts = [text.get_text() for text in axes.texts]
        drawn = [line for line in axes.lines[1:] if len(line.get_xdata())]
        known = rows.xs(name, level="class")["auroc"].notna()
        assert len(drawn) == known.sum()
        for regime in study.regimes:
            for level in ("tile", "slide"):
                value = rows.loc[(regime, name, level), "auroc"]
                assert (f"{value:.2f} (" in " ".join(texts)) if np.isfinite(value) else ("NA" in texts)
    solid, dashed = (
        [line for line in figure.axes[0].lines[1:] if (line.get_linestyle() == "-") == is_solid]
        for is_solid in (True, False)
    )
    for lines in (solid, dashed):
        assert [line.get_color() for line in lines] == list(origin.REGIMES[: len(study.regimes)])


def test_a_curve_is_that_of_its_class_regime_and_level():
    study = Study(CLASSES[:2], ["first", "second"], tiles=5)
    roc = study.roc()
    panel = origin.roc_grid(roc, study.auroc()).axes[1]
    rows = roc[(roc["class"] == CLASSES[1]) & (roc["regime"] == "second") & (roc["level"] == "slide")]
    line = [line for line in panel.lines if line.get_color() == origin.REGIMES[1] and line.get_linestyle() == "--"]
    assert line[0].get_xydata().tolist() == rows[["fpr", "tpr"]].to_numpy().tolist()


def test_a_class_without_positives_says_so():
    study = Study(without=["melanoma"])
    assert words(origin.roc_grid(study.roc(), study.auroc())).count("no held-out slide\nof this class") == 1
    only = Study(CLASSES[:1], ["transfer"], tiles=3)
    assert "no held-out slide\nof another class" in words(origin.roc_grid(only.roc(), only.auroc()))
    assert "No class was evaluated" in words(origin.roc_grid(study.roc().iloc[:0], study.auroc().iloc[:0]))


def test_the_papers_means_stand_beside_the_regimes_that_it_has():
    study = Study(CLASSES[:3], ["shuffled", "transfer"], tiles=5)
    figure = origin.roc_grid(study.roc(), study.auroc())
    diamonds = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "D"]
    assert [line.get_xdata()[0] for line in diamonds] == pytest.approx([np.nan, 0.779], nan_ok=True)
    assert "the paper's mean" in words(figure)
    other = Study(CLASSES[:3], ["shuffled"], tiles=5)
    assert "the paper's mean" not in words(origin.roc_grid(other.roc(), other.auroc()))


def test_more_regimes_than_can_be_told_apart_are_refused():
    with pytest.raises(InputError, match=r"at most 5 regimes.*found 6: a, b, c, d, e, f; compare fewer"):
        origin.colours_of("abcdef")


# Fig. 4A


def a_class_map(*, tiles: int = 30, columns: int = 8, rows: int = 6, true: str = "melanoma") -> class_maps.ClassMap:
    """The first tiles of a lattice, row by row; the next three are filtered out. The true class comes second."""
    places = np.stack(np.divmod(np.arange(rows * columns), columns)[::-1], axis=1).astype(np.int32)
    probabilities = np.full((tiles, len(CLASSES)), 0.3 / (len(CLASSES) - 2), np.float32)
    probabilities[:, CLASSES.index("sarcoma")] = 0.5
    probabilities[:, CLASSES.index(true)] = 0.2
    lattice = Lattice(columns=columns, rows=rows, tile_px=128, mpp=100 / 128, slide_mpp=0.5)
    return class_maps.ClassMap(
        "S1", true, "transfer", CLASSES, places[:tiles], probabilities, places[tiles : tiles + 3], lattice,
        columns * 200 + 30, rows * 200, np.full((60, 80, 3), 220, np.uint8),
    )  # fmt: skip


def test_a_slide_that_could_not_be_tiled_says_so():
    lattice = Lattice(columns=0, rows=0, tile_px=128, mpp=100 / 128, slide_mpp=float("nan"))
    slide = replace(a_class_map(tiles=0), lattice=lattice, width=0, height=0, thumbnail=None)
    assert "S1 could not be tiled" in words(class_maps.class_map(slide))


def test_a_class_map_has_the_classes_by_mean_probability_and_frames_the_true_one():
    figure = class_maps.class_map(a_class_map())
    titles = [axes.get_title(loc="left").replace("\u00a0", " ") for axes in figure.axes]
    assert titles[1:3] == ["1. sarcoma\n50.0 %", "2. melanoma\n20.0 %"]
    assert titles[3].startswith("3. adrenal")
    assert "true class melanoma: place 2 by transfer, with 20.0 %; first is sarcoma, with 50.0 %" in words(figure)
    framed = [
        place
        for place, axes in enumerate(figure.axes)
        if axes.patches and matplotlib.colors.to_hex(axes.patches[0].get_edgecolor()) == palette.POSITIVE.lower()
    ]
    assert framed == [2]
    assert not outside(figure)


def test_each_tile_of_a_class_map_has_the_colour_of_its_probability():
    slide = a_class_map()
    image = np.asarray(class_maps.class_map(slide).axes[2].images[0].get_array())
    scale = matplotlib.colormaps[style.PROBABILITIES]
    assert image.shape == (6, 8, 3)
    assert np.allclose(image[0, 0], scale(0.2)[:3], atol=0.01)
    column, row = slide.filtered[0]
    assert np.allclose(image[row, column], matplotlib.colors.to_rgb(palette.FILTERED))
    assert (image[5, 7] == 1).all()


@pytest.mark.parametrize("size", [(40, 6), (6, 40), (20, 20)], ids=["wide", "tall", "square"])
def test_a_class_map_fits_its_page(size):
    columns, rows = size
    figure = class_maps.class_map(a_class_map(columns=columns, rows=rows, true="gastrointestinal_stromal_tumor"))
    assert not outside(figure)
    assert figure.get_figheight() / style.MM < 240


def test_a_slide_without_tumour_tiles_is_drawn_and_says_so():
    said = words(class_maps.class_map(a_class_map(tiles=0)))
    assert "true class melanoma: no tumour tile" in said


def test_the_slide_that_is_shown_is_the_largest_whose_true_class_came_second():
    predictions = pd.DataFrame(
        {"regime": ["x"] * 3 + ["y"] * 4, "slide_id": [*"abc", *"dcba"], "patient_id": "p", "class": "m"}
    ).assign(tiles=[9, 9, 9, 100, 50, 50, 10])
    ranks = predictions[["regime", "slide_id"]].assign(rank=[2, 1, 1, 1, 2, 2, 2])
    chosen = class_maps.choose_slide(ranks, predictions)
    assert chosen[["regime", "slide_id"]].to_numpy().tolist() == [["y", "b"]]
    assert class_maps.choose_slide(ranks.assign(rank=1), predictions)["slide_id"].tolist() == ["d"]
    assert class_maps.choose_slide(ranks.iloc[:0], predictions.iloc[:0]).empty


def predictions_of(folder: Path) -> tuple[pd.DataFrame, Path, Path]:
    """A slide's row, its probabilities by two regimes on two of its three tiles, and its store."""
    store = make_store(folder / "S1.h5", np.zeros((3, 16, 16, 3), np.uint8), slide_id="S1")
    with h5py.File(folder / "predictions.h5", "w") as file:
        file["S1/coords"] = np.array([[2, 0], [0, 0]], np.int32)
        file["S1/metastatic"] = np.full((2, 2), 0.5, np.float32)
        file["S1/transfer"] = np.array([[0.9, 0.1], [0.7, 0.3]], np.float32)
    rows = [("metastatic", "S1", "P1", "b", 2, 0.5, 0.5), ("transfer", "S1", "P1", "b", 2, 0.8, 0.2)]
    return pd.DataFrame(rows, columns=[*DESCRIBED, "a", "b"]), folder / "predictions.h5", store


def test_class_maps_are_read_of_the_last_regime_with_the_tiles_that_were_filtered_out(tmp_path):
    table, probabilities, store = predictions_of(tmp_path)
    (slide,) = class_maps.read_class_maps(class_maps.of_last_regime(table), probabilities=probabilities, stores=[store])
    assert (slide.regime, slide.true, slide.classes) == ("transfer", "b", ("a", "b"))
    assert slide.probabilities[:, 0].tolist() == pytest.approx([0.9, 0.7])
    assert slide.filtered.tolist() == [[1, 0]]
    assert slide.thumbnail is None
    figure = class_maps.example(class_maps.of_last_regime(table), probabilities=probabilities, stores=[store])
    assert "place 2 by transfer, with 20.0 %" in words(figure)
    nothing = class_maps.example(table.iloc[:0], probabilities=probabilities, stores=[store])
    assert "No held-out slide was predicted" in words(nothing)


def test_what_a_class_map_lacks_is_named(tmp_path):
    table, probabilities, store = predictions_of(tmp_path)
    with pytest.raises(InputError, match="S1: expected its tile store among 0, found none"):
        next(class_maps.read_class_maps(table, probabilities=probabilities, stores=[]))
    with pytest.raises(
        InputError, match="expected predictions of other, found those of metastatic, transfer; predict again"
    ):
        next(class_maps.read_class_maps(table.assign(regime="other"), probabilities=probabilities, stores=[store]))
    with pytest.raises(InputError, match=r"expected 2 × 1 probabilities of transfer.*found an array of shape \(2, 2\)"):
        next(class_maps.read_class_maps(table.iloc[1:].drop(columns="b"), probabilities=probabilities, stores=[store]))


# Fig. 4B


def test_the_last_regimes_matrices_are_large_and_have_numbers(study):
    confusion = study.confusion()
    figure = origin.confusion_matrices(confusion)
    assert not outside(figure)
    tiles, slides = figure.axes[:2]
    for axes, level in ((tiles, "tile"), (slides, "slide")):
        rows = confusion[(confusion["regime"] == study.regimes[-1]) & (confusion["level"] == level)]
        shares = [text.get_text() for text in axes.texts[: (rows["share"] > 0).sum()]]
        assert shares == [f"{100 * share:.0f}" for share in rows["share"] if share > 0]
        numbers = [text.get_text() for text in axes.texts[len(shares) :]]
        assert numbers == [f"{number:,}" for number in rows.groupby("class", sort=False)["n"].sum()]
        assert axes.get_title(loc="left").startswith(f"{origin.readable(study.regimes[-1])}, {level}s\n")
    assert sum(len(axes.images) for axes in figure.axes) == 2 * len(study.regimes)


def test_a_cell_is_as_dark_as_its_share_and_rows_are_true_classes():
    rows = [("r", level, *row) for level in ("tile", "slide") for row in (("a", "a", 1, 0.25), ("a", "b", 3, 0.75))]
    rows += [("r", level, "b", predicted, 0, np.nan) for level in ("tile", "slide") for predicted in "ab"]
    table = pd.DataFrame(rows, columns=["regime", "level", "class", "predicted", "n", "share"])
    figure = origin.confusion_matrices(table)
    image = np.asarray(figure.axes[0].images[0].get_array())
    dark = np.array(matplotlib.colors.to_rgb(origin.CELL))
    assert np.allclose(image[0, 1], 1 + 0.75 * (dark - 1))
    assert np.allclose(image[1], 1)
    assert "25 % right, mean of classes" in words(figure)
    none = words(origin.confusion_matrices(table.assign(n=0, share=np.nan)))
    assert "no tile or slide" in none
    assert "No held-out slide was predicted" in words(origin.confusion_matrices(table.iloc[:0]))


# Fig. 4C


def test_each_slide_of_the_last_regime_is_a_dot_at_its_rank_and_confidence(study):
    ranks = study.ranks()
    figure = origin.rank_confidence(ranks, study.top_k())
    assert not outside(figure)
    dots = np.asarray(figure.axes[0].collections[0].get_offsets())
    shown = ranks[ranks["regime"] == study.regimes[-1]]
    assert np.abs(dots[:, 0] - shown["rank"].to_numpy()).max() <= 0.25
    assert dots[:, 1].tolist() == shown["confidence"].tolist()
    assert f"{len(shown)} held-out slides" in words(figure)


def test_the_shares_among_the_first_k_are_drawn_and_printed_with_the_papers():
    study = Study()
    top_k = study.top_k()
    figure = origin.rank_confidence(study.ranks(), top_k)
    (inset,) = figure.axes[0].child_axes
    lines = {line.get_label(): line.get_ydata() for line in inset.lines}
    for regime in study.regimes:
        assert lines[regime].tolist() == top_k.loc[top_k["regime"] == regime, "share"].tolist()
    assert list(lines["the paper's"]) == [0.55, 0.9]
    said = words(figure)
    row = top_k[(top_k["regime"] == "transfer") & (top_k["k"] == 6)].iloc[0]
    assert f"{100 * row['share']:.0f} % ({100 * row['low']:.0f}–{100 * row['high']:.0f})" in said
    assert "> 90 %" in said


@pytest.mark.parametrize("classes", range(2, 15))
def test_the_inset_hides_no_dot(classes):
    lowest = origin._above_confidences(classes, left=origin.INSET_LEFT)
    for rank in range(1, classes + 1):
        right = (rank + 0.35 - 0.5) / classes
        assert right < origin.INSET_LEFT - 0.06 or 1 / rank < lowest or rank == 1
    assert lowest < 0.7 or classes == 2


def test_ranks_without_slides_say_so_and_an_absent_share_is_na():
    study = Study(CLASSES[:2], ["transfer"], tiles=5)
    empty = origin.rank_confidence(study.ranks().iloc[:0], study.top_k())
    assert "No held-out slide was predicted" in words(empty)
    absent = study.top_k().assign(share=np.nan, low=np.nan, high=np.nan)
    assert words(origin.rank_confidence(study.ranks(), absent)).count("NA") == 2


# Fig. 5A


def densities(plane: pd.DataFrame, classes: list[str] = ALL) -> Figure:
    return divergence.tsne_densities(plane, classes=classes)


def test_each_class_has_a_panel_in_the_order_asked_for():
    plane = origin_study.plane(tiles=50)
    figure = densities(plane)
    assert not outside(figure)
    titles = [axes.get_title(loc="left").replace("\n", " ") for axes in figure.axes if axes.axison]
    assert titles == [origin.readable(name) for name in ALL]
    assert words(figure).count("50 and 50 tiles") == len(ALL)
    few = densities(plane[plane["class"] != CONTROL])
    assert sum(axes.axison for axes in few.axes) == len(CLASSES)
    assert "No tile was laid out" in words(densities(plane.iloc[:0]))


def test_a_region_is_the_smallest_that_holds_its_share_of_the_tiles():
    draw = np.random.default_rng(0)
    tiles = pd.DataFrame(draw.normal(0, 1, (20_000, 2)), columns=["x", "y"])
    square = divergence._square(tiles)
    density = divergence._density(tiles, square)
    side = square[2] / divergence.GRID
    for share in divergence.REGIONS:
        inside = density >= divergence._level(density, share)
        assert density[inside].sum() == pytest.approx(share, abs=0.01)
        # Of a normal density of two dimensions, widened by the kernel, it is a disc of this area.
        variance = 1 + (divergence.KERNEL * square[2]) ** 2
        assert inside.sum() * side**2 == pytest.approx(-2 * np.pi * variance * np.log(1 - share), rel=0.05)


def test_where_domains_lie_over_each_other_both_colours_are_seen():
    draw = np.random.default_rng(0)
    points = pd.DataFrame(draw.normal(0, 1, (400, 2)), columns=["x", "y"]).assign(slide_id="S")
    apart = pd.concat(
        [points.assign(**{"class": "a"}, domain="primary"), (points.assign(x=points["x"] + 20)).assign(
            **{"class": "a"}, domain="metastatic"
        )]
    )  # fmt: skip
    over = pd.concat([points.assign(**{"class": "a"}, domain=name) for name in ("primary", "metastatic")])
    for plane, drawn in ((apart, {"primary": 1, "metastatic": 1}), (over, {"both": 1})):
        colours = {
            tuple(colour)
            for colour in np.round(densities(plane, ["a"]).axes[0].images[0].get_array(), 3).reshape(-1, 3)
        }
        pure = {name: divergence._mixed({name: divergence.TINTS[0]}) for name in origin.DOMAIN_COLOURS}
        pure["both"] = divergence._mixed(dict.fromkeys(origin.DOMAIN_COLOURS, divergence.TINTS[0]))
        for name, colour in pure.items():
            assert (tuple(np.round(colour, 3)) in colours) == (name in drawn)


def test_a_class_of_one_domain_or_of_one_tile_is_drawn():
    plane = origin_study.plane(["a"], tiles=5)
    assert "5 and 0 tiles" in words(densities(plane[plane["domain"] == "primary"], ["a"]))
    assert "1 and 0 tiles" in words(densities(plane.iloc[:1], ["a"]))


# Fig. 5B


def test_both_readings_are_drawn_and_each_box_says_what_it_compares():
    table = origin_study.divergences(features=8)
    figure = divergence.divergence_boxes(table, classes=ALL)
    assert not outside(figure)
    said = words(figure)
    for _, comparison in divergence.COMPARISONS.values():
        assert said.count(comparison) == 1
    text, caption = figure.axes
    assert [label.get_text() for label in caption.get_xticklabels()] == [origin.readable(name) for name in ALL]
    # Blue before red in each class: its median in the text's reading is that of the class and its metastases.
    counterpart = table[(table["comparison"] == "counterpart") & (table["class"] == CONTROL)]["kl"]
    medians = [line.get_ydata()[0] for line in text.lines if line.get_color() == "white"]
    assert len(medians) == 2 * len(ALL)
    assert medians[len(ALL) - 1] == pytest.approx(max(counterpart.median(), divergence.LOWEST), rel=0.3)
    means = [line.get_ydata()[0] for line in text.lines if line.get_marker() == "o"]
    assert means[len(ALL) - 1] == pytest.approx(counterpart.mean())
    assert "estimator: mixture" in said


def test_the_comparisons_are_those_of_the_divergence_room():
    known = [name for names in divergence_room.READINGS.values() for name in names]
    assert list(divergence.COMPARISONS) == known


def test_a_class_without_a_divergence_is_na():
    table = origin_study.divergences(["a", "b"], features=5)
    table.loc[(table["class"] == "a") & (table["comparison"] == "counterpart"), "kl"] = np.nan
    said = words(divergence.divergence_boxes(table, classes=["a", "b"]))
    assert said.count("NA") == 1
    assert "NA" in words(divergence.divergence_boxes(table.assign(kl=np.nan), classes=["a", "b"]))
    assert "No divergence was estimated" in words(divergence.divergence_boxes(table.iloc[:0], classes=["a"]))


# Fig. 5C


def points(classes: int = 14, *, seed: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    values = {"kl": draw.lognormal(0, 0.4, classes), "auroc": draw.uniform(0.55, 1, classes)}
    return pd.DataFrame({"class": CLASSES[:classes]} | values)


def against_auroc(table: pd.DataFrame) -> Figure:
    return divergence.divergence_against_auroc(table, pd.DataFrame([divergence_room.correlation(table)]))


@pytest.mark.parametrize("seed", range(4))
def test_every_class_is_named_beside_its_dot_and_no_name_covers_another(seed):
    table = points(seed=seed)
    figure = against_auroc(table)
    assert not outside(figure)
    names = [text for text in figure.axes[0].texts if text.get_text() in map(origin.readable, CLASSES)]
    assert len(names) == len(CLASSES)
    # Of the words alone: that of an annotation reaches to its dot.
    boxes = [Text.get_window_extent(text) for text in names]
    covered = sum(
        min(one.x1, other.x1) - max(one.x0, other.x0) > 3 and min(one.y1, other.y1) - max(one.y0, other.y0) > 3
        for place, one in enumerate(boxes)
        for other in boxes[:place]
    )
    assert covered == 0


def test_the_correlation_is_printed_with_its_interval_and_the_papers():
    table = points()
    found = divergence_room.correlation(table)
    said = words(against_auroc(table)).replace("−", "-")
    interval = f"(95 % {found['pearson_low']:.2f} to {found['pearson_high']:.2f})"
    assert f"Pearson {found['pearson']:.2f} {interval}" in said
    assert f"The paper: Pearson {published.value('divergence_auroc_correlation', cohort=''):g}" in said


def test_too_few_classes_have_no_correlation():
    assert "Correlation: NA" in words(against_auroc(points(2)))
    assert "No class has both" in words(against_auroc(points(0)))


# The page


def test_the_page_has_means_tests_and_shares_with_the_papers_beside(study):
    auroc = study.auroc()
    page = origin_page.auroc_page(auroc, study.tests(), study.top_k())
    parsed = read_page(page)
    assert not parsed.links
    assert page.count("<table>") == 4
    mean = auroc[(auroc["regime"] == "transfer") & (auroc["class"] == "macro") & (auroc["level"] == "slide")].iloc[0]
    (row,) = (line for line in page.split("<tr>") if '<th scope="row">transfer</th>' in line and "0.779" in line)
    assert f"{mean['auroc']:.3f}<small>{mean['low']:.3f}–{mean['high']:.3f}</small>" in row
    for name in study.classes:
        assert f'<th scope="row" rowspan="2">{origin.readable(name)}</th>' in page
    assert published.ORIGIN_PAPER in page


def test_a_paired_test_has_its_difference_with_a_sign_and_the_papers():
    study = Study(CLASSES[:3], tiles=5)
    tests = study.tests().assign(difference=-0.0123, low=-0.1, high=0.05, p=0.0004, p_adjusted=0.012)
    page = origin_page.auroc_page(study.auroc(), tests, study.top_k())
    assert "metastatic − transfer" in page
    assert "−0.012<small>−0.100 to +0.050</small>" in page
    assert "&lt; 0.001" in page
    assert '<td class="ours">0.012</td>' in page
    # 0.675 - 0.779.
    assert '<td class="paper">−0.104</td>' in page
    shuffled = Study(CLASSES[:3], ["shuffled", "transfer"], tiles=5)
    other = origin_page.auroc_page(shuffled.auroc(), shuffled.tests(), shuffled.top_k())
    assert "not studied" in other
    assert "not stated" in other


def test_a_note_stands_once_for_all_regimes():
    study = Study(without=["melanoma"])
    page = origin_page.auroc_page(study.auroc(), study.tests(), study.top_k())
    assert page.count("<strong>melanoma, slides</strong>: 0 of") == 1
    assert '<td class="ours">NA</td>' in page


def test_a_study_without_results_says_so():
    study = Study(CLASSES[:2], tiles=3)
    page = origin_page.auroc_page(study.auroc().iloc[:0], study.tests().iloc[:0], study.top_k().iloc[:0])
    read_page(page)
    for said in (
        "No regime was evaluated",
        "No two regimes were compared",
        "No class was evaluated",
        "No slide was pre",
    ):
        assert said in page


# All


def test_a_missing_column_is_named():
    study = Study(CLASSES[:2], tiles=3)
    with pytest.raises(InputError, match=r"tables/ranks\.tsv: column\(s\) confidence not found"):
        origin.rank_confidence(study.ranks().drop(columns="confidence"), study.top_k())
    with pytest.raises(InputError, match=r"tables/tests\.tsv: column\(s\) p not found"):
        origin_page.auroc_page(study.auroc(), study.tests().drop(columns="p"), study.top_k())


def test_the_same_tables_give_the_same_file(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        style.save(against_auroc(points()), tmp_path / folder / "figure.png", made_by={})
        style.save(densities(origin_study.plane(tiles=20)), tmp_path / folder / "plane.png", made_by={})
    for name in ("figure.png", "plane.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
