"""An autoencoder is applied to the sampled tiles of slides, and their latents are kept by slide, class and domain."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import test_autoencoders as autoencoder_tests
import test_training as classifiers

from workflow_scripts.lib import autoencoders, encoding, latents
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.training_data import SlideTiles, sample_tiles

GROUPS = [("liver", "primary"), ("colon", "metastatic"), ("liver", "metastatic"), ("liver", "metastatic")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoded")
    slides = autoencoder_tests.slides(folder, "0101", seed=1)
    autoencoder_tests.train(folder / "model", slides, slides[:2], max_epochs=1)
    return folder / "model", slides


def encode(path, slides, groups, folder, **changes):
    options = {"model_folder": folder, "stain": None, "batch_size": 5, "threads": 1} | changes
    described = pd.DataFrame(groups, columns=["class", "domain"]).assign(slide_id=[slide.slide_id for slide in slides])
    encoding.encode_slides(path, slides, described, **options)


def test_tiles_are_sampled_of_each_class_half_of_each_domain_whatever_group_their_files_are_in(trained):
    _, slides = trained
    ids = [slide.slide_id for slide in slides]
    described = [
        {"slide_id": slide, "class": name, "domain": domain, "group": "odd" if place % 2 else "even"}
        for place, (slide, (name, domain)) in enumerate(zip(ids, GROUPS, strict=True))
    ]
    stores = [str(slide.source.store) for slide in slides]
    files = {"even_stores": stores[::2], "odd_stores": stores[1::2]}
    options = {"thresholds": {}, "classes": ["colon", "liver"], "tiles_per_class": 10, "seed": 1}
    sampled, rows = encoding.sample_slides(files, slides=described, **options)
    assert [slide.slide_id for slide in sampled] == rows["slide_id"].tolist() == ids
    assert [str(slide.source.store) for slide in sampled] == stores
    assert [slide.label for slide in sampled] == [1, 0, 1, 1]
    assert sorted(len(slide.sampled) for slide in sampled) == [2, 3, 5, 5]


def test_latents_are_those_of_the_sampled_tiles_with_their_places(trained, tmp_path):
    folder, slides = trained
    sampled = sample_tiles(slides, GROUPS, most=5, seed=1)
    encode(tmp_path / "latents.h5", sampled, GROUPS, folder)
    found = latents.read_latents(tmp_path / "latents.h5")
    expected = autoencoders.latents(autoencoders.load(folder), SlideTiles(sampled), batch_size=100)
    np.testing.assert_allclose(found.values, expected, atol=1e-4)
    counts = [len(slide.sampled) for slide in sampled]
    assert sorted(counts) == [2, 3, 5, 5]
    assert found.tiles["slide_id"].tolist() == np.repeat([slide.slide_id for slide in slides], counts).tolist()
    assert found.tiles["class"].tolist() == np.repeat([name for name, _ in GROUPS], counts).tolist()
    assert found.tiles["domain"].tolist() == np.repeat([domain for _, domain in GROUPS], counts).tolist()
    # The tile at position p of these stores is in column p of the only row.
    assert found.tiles["col"].tolist() == np.concatenate([slide.sampled for slide in sampled]).tolist()
    assert (found.tiles["row"] == 0).all()


def test_all_tiles_are_encoded_where_none_were_sampled_and_a_slide_may_have_none(trained, tmp_path):
    folder, slides = trained
    given = [slides[0], replace(slides[1], sampled=np.empty(0, np.int64))]
    encode(tmp_path / "latents.h5", given, GROUPS[:2], folder)
    assert set(latents.read_latents(tmp_path / "latents.h5").tiles["slide_id"]) == {"1_0"}
    assert len(latents.read_latents(tmp_path / "latents.h5").tiles) == 8


def test_the_same_tiles_give_the_same_bytes(trained, tmp_path):
    folder, slides = trained
    for name in "ab":
        encode(tmp_path / name, slides, GROUPS, folder)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_tiles_in_other_colours_and_other_models_are_refused(trained, tmp_path):
    folder, slides = trained
    with pytest.raises(InputError, match="1_0: its stain is normalised to macenko, published, and model autoencoder"):
        encode(tmp_path / "l.h5", slides, GROUPS, folder, stain={"method": "macenko", "appearance": "published"})
    classifiers.train(tmp_path / "classifier", slides[:2], slides[2:], max_epochs=1)
    with pytest.raises(InputError, match="expected the model of a variational_autoencoder, found one of a shufflenet"):
        encode(tmp_path / "l.h5", slides, GROUPS, tmp_path / "classifier")
    assert not (tmp_path / "l.h5").exists()
