"""Slides are refused for a reason, and read where they say, whatever their levels."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from PIL import Image

from workflow_scripts.lib import slides, tiles
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.slides import SlideRefused

APERIO = "Aperio Image Library v12.0.0\r\n{width}x{height} [0,0 {width}x{height}] (240x240) JPEG/RGB Q=70|AppMag = 40"


def write_svs(path, image, *, mpp="0.2525", reductions=(4,)):
    """Write a pyramidal JPEG file such as Aperio's scanners write; no `mpp`, no µm/px in it."""
    description = APERIO.format(width=image.shape[1], height=image.shape[0]) + (f"|MPP = {mpp}" if mpp else "")
    keywords = {
        "photometric": "rgb",
        "compression": "jpeg",
        "compressionargs": {"level": 95},
        "subsampling": (1, 1),
        "metadata": None,
    }
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(image, tile=(128, 128), description=description, **keywords)
        tiff.write(np.ascontiguousarray(image[::8, ::8]), rowsperstrip=16, description=description, **keywords)
        for reduction in reductions:
            reduced = np.asarray(Image.fromarray(image).reduce(reduction))
            tiff.write(reduced, tile=(128, 128), description=description, **keywords)
    return path


def smooth_image(width, height):
    """Return an image without detail finer than about 24 px: every level shows it alike."""
    coarse = np.random.default_rng(5).integers(0, 256, (height // 24 + 2, width // 24 + 2, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


# A slide whose pixels say where they are


@dataclass
class RampSlide:
    """A slide that is grey (128) at `landmark`, brighter by `slope` per level-0 px to the right (red) and down (green).

    `truth` says how its levels came about: pixel u of a level lies at level-0 u × downsample, where the downsample is
    a `whole` number, the `declared` one, or `stretched` so that the level covers the slide exactly.
    It reads as OpenSlide does: from the whole level-0 location / declared downsample, interpolated at the fraction.
    """

    level_dimensions: tuple
    level_downsamples: tuple
    truth: str
    landmark: tuple[float, float] = (0.0, 0.0)
    slope: float = 1.0

    def __post_init__(self):
        self.levels_read = []

    @property
    def level_count(self):
        return len(self.level_dimensions)

    def true_downsample(self, level, axis):
        declared = self.level_downsamples[level]
        stretched = self.level_dimensions[0][axis] / self.level_dimensions[level][axis]
        return {"whole": round(declared), "declared": declared, "stretched": stretched}[self.truth]

    def axis_values(self, location, level, axis, size):
        first = location / self.level_downsamples[level]
        low = math.floor(first)
        where = (np.arange(low, low + size + 1) + 0.5) * self.true_downsample(level, axis)
        pixels = np.round(np.clip(128 + self.slope * (where - self.landmark[axis]), 0, 255))
        share = first - low
        inside = np.arange(size) + first + 1 <= self.level_dimensions[level][axis] + 1e-9
        return (1 - share) * pixels[:-1] + share * pixels[1:], inside

    def read_region(self, location, level, size):
        assert all(isinstance(value, int) and value >= 0 for value in location)
        assert size[0] * size[1] <= 2 * slides.READ_PIXELS
        self.levels_read.append(level)
        x, x_inside = self.axis_values(location[0], level, 0, size[0])
        y, y_inside = self.axis_values(location[1], level, 1, size[1])
        region = np.zeros((size[1], size[0], 4), np.uint8)
        region[..., 0] = np.round(x)
        region[..., 1] = np.round(y)[:, None]
        region[..., 3] = 255 * (x_inside & y_inside[:, None])
        return Image.fromarray(region)


SIZES = st.integers(2_000, 150_000)
DOWNSAMPLES = st.one_of(
    st.sampled_from([1.9999, 2.0, 2.0005, 3.9999, 4.0, 4.0058, 4.006, 8.0, 16.0, 16.0128, 32.0]), st.floats(1.2, 40)
)


@st.composite
def ramp_slides(draw):
    """Return a slide and how many of its level-0 px an output pixel spans."""
    width, height = draw(SIZES), draw(SIZES)
    truth = draw(st.sampled_from(["whole", "declared", "stretched"]))
    rounding = draw(st.sampled_from([math.floor, round, math.ceil]))
    dimensions, declared = [(width, height)], [1.0]
    for nominal in sorted(draw(st.lists(DOWNSAMPLES, max_size=4, unique=True))):
        divisor = round(nominal) if truth == "whole" else nominal
        size = (rounding(width / divisor), rounding(height / divisor))
        # OpenSlide declares the mean of the two ratios, whatever the maker of the levels meant.
        mean = (width / size[0] + height / size[1]) / 2
        dimensions.append(size)
        declared.append(nominal if truth == "declared" else mean)
    # Level-0 px per output px: as it comes, or at and near one of the levels, where that level is a choice.
    near_a_level = st.builds(lambda level, share: level * share, st.sampled_from(declared), st.floats(0.981, 1.6))
    relative = draw(st.one_of(st.sampled_from(declared), near_a_level, st.floats(0.981, 20)))
    return RampSlide(tuple(dimensions), tuple(declared), truth), relative


@settings(max_examples=400, deadline=None)
@given(
    slide_and_scale=ramp_slides(),
    slide_mpp=st.floats(0.1, 2.0),
    tile_px=st.integers(48, 96),
    place=st.tuples(st.one_of(st.just(1.0), st.floats(0, 1)), st.one_of(st.just(1.0), st.floats(0, 1))),
)
def test_no_tile_shifts_by_half_an_output_pixel(slide_and_scale, slide_mpp, tile_px, place):
    """At any µm/px from 0.1 to 2 and beyond, for any table of levels, wherever on it, the far corner included."""
    slide, relative = slide_and_scale
    mpp = slide_mpp * relative
    side = tile_px * mpp / slide_mpp
    width, height = slide.level_dimensions[0]
    columns, rows = math.floor(width / side), math.floor(height / side)
    assume(columns and rows)
    column, row = round(place[0] * (columns - 1)), round(place[1] * (rows - 1))
    box = (column * side, row * side, (column + 1) * side, (row + 1) * side)
    slide.landmark = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    slide.slope = 15 / relative

    shown = np.asarray(slides.read_area(slide, box, (tile_px, tile_px))).astype(float)
    level = max(slide.levels_read)
    event(f"level {min(1, level)} or coarser")

    # Fifteen grey levels are one output pixel; the ramp's middle lies in the middle of the tile.
    expected = 128 + 15 * (np.arange(tile_px) + 0.5 - tile_px / 2)
    middle = slice(tile_px // 2 - 5, tile_px // 2 + 5)
    shift_x = (shown[:, middle, 0] - expected[middle]).mean() / 15
    shift_y = (shown[middle, :, 1] - expected[middle, None]).mean() / 15
    # Where a level is what its size says, only the rounding of grey levels is left.
    understood = all(slide.true_downsample(level, axis) == slides.level_scale(slide, level) for axis in (0, 1))
    assert max(abs(shift_x), abs(shift_y)) <= (0.1 if understood else 0.5)


@settings(max_examples=100, deadline=None)
@given(slide_and_scale=ramp_slides())
def test_the_level_read_is_never_coarser_than_the_output_by_more_than_2_percent(slide_and_scale):
    slide, relative = slide_and_scale
    level = slides.best_level(slide, relative)
    assert level == 0 or slide.level_downsamples[level] <= relative * 1.02 * (
        1 + 1 / min(slide.level_dimensions[level])
    )


@pytest.mark.parametrize(
    ("scale", "level"),
    [(0.99, 0), (1.98, 0), (3.9, 0), (3.95, 1), (4.0, 1), (15.0, 1), (16.0, 2), (300.0, 2)],
)
def test_the_coarsest_level_that_loses_nothing_is_read(scale, level):
    slide = RampSlide(((12288, 12288), (3072, 3072), (768, 768)), (1.0, 4.0, 16.0), "whole")
    assert slides.best_level(slide, scale) == level


def test_a_level_that_looks_like_2_0005_was_made_by_halving():
    slide = RampSlide(((4443, 3567), (2221, 1783)), (1.0, 2.0005055500659967), "whole")
    assert slides.level_scale(slide, 1) == 2.0


def test_a_level_that_openslide_would_interpolate_is_passed_over():
    # At 2.0005 a read may start a quarter of a pixel off, which OpenSlide would blur before we resample.
    assert slides.best_level(RampSlide(((4443, 3567), (2221, 1783)), (1.0, 2.0005055500659967), "whole"), 2.0) == 0
    assert slides.best_level(RampSlide(((4442, 3566), (2221, 1783)), (1.0, 2.0), "whole"), 2.0) == 1


def test_a_level_whose_size_fits_two_downsamples_is_passed_over():
    # 2525 / 4 = 631.25 was made 632: at 4 the last pixel lies three level-0 px past the slide, at 3.9953 on its edge.
    slide = RampSlide(((2525, 2725), (632, 682)), (1.0, 3.995427168788745), "stretched")
    assert slides.best_level(slide, 4.0) == 0
    # An output pixel of eight level-0 px can tell no difference.
    assert slides.best_level(slide, 8.0) == 1


def test_a_large_area_read_in_parts_is_the_same_image(monkeypatch, tmp_path):
    image = smooth_image(700, 500)
    with slides.open_slide(write_svs(tmp_path / "a.svs", image)) as slide:
        box, size = (3.3, 7.9, 680.2, 490.4), (341, 243)
        whole = np.asarray(slides.read_area(slide, box, size)).astype(int)
        monkeypatch.setattr(slides, "READ_PIXELS", 5000)
        parts = np.asarray(slides.read_area(slide, box, size)).astype(int)
    assert np.abs(whole - parts).max() <= 1


def test_reading_at_the_files_own_scale_returns_its_pixels(tmp_path):
    with slides.open_slide(write_svs(tmp_path / "a.svs", smooth_image(300, 260))) as slide:
        ours = slides.read_area(slide, (100, 50, 164, 114), (64, 64))
        theirs = slide.read_region((100, 50), 0, (64, 64)).convert("RGB")
    assert np.array_equal(np.asarray(ours), np.asarray(theirs))


@pytest.mark.parametrize("scale", [1.98, 4.0, 5.3])
def test_every_level_shows_the_same_place(tmp_path, scale):
    image = smooth_image(1024, 768)
    size = (int(900 / scale), int(700 / scale))
    box = (20.0, 30.0, 20 + size[0] * scale, 30 + size[1] * scale)
    expected = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS, box=box)
    with slides.open_slide(write_svs(tmp_path / "a.svs", image)) as slide:
        shown = slides.read_area(slide, box, size)
    difference = np.abs(np.asarray(shown).astype(int) - np.asarray(expected))
    assert difference.mean() < 1.5


def test_shrinking_does_not_alias():
    # Stripes of one pixel at twice the output's resolution are grey; a filter of fixed width keeps them.
    class Stripes(RampSlide):
        def read_region(self, location, level, size):
            columns = (np.arange(size[0]) + location[0]) % 2 * 255
            return Image.fromarray(np.tile(columns.astype(np.uint8), (size[1], 1))).convert("RGBA")

    slide = Stripes(((400, 400),), (1.0,), "whole")
    shown = np.asarray(slides.read_area(slide, (20.0, 20.0, 20 + 64 * 2.6, 20 + 64 * 2.6), (64, 64)))
    assert np.abs(shown.astype(int) - 127).max() < 20


def test_what_was_never_scanned_is_white():
    class Empty(RampSlide):
        def read_region(self, location, level, size):
            return Image.new("RGBA", size, (0, 0, 0, 0))

    shown = np.asarray(slides.read_area(Empty(((400, 400),), (1.0,), "whole"), (0, 0, 64, 64), (32, 32)))
    assert (shown == 255).all()


@pytest.mark.parametrize(("size", "reduced"), [(256, 64), (259, 64), (257, 65)])
@pytest.mark.parametrize("scale", [1.0, 1.9, 8.0])
def test_the_edge_of_a_slide_is_not_mixed_with_what_lies_outside(size, reduced, scale):
    class Dark(RampSlide):
        def axis_values(self, location, level, axis, size):
            values, inside = super().axis_values(location, level, axis, size)
            return np.full_like(values, 60), inside

    slide = Dark(((size, size), (reduced, reduced)), (1.0, size / reduced), "whole")
    side = math.floor(size / scale)
    near = size - side * scale
    shown = np.asarray(slides.read_area(slide, (near, near, size, size), (side, side)))
    assert set(slide.levels_read) == {1 if scale == 8.0 else 0}
    assert (shown[..., :2] == 60).all()


def test_a_thumbnail_is_at_most_so_long_and_never_enlarged(tmp_path):
    with slides.open_slide(write_svs(tmp_path / "a.svs", smooth_image(900, 400))) as slide:
        assert slides.thumbnail(slide, longest_side=300).size == (300, 133)
        assert slides.thumbnail(slide, longest_side=1024).size == (900, 400)


# Refusals


def inspect(path, **keywords):
    return slides.inspect_slide(path, **({"target_mpp": 0.5} | keywords))


def test_a_good_slide_has_facts(tmp_path):
    facts = inspect(write_svs(tmp_path / "a.svs", smooth_image(600, 400)))
    assert (facts.width, facts.height) == (600, 400)
    assert facts.level_dimensions == ((600, 400), (150, 100))
    assert facts.level_downsamples == (1.0, 4.0)
    assert facts.mpp == pytest.approx(0.2525)
    assert facts.mpp_source == "slide"


def test_a_file_that_is_absent_is_refused(tmp_path):
    for path in (tmp_path / "none.svs", None, tmp_path):
        with pytest.raises(SlideRefused, match=r"^file not found$"):
            inspect(path)


def test_a_file_that_is_not_a_slide_is_refused(tmp_path):
    (tmp_path / "a.svs").write_text("<html>Not Found</html>")
    with pytest.raises(SlideRefused, match="cannot be opened: not a slide"):
        inspect(tmp_path / "a.svs")


def test_an_ordinary_picture_is_not_a_slide(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    with pytest.raises(SlideRefused, match="not a slide"):
        inspect(tmp_path / "a.png")


def test_a_refusal_is_bad_input_and_says_what_is_known(tmp_path):
    path = write_svs(tmp_path / "a.svs", smooth_image(300, 300), mpp="1.0")
    with pytest.raises(InputError) as refusal:
        inspect(path)
    assert refusal.value.reason == "finest level has 1 µm/px, coarser than the target 0.5 µm/px"
    assert refusal.value.facts.mpp == 1.0


def test_a_slide_without_mpp_is_refused_and_its_magnification_is_no_substitute(tmp_path):
    path = write_svs(tmp_path / "a.svs", smooth_image(300, 300), mpp="")
    with openslide.OpenSlide(path) as slide:
        assert slide.properties[openslide.PROPERTY_NAME_OBJECTIVE_POWER] == "40"
    with pytest.raises(SlideRefused, match=r"^no µm/px in the file and none configured$"):
        inspect(path)


def test_a_slide_without_mpp_takes_the_configured_value(tmp_path):
    facts = inspect(write_svs(tmp_path / "a.svs", smooth_image(300, 300), mpp=""), configured_mpp=0.25)
    assert (facts.mpp, facts.mpp_source) == (0.25, "configuration")


def test_a_slide_with_mpp_keeps_its_own(tmp_path):
    facts = inspect(write_svs(tmp_path / "a.svs", smooth_image(300, 300)), configured_mpp=0.5)
    assert (facts.mpp, facts.mpp_source) == (pytest.approx(0.2525), "slide")


@pytest.mark.parametrize("mpp", ["0.02", "84.67", "352.8"])
def test_a_resolution_that_no_microscope_has_is_refused(tmp_path, mpp):
    with pytest.raises(SlideRefused, match=r"is not plausible: expected 0.05 to 20"):
        inspect(write_svs(tmp_path / "a.svs", smooth_image(300, 300), mpp=mpp), target_mpp=20)
    with pytest.raises(SlideRefused, match=r"µm/px \(configuration\) is not plausible"):
        inspect(write_svs(tmp_path / "b.svs", smooth_image(300, 300), mpp=""), configured_mpp=float(mpp))


@pytest.mark.parametrize(("y_per_cm", "refused"), [(20800, False), (21500, True)])
def test_pixels_that_are_not_square_are_refused_beyond_5_percent(tmp_path, y_per_cm, refused):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        smooth_image(300, 300),
        tile=(128, 128),
        photometric="rgb",
        compression="jpeg",
        resolution=(20000, y_per_cm),
        resolutionunit="CENTIMETER",
    )
    if refused:
        with pytest.raises(SlideRefused, match=r"x \(0\.5\) and y \(0\.4651\) by more than 5 %"):
            inspect(path)
    else:
        assert inspect(path).mpp == pytest.approx((0.5 + 10_000 / 20800) / 2)


@pytest.mark.parametrize(("mpp", "accepted"), [("0.4", True), ("0.5", True), ("0.509", True), ("0.511", False)])
def test_the_finest_level_may_be_coarser_by_2_percent(tmp_path, mpp, accepted):
    path = write_svs(tmp_path / "a.svs", smooth_image(300, 300), mpp=mpp)
    if accepted:
        assert inspect(path).mpp == float(mpp)
    else:
        with pytest.raises(SlideRefused, match="coarser than the target"):
            inspect(path)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.99])
def test_a_slide_that_was_cut_short_is_refused(tmp_path, share):
    whole = write_svs(tmp_path / "a.svs", smooth_image(600, 400)).read_bytes()
    (tmp_path / "cut.svs").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(SlideRefused, match="cannot be opened"):
        inspect(tmp_path / "cut.svs")


@pytest.mark.parametrize("tile", [0, 4, 15, 19])
def test_a_slide_with_a_corner_that_cannot_be_read_is_refused_with_the_place(tmp_path, tile):
    path = write_svs(tmp_path / "a.svs", smooth_image(600, 500))
    spoil_tile(path, tile)
    with pytest.raises(SlideRefused, match=r"^cannot be read \(level 0, 64 × 64 px at \(\d+, \d+\)\): Not a JPEG file"):
        inspect(path)


def spoil_tile(path, tile):
    """Overwrite one of level 0's tiles with zeros, as a download that was interrupted and pre-allocated leaves it."""
    with tifffile.TiffFile(path) as tiff:
        start, length = tiff.pages[0].dataoffsets[tile], tiff.pages[0].databytecounts[tile]
    content = bytearray(path.read_bytes())
    content[start : start + length] = bytes(length)
    path.write_bytes(content)


# Label and macro images


def test_no_code_reads_the_label_or_macro_image():
    """`associated_images` holds them, and OpenSlide's own thumbnail is one of them in some formats."""
    code = Path(slides.__file__).parents[1]
    for path in code.rglob("*.py"):
        for name in ("associated_images", "get_thumbnail"):
            assert name not in path.read_text(), f"{path} mentions {name}"


def test_pictures_are_opened_as_photographs_alone():
    """A label that was saved as a picture is one too; a cohort says that its slides are photographs."""
    code = Path(slides.__file__).parents[1]
    assert [path.name for path in code.rglob("*.py") if "ImageSlide" in path.read_text()] == ["slides.py"]


def test_a_slide_with_label_and_macro_images_is_inspected_and_tiled_without_them(shared_data, tmp_path, monkeypatch):
    path = shared_data / "slides" / "CMU-1-Small-Region.svs"
    with openslide.OpenSlide(path) as slide:
        assert {"label", "macro"} <= set(slide.associated_images)

    def refused(self):
        raise AssertionError("the label and macro images were read")

    monkeypatch.setattr(openslide.OpenSlide, "associated_images", property(refused))
    limits = {"tile_px": 512, "mpp": 0.5, "max_background": 0.5, "background_rule": "saturation", "max_pen": 0.5}
    tiles.tile_slide(path, tmp_path / "S.h5", slide_id="S", **limits)
    assert tiles.read_summary(tmp_path / "S.h5")["n_tiles"] == 6


def test_a_file_that_is_not_the_one_of_its_list_is_refused(tmp_path):
    path = tmp_path / "slide.svs"
    path.write_bytes(b"abc")
    # RFC 1321, A.5.
    slides.check_md5(path, "900150983cd24fb0d6963f7d28e17f72")
    slides.check_md5(path, "")
    with pytest.raises(SlideRefused, match=r"md5 is 900150983cd24fb0d6963f7d28e17f72, the list has 0{32}: damaged, or"):
        slides.check_md5(path, "0" * 32)


def test_a_stand_in_is_refused_for_its_own_reason(tmp_path):
    path = tmp_path / "slide.svs"
    slides.write_stand_in(path, "the portal has lost it")
    with pytest.raises(SlideRefused, match=r"^the portal has lost it$"), slides.open_slide(path):
        pass
