"""Stains are found as they were mixed, as staintools finds them; what has none is told with its reason."""

import numpy as np
import pytest
from PIL import Image
from staining import VECTORS, angle, stained

from workflow_scripts.lib import stain_fitting, stains
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.stain_fitting import Unfit, fit, is_tissue, normalise
from workflow_scripts.lib.stains import LEAST_SQUARES, MACENKO, METHODS, PUBLISHED, REINHARD, VAHADANE, Colours

EXTRACTIVE = (MACENKO, LEAST_SQUARES, VAHADANE)
TARGETS = dict.fromkeys(EXTRACTIVE, PUBLISHED) | {REINHARD: Colours((60.0, 22.0, -12.0), (13.0, 7.0, 6.0))}


def tissue_of(path):
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    return pixels[is_tissue(pixels)]


# What is found


@pytest.mark.parametrize("method", EXTRACTIVE)
def test_stains_are_found_as_they_were_mixed(method):
    found = fit(stained(), method=method)
    assert angle(found.vectors, VECTORS).max() < 5
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1)
    # 1.8 and 1.4 were the most.
    np.testing.assert_allclose(found.maxima, (1.8, 1.4), rtol=0.15)


@pytest.mark.parametrize("method", [MACENKO, VAHADANE])
def test_half_the_stain_has_half_the_maxima_and_the_same_vectors(method):
    once, half = (fit(stained(strength=strength, noise=0), method=method) for strength in (1.0, 0.5))
    assert angle(once.vectors, half.vectors).max() < 4
    np.testing.assert_allclose(half.maxima, np.array(once.maxima) / 2, rtol=0.15)


@pytest.mark.parametrize("name", ["source.png", "target.png", "example1.png"])
def test_macenko_is_as_staintools_finds_it(name, shared_data):
    # Tissue that both agree on: staintools takes the luminosity in whole steps of 1/255.
    tools = pytest.importorskip("staintools", exc_type=ImportError)

    def by_staintools(of):
        # As an image of one row; it changes what it is given.
        return tools.MacenkoStainExtractor.get_stain_matrix(of[None].copy())

    pixels = tissue_of(shared_data / "stain" / name)
    darker = pixels[pixels.max(axis=1) < 190]
    found = fit(darker, method=MACENKO)
    np.testing.assert_allclose(found.vectors, by_staintools(darker), atol=1e-6)
    assert angle(fit(pixels, method=MACENKO).vectors, by_staintools(pixels)).max() < 0.5


def cost(vectors, absorbed):
    """What Vahadane's dictionary makes least."""
    shares = np.array(stains.lasso(np, absorbed, np.ravel(vectors), penalty=stain_fitting.DICTIONARY_PENALTY))
    missed = absorbed - np.array(vectors).T @ shares
    return float((0.5 * (missed**2).sum(axis=0) + stain_fitting.DICTIONARY_PENALTY * shares.sum(axis=0)).mean())


@pytest.mark.parametrize("name", ["source.png", "target.png", "example1.png"])
def test_vahadane_is_where_staintools_learning_goes_and_costs_less(name, shared_data):
    spams = pytest.importorskip("spams", exc_type=ImportError)
    pixels = tissue_of(shared_data / "stain" / name)[::4]
    absorbed = np.array(stains.absorbances(np, pixels.T.astype(float), method=VAHADANE))
    # As staintools asks for it, but for a number of steps: it learns for a second, which depends on the machine.
    learned = spams.trainDL(
        X=np.asfortranarray(absorbed), K=2, lambda1=0.1, mode=2, modeD=0, posAlpha=True, posD=True, verbose=False,
        iter=1000, numThreads=1,
    ).T  # fmt: skip
    learned = learned[np.argsort(-learned[:, 0])]
    learned /= np.linalg.norm(learned, axis=1, keepdims=True)
    found = fit(pixels, method=VAHADANE).vectors
    assert angle(found, learned).max() < 1
    assert cost(found, absorbed) <= cost(learned, absorbed)


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_pixels_and_a_second_time_make_no_difference(method):
    pixels = stained(5000)
    found = fit(pixels, method=method)
    assert fit(pixels.copy(), method=method) == found
    turned = fit(pixels[::-1], method=method)
    for one, other in zip(vars(found).values(), vars(turned).values(), strict=True):
        np.testing.assert_allclose(np.ravel(one), np.ravel(other), atol=1e-5)


def test_reinhard_measures_means_and_deviations_of_lab():
    # Two greys, L* 100 and 0.
    pixels = np.array([[255] * 3, [0] * 3] * 600, np.uint8) + np.array([[0] * 3, [1, 0, 2]] * 600, np.uint8)
    found = fit(pixels, method=REINHARD)
    assert found.means[0] == pytest.approx(50, abs=0.5)
    assert found.deviations[0] == pytest.approx(50, abs=0.5)


def test_tissue_is_what_is_darker_than_four_fifths_of_white():
    greys = np.arange(256, dtype=np.uint8).repeat(3).reshape(-1, 3)
    # L* of 80 is a grey of 198.
    assert is_tissue(greys).sum() == pytest.approx(198, abs=1)


# What is not normalised


def test_a_stained_slide_is_normalised():
    for method in METHODS:
        found = normalise(stained(), TARGETS[method], method=method)
        assert (found.reason, found.keeps_colours, found.n_pixels) == ("", False, 20_000)
        assert found.target == TARGETS[method]


def grey(noise):
    rng = np.random.default_rng(0)
    pixels = rng.normal(120, 30, (20_000, 1)) + rng.normal(0, noise, (20_000, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def one_stain(stain):
    rng = np.random.default_rng(0)
    pixels = 255 * np.exp(-rng.gamma(2, 0.5, (20_000, 1)) * VECTORS[stain]) + rng.normal(0, 3, (20_000, 3))
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    return pixels[is_tissue(pixels)]


@pytest.mark.parametrize("method", EXTRACTIVE)
@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.zeros((0, 3), np.uint8), "nearly blank: 0 pixels are as dark as tissue"),
        (stained(999), "nearly blank: 999 pixels are as dark as tissue, at least 1,000 are needed"),
        (stained(strength=0.2, noise=0.5), "weakly stained"),
        (grey(0), "one stain"),
        (grey(5), "one stain"),
        (one_stain(0), "one stain"),
        (one_stain(1), "one stain"),
        (np.full((5000, 3), (150, 100, 160), np.uint8), "one stain"),
        (np.zeros((5000, 3), np.uint8), "one stain"),
        (stained(vectors=np.array([[0.86, 0.28, 0.43], [0.16, 0.87, 0.47]])), "not haematoxylin and eosin: the haem"),
        (stained(vectors=np.array([[0.72, 0.65, 0.24], [0.35, 0.5, 0.79]])), "not haematoxylin and eosin: the eosin"),
    ],
    ids=["no tissue", "little", "weak", "grey", "noisy grey", "H alone", "E alone", "flat", "black", "green", "DAB"],
)
def test_what_has_not_two_stains_keeps_its_colours(method, pixels, reason):
    found = normalise(pixels, PUBLISHED, method=method)
    assert found.keeps_colours
    assert found.reason.startswith(reason)
    assert found.n_pixels == len(pixels)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (stained(10), "nearly blank"),
        (stained(strength=0.1, noise=0), "weakly stained: L* would be amplified"),
        (grey(0), "weakly stained: a* would be amplified more than 100 times, at most 3"),
        (np.full((5000, 3), 77, np.uint8), "one colour"),
    ],
)
def test_reinhard_keeps_the_colours_of_what_has_no_spread(pixels, reason):
    assert normalise(pixels, TARGETS[REINHARD], method=REINHARD).reason.startswith(reason)


def test_a_slide_that_is_not_stained_by_both_keeps_its_colours(shared_data):
    # Nearly empty, and not of haematoxylin and eosin.
    import openslide

    with openslide.OpenSlide(shared_data / "slides" / "luna_1065626.svs") as slide:
        pixels = np.asarray(slide.get_thumbnail((2000, 2000)).convert("RGB")).reshape(-1, 3)
    pixels = pixels[is_tissue(pixels)]
    for method in EXTRACTIVE:
        assert normalise(pixels, PUBLISHED, method=method).reason.startswith("not haematoxylin and eosin")


def test_a_slide_may_be_amplified_up_to_the_limit():
    pixels = stained(noise=0)
    found = fit(pixels, method=MACENKO)
    for factor, is_kept in ((stain_fitting.MOST_AMPLIFIED * 0.99, False), (stain_fitting.MOST_AMPLIFIED * 1.01, True)):
        target = type(found)(found.vectors, (found.maxima[0], found.maxima[1] * factor))
        assert normalise(pixels, target, method=MACENKO).keeps_colours == is_kept


def test_unfit_pixels_say_why_and_a_wrong_method_what_there_is():
    with pytest.raises(Unfit, match="nearly blank"):
        fit(stained(10), method=MACENKO)
    with pytest.raises(InputError, match="stain method 'ruifrok': expected one of reinhard, macenko"):
        fit(stained(), method="ruifrok")
