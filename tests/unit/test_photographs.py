"""A photograph is a slide of one level, of its pixels alone; what is none is refused in plain words."""

import io
import json
import tempfile
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin

from workflow_scripts.lib import integrity, photographs, slides, tiles
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.photographs import PhotographRefused, read_photograph
from workflow_scripts.lib.slides import SlideRefused

COLUMNS, ROWS, SIDE = 3, 2, 64
TILING = {"tile_px": SIDE, "mpp": 0.5, "max_background": 0.5, "background_rule": "saturation", "max_pen": 0.5}
DAMAGED = r"^cannot be opened, cut short or damaged: "


def tissue(width=COLUMNS * SIDE + 20, height=ROWS * SIDE + 9):
    """Pink (rows, columns, 3) uint8 whose pixels differ, so that a shift or a turn shows."""
    noise = np.random.default_rng(3).integers(-30, 30, (height // 6 + 2, width // 6 + 2, 3))
    coarse = Image.fromarray((noise + np.array([190, 110, 170])).astype(np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


PIXELS = tissue()


def encoded(form, pixels=PIXELS, **saved):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **saved)
    return buffer.getvalue()


def written(path, content):
    path.write_bytes(content)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "photograph"


# What is read


@pytest.mark.parametrize(
    ("form", "saved"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "packbits"}),
    ],
)
def test_a_photograph_has_the_pixels_of_its_file_whatever_its_suffix(path, form, saved):
    found = read_photograph(written(path, encoded(form, **saved)))
    assert found.mode == "RGB"
    assert np.array_equal(np.asarray(found), PIXELS)


@pytest.mark.parametrize("saved", [{}, {"progressive": True}, {"subsampling": "4:1:1"}, {"restart_marker_rows": 1}])
def test_a_jpeg_has_the_pixels_that_libjpeg_makes(path, saved):
    content = encoded("JPEG", quality=90, **saved)
    theirs = imagecodecs.jpeg8_decode(content)
    assert np.abs(np.asarray(read_photograph(written(path, content))).astype(int) - theirs).max() <= 2


def test_channels_that_lie_apart_are_read_together(path):
    tifffile.imwrite(path, np.moveaxis(PIXELS, 2, 0).copy(), photometric="rgb", planarconfig="separate")
    assert np.array_equal(np.asarray(read_photograph(path)), PIXELS)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_what_is_transparent_shows_white(path, form):
    pixels = np.full((2, 3, 4), (100, 50, 200, 255), np.uint8)
    pixels[0, 1, 3], pixels[0, 2, 3] = 0, 51
    found = np.asarray(read_photograph(written(path, encoded(form, pixels))))
    # A fifth of the colour and four fifths of white: 100 / 5 + 255 * 4 / 5 = 224, and so on.
    assert found[0].tolist() == [[100, 50, 200], [255, 255, 255], [224, 214, 244]]
    assert (found[1] == (100, 50, 200)).all()


def test_a_colour_that_a_png_calls_transparent_shows_white(path):
    pixels = np.array([[(1, 2, 3), (200, 100, 50)]], np.uint8)
    found = read_photograph(written(path, encoded("PNG", pixels, transparency=(1, 2, 3))))
    assert np.asarray(found).tolist() == [[[255, 255, 255], [200, 100, 50]]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tag_of_orientation_turns_nothing(path, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    assert read_photograph(written(path, encoded("JPEG", exif=exif))).size == (PIXELS.shape[1], PIXELS.shape[0])
    assert np.array_equal(np.asarray(read_photograph(written(path, encoded("PNG", exif=exif)))), PIXELS)
    tifffile.imwrite(path, PIXELS, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    assert np.array_equal(np.asarray(read_photograph(path)), PIXELS)


def test_an_orientation_that_only_xmp_tells_turns_nothing(path):
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d tiff:Orientation="6"/></x:xmpmeta>'
    tifffile.imwrite(path, PIXELS, photometric="rgb", extratags=[(700, "B", len(packet), packet, True)])
    assert np.array_equal(np.asarray(read_photograph(path)), PIXELS)


def test_what_a_file_says_of_a_person_goes_no_further(tmp_path, caplog):
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Jane Doe"
    exif[ExifTags.Base.ImageDescription] = "Jane Doe"
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "Jane Doe")
    contents = {
        "jpg": encoded("JPEG", quality=95, exif=exif, comment="Jane Doe"),
        "png": encoded("PNG", exif=exif, pnginfo=text),
        "tif": encoded("TIFF", exif=exif),
    }
    for suffix, content in contents.items():
        path = written(tmp_path / f"a.{suffix}", content)
        assert b"Jane Doe" in content
        assert read_photograph(path).info == {}
        # Also one that is refused, and has a thumbnail.
        for configured_mpp in (0.5, None):
            store = tile(path, tmp_path / "S.h5", configured_mpp=configured_mpp)
            assert b"Jane" not in store.read_bytes()
    assert "Jane" not in caplog.text


# What is refused


def test_a_jpeg_that_is_cut_short_is_refused_wherever_it_ends(path):
    whole = encoded("JPEG", tissue(100, 80), quality=60)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(PhotographRefused, match="cut short"):
            read_photograph(path)


@pytest.mark.parametrize("saved", [{}, {"progressive": True}])
def test_a_jpeg_that_lacks_its_last_rows_and_has_an_end_is_refused(path, saved):
    whole = encoded("JPEG", quality=90, **saved)
    for lacks in (40, 200, 2000):
        content = whole[: -2 - lacks] + whole[-2:]
        if not saved:
            # Pillow alone fills them, and says nothing.
            Image.open(io.BytesIO(content)).load()
        with pytest.raises(PhotographRefused, match=DAMAGED):
            read_photograph(written(path, content))


@pytest.mark.parametrize(
    ("form", "saved"),
    [("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_adobe_deflate"}), ("TIFF", {"compression": "jpeg"})],
)
def test_another_form_that_is_cut_short_is_refused(path, form, saved):
    whole = encoded(form, **saved)
    # Of a PNG, the last four bytes are the checksum of nothing.
    for length in (20, len(whole) // 3, len(whole) - 2000, len(whole) - 40, len(whole) - 5):
        with pytest.raises(PhotographRefused, match="cut short"):
            read_photograph(written(path, whole[:length]))


WHOLE = [encoded(form) for form in ("JPEG", "PNG", "TIFF", "BMP")]
WHOLE += [encoded("TIFF", compression=name) for name in ("jpeg", "tiff_lzw")]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_wrong_bytes_are_refused_in_one_line_or_give_a_picture(data):
    content = bytearray(data.draw(st.sampled_from(WHOLE)))
    # Most lie in the head, where the parser reads them.
    places = st.one_of(st.integers(0, 700), st.integers(0, len(content) - 1), st.integers(-400, -1))
    for place in data.draw(st.lists(places, min_size=1, max_size=6)):
        content[place] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "photograph", bytes(content))
        try:
            found = read_photograph(path)
        except InputError as refusal:
            reason = str(refusal)
            assert "\n" not in reason
            assert folder not in reason
        else:
            assert found.mode == "RGB"


def test_a_bmp_that_lacks_pixels_is_refused(path):
    with pytest.raises(PhotographRefused, match=DAMAGED + "image file is truncated"):
        read_photograph(written(path, encoded("BMP")[:-300]))


def test_a_png_with_a_wrong_byte_is_refused(path):
    content = bytearray(encoded("PNG", compress_level=0))
    content[len(content) // 2] ^= 1
    with pytest.raises(PhotographRefused, match=DAMAGED + "broken PNG file"):
        read_photograph(written(path, bytes(content)))


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>Not Found</html>", b"\xff\xd8\xff", encoded("GIF"), encoded("WEBP"), encoded("PPM")],
    ids=["empty", "html", "head", "gif", "webp", "ppm"],
)
def test_a_file_that_is_no_image_of_these_forms_is_refused(path, content):
    with pytest.raises(PhotographRefused, match=r"^cannot be opened: not an image, cut short, or of an unsupported"):
        read_photograph(written(path, content))


@pytest.mark.parametrize("form", ["TIFF", "PNG", "MPO"])
def test_several_pages_or_frames_are_refused(path, form):
    second = Image.fromarray(255 - PIXELS)
    with pytest.raises(PhotographRefused, match=r"^2 pages or frames, expected a single image$"):
        read_photograph(written(path, encoded(form, save_all=True, append_images=[second])))


@pytest.mark.parametrize(
    ("form", "mode", "words"),
    [
        ("PNG", "L", "grey"),
        ("JPEG", "L", "grey"),
        ("PNG", "LA", "grey"),
        ("TIFF", "I;16", "grey"),
        ("PNG", "1", "black and white"),
        ("PNG", "P", "a palette"),
        ("BMP", "P", "a palette"),
        ("JPEG", "CMYK", "CMYK"),
        ("TIFF", "LAB", "LAB"),
    ],
)
def test_what_is_not_colour_of_8_bits_is_refused(path, form, mode, words):
    if mode == "I;16":
        Image.fromarray(PIXELS[..., 0].astype(np.uint16)).save(path, form)
    elif mode == "LAB":
        tifffile.imwrite(path, PIXELS, photometric="cielab")
    else:
        Image.fromarray(PIXELS).convert(mode).save(path, form)
    with pytest.raises(PhotographRefused, match=rf"^{words}, expected colour \(RGB\) of 8 bits$"):
        read_photograph(path)


DEEP = PIXELS.astype(np.uint16) * 257


@pytest.mark.parametrize("kind", ["png", "png with alpha", "tiff", "packed tiff", "tiff of planes"])
def test_16_bits_are_refused_though_pillow_makes_8_of_them(path, kind):
    if kind.startswith("png"):
        alpha = np.full((*DEEP.shape[:2], 1), 65535, np.uint16)
        path.write_bytes(imagecodecs.png_encode(np.dstack([DEEP, alpha]) if "alpha" in kind else DEEP))
    elif kind == "tiff of planes":
        tifffile.imwrite(path, np.moveaxis(DEEP, 2, 0).copy(), photometric="rgb", planarconfig="separate")
    else:
        tifffile.imwrite(path, DEEP, photometric="rgb", compression="adobe_deflate" if "packed" in kind else None)
    with Image.open(path) as image:
        assert image.mode in ("RGB", "RGBA")
    with pytest.raises(PhotographRefused, match=r"^colour of more or less than 8 bits, expected RGB of 8 bits$"):
        read_photograph(path)


@pytest.mark.parametrize(("limit", "accepted"), [(200 * 100, True), (200 * 100 - 1, False), (5000, False)])
def test_a_photograph_that_is_too_large_is_refused(path, monkeypatch, limit, accepted):
    written(path, encoded("PNG", tissue(200, 100)))
    monkeypatch.setattr(photographs.Image, "MAX_IMAGE_PIXELS", limit)
    if accepted:
        assert read_photograph(path).size == (200, 100)
    else:
        with pytest.raises(PhotographRefused, match=rf"^more than {limit:,} px, the most that a photograph may have"):
            read_photograph(path)


def test_a_directory_that_cannot_be_true_is_refused_before_it_is_read(path):
    tifffile.imwrite(path, PIXELS, photometric="rgb", tile=(64, 64))
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        where = tiff.pages[0].tags[integrity.OFFSETS].valueoffset
    content[where : where + 4] = b"\xff\xff\xff\x7f"
    path.write_bytes(content)
    with pytest.raises(
        SlideRefused, match=r"^cannot be opened, cut short or damaged: an image of 212 × 137 px in tiles"
    ):
        slides.inspect_slide(path, target_mpp=0.5, configured_mpp=0.5, photograph=True)


# As a slide


def inspect(path, **asked):
    return slides.inspect_slide(path, photograph=True, **({"target_mpp": 0.5, "configured_mpp": 0.5} | asked))


def test_a_photograph_is_a_slide_of_one_level_and_the_given_size_of_pixel(path):
    facts = inspect(written(path, encoded("JPEG")))
    assert (facts.width, facts.height) == (212, 137)
    assert facts.level_dimensions == ((212, 137),)
    assert facts.level_downsamples == (1.0,)
    assert (facts.mpp, facts.mpp_source) == (0.5, "configuration")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "BMP"])
def test_dots_per_inch_are_no_size_of_pixel(path, form):
    # 50,800 dpi would be 0.5 µm/px.
    written(path, encoded(form, dpi=(50800, 50800)))
    with pytest.raises(SlideRefused, match=r"^no µm/px in the file and none configured$") as refusal:
        inspect(path, configured_mpp=None)
    assert refusal.value.facts.width == 212
    assert inspect(path, configured_mpp=0.4).mpp == 0.4


@pytest.mark.parametrize(
    ("mpp", "reason"),
    [
        (0.04, r"^0.04 µm/px \(configuration\) is not plausible: expected 0.05 to 20$"),
        (84.7, r"^84.7 µm/px \(configuration\) is not plausible"),
        (0.52, r"^finest level has 0.52 µm/px, coarser than the target 0.5 µm/px$"),
    ],
)
def test_a_size_of_pixel_that_cannot_be_or_is_too_coarse_is_refused(path, mpp, reason):
    with pytest.raises(SlideRefused, match=reason):
        inspect(written(path, encoded("PNG")), configured_mpp=mpp)


def test_a_photograph_that_is_absent_or_refused_is_a_slide_that_is_refused(tmp_path, path):
    with pytest.raises(SlideRefused, match=r"^file not found$"):
        inspect(tmp_path / "none.jpg")
    with pytest.raises(SlideRefused, match=r"^grey, expected colour \(RGB\) of 8 bits$"):
        inspect(written(path, encoded("PNG", PIXELS[..., 0])))


def test_a_whole_slide_image_is_no_photograph_and_a_picture_no_slide(tmp_path):
    write_svs(tmp_path / "a.svs", levels=2)
    with pytest.raises(SlideRefused, match="2 pages or frames"):
        inspect(tmp_path / "a.svs")
    for form in ("JPEG", "PNG", "TIFF", "BMP"):
        with pytest.raises(SlideRefused, match="not a slide"):
            slides.inspect_slide(written(tmp_path / f"a.{form}", encoded(form)), target_mpp=0.5, configured_mpp=0.5)


# Its tiles


def write_svs(path, *, mpp=0.4, levels=1):
    """The pixels as a slide of Aperio's form, without loss."""
    height, width = PIXELS.shape[:2]
    about = f"Aperio Image Library v12.0.0\r\n{width}x{height} (128x128) Deflate|MPP = {mpp}"
    how = {"photometric": "rgb", "compression": "adobe_deflate", "metadata": None, "description": about}
    with tifffile.TiffWriter(path) as tiff:
        for level in range(levels):
            tiff.write(np.ascontiguousarray(PIXELS[:: 4**level, :: 4**level]), tile=(128, 128), **how)
    return path


def tile(path_to_slide, path_to_store, **changed):
    asked = {"slide_id": "S", "configured_mpp": 0.5, "photograph": True} | TILING
    tiles.tile_slide(path_to_slide, path_to_store, **(asked | changed))
    return path_to_store


def test_a_photograph_has_the_tiles_of_a_slide_of_the_same_pixels(tmp_path):
    slide = tile(write_svs(tmp_path / "a.svs"), tmp_path / "slide.h5", configured_mpp=None, photograph=False)
    photograph = tile(written(tmp_path / "a.png", encoded("PNG")), tmp_path / "photograph.h5", configured_mpp=0.4)
    with tiles.open_store(slide) as expected, tiles.open_store(photograph) as found:
        # 212 × 137 px of 0.4 µm are 169 × 109 px of 0.5 µm: two columns and one row of 64.
        assert found.coords.tolist() == expected.coords.tolist() == [[0, 0], [1, 0]]
        assert found.thumbnail == expected.thumbnail
        for index in range(2):
            assert np.array_equal(found.encoded(index), expected.encoded(index))
        differ = {key for key, value in found.attributes.items() if value != expected.attributes[key]}
        assert differ == {"settings", "mpp_source"}
        settings = [json.loads(store.attributes["settings"]) for store in (found, expected)]
        assert settings[0] == settings[1] | {"configured_mpp": 0.4}


def test_a_jpeg_has_nearly_the_tiles_of_its_pixels(tmp_path):
    plain = tile(written(tmp_path / "a.png", encoded("PNG")), tmp_path / "plain.h5")
    lossy = tile(written(tmp_path / "a.jpg", encoded("JPEG", quality=95)), tmp_path / "lossy.h5")
    with tiles.open_store(plain) as expected, tiles.open_store(lossy) as found:
        assert found.coords.tolist() == expected.coords.tolist()
        assert len(found) == COLUMNS * ROWS
        for index in range(len(found)):
            difference = tiles.decode(found.encoded(index)).astype(int) - tiles.decode(expected.encoded(index))
            assert np.abs(difference).mean() < 2


def test_tiling_a_photograph_gives_the_same_bytes_again(tmp_path):
    path = written(tmp_path / "a.jpg", encoded("JPEG"))
    stores = [tile(path, tmp_path / f"{threads}.h5", threads=threads).read_bytes() for threads in (1, 2)]
    assert stores[0] == stores[1]


def test_a_photograph_is_tiled_at_its_own_size_of_pixel_where_that_is_asked(tmp_path):
    path = written(tmp_path / "a.png", encoded("PNG"))
    summary = tiles.read_summary(tile(path, tmp_path / "S.h5", mpp=slides.NATIVE, configured_mpp=0.65))
    assert (summary["mpp"], summary["slide_mpp"], summary["n_tiles"]) == (0.65, 0.65, COLUMNS * ROWS)


def test_a_photograph_that_is_smaller_than_one_tile_is_accepted_and_says_so(tmp_path):
    path = written(tmp_path / "a.png", encoded("PNG", tissue(60, 200)))
    row = tiles.slide_row(tile(path, tmp_path / "S.h5"))
    assert (row["status"], row["reason"], row["n_tiles"]) == ("accepted", "smaller than one tile", 0)


def test_a_photograph_that_cannot_be_used_has_a_store_with_the_reason(tmp_path):
    whole = encoded("JPEG")
    cut = tile(written(tmp_path / "cut.jpg", whole[:-900]), tmp_path / "cut.h5")
    summary = tiles.read_summary(cut)
    assert (summary["status"], summary["n_tiles"]) == ("excluded", 0)
    assert "cut short" in summary["reason"]
    assert str(tmp_path) not in summary["reason"]
    with tiles.open_store(tile(written(tmp_path / "a.jpg", whole), tmp_path / "S.h5", configured_mpp=None)) as store:
        assert store.attributes["reason"] == "no µm/px in the file and none configured"
        # It is known all the same what it shows.
        assert tiles.decode(store.thumbnail).shape == PIXELS.shape
    listed = tile(tmp_path / "a.jpg", tmp_path / "S.h5", md5="0" * 32)
    assert "the list has 0000" in tiles.read_summary(listed)["reason"]


def test_a_tiff_with_a_broken_jpeg_tile_is_refused_with_the_place(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, photometric="rgb", tile=(128, 128), compression="jpeg")
    assert tiles.read_summary(tile(path, tmp_path / "S.h5"))["n_tiles"] == COLUMNS * ROWS
    with tifffile.TiffFile(path) as tiff:
        start, length = tiff.pages[0].dataoffsets[1], tiff.pages[0].databytecounts[1]
    content = bytearray(path.read_bytes())
    content[start + length // 2 : start + length - 2] = bytes(length - 2 - length // 2)
    path.write_bytes(content)
    reason = tiles.read_summary(tile(path, tmp_path / "S.h5"))["reason"]
    assert reason.startswith("cannot be read (level 0, tile at (128, 0)): Corrupt JPEG data")
