"""Recolouring is a pure function of a pixel's colour, the same as staintools', whether computed or looked up."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.optimize import nnls
from staining import VECTORS, stained

from workflow_scripts.lib import slides, stain_fitting, stains, tiles
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.recolouring import Recolouring
from workflow_scripts.lib.stains import (
    LEAST_SQUARES,
    MACENKO,
    METHODS,
    PUBLISHED,
    REINHARD,
    VAHADANE,
    Colours,
    ColourTable,
    Normalisation,
    Stains,
)

SOURCE = Stains(((0.65, 0.7, 0.29), (0.07, 0.99, 0.11)), (1.4, 0.8))
SOURCE = replace(SOURCE, vectors=tuple(tuple(row / np.linalg.norm(row)) for row in np.array(SOURCE.vectors)))
COLOURS = Colours((55.0, 25.0, -14.0), (15.0, 7.0, 6.0))
OTHER_COLOURS = Colours((62.0, 20.0, -9.0), (12.0, 8.0, 5.0))
# Every fifth value of each channel: 140,608 colours, black and white among them.
LATTICE = np.stack(np.meshgrid(*[np.arange(0, 256, 5, dtype=np.uint8)] * 3, indexing="ij"), axis=-1)


def normalisation(method):
    source, target = (COLOURS, OTHER_COLOURS) if method == REINHARD else (SOURCE, PUBLISHED)
    return Normalisation(method, source, target, n_pixels=1000)


def difference(one, two):
    return int(np.abs(np.asarray(one, np.int16) - np.asarray(two, np.int16)).max())


@pytest.fixture(scope="module")
def tcga_tiles(shared_data):
    """A hundred tiles of 512 px of a real slide, as they are stored."""
    path = shared_data / "slides" / "TCGA-C8-A1HN-01Z-00-DX1.region40x.svs"
    settings = {
        "background_rule": "saturation",
        "max_background": 0.5,
        "jpeg_quality": 90,
        "mpp_tolerance": 0.02,
    } | dict.fromkeys(tiles.LIMITS)
    with slides.open_slide(path) as slide:
        facts = slides.inspect_open_slide(slide, target_mpp=0.5)
        lattice = tiles.lattice_of(width=facts.width, height=facts.height, slide_mpp=facts.mpp, tile_px=512, mpp=0.5)
        cut = [tile for strip in tiles.cut_strips(slide, lattice, settings) for tile in strip]
    return [tiles.decode(tile.encoded) for tile in cut[:100]]


@pytest.fixture(scope="module")
def staintools():
    # OpenCV, which it needs, needs a library of the system's that may be absent.
    pytest.importorskip("staintools", exc_type=ImportError)
    return pytest.importorskip("staintools.miscellaneous.get_concentrations", exc_type=ImportError)


# Against others


def test_the_published_result_is_reproduced_to_the_grey_level(shared_data):
    before, after = (
        np.asarray(Image.open(shared_data / "stain" / name).convert("RGB")) for name in ("example1.png", "norm1.png")
    )
    # The published implementation fits to the whole image.
    source = stain_fitting.fit(before.reshape(-1, 3), method=LEAST_SQUARES)
    assert difference(stains.recolour(before, Normalisation(LEAST_SQUARES, source, PUBLISHED)), after) == 0


@pytest.mark.slow
@pytest.mark.parametrize("method", [MACENKO, VAHADANE])
def test_a_hundred_tiles_are_as_staintools_makes_them(method, tcga_tiles, staintools):
    pixels = np.concatenate([tile[::8, ::8].reshape(-1, 3) for tile in tcga_tiles])
    source = stain_fitting.fit(pixels[stain_fitting.is_tissue(pixels)], method=method)
    found = Normalisation(method, source, PUBLISHED)
    table, by_torch = ColourTable(found), Recolouring([found])
    assert len(tcga_tiles) == 100
    for number, tile in enumerate(tcga_tiles):
        # It changes what it is given.
        concentrations = staintools.get_concentrations(tile.copy(), np.array(source.vectors))
        concentrations *= np.divide(PUBLISHED.maxima, source.maxima)
        expected = (255 * np.exp(-concentrations @ VECTORS)).reshape(tile.shape).astype(np.uint8)
        assert difference(table.recolour(tile), expected) <= 1
        if number % 10 == 0:
            batch = torch.from_numpy(tile.copy()).permute(2, 0, 1)[None]
            assert difference(by_torch(batch)[0].permute(1, 2, 0), expected) <= 1
            assert difference(stains.recolour(tile, found), expected) <= 1


def test_reinhard_is_near_staintools_which_rounds_lab_to_whole_numbers(shared_data, staintools):
    from_image, to_image = (
        np.asarray(Image.open(shared_data / "stain" / name).convert("RGB")) for name in ("source.png", "target.png")
    )
    normaliser = pytest.importorskip("staintools").ReinhardColorNormalizer()
    normaliser.fit(to_image.copy())
    expected = normaliser.transform(from_image.copy())
    # staintools measures whole images.
    source, target = (stain_fitting.fit(image.reshape(-1, 3), method=REINHARD) for image in (from_image, to_image))
    found = stains.recolour(from_image, Normalisation(REINHARD, source, target))
    apart = np.abs(found.astype(np.int16) - expected)
    assert apart.mean() < 2
    assert np.percentile(apart, 99) <= 5


def test_the_lasso_is_the_best_there_is():
    rng = np.random.default_rng(0)
    for _ in range(400):
        # Any two directions, also ones that point apart, and any absorbance.
        vectors = rng.normal(size=(2, 3))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        absorbed = rng.normal(0, 1, 3)
        penalty = rng.choice([0.01, 0.1])
        root = np.linalg.cholesky(vectors @ vectors.T)
        expected, _ = nnls(root.T, np.linalg.solve(root, vectors @ absorbed - penalty))
        found = stains.lasso(np, absorbed[:, None], vectors.ravel(), penalty=penalty)
        np.testing.assert_allclose(np.ravel(found), expected, atol=1e-9)


@pytest.mark.parametrize("penalty", [0.01, 0.1])
def test_the_lasso_is_that_of_spams(penalty):
    spams = pytest.importorskip("spams", exc_type=ImportError)
    absorbed = np.random.default_rng(1).uniform(0, 2, (3, 5000))
    expected = spams.lasso(
        X=np.asfortranarray(absorbed),
        D=np.asfortranarray(np.array(SOURCE.vectors).T),
        mode=2,
        lambda1=penalty,
        pos=True,
    )
    found = stains.lasso(np, absorbed, np.ravel(SOURCE.vectors), penalty=penalty)
    np.testing.assert_allclose(found, expected.toarray(), atol=1e-9)


# By itself


@pytest.mark.parametrize("method", METHODS)
def test_a_table_gives_what_is_computed_at_first_and_again(method):
    found = normalisation(method)
    table = ColourTable(found)
    rng = np.random.default_rng(0)
    for _ in range(3):
        pixels = LATTICE.reshape(-1, 3)[rng.permutation(LATTICE.size // 3)[:5000]].reshape(50, 100, 3)
        looked_up = table.recolour(pixels)
        assert looked_up.dtype == np.uint8
        assert looked_up.flags.c_contiguous
        np.testing.assert_array_equal(looked_up, stains.recolour(pixels, found))
    black_and_white = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    np.testing.assert_array_equal(table.recolour(black_and_white), stains.recolour(black_and_white, found))


@pytest.mark.parametrize("method", METHODS)
def test_a_pixel_becomes_the_same_wherever_it_is(method):
    found = normalisation(method)
    whole = stains.recolour(LATTICE, found)
    assert whole.shape == LATTICE.shape
    np.testing.assert_array_equal(whole[3, 5, 7], stains.recolour(LATTICE[3, 5, 7][None], found)[0])
    np.testing.assert_array_equal(whole[::-1], stains.recolour(LATTICE[::-1], found))


@pytest.mark.parametrize("method", METHODS)
def test_colours_that_are_kept_are_kept_to_the_bit(method):
    kept = Normalisation(method, None, None, "nearly blank")
    np.testing.assert_array_equal(stains.recolour(LATTICE, kept), LATTICE)
    np.testing.assert_array_equal(ColourTable(kept).recolour(LATTICE), LATTICE)


def test_reinhard_from_a_slide_to_itself_changes_nothing():
    same = Normalisation(REINHARD, COLOURS, COLOURS)
    np.testing.assert_array_equal(stains.recolour(LATTICE, same), LATTICE)


def test_macenko_from_a_slide_to_itself_changes_a_stained_pixel_by_the_penalty_alone():
    pixels = stained(noise=0)
    same = Normalisation(MACENKO, PUBLISHED, PUBLISHED)
    # The lasso takes 0.01 from what two stains explain, and staintools cuts off fractions.
    assert difference(stains.recolour(pixels, same), pixels) <= 3


def test_reinhard_gives_the_target_its_means_and_deviations():
    # Colours near the middle, of which none leaves what a screen shows.
    pixels = np.random.default_rng(0).uniform(90, 170, (3, 20_000))
    before = np.array(stains.lab(np, pixels))
    source = Colours(tuple(before.mean(axis=1)), tuple(before.std(axis=1)))
    p = stains.parameters(Normalisation(REINHARD, source, OTHER_COLOURS))
    moved = np.array(stains.transform(np, pixels, p, method=REINHARD)) - 0.5
    after = np.array(stains.lab(np, moved))
    inside = ((moved > 0) & (moved < 255)).all(axis=0)
    assert inside.mean() > 0.99
    np.testing.assert_allclose(after.mean(axis=1), OTHER_COLOURS.means, atol=0.2)
    np.testing.assert_allclose(after.std(axis=1), OTHER_COLOURS.deviations, atol=0.2)


def test_lab_is_that_of_a_colour_chart():
    # White, black, middle grey, and the three primaries of sRGB (D65).
    chart = np.array([[255] * 3, [0] * 3, [119] * 3, [255, 0, 0], [0, 255, 0], [0, 0, 255]], float).T
    expected = [
        [100, 0, 0], [0, 0, 0], [50.03, 0, 0], [53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86]
    ]  # fmt: skip
    found = np.array(stains.lab(np, chart))
    np.testing.assert_allclose(found.T, expected, atol=0.02)
    np.testing.assert_allclose(np.array(stains.srgb(np, *found)), chart, atol=0.01)


@pytest.mark.parametrize("method", [MACENKO, LEAST_SQUARES, VAHADANE])
def test_the_maximum_of_a_stain_becomes_the_references_and_less_of_it_is_lighter(method):
    found = normalisation(method)
    light = stains.LEAST_SQUARES_LIGHT if method == LEAST_SQUARES else stains.LIGHT
    for stain in range(2):
        amounts = np.linspace(0, SOURCE.maxima[stain], 60)[:, None]
        pixels = np.clip(light * np.exp(-amounts * np.array(SOURCE.vectors)[stain]), 0, 255).astype(np.uint8)
        after = stains.recolour(pixels, found).astype(int)
        expected = light * np.exp(-PUBLISHED.maxima[stain] * VECTORS[stain])
        assert difference(after[-1], expected) <= 4
        # Darker and darker, but for whole numbers.
        assert (np.diff(after.sum(axis=1)) <= 3).all()


@pytest.mark.parametrize("method", [MACENKO, VAHADANE])
def test_white_stays_white(method):
    white = np.full((4, 4, 3), 255, np.uint8)
    np.testing.assert_array_equal(stains.recolour(white, normalisation(method)), white)


# Files


@pytest.mark.parametrize("method", METHODS)
def test_what_is_written_is_read_back_to_the_bit(method, tmp_path):
    found = normalisation(method)
    kept = Normalisation(method, found.source, None, "weakly stained", 17)
    for number, one in enumerate((found, kept, Normalisation(method, None, None, "no tiles"))):
        path = tmp_path / f"{number}.json"
        stains.write_normalisation(path, one, code_version="abc")
        assert stains.read_normalisation(path) == one
        assert json.loads(path.read_text())["code_version"] == "abc"
    # The same to the byte.
    stains.write_normalisation(tmp_path / "again.json", found, code_version="abc")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "0.json").read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "none"}, "method 'none'"),
        ({"source": None}, "without a source"),
        ({"source": {"vectors": [[1, 2, 3]], "maxima": [1, 2]}}, "unpack"),
        ({"source": {"vectors": [[1, 2, 3], [1, 2]], "maxima": [1, 2]}}, "expected 3 numbers"),
        ({"target": {"means": [1, 2, 3]}}, "deviations"),
        ({"target": {"means": [1, 2, 3], "deviations": [1, 2, float("nan")]}}, "expected 3 numbers"),
    ],
)
def test_a_file_that_is_not_a_slides_stain_is_refused_in_one_line(change, said, tmp_path):
    path = tmp_path / "S.json"
    stains.write_normalisation(path, normalisation(MACENKO))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=r"S\.json: expected the stain of a slide") as raised:
        stains.read_normalisation(path)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_no_json_or_absent_is_refused(tmp_path):
    (tmp_path / "S.json").write_bytes(b"\xff{")
    for name in ("S.json", "absent.json"):
        with pytest.raises(InputError, match=f"{name}: expected the stain of a slide"):
            stains.read_normalisation(tmp_path / name)
