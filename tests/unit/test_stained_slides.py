"""A slide's stain is pooled from all over it; the reference is an image, a tile or published; stores are recoloured."""

import json
from dataclasses import asdict

import h5py
import numpy as np
import pytest
from PIL import Image
from staining import VECTORS, angle, tile
from stores import make_store

from workflow_scripts.lib import stain_fitting, stained_slides, stains, tiles
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.stained_slides import KEPT, NO_TILES, NORMALISED, fit_reference, fit_slide, read_reference
from workflow_scripts.lib.stains import MACENKO, METHODS, PUBLISHED, REINHARD, VAHADANE, ColourTable


def store_of(folder, n=4, *, name="S", **settings):
    """A store of n stained tiles; its tiles are encoded at quality 90, as their settings say."""
    images = np.stack([tile(seed=seed, **settings) for seed in range(n)]) if n else np.zeros((0, 128, 128, 3), np.uint8)
    path = make_store(folder / f"{name}.h5", images, slide_id=name, dropped=[(0, 0), (1, 0)])
    with h5py.File(path, "a") as file:
        file.attrs["settings"] = json.dumps({"jpeg_quality": 90})
    return path


def reference_of(folder, method=MACENKO, reference="published", path=None):
    made = folder / "stain_reference.json"
    fit_reference(path, made, method=method, reference=reference, code_version="abc")
    return made


# The reference


def test_the_published_reference_is_for_the_three_methods_that_find_stains(tmp_path):
    for method in (MACENKO, "macenko_least_squares", VAHADANE):
        assert read_reference(reference_of(tmp_path, method)) == PUBLISHED
    np.testing.assert_allclose(np.linalg.norm(VECTORS, axis=1), 1, atol=2e-4)
    with pytest.raises(InputError, match="reinhard needs an image or a tile"):
        reference_of(tmp_path, REINHARD)


@pytest.mark.parametrize("method", METHODS)
def test_an_image_is_a_reference(method, tmp_path):
    Image.fromarray(tile()).save(tmp_path / "good.png")
    found = read_reference(reference_of(tmp_path, method, "good.png", tmp_path / "good.png"))
    # What is compared with it is measured in the same way: on tissue alone.
    pixels = tile().reshape(-1, 3)
    assert found == stain_fitting.fit(pixels[stain_fitting.is_tissue(pixels)], method=method)


def test_a_tile_is_a_reference_by_its_place(tmp_path):
    store = store_of(tmp_path)
    reference = "tile:c/S/2/0"
    found = read_reference(reference_of(tmp_path, reference=reference, path=store))
    with tiles.open_store(store) as opened:
        pixels = tiles.decode(opened.encoded(2)).reshape(-1, 3)
    assert found == stain_fitting.fit(pixels[stain_fitting.is_tissue(pixels)], method=MACENKO)
    assert json.loads((tmp_path / "stain_reference.json").read_text())["reference"] == reference
    with pytest.raises(InputError, match="one of 4 tiles with tissue on 4 columns and 1 rows of"):
        reference_of(tmp_path, reference="tile:c/S/7/0", path=store)


def test_a_large_image_is_read_in_part(tmp_path):
    Image.fromarray(np.tile(tile(), (8, 8, 1))).save(tmp_path / "large.png")
    made = reference_of(tmp_path, reference="large.png", path=tmp_path / "large.png")
    assert json.loads(made.read_text())["n_pixels"] <= stained_slides.PIXELS_OF_IMAGE


def test_a_reference_that_is_no_image_or_has_no_stain_is_refused_in_one_line(tmp_path):
    (tmp_path / "text.png").write_text("not an image")
    Image.new("RGB", (100, 100), "white").save(tmp_path / "white.png")
    Image.fromarray(tile().mean(axis=2).astype(np.uint8)).save(tmp_path / "grey.png")
    for name, said in (
        ("text.png", "text.png: expected an image"),
        ("absent.png", "absent.png: expected an image"),
        (
            "white.png",
            "white.png: nearly blank: 0 pixels are as dark as tissue, at least 1,000 are needed; choose another",
        ),
        ("grey.png", "grey.png: one stain: .*; choose another image or tile"),
    ):
        with pytest.raises(InputError, match=said) as raised:
            reference_of(tmp_path, reference=name, path=tmp_path / name)
        assert "\n" not in str(raised.value)
    assert not (tmp_path / "stain_reference.json").exists()


def test_a_file_that_is_no_reference_is_refused(tmp_path):
    for text in ("", "{}", '{"appearance": {"vectors": [[1, 2, 3]]}}'):
        (tmp_path / "r.json").write_text(text)
        with pytest.raises(InputError, match=r"r\.json: expected a stain reference"):
            read_reference(tmp_path / "r.json")


# One slide


@pytest.mark.parametrize("method", METHODS)
def test_a_slide_is_fitted_from_its_tiles_the_same_each_time(method, tmp_path):
    Image.fromarray(tile(seed=9)).save(tmp_path / "r.png")
    reference = reference_of(tmp_path, method, "r.png", tmp_path / "r.png")
    found = fit_slide(store_of(tmp_path), reference, method=method)
    assert not found.keeps_colours
    assert found.target == read_reference(reference)
    assert fit_slide(store_of(tmp_path), reference, method=method) == found
    if method != REINHARD:
        assert angle(found.source.vectors, VECTORS).max() < 6


def test_pixels_are_from_tissue_of_tiles_all_over_the_slide(tmp_path, monkeypatch):
    monkeypatch.setattr(stained_slides, "MOST_TILES", 3)
    images = np.stack([np.full((64, 64, 3), 60 + number, np.uint8) for number in range(20)])
    images[:, :16] = 245
    path = make_store(tmp_path / "S.h5", images, slide_id="S")
    with tiles.open_store(path) as store:
        pixels = stained_slides.pool_tissue(store)
        again = stained_slides.pool_tissue(store)
    np.testing.assert_array_equal(pixels, again)
    shades, counts = np.unique(pixels[:, 0], return_counts=True)
    # Three tiles, drawn by a hash and not the first, each with the tissue of a fifth of its pixels.
    assert len(shades) == 3
    assert shades.max() > 62
    assert pixels.max() < 100
    assert (np.abs(counts - 64 * 64 / 5 * 0.75) < 40).all()


def test_tiles_under_ink_are_pooled_only_where_there_are_no_others(tmp_path):
    images = np.stack([np.full((64, 64, 3), 60 + number, np.uint8) for number in range(4)])
    path = make_store(tmp_path / "S.h5", images, slide_id="S")
    for inked, shades in (([0, 2], {61, 63}), ([0, 1, 2, 3], {60, 61, 62, 63})):
        with h5py.File(path, "a") as file:
            file["quality/pen_green"][:] = [0.2 * (index in inked) for index in range(4)]
        with tiles.open_store(path) as store:
            assert set(stained_slides.pool_tissue(store)[:, 0].tolist()) == shades


@pytest.mark.parametrize("side", [16, 64, 128, 224, 512, 1024])
def test_few_pixels_of_a_tile_are_from_every_row_and_column_of_jpegs_blocks(side):
    places = np.stack([*np.indices((side, side)), np.zeros((side, side), int)], axis=-1)
    spread = stained_slides._spread(places, 1024)
    assert len(spread) <= 2 * 1024
    assert len(spread) >= min(side * side, 800)
    assert {row % 8 for row in spread[:, 0].tolist()} == {column % 8 for column in spread[:, 1].tolist()} == {*range(8)}


def test_a_slide_without_tiles_keeps_its_colours(tmp_path):
    found = fit_slide(store_of(tmp_path, 0), reference_of(tmp_path), method=MACENKO)
    assert (found.reason, found.source, found.n_pixels) == (NO_TILES, None, 0)


def test_a_grey_slide_keeps_its_colours(tmp_path):
    images = tile().mean(axis=2, keepdims=True).repeat(3, axis=2).astype(np.uint8)[None].repeat(2, axis=0)
    store = make_store(tmp_path / "S.h5", images, slide_id="S")
    found = fit_slide(store, reference_of(tmp_path), method=MACENKO)
    assert found.reason.startswith("one stain")


# Stores with recoloured tiles


def test_a_recoloured_store_has_the_recoloured_tiles_and_all_else_of_the_raw_one(tmp_path):
    raw = store_of(tmp_path, strength=0.8)
    found = fit_slide(raw, reference_of(tmp_path), method=MACENKO)
    for name in ("one", "two"):
        stained_slides.normalise_tiles(raw, tmp_path / f"{name}.h5", found, code_version="abc")
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    with tiles.open_store(raw) as before, tiles.open_store(tmp_path / "one.h5") as after:
        assert len(after) == len(before) == 4
        for index in range(4):
            expected = stains.recolour(tiles.decode(before.encoded(index)), found)
            stored = tiles.decode(after.encoded(index))
            np.testing.assert_array_equal(after.encoded(index), tiles.encode(Image.fromarray(expected), quality=90))
            # What JPEG loses.
            assert np.abs(stored.astype(int) - expected).mean() < 3
        for name in ("coords", "tissue"):
            np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
        np.testing.assert_array_equal(before.quality["dark"], after.quality["dark"])
        np.testing.assert_array_equal(before.dropped.coords, after.dropped.coords)
        assert before.dropped.pictures == after.dropped.pictures
        assert before.thumbnail == after.thumbnail
        more = {"stain": json.dumps(asdict(found), sort_keys=True), "stain_code_version": "abc"}
        assert after.attributes == before.attributes | more


def test_a_store_whose_colours_are_kept_has_its_tiles_to_the_byte(tmp_path):
    for name, n in (("full", 2), ("empty", 0)):
        raw = store_of(tmp_path, n, name=name)
        kept = stains.Normalisation(MACENKO, None, PUBLISHED, "weakly stained")
        stained_slides.normalise_tiles(raw, tmp_path / "new.h5", kept)
        with tiles.open_store(raw) as before, tiles.open_store(tmp_path / "new.h5") as after:
            assert len(after) == n
            for index in range(n):
                np.testing.assert_array_equal(before.encoded(index), after.encoded(index))


def test_a_real_slide_that_is_recoloured_is_near_the_reference(shared_data, tmp_path):
    settings = {"tile_px": 256, "mpp": 1.0, "max_background": 0.5, "background_rule": "saturation"}
    slide = shared_data / "slides" / "CMU-1-Small-Region.svs"
    tiles.tile_slide(slide, tmp_path / "S.h5", slide_id="S", **settings)
    found = fit_slide(tmp_path / "S.h5", reference_of(tmp_path), method=VAHADANE)
    assert not found.keeps_colours
    stained_slides.normalise_tiles(tmp_path / "S.h5", tmp_path / "new.h5", found)
    with tiles.open_store(tmp_path / "new.h5") as store:
        pixels = stained_slides.pool_tissue(store)
    # Fitted anew, it has vectors nearer to the reference's; on these its concentrations have nearly the reference's
    # maxima: a little more, because some of its pixels are now too light for tissue.
    again = stain_fitting.fit(pixels, method=VAHADANE)
    assert angle(again.vectors, VECTORS).max() < 6 < angle(found.source.vectors, VECTORS).max()
    absorbed = stains.absorbances(np, pixels.T.astype(float), method=VAHADANE)
    concentrations = stains.lasso(np, absorbed, VECTORS.ravel(), penalty=stains.PENALTY)
    np.testing.assert_allclose(np.percentile(concentrations, 99, axis=1), PUBLISHED.maxima, rtol=0.1)


# A cohort


def test_the_table_says_of_each_slide_what_was_found_and_why_colours_are_kept(tmp_path):
    reference = reference_of(tmp_path)
    slides = {
        "stained": fit_slide(store_of(tmp_path, name="stained"), reference, method=MACENKO),
        "weak": fit_slide(store_of(tmp_path, 16, name="weak", strength=0.3), reference, method=MACENKO),
        "blank": fit_slide(store_of(tmp_path, 0, name="blank"), reference, method=MACENKO),
    }
    table = stained_slides.list_stains(slides)
    assert table["slide_id"].tolist() == ["stained", "weak", "blank"]
    assert table["status"].tolist() == [NORMALISED, KEPT, NO_TILES]
    assert table["reason"].iloc[0] == ""
    assert table["reason"].iloc[1].startswith("weakly stained: ")
    assert tuple(table.columns[5:]) == stained_slides.STAIN_COLUMNS
    first = slides["stained"].source
    np.testing.assert_array_equal(table.iloc[0, 5:].astype(float), [*np.ravel(first.vectors), *first.maxima])
    # What was found of a weak slide is there to be looked at; of a blank one there is nothing.
    assert table.iloc[1, 5:].notna().all()
    assert table.iloc[2, 5:].isna().all()


def test_the_table_of_reinhard_has_means_and_deviations(tmp_path):
    Image.fromarray(tile()).save(tmp_path / "r.png")
    reference = reference_of(tmp_path, REINHARD, "r.png", tmp_path / "r.png")
    found = fit_slide(store_of(tmp_path), reference, method=REINHARD)
    table = stained_slides.list_stains({"S": found, "blank": stains.Normalisation(REINHARD, None, None, NO_TILES)})
    assert tuple(table.columns[5:]) == stained_slides.COLOUR_COLUMNS
    np.testing.assert_array_equal(table.iloc[0, 5:].astype(float), [*found.source.means, *found.source.deviations])


def test_many_tiles_of_a_slide_share_one_table_of_colours(tmp_path):
    raw = store_of(tmp_path)
    found = fit_slide(raw, reference_of(tmp_path), method=MACENKO)
    table = ColourTable(found)
    with tiles.open_store(raw) as store:
        for index in range(len(store)):
            pixels = tiles.decode(store.encoded(index))
            np.testing.assert_array_equal(table.recolour(pixels), stains.recolour(pixels, found))
