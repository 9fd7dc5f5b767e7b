"""Slides become grids of numbers, each where its patch lies, in one pass and in bounded memory."""

import h5py
import numpy as np
import pytest
import torch
from stores import jpeg, make_store
from test_stains import normalisation

from workflow_scripts.lib import compression, encoders, grids, models, stains, tiles
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.orientations import ORIENTATIONS, turned
from workflow_scripts.lib.tile_sources import TileSource

PX = 16


class Sketch(torch.nn.Module):
    """Four numbers of a patch: the mean red, and red weighted to the right, to the bottom, and to both."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(factor))

    def embed(self, batch):
        red, ramp = batch[:, 0], torch.linspace(-1, 1, batch.shape[-1])
        found = [red, red * ramp, red * ramp[:, None], red * ramp * ramp[:, None]]
        return torch.stack([each.mean(dim=(1, 2)) for each in found], dim=1) * self.factor


@pytest.fixture(autouse=True)
def sketching(monkeypatch):
    monkeypatch.setattr(encoders, "build", lambda description: Sketch())


def encoder(folder, *, factor=1.0, **changes):
    description = {
        "backbone": "multitask_encoder", "features": 4, "tile_px": PX, "shrink": 1, "mpp": 0.5, "stain": None,
        "encoder": "sketch", "tasks": {},
    }  # fmt: skip
    models.save(folder, Sketch(factor).state_dict(), description | changes)
    return folder


def slide(path, image, *, px=PX, without=(), backwards=False):
    """A store of all tiles of an image (height, width, 3) uint8 but some, by column and row."""
    rows, columns = image.shape[0] // px, image.shape[1] // px
    places = [(column, row) for row in range(rows) for column in range(columns) if (column, row) not in without]
    places = places[::-1] if backwards else places
    cut = [image[row * px : (row + 1) * px, column * px : (column + 1) * px] for column, row in places]
    make_store(path, np.reshape(cut, (-1, px, px, 3)), slide_id=path.stem)
    with h5py.File(path, "r+") as file:
        file["coords"][:] = np.reshape(places, (-1, 2))
        file.attrs.update(columns=columns, rows=rows)
    return TileSource(path)


def picture(rows, columns, *, px=PX, seed=0):
    """Smooth colours, which a JPEG keeps, and which differ in every direction."""
    down, across = np.meshgrid(np.arange(rows * px), np.arange(columns * px), indexing="ij")
    waves = np.random.default_rng(seed).uniform(0.02, 0.2, 6)
    channels = [np.sin(down * waves[c] + across * waves[c + 3] + c) for c in range(3)]
    return (128 + 100 * np.stack(channels, axis=-1)).astype(np.uint8)


def compress(path, *sources, folder, **changes):
    options = {"encoder_folder": folder, "orientations": 1, "stain": None, "batch_size": 5, "threads": 1} | changes
    compression.compress_slides(path, sources, [source.store.stem for source in sources], **options)
    return grids.list_slides([path])


@pytest.fixture
def trained(tmp_path):
    return encoder(tmp_path / "encoder")


def test_each_patch_is_encoded_where_it_lies_and_the_rest_is_zero(trained, tmp_path):
    image = picture(19, 70)
    source = slide(tmp_path / "s.h5", image, without=[(0, 0), (3, 2), *((c, 9) for c in range(70))])
    place = compress(tmp_path / "grids.h5", source, folder=trained)["s"]
    values, tissue = grids.read_grid(place, 0)
    assert place.shape == (1, 4, 19, 70)
    assert values.dtype == np.float16
    with tiles.open_store(source.store) as store:
        pixels = np.empty((len(store), PX, PX, 3), np.uint8)
        store.read(range(len(store)), pixels)
        columns, rows = store.coords.T
    expected = Sketch().embed(models.to_input(torch.from_numpy(pixels).permute(0, 3, 1, 2))).detach().numpy()
    np.testing.assert_allclose(values[:, rows, columns].T, expected, atol=1e-3)
    assert np.array_equal(np.argwhere(tissue), np.stack([rows, columns], axis=1))
    assert not values[:, ~tissue].any()


@pytest.mark.parametrize("orientation", range(ORIENTATIONS))
def test_a_grid_and_its_layout_turned_are_the_grid_of_the_turned_slide(trained, tmp_path, orientation):
    image = picture(3, 5)
    place = compress(tmp_path / "a.h5", slide(tmp_path / "s.h5", image), folder=trained, orientations=8)["s"]
    values, tissue = (torch.from_numpy(found) for found in grids.read_grid(place, orientation))
    # Decoded and encoded again as pixels, which loses less than a grey level of such a picture.
    whole = turned(torch.from_numpy(image).permute(2, 0, 1), orientation).permute(1, 2, 0).numpy()
    other = compress(tmp_path / "b.h5", slide(tmp_path / "t.h5", np.ascontiguousarray(whole)), folder=trained)["t"]
    expected, same = grids.read_grid(other, 0)
    np.testing.assert_allclose(turned(values, orientation), expected, atol=0.01)
    assert np.array_equal(turned(tissue, orientation), same)


def test_no_two_orientations_are_alike():
    square = torch.arange(9).reshape(3, 3)
    assert len({tuple(turned(square, way).flatten().tolist()) for way in range(ORIENTATIONS)}) == 8
    assert torch.equal(turned(square, 0), square)


def test_a_tile_of_several_patches_is_cut_into_them(trained, tmp_path):
    image = picture(6, 9 * 3)
    small = compress(tmp_path / "a.h5", slide(tmp_path / "s.h5", image), folder=trained, orientations=3)["s"]
    large = compress(
        tmp_path / "b.h5", slide(tmp_path / "t.h5", image, px=3 * PX, without=[(1, 1)]), folder=trained, orientations=3
    )["t"]
    assert large.shape == small.shape == (3, 4, 6, 27)
    for way in range(3):
        (expected, _), (found, tissue) = grids.read_grid(small, way), grids.read_grid(large, way)
        np.testing.assert_allclose(found[:, tissue], expected[:, tissue], atol=0.01)
    assert np.array_equal(np.argwhere(~tissue), [(3 + down, 3 + across) for down in range(3) for across in range(3)])


def test_tiles_that_do_not_come_in_rows_make_the_same_grid(trained, tmp_path):
    image = picture(20, 4)
    forward = compress(tmp_path / "a.h5", slide(tmp_path / "s.h5", image), folder=trained)["s"]
    backward = compress(tmp_path / "b.h5", slide(tmp_path / "t.h5", image, backwards=True), folder=trained)["t"]
    np.testing.assert_allclose(grids.read_grid(forward, 0)[0], grids.read_grid(backward, 0)[0], atol=1e-3)


def test_slides_without_tiles_have_no_grid_and_the_others_say_their_geometry(trained, tmp_path):
    sources = [
        slide(tmp_path / "blank.h5", picture(0, 0)), slide(tmp_path / "one.h5", picture(1, 1)),
        slide(tmp_path / "all_glass.h5", picture(1, 1), without=[(0, 0)]),
    ]  # fmt: skip
    found = compress(tmp_path / "grids.h5", *sources, folder=trained)
    assert list(found) == ["one"]
    assert found["one"].shape == (1, 4, 1, 1)
    assert found["one"].attributes == {
        "slide_id": "one", "tile_px": PX, "mpp": 0.5, "slide_mpp": 0.5, "patch_px": PX, "patch_level0_px": float(PX)
    }  # fmt: skip
    assert compress(tmp_path / "none.h5", sources[0], folder=trained) == {}
    assert compress(tmp_path / "nothing.h5", folder=trained) == {}


def test_slides_are_recoloured_as_models_see_them(tmp_path):
    source = slide(tmp_path / "s.h5", picture(1, 2))
    stains.write_normalisation(tmp_path / "s.json", normalisation(stains.MACENKO))
    folder = encoder(tmp_path / "encoder", stain={"method": "macenko"})
    recoloured = TileSource(source.store, normalisation=tmp_path / "s.json")
    place = compress(tmp_path / "grids.h5", recoloured, folder=folder, stain={"method": "macenko"})["s"]
    with tiles.open_store(source.store) as store:
        seen = [stains.recolour(tiles.decode(store.encoded(tile)), normalisation(stains.MACENKO)) for tile in (0, 1)]
    expected = Sketch().embed(models.to_input(torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2))).detach().numpy()
    np.testing.assert_allclose(grids.read_grid(place, 0)[0][:, 0].T, expected, atol=0.01)


def test_the_same_slides_give_the_same_bytes_whatever_the_batches(trained, tmp_path):
    sources = [slide(tmp_path / f"{name}.h5", picture(9, 5, seed=name)) for name in range(2)]
    for name in "ab":
        compress(tmp_path / name, *sources, folder=trained, orientations=8)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    other = compress(tmp_path / "c", *sources, folder=trained, orientations=8, batch_size=64)
    for slide_id, place in grids.list_slides([tmp_path / "a"]).items():
        np.testing.assert_allclose(grids.read_grid(place, 5)[0], grids.read_grid(other[slide_id], 5)[0], atol=2e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mpp": 0.25}, r"s: its tiles are 16 px at 0.5 µm/px, and model encoder was trained on 16 px at 0.25 µm/px"),
        ({"tile_px": 12}, r"s: its tiles are 16 px at 0.5 µm/px, and model encoder was trained on 12 px at 0.5 µm/px"),
        ({"stain": {"method": "macenko", "appearance": "x"}}, "s: its stain is normalised to none"),
        ({"factor": 1e6}, r"s: expected an encoder whose numbers are finite and below 65,504, found others; train"),
        ({"factor": float("nan")}, "finite"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(tmp_path, changes, message):
    source = slide(tmp_path / "s.h5", picture(2, 2))
    with pytest.raises(InputError, match=message):
        compress(tmp_path / "grids.h5", source, folder=encoder(tmp_path / "encoder", **changes))
    assert not (tmp_path / "grids.h5").exists()


def test_a_damaged_tile_is_named(trained, tmp_path):
    source = slide(tmp_path / "s.h5", picture(2, 2))
    with h5py.File(source.store, "r+") as file:
        file["tiles"][2] = np.frombuffer(jpeg(np.zeros((8, 8, 3), np.uint8)), np.uint8)
    with pytest.raises(InputError, match="tile 2 is not a JPEG of 16 x 16 px"):
        compress(tmp_path / "grids.h5", source, folder=trained)


def test_a_file_that_holds_no_grids_is_refused(tmp_path):
    slide(tmp_path / "s.h5", picture(1, 1))
    (tmp_path / "text.h5").write_text("no")
    for name in ("s.h5", "text.h5"):
        with pytest.raises(InputError, match=f"{name}: expected a file of grids"):
            grids.list_slides([tmp_path / name])


def test_progress_says_how_many_patches_of_which_slide(trained, tmp_path, caplog):
    caplog.set_level("INFO")
    compress(tmp_path / "grids.h5", slide(tmp_path / "s.h5", picture(2, 3)), folder=trained)
    assert "s: 6 of 6 patches" in caplog.text
    assert "1 of 1 slides: s compressed" in caplog.text
