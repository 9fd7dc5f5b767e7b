"""Figures: what each says, that none breaks on little or nothing, and that the same figure is the same file."""

import io
import json
import re
from pathlib import Path

import h5py
import matplotlib
import numpy as np
import pandas as pd
import pytest
import staining
from drawn import DEUTERANOPIA, PROTANOPIA, lightness_distance, outside, read_page, words
from layered import make_layer, some_layer
from matplotlib.figure import Figure
from PIL import Image
from stores import add_quality, make_store

from workflow_scripts.lib import palette, stained_slides, stains
from workflow_scripts.lib import survival as survival_room
from workflow_scripts.lib.cartography import FILTERED_OUT, NEGATIVE, NO_TISSUE, POSITIVE, Cartography, write_map
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.figures import (
    cartography,
    cohort,
    divergence,
    evaluation,
    heatmaps,
    origin,
    quality,
    recovery,
    style,
    survival,
    tables,
    training,
    transfer,
    tumour_filter,
)
from workflow_scripts.lib.figures import stains as stain_figures
from workflow_scripts.lib.quality import PENS, REASONS, Limits
from workflow_scripts.lib.stains import MACENKO, REINHARD
from workflow_scripts.lib.tile_classification import evaluation_table, roc_table

SETS = ("test", "ood_near", "ood_all")
LONG = "hsa-miR-with-a-name-that-is-much-too-long-5p"


# Style


@pytest.mark.parametrize("view", [np.eye(3), DEUTERANOPIA, PROTANOPIA], ids=["all cones", "no green", "no red"])
def test_colours_that_stand_side_by_side_are_told_apart_by_everyone(view):
    on_a_map = [*palette.COMBINATIONS, palette.OTHER_COMBINATIONS, palette.NEGATIVE]
    pairs = [(one, other) for i, one in enumerate(on_a_map) for other in on_a_map[:i]]
    pairs += [(style.LOW, style.HIGH), (style.LOW_HTI, style.HIGH_HTI), (palette.POSITIVE, palette.NEGATIVE)]
    curves = [colour for _, colour, _ in tumour_filter.SETS.values()]
    pairs += [(one, other) for i, one in enumerate(curves) for other in curves[:i]]
    pairs += [(one, other) for i, one in enumerate(origin.REGIMES) for other in origin.REGIMES[:i]]
    regimes = [look[0] for look in transfer.LOOKS]
    pairs += [(one, other) for i, one in enumerate(regimes) for other in regimes[:i]]
    pairs += [tuple(origin.DOMAIN_COLOURS.values()), (divergence.RED, divergence.BLUE)]
    assert min(lightness_distance(one, other, view) for one, other in pairs) > 19


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_the_same_figure_is_the_same_file_and_says_what_made_it(tmp_path, suffix):
    made_by = {"code": "abc", "seed": 7}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        style.save(cohort.slide_verdicts(slides_table()), tmp_path / name / f"flow{suffix}", made_by=made_by)
    one, two = (tmp_path / name / f"flow{suffix}" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    if suffix == ".png":
        with Image.open(one) as image:
            assert json.loads(image.text["Description"]) == made_by
            assert image.width == pytest.approx(style.DOUBLE_COLUMN_MM / 25.4 * style.DPI, abs=1)
    if suffix == ".svg":
        assert "abc" in one.read_text()


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"\.png, \.pdf, \.svg.*'\.jpg'"):
        style.save(style.nothing("nothing"), tmp_path / "figure.jpg", made_by={})
    assert not list(tmp_path.iterdir())


def test_a_figure_changes_no_setting_and_a_readers_settings_change_no_figure(tmp_path):
    style.save(cohort.slide_verdicts(slides_table()), tmp_path / "one.png", made_by={})
    before = matplotlib.rcParams["font.size"]
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9}):
        figure = cohort.slide_verdicts(slides_table())
        assert matplotlib.rcParams["font.size"] == 30
        style.save(figure, tmp_path / "two.png", made_by={})
    assert matplotlib.rcParams["font.size"] == before
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "two.png") as two:
        assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.04, "p = 0.04"),
        (0.0021, "p = 0.0021"),
        (0.0009, "p < 0.001"),
        (1.0, "p = 1"),
        (0.5, "p = 0.5"),
        (np.nan, "p: not available"),
    ],
)
def test_p_values_are_printed_as_papers_do(p, text):
    assert style.p_text(p) == text


def test_a_missing_column_is_named():
    with pytest.raises(InputError, match=r"slides\.tsv: column\(s\) patient_id, status, reason, n_tiles not found"):
        cohort.slide_verdicts(pd.DataFrame({"slide_id": ["a"]}))


# Cohort


def slides_table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "slide_id": list("abcdef"),
            "patient_id": ["p1", "p1", "p2", "p3", "p4", "p5"],
            "status": ["accepted"] * 3 + ["excluded"] * 3,
            "reason": [
                "",
                "",
                "",
                "finest level has 0.98 µm/px, coarser than the target 0.5 µm/px",
                "finest level has 1.2 µm/px, coarser than the target 0.5 µm/px",
                "cannot be read (level 0): broken at 3, 4",
            ],
            "n_tiles": [10, 30, 0, 0, 0, 0],
        }
    )


def test_the_flow_counts_slides_in_out_and_by_kind_of_reason():
    assert [tuple(row) for row in cohort.verdict_bars(slides_table()).itertuples(index=False)] == [
        ("listed", "Listed", 6),
        ("accepted", "Accepted", 3),
        ("excluded", "Excluded", 3),
        ("reason", "finest level has … µm/px, coarser than the target … µm/px", 2),
        ("reason", "cannot be read", 1),
    ]
    said = words(cohort.slide_verdicts(slides_table()))
    assert "2 patients with an accepted slide" in said
    assert "40 tiles; line: median 10" in said
    assert "1 slide without a tile" in said


def test_a_reason_is_read_without_what_is_about_one_file():
    table = slides_table().iloc[[3, 4, 5]]
    table["reason"] = ["line 3: not a slide's suffix", "line 12: not a slide's suffix", "slide_id S1 is taken by /x/y"]
    assert cohort.verdict_bars(table)["name"].tolist()[3:] == ["not a slide's suffix", "slide_id … is taken by …"]


def test_many_reasons_end_in_one_bar():
    table = pd.concat([slides_table().iloc[[3]]] * 14)
    table["reason"] = [f"reason {letter}" for letter in "abcdefghijklmn"]
    bars = cohort.verdict_bars(table)
    assert len(bars) == 3 + cohort.MOST_REASONS + 1
    assert tuple(bars.iloc[-1]) == ("reason", "other reasons", 4)


def test_a_cohort_without_an_accepted_slide_says_so():
    assert "no accepted slide" in words(cohort.slide_verdicts(slides_table().iloc[3:]))
    assert "No slide was listed" in words(cohort.slide_verdicts(slides_table().iloc[:0]))


# Training


def curve(number: int, evaluations: int = 4) -> pd.DataFrame:
    steps = np.arange(1, evaluations + 1)
    return pd.DataFrame(
        {
            "round": number,
            "evaluation": steps,
            "step": steps * 10,
            "epoch": steps / 16,
            "learning_rate": np.where(steps > 2, 1e-4, 1e-3),
            "train_loss": 0.7 / steps,
            "validation_loss": 0.8 / steps,
            "validation_slide_auc": 0.5 + 0.1 * steps,
            "validation_tile_auc": 0.5 + 0.08 * steps,
            "chosen": (steps == evaluations).astype(int),
        }
    )


def test_each_round_has_a_column_and_its_checkpoint_is_marked():
    figure = training.training_curves(pd.concat([curve(1), curve(2, 3)]), trait="MKI67")
    said = words(figure)
    assert all(text in said for text in ("Round 1", "Round 2", "checkpoint kept", "MKI67"))
    marked = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "o"]
    assert [value for line in marked for value in line.get_xydata()[0]] == pytest.approx(
        [4, 0.2, 3, 0.8 / 3, 4, 0.9, 3, 0.8]
    )
    assert figure.axes[2].get_ylim() == (0, 1)


def test_training_without_a_slide_auc_says_why():
    table = curve(1, 1).assign(validation_slide_auc=np.nan, train_loss=np.nan)
    assert "slide AUC: NA (one class)" in words(training.training_curves(table, trait=LONG))


def test_a_trait_without_training_says_so():
    assert "No round of MKI67" in words(training.training_curves(curve(1).iloc[:0], trait="MKI67"))


# Quality


def quality_of(folder: Path, dropped: list[int], *, kept: int = 3) -> quality.CohortQuality:
    """A cohort whose slides lost so many tiles to green ink."""
    stores = [
        make_store(
            folder / f"S{number}.h5",
            np.zeros((kept, 16, 16, 3), np.uint8),
            slide_id=f"TCGA-DM-{1000 + number}-01Z-00-DX1.{LONG}",
            dropped=[(column, 1) for column in range(count)],
        )
        for number, count in enumerate(dropped)
    ]
    return quality.read_quality(stores)


def test_the_contact_sheet_shows_dropped_tiles_with_slide_reason_and_measure(tmp_path):
    figure = quality.contact_sheet(quality_of(tmp_path, [2, 0, 1]), Limits(max_pen=0.5))
    said = words(figure)
    assert "3 of 12 tiles with tissue dropped by quality (25 %), on 2 of 3 slides" in said
    assert "Pen ink: 3 tiles dropped, 3 shown" in said
    assert said.count("90 % ink, green") == 3
    assert "2 of 5" in said
    assert said.count("limit (dashed): 0.5") == 1
    assert said.count("no limit") == 2
    assert not outside(figure)
    pictures = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(pictures) == 3
    assert np.abs(pictures[0].astype(int) - (20, 90, 90)).max() < 6


def test_the_histograms_hold_every_tile_kept_and_dropped(tmp_path):
    found = quality_of(tmp_path, [2, 0, 1])
    assert {tuple(counts.sum(axis=1).tolist()) for counts in found.histograms.values()} == {(9, 3)}
    assert found.histograms["pen"][0, 0] == 9
    assert found.histograms["pen"][1, 22] == 3


def test_a_cohort_that_lost_nothing_says_so_and_gives_the_limits(tmp_path):
    said = words(quality.contact_sheet(quality_of(tmp_path, [0, 0]), Limits(max_pen=0.5, min_sharpness=100)))
    assert "No tile was dropped. Limits: pen ink at most 50 %, sharpness at least 100." in said.replace("\n", " ")
    assert "0 of 6 tiles" in said
    assert "no slide lost a tile" in said
    assert quality.limits_text(Limits()) == "There is no limit."


def test_a_cohort_without_tissue_says_so(tmp_path):
    assert "No slide has a tile with tissue" in words(
        quality.contact_sheet(quality_of(tmp_path, [0], kept=0), Limits())
    )


def test_examples_are_few_and_from_as_many_slides_as_there_are(tmp_path):
    found = quality_of(tmp_path, [20] * 5)
    assert len(found.examples) == quality.EXAMPLES
    shares = pd.Series([example.slide_id for example in found.examples]).value_counts()
    assert (len(shares), shares.max()) == (5, 4)


def test_each_reason_has_a_row_of_examples_and_all_names_fit(tmp_path):
    picture = np.zeros((64, 64, 3), np.uint8)
    measures = dict.fromkeys(PENS, 0.2) | {"sharpness": 12.34, "dark": 0.71}
    names = [f"TCGA-DM-{number}-01Z-00-DX1.{LONG}" for number in range(1000, 1016)]
    slides = pd.DataFrame({"slide_id": names, "kept": 100_000} | {reason: range(16) for reason in REASONS})
    plain = quality_of(tmp_path, [1])
    examples = [quality.Example(name, reason, measures, picture) for reason in REASONS for name in names]
    figure = quality.contact_sheet(quality.CohortQuality(slides, plain.histograms, examples), Limits(0.5, 0.5, 100))
    said = words(figure)
    rows = ("Pen ink: 120", "Dark (folds): 120", "Not sharp: 120")
    for text in (*rows, "80 % ink, green", "71 % dark", "sharpness 12.3"):
        assert text in said
    assert not outside(figure)


# Stains


def stains_of(folder: Path, statuses: dict[str, str], *, method: str = MACENKO) -> Figure:
    """The sheet of a cohort with slides of these statuses, by name, as the rule draws it."""
    reference = folder / "reference.json"
    picture = folder / "reference.png"
    Image.fromarray(staining.tile()).save(picture)
    name = "published" if method == MACENKO else str(picture)
    stained_slides.fit_reference(None if method == MACENKO else picture, reference, method=method, reference=name)
    stores, written, found = {}, {}, {}
    for number, (slide, status) in enumerate(statuses.items()):
        strength = 0.3 if status == "kept" else 1.0
        images = np.stack([staining.tile(seed=number + 10 * seed, strength=strength) for seed in range(12)])
        images = images[: 0 if status == "no tiles" else None]
        stores[slide] = make_store(folder / f"{slide}.h5", images, slide_id=slide)
        found[slide] = stained_slides.fit_slide(stores[slide], reference, method=method)
        written[slide] = folder / f"{slide}.json"
        stains.write_normalisation(written[slide], found[slide])
    table = stained_slides.list_stains(found)
    assert table["status"].tolist() == list(statuses.values())
    examples = stain_figures.read_examples(table, stores, written)
    return stain_figures.before_and_after(table, examples, stained_slides.read_reference(reference), reference=name)


@pytest.mark.parametrize("method", [MACENKO, REINHARD])
def test_the_sheet_of_stains_shows_tiles_before_and_after_and_why_colours_are_kept(tmp_path, method):
    names = {f"TCGA-DM-{number}-01Z-00-DX1.{LONG}": "normalised" for number in range(1000, 1003)}
    figure = stains_of(tmp_path, names | {"weak": "kept", "empty": "no tiles"}, method=method)
    said = words(figure)
    assert f"3 of 5 slides normalised by {method}, 1 kept as scanned, 1 without tiles" in said
    assert "3 slides normalised: each tile as scanned, and to its right recoloured" in said
    assert "1 slide kept: tiles as scanned, and why" in said
    assert "weakly stained" in said
    assert not outside(figure)
    # Two tiles of each slide, those that are recoloured twice.
    pictures = sorted(len(axes.images) for axes in figure.axes)
    assert pictures[-4:] == [2, 4, 4, 4]
    strips = 2 if method == MACENKO else 1
    assert sum(pictures) == strips + 2 + 3 * 4


def test_the_sheet_of_stains_shows_few_of_many_slides(tmp_path):
    said = words(stains_of(tmp_path, {f"S{number}": "normalised" for number in range(14)}))
    assert "14 slides normalised, 12 shown" in said


def test_a_cohort_without_tiles_has_no_stain(tmp_path):
    assert "there is no stain" in words(stains_of(tmp_path, {"S": "no tiles"}))


# Evaluation


def table1(traits: list[str]) -> pd.DataFrame:
    rows = []
    for trait in traits:
        row = {"trait": trait, "mean_test_auc": 0.71, "min_test_auc": 0.5, "max_test_auc": 0.9, "n_test": 12}
        row |= {"mean_test_auc_low": 0.4, "mean_test_auc_high": 0.95}
        for place, name in enumerate(SETS):
            key = f"ensemble_{name}"
            row |= {f"{key}_auc": 0.5 + 0.1 * place, f"{key}_auc_low": 0.41, f"{key}_auc_high": 0.93, f"n_{key}": 12}
        rows.append(row | {"note": ""})
    return pd.DataFrame(rows) if rows else pd.DataFrame({"trait": []})


def scores(traits: list[str], n: int = 5) -> pd.DataFrame:
    rows = [
        (trait, name, f"s{i}", "above" if i % 2 else "below", i / n)
        for trait in traits
        for name in SETS
        for i in range(n)
    ]
    return pd.DataFrame(rows, columns=["trait", "set", "slide_id", "label", "score"])


@pytest.mark.parametrize("count", [1, 2, 12])
def test_score_distributions_hold_one_to_twelve_traits(count):
    traits = ["A", "B", LONG, *[f"TRAIT{i}" for i in range(9)]][:count]
    figure = evaluation.score_distributions(scores(traits), table1(traits))
    said = words(figure)
    assert not outside(figure)
    assert "below median expression" in said
    assert "above median expression" in said
    for axes, name in zip(figure.axes, ("Test", "OOD-near", "OOD-all"), strict=True):
        assert axes.get_title(loc="left") == name
        assert axes.get_ylim() == (0, 1)
        numbers = [tick.label1.get_text() for tick in axes.xaxis.get_minor_ticks()]
        assert numbers == ["3", "2"] * count


def test_the_aucs_above_the_boxes_are_those_of_table_1():
    figure = evaluation.score_distributions(scores(["A"]), table1(["A"]))
    for axes, auc in zip(figure.axes, ("0.50", "0.60", "0.70"), strict=True):
        said = [text.get_text() for text in axes.texts]
        assert auc in said
        assert "0.41–0.93" in said


def test_a_set_without_slides_says_so_and_an_absent_auc_is_na():
    only_test = scores(["A"])[lambda frame: frame["set"] == "test"]
    table = table1(["A"]).assign(ensemble_ood_near_auc=np.nan, ensemble_ood_all_auc=np.nan)
    said = words(evaluation.score_distributions(only_test, table))
    assert said.count("no slide of this set") == 2
    assert said.count("NA") == 2
    assert "No trait was evaluated" in words(evaluation.score_distributions(scores([]), table1([])))


def correlation_table(traits: list[str]) -> pd.DataFrame:
    rows = [(trait, name, 20, 0.5, 0.01, 0.02) for trait in traits for name in SETS]
    return pd.DataFrame(rows, columns=["trait", "set", "n", "spearman", "p", "p_fdr"])


def test_correlations_show_the_papers_where_it_states_one():
    ours = correlation_table(["hsa-miR-17-5p", "MKI67"])
    figure = evaluation.correlations(ours, cohort="TCGA-BRCA")
    assert "as the paper states it" in words(figure)
    stated = figure.axes[0].collections[0].get_offsets()
    assert stated[0].tolist() == [0.63, 0]
    assert "as the paper states it" not in words(evaluation.correlations(ours, cohort="demo"))


def test_correlations_span_minus_one_to_one_and_an_absent_one_is_na():
    table = correlation_table(["A", LONG])
    table.loc[table["trait"] == "A", ["n", "spearman", "p", "p_fdr"]] = [0, np.nan, np.nan, np.nan]
    figure = evaluation.correlations(table, cohort="demo")
    assert all(axes.get_xlim() == (-1, 1) for axes in figure.axes)
    assert words(figure).count("NA") == 3
    assert not outside(figure)
    assert "No trait was evaluated" in words(evaluation.correlations(table.iloc[:0], cohort="demo"))


# Table 1 as a page


def test_table_1_has_the_papers_values_beside_ours():
    page = tables.table1(table1(["hsa-miR-17-5p"]), cohort="TCGA-BRCA")
    parsed = read_page(page)
    assert not parsed.links
    first_row = page.split("<tbody>")[1].split("</tr>")[0]
    assert "hsa-miR-17-5p" in first_row
    assert "(0.50–0.90)" in first_row
    assert "0.40–0.95, n = 12" in first_row
    assert "<strong>0.83</strong> (0.79–0.88)" in first_row
    assert "<strong>0.87</strong><small>n = 33</small>" in first_row
    assert '<td class="paper">0.56</td>' in first_row
    assert page.count("not run") == 4 * 9
    assert "<caption>" in page
    assert 'scope="row"' in page


def test_a_cohort_that_the_paper_did_not_study_is_followed_by_the_papers_tables():
    page = tables.table1(table1(["A"]), cohort="demo")
    read_page(page)
    assert "no agreement is to be expected" in page
    assert "TCGA-BRCA" in page
    assert "TCGA-LUAD" in page
    assert page.count("<table>") == 3


def test_aucs_of_0_6_are_bold_and_absent_ones_give_their_reason():
    table = table1(["A"]).assign(ensemble_test_auc=np.nan, note="test: one class: 3 above, 0 below <b>")
    page = tables.table1(table, cohort="demo")
    read_page(page)
    assert "<strong>0.60</strong>" in page
    assert "test: one class: 3 above, 0 below &lt;b&gt;" in page
    assert '<td class="ours">NA<small>' in page


def test_table_1_without_a_trait_says_so():
    assert "No trait was evaluated" in tables.table1(table1([]), cohort="demo")


def test_a_page_says_what_made_it(tmp_path):
    path = tmp_path / "table1.html"
    tables.save_page(tables.table1(table1(["A"]), cohort="demo"), path, made_by={"code": 'a "quoted" one'})
    assert "a \\&quot;quoted\\&quot; one" in path.read_text(encoding="utf-8")
    read_page(path.read_text(encoding="utf-8"))


# Cartography


def a_map(traits: tuple[str, ...], states: np.ndarray, name: str = "S1") -> Cartography:
    states = np.asarray(states, np.uint8)
    probabilities = np.where(states >= NEGATIVE, np.where(states == POSITIVE, 0.9, 0.1), np.nan).astype(np.float32)
    rows, columns = states.shape[1:]
    return Cartography(name, "P1", traits, states, probabilities, 512, 0.5, 1024.0, columns * 1024 + 100, rows * 1024)


# A only, B only, both; none, filtered out, no tissue.
ALL_STATES = [
    [[POSITIVE, NEGATIVE, POSITIVE], [NEGATIVE, FILTERED_OUT, NO_TISSUE]],
    [[NEGATIVE, POSITIVE, POSITIVE], [NEGATIVE, FILTERED_OUT, NO_TISSUE]],
]


def slide(hti: float = 1.0, *, name: str = "S1", thumbnail: bool = True, states: object = ALL_STATES):
    picture = np.full((20, 30, 3), 200, np.uint8) if thumbnail else None
    row = {"traits": "A+B", "hti": hti, "flag": "", "low": 0.9, "high": 1.0, "p": 0.2}
    return cartography.SlideMap(a_map(("A", "B"), np.array(states), name), row, picture)


def test_the_legend_names_every_combination_present_with_its_share():
    figure = cartography.heterogeneity_map(slide())
    said = words(figure)
    assert "HTI 1.00 (95 % 0.90–1.00), co-location p = 0.2" in said
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [
        "A only (25.0 %)",
        "B only (25.0 %)",
        "A + B (25.0 %)",
        "no trait (25.0 %)",
        "filtered out",
        "no tissue",
    ]
    assert not outside(figure)


def test_each_tile_of_a_map_has_the_colour_of_its_combination():
    figure = cartography.heterogeneity_map(slide())
    image = figure.axes[1].images[0].get_array()
    expected = [*palette.COMBINATIONS[:3], palette.NEGATIVE, palette.FILTERED, palette.NO_TISSUE]
    assert np.allclose(image.reshape(-1, 3), [matplotlib.colors.to_rgb(colour) for colour in expected])
    assert figure.axes[1].images[0].get_extent() == pytest.approx([0, 3 * 0.256, 2 * 0.256, 0])


def test_the_thumbnail_and_the_map_lie_level_and_the_scale_bar_is_true():
    figure = cartography.heterogeneity_map(slide())
    left, right = figure.axes
    assert left.get_xlim() == right.get_xlim() == pytest.approx((0, 3172 * 0.256 / 1024))
    bar = right.lines[0].get_xdata()
    assert np.ptp(bar) == pytest.approx(0.1)
    assert "0.1 mm" in words(figure)


def test_a_combination_that_is_absent_is_not_in_the_legend():
    states = np.array(ALL_STATES)
    states[:, 0, :] = POSITIVE
    figure = cartography.heterogeneity_map(slide(0.0, states=states))
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ["A + B (75.0 %)", "no trait (25.0 %)"]


def test_a_slide_without_picture_tile_or_positive_tile_is_drawn_and_says_so():
    said = words(cartography.heterogeneity_map(slide(thumbnail=False)))
    assert "no picture of this slide" in said
    bare = slide(np.nan, states=np.zeros((2, 2, 3)))
    assert "HTI: NA (no tile)" in words(cartography.heterogeneity_map(bare))
    none = cartography.SlideMap(bare.cartography, {"traits": "A+B", "hti": 0.0, "flag": "no_positive"}, None)
    assert "HTI 0.00, no positive tile" in words(cartography.heterogeneity_map(none))
    empty = slide(np.nan, states=np.zeros((2, 0, 0)))
    small = Cartography(**{**vars(empty.cartography), "width": 300, "height": 200})
    assert "no tile" in words(cartography.heterogeneity_map(cartography.SlideMap(small, empty.hti, None)))


def test_three_traits_have_seven_colours_and_more_share_the_last():
    counts = {"A": 1, "B": 1, "C": 1, "A+B": 1, "A+C": 1, "B+C": 1, "A+B+C": 1, "none": 5}
    three = palette.combination_colours(["A", "B", "C"], counts)
    assert three["A+B"] == palette.COMBINATIONS[2]
    assert len(set(three.values())) == 7
    names = cartography.combination_names(["A", "B", "C", "D"])
    four = palette.combination_colours(["A", "B", "C", "D"], {name: 15 - i for i, name in enumerate(names)})
    assert len(four) == 15
    assert list(four.values()).count(palette.OTHER_COMBINATIONS) == 15 - 7
    assert four["A"] == palette.COMBINATIONS[0]


def test_a_map_of_five_traits_names_the_common_combinations_and_lumps_the_others():
    traits = ("A", "B", "C", "D", LONG)
    states = np.full((5, 4, 8), NEGATIVE)
    for tile in range(32):
        for bit in range(5):
            if tile >> bit & 1:
                states[bit, tile // 8, tile % 8] = POSITIVE
    row = {"traits": "+".join(traits), "hti": 1.0, "flag": ""}
    figure = cartography.heterogeneity_map(cartography.SlideMap(a_map(traits, states), row, None))
    legend = [text.get_text().replace("\n", " ") for text in figure.legends[0].get_texts()]
    assert len(legend) == 7 + 2
    assert f"other combinations ({100 * 24 / 32:.1f} %)" in legend
    assert not outside(figure)


# Heatmaps


def test_a_heatmap_is_the_slide_and_the_slide_under_its_scores():
    layer = some_layer(side=300)
    thumbnail = np.full((94, 129, 3), (220, 150, 190), np.uint8)
    figure = heatmaps.heatmap(layer, thumbnail, score="A probability")
    left, right, bar = figure.axes
    assert np.array_equal(left.images[0].get_array(), thumbnail)
    assert (bar.get_ylabel(), bar.get_ylim()) == ("A probability", (0, 1))
    said = words(figure)
    assert "S1" in said
    assert "mm" in said
    assert not outside(figure)
    covered = np.asarray(right.images[0].get_array())
    # No tissue and filtered out are as the slide is; a score is its colour over the slide in grey.
    assert tuple(covered[5, 5]) == tuple(covered[45, 75]) == (220, 150, 190)
    grey = np.dot((220, 150, 190), heatmaps.LIGHTNESS)
    for row, column in ((0, 1), (1, 3), (2, 2)):
        colour = np.array(matplotlib.colormaps[style.PROBABILITIES](float(layer.scores["A probability"][row, column])))
        expected = heatmaps.OPACITY * 255 * colour[:3] + (1 - heatmaps.OPACITY) * grey
        # A pixel of the thumbnail is ten of the slide.
        found = covered[30 * row + 2 : 30 * row + 28, 30 * column + 2 : 30 * column + 28]
        assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("size", [(9000, 1500), (1500, 9000), (4000, 4000)], ids=["wide", "tall", "square"])
def test_a_heatmap_fits_its_page_with_and_without_a_picture(size):
    width, height = size
    layer = make_layer(np.full((height // 254, width // 254), 2), width=width, height=height)
    for thumbnail in (None, np.full((height // 20, width // 20, 3), 200, np.uint8)):
        figure = heatmaps.heatmap(layer, thumbnail, score="A probability")
        assert not outside(figure)
        assert figure.get_figheight() / style.MM < 240
    said = words(heatmaps.heatmap(layer, None, score="A probability"))
    assert "no picture of this slide" in said


def test_heatmaps_are_drawn_over_the_thumbnails_of_the_stores(tmp_path):
    store = make_store(tmp_path / "S1.h5", np.zeros((4, 16, 16, 3), np.uint8), slide_id="S1")
    ((layer, figure),) = heatmaps.heatmaps([some_layer()], stores=[store])
    assert layer.slide_id == "S1"
    assert "no picture of this slide" in words(figure)
    with pytest.raises(InputError, match="S1: expected its tile store among 0, found none"):
        next(heatmaps.heatmaps([some_layer()], stores=[]))


def test_examples_are_the_slides_with_most_positive_tiles_of_each_row():
    hti = pd.DataFrame(
        {
            "slide_id": list("abcdefgh"),
            "hti": [0.0, 0.05, 0.1, 0.09, 0.02, 0.5, 0.95, np.nan],
            "n_positive": [0, 5, 9, 8, 7, 3, 2, 0],
        }
    )
    assert cartography.choose_examples(hti)["slide_id"].tolist() == ["e", "d", "c", "f", "g"]


def test_the_page_of_examples_says_where_there_is_none():
    figure = cartography.heterogeneity_examples([slide(0.05), slide(0.95, name="S2")])
    said = words(figure)
    assert said.count("no slide of this row") == 1
    assert "HTI 0.05" in said
    assert "HTI 0.4–0.6" in said
    assert not outside(figure)
    assert "No slide has an HTI" in words(cartography.heterogeneity_examples([slide(0.7)]))
    assert "No slide has an HTI" in words(cartography.heterogeneity_examples([]))


def test_the_legend_of_a_page_covers_all_its_slides():
    plain = np.full((2, 2, 3), POSITIVE)
    figure = cartography.heterogeneity_examples([slide(0.05, states=plain), slide(0.95, name="S2")])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["A only", "B only", "A + B", "no trait", "filtered out", "no tissue"]


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_each_trait_has_a_map_of_probabilities_and_one_of_positive_tiles(count):
    states = np.stack([np.array(ALL_STATES[0])] * count)
    names = (LONG, *[f"T{i}" for i in range(11)])[:count]
    figure = cartography.trait_maps(a_map(names, states))
    said = words(figure)
    assert said.count("50 % of 4 tiles") == count
    assert "mean probability" in said
    assert not outside(figure)
    scale = matplotlib.colormaps[style.PROBABILITIES]
    assert np.allclose(figure.axes[0].images[0].get_array()[0, 0], scale(0.9)[:3], atol=0.01)
    assert np.allclose(figure.axes[1].images[0].get_array()[0, 0], matplotlib.colors.to_rgb(palette.POSITIVE))


def test_slide_maps_are_read_with_their_thumbnails(tmp_path):
    write_map(tmp_path / "maps" / "S1.h5", slide().cartography)
    picture = io.BytesIO()
    Image.new("RGB", (30, 20), (200, 100, 150)).save(picture, "JPEG")
    with h5py.File(tmp_path / "S1.h5", "w") as store:
        store["coords"] = np.zeros((0, 2), np.int32)
        for name in ("tiles", "tissue"):
            store[name] = np.zeros(0, np.float32)
        add_quality(store, 0)
        store["thumbnail"] = np.frombuffer(picture.getvalue(), np.uint8)
    hti = pd.DataFrame({"slide_id": ["S1"], "traits": ["A+B"], "hti": [1.0], "flag": [""]})
    (read,) = cartography.read_slide_maps(hti, maps=tmp_path / "maps", stores=[tmp_path / "S1.h5"])
    assert read.thumbnail.shape == (20, 30, 3)
    assert read.traits == ["A", "B"]
    assert cartography.tile_counts(read) == {"A": 1, "B": 1, "A+B": 1, "none": 1}
    with pytest.raises(InputError, match=r"S1: expected its tile store among 0"):
        list(cartography.read_slide_maps(pd.DataFrame({"slide_id": ["S1"]}), maps=tmp_path / "maps", stores=[]))


# Survival


def patients(n: int = 12, *, event: int = 1) -> pd.DataFrame:
    times = np.arange(1, n + 1) * 6.0
    hti = np.where(np.arange(n) % 2, 0.8, 0.2)
    events = np.where(np.arange(n) % 3 == 2, 0, event)
    return pd.DataFrame(
        {
            "patient_id": [f"P{i}" for i in range(n)],
            "slide_id": [f"S{i}" for i in range(n)],
            "hti": hti,
            "time": times,
            "event": events,
            "group": survival_room.group(pd.Series(hti), low=0.5, high=0.5),
        }
    )


THRESHOLDS = [{"low": 0.5, "high": 0.5}, {"low": 0.1, "high": 0.7}]


def test_numbers_at_risk_are_those_of_the_table():
    table = patients()
    curves = survival_room.kaplan_meier(table)
    for group in ("low", "high"):
        curve = curves[curves["group"] == group]
        months = [0, 6, 7, 24, 66, 72, 73]
        assert survival.numbers_at_risk(curve, months) == [
            int((table.loc[table["group"] == group, "time"] >= month).sum()) for month in months
        ]
        assert survival.numbers_at_risk(curve, curve["time"]) == curve["at_risk"].tolist()


def test_survival_curves_say_n_events_and_p_of_each_comparison():
    table = patients()
    tests = survival_room.logrank(table, THRESHOLDS)
    figure = survival.survival_curves(survival.comparisons_by_hti(table, tests))
    said = words(figure)
    assert "low HTI (≤ 0.5): n = 6, 4 events" in said
    assert "high HTI (> 0.5): n = 6, 4 events" in said
    assert f"log-rank {style.p_text(tests['p'].iloc[0])}" in said
    assert "low HTI (≤ 0.1): n = 0, 0 events" in said
    assert "no patient in the low group" in said
    assert "Patients at risk" in said
    assert "Months" in said
    assert "Paper (Fig. 4)" in said
    assert not outside(figure)


def test_censored_patients_are_ticks_on_their_curve():
    table = patients()
    figure = survival.survival_curves(survival.comparisons_by_hti(table, survival_room.logrank(table, THRESHOLDS[:1])))
    ticks = [line for line in figure.axes[0].lines if line.get_marker() == "|"]
    censored = table[table["event"] == 0]
    assert sorted(x for line in ticks for x in line.get_xdata()) == censored["time"].tolist()
    assert figure.axes[0].get_ylim() == (0, 1.02)
    # Of the low group's six, two died before the first is censored at 18 months: 5/6 · 4/5.
    low = ticks[0].get_xydata()
    assert low[0].tolist() == pytest.approx([18, 1 - 1 / 6])


def test_survival_without_events_or_patients_is_drawn():
    table = patients(event=0)
    figure = survival.survival_curves(survival.comparisons_by_hti(table, survival_room.logrank(table, THRESHOLDS)))
    assert "log-rank p: not available (no death in either group)" in words(figure)
    nobody = table.iloc[:0]
    one = survival.Comparison("HTI", "hti", {"low": "l", "high": "h"}, nobody, survival_room.kaplan_meier(nobody), {})
    assert "no patient in either group" in words(survival.survival_curves([one]))
    assert "No groups" in words(survival.survival_curves([]))


def test_both_splits_of_fig_5a_are_of_the_same_patients():
    table = patients()
    labels = {"MKI67": pd.DataFrame({"slide_id": table["slide_id"], "value": np.arange(12.0)})}
    labels["MKI67"]["patient_id"] = table["patient_id"]
    split = survival_room.compare_expression_split(table, labels)
    said = words(survival.expression_survival(split.values, split.tests))
    assert "MKI67, bulk expression" in said
    assert "at or below median: n = 6" in said
    assert "The same patients by HTI" in said
    fewer = split.values.drop(split.values.index[0])
    with pytest.raises(InputError, match=r"MKI67: expected the same patients in both splits, found 12 .* 11"):
        survival.expression_survival(fewer, split.tests)


def cox() -> pd.DataFrame:
    rows = [
        ("hti", "hti", 50, 20, 0.2, 1.25, 1.02, 1.53, 0.03, 0.4, 0.61, ""),
        ("hti + covariates", "hti", 40, 15, 0.2, 4.0, 0.001, 9000.0, 0.2, np.nan, 0.68, ""),
        ("third", "hti", 4, 0, *[np.nan] * 7, "not fitted: 0 deaths for 1 covariates"),
    ]
    columns = [
        "model",
        "covariate",
        "n",
        "events",
        "coef",
        "hazard_ratio",
        "low",
        "high",
        "p",
        "ph_p",
        "c_index",
        "note",
    ]
    return pd.DataFrame(rows, columns=columns)


def test_hazard_ratios_are_printed_beside_their_intervals():
    figure = survival.hazard_ratios(cox())
    said = words(figure)
    assert "1.25 (1.02–1.53)" in said
    assert "n = 50, 20 events, C-index 0.61" in said
    assert "not fitted: 0 deaths for 1 covariates" in said
    low, high = figure.axes[0].get_xlim()
    assert low <= 0.5
    assert high == 100
    assert not outside(figure)
    assert "No Cox model" in words(survival.hazard_ratios(cox().iloc[:0]))


def test_hti_by_expression_has_a_panel_per_trait_from_0_to_1():
    frame = pd.DataFrame(
        {"trait": ["A"] * 4 + ["B"] * 2, "label": ["above", "below"] * 3, "hti": [0.1, 0.2, 0.5, 1.0, 0.0, 0.3]}
    )
    tests = pd.DataFrame({"trait": ["A", "B"], "p": [0.04, np.nan], "p_adjusted": [0.08, np.nan], "note": ["", "few"]})
    figure = survival.hti_by_expression(frame, tests)
    said = words(figure)
    assert all(axes.get_ylim() == (0, 1) for axes in figure.axes)
    assert said.count("above median\nn = 2") == said.count("above median\nn = 1") == 1
    assert "Mann-Whitney, p = 0.04" in said
    assert "few" in said
    assert not outside(figure)


def test_hti_by_category_counts_patients_and_leaves_out_those_without_one():
    frame = pd.DataFrame(
        {
            "column": ["ER status"] * 4,
            "category": ["Positive", "Negative", "", None],
            "hti": [0.2, 0.3, 0.4, 0.5],
        }
    )
    tests = pd.DataFrame({"column": ["ER status", "PAM50"], "test": "Kruskal-Wallis", "p": [0.3, np.nan]})
    said = words(survival.hti_by_category(frame, tests))
    assert "Negative\nn = 1" in said
    assert "no patient" in said
    assert "No column" in words(survival.hti_by_category(frame.iloc[:0], tests.iloc[:0]))


def test_many_categories_take_rows():
    frame = pd.DataFrame(
        {
            "column": np.repeat(["one", "two", "three"], 6),
            "category": [f"category {i} of the column" for i in range(6)] * 3,
            "hti": 0.5,
        }
    )
    tests = pd.DataFrame({"column": ["one", "two", "three"], "test": "Kruskal-Wallis", "p": 0.5})
    assert not outside(survival.hti_by_category(frame, tests))


# Recovery


RECOVERED = pd.DataFrame(
    [("A", "a", 0.0, 0.1, 1), ("A", "b", 0.5, 0.4, 0), ("B", "c", 0.3, np.nan, 1), ("HTI", "a", 0.0, 0.1, 0)],
    columns=["quantity", "slide_id", "true", "predicted", "unseen"],
)


def recovery_table() -> pd.DataFrame:
    rows = [
        ("A", "tile_auc", 0.962, 3100),
        ("A", "share_spearman", 0.91, 35),
        ("B", "tile_auc", np.nan, 0),
        ("A+B", "hti_spearman", 0.82, 80),
        ("A+B", "hti_spearman_unseen", 0.77, 31),
    ]
    return pd.DataFrame(rows, columns=["trait", "measure", "value", "n"])


def test_recovery_prints_the_numbers_that_are_asserted():
    figure = recovery.recovery(RECOVERED, recovery_table())
    said = words(figure)
    assert "Spearman 0.91 (n = 35)" in said
    assert "tile AUC 0.96 (n = 3,100)" in said
    assert "tile AUC NA (n = 0)" in said
    assert "Spearman, all slides 0.82 (n = 80)" in said
    assert all(axes.get_xlim() == axes.get_ylim() == (0, 1) for axes in figure.axes)
    assert not outside(figure)
    assert "No slide has a known truth" in words(recovery.recovery(RECOVERED.iloc[:0], recovery_table()))


def test_negative_controls_shade_the_tolerance_and_print_the_ks_test():
    figure = recovery.negative_controls(recovery_table(), np.linspace(0.005, 0.995, 100), ks_p=0.43, tolerance=0.1)
    said = words(figure)
    assert "0.5 ± 0.1" in said
    assert "100 draws" in said
    assert "p = 0.43" in said
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim() == (0, 1)
    step = figure.axes[1].lines[1]
    assert np.abs(step.get_xdata() - step.get_ydata()).max() < 0.011
    assert not outside(figure)


def test_negative_controls_without_models_or_draws_say_so():
    figure = recovery.negative_controls(recovery_table().iloc[:0], np.array([np.nan]), ks_p=np.nan, tolerance=0.1)
    said = words(figure)
    assert "no model was trained on shuffled expression" in said
    assert "no log-rank test could be done" in said


# The tumour filter


def filter_figure(tiles: pd.DataFrame, threshold: float = 0.5) -> Figure:
    table = evaluation_table(tiles, threshold=threshold, resamples=50, seed=0)
    return tumour_filter.roc_and_counts(table, roc_table(tiles))


def judged_tiles() -> pd.DataFrame:
    """Tiles of two slides in each set: 0 to 0.4 of other tissue, and 0.3 to 0.9 of tumour (33 of 35 pairs in order)."""
    rows = [
        (f"{name}-{slide}", f"{name}-{slide}", name, label, label * 0.3 + value / 10)
        for name in ("train", "validation", "test")
        for slide in (1, 2)
        for label, values in ((0, range(5)), (1, range(7)))
        for value in values
    ]
    return pd.DataFrame(rows, columns=["slide_id", "patient_id", "set", "label", "probability"])


def test_the_filters_curves_have_their_auroc_and_a_dot_at_the_threshold():
    figure = filter_figure(judged_tiles(), threshold=0.35)
    said = words(figure)
    assert said.count("AUROC 0.94 (0.94–0.94)\n24 tiles, 2 slides") == 3
    assert "dots: threshold 0.35" in said
    # At 0.35 a tumour tile of seven is filtered out, and one other of five passes.
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [(*dot.get_xdata(), *dot.get_ydata()) for dot in dots] == [pytest.approx((1 / 5, 6 / 7))] * 3
    assert not outside(figure)


def test_the_filters_counts_are_of_the_held_out_slides_with_the_share_of_each_row():
    tiles = judged_tiles()
    said = words(filter_figure(tiles, threshold=0.35))
    assert "Confusion matrix: test (held out)" in said
    assert "Sensitivity 0.86, specificity 0.80, precision 0.86, F1 0.86" in said
    assert {"12", "2", "8", "85.7 %", "14.3 %", "20.0 %", "80.0 %"} <= set(said.splitlines())
    assert "tumour\nn = 14" in said
    assert "other\nn = 10" in said
    assert "Confusion matrix: validation" in words(filter_figure(tiles[tiles["set"] != "test"]))


def test_the_papers_aurocs_stand_beneath_the_filters_figure():
    said = words(filter_figure(judged_tiles()))
    assert "AUROC 0.92 on training slides, 0.88 on held-out slides" in said


def test_a_set_of_one_class_says_so_and_one_without_tiles_too():
    tiles = judged_tiles()
    tiles = tiles[(tiles["set"] == "train") | ((tiles["set"] == "validation") & (tiles["label"] == 0))]
    figure = filter_figure(tiles)
    said = words(figure)
    assert "Validation: no AUROC, one class:\n0 of 10 tiles are tumour" in said
    assert "Test (held out): no tile" in said
    assert "NA" in said
    assert not outside(figure)
    assert "no set has tiles of both classes" in words(filter_figure(tiles[tiles["set"] == "validation"]))
    assert "No tile is annotated" in words(filter_figure(tiles.iloc[:0]))


# Captions


def test_the_caption_of_the_examples_says_that_models_may_have_seen_them():
    captions = Path(__file__).parents[2] / "rules" / "report"
    text = (captions / "heterogeneity_examples.rst").read_text(encoding="utf-8")
    assert "Slides that the models trained or validated on may be among them." in text


def test_every_caption_names_its_cohort_filter_or_study_and_is_plain_text():
    # `workflow.rst` opens the whole report.
    folder = Path(__file__).parents[2] / "rules" / "report"
    captions = sorted(set(folder.glob("*.rst")) - {folder / "workflow.rst"})
    assert captions
    for path in captions:
        text = path.read_text(encoding="utf-8")
        studies = {"origin": "metastatic origin study", "transfer": "cross-cancer transfer study"}
        studies |= {"compression": "neural image compression study", "adaptation": "microscope adaptation study"}
        named = studies.get(path.name.split("_")[0], r"snakemake\.wildcards\.(cohort|filter)\b")
        assert re.search(named, text), path.name
        assert text.isprintable() or "\n" in text
