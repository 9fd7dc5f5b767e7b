"""The camera of a microscope: each of its faults alone, by hand, and that at strength 0 it has none."""

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.lib.configuration.adaptation import Camera
from workflow_scripts.lib.demo import camera as cameras

# A camera without a fault, at the µm/px of what it sees.
PLAIN = {"strength": 1.0, "mpp": 0.5, "colour": 0.0, "light": 0.0, "vignette": 0.0, "blur_um": 0.0, "noise": 0.0}
CENTRED = cameras.Microscope(np.zeros(3), np.array([0.5, 0.5]))
GREY = np.full((101, 101, 3), 100, np.uint8)


def take(pixels: np.ndarray, *, microscope=CENTRED, seed: int = 0, mpp: float = 0.5, **changed) -> np.ndarray:
    camera = PLAIN | changed
    return cameras.take(pixels, mpp=mpp, camera=camera, microscope=microscope, rng=np.random.default_rng(seed))


def speckled(side: int = 120) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_a_camera_without_faults_gives_the_field_itself():
    assert np.array_equal(take(speckled()), speckled())


def test_at_strength_0_every_camera_gives_the_resampled_field():
    expected = np.asarray(Image.fromarray(speckled()).resize((60, 60), Image.Resampling.BICUBIC))
    faulty = Camera(strength=0, mpp=1.0).model_dump()
    microscope = cameras.draw_microscope(np.random.default_rng(2))
    seen = cameras.take(speckled(), mpp=0.5, camera=faulty, microscope=microscope, rng=np.random.default_rng(3))
    assert np.array_equal(seen, expected)


def test_a_photograph_has_exactly_the_camera_s_pixels_from_the_field_s_corner():
    # 101 px of 0.5 µm are 50.5 µm: 45 px of 1.1 µm, and 1 µm that is left out.
    rising = np.ascontiguousarray(np.broadcast_to(np.arange(101, dtype=np.uint8)[None, :, None] * 2, (101, 101, 3)))
    camera, rng = PLAIN | {"mpp": 1.1}, np.random.default_rng(0)
    coarse = cameras.take(rising, mpp=0.5, camera=camera, microscope=CENTRED, rng=rng)
    assert coarse.shape == (45, 45, 3)
    # The middle of the column i lies at (i + 0.5) · 2.2 px, where the field is 2 · ((i + 0.5) · 2.2 - 0.5).
    inside = np.arange(3, 42)
    assert np.abs(coarse[20, inside, 0] - 2 * ((inside + 0.5) * 2.2 - 0.5)).max() <= 1


def test_white_balance_is_the_factor_between_the_strongest_and_the_weakest_channel():
    microscope = cameras.Microscope(np.array([0.5, 0.0, -0.5]), np.array([0.5, 0.5]))
    # 1.21 is 1.1 squared: red is multiplied with 1.1, blue divided by it.
    assert take(GREY, colour=0.21, microscope=microscope)[0, 0].tolist() == [110, 100, 91]


def test_a_camera_has_one_white_balance_and_vignette():
    for seed in range(20):
        microscope = cameras.draw_microscope(np.random.default_rng(seed))
        assert np.ptp(microscope.tint) == pytest.approx(1)
        assert microscope.tint.mean() == pytest.approx(0, abs=1e-12)
        assert np.abs(microscope.brightest - 0.5).max() <= cameras.OFF_MIDDLE
    first, second = (take(GREY, colour=0.2, vignette=0.3, microscope=microscope, seed=seed) for seed in (1, 2))
    assert np.array_equal(first, second)


def test_the_corner_farthest_from_the_light_lacks_the_share_of_the_vignette():
    seen = take(GREY, vignette=0.3)[..., 0]
    assert seen[50, 50] == 100
    assert {seen[0, 0], seen[0, -1], seen[-1, 0], seen[-1, -1]} == {70}
    # The middle of a side is half as far, in squares.
    assert seen[0, 50] == 85


def test_exposure_is_each_photograph_s_own():
    means = [take(GREY, light=0.1, seed=seed).mean() for seed in range(200)]
    spread = np.std(np.log(np.array(means) / 100))
    assert spread == pytest.approx(0.1, abs=0.015)


def test_focus_is_each_photograph_s_own_and_the_lens_blurs_always():
    dot = np.zeros((101, 101, 3), np.uint8)
    dot[46:55, 46:55] = 255
    place = np.arange(101) - 50
    found = []
    for seed in range(30):
        weights = take(dot, blur_um=2.0, seed=seed)[..., 0].astype(float)
        # A square of 9 px has the variance (9² - 1) / 12 along each axis, to which the blur adds its own.
        found.append(np.sqrt((weights.sum(axis=0) * place**2).sum() / weights.sum() - 80 / 12) * 0.5)
    assert 1.85 <= min(found) < 2.4
    assert 3.4 < max(found) <= 4.05


def test_noise_is_white_and_of_the_grey_levels_that_are_asked_for():
    seen = take(GREY, noise=5.0).astype(float) - 100
    assert seen.std() == pytest.approx(5, rel=0.03)
    for one, other in ((seen[1:], seen[:-1]), (seen[..., 0], seen[..., 1])):
        assert abs((one * other).mean() / 25) < 0.03


def test_what_is_too_bright_is_clipped():
    bright = np.full((9, 9, 3), 250, np.uint8)
    microscope = cameras.Microscope(np.array([0.5, 0.0, -0.5]), np.array([0.5, 0.5]))
    assert take(bright, colour=0.21, microscope=microscope)[0, 0].tolist() == [255, 250, 227]


def test_strength_multiplies_every_fault():
    microscope = cameras.draw_microscope(np.random.default_rng(2))
    faults = {"colour": 0.1, "light": 0.05, "vignette": 0.2, "blur_um": 0.6, "noise": 3.0}
    doubled = {name: 2 * value for name, value in faults.items()}
    strong = take(speckled(), microscope=microscope, strength=2.0, **faults)
    assert np.array_equal(strong, take(speckled(), microscope=microscope, **doubled))


@pytest.mark.parametrize("suffix", cameras.SUFFIXES)
def test_a_photograph_s_file_has_its_pixels_and_none_of_their_size(tmp_path, suffix):
    smooth = np.asarray(Image.fromarray(speckled(12)).resize((120, 120), Image.Resampling.BICUBIC))
    for name in ("first", "second"):
        cameras.write_photograph(tmp_path / f"{name}{suffix}", smooth, jpeg_quality=90)
    with Image.open(tmp_path / f"first{suffix}") as image:
        assert (image.mode, image.size) == ("RGB", (120, 120))
        assert round(image.info["dpi"][0]) == 72
        off = np.abs(np.asarray(image).astype(int) - smooth).max()
    assert off <= (25 if suffix == ".jpg" else 0)
    assert (tmp_path / f"first{suffix}").read_bytes() == (tmp_path / f"second{suffix}").read_bytes()
