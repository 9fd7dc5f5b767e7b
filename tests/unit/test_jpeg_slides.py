"""Tiles of the file, decoded at a reduced size, show what OpenSlide shows; everything else is left to OpenSlide."""

import io
import logging

import imagecodecs
import numpy as np
import pytest
import simplejpeg
import tifffile
from damage import COUNTS, OFFSETS, PHOTOMETRIC, levels_of, overwritten
from PIL import Image

from workflow_scripts.lib import integrity, jpeg_slides, slides, tiles
from workflow_scripts.lib.slides import SlideRefused

ABOUT = "Aperio Image Library v12.0.0\r\n{}x{} ({}x{}) JPEG/RGB Q=90|MPP = {}"
SUBSAMPLINGS = {"444": (1, 1), "422": (2, 1), "420": (2, 2)}
# Markers of a JPEG's quantisation and Huffman tables.
TABLES = (0xDB, 0xC4)


def rough_image(width, height, seed=1):
    """Return an image as tissue is: light and dark within 6 px, with grain, and hues that change within 40."""
    random = np.random.default_rng(seed)

    def smooth(detail, low, high):
        coarse = random.integers(low, high, (height // detail + 2, width // detail + 2, 3)).astype(np.uint8)
        return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(float)

    light = smooth(6, 80, 255)[..., :1] / 255 + random.normal(0, 0.02, (height, width, 1))
    return (smooth(40, 120, 250) * light).clip(0, 255).astype(np.uint8)


def write_svs(path, image, *, mpp=0.25, chroma="422", tile=(240, 240), reductions=(), shared=False, colours="YCbCr"):
    """Write an Aperio file of JPEG tiles.

    shared: whether the tiles share their tables. colours: what the channels are; the directory alone says it.
    """
    with tifffile.TiffWriter(path) as tiff:
        for reduction in (1, *reductions):
            level = np.asarray(Image.fromarray(image).reduce(reduction)) if reduction > 1 else image
            height, width = level.shape[:2]
            encoded = own_tiles(level, tile, chroma, colours)
            tables = None
            if shared:
                tables = (
                    b"\xff\xd8" + b"".join(part for part in segments(encoded[0]) if part[1] in TABLES) + b"\xff\xd9"
                )
                encoded = [without(part, TABLES) for part in encoded]
            tiff.write(
                iter(encoded),
                shape=level.shape,
                dtype=np.uint8,
                tile=tile[::-1],
                photometric="rgb",
                compression="jpeg",
                subsampling=SUBSAMPLINGS[chroma],
                jpegtables=tables,
                description=ABOUT.format(width, height, *tile, mpp),
                metadata=None,
            )
    if colours == "RGB":
        content = path.read_bytes()
        for level in levels_of(content):
            content = overwritten(content, level.tags[PHOTOMETRIC].value, b"\2")
        path.write_bytes(content)
    return path


def own_tiles(level, tile, chroma, colours="YCbCr"):
    """Return the tiles of a level as whole JPEGs, each with its tables, and without a word on what its channels are."""
    height, width = level.shape[:2]
    encoded = []
    for top in range(0, height, tile[1]):
        for left in range(0, width, tile[0]):
            part = level[top : top + tile[1], left : left + tile[0]]
            missing = ((0, tile[1] - part.shape[0]), (0, tile[0] - part.shape[1]), (0, 0))
            part = np.ascontiguousarray(np.pad(part, missing, mode="edge"))
            # Channels that are encoded as they come are RGB, whatever the encoder thinks.
            keywords = {"colorspace": "YCbCr", "outcolorspace": "YCbCr"} if colours == "RGB" else {"colorspace": "RGB"}
            whole = imagecodecs.jpeg8_encode(part, level=90, subsampling=chroma, **keywords)
            encoded.append(without(whole, (0xE0, 0xEE)))
    return encoded


def segments(encoded):
    """Return the segments of a JPEG's head, and the rest."""
    parts, start = [], 2
    while encoded[start + 1] != 0xDA:
        end = start + 2 + int.from_bytes(encoded[start + 2 : start + 4], "big")
        parts.append(encoded[start:end])
        start = end
    return [*parts, encoded[start:]]


def without(encoded, markers):
    """Return a JPEG without the segments of some markers."""
    return encoded[:2] + b"".join(part for part in segments(encoded) if part[1] not in markers)


def lattice_of(slide, *, slide_mpp, mpp, tile_px=64):
    width, height = slide.level_dimensions[0]
    return tiles.lattice_of(width=width, height=height, slide_mpp=slide_mpp, tile_px=tile_px, mpp=mpp)


def all_tiles(level, lattice, *, threads=2):
    """Return the pixels of every tile of a lattice, by column and row."""
    places = [(column, row) for row in range(lattice.rows) for column in range(lattice.columns)]
    boxes = np.array([lattice.tile_box(*place) for place in places])
    sizes = np.full((len(places), 2), lattice.tile_px)
    images = jpeg_slides.read_areas(level, boxes, sizes, lambda _, image: np.asarray(image), threads=threads)
    return dict(zip(places, images, strict=True))


def averaged(slide, level, box, size):
    """Return what OpenSlide shows of a box, averaged by the decoder's whole factor and then resampled by the filter.

    The oracle: every pixel of level 0 comes from OpenSlide, and what remains to resample is what `read_areas` has.
    """
    factor = 8 // level.eighths
    margin = 8
    corner = [max(0, int(edge / level.pixel) - margin) for edge in box[:2]]
    ends = [min(int(edge / level.pixel) + margin, most) for edge, most in zip(box[2:], level.size, strict=True)]
    side = [(end - start) * factor for start, end in zip(corner, ends, strict=True)]
    start = tuple(round(edge * factor * slide.level_downsamples[level.number]) for edge in corner)
    shown = slide.read_region(start, level.number, side).convert("RGB")
    small = shown.reduce(factor) if factor > 1 else shown
    inside = tuple(edge / level.pixel - corner[number % 2] for number, edge in enumerate(box))
    return np.asarray(small.resize(size, slides.FILTER, box=inside))


def mean_difference(slide, level, lattice):
    """Return the mean over the tiles of a lattice of the difference from the oracle, in grey levels."""
    found = all_tiles(level, lattice)
    size = (lattice.tile_px, lattice.tile_px)
    return np.mean(
        [
            np.abs(pixels.astype(int) - averaged(slide, level, lattice.tile_box(*place), size)).mean()
            for place, pixels in found.items()
        ]
    )


# What OpenSlide shows

SHAPES = [
    {"chroma": "444"},
    {"chroma": "422"},
    {"chroma": "420"},
    {"chroma": "444", "colours": "RGB"},
    {"chroma": "444", "colours": "RGB", "shared": True},
    {"chroma": "420", "shared": True},
    {"chroma": "422", "shared": True},
    {"tile": (256, 128)},
    {"tile": (80, 48)},
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
@pytest.mark.parametrize(("mpp", "eighths"), [(0.25, 8), (0.33, 8), (0.495, 4), (0.52, 4), (1.0, 2), (2.3, 1)])
def test_tiles_are_those_of_openslide_at_every_size_of_decoding(shape, mpp, eighths, tmp_path):
    path = write_svs(tmp_path / "slide.svs", rough_image(1003, 741), **shape)
    with slides.open_slide(path) as slide:
        lattice = lattice_of(slide, slide_mpp=0.25, mpp=mpp, tile_px=32)
        level = jpeg_slides.find_level(path, slide, mpp / 0.25)
        # Chroma of half the width would smear when it is made smaller still.
        least = 4 if shape.get("chroma", "422") == "422" else 1
        assert (level.number, level.eighths) == (0, max(least, eighths))
        assert mean_difference(slide, level, lattice) < 1


def test_at_full_size_tiles_are_those_of_openslide_to_the_byte(tmp_path):
    path = write_svs(tmp_path / "slide.svs", rough_image(700, 500), chroma="420")
    with slides.open_slide(path) as slide:
        lattice = lattice_of(slide, slide_mpp=0.25, mpp=0.25)
        level = jpeg_slides.find_level(path, slide, 1.0)
        for place, pixels in all_tiles(level, lattice).items():
            box = lattice.tile_box(*place)
            assert np.array_equal(pixels, np.asarray(slides.read_area(slide, box, (64, 64))))


def test_an_area_is_what_pillow_makes_of_its_pixels_up_to_the_last(tmp_path):
    path = write_svs(tmp_path / "slide.svs", rough_image(701, 503), chroma="444")
    generator = np.random.default_rng(3)
    near = generator.uniform(0, 400, (60, 2))
    # The last pixel is where a sum of fractions may come out past the edge.
    far = np.where(generator.random((60, 1)) < 0.5, (701, 503), near + generator.uniform(30, 100, (60, 2)))
    sizes = generator.integers(20, 90, (60, 2))
    boxes = np.concatenate([near, far], axis=1)
    with slides.open_slide(path) as slide:
        level = jpeg_slides.find_level(path, slide, 1.0)
        whole = slide.read_region((0, 0), 0, (701, 503)).convert("RGB")
    areas = jpeg_slides.read_areas(level, boxes, sizes, lambda _, image: np.asarray(image).astype(int), threads=2)
    for box, size, area in zip(boxes, sizes, areas, strict=True):
        expected = np.asarray(whole.resize(tuple(size.tolist()), slides.FILTER, box=tuple(box)))
        assert np.abs(area - expected).mean() < 0.5


def test_channels_that_the_directory_alone_says_are_rgb_keep_their_colours(tmp_path):
    image = np.full((480, 480, 3), (200, 60, 120), np.uint8)
    path = write_svs(tmp_path / "slide.svs", image, chroma="444", colours="RGB")
    (level_0,) = integrity.tiled_images(path)
    assert level_0.colours == "RGB"
    with slides.open_slide(path) as slide:
        level = jpeg_slides.find_level(path, slide, 2.0)
        (found,) = jpeg_slides.read_areas(
            level, np.array([[0, 0, 480, 480]]), np.array([[240, 240]]), lambda _, image: np.asarray(image), threads=1
        )
    assert np.abs(found.astype(int) - (200, 60, 120)).max() <= 2


def test_the_coarser_level_is_read_where_there_is_one(tmp_path):
    path = write_svs(tmp_path / "slide.svs", rough_image(1600, 1200), reductions=(4,), chroma="420")
    with slides.open_slide(path) as slide:
        for mpp, expected in ((0.5, (0, 4)), (1.0, (1, 8)), (2.0, (1, 4))):
            level = jpeg_slides.find_level(path, slide, mpp / 0.25)
            assert (level.number, level.eighths) == expected
            assert mean_difference(slide, level, lattice_of(slide, slide_mpp=0.25, mpp=mpp, tile_px=32)) < 1


@pytest.mark.parametrize(("tolerance", "eighths"), [(0.0, 8), (0.009, 8), (0.011, 4), (0.02, 4)])
def test_the_tolerance_says_how_coarse_what_is_read_may_be(tolerance, eighths, tmp_path):
    path = write_svs(tmp_path / "slide.svs", rough_image(480, 480), mpp=0.2525)
    with slides.open_slide(path) as slide:
        assert jpeg_slides.find_level(path, slide, 0.5 / 0.2525, tolerance=tolerance).eighths == eighths


def test_an_edge_of_the_slide_is_repeated_and_what_fills_its_last_tiles_is_not_seen(tmp_path):
    # 500 × 380 px in tiles of 240 px: what lies past the edge is black in the file.
    image = np.zeros((480, 720, 3), np.uint8)
    image[:380, :500] = 200
    encoded = own_tiles(image, (240, 240), "444")
    with tifffile.TiffWriter(tmp_path / "slide.svs") as tiff:
        about = ABOUT.format(500, 380, 240, 240, 0.25)
        jpeg = {"photometric": "rgb", "compression": "jpeg", "subsampling": (1, 1), "metadata": None}
        tiff.write(iter(encoded), shape=(380, 500, 3), dtype=np.uint8, tile=(240, 240), description=about, **jpeg)
    with slides.open_slide(tmp_path / "slide.svs") as slide:
        level = jpeg_slides.find_level(tmp_path / "slide.svs", slide, 1.0)
        (found,) = jpeg_slides.read_areas(
            level, np.array([[400, 280, 520, 400]]), np.array([[120, 120]]), lambda _, tile: np.asarray(tile), threads=1
        )
    # The JPEG's squares of 8 px hold both sides of the edge: 500 px are 62.5 squares.
    assert (found[:90, :90] == 200).all()
    assert np.abs(found.astype(int) - 200).max() <= 12


# Threads


def tile_slide(path, store, **changed):
    asked = {"tile_px": 64, "mpp": 0.5, "max_background": 0.5, "background_rule": "saturation"}
    tiles.tile_slide(path, store, slide_id="S", **(asked | changed))
    return store


@pytest.mark.parametrize("reductions", [(), (4,)])
def test_the_store_is_the_same_to_the_byte_whatever_the_threads(reductions, tmp_path):
    image = rough_image(1300, 900)
    image[:, 400:900] = 243
    path = write_svs(tmp_path / "slide.svs", image, reductions=reductions)
    stores = [tile_slide(path, tmp_path / f"{threads}.h5", threads=threads).read_bytes() for threads in (1, 2, 5)]
    assert stores[0] == stores[1] == stores[2]


def test_no_tile_of_the_file_is_decoded_twice(tmp_path, monkeypatch):
    path = write_svs(tmp_path / "slide.svs", rough_image(1300, 900))
    decoded = counted(monkeypatch)
    with slides.open_slide(path) as slide:
        level = jpeg_slides.find_level(path, slide, 2.0)
        all_tiles(level, lattice_of(slide, slide_mpp=0.25, mpp=0.5))
    # Six tiles across and four down.
    assert sorted(decoded) == [(0, number) for number in range(24)]


def counted(monkeypatch):
    """Return a list that gets the level and number of each tile that is decoded."""
    decoded = []
    decode = jpeg_slides._decode

    def note(level, file, number):
        decoded.append((level.number, number))
        return decode(level, file, number)

    monkeypatch.setattr(jpeg_slides, "_decode", note)
    return decoded


def write_slide_with_glass_between(path):
    """Write 20 × 2 tiles of the file, tissue in the outer four of either side; the thumbnail is made from level 1."""
    image = rough_image(4800, 480)
    image[:, 960:3840] = 243
    return write_svs(path, image, reductions=(4,))


def test_nothing_is_decoded_under_background(tmp_path, monkeypatch):
    path = write_slide_with_glass_between(tmp_path / "slide.svs")
    decoded = counted(monkeypatch)
    tile_slide(path, tmp_path / "S.h5", tile_px=120)
    # Half of 0.25 µm/px is what is asked for: no filter needs the pixels beside a tile.
    assert {number % 20 for level, number in decoded if level == 0} == {0, 1, 2, 3, 16, 17, 18, 19}


def test_tiles_kept_are_those_that_openslide_would_give(tmp_path, monkeypatch):
    image = rough_image(2000, 1200)
    image[200:900, 300:1500] = 243
    path = write_svs(tmp_path / "slide.svs", image, reductions=(4,))
    fast = tile_slide(path, tmp_path / "fast.h5")
    monkeypatch.setattr(jpeg_slides, "find_level", lambda *_, **__: None)
    slow = tile_slide(path, tmp_path / "slow.h5")
    with tiles.open_store(fast) as ours, tiles.open_store(slow) as theirs:
        assert 0 < len(ours) < 31 * 18
        assert np.array_equal(ours.coords, theirs.coords)
        assert np.abs(ours.tissue - theirs.tissue).max() < 0.02


@pytest.mark.parametrize("at_once", [1, 5, 1000])
def test_how_much_of_the_overview_is_read_at_once_does_not_matter(at_once, tmp_path, monkeypatch):
    image = rough_image(2000, 1200)
    image[200:900, 300:1500] = 243
    path = write_svs(tmp_path / "slide.svs", image, reductions=(4,))
    expected = tile_slide(path, tmp_path / "expected.h5").read_bytes()
    monkeypatch.setattr(tiles, "OVERVIEW_TILES", at_once)
    assert tile_slide(path, tmp_path / "S.h5").read_bytes() == expected


# Damage


def spoilt(path, tile, *, level=0):
    """Overwrite the second half of a tile's bytes with noise."""
    content = path.read_bytes()
    start, length = levels_of(content)[level].tiles[tile]
    noise = np.random.default_rng(tile).integers(0, 255, length // 2).astype(np.uint8).tobytes()
    path.write_bytes(overwritten(content, start + length // 2, noise))


@pytest.mark.parametrize("threads", [1, 4])
def test_the_first_damaged_tile_excludes_the_slide_whatever_the_threads(threads, tmp_path):
    path = write_svs(tmp_path / "slide.svs", rough_image(1300, 900))
    spoilt(path, 9)
    spoilt(path, 14)
    store = tile_slide(path, tmp_path / "S.h5", threads=threads)
    assert tiles.read_summary(store)["reason"].startswith("cannot be read (level 0, tile at (720, 240)): ")


def test_damage_under_background_does_no_harm(tmp_path):
    path = write_slide_with_glass_between(tmp_path / "slide.svs")
    healthy = tile_slide(path, tmp_path / "healthy.h5", tile_px=120).read_bytes()
    # Neither a corner nor the middle, which are read before.
    spoilt(path, 7)
    assert tile_slide(path, tmp_path / "S.h5", tile_px=120).read_bytes() == healthy


def test_a_damaged_overview_is_not_used(tmp_path, monkeypatch, caplog):
    path = write_slide_with_glass_between(tmp_path / "slide.svs")
    with tiles.open_store(tile_slide(path, tmp_path / "healthy.h5", tile_px=120)) as store:
        healthy = store.coords
    decode = jpeg_slides._decode

    def fail(level, file, number):
        if level.number == 1:
            raise SlideRefused("damaged")
        return decode(level, file, number)

    monkeypatch.setattr(jpeg_slides, "_decode", fail)
    with (
        caplog.at_level(logging.INFO),
        tiles.open_store(tile_slide(path, tmp_path / "S.h5", tile_px=120)) as store,
    ):
        assert store.attributes["status"] == "accepted"
        assert np.array_equal(store.coords, healthy)
        assert store.thumbnail
    assert "the overview is damaged" in caplog.text


def test_a_failing_disk_excludes_the_slide(tmp_path, monkeypatch):
    path = write_svs(tmp_path / "slide.svs", rough_image(500, 500))

    def fail(*_):
        raise OSError(5, "Input/output error")

    with slides.open_slide(path) as slide:
        level = jpeg_slides.find_level(path, slide, 2.0)
        monkeypatch.setattr(jpeg_slides.os, "pread", fail)
        with pytest.raises(SlideRefused, match=r"cannot be read \(level 0\): Input/output error"):
            all_tiles(level, lattice_of(slide, slide_mpp=0.25, mpp=0.5))
        with pytest.raises(SlideRefused, match=r"cannot be read \(level 0\): Input/output error"):
            jpeg_slides.find_level(path, slide, 2.0)


# What is left to OpenSlide


def is_left_to_openslide(path, scale=2.0):
    with slides.open_slide(path) as slide:
        return jpeg_slides.find_level(path, slide, scale) is None


def test_other_compressions_and_other_files_are_left_to_openslide(tmp_path):
    image = rough_image(500, 500)
    about = ABOUT.format(500, 500, 240, 240, 0.25)
    for compression in ("none", "lzw"):
        path = tmp_path / f"{compression}.svs"
        keywords = {"compression": None if compression == "none" else compression, "metadata": None}
        tifffile.imwrite(path, image, tile=(256, 256), photometric="rgb", description=about, **keywords)
        with slides.open_slide(path) as slide:
            assert jpeg_slides.find_level(path, slide, 2.0) is None


def test_a_level_with_a_missing_tile_is_left_to_openslide_above_level_0(tmp_path):
    path = write_svs(tmp_path / "slide.svs", rough_image(1600, 1200), reductions=(4,))
    assert not is_left_to_openslide(path, 4.0)
    content = path.read_bytes()
    for code in (OFFSETS, COUNTS):
        tag = levels_of(content)[1].tags[code]
        content = overwritten(content, tag.value, bytes(tag.length // 4))
    path.write_bytes(content)
    assert is_left_to_openslide(path, 4.0)
    assert not is_left_to_openslide(path, 2.0)


def test_chroma_that_turbojpeg_does_not_know_is_left_to_openslide(tmp_path):
    path = write_svs(tmp_path / "slide.svs", rough_image(480, 480))
    content = bytearray(path.read_bytes())
    start, length = levels_of(bytes(content))[0].tiles[0]
    frame = content.index(b"\xff\xc0", start, start + length)
    # Luma three times as wide as chroma.
    content[frame + 11] = 0x31
    path.write_bytes(content)
    with open(path, "rb") as file:
        file.seek(start)
        with pytest.raises(ValueError, match="subsampling"):
            simplejpeg.decode_jpeg_header(file.read(length))
    image = integrity.tiled_images(path)[0]
    assert jpeg_slides._head_of_first(path, image) is None


def test_what_openslide_reads_is_as_it_was_before(tmp_path):
    """The store of a slide that is not of JPEG tiles, made by the reading and the measures that were there before."""
    image = rough_image(700, 500)
    image[:, 300:400] = 243
    about = ABOUT.format(700, 500, 240, 240, 0.25)
    path = tmp_path / "slide.svs"
    tifffile.imwrite(path, image, tile=(256, 256), photometric="rgb", description=about, metadata=None)
    with tiles.open_store(tile_slide(path, tmp_path / "S.h5", threads=3)) as store, slides.open_slide(path) as slide:
        assert 0 < len(store) < store.lattice.columns * store.lattice.rows
        for index, (column, row) in enumerate(store.coords.tolist()):
            area = store.lattice.area_box(0, row, store.lattice.columns, row + 1)
            strip = slides.read_area(slide, area, (store.lattice.columns * 64, 64))
            expected = io.BytesIO()
            strip.crop((column * 64, 0, (column + 1) * 64, 64)).save(expected, "JPEG", quality=90, subsampling=0)
            assert store.encoded(index).tobytes() == expected.getvalue()


# Real slides

REAL = [
    ("slides/TCGA-C8-A1HN-01Z-00-DX1.region40x.svs", 512, 0.5),
    ("slides/TCGA-C8-A1HN-01Z-00-DX1.region40x.svs", 224, 2.0),
    ("slides/CMU-1-Small-Region.svs", 512, 0.5),
    ("slides/CMU-1-Small-Region.svs", 224, 1.0),
    ("slides/diag_example.tif", 128, 1.0),
    ("slides/diag_example.tif", 64, 4.0),
]


@pytest.mark.parametrize(("name", "tile_px", "mpp"), REAL)
def test_a_real_slide_differs_from_openslide_by_less_than_a_grey_level(name, tile_px, mpp, shared_data):
    with slides.open_slide(shared_data / name) as slide:
        facts = slides.inspect_open_slide(slide, target_mpp=mpp)
        lattice = lattice_of(slide, slide_mpp=facts.mpp, mpp=mpp, tile_px=tile_px)
        level = jpeg_slides.find_level(shared_data / name, slide, lattice.tile_level0_px / tile_px)
        assert mean_difference(slide, level, lattice) < 1


def test_a_thumbnail_is_that_of_openslide(shared_data):
    path = shared_data / "slides" / "CMU-1-Small-Region.svs"
    with slides.open_slide(path) as slide:
        size = slides.thumbnail_size(slide, longest_side=700)
        level = jpeg_slides.find_level(path, slide, slide.level_dimensions[0][0] / size[0])
        ours = jpeg_slides.thumbnail(level, slide, longest_side=700, threads=2)
        theirs = slides.thumbnail(slide, longest_side=700)
    assert ours.size == theirs.size == size
    # OpenSlide's is filtered from all pixels, and not from averages.
    assert np.abs(np.asarray(ours).astype(int) - np.asarray(theirs)).mean() < 3
