"""Figures of the cross-cancer transfer study: what each says, and that none breaks on little or nothing."""

import json
from html import escape
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import shapely
import transfer_study
from drawn import outside, read_page, shown, words
from matplotlib.figure import Figure
from stores import make_store
from transfer_study import REGIMES, SIX, Study

from workflow_scripts.lib import published, tile_sources
from workflow_scripts.lib.annotated_slides import AnnotatedSlide
from workflow_scripts.lib.annotations import Annotations, Region
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.figures import origin, style, transfer, transfer_page, transfer_slides, transfer_tiles
from workflow_scripts.lib.figures.transfer_slides import Detection
from workflow_scripts.lib.tiles import Lattice

IN_PAPER = {"random": "None", "imagenet": "ImageNet", "cross_cancer": "CAMELYON16"}


def studies() -> dict[str, Study]:
    return {
        "as published": Study(),
        "six regimes, two of them not available": Study(SIX, missing=["imagenet", "imagenet_then_cross_cancer"]),
        "two regimes, one slide": Study(REGIMES[:2], slides=1),
        "nothing but what is not available": Study(["imagenet"], missing=["imagenet"]),
    }


@pytest.fixture(scope="module", params=studies())
def study(request) -> Study:
    return studies()[request.param]


def looks(axes) -> list[str]:
    """The colours of the lines in axes that have points."""
    return [line.get_color() for line in axes.lines if len(line.get_xdata()) > 2]


# ROC curves


def test_each_available_regime_has_a_curve_at_both_levels_and_its_auc_beneath(study):
    figure = transfer.roc_curves(study.roc(), study.table1(), study.regimes())
    assert not outside(figure)
    colours = [transfer.looks_of(study.regimes())[name]["color"] for name in study.available]
    assert [looks(axes) for axes in figure.axes[:2]] == [colours, colours]
    overall = study.table1().query("slide == 'overall'")
    for row in overall.itertuples():
        said = f"{row.auc:.3f} ({row.low:.3f}–{row.high:.3f})"
        assert (said in words(figure)) == (row.regime in study.available)
    assert words(figure).count("not available") == 2 * len(study.missing)


def test_a_curve_is_that_of_its_regime_and_level():
    study = Study()
    roc = study.roc()
    roc.loc[roc["level"] == "pixel", "tpr"] = roc["tpr"] ** 2
    lines = transfer.roc_curves(roc, study.table1(), study.regimes()).axes[1].lines[1:]
    for regime, line in zip(REGIMES, lines, strict=True):
        rows = roc[(roc["regime"] == regime) & (roc["level"] == "pixel")]
        assert line.get_xydata().tolist() == rows[["fpr", "tpr"]].to_numpy().tolist()


def test_regimes_that_are_not_available_are_named_at_the_foot():
    study = Study(SIX, missing=["imagenet"])
    assert "Not available: imagenet (table1.html says why)" in words(
        transfer.roc_curves(study.roc(), study.table1(), study.regimes())
    )


def test_more_regimes_than_can_be_told_apart_are_refused():
    with pytest.raises(InputError, match=r"expected 1 to 6 regimes.*found 7: a, b, c, d, e, f, g; compare fewer"):
        transfer.looks_of(pd.DataFrame({"regime": list("abcdefg"), "note": ""}))


# Learning curves


def test_every_regime_has_a_column_and_the_epoch_that_was_kept_is_marked(study):
    curves = study.curves()
    figure = transfer.learning_curves(curves, study.regimes())
    assert not outside(figure)
    above, below = np.array(figure.axes).reshape(2, -1)
    titles = [axes.get_title(loc="left").replace("\n", " ") for axes in above]
    assert titles == [name.replace("_", " ") for name in study.names]
    for name, losses, auc in zip(study.names, above, below, strict=True):
        if name in study.missing:
            assert not [*losses.lines, *auc.lines]
            continue
        rows = curves[name]
        (chosen,) = rows[rows["chosen"] == 1].itertuples()
        assert losses.lines[0].get_ydata().tolist() == rows["train_loss"].tolist()
        assert losses.lines[1].get_ydata().tolist() == rows["validation_loss"].tolist()
        dots = [axes.lines[-1].get_xydata().tolist() for axes in (losses, auc)]
        assert dots == [[[chosen.epoch, chosen.validation_loss]], [[chosen.epoch, chosen.validation_tile_auc]]]
        assert auc.get_title(loc="right") == f"epoch {chosen.epoch:.3g}, AUC {chosen.validation_tile_auc:.3f}"


def test_a_curve_of_one_evaluation_without_an_auc_is_drawn():
    study = Study(REGIMES[:2])
    curves = {name: rows.head(1).assign(validation_tile_auc=np.nan, chosen=1) for name, rows in study.curves().items()}
    assert not outside(transfer.learning_curves(curves, study.regimes()))


# The gain


def test_the_gain_is_drawn_by_number_of_slides_and_the_first_regime_is_its_zero():
    study = Study(SIX, missing=["imagenet"])
    table = study.gain()
    figure = transfer.gain(table, study.regimes())
    assert not outside(figure)
    left, right = figure.axes
    assert [label.get_text() for label in left.get_xticklabels()] == ["2", "4", "8", "16"]
    colours = [look["color"] for name, look in transfer.looks_of(study.regimes()).items() if name != "imagenet"]
    assert looks(left) == colours
    assert looks(right) == colours[1:]
    cross = table[table["regime"] == "cross_cancer"]
    line = next(line for line in right.lines if line.get_color() == colours[1])
    assert line.get_ydata().tolist() == cross["difference"].tolist()
    assert np.allclose(np.log2(line.get_xdata()), [1, 2, 3, 4], atol=0.2)
    assert "imagenet: not available" in words(figure)
    assert "AUC less that of random" in words(figure)


def test_a_point_that_is_missing_says_why_and_one_number_of_slides_is_drawn():
    study = Study()
    table = study.gain([2, 1000])
    table.loc[0, ["auc", "low", "high", "note"]] = [np.nan, np.nan, np.nan, "no tile of tumour to validate on"]
    said = words(transfer.gain(table, study.regimes()))
    assert "Not drawn: random, 2 slides (no tile of tumour to validate on)." in said
    assert not outside(transfer.gain(study.gain([4]), study.regimes()))


def test_without_any_gain_it_says_so(study):
    assert "No regime was trained" in words(transfer.gain(study.gain().iloc[:0], study.regimes()))
    assert "No regime was trained" in words(transfer.gain(study.gain().assign(auc=np.nan), study.regimes()))


# A slide


def detection(
    regimes=REGIMES, *, columns: int = 8, rows: int = 6, tiles_on: int = 30, regions: bool = True
) -> Detection:
    """A slide whose first tiles, row by row, have tissue; its tumour is a square with a hole at the corner."""
    places = np.stack(np.divmod(np.arange(rows * columns), columns)[::-1], axis=1).astype(np.int32)[:tiles_on]
    lattice = Lattice(columns=columns, rows=rows, tile_px=256, mpp=0.22, slide_mpp=0.22)
    square = shapely.box(0, 0, 768, 768) - shapely.box(256, 256, 512, 512)
    outline = Region("feature 1", "Tumor", square)
    slide = AnnotatedSlide(
        "PCA-001", "PCA-001.xml", Annotations("ASAP XML", (outline,), ()) if regions else None, "it is empty",
        lattice, places, columns * 256, rows * 256, b"",
    )  # fmt: skip
    maps = {name: (places, np.linspace(0, 1, len(places), dtype=np.float32)) for name in regimes}
    return Detection(slide, square if regions else shapely.Polygon(), int(regions), maps)


def test_the_mask_is_white_where_the_tumour_is_and_nowhere_else(tmp_path):
    figure = transfer_slides.slide_and_mask(detection())
    assert not outside(figure)
    assert "1 polygon, 0.0254 mm² of tumour: 16.7 % of the image" in words(figure)
    style.save(figure, tmp_path / "mask.png", made_by={})
    pixels = matplotlib.image.imread(tmp_path / "mask.png")[..., 0]
    (box,) = (axes.get_window_extent() for axes in figure.axes if "Mask" in axes.get_title(loc="left"))
    scale = style.DPI / figure.dpi
    width, height = 8 * 256, 6 * 256
    # The square's rim, the hole in it, what is right of it, and beneath it.
    for x, y, is_white in ((100, 100, True), (384, 384, False), (900, 384, False), (384, 900, False), (600, 600, True)):
        column = int((box.x0 + x / width * box.width) * scale)
        row = int(len(pixels) - (box.y1 - y / height * box.height) * scale)
        assert (pixels[row, column] > 0.5) == is_white


def test_a_slide_without_annotations_and_no_slide_say_so():
    assert "refused: it is empty" in words(transfer_slides.slide_and_mask(detection(regions=False)))
    assert "No held-out slide has annotations" in words(transfer_slides.slide_and_mask(None))
    study = Study()
    nothing = transfer_slides.probability_maps(None, study.regimes(), study.table1())
    assert "No held-out slide has annotations" in words(nothing)


@pytest.mark.parametrize("size", [(40, 12), (12, 40), (20, 20)], ids=["wide", "tall", "square"])
def test_the_maps_of_a_slide_fit_their_page(study, size):
    columns, rows = size
    found = detection(study.available, columns=columns, rows=rows)
    figure = transfer_slides.probability_maps(found, study.regimes(), study.table1())
    assert not outside(figure)
    assert not outside(transfer_slides.slide_and_mask(found))
    assert figure.get_figheight() / style.MM < 230
    assert words(figure).count("not available") == len(study.missing)
    rows = study.table1().query("level == 'tile' and slide == 'PCA-001'").dropna(subset=["auc"])
    for auc in rows["auc"]:
        assert f"AUC {auc:.3f}" in words(figure)


def test_each_tile_of_a_map_has_the_colour_of_its_probability_and_glass_is_white():
    study = Study()
    found = detection()
    figure = transfer_slides.probability_maps(found, study.regimes(), study.table1())
    image = np.asarray(figure.axes[3].images[0].get_array())
    assert image.shape == (6, 8, 3)
    coords, probabilities = found.maps["cross_cancer"]
    expected = matplotlib.colormaps[style.PROBABILITIES](probabilities)[:, :3]
    assert np.allclose(image[coords[:, 1], coords[:, 0]], expected)
    assert (image[5] == 1).all()


def test_a_slide_of_no_tile_or_that_could_not_be_tiled_is_drawn():
    study = Study()
    assert words(transfer_slides.probability_maps(detection(tiles_on=0), study.regimes(), study.table1())).count(
        "no tile"
    ) == len(REGIMES)
    said = words(transfer_slides.probability_maps(detection(columns=0), study.regimes(), study.table1()))
    assert "PCA-001 could not be tiled" in said


def a_file_of_annotations(folder: Path, slide_id: str) -> Path:
    ring = [[0, 0], [40, 0], [40, 16], [0, 16], [0, 0]]
    feature = {
        "type": "Feature",
        "properties": {"classification": {"name": "Tumor"}},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    path = folder / f"{slide_id}.geojson"
    path.write_text(json.dumps(feature))
    return path


def test_the_example_is_the_slide_with_most_tumour_with_the_tiles_of_each_regime(tmp_path):
    names = ["S1", "S2"]
    stores = [make_store(tmp_path / f"{name}.h5", np.zeros((4, 16, 16, 3), np.uint8), slide_id=name) for name in names]
    annotations = [a_file_of_annotations(tmp_path, name) for name in names]
    rows = [("S2", column, 0, 0.25 * column) for column in range(4)] + [("S1", 0, 0, 0.9)]
    judged = pd.DataFrame(rows, columns=["slide_id", "col", "row", "probability"])
    table = pd.DataFrame({"cohort": "a", "slide_id": names, "set": "test", "tumour_of_image": [0.1, 0.2]})
    settings = {"classes": {"Tumor": "tumour"}, "label": "tumour"}
    found = transfer_slides.read_example(table, annotations, stores, {"random": judged}, target="a", **settings)
    assert found.slide.slide_id == "S2"
    assert found.tumour.area == 40 * 16
    assert found.maps["random"][0].tolist() == [[0, 0], [1, 0], [2, 0], [3, 0]]
    assert found.maps["random"][1].tolist() == [0, 0.25, 0.5, 0.75]
    assert transfer_slides.read_example(table, annotations, stores, {}, target="b", **settings) is None
    every = transfer_slides.read_detections(annotations, stores, {"random": judged}, **settings)
    assert [one.slide.slide_id for one in every] == names


# Sample tiles


def slides_with_tiles(folder: Path, cohort: str, numbers: list[int]) -> tuple[list, list, list]:
    """Slides of tiles, each of a grey of its own, of which every other one is tumour."""
    slides, sources, labels = [], [], []
    for number, count in enumerate(numbers):
        name = f"{cohort}-{number}"
        greys = (np.arange(count) + 30 * number + 10).astype(np.uint8)
        images = np.broadcast_to(greys[:, None, None, None], (count, 16, 16, 3))
        store = make_store(folder / f"{name}.h5", images, slide_id=name)
        path = folder / f"{name}.tsv"
        rows = [f"{name}\t{column}\t0\t{('background', 'tumour')[column % 2]}" for column in range(count)]
        path.write_text("\n".join(["slide_id\tcol\trow\tlabel", *rows]) + "\n")
        slides.append((cohort, name))
        sources.append(tile_sources.TileSource(store))
        labels.append(path)
    return slides, sources, labels


def samples_of(folder: Path, numbers: list[int], *, seed: int = 1) -> transfer_tiles.Sample:
    slides, sources, labels = slides_with_tiles(folder, "breast", numbers)
    (sample,) = transfer_tiles.read_samples(slides, sources, labels, label={"breast": "tumour"}, seed=seed)
    return sample


def greys_of(sample: transfer_tiles.Sample) -> dict[int, list[int]]:
    return {value: [round(float(tile.mean())) for tile in of] for value, of in sample.tiles.items()}


def test_tiles_are_drawn_from_as_many_slides_as_there_are(tmp_path):
    greys = greys_of(samples_of(tmp_path, [20] * 6))
    for value, of in greys.items():
        assert sorted((grey - 10) // 30 for grey in of) == list(range(6))
        assert all((grey - 10) % 30 % 2 == value for grey in of)


def test_the_draw_is_of_the_seed_and_the_place_alone(tmp_path):
    few, again, other = (greys_of(samples_of(tmp_path, [20, 4], seed=seed)) for seed in (1, 1, 2))
    assert few == again
    assert few != other
    # Another slide changes which of a slide's tiles are shown only by taking the place of the last ones.
    assert set(greys_of(samples_of(tmp_path, [20, 4, 20]))[1]) & set(few[1])


def test_a_cohort_of_few_tiles_of_a_kind_shows_those(tmp_path):
    sample = samples_of(tmp_path, [1, 3])
    assert [len(of) for of in sample.tiles.values()] == [3, 1]
    figure = transfer_tiles.sample_tiles([sample, samples_of(tmp_path, [1])])
    assert not outside(figure)
    assert "none" in words(figure)
    assert "breast: 2 slides; 16 px at 0.5 µm/px, 8 µm wide" in words(figure)
    assert "No slide is annotated" in words(transfer_tiles.sample_tiles([]))


def test_a_row_of_each_kind_is_drawn_for_each_cohort(tmp_path):
    sample = samples_of(tmp_path, [20] * 3)
    figure = transfer_tiles.sample_tiles([sample] * 4)
    assert not outside(figure)
    assert sum(len(axes.images) for axes in figure.axes) == 4 * 2 * transfer_tiles.TILES
    assert [text.get_text() for text in shown(figure) if text.get_text() in ("benign", "tumour")] == [
        "benign", "tumour",
    ] * 4  # fmt: skip
    assert figure.get_figheight() / style.MM < 240


def test_a_label_of_no_tile_is_named(tmp_path):
    slides, sources, labels = slides_with_tiles(tmp_path, "a", [2])
    labels[0].write_text("slide_id\tcol\trow\tlabel\na-0\t7\t0\ttumour\n")
    with pytest.raises(InputError, match="no tile at column 7, row 0; label the tiles again"):
        transfer_tiles.read_samples(slides, sources, labels, label={"a": "tumour"}, seed=1)


# The pages


def test_table_1_has_every_slide_and_the_papers_overall_beside(study):
    page = transfer_page.table1_page(study.table1(), study.tests(), study.regimes(), in_paper=IN_PAPER)
    assert not read_page(page).links
    assert page.count("<table>") == 3
    for slide in study.slides:
        assert f'<th scope="col">{slide}</th>' in page
    for row in study.table1().query("slide == 'overall'").dropna(subset=["auc"]).itertuples():
        assert f"<strong>{row.auc:.3f}<small>{row.low:.3f}–{row.high:.3f}</small></strong>" in page
    # Ours and, of the paper's, the overall values and its whole table.
    for value in (0.873, 0.903, 0.924, 0.879, 0.916, 0.936):
        assert f'<td class="paper">{value:.3f}</td>' in page
    missing = "; ".join(map(origin.readable, study.missing))
    assert (f"<strong>{missing}</strong>: {escape(transfer_study.NOTE)}" in page) == bool(missing)
    assert page.count(escape(transfer_study.NOTE)) == bool(missing)
    assert published.TRANSFER_PAPER in page


def test_a_regime_that_the_paper_has_not_stands_without_its_values():
    study = Study(SIX)
    page = transfer_page.table1_page(study.table1(), study.tests(), study.regimes(), in_paper=IN_PAPER)
    assert page.count("not studied") == 2 * 3
    # The paper's 0.924 - 0.873 by tile; the pair is named as in the table of tests.
    (row,) = (line for line in page.split("<tr>") if ">cross cancer − random</th><td>tiles" in line)
    assert '<td class="paper">+0.051</td>' in row
    assert page.count("not stated") == len(study.tests()) - 6


def test_a_note_on_a_value_is_printed():
    study = Study()
    table = study.table1()
    table.loc[0, ["auc", "note"]] = [np.nan, "no tile of tumour"]
    page = transfer_page.table1_page(table, study.tests().iloc[:0], study.regimes(), in_paper={})
    assert "<strong>random, tiles, PCA-001</strong>: no tile of tumour" in page
    assert '<td class="ours">NA</td>' in page
    assert "No two regimes were compared" in page


def test_what_is_said_of_many_values_stands_once():
    study = Study(SIX)
    tests = study.tests().assign(note="six slides give no p below 0.031")
    page = transfer_page.table1_page(study.table1(), tests, study.regimes(), in_paper={})
    assert page.count("six slides give no p below 0.031") == 1
    assert "imagenet − random, tiles; cross cancer − random, tiles; " in page
    assert f"and {len(tests) - 4} more</strong>: six slides" in page


def test_the_cohorts_stand_beside_the_papers():
    table = transfer_study.cohort(sources=("breast", "colon"))
    page = transfer_page.cohort_page(table, target="prostate")
    assert not read_page(page).links
    for said in ("17 + 5", "4–208", "0.7 · 7.4 · 29.1 %", "110"):
        assert said in page
    of = table[table["cohort"] == "prostate"]
    shares = 100 * of["tumour_of_image"]
    assert f"{shares.min():.1f} · {shares.mean():.1f} · {shares.max():.1f} %" in page
    assert f"{of['polygons'].min()}–{of['polygons'].max()}" in page
    assert page.count('<th scope="row">prostate-') == 28
    assert 'scope="row">breast-' not in page


def test_refused_annotations_are_counted_and_named():
    table = transfer_study.cohort().astype({"polygons": float})
    table.loc[0, ["polygons", "tumour_mm2", "tumour_of_image", "tiles", "tumour_tiles"]] = np.nan
    page = transfer_page.cohort_page(table, target="prostate")
    assert '<td class="ours">refused</td>' in page
    assert '<th scope="row">Annotations refused</th><td class="ours">1</td>' in page
    every = table.assign(polygons=np.nan, tumour_mm2=np.nan, tumour_of_image=np.nan, tiles=np.nan, tumour_tiles=np.nan)
    assert "NA" in transfer_page.cohort_page(every, target="prostate")
    assert "No slide is annotated" in transfer_page.cohort_page(table.iloc[:0], target="prostate")


def test_what_the_paper_says_of_its_slides_is_as_its_text_says(shared_data):
    text = " ".join((shared_data.parent / "papers" / "cross-cancer-transfer.txt").read_text().split())
    of = {name: published.value(name, cohort="", trait="prostate") for name in published.table()["quantity"].unique()}
    shares = [f"{100 * of[f'tumour_share_{name}']:g}%" for name in ("min", "mean", "max")]
    for said in (
        f"divided {of['n_slides']:g} WSIs of PCa, each corresponding to a single patient, into training and held-out "
        f"test sets with {of['n_training_slides']:g} and {of['n_held_out_slides']:g} images",
        f"are {of['polygons_min']:g} and {of['polygons_max']:g}, respectively",
        f"are {shares[0]}, {shares[1]} and {shares[2]}, respectively",
        f"{published.value('n_slides', cohort='', trait='CAMELYON16'):g} WSIs (no held- out test set)",
    ):
        assert said in text


# All


def test_a_missing_column_is_named():
    study = Study()
    with pytest.raises(InputError, match=r"tables/table1\.tsv: column\(s\) low not found"):
        transfer.roc_curves(study.roc(), study.table1().drop(columns="low"), study.regimes())
    with pytest.raises(InputError, match=r"tables/gain\.tsv: column\(s\) note not found"):
        transfer.gain(study.gain().drop(columns="note"), study.regimes())


def test_the_same_tables_give_the_same_file(tmp_path):
    study = Study()

    def figures() -> dict[str, Figure]:
        return {
            "gain": transfer.gain(study.gain(), study.regimes()),
            "maps": transfer_slides.probability_maps(detection(), study.regimes(), study.table1()),
        }

    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        for name, figure in figures().items():
            style.save(figure, tmp_path / folder / f"{name}.png", made_by={})
    for name in figures():
        assert (tmp_path / "one" / f"{name}.png").read_bytes() == (tmp_path / "two" / f"{name}.png").read_bytes()
