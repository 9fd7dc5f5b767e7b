"""Models are applied in one pass over a slide's tiles, and what they say is kept by coordinate."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from stores import make_store

from workflow_scripts.lib import inference, models, predictions, stains, tiles
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.stains import Normalisation, write_normalisation
from workflow_scripts.lib.tile_scores import read_tile_scores, write_tile_scores
from workflow_scripts.lib.tile_sources import TileSource

A, B = "A/round_1", "B/round_2"
# Noise over a colour of its own.
RNG = np.random.default_rng(0)
IMAGES = (RNG.integers(0, 192, (7, 1, 1, 3)) + RNG.integers(0, 64, (7, 32, 32, 3))).astype(np.uint8)


def make_model(folder: Path, *, seed: int, mpp: float = 0.5) -> Path:
    torch.manual_seed(seed)
    network = models.build("shufflenet_v2_x0_5")
    # Running statistics of tiles like ours, as a trained network has: without them it says the same of every tile.
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        network.train()(models.to_input(torch.from_numpy(IMAGES).permute(0, 3, 1, 2)))
    description = {"backbone": "shufflenet_v2_x0_5", "tile_px": 32, "mpp": mpp, "stain": None}
    models.save(folder, network.state_dict(), description)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("training")
    return {A: make_model(folder / A, seed=1), B: make_model(folder / B, seed=2)}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiles")
    return {
        "s1": make_store(folder / "s1.h5", IMAGES, slide_id="s1"),
        "s2": make_store(folder / "s2.h5", IMAGES[:3], slide_id="s2"),
        "empty": make_store(folder / "empty.h5", IMAGES[:0], slide_id="empty"),
    }


def predict(path, stores, folders, *, models_of_slide=None, batch_size=4):
    inference.predict_slides(
        path,
        sources={slide: TileSource(store) for slide, store in stores.items()},
        models_of_slide=models_of_slide or {slide: [A, B] for slide in stores},
        model_folders=folders,
        stain=None,
        batch_size=batch_size,
        threads=1,
    )
    return {slide: predictions.read_slide(path, slide) for slide in predictions.slides_in(path)}


def one_by_one(folder: Path, store: Path) -> np.ndarray:
    """The probability of each tile, made without the engine: a tile at a time."""
    network = models.load(folder).network
    with tiles.open_store(store) as opened, torch.inference_mode():
        pixels = [torch.from_numpy(tiles.decode(opened.encoded(index)).copy()) for index in range(len(opened))]
        logits = [network((image.permute(2, 0, 1)[None].float() / 255 - 0.5) * 2)[0, 0] for image in pixels]
    return np.array([1 / (1 + np.exp(-float(logit))) for logit in logits])


def test_a_probability_is_that_of_the_tile_alone(tmp_path, stores, folders):
    coords, found = predict(tmp_path / "0.h5", stores, folders)["s1"]
    assert coords.dtype == np.int32
    assert coords.tolist() == [[column, 0] for column in range(7)]
    for trait, round_, name in (("A", "round_1", A), ("B", "round_2", B)):
        assert found[trait][round_].dtype == np.float32
        np.testing.assert_allclose(found[trait][round_], one_by_one(folders[name], stores["s1"]), atol=1e-5)
        # The tiles and the models are told apart at all.
        assert np.ptp(found[trait][round_]) > 0.05
    assert np.abs(found["A"]["round_1"] - found["B"]["round_2"]).max() > 0.05


def test_two_models_in_one_pass_say_what_each_says_alone(tmp_path, stores, folders):
    both = predict(tmp_path / "both.h5", stores, folders)
    for name in (A, B):
        alone = predict(tmp_path / "alone.h5", stores, folders, models_of_slide={slide: [name] for slide in stores})
        trait, round_ = name.split("/")
        for slide in stores:
            assert list(alone[slide][1]) == [trait]
            np.testing.assert_array_equal(alone[slide][1][trait][round_], both[slide][1][trait][round_])


def test_the_order_of_the_tiles_in_a_store_changes_nothing(tmp_path, stores, folders):
    turned = make_store(tmp_path / "turned.h5", IMAGES[::-1], slide_id="s1")
    with h5py.File(turned, "a") as file:
        file["coords"][:] = file["coords"][:][::-1]
    straight = predict(tmp_path / "a.h5", {"s1": stores["s1"]}, folders)["s1"]
    reversed_ = predict(tmp_path / "b.h5", {"s1": turned}, folders)["s1"]
    by_place = [
        {tuple(place): value for place, value in zip(coords.tolist(), found["A"]["round_1"].tolist(), strict=True)}
        for coords, found in (straight, reversed_)
    ]
    assert by_place[0] == pytest.approx(by_place[1], abs=1e-6)
    assert reversed_[0].tolist() == straight[0][::-1].tolist()


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_the_batch_size_changes_nothing(tmp_path, stores, folders, batch_size):
    expected = predict(tmp_path / "a.h5", stores, folders)["s1"][1]
    found = predict(tmp_path / "b.h5", stores, folders, batch_size=batch_size)["s1"][1]
    np.testing.assert_allclose(found["A"]["round_1"], expected["A"]["round_1"], atol=1e-6, rtol=0)


def test_each_tile_is_decoded_once_for_all_models(tmp_path, stores, folders, monkeypatch):
    decoded = []
    decode = tiles.decode

    def counted(encoded, **into):
        decoded.append(bytes(encoded))
        return decode(encoded, **into)

    monkeypatch.setattr(tiles, "decode", counted)
    predict(tmp_path / "0.h5", stores, folders)
    assert len(decoded) == 7 + 3


def test_each_model_is_loaded_once_for_all_slides_and_none_that_no_slide_needs(tmp_path, stores, folders, monkeypatch):
    loaded = []
    load = models.load
    monkeypatch.setattr(models, "load", lambda folder: loaded.append(folder) or load(folder))
    predict(tmp_path / "0.h5", stores, folders, models_of_slide={slide: [A] for slide in stores})
    assert loaded == [folders[A]]


def test_a_slide_has_the_models_that_it_needs_and_no_other(tmp_path, stores, folders):
    needed = {"s1": [A], "s2": [B, A], "empty": [B]}
    found = predict(tmp_path / "0.h5", stores, folders, models_of_slide=needed)
    assert {slide: sorted(traits) for slide, (_, traits) in found.items()} == {
        "s1": ["A"],
        "s2": ["A", "B"],
        "empty": ["B"],
    }


def test_a_store_without_tiles_gives_a_group_without_rows(tmp_path, stores, folders):
    coords, found = predict(tmp_path / "0.h5", stores, folders)["empty"]
    assert coords.shape == (0, 2)
    assert found["A"]["round_1"].shape == found["B"]["round_2"].shape == (0,)


def test_the_same_work_gives_the_same_bytes(tmp_path, stores, folders):
    predict(tmp_path / "a.h5", stores, folders)
    predict(tmp_path / "b.h5", dict(reversed(stores.items())), folders)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_model_of_other_tiles_is_refused_and_no_file_is_left(tmp_path, stores, folders):
    coarse = {A: folders[A], B: make_model(tmp_path / "coarse", seed=1, mpp=1.0)}
    said = r"s1: its tiles are 32 px at 0\.5 µm/px, and model B/round_2 was trained on 32 px at 1\.0 µm/px"
    with pytest.raises(InputError, match=said):
        predict(tmp_path / "out" / "0.h5", {"s1": stores["s1"]}, coarse)
    assert list((tmp_path / "out").iterdir()) == []


def test_tiles_of_another_size_are_refused(tmp_path, folders):
    small = make_store(tmp_path / "small.h5", IMAGES[:, :16, :16], slide_id="small")
    with pytest.raises(InputError, match=r"small: its tiles are 16 px at 0\.5 µm/px"):
        predict(tmp_path / "0.h5", {"small": small}, folders)


def test_what_is_no_store_is_refused(tmp_path, folders):
    (tmp_path / "s.h5").write_bytes(b"not HDF5")
    with pytest.raises(InputError, match=r"s\.h5: not a readable tile store"):
        predict(tmp_path / "0.h5", {"s": tmp_path / "s.h5"}, folders)


# Models


def test_pixels_become_input_between_minus_one_and_one():
    batch = models.to_input(torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 3, 1, 1))
    assert batch.dtype == torch.float32
    np.testing.assert_allclose(batch.flatten().numpy(), [-1, -0.6, 1], atol=1e-6)


def test_the_same_seed_builds_the_same_network():
    built = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        built.append(models.build("shufflenet_v2_x0_5").state_dict()["conv1.0.weight"])
    assert torch.equal(built[0], built[1])
    assert not torch.equal(built[0], built[2])


def test_a_loaded_model_does_not_learn_from_what_it_sees(folders):
    model = models.load(folders[A])
    assert not model.network.training
    assert model.description["mpp"] == 0.5


# Filters and stains


def test_tiles_that_do_not_pass_the_filter_are_not_predicted(tmp_path, stores, folders):
    columns = np.arange(7)
    coords = np.stack([columns, np.zeros_like(columns)], axis=1)
    write_tile_scores(tmp_path / "0.h5", [("s1", coords, columns / 10)])
    source = TileSource(stores["s1"], tumour=tmp_path / "0.h5", threshold=0.3)
    found, probabilities = predict_one(source, folders)
    assert found.tolist() == [[3, 0], [4, 0], [5, 0], [6, 0]]
    np.testing.assert_allclose(probabilities, one_by_one(folders[A], stores["s1"])[3:], atol=1e-5)


def predict_one(source: TileSource, folders: dict[str, Path]) -> tuple[np.ndarray, np.ndarray]:
    [(_, coords, found)] = inference.predict_tumour(
        [("s1", source)], model_folder=folders[A], stain=None, batch_size=3, threads=1
    )
    return coords, found


def test_a_filter_gives_every_tile_its_probability(tmp_path, stores, folders):
    slides = [(name, TileSource(stores[name])) for name in ("s2", "s1")]
    found = inference.predict_tumour(slides, model_folder=folders[A], stain=None, batch_size=4, threads=1)
    write_tile_scores(tmp_path / "0.h5", found)
    for name, _ in slides:
        with tiles.open_store(stores[name]) as store:
            scores = read_tile_scores(tmp_path / "0.h5", name, store.coords)
        np.testing.assert_allclose(scores, one_by_one(folders[A], stores[name]), atol=1e-5)


def test_tiles_are_seen_in_the_colours_that_they_are_normalised_to(tmp_path, stores, folders):
    """As if they had been stored in these colours."""
    vectors = ((0.6, 0.7, 0.387), (0.1, 0.95, 0.295))
    normalisation = Normalisation(stains.MACENKO, stains.Stains(vectors, (1.5, 1.2)), stains.PUBLISHED)
    write_normalisation(tmp_path / "s1.json", normalisation)
    with tiles.open_store(stores["s1"]) as store:
        images = np.stack([stains.recolour(tiles.decode(store.encoded(i)), normalisation) for i in range(len(store))])
    _, seen = predict_one(TileSource(stores["s1"], normalisation=tmp_path / "s1.json"), folders)
    network = models.load(folders[A]).network
    with torch.inference_mode():
        logits = network(models.to_input(torch.from_numpy(images).permute(0, 3, 1, 2)))[:, 0]
    # A grey level more or less.
    np.testing.assert_allclose(seen, torch.sigmoid(logits).numpy(), atol=0.01)
    _, raw = predict_one(TileSource(stores["s1"]), folders)
    assert np.abs(seen - raw).max() > 0.05


def test_a_model_of_another_stain_is_refused(tmp_path, stores, folders):
    with pytest.raises(InputError, match=r"s2: its stain is normalised to macenko, .* trained with none"):
        inference.predict_slides(
            tmp_path / "0.h5",
            sources={"s2": TileSource(stores["s2"])},
            models_of_slide={"s2": [A]},
            model_folders=folders,
            stain={"method": "macenko", "appearance": {}},
            batch_size=4,
            threads=1,
        )
