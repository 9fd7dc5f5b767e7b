"""Pen ink, folds and blur are told from tissue, at any µm/px."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from workflow_scripts.lib import quality
from workflow_scripts.lib.quality import Limits

CLEAN = {"sharpness": 500.0, "pen_green": 0.0, "pen_blue": 0.0, "pen_red": 0.0, "pen_black": 0.0, "dark": 0.0}
# What is left of the light, in R, G and B, by a marker's ink on the glass.
INKS = {
    "green": (0.15, 0.55, 0.50),
    "blue": (0.12, 0.30, 0.70),
    "red": (0.90, 0.08, 0.08),
    "black": (0.08, 0.08, 0.09),
}
# Stroma, nuclei and their share of the area, for several stains.
STAINS = {
    "TCGA": ((225, 155, 195), (95, 65, 135), 0.3),
    "blue nuclei": ((215, 165, 205), (75, 75, 140), 0.5),
    "strong": ((200, 90, 150), (60, 35, 95), 0.4),
    "orange eosin": ((235, 130, 150), (110, 60, 120), 0.2),
    "pale": ((242, 222, 234), (150, 130, 180), 0.1),
}


def tissue(stain="TCGA", *, side=512, seed=0):
    """Stroma with round nuclei of 7 µm, grained, at 0.5 µm/px: (side, side, 3) uint8."""
    rng = np.random.default_rng(seed)
    stroma, nucleus, share = STAINS[stain]
    down, across = np.indices((side, side))
    covered = np.zeros((side, side), bool)
    while covered.mean() < share:
        y, x = rng.integers(0, side, 2)
        covered |= (down - y) ** 2 + (across - x) ** 2 < 49
    image = np.where(covered[..., None], nucleus, stroma) + rng.normal(0, 8, (side, side, 1))
    return image.clip(0, 255).astype(np.uint8)


def marked(pixels, ink, *, upto=1.0):
    """`pixels` with ink over the left share of them, a stroke with a soft edge."""
    across = np.arange(pixels.shape[1])
    strength = np.clip((upto * pixels.shape[1] - across) / 20 + 0.5, 0, 1)[None, :, None]
    return (pixels * np.array(INKS[ink]) ** strength).astype(np.uint8)


def measured(pixels, *, mpp=0.5):
    return quality.measure(Image.fromarray(pixels), mpp=mpp)


@pytest.mark.parametrize("ink", INKS)
def test_ink_over_tissue_is_found_as_what_it_is(ink):
    found = measured(marked(tissue(), ink))
    assert found[f"pen_{ink}"] > 0.9
    assert quality.pen_share(found) == pytest.approx(found[f"pen_{ink}"], abs=0.1)


@pytest.mark.parametrize("ink", INKS)
def test_ink_on_glass_is_found(ink):
    found = measured(marked(np.full((256, 256, 3), (243, 242, 244), np.uint8), ink))
    assert found[f"pen_{ink}"] == 1


@pytest.mark.parametrize("ink", INKS)
def test_the_share_of_ink_is_the_strokes(ink):
    for share in (0.25, 0.5, 0.75):
        assert quality.pen_share(measured(marked(tissue(), ink, upto=share))) == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("stain", STAINS)
def test_stained_tissue_is_not_ink(stain):
    assert quality.pen_share(measured(tissue(stain))) < 0.01


@pytest.mark.parametrize(
    "colour",
    [
        (200, 80, 100),  # blood, of colon tiles
        (170, 68, 89),  # blood, darker
        (150, 30, 90),  # eosin, overstained
        (70, 40, 110),  # crowded nuclei
        (190, 195, 215),  # mucus
        (120, 90, 60),  # haemosiderin, bile
        (243, 242, 244),  # glass
    ],
)
def test_what_else_is_on_a_slide_is_not_ink(colour):
    found = measured(np.full((256, 256, 3), colour, np.uint8))
    assert quality.pen_share(found) == 0


def test_a_fold_is_dark_and_tissue_is_not():
    once = tissue("strong", seed=1)
    twice = (once.astype(float) ** 2 / 255).astype(np.uint8)
    assert measured(once)["dark"] < 0.05
    assert measured(twice)["dark"] > 0.9
    assert measured(np.full((256, 256, 3), 240, np.uint8))["dark"] == 0


def test_sharpness_of_a_checkerboard_by_hand():
    # 0 and 100 in turn: the Laplacian is +400 or -400 everywhere, its variance 160,000.
    board = np.repeat((np.indices((18, 18)).sum(axis=0) % 2 * 100).astype(np.uint8)[..., None], 3, axis=2)
    assert measured(board, mpp=1.0)["sharpness"] == pytest.approx(160_000)
    assert measured(np.full((64, 64, 3), 7, np.uint8))["sharpness"] == 0


def test_the_more_a_tile_is_blurred_the_less_sharp_it_is():
    image = Image.fromarray(tissue())
    # µm of the Gaussian's sigma, at 0.5 µm/px.
    found = [
        quality.sharpness(image.filter(ImageFilter.GaussianBlur(um / 0.5)) if um else image, mpp=0.5)
        for um in (0, 0.5, 1, 2, 4)
    ]
    assert found == sorted(found, reverse=True)
    assert found[2] < found[0] / 5
    assert found[3] < found[0] / 50


def test_measures_are_those_of_the_tissue_at_any_resolution():
    scene = marked(tissue("strong"), "green", upto=0.4)
    plain = measured(scene)
    for mpp, side in ((0.25, 1024), (1.0, 256)):
        resized = Image.fromarray(scene).resize((side, side), Image.Resampling.BICUBIC)
        found = quality.measure(resized, mpp=mpp)
        assert found["pen_green"] == pytest.approx(plain["pen_green"], abs=0.03)
        assert found["dark"] == pytest.approx(plain["dark"], abs=0.03)
        assert found["sharpness"] == pytest.approx(plain["sharpness"], rel=0.5)


@pytest.mark.parametrize(("side", "mpp"), [(16, 0.1), (16, 20.0), (2, 0.5), (17, 0.47)])
def test_a_tile_of_any_size_is_measured(side, mpp):
    found = measured(np.full((side, side, 3), (30, 100, 95), np.uint8), mpp=mpp)
    assert tuple(found) == quality.MEASURES
    assert found["pen_green"] == 1


def test_limits_give_the_first_reason_and_keep_a_tile_at_the_limit():
    limits = Limits(max_pen=0.5, max_dark=0.4, min_sharpness=100)
    assert limits.reason(CLEAN) == ""
    assert limits.reason(CLEAN | {"pen_green": 0.25, "pen_black": 0.25}) == ""
    assert limits.reason(CLEAN | {"pen_green": 0.26, "pen_black": 0.25, "dark": 1.0, "sharpness": 0.0}) == "pen"
    assert limits.reason(CLEAN | {"dark": 0.4, "sharpness": 100.0}) == ""
    assert limits.reason(CLEAN | {"dark": 0.41, "sharpness": 0.0}) == "dark"
    assert limits.reason(CLEAN | {"sharpness": 99.9}) == "blur"


def test_no_limit_keeps_everything():
    assert Limits().reason(dict.fromkeys(quality.PENS, 0.25) | {"dark": 1.0, "sharpness": 0.0}) == ""
