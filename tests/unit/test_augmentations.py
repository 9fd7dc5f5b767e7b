"""Tiles are changed in training as the words of the configuration say, by no more, and alike in all processes."""

import math
from typing import get_args

import numpy as np
import pytest
import torch

from workflow_scripts.lib import augmentations, models, stains
from workflow_scripts.lib.configuration.sections import Augmentation

HEAVY = ["scaling", "elastic", "contrast", "hed_light", "hed_strong", "blur", "noise"]


def test_flips_move_pixels_and_change_none():
    images = torch.arange(3 * 4 * 4 * 5, dtype=torch.uint8).reshape(5, 3, 4, 4)
    flips = ["horizontal_flip", "vertical_flip"]
    flipped, batch = (
        augmentations.augment(images, flips, torch.Generator().manual_seed(0), of=5),
        models.to_input(images),
    )
    assert not torch.equal(flipped, batch)
    assert torch.equal(flipped.flatten(1).sort().values, batch.flatten(1).sort().values)


def test_without_augmentation_a_batch_is_as_it_was():
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    assert torch.equal(augmentations.augment(images, [], torch.Generator(), of=2), models.to_input(images))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_tiles_are_turned_and_recoloured_as_they_would_be_one_change_after_another(layout):
    """To the bit: bytes that are turned and become input are input that is turned."""
    images = torch.randint(0, 256, (40, 3, 6, 6), dtype=torch.uint8).contiguous(memory_format=layout)
    names = ["transpose", "colour_jitter", "horizontal_flip", "vertical_flip"]
    found = augmentations.augment(images, names, torch.Generator().manual_seed(5), of=40)
    generator, expected = torch.Generator().manual_seed(5), models.to_input(images)
    for change in (lambda x: x.flip(3), lambda x: x.flip(2), lambda x: x.transpose(2, 3)):
        chosen = torch.rand(40, generator=generator) < 0.5
        expected = torch.where(chosen[:, None, None, None], change(expected), expected)
    scale = torch.exp((torch.rand(40, 3, 1, 1, generator=generator) * 2 - 1) * math.log(1.25))
    chosen = torch.rand(40, generator=generator) < 0.5
    recoloured = (1 - (1 - expected) * scale).clamp(-1, 1)
    assert torch.equal(found, torch.where(chosen[:, None, None, None], recoloured, expected))
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_a_rotation_is_one_of_the_four_quarter_turns_alike_likely_whatever_else_turns_the_tile():
    images = torch.randint(0, 256, (1, 3, 6, 6), dtype=torch.uint8).expand(4000, 3, 6, 6)
    turned = augmentations.augment(images, ["rotation"], torch.Generator().manual_seed(1), of=4000)
    expected = [torch.rot90(models.to_input(images[:1]), quarters, dims=(2, 3)) for quarters in range(4)]
    counts = [(turned == one).flatten(1).all(dim=1).sum() for one in expected]
    assert sum(counts) == 4000
    assert min(counts) > 900
    names = ["rotation", "vertical_flip", "transpose", "horizontal_flip"]
    found = augmentations.augment(images[:200], names, torch.Generator().manual_seed(2), of=200)
    generator, expected = torch.Generator().manual_seed(2), models.to_input(images[:200])
    for change in (lambda x: x.flip(3), lambda x: x.flip(2), lambda x: x.transpose(2, 3)):
        chosen = torch.rand(200, generator=generator) < 0.5
        expected = torch.where(chosen[:, None, None, None], change(expected), expected)
    quarters = torch.randint(4, (200,), generator=generator).tolist()
    assert torch.equal(
        found, torch.stack([torch.rot90(x, k, dims=(1, 2)) for x, k in zip(expected, quarters, strict=True)])
    )


COLOURS = ["saturation", "brightness", "hue"]


def coloured(images: torch.Tensor, *names: str, seed: int = 0, part: slice = slice(None)) -> torch.Tensor:
    """Tiles after augmentation as RGB from 0 to 1, (n, height, width, 3)."""
    found = augmentations.augment(images[part], names, torch.Generator().manual_seed(seed), of=len(images), part=part)
    return (found.permute(0, 2, 3, 1) + 1) / 2


def of_one_colour(*rgb: int, tiles: int = 2000) -> torch.Tensor:
    return torch.tensor(rgb, dtype=torch.uint8)[None, :, None, None].expand(tiles, 3, 1, 1)


@pytest.mark.parametrize("name", COLOURS)
def test_half_of_the_tiles_keep_their_colours_and_all_pixels_of_a_tile_change_alike(name):
    images = of_one_colour(150, 90, 160)
    kept = (coloured(images, name) - images.permute(0, 2, 3, 1) / 255).abs().amax(dim=(1, 2, 3)) < 1e-6
    assert kept.float().mean() == pytest.approx(0.5, abs=0.04)
    wide = of_one_colour(150, 90, 160, tiles=50).expand(50, 3, 4, 4)
    found = coloured(wide, name, seed=3)
    assert torch.equal(found, found[:, :1, :1].expand_as(found))


@pytest.mark.parametrize("name", ["saturation", "hue"])
def test_grey_stays_grey_under_saturation_and_hue(name):
    images = of_one_colour(97, 97, 97)
    torch.testing.assert_close(coloured(images, name), images.permute(0, 2, 3, 1) / 255, atol=1e-6, rtol=0)


def test_saturation_scales_the_distance_from_grey_of_the_same_light():
    images = of_one_colour(150, 90, 160)
    found, before = coloured(images, "saturation")[:, 0, 0], images[0, :, 0, 0] / 255
    light = before @ torch.tensor([0.299, 0.587, 0.114])
    factors = (found - light) / (before - light)
    torch.testing.assert_close(factors, factors[:, :1].expand(-1, 3), atol=1e-4, rtol=0)
    assert 1 / 1.25 - 1e-4 < factors.min() < 0.81
    assert 1.24 < factors.max() < 1.25 + 1e-4


def test_brightness_scales_the_light_and_burns_out_at_white():
    images = of_one_colour(150, 90, 160)
    factors = coloured(images, "brightness")[:, 0, 0] / (images[0, :, 0, 0] / 255)
    torch.testing.assert_close(factors, factors[:, :1].expand(-1, 3), atol=1e-4, rtol=0)
    assert 1 / 1.1 - 1e-4 < factors.min() < 0.915
    assert 1.095 < factors.max() < 1.1 + 1e-4
    assert coloured(of_one_colour(250, 90, 160), "brightness").max() == 1


def test_hue_turns_colours_about_the_axis_of_grey_and_keeps_their_distance_from_it():
    images = of_one_colour(150, 90, 160)
    found, before = coloured(images, "hue")[:, 0, 0], images[0, :, 0, 0] / 255
    torch.testing.assert_close(found.mean(dim=1), before.mean().expand(2000), atol=1e-6, rtol=0)
    away, was = found - found.mean(dim=1, keepdim=True), before - before.mean()
    torch.testing.assert_close(away.norm(dim=1), was.norm().expand(2000), atol=1e-5, rtol=0)
    angles = torch.rad2deg(torch.arccos((away @ was / was.norm() ** 2).clamp(-1, 1)))
    assert 11.7 < angles.max() < 12.1
    # Both ways about: towards red, and towards blue.
    assert (found[:, 0] - before[0] > 0.01).any()
    assert (found[:, 2] - before[2] > 0.01).any()


def test_published_stains_are_six_times_as_far_apart_as_hues_are_turned():
    def hue(stain: np.ndarray) -> float:
        red, green, blue = np.exp(-stain)
        return math.degrees(math.atan2(math.sqrt(3) * (green - blue), 2 * red - green - blue))

    haematoxylin, eosin = map(hue, np.array(stains.PUBLISHED.vectors))
    assert (eosin - haematoxylin) % 360 == pytest.approx(6 * augmentations.HUE, abs=3)


def test_what_happens_to_a_tile_does_not_depend_on_how_a_step_is_parted():
    images = torch.randint(0, 256, (9, 3, 4, 4), dtype=torch.uint8)
    names = ["horizontal_flip", "rotation", "colour_jitter", *COLOURS]
    whole = coloured(images, *names)
    for rank in (0, 1):
        part = slice(rank, None, 2)
        torch.testing.assert_close(coloured(images, *names, part=part), whole[part], atol=1e-6, rtol=0)


def test_every_augmentation_that_the_configuration_knows_changes_tiles_in_a_way_of_its_own():
    images = torch.randint(30, 220, (64, 3, 4, 4), dtype=torch.uint8)
    found = [coloured(images, name) for name in ("none", *get_args(Augmentation))]
    for number, one in enumerate(found):
        assert not any(torch.allclose(one, other, atol=1e-3) for other in found[:number])


# Heavy augmentation


def tissue(tiles: int = 40, px: int = 32, seed: int = 0) -> torch.Tensor:
    """Pink tiles with a purple disc, a little rough."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:px, :px]
    inside = (rows - px // 3) ** 2 + (columns - px // 2) ** 2 < (px // 5) ** 2
    images = np.where(inside[..., None], (110, 70, 140), (215, 160, 195)) + rng.integers(-12, 13, (tiles, px, px, 3))
    return torch.from_numpy(images.astype(np.uint8)).permute(0, 3, 1, 2)


def changed(images: torch.Tensor, *names: str, seed: int = 1) -> torch.Tensor:
    """The tiles that were changed, of network input, and as they were: (2, n, 3, px, px)."""
    found = augmentations.augment(images, names, torch.Generator().manual_seed(seed), of=len(images))
    before = models.to_input(images)
    differ = (found != before).flatten(1).any(dim=1)
    assert differ.float().mean() == pytest.approx(0.5, abs=0.3)
    return torch.stack([found[differ], before[differ]])


@pytest.mark.parametrize("name", HEAVY)
def test_heavy_augmentation_changes_half_of_the_tiles_and_leaves_values_in_range(name):
    found = coloured(tissue(400, 16), name)
    kept = (found - tissue(400, 16).permute(0, 2, 3, 1) / 255).abs().amax(dim=(1, 2, 3)) < 1e-6
    assert kept.float().mean() == pytest.approx(0.5, abs=0.08)
    assert found.min() >= 0
    assert found.max() <= 1


def test_what_is_heavy_does_not_depend_on_how_a_step_is_parted():
    images = tissue(9, 16)
    whole = coloured(images, *HEAVY)
    for rank in (0, 1):
        part = slice(rank, None, 2)
        torch.testing.assert_close(coloured(images, *HEAVY, part=part), whole[part], atol=1e-5, rtol=0)


def test_what_is_heavy_is_drawn_after_all_else_so_that_older_models_see_what_they_saw():
    images, older = tissue(20, 16), ["horizontal_flip", "rotation", "colour_jitter", *COLOURS]
    before, after = coloured(images, *older), coloured(images, *older, "noise")
    same = (before == after).flatten(1).all(dim=1)
    assert same.float().mean() == pytest.approx(0.5, abs=0.3)


def test_a_scaled_tile_grows_or_shrinks_about_its_centre_by_a_fifth_at_most():
    px = 96
    rows, columns = torch.meshgrid(torch.arange(px), torch.arange(px), indexing="ij")
    disc = ((rows - px / 2 + 0.5) ** 2 + (columns - px / 2 + 0.5) ** 2 < 24**2).to(torch.uint8) * 200
    images = disc[None, None].expand(600, 3, px, px)
    light = coloured(images, "scaling").mean(dim=3) * 255 / 200
    radii = (light.sum(dim=(1, 2)) / math.pi).sqrt() / 24
    assert 0.795 < radii.min() < 0.83
    assert 1.17 < radii.max() < 1.205
    centre = (light * rows).sum(dim=(1, 2)) / light.sum(dim=(1, 2))
    torch.testing.assert_close(centre, torch.full((600,), (px - 1) / 2), atol=0.05, rtol=0)


def test_a_scaled_tile_is_reflected_where_it_has_no_pixels():
    """The edge of a tile that is white above and black below stays so."""
    images = torch.zeros(60, 3, 20, 20, dtype=torch.uint8)
    images[:, :, :10] = 255
    found = coloured(images, "scaling")
    torch.testing.assert_close(found[:, :5], torch.ones_like(found[:, :5]), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[:, -5:], torch.zeros_like(found[:, -5:]), atol=1e-5, rtol=0)


def test_elastic_shifts_are_smooth_and_have_the_stated_spread():
    weights = augmentations._knot_weights(64)
    knots = torch.randn(2000, weights.shape[1], weights.shape[1], generator=torch.Generator().manual_seed(0))
    field = weights @ knots @ weights.T * augmentations.ELASTIC
    assert field.std(dim=0).min() > 1.5
    assert field.std(dim=0).max() < 1.8
    # Of neighbours that are a px apart, by a sixteenth of that; and far ones go their own way.
    assert (field[:, :, 1:] - field[:, :, :-1]).std() < 0.15
    together = torch.corrcoef(torch.stack([field[:, 32, 10], field[:, 32, 50]]))[0, 1]
    assert together < 0.1


def test_contrast_scales_the_distance_from_the_mean_grey():
    found, before = changed(tissue(400), "contrast")
    factors = found.std(dim=(1, 2, 3)) / before.std(dim=(1, 2, 3))
    assert 1 / 1.36 < factors.min() < 0.78
    assert 1.25 < factors.max() < 1.36


def test_light_changes_of_stains_are_as_large_as_the_published_ones_were():
    """By the transform of the time ±0.05 moves a channel by 15 to 20 grey levels on average, by today's by 40."""
    found, before = changed(tissue(1000), "hed_light")
    moved = (found - before).abs().mean() * 127.5
    assert 14 < moved < 22
    strong, before = changed(tissue(1000), "hed_strong")
    assert 40 < (strong - before).abs().mean() * 127.5 < 80


def test_stains_change_as_their_densities_do_one_by_one():
    """Of a pixel that is worked out by hand, as the scikit-image of the time did: −log(2 + intensity)."""
    pixel = torch.tensor([0.6, 0.3, 0.5])
    factors, shifts = torch.tensor([1.05, 0.97, 1.0]), torch.tensor([0.02, -0.03, 0.01])
    of_stains = np.array(augmentations.STAINS)
    density = -np.log(2 + pixel.double().numpy()) @ np.linalg.inv(of_stains) * factors.numpy() + shifts.numpy()
    expected = np.exp(-(density @ of_stains)) - 2
    batch = (pixel * 2 - 1)[None, :, None, None].expand(1, 3, 4, 4)
    found = augmentations._restained(batch, factors[None], shifts[None])
    np.testing.assert_allclose((found[0, :, 0, 0].numpy() + 1) / 2, expected, atol=1e-5)


@pytest.mark.parametrize("level", [15, 245])
def test_tiles_without_stains_to_speak_of_keep_their_colours(level):
    images = of_one_colour(level, level, level, tiles=50)
    found = coloured(images, "hed_strong")
    torch.testing.assert_close(found, images.permute(0, 2, 3, 1) / 255, atol=1e-6, rtol=0)


def test_a_blur_spreads_a_point_by_its_sigma_and_keeps_its_light():
    image = torch.zeros(4, 1, 21, 21)
    image[:, :, 10, 10] = 1
    sigmas = torch.tensor([0.0, 0.5, 1.0, 1.5])
    found = augmentations._blurred(image, sigmas)[:, 0]
    torch.testing.assert_close(found.sum(dim=(1, 2)), torch.ones(4))
    away = (torch.arange(21) - 10.0) ** 2
    spread = (found.sum(dim=1) * away).sum(dim=1).sqrt()
    torch.testing.assert_close(spread, sigmas, atol=0.06, rtol=0)
    flat = augmentations._blurred(torch.full((4, 3, 3, 3), 0.3), sigmas)
    torch.testing.assert_close(flat, torch.full_like(flat, 0.3))


def test_noise_is_most_tiles_own_and_has_no_mean():
    images = of_one_colour(128, 128, 128, tiles=200).expand(200, 3, 24, 24)
    found, before = changed(images, "noise")
    noise = (found - before).flatten(1)
    assert noise.std(dim=1).max() < 0.105
    assert noise.std(dim=1).max() > 0.085
    assert noise.mean().abs() < 0.001
    together = torch.corrcoef(noise[noise.std(dim=1) > 0.02])
    assert (together.fill_diagonal_(0).abs().amax(dim=1) < 0.3).float().mean() > 0.7
