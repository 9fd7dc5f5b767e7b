"""Batches that torch recolours are at most a grey level from the exact ones, each tile by its own slide."""

import numpy as np
import pytest
import torch
from test_stains import LATTICE, normalisation

from workflow_scripts.lib import recolouring, stains
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.recolouring import Recolouring
from workflow_scripts.lib.stains import MACENKO, METHODS, PUBLISHED, VAHADANE, Normalisation

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
KEPT = Normalisation(MACENKO, None, None, "no tiles")


def batch(n=1):
    """The colours of the lattice as n tiles (n, 3, 208, 676)."""
    image = torch.from_numpy(LATTICE.reshape(208, 676, 3).copy()).permute(2, 0, 1)
    return torch.stack([image.roll(shift, 1) for shift in range(n)])


def exact(images, normalisations):
    found = [
        stains.recolour(image.permute(1, 2, 0).numpy(), one) for image, one in zip(images, normalisations, strict=True)
    ]
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)


def other(method):
    """A second slide's normalisation."""
    return Normalisation(method, normalisation(method).target, normalisation(method).source)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_within_a_grey_level_of_the_exact_one(method, device):
    of_tiles = [normalisation(method), other(method), normalisation(method)]
    found = Recolouring(of_tiles).to(device)(batch(3).to(device), torch.arange(3))
    assert found.dtype == torch.uint8
    assert found.device.type == device
    apart = (found.cpu().short() - exact(batch(3), of_tiles).short()).abs()
    assert apart.max() <= 1
    assert (apart > 0).float().mean() < 1e-3


@pytest.mark.parametrize("device", DEVICES)
def test_each_tile_is_recoloured_by_its_slide_and_kept_colours_are_kept(device):
    slides = [normalisation(MACENKO), KEPT, other(MACENKO)]
    ready = Recolouring(slides).to(device)
    indices = torch.tensor([2, 1, 0, 1, 2])
    found = ready(batch(5).to(device), indices).cpu()
    assert (found.short() - exact(batch(5), [slides[index] for index in indices]).short()).abs().max() <= 1
    assert torch.equal(found[1], batch(5)[1])
    # One after the other is as all at once.
    alone = torch.cat(
        [ready(image[None].to(device), index[None]) for image, index in zip(batch(5), indices, strict=True)]
    )
    assert torch.equal(alone.cpu(), found)


def test_without_places_all_tiles_are_of_the_first_slide():
    ready = Recolouring([normalisation(VAHADANE), other(VAHADANE)])
    assert torch.equal(ready(batch(2)), ready(batch(2), torch.tensor([0, 0])))


def test_slides_that_all_keep_their_colours_are_left_alone():
    images = batch(2)
    assert Recolouring([KEPT])(images) is images
    assert torch.equal(Recolouring([KEPT, None])(images, torch.arange(2)), images)


def test_images_as_they_are_decoded_and_images_in_a_row_give_the_same():
    images = torch.from_numpy(LATTICE.reshape(1, 208, 676, 3).copy()).permute(0, 3, 1, 2)
    assert not images.is_contiguous()
    ready = Recolouring([normalisation(MACENKO)])
    assert torch.equal(ready(images), ready(images.contiguous()))


def test_the_input_is_not_changed():
    images = batch()
    Recolouring([normalisation(MACENKO)])(images)
    assert torch.equal(images, batch())


def test_a_batch_in_parts_is_as_in_one(monkeypatch):
    ready = Recolouring([normalisation(MACENKO), other(MACENKO)])
    places = torch.tensor([0, 1, 1, 0, 1])
    parts = []
    for at_once in (1, 2 * 208 * 676, 1 << 23):
        monkeypatch.setattr(recolouring, "AT_ONCE_ON_CPU", at_once)
        parts.append(ready(batch(5), places))
    assert torch.equal(parts[0], parts[1])
    assert torch.equal(parts[0], parts[2])


def test_slides_of_two_methods_are_refused():
    with pytest.raises(InputError, match="normalised by one method, found macenko and vahadane"):
        Recolouring([normalisation(MACENKO), Normalisation(VAHADANE, PUBLISHED, PUBLISHED), KEPT])
