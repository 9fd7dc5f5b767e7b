"""A damaged slide is excluded with its reason, or gives the tiles of the undamaged one. `damage` holds the damages."""

import errno
import hashlib
import resource
from pathlib import Path

import numpy as np
import openslide
import pytest
from damage import COUNTS, DESCRIPTION, KINDS, OFFSETS, SILENT, WIDTH, damaged, levels_of, overwritten
from PIL import Image

from workflow_scripts.lib import integrity, slides, tiles
from workflow_scripts.lib.demo import svs

NOT_SILENT = [kind for kind in KINDS if kind not in SILENT]
SEEDS = 3
# What tiling a damaged slide may take beyond what this process has already, in bytes.
SPARE_MEMORY = 2 * 1024**3


@pytest.fixture(autouse=True)
def little_memory():
    """Let C code that asks for absurd memory not get it: the process ends there and then, as it would on a cluster."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + SPARE_MEMORY, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


def textured_image(width, height):
    """Return an image that no two tiles of a slide share, rough as tissue is, with a blank corner."""
    random = np.random.default_rng(3)
    coarse = random.integers(60, 240, (height // 6 + 1, width // 6 + 1, 3)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    image = (smooth + random.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8)
    image[: height // 4, : width // 4] = 243
    return image


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """The bytes of a slide of 7 × 6 tiles of the file, levels 1, 1/4 and 1/16, 0.5 µm/px."""
    path = tmp_path_factory.mktemp("healthy") / "slide.svs"
    svs.write_svs(textured_image(1500, 1300), path, mpp=0.5)
    return path.read_bytes()


@pytest.fixture(scope="module")
def healthy_tiles(healthy, tmp_path_factory):
    return tiles_of(healthy, tmp_path_factory.mktemp("tiles"))[1]


def tiles_of(content, folder, *, mpp=0.5):
    """Tile a slide of these bytes; return the store's attributes and the encoded tiles by column and row."""
    (folder / "slide.svs").write_bytes(content)
    tiles.tile_slide(
        folder / "slide.svs",
        folder / "S.h5",
        slide_id="S",
        tile_px=64,
        mpp=mpp,
        max_background=1.0,
        background_rule="saturation",
    )
    with tiles.open_store(folder / "S.h5") as store:
        places = [tuple(place) for place in store.coords.tolist()]
        return store.attributes, {place: store.encoded(index).tobytes() for index, place in enumerate(places)}


def reason_of(content, folder, **keywords):
    attributes, found = tiles_of(content, folder, **keywords)
    assert (attributes["status"], found) == ("excluded", {})
    return attributes["reason"]


def test_there_are_a_hundred_cases_and_more():
    assert len(NOT_SILENT) * SEEDS >= 100


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("kind", NOT_SILENT)
def test_a_damaged_slide_is_excluded_with_a_reason_or_read_as_it_was(kind, seed, healthy, healthy_tiles, tmp_path):
    attributes, found = tiles_of(damaged(healthy, kind, seed), tmp_path)
    if attributes["status"] == "excluded":
        assert found == {}
        assert 0 < len(attributes["reason"]) < 300
        assert "\n" not in attributes["reason"]
        assert str(tmp_path) not in attributes["reason"]
    else:
        assert found == healthy_tiles


# What nobody can know


def first_unnoticed(kind, content, expected, folder):
    """Return the first damaged slide of a kind that was accepted and gave other tiles than the healthy one."""
    for seed in range(20):
        changed = damaged(content, kind, seed)
        attributes, found = tiles_of(changed, folder)
        assert (attributes["status"] == "excluded") == bool(attributes["reason"])
        if attributes["status"] == "accepted" and found != expected:
            return changed
    return None


@pytest.mark.parametrize("kind", sorted(SILENT))
def test_damage_that_leaves_a_valid_slide_is_known_by_its_md5_alone(kind, healthy, healthy_tiles, tmp_path):
    """The limit, written down: each of these kinds has cases that no reader can tell from a slide that shows just that.

    Two thirds of single flipped bits leave a valid JPEG. An md5 of the file, from those who scanned it, finds them all.
    """
    passed = first_unnoticed(kind, healthy, healthy_tiles, tmp_path)
    assert passed is not None
    assert hashlib.md5(passed).hexdigest() != hashlib.md5(healthy).hexdigest()


# What OpenSlide does not report


def spoilt_in_the_middle(content, *, level, tile, seed=0):
    """Overwrite bytes of a tile's compressed pixels such that all of them are still decoded, with bytes left over."""
    start, length = levels_of(content)[level].tiles[tile]
    random = np.random.default_rng(seed)
    return overwritten(content, start + length // 2, bytes(random.integers(0, 255, 12).astype(np.uint8)))


def left_over_by(content, folder, *, level, tile):
    """Return the slide whose tile is spoilt by the first seed that OpenSlide takes no notice of and the check does."""
    path = folder / "spoilt.svs"
    for seed in range(100):
        spoilt = spoilt_in_the_middle(content, level=level, tile=tile, seed=seed)
        path.write_bytes(spoilt)
        if integrity.find_broken_tile(path, integrity.tiled_images(path)[level]) and openslide_reads(path, level):
            return spoilt
    raise AssertionError("no seed leaves bytes over")


def openslide_reads(path, level):
    with slides.open_slide(path) as slide:
        try:
            slide.read_region((0, 0), level, slide.level_dimensions[level])
        except openslide.OpenSlideError:
            return False
    return True


def test_a_tile_that_leaves_bytes_over_excludes_the_slide_with_the_place(healthy, tmp_path):
    # 7 tiles across: number 17 is the fourth of the third row.
    spoilt = left_over_by(healthy, tmp_path, level=0, tile=17)
    reason = reason_of(spoilt, tmp_path)
    assert reason.startswith("cannot be read (level 0, tile at (720, 480)): Corrupt JPEG data: ")
    assert "extraneous bytes" in reason


def test_the_level_that_is_read_is_the_one_that_is_checked(healthy, tmp_path):
    # At 2 µm/px the second level is read: 375 × 325 px, two tiles across.
    spoilt = left_over_by(healthy, tmp_path, level=1, tile=3)
    assert tiles_of(spoilt, tmp_path)[0]["status"] == "accepted"
    assert reason_of(spoilt, tmp_path, mpp=2.0).startswith("cannot be read (level 1, tile at (960, 960)): Corrupt")


def byte_count_of(content, tile, count):
    return overwritten(content, levels_of(content)[0].tags[COUNTS].value + 4 * tile, count.to_bytes(4, "little"))


@pytest.mark.parametrize("mpp", [0.5, 2.0])
def test_a_tile_without_bytes_was_not_read_and_excludes_the_slide(mpp, healthy, tmp_path):
    # OpenSlide would leave it blank, and the coarser level's tile above it too.
    reason = reason_of(byte_count_of(healthy, 17, 0), tmp_path, mpp=mpp)
    assert reason == "cannot be read (level 0, tile at (720, 480)): it has a place in the file and no bytes"


def test_a_tile_that_was_never_there_is_blank(healthy, healthy_tiles, tmp_path):
    # Neither place nor bytes: how a sparse file says "not scanned".
    places = levels_of(healthy)[0].tags[OFFSETS].value
    attributes, found = tiles_of(overwritten(byte_count_of(healthy, 17, 0), places + 4 * 17, bytes(4)), tmp_path)
    assert attributes["status"] == "accepted"
    # Columns and rows of 64 px wholly within the tile of 240 px at (720, 480).
    blank = {(column, row) for column in (12, 13, 14) for row in (8, 9, 10)}
    assert all((tiles.decode(found[place]) == 255).all() for place in blank)
    assert all(found[place] == healthy_tiles[place] for place in found if place[1] < 7 or place[1] > 11)


@pytest.mark.parametrize("count", [2**32 - 1, 2**31])
def test_an_absurd_byte_count_does_not_end_the_process(count, healthy, tmp_path):
    # GLib, in OpenSlide, ends the process that cannot have so much memory.
    reason = reason_of(byte_count_of(healthy, 17, count), tmp_path)
    assert f"tile 17 is said to have {count} bytes" in reason


def test_a_finest_level_of_another_shape_than_the_others_is_refused(healthy, tmp_path):
    # The same 42 tiles, in rows of six: every one but the first would lie elsewhere.
    reason = reason_of(damaged(healthy, "width_and_height_swapped", 0), tmp_path)
    assert reason == "level 0 has 1300 × 1500 px, and no other level has its shape (375 × 325, 93 × 81 px)"


def test_a_coarse_level_of_another_shape_does_no_harm(healthy, healthy_tiles, tmp_path):
    width = levels_of(healthy)[2].tags[WIDTH]
    changed = overwritten(healthy, width.value, (70).to_bytes(width.length, "little"))
    assert tiles_of(changed, tmp_path)[1] == healthy_tiles


@pytest.mark.parametrize("mpp", [b"nan", b"-0.5", b"inf", b"0", b"1e-300", b"1e300"])
def test_a_resolution_that_is_none_is_refused(mpp, healthy, tmp_path):
    tag = levels_of(healthy)[0].tags[DESCRIPTION]
    text = healthy[tag.value : tag.value + tag.length].partition(b"0.5000")
    assert "µm/px" in reason_of(overwritten(healthy, tag.value, text[0] + mpp + b"\0"), tmp_path)


@pytest.mark.parametrize("function", ["tiled_images", "find_missing_tile"])
def test_a_disk_that_fails_excludes_the_slide(function, healthy, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error", "slide.svs")

    monkeypatch.setattr(integrity, function, fail)
    assert reason_of(healthy, tmp_path).endswith(": Input/output error")


# Real slides


def test_what_is_not_tiff_is_left_to_openslide(shared_data):
    assert integrity.tiled_images(shared_data / "slides" / "camelyon_multiframe_level.dcm") == []
    assert integrity.tiled_images(shared_data / "slides" / "diag_example_asap.xml") == []


def test_jpeg_2000_is_not_decoded_here(shared_data):
    path = shared_data / "slides" / "TCGA-CR-7395-01A-01-TS1.svs"
    images = integrity.tiled_images(path)
    assert [(image.width, len(image.offsets)) for image in images] == [(4443, 252), (2221, 63)]
    assert not any(image.is_colour_jpeg for image in images)


@pytest.mark.parametrize(
    "pattern",
    [
        "slides/CMU-1-Small-Region.svs",
        "slides/TCGA-C8-A1HN-01Z-00-DX1.region40x.svs",
        "slides/diag_example.tif",
        "slides/openslide-python_small.svs",
        "colon/slides/TCGA-MO-10?0-*.svs",
    ],
)
def test_no_tile_of_a_healthy_real_slide_is_taken_for_broken(pattern, shared_data):
    paths = sorted(shared_data.glob(pattern))
    assert paths
    for path in paths:
        for image in integrity.tiled_images(path):
            assert image.is_colour_jpeg
            assert integrity.find_missing_tile(image) is None
            assert integrity.find_broken_tile(path, image) is None


def test_tiles_that_share_their_tables_are_checked_with_them(shared_data, tmp_path):
    content = (shared_data / "slides" / "CMU-1-Small-Region.svs").read_bytes()
    spoilt = left_over_by(content, tmp_path, level=0, tile=65)
    (tmp_path / "slide.svs").write_bytes(spoilt)
    (image,) = integrity.tiled_images(tmp_path / "slide.svs")
    assert image.tables
    broken = integrity.find_broken_tile(tmp_path / "slide.svs", image)
    assert (broken.x, broken.y) == (65 % 10 * 240, 65 // 10 * 240)
