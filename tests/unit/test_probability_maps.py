"""Maps made in strips are those made at once, and counts of their pixels give scikit-learn's AUC."""

import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve
from stores import make_store

from workflow_scripts.lib import evaluation, probability_maps, tumour_filters
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import write_table
from workflow_scripts.lib.probability_maps import DOMAINS, INTERPOLATIONS, JudgedSlide, PixelCounts, strips
from workflow_scripts.lib.tiles import lattice_of

NAN = float("nan")
HOLED = shapely.box(20, 10, 130, 90).difference(shapely.box(50, 30, 80, 60))
EVERYWHERE = shapely.box(-1e4, -1e4, 1e4, 1e4)


def judged(grid, *, width: int | None = None, height: int | None = None, tumour=HOLED) -> JudgedSlide:
    """A slide of 0.5 µm/px with tiles of 10 px; grid: (rows, columns) of probabilities, NaN for background."""
    grid = np.asarray(grid, np.float32)
    rows, columns = grid.shape
    width, height = width or columns * 10, height or rows * 10
    lattice = lattice_of(width=width, height=height, slide_mpp=0.5, tile_px=10, mpp=0.5)
    assert (lattice.rows, lattice.columns) == grid.shape
    row, column = np.nonzero(~np.isnan(grid))
    return JudgedSlide("S", lattice, width, height, np.stack([column, row], axis=1), grid[row, column], tumour)


def random_slide(*, seed: int, rows: int = 9, columns: int = 14, spread: float = 2.0, **changes: object) -> JudgedSlide:
    """Tiles that know a little of HOLED, a third of them background, and a slide that ends within a tile."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:rows, :columns]
    inside = shapely.contains_xy(HOLED, column * 10.0 + 5, row * 10.0 + 5)
    odds = spread * (rng.normal(0, 1, (rows, columns)) + inside - 0.5)
    grid = np.where(rng.random((rows, columns)) < 1 / 3, NAN, 1 / (1 + np.exp(-odds)))
    return judged(grid, **({"width": columns * 10 + 7, "height": rows * 10 + 4} | changes))


def whole(slide: JudgedSlide, **settings: object) -> probability_maps.Strip:
    """The full map."""
    found = list(strips(slide, **settings))
    return probability_maps.Strip(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def slow_map(slide: JudgedSlide, *, mpp: float, interpolation: str, domain: str) -> probability_maps.Strip:
    """The same, pixel by pixel."""
    tiles = {tuple(place): float(p) for place, p in zip(slide.coords, slide.probabilities, strict=True)}
    side, tile = mpp / slide.lattice.slide_mpp, slide.lattice.tile_level0_px
    rows, columns = (sum((n + 0.5) * side < length for n in range(2000)) for length in (slide.height, slide.width))
    found = np.zeros((3, rows, columns))
    for row in range(rows):
        for column in range(columns):
            x, y = (column + 0.5) * side, (row + 0.5) * side
            own = (int(x // tile), int(y // tile))
            value = tiles.get(own, 0.0)
            if own in tiles and interpolation == "bilinear":
                near = [
                    (p, (1 - abs(x / tile - c - 0.5)) * (1 - abs(y / tile - r - 0.5))) for (c, r), p in tiles.items()
                    if abs(x / tile - c - 0.5) < 1 and abs(y / tile - r - 0.5) < 1
                ]  # fmt: skip
                value = sum(p * weight for p, weight in near) / sum(weight for _, weight in near)
            is_tumour = shapely.contains_xy(slide.tumour, x, y)
            found[:, row, column] = value, is_tumour, own in tiles or domain == "image"
    return probability_maps.Strip(found[0], found[1].astype(bool), found[2].astype(bool))


def auc_of_counts(counts: np.ndarray) -> float:
    """Of all slides' pixels; counts: (slides, 2, bins)."""
    pairs = probability_maps.pairs_of_counts(counts)
    return float(evaluation.auc_of_pairs(pairs, np.ones((1, len(counts)), int))[0])


def counted(*slides: JudgedSlide, **settings: object) -> PixelCounts:
    return probability_maps.count_slides([(slide.slide_id, slide) for slide in slides], **settings)


EVERY_MAP = [(interpolation, domain) for interpolation in INTERPOLATIONS for domain in DOMAINS]
every_map = pytest.mark.parametrize(("interpolation", "domain"), EVERY_MAP)


# The map


@every_map
@pytest.mark.parametrize("mpp", [0.5, 0.85, 1.5])
def test_a_map_is_the_one_made_pixel_by_pixel(interpolation, domain, mpp):
    asked = {"mpp": mpp, "interpolation": interpolation, "domain": domain}
    slide = random_slide(seed=1)
    found, expected = whole(slide, **asked), slow_map(slide, **asked)
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_array_equal(found.is_tumour, expected.is_tumour)
    np.testing.assert_allclose(found.probability[found.counts], expected.probability[expected.counts], rtol=1e-6)
    assert found.probability.dtype == np.float32


@every_map
def test_strips_of_any_height_make_the_same_map(interpolation, domain, monkeypatch):
    asked = {"mpp": 0.7, "interpolation": interpolation, "domain": domain}
    slide = random_slide(seed=2)
    at_once = whole(slide, **asked)
    for pixels in (1, 300, 1000):
        monkeypatch.setattr(probability_maps, "STRIP_PIXELS", pixels)
        assert len(list(strips(slide, **asked))) > 1
        for one, other in zip(at_once, whole(slide, **asked), strict=True):
            np.testing.assert_array_equal(one, other)


def test_nearest_gives_a_pixel_its_tiles_probability():
    slide = judged([[0.25, NAN, 1.0]], tumour=shapely.box(8, 0, 12, 10))
    found = whole(slide, mpp=1.0, interpolation="nearest", domain="tissue")
    # Pixels of 2 × 2 level-0 px, five to a tile.
    assert found.probability[0, found.counts[0]].tolist() == [0.25] * 5 + [1.0] * 5
    assert found.counts[0].tolist() == [True] * 5 + [False] * 5 + [True] * 5
    assert np.flatnonzero(found.is_tumour[0]).tolist() == [4, 5]


def test_bilinear_is_between_the_centres_and_background_pulls_nobody_down():
    found = whole(judged([[0.2, 0.6, NAN]]), mpp=1.0, interpolation="bilinear", domain="image").probability
    # The centres of pixels are at 1, 3, 5… level-0 px, those of tiles at 5 and 15; towards background nothing changes.
    expected = [0.2, 0.2, 0.2, 0.28, 0.36, 0.44, 0.52, 0.6, 0.6, 0.6, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(found, np.tile(expected, (5, 1)), rtol=1e-6)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_tiles_of_one_probability_make_a_map_of_it_to_the_last_bit(interpolation):
    value = np.float32(0.7)
    grid = np.where(np.random.default_rng(0).random((6, 8)) < 0.4, NAN, value)
    found = whole(judged(grid), mpp=0.3, interpolation=interpolation, domain="tissue")
    assert set(found.probability[found.counts].tolist()) == {float(value)}


def test_the_domain_is_tissue_or_all_of_the_slide_where_background_has_no_probability():
    slide = judged([[0.5, NAN], [NAN, 0.9]], width=27, height=20)
    tissue, image = (whole(slide, mpp=0.5, interpolation="nearest", domain=domain) for domain in DOMAINS)
    assert tissue.counts.sum() == 200
    assert image.counts.all()
    assert image.counts.shape == (20, 27)
    assert (image.probability[~tissue.counts] == 0).all()


def test_a_pixel_is_of_the_map_where_its_centre_is_on_the_slide():
    for width, columns in ((28, 9), (29, 10), (31, 10), (32, 11)):
        slide = judged([[0.5]], width=10, height=10)._replace(width=width)
        found = whole(slide, mpp=1.5, interpolation="nearest", domain="image")
        assert found.counts.shape == (3, columns)


# Outlines


OUTLINES = {
    "holed": HOLED,
    "past the slide": shapely.box(-50, -50, 35, 35) | shapely.box(100, 60, 500, 500),
    "off the slide": shapely.box(500, 500, 600, 600),
    "all of it": EVERYWHERE,
    "nothing": shapely.Polygon(),
    "a star": shapely.Polygon(
        [(70, 1), (80, 40), (139, 45), (85, 55), (90, 88), (70, 60), (20, 80), (55, 50), (3, 41)]
    ),
    "islands in a lake": shapely.box(5, 5, 135, 85) - shapely.box(15, 15, 125, 75) | shapely.box(40, 30, 60, 50),
}


@pytest.mark.parametrize("name", OUTLINES)
def test_a_pixel_is_tumour_where_its_centre_lies_within_the_outline(name):
    slide = random_slide(seed=3, tumour=OUTLINES[name])
    found = whole(slide, mpp=0.43, interpolation="nearest", domain="image").is_tumour
    rows, columns = found.shape
    x, y = np.meshgrid((np.arange(columns) + 0.5) * 0.86, (np.arange(rows) + 0.5) * 0.86)
    np.testing.assert_array_equal(found, shapely.contains_xy(OUTLINES[name], x, y))


# As annotations are read: to a millionth of a pixel.
PLACE = st.floats(-40, 180).map(lambda place: round(place, 6))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(PLACE, PLACE), min_size=3, max_size=12))
def test_any_outline_is_filled_as_shapely_fills_it(places):
    outline = shapely.make_valid(shapely.Polygon(places), method="structure")
    outline = outline if outline.geom_type in ("Polygon", "MultiPolygon") else shapely.Polygon()
    found = whole(random_slide(seed=4, tumour=outline), mpp=1.01, interpolation="nearest", domain="image").is_tumour
    rows, columns = found.shape
    x, y = np.meshgrid((np.arange(columns) + 0.5) * 2.02, (np.arange(rows) + 0.5) * 2.02)
    expected = shapely.contains_xy(outline, x, y)
    # Where a centre lies on the outline, or a hair from it, either will do.
    beside = shapely.dwithin(outline.boundary, shapely.points(x, y), 1e-9)
    np.testing.assert_array_equal(found[~beside], expected[~beside])


def test_a_centre_on_the_side_of_two_outlines_is_within_one_of_them():
    asked = {"mpp": 0.5, "interpolation": "nearest", "domain": "image"}
    grid = np.full((9, 14), 0.5)
    # Centres are at 0.5, 1.5…
    for pair in (
        (shapely.box(0.5, 0.5, 15.5, 90.5), shapely.box(15.5, 0.5, 140.5, 90.5)),
        (shapely.box(0.5, 0.5, 140.5, 45.5), shapely.box(0.5, 45.5, 140.5, 90.5)),
    ):
        one, other = (whole(judged(grid, tumour=outline), **asked).is_tumour for outline in pair)
        assert (one ^ other).all()


# Counts


def assert_as_scikit_learns(slides: list[JudgedSlide], *, mpp: float, interpolation: str, domain: str) -> None:
    asked = {"mpp": mpp, "interpolation": interpolation, "domain": domain}
    found = counted(*slides, **asked)
    full = [whole(slide, **asked) for slide in slides]
    labels = [one.is_tumour[one.counts] for one in full]
    values = [one.probability[one.counts] for one in full]
    assert found.counts.sum(axis=2).tolist() == [[(~of).sum(), of.sum()] for of in labels]
    assert auc_of_counts(found.counts) == pytest.approx(
        roc_auc_score(np.concatenate(labels), np.concatenate(values)), abs=1e-6, rel=0
    )
    for number in range(len(slides)):
        expected = roc_auc_score(labels[number], values[number])
        assert auc_of_counts(found.counts[number : number + 1]) == pytest.approx(expected, abs=1e-6, rel=0)


@every_map
# A classifier that doubts, one that is sure of itself, and one whose probabilities are mostly 0 and 1 in 32 bits.
@pytest.mark.parametrize("spread", [0.5, 8, 40])
def test_the_auc_of_counts_is_scikit_learns_of_the_full_map(interpolation, domain, spread):
    slides = [
        random_slide(seed=seed, rows=18, columns=26, spread=spread, tumour=OUTLINES[name])
        for seed, name in enumerate(["holed", "past the slide", "a star"])
    ]
    # 200,000 pixels or so: more than there are bins.
    assert_as_scikit_learns(slides, mpp=0.4, interpolation=interpolation, domain=domain)


@every_map
def test_tied_pixels_count_half(interpolation, domain):
    rng = np.random.default_rng(5)
    slide = judged(rng.integers(0, 3, (9, 14)) / 2)
    assert_as_scikit_learns([slide], mpp=0.5, interpolation=interpolation, domain=domain)
    alike = counted(judged(np.full((9, 14), 0.3)), mpp=0.5, interpolation=interpolation, domain="tissue")
    assert auc_of_counts(alike.counts) == 0.5
    assert alike.counts.shape == (1, 2, 1)


def test_tiles_a_hair_apart_are_not_tied():
    one = np.float32(1)
    grid = [[np.nextafter(one, np.float32(0)), one, 1e-30, 2e-30]]
    slide = judged(grid, tumour=shapely.box(10, 0, 20, 10) | shapely.box(30, 0, 40, 10))
    found = counted(slide, mpp=0.5, interpolation="nearest", domain="tissue")
    assert found.counts[0].tolist() == [[100, 0, 100, 0], [0, 100, 0, 100]]
    assert auc_of_counts(found.counts) == 0.75


def test_more_pixels_than_are_sampled_give_nearly_the_same(monkeypatch):
    monkeypatch.setattr(probability_maps, "SAMPLED_PIXELS", 5000)
    slide = random_slide(seed=6, rows=18, columns=26)
    asked = {"mpp": 0.4, "interpolation": "bilinear", "domain": "tissue"}
    full = whole(slide, **asked)
    expected = roc_auc_score(full.is_tumour[full.counts], full.probability[full.counts])
    assert auc_of_counts(counted(slide, **asked).counts) == pytest.approx(expected, abs=1e-4)
    # Each tile has a bin of its own all the same.
    assert_as_scikit_learns([slide], mpp=0.4, interpolation="nearest", domain="tissue")


def test_bins_are_few_and_a_value_that_many_have_fills_one(monkeypatch):
    monkeypatch.setattr(probability_maps, "BINS", 10)
    rng = np.random.default_rng(7)
    values = np.concatenate([rng.random(700), np.full(300, 0.5)]).astype(np.float32)
    edges = probability_maps.bin_edges(values)
    of_bin = np.bincount(np.searchsorted(edges, values))
    assert len(of_bin) <= 10
    assert of_bin.max() == 300
    assert np.sort(of_bin)[-2] <= 101
    assert (np.diff(edges) > 0).all()
    assert len(probability_maps.bin_edges(np.empty(0, np.float32))) == 0


def test_one_class_has_no_auc_and_nothing_fails_without_pixels():
    asked = {"mpp": 0.5, "interpolation": "bilinear", "domain": "tissue"}
    benign = judged([[0.2, 0.4]], tumour=OUTLINES["nothing"])
    blank = judged([[NAN, NAN]])
    found = counted(benign, blank, **asked)
    assert found.counts.sum(axis=2).tolist() == [[200, 0], [0, 0]]
    assert np.isnan(auc_of_counts(found.counts))
    assert len(probability_maps.curve_of_counts(found.counts)) == 0
    assert counted(**asked).counts.shape == (0, 2, 1)


@every_map
def test_memory_does_not_grow_with_the_slide(interpolation, domain, monkeypatch):
    monkeypatch.setattr(probability_maps, "STRIP_PIXELS", 20_000)
    monkeypatch.setattr(probability_maps, "SAMPLED_PIXELS", 10_000)
    asked = {"mpp": 1.0, "interpolation": interpolation, "domain": domain}
    peaks = []
    for times in (1, 8):
        slide = random_slide(seed=8, rows=9 * times, columns=14, width=140, height=90 * times)
        slide = slide._replace(lattice=lattice_of(width=4000, height=2000 * times, slide_mpp=0.5, tile_px=200, mpp=0.5),
                               width=4000, height=2000 * times)  # fmt: skip
        counted(slide, **asked)
        tracemalloc.start()
        counted(slide, **asked)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # A full map has 2 and 16 million pixels, of 4 bytes alone.
    assert peaks[1] < 1.3 * peaks[0] < 20e6


def test_the_curve_of_counts_is_scikit_learns():
    asked = {"mpp": 0.5, "interpolation": "nearest", "domain": "tissue"}
    slide = random_slide(seed=9)
    full = whole(slide, **asked)
    fpr, tpr, _ = roc_curve(full.is_tumour[full.counts], full.probability[full.counts], drop_intermediate=False)
    np.testing.assert_allclose(
        probability_maps.curve_of_counts(counted(slide, **asked).counts), np.stack([tpr, fpr], 1)
    )


def test_resamples_of_slides_are_those_of_their_pixels_spelt_out():
    asked = {"mpp": 1.0, "interpolation": "nearest", "domain": "tissue"}
    # The third has no tumour.
    slides = [random_slide(seed=seed, tumour=HOLED if seed < 12 else OUTLINES["nothing"]) for seed in (10, 11, 12)]
    full = [whole(slide, **asked) for slide in slides]
    pairs = probability_maps.pairs_of_counts(counted(*slides, **asked).counts)
    times = np.array([[1, 1, 1], [2, 0, 1], [0, 3, 0], [0, 0, 3], [1, 0, 2]])
    for drawn, value in zip(times, evaluation.auc_of_pairs(pairs, times), strict=True):
        chosen = [one for one, number in zip(full, drawn, strict=True) for _ in range(number)]
        labels = np.concatenate([one.is_tumour[one.counts] for one in chosen])
        values = np.concatenate([one.probability[one.counts] for one in chosen])
        assert value == pytest.approx(roc_auc_score(labels, values) if labels.any() else NAN, nan_ok=True)


# Settings and files


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"mpp": 0.0}, "µm/px above 0, found 0.0"),
        (
            {"interpolation": "cubic"},
            "interpolation of a map of probabilities: expected one of nearest, bilinear, found",
        ),
        ({"domain": "slide"}, "expected one of tissue, image, found 'slide'"),
    ],
)
def test_settings_out_of_range_are_refused(changed, said):
    asked = {"mpp": 0.5, "interpolation": "nearest", "domain": "tissue"} | changed
    with pytest.raises(InputError, match=said):
        counted(**asked)
    with pytest.raises(InputError, match=said):
        list(strips(judged([[0.5]]), **asked))


def write_slide(folder: Path, slide_id: str, outlines: str) -> tuple[Path, Path]:
    """A store of four tiles of 16 px in a row, and an annotation file of these rectangles (x0, y0, x1, y1)."""
    store = make_store(folder / f"{slide_id}.h5", np.full((4, 16, 16, 3), 200, np.uint8), slide_id=slide_id)
    annotations = folder / f"{slide_id}.geojson"
    annotations.write_text(outlines)
    return store, annotations


def outline(box: tuple[float, ...], class_name: str = "Tumor") -> str:
    shape = shapely.to_geojson(shapely.box(*box))
    properties = f'{{"classification": {{"name": "{class_name}"}}}}'
    return f'{{"type": "Feature", "geometry": {shape}, "properties": {properties}}}'


def collection(*features: str) -> str:
    return f'{{"type": "FeatureCollection", "features": [{", ".join(features)}]}}'


def tile_rows(slide_id: str, probabilities: list[float]) -> pd.DataFrame:
    n = len(probabilities)
    return pd.DataFrame({
        "slide_id": slide_id, "patient_id": slide_id, "set": "test", "col": range(n), "row": 0, "label": 0,
        "probability": probabilities,
    })[tumour_filters.JUDGED]  # fmt: skip


@pytest.fixture
def study(tmp_path) -> dict[str, object]:
    """Two slides, and one whose annotations cannot be read."""
    files = [
        write_slide(tmp_path, "A", collection(outline((0, 0, 24, 16)), outline((8, 0, 16, 16), "Necrosis"))),
        write_slide(tmp_path, "B", collection(outline((32, 0, 64, 16)))),
        write_slide(tmp_path, "C", "nothing that anybody drew"),
    ]
    tiles = tmp_path / "test.tsv"
    # In an order of its own.
    write_table(pd.concat([tile_rows("B", [0.5, 0.4, 0.3, 0.9])[::-1], tile_rows("A", [0.8, 0.6, 0.4, 0.2])]), tiles)
    return {
        "path_to_tiles": tiles,
        "paths_to_stores": [store for store, _ in files],
        "paths_to_annotations": [annotations for _, annotations in files],
        "classes": {"Necrosis": "necrosis", "Tumor": "tumour"},
        "label": "tumour",
        "mpp": 0.5,
        "interpolation": "nearest",
        "domain": "image",
    }


def test_pixels_are_counted_from_the_files_of_slides(study, tmp_path):
    path = tmp_path / "pixels" / "regime.h5"
    probability_maps.count_pixels(path, **study)
    found = probability_maps.read_counts(path)
    assert found[0] == ("A", "B", "C")
    assert found[3:] == (0.5, "nearest", "image")
    # 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.9, of 256 pixels each; necrosis comes first where it lies on tumour.
    assert found.counts[0].tolist() == [[256, 0, 256, 0, 128, 128, 0], [0, 0, 0, 0, 128, 128, 0]]
    assert found.counts[1].tolist() == [[0, 0, 256, 256, 0, 0, 0], [0, 256, 0, 0, 0, 0, 256]]
    # Nobody knows what is tumour there, so none of it is background.
    assert found.counts[2].sum() == 0
    assert found.edges.tolist() == pytest.approx([0.25, 0.35, 0.45, 0.55, 0.7, 0.85])


def test_the_same_slides_give_the_same_bytes_and_a_failure_leaves_no_file(study, tmp_path):
    paths = [tmp_path / f"{number}.h5" for number in range(3)]
    for path in paths[:2]:
        probability_maps.count_pixels(path, **study)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with pytest.raises(InputError, match="found 'cubic'"):
        probability_maps.count_pixels(paths[2], **study | {"interpolation": "cubic"})
    assert not paths[2].exists()


def test_tiles_that_do_not_fit_the_slides_are_refused(study, tmp_path):
    path = tmp_path / "counts.h5"
    few = study | {"paths_to_stores": study["paths_to_stores"][:1]}
    few["paths_to_annotations"] = study["paths_to_annotations"][:1]
    with pytest.raises(
        InputError, match=r"test\.tsv: expected tiles of 1 slides, found those of 1 others, the first is B"
    ):
        probability_maps.count_pixels(path, **few)
    write_table(tile_rows("A", [0.8, 0.6, 0.4]), study["path_to_tiles"])
    with pytest.raises(InputError, match=r"test\.tsv: slide A: expected a probability .* 4 tiles, found none for 1"):
        probability_maps.count_pixels(path, **few)


def test_a_file_that_holds_no_counts_is_refused(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["counts"] = 1
    with pytest.raises(InputError, match=r"other\.h5: expected counts of pixels, found: .*; delete it and run again"):
        probability_maps.read_counts(tmp_path / "other.h5")
