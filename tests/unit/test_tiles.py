"""Tiles lie on one lattice, hold tissue, and are stored whole and the same to the byte."""

import dataclasses
import io
import json
import logging
import math

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from stores import make_store

from workflow_scripts.lib import quality, slides, tiles
from workflow_scripts.lib.errors import InputError

BLANK = (243, 242, 244)
PINK = (222, 150, 190)
HALF = {"tile_px": 64, "mpp": 0.5, "max_background": 0.5, "background_rule": "saturation", "max_pen": 0.5}


def write_slide(path, image, *, mpp="0.5"):
    """Write a one-level JPEG file such as Aperio's scanners write; no `mpp`, no µm/px in it."""
    height, width = image.shape[:2]
    description = f"Aperio Image Library v12.0.0\r\n{width}x{height} (128x128) JPEG/RGB Q=90" + f"|MPP = {mpp}" * bool(
        mpp
    )
    tifffile.imwrite(
        path,
        image,
        tile=(128, 128),
        photometric="rgb",
        compression="jpeg",
        compressionargs={"level": 95},
        description=description,
        metadata=None,
    )
    return path


def stripes(width, height, *, pink_columns):
    """Return a blank slide, pink in the given columns of 64 px."""
    image = np.full((height, width, 3), BLANK, np.uint8)
    for column in pink_columns:
        image[:, column * 64 : (column + 1) * 64] = PINK
    return image


@pytest.fixture
def slide_path(tmp_path):
    """Five columns and three rows of 64 px, and a rest that is not a tile; columns 1 and 3 are pink."""
    return write_slide(tmp_path / "slide.svs", stripes(5 * 64 + 40, 3 * 64 + 63, pink_columns=[1, 3]))


def tile(path_to_slide, path_to_store, **changed):
    tiles.tile_slide(path_to_slide, path_to_store, **({"slide_id": "S"} | HALF | changed))
    return path_to_store


# The lattice

LATTICES = st.builds(
    tiles.lattice_of,
    width=st.integers(1, 200_000),
    height=st.integers(1, 200_000),
    slide_mpp=st.floats(0.1, 2.0),
    tile_px=st.integers(8, 1024),
    mpp=st.floats(0.1, 2.0),
)


@settings(max_examples=300, deadline=None)
@given(lattice=LATTICES, place=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_every_level0_pixel_of_the_lattice_belongs_to_one_tile(lattice, place):
    _, _, right, bottom = lattice.area_box(0, 0, lattice.columns, lattice.rows)
    if not lattice.columns or not lattice.rows:
        return
    # The middle of a pixel of level 0 within the lattice.
    x = min(math.floor(place[0] * right) + 0.5, right - 1e-6)
    y = min(math.floor(place[1] * bottom) + 0.5, bottom - 1e-6)
    side = lattice.tile_level0_px
    near = [(int(x / side) + dx, int(y / side) + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    boxes = {place: lattice.tile_box(*place) for place in near}
    owners = [place for place, box in boxes.items() if box[0] <= x < box[2] and box[1] <= y < box[3]]
    assert len(owners) == 1
    assert 0 <= owners[0][0] < lattice.columns
    assert 0 <= owners[0][1] < lattice.rows


@settings(max_examples=300, deadline=None)
@given(lattice=LATTICES, column=st.integers(0, 5000), row=st.integers(0, 5000))
def test_neighbouring_tiles_share_their_edge_exactly(lattice, column, row):
    left, top, right, bottom = lattice.tile_box(column, row)
    assert lattice.tile_box(column + 1, row)[0] == right
    assert lattice.tile_box(column, row + 1)[1] == bottom
    assert right - left == pytest.approx(lattice.tile_level0_px)
    assert bottom - top == pytest.approx(lattice.tile_level0_px)


@settings(max_examples=300, deadline=None)
@given(
    width=st.integers(1, 200_000),
    slide_mpp=st.floats(0.1, 2.0),
    tile_px=st.integers(8, 1024),
    mpp=st.floats(0.1, 2.0),
)
def test_a_lattice_holds_every_tile_that_fits_and_no_other(width, slide_mpp, tile_px, mpp):
    lattice = tiles.lattice_of(width=width, height=width, slide_mpp=slide_mpp, tile_px=tile_px, mpp=mpp)
    side = tile_px * mpp / slide_mpp
    assert lattice.columns == lattice.rows
    assert lattice.columns * side <= width + 1e-5 * side
    assert (lattice.columns + 1) * side > width


@pytest.mark.parametrize(
    ("width", "slide_mpp", "tile_px", "mpp", "columns", "side"),
    [
        (12288, 0.2525, 512, 0.5, 12, 1013.861386),
        (2525, 0.5, 224, 0.5, 11, 224.0),
        (2240, 0.5, 224, 0.5, 10, 224.0),
        (2239, 0.5, 224, 0.5, 9, 224.0),
        # 0.3 / 0.1 is a hair under 3 in binary: ten tiles of three pixels times 8 fit 240 all the same.
        (240, 0.1, 8, 0.3, 10, 24.0),
        (100, 0.5, 512, 0.5, 0, 512.0),
    ],
)
def test_a_lattice_by_hand(width, slide_mpp, tile_px, mpp, columns, side):
    lattice = tiles.lattice_of(width=width, height=width, slide_mpp=slide_mpp, tile_px=tile_px, mpp=mpp)
    assert lattice.columns == columns
    assert lattice.tile_level0_px == pytest.approx(side)


def test_a_lattice_without_size_is_refused():
    with pytest.raises(InputError, match="above 0"):
        tiles.lattice_of(width=10, height=10, slide_mpp=0.0, tile_px=8, mpp=0.5)


# Background


def halves(left, right, side=64):
    image = np.empty((side, side, 3), np.uint8)
    image[:, : side // 2] = left
    image[:, side // 2 :] = right
    return image


@pytest.mark.parametrize(
    ("colour", "tissue"),
    [
        (PINK, 1.0),
        ((120, 70, 140), 1.0),  # nuclei
        ((236, 220, 230), 1.0),  # weakly stained stroma
        ((60, 60, 60), 1.0),  # dark and grey: not glass, whatever it is
        (BLANK, 0.0),
        ((229, 224, 228), 0.0),  # the glass of camelyon_multiframe_level.dcm
        ((190, 190, 190), 0.0),  # the shade of a scanner's badly lit corner
        ((255, 255, 255), 0.0),
        ((0, 0, 0), 0.0),  # never scanned
    ],
)
def test_tissue_by_colour(colour, tissue):
    assert tiles.tissue_by_saturation(Image.new("RGB", (64, 64), colour), mpp=0.5) == tissue


def test_a_pixel_is_background_when_it_is_pale_and_grey_or_black():
    largest, smallest = (values.ravel() for values in np.mgrid[:256, :256])
    for high, low in zip(largest[::7].tolist(), smallest[::7].tolist(), strict=True):
        if low <= high:
            pale_and_grey = high >= 180 and np.float32(high - low) < np.float32(0.05) * np.float32(high)
            tile = Image.new("RGB", (8, 8), (high, low, high))
            assert tiles.tissue_by_saturation(tile, mpp=2.0) == (not (pale_and_grey or high <= 10))


def test_noise_on_glass_is_not_tissue():
    noise = np.random.default_rng(1).normal(BLANK, 6, (512, 512, 3)).clip(0, 255).astype(np.uint8)
    assert tiles.tissue_by_saturation(Image.fromarray(noise), mpp=0.5) < 0.01


@pytest.mark.parametrize("mpp", [0.1, 0.25, 0.5, 1.0, 2.0])
def test_the_share_of_tissue_is_a_share_of_area_at_any_mpp(mpp):
    assert tiles.tissue_by_saturation(Image.fromarray(halves(PINK, BLANK)), mpp=mpp) == pytest.approx(0.5)


def test_a_tile_of_exactly_half_background_is_kept():
    # Paper: "Tiles with more than 50% background were removed".
    rule = tiles.BACKGROUND_RULES["saturation"]
    assert rule.keeps(0.5, max_background=0.5)
    assert not rule.keeps(0.4999, max_background=0.5)


def test_channel_220_counts_values_and_drops_half():
    # Pink (230, 100, 230) has two of three channels above 220; 220 itself is not above.
    rule = tiles.BACKGROUND_RULES["channel_220"]
    assert rule.tissue(Image.new("RGB", (8, 8), (230, 100, 230)), mpp=0.5) == pytest.approx(1 / 3)
    assert rule.tissue(Image.new("RGB", (8, 8), (220, 220, 220)), mpp=0.5) == 1.0
    assert rule.tissue(Image.fromarray(halves((255, 255, 255), (0, 0, 0))), mpp=0.5) == 0.5
    assert not rule.keeps(0.5, max_background=0.5)
    assert rule.keeps(0.5001, max_background=0.5)


# Sharpness and encoding


@pytest.mark.parametrize("size", [(64, 64), (113, 57)])
@pytest.mark.parametrize("quality", [1, 60, 90, 100])
def test_a_tile_is_encoded_as_pillow_encodes_it(size, quality):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize(size)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    assert tiles.encode(image, quality=quality).tobytes() == buffer.getvalue()


def test_an_encoded_tile_keeps_its_colour_at_full_resolution():
    # Red and blue columns in turn would become purple with colour at half resolution.
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, ::2, 0] = 200
    image[:, 1::2, 2] = 200
    encoded = tiles.encode(Image.fromarray(image), quality=95)
    assert encoded.dtype == np.uint8
    assert encoded.ndim == 1
    assert np.abs(tiles.decode(encoded).astype(int) - image).mean() < 10
    assert np.array_equal(tiles.decode(encoded), tiles.decode(encoded.tobytes()))


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_a_tile_is_decoded_as_pillow_decodes_it(subsampling):
    coarse = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((100, 100), Image.Resampling.BICUBIC).save(
        buffer, "JPEG", quality=90, subsampling=subsampling
    )
    into = np.zeros((100, 100, 3), np.uint8)
    assert np.array_equal(tiles.decode(buffer.getvalue(), into=into), np.asarray(Image.open(buffer)))
    assert np.array_equal(tiles.decode(buffer.getvalue()), into)


@pytest.mark.parametrize("positions", [[3], [0, 1, 2, 3, 4], [4, 1, 1, 0], [2, 4], []])
def test_tiles_are_read_in_the_order_in_which_they_are_asked_for(tmp_path, positions):
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    with tiles.open_store(make_store(tmp_path / "s.h5", images, slide_id="s")) as store:
        found = np.zeros((len(positions), 16, 16, 3), np.uint8)
        store.read(positions, found)
        for pixels, position in zip(found, positions, strict=True):
            assert np.array_equal(pixels, tiles.decode(store.encoded(position)))


def test_a_damaged_tile_and_one_of_another_size_are_named(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    path = make_store(tmp_path / "s.h5", images, slide_id="s")
    with h5py.File(path, "a") as file:
        file["tiles"][1] = file["tiles"][1][:-100]
    with tiles.open_store(path) as store:
        with pytest.raises(InputError, match=r"s\.h5: tile 1 is not a JPEG of 16 x 16 px \(.*\); tile the slide again"):
            store.read([0, 1], np.zeros((2, 16, 16, 3), np.uint8))
        for px in (8, 32):
            with pytest.raises(InputError, match=rf"tile 2 is not a JPEG of {px} x {px} px \(.*16.*\)"):
                store.read([2], np.zeros((1, px, px, 3), np.uint8))


# Tiling


def test_tiles_with_tissue_are_stored_at_their_place(slide_path, tmp_path):
    with tiles.open_store(tile(slide_path, tmp_path / "S.h5")) as store:
        assert store.coords.dtype == np.int32
        assert store.coords.tolist() == [[1, 0], [3, 0], [1, 1], [3, 1], [1, 2], [3, 2]]
        assert len(store) == 6
        assert store.tissue == pytest.approx(np.ones(6), abs=0.05)
        assert store.tissue.dtype == np.float32
        assert {name: values.dtype for name, values in store.quality.items()} == dict.fromkeys(
            quality.MEASURES, np.float32
        )
        assert {len(values) for values in store.quality.values()} == {6}
        assert (store.n_dropped, store.dropped.coords.shape, store.dropped.pictures) == (0, (0, 2), {})
        for index in range(6):
            pixels = tiles.decode(store.encoded(index))
            assert pixels.shape == (64, 64, 3)
            assert np.abs(pixels[8:-8, 8:-8].astype(int) - PINK).max() < 8


def test_a_store_says_what_made_it(slide_path, tmp_path):
    attributes = tiles.read_summary(tile(slide_path, tmp_path / "S.h5", code_version="v7"))
    made = json.loads(attributes.pop("settings"))
    assert attributes == {
        "slide_id": "S",
        "status": "accepted",
        "reason": "",
        "columns": 5,
        "rows": 3,
        "tile_px": 64,
        "mpp": 0.5,
        "slide_mpp": 0.5,
        "mpp_source": "slide",
        "tile_level0_px": 64.0,
        "width": 360,
        "height": 255,
        "code_version": "v7",
        "n_tiles": 6,
        "n_dropped": 0,
    }
    assert (made["max_pen"], made["max_dark"], made["min_sharpness"]) == (0.5, None, None)
    assert made["background_rule"] == "saturation"
    assert made["max_background"] == 0.5
    assert {type(value) for value in attributes.values()} == {str, int, float}


def test_a_slide_may_be_tiled_at_its_own_resolution(tmp_path):
    image = np.full((200, 300, 3), PINK, np.uint8)
    stores = [
        tile(write_slide(tmp_path / f"{mpp}.tiff", image, mpp=mpp), tmp_path / f"{mpp}.h5", mpp="native")
        for mpp in ("0.243", "0.226")
    ]
    for store, mpp in zip(map(tiles.read_summary, stores), (0.243, 0.226), strict=True):
        assert (store["mpp"], store["slide_mpp"], store["tile_level0_px"]) == (mpp, mpp, 64)
        assert (store["columns"], store["rows"], store["n_tiles"]) == (4, 3, 12)
        # Tiles of both belong together, though their µm/px differ.
        assert tiles.asked_mpp(store) == "native"
    assert tiles.asked_mpp(tiles.read_summary(tile(tmp_path / "0.243.tiff", tmp_path / "half.h5"))) == 0.5


def test_a_slide_without_a_resolution_has_none_of_its_own(tmp_path):
    image = np.full((200, 300, 3), PINK, np.uint8)
    store = tiles.read_summary(tile(write_slide(tmp_path / "s.tiff", image, mpp=None), tmp_path / "s.h5", mpp="native"))
    assert (store["status"], tiles.asked_mpp(store)) == ("excluded", "native")
    assert np.isnan(store["mpp"])


def test_a_thumbnail_shows_the_whole_slide(slide_path, tmp_path):
    with (
        tiles.open_store(tile(slide_path, tmp_path / "S.h5")) as store,
        Image.open(io.BytesIO(store.thumbnail)) as image,
    ):
        assert image.size == (360, 255)
        assert np.abs(np.asarray(image)[10, 96].astype(int) - PINK).max() < 8


def test_the_same_slide_and_settings_make_the_same_bytes(slide_path, tmp_path):
    assert tile(slide_path, tmp_path / "a.h5").read_bytes() == tile(slide_path, tmp_path / "b.h5").read_bytes()


def test_the_share_of_background_decides(slide_path, tmp_path):
    # Tiles of 128 px from column 0: blank and pink, blank and pink.
    assert tiles.read_summary(tile(slide_path, tmp_path / "a.h5", tile_px=128, max_background=0.6))["n_tiles"] == 2
    assert tiles.read_summary(tile(slide_path, tmp_path / "b.h5", tile_px=128, max_background=0.4))["n_tiles"] == 0
    assert tiles.read_summary(tile(slide_path, tmp_path / "c.h5", max_background=1.0))["n_tiles"] == 15


def test_tiles_at_half_the_resolution_cover_twice_the_slide(slide_path, tmp_path):
    store = tile(slide_path, tmp_path / "S.h5", mpp=1.0, max_background=1.0)
    with tiles.open_store(store) as store:
        assert (store.attributes["columns"], store.attributes["rows"]) == (2, 1)
        assert store.attributes["tile_level0_px"] == 128.0
        # The right half of each is pink.
        pixels = tiles.decode(store.encoded(0)).astype(int)
        assert np.abs(pixels[:, 40:] - PINK).max() < 8
        assert np.abs(pixels[:, :24] - BLANK).max() < 8


def test_a_tile_alone_and_in_its_row_are_the_same_but_for_rounding(tmp_path):
    coarse = np.random.default_rng(3).integers(0, 256, (60, 60, 3)).astype(np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize((900, 700), Image.Resampling.BICUBIC))
    path = write_slide(tmp_path / "slide.svs", image, mpp="0.2525")
    lattice = tiles.lattice_of(width=900, height=700, slide_mpp=0.2525, tile_px=64, mpp=0.5)
    keep_all = {"background_rule": "saturation", "max_background": 1.0, "jpeg_quality": 100, "mpp_tolerance": 0.02}
    keep_all |= dict.fromkeys(tiles.LIMITS)
    with slides.open_slide(path) as slide:
        for row, strip in enumerate(tiles.cut_strips(slide, lattice, keep_all)):
            assert [(tile.column, tile.row) for tile in strip] == [(column, row) for column in range(lattice.columns)]
            for tile in strip:
                alone = np.asarray(slides.read_area(slide, lattice.tile_box(tile.column, row), (64, 64)))
                assert np.abs(tiles.decode(tile.encoded).astype(int) - alone).mean() < 1


def test_a_blank_slide_is_accepted_with_no_tiles(tmp_path):
    noise = np.random.default_rng(4).normal(BLANK, 3, (300, 300, 3)).clip(0, 255).astype(np.uint8)
    summary = tiles.read_summary(tile(write_slide(tmp_path / "a.svs", noise), tmp_path / "S.h5"))
    assert (summary["status"], summary["n_tiles"], summary["columns"]) == ("accepted", 0, 4)
    assert summary["reason"] == "blank: none of 16 tiles holds enough tissue"


def test_a_slide_smaller_than_a_tile_is_accepted_with_no_tiles(slide_path, tmp_path):
    summary = tiles.read_summary(tile(slide_path, tmp_path / "S.h5", tile_px=512))
    assert (summary["status"], summary["n_tiles"], summary["columns"], summary["rows"]) == ("accepted", 0, 0, 0)
    assert summary["reason"] == "smaller than one tile"


@pytest.mark.parametrize(
    ("kept", "dropped", "said"),
    [
        (0, 0, "blank: none of 1000 tiles holds enough tissue"),
        (9, 0, "nearly blank: 9 of 1000 tiles hold enough tissue"),
        (5, 4, "nearly blank: 9 of 1000 tiles hold enough tissue"),
        (10, 0, ""),
        (1, 9, ""),
        (0, 400, "no tile left: quality drops all of 400 with tissue"),
    ],
)
def test_a_slide_that_gives_next_to_no_tile_is_remarked_on(kept, dropped, said):
    lattice = tiles.lattice_of(width=1000, height=640, slide_mpp=0.5, tile_px=16, mpp=0.5)
    lattice = dataclasses.replace(lattice, columns=40, rows=25)
    assert tiles.remark(lattice, kept=kept, dropped=dropped) == said


# Quality


@pytest.fixture
def marked_path(tmp_path):
    """The pink columns 1 and 3 of three rows, with green ink over all of column 3 but its last tile."""
    image = stripes(5 * 64 + 40, 3 * 64 + 63, pink_columns=[1, 3])
    image[:128, 3 * 64 : 4 * 64] = (30, 100, 95)
    return write_slide(tmp_path / "marked.svs", image)


def test_tiles_dropped_by_quality_are_listed_with_place_reason_measures_and_picture(marked_path, tmp_path):
    with tiles.open_store(tile(marked_path, tmp_path / "S.h5")) as store:
        assert store.coords.tolist() == [[1, 0], [1, 1], [1, 2], [3, 2]]
        assert len(store) == 4
        dropped = store.dropped
        assert dropped.coords.tolist() == [[3, 0], [3, 1]]
        assert dropped.reason.tolist() == ["pen", "pen"]
        assert dropped.quality["pen_green"].min() > 0.9
        assert store.quality["pen_green"].max() == 0
        assert sorted(dropped.pictures) == [0, 1]
        picture = tiles.decode(dropped.pictures[1])
        assert picture.shape == (64, 64, 3)
        assert np.abs(picture[8:-8, 8:-8].astype(int) - (30, 100, 95)).max() < 12


def test_without_limits_everything_is_measured_and_nothing_is_dropped(marked_path, tmp_path):
    with tiles.open_store(tile(marked_path, tmp_path / "S.h5", max_pen=None)) as store:
        assert (len(store), store.n_dropped) == (6, 0)
        assert store.quality["pen_green"][[1, 3]].min() > 0.9


def test_each_limit_drops_tiles_for_its_own_reason(marked_path, tmp_path):
    blurred = tile(marked_path, tmp_path / "a.h5", max_pen=None, min_sharpness=1e6)
    dark = tile(marked_path, tmp_path / "b.h5", max_pen=None, max_dark=0.5)
    with tiles.open_store(blurred) as store:
        assert set(store.dropped.reason.tolist()) == {"blur"}
        assert store.attributes["reason"] == "no tile left: quality drops all of 6 with tissue"
    with tiles.open_store(dark) as store:
        assert store.dropped.reason.tolist() == ["dark", "dark"]


def test_pictures_of_dropped_tiles_are_few_and_from_all_over_the_slide(tmp_path):
    path = write_slide(tmp_path / "slide.svs", stripes(640, 640, pink_columns=range(10)))
    with tiles.open_store(tile(path, tmp_path / "S.h5", min_sharpness=1e6)) as store:
        assert (store.n_dropped, len(store.dropped.pictures)) == (100, tiles.MOST_PICTURES)
        rows = store.dropped.coords[list(store.dropped.pictures), 1]
        assert rows.min() <= 2
        assert rows.max() >= 7


def test_a_store_with_dropped_tiles_is_the_same_to_the_byte(marked_path, tmp_path):
    assert tile(marked_path, tmp_path / "a.h5").read_bytes() == tile(marked_path, tmp_path / "b.h5").read_bytes()


def test_the_log_says_what_and_how_many_and_how_fast(slide_path, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        tile(slide_path, tmp_path / "S.h5")
    assert "slide S: 6 of 15 tiles kept" in caplog.text
    assert "tiles/s" in caplog.text


# Excluded


def spoil_tile(path, number):
    """Overwrite one of the file's tiles with zeros, as a download that was interrupted and pre-allocated leaves it."""
    with tifffile.TiffFile(path) as tiff:
        start, length = tiff.pages[0].dataoffsets[number], tiff.pages[0].databytecounts[number]
    content = bytearray(path.read_bytes())
    content[start : start + length] = bytes(length)
    path.write_bytes(content)


def excluded(store):
    with tiles.open_store(store) as opened:
        assert len(opened) == 0
        assert opened.coords.shape == (0, 2)
        assert opened.attributes["status"] == "excluded"
        return opened.attributes["reason"]


def test_an_absent_slide_gets_a_store_with_the_reason(tmp_path):
    assert excluded(tile(None, tmp_path / "a.h5")) == "file not found"
    assert excluded(tile(tmp_path / "none.svs", tmp_path / "b.h5")) == "file not found"


def test_a_slide_that_fails_to_be_read_in_the_middle_leaves_no_tile(tmp_path, caplog):
    # 9 x 9 of the file's tiles: number 12 is in the second row, out of sight of the inspection.
    path = write_slide(tmp_path / "slide.svs", stripes(1152, 1152, pink_columns=range(18)))
    assert tiles.read_summary(tile(path, tmp_path / "whole.h5"))["n_tiles"] == 324
    spoil_tile(path, 12)
    slides.inspect_slide(path, target_mpp=0.5)
    reason = excluded(tile(path, tmp_path / "spoilt.h5"))
    assert reason.startswith("cannot be read (level 0, ")
    assert "slide S: excluded: cannot be read" in caplog.text
    assert list(tmp_path.glob(".*")) == []


def test_an_excluded_slide_keeps_what_is_known(tmp_path):
    path = write_slide(tmp_path / "slide.svs", stripes(300, 200, pink_columns=[1]), mpp="0.9")
    with tiles.open_store(tile(path, tmp_path / "S.h5")) as store:
        assert store.attributes["reason"] == "finest level has 0.9 µm/px, coarser than the target 0.5 µm/px"
        assert (store.attributes["width"], store.attributes["slide_mpp"]) == (300, 0.9)
        assert Image.open(io.BytesIO(store.thumbnail)).size == (300, 200)


def test_the_row_of_a_slide(slide_path, tmp_path):
    assert tiles.slide_row(tile(slide_path, tmp_path / "a.h5")) == {
        "slide_id": "S",
        "mpp": 0.5,
        "source": "slide",
        "status": "accepted",
        "reason": "",
        "n_tiles": 6,
        "n_dropped": 0,
    }
    assert tiles.slide_row(tile(None, tmp_path / "b.h5")) == {
        "slide_id": "S",
        "mpp": None,
        "source": "",
        "status": "excluded",
        "reason": "file not found",
        "n_tiles": 0,
        "n_dropped": 0,
    }


def test_a_configured_mpp_is_used_and_named(tmp_path):
    path = write_slide(tmp_path / "slide.svs", stripes(360, 255, pink_columns=[1, 3]), mpp="")
    assert excluded(tile(path, tmp_path / "a.h5")) == "no µm/px in the file and none configured"
    row = tiles.slide_row(tile(path, tmp_path / "b.h5", configured_mpp=0.5))
    assert (row["mpp"], row["source"], row["n_tiles"]) == (0.5, "configuration", 6)


# What is not accepted


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"background_rule": "otsu"}, "background rule 'otsu': expected one of saturation, channel_220"),
        ({"max_background": 50}, "max_background: found 50, expected 0 to 1"),
        ({"tile_px": 0}, "tile_px: found 0"),
        ({"mpp": 20.5}, "mpp: found 20.5"),
        ({"jpeg_quality": 0}, "jpeg_quality: found 0"),
        ({"max_pen": 50}, "max_pen: found 50, expected 0 to 1"),
        ({"min_sharpness": -1}, "min_sharpness: found -1"),
    ],
)
def test_settings_out_of_range_are_refused_and_leave_nothing(slide_path, tmp_path, changed, message):
    with pytest.raises(InputError, match=message):
        tile(slide_path, tmp_path / "out" / "S.h5", **changed)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_a_store_is_refused(tmp_path):
    (tmp_path / "a.h5").write_text("text")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["coords"] = np.zeros((0, 2))
    for name, message in (
        ("a.h5", "not a readable tile store"),
        ("b.h5", "dropped, quality, thumbnail, tiles, tissue missing"),
    ):
        with pytest.raises(InputError, match=message), tiles.open_store(tmp_path / name):
            pass


def test_opening_a_store_reads_nothing_but_what_is_asked_for(slide_path, tmp_path, monkeypatch):
    path = tile(slide_path, tmp_path / "S.h5")
    read = []
    plain = h5py.Dataset.__getitem__
    monkeypatch.setattr(
        h5py.Dataset, "__getitem__", lambda self, *key, **named: read.append(self.name) or plain(self, *key, **named)
    )
    with tiles.open_store(path) as store:
        assert len(store) == 6
        store.encoded(2)
        assert read == ["/tiles"]
        assert store.coords is store.coords
        assert read == ["/tiles", "/coords"]


def test_a_store_can_be_read_while_another_process_has_it_open(slide_path, tmp_path):
    path = tile(slide_path, tmp_path / "S.h5")
    with tiles.open_store(path) as one, tiles.open_store(path) as two:
        assert np.array_equal(one.encoded(3), two.encoded(3))
