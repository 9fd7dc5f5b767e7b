"""An exported model is one file that says what the trained one says, and nothing of where it was made."""

import json

import numpy as np
import pytest
import torch
from exported import CLASSES, TILES, describe, write_exported

from workflow_scripts.lib import exported_models, model_export, models, provenance
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.exported_models import METADATA

THREE = ["Normal", "Adenoma", "Adenocarcinoma"]


def make_model(folder, backbone, *, classes=THREE, **described):
    """A classifier whose batch statistics are those of noise over plain colours, as those of a trained one are."""
    torch.manual_seed(1)
    network = models.build(backbone, outputs=len(classes) or 1)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        network.train()(models.to_input(torch.from_numpy(patches(24)).permute(0, 3, 1, 2)))
        # Otherwise it begins with the same probability of every class.
        if backbone == "squeezenet1_1":
            network.classifier[1].weight *= 100
            network.classifier[1].bias += 1
    description = {"backbone": backbone, "tile_px": 32, "mpp": 1.0, "stain": None} | described
    models.save(folder, network.state_dict(), description | ({"classes": classes} if classes else {}))
    return folder


def patches(count):
    generator = np.random.default_rng(count)
    return (generator.integers(0, 192, (count, 1, 1, 3)) + generator.integers(0, 64, (count, 32, 32, 3))).astype(
        np.uint8
    )


def export(folder, path, **changed):
    settings = {"path_to_model": folder, "tiles": TILES, "method": "dman", "code_version": "abc"} | changed
    model_export.export(path, **settings)
    return path


def trained_probabilities(folder, pixels):
    with torch.inference_mode():
        batch = models.to_input(torch.from_numpy(pixels).permute(0, 3, 1, 2))
        return models.load(folder).probabilities(batch).numpy()


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    torch.set_num_threads(1)
    folder = make_model(tmp_path_factory.mktemp("training"), "mobilenet_v2")
    return folder, export(folder, folder / "dman.onnx")


# What is exported


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_exported_model_says_what_the_trained_one_says_whatever_the_batch(mobilenet, count):
    folder, path = mobilenet
    found = exported_models.open_model(path, threads=1).probabilities(patches(count))
    assert found.dtype == np.float32
    assert found.shape == (count, 3)
    np.testing.assert_allclose(found, trained_probabilities(folder, patches(count)), atol=1e-5)
    # It tells these patches apart, so that agreement means something.
    assert count == 1 or np.ptp(found, axis=0).max() > 0.01


def test_the_file_says_what_it_takes_to_use_it(mobilenet):
    folder, path = mobilenet
    assert exported_models.open_model(path, threads=1).description == {
        "form": 1,
        "method": "dman",
        "classes": THREE,
        "tiles": TILES,
        "weights": provenance.file_digest(folder / "weights.safetensors"),
        "code_version": "abc",
    }


def test_the_file_names_no_path_of_the_machine(mobilenet):
    content = mobilenet[1].read_bytes()
    for name in (str(provenance.REPOSITORY), "site-packages", ".py", str(mobilenet[0])):
        assert name.encode() not in content


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory):
    folder = make_model(tmp_path_factory.mktemp("training"), "squeezenet1_1", crop_px=24)
    return folder, export(folder, folder / "a.onnx")


def test_the_same_model_gives_the_same_bytes_whatever_cuts_no_patch(squeezenet):
    folder, path = squeezenet
    again = export(folder, folder / "b.onnx", tiles=TILES | {"threads": 2})
    assert again.read_bytes() == path.read_bytes()


def test_of_a_model_that_learnt_from_squares_only_the_square_in_the_middle_of_a_patch_counts(squeezenet):
    folder, path = squeezenet
    expected = trained_probabilities(folder, patches(3))
    model = exported_models.open_model(path, threads=1)
    # 32 px less 24 px: a frame of 4 px.
    framed = patches(3)
    framed[:, :4] = framed[:, -4:] = framed[:, :, :4] = framed[:, :, -4:] = 0
    np.testing.assert_allclose(model.probabilities(framed), expected, atol=1e-5)
    framed[:, 4:8] = 0
    assert np.abs(model.probabilities(framed) - expected).max() > 1e-4


@pytest.mark.parametrize(
    ("described", "tiles", "message"),
    [
        ({"classes": ()}, {}, "expected a model of classes, found one of a trait"),
        ({}, {"mpp": 0.5}, r"it learned from tiles of .*1.0.*, and `tiles` has .*0.5"),
        ({"mpp": "native"}, {"mpp": "native"}, "photographs are brought to a number of µm/px"),
        ({"stain": {"method": "macenko"}}, {}, "it learned from normalised stains"),
    ],
)
def test_a_model_that_no_photograph_fits_is_refused(tmp_path, described, tiles, message):
    folder = make_model(tmp_path / "model", "squeezenet1_1", **described)
    with pytest.raises(InputError, match=message):
        export(folder, tmp_path / "a.onnx", tiles=TILES | tiles)
    assert not (tmp_path / "a.onnx").exists()


def test_a_model_that_says_otherwise_once_exported_is_refused(tmp_path, monkeypatch):
    folder = make_model(tmp_path / "model", "squeezenet1_1")
    other = write_exported(tmp_path / "other.onnx", outputs=3, classes=THREE)
    monkeypatch.setattr(model_export, "_graph", lambda *_, **__: model_export.onnx.load(other))
    with pytest.raises(InputError, match="exported, its probabilities differ by"):
        export(folder, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


# What is read


def test_a_model_in_the_form_of_an_exported_one_is_applied(tmp_path):
    model = exported_models.open_model(write_exported(tmp_path / "m.onnx"), threads=1)
    # Red 200, blue 100: 1 / (1 + exp(−1)) = 0.7310586.
    patch = np.full((1, 32, 32, 3), (200, 0, 100), np.uint8)
    np.testing.assert_allclose(model.probabilities(patch), [[0.2689414, 0.7310586]], atol=1e-6)
    assert model.description["classes"] == CLASSES


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "form none, without form, method, classes"),
        ({METADATA: "{"}, "expected JSON under 'histocarta'"),
        ({METADATA: "[]"}, "form none|expected JSON"),
        ({METADATA: json.dumps(describe(form=2))}, "of form 1, found form 2"),
        ({METADATA: json.dumps(describe(tiles={"tile_px": 32}))}, "without mpp, max_background"),
        ({METADATA: json.dumps(describe(tiles=TILES | {"background_rule": "otsu"}))}, "found 'otsu'"),
        ({METADATA: json.dumps(describe(tiles=TILES | {"tile_px": 64}))}, r"found \{'patches': \[32, 32, 3\]"),
        ({METADATA: json.dumps(describe(classes=THREE))}, "expected arrays of"),
    ],
)
def test_a_model_of_another_form_is_refused(tmp_path, metadata, message):
    with pytest.raises(InputError, match=message):
        exported_models.open_model(write_exported(tmp_path / "m.onnx", metadata), threads=1)


@pytest.mark.parametrize("content", [b"", b"a text", None])
def test_what_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "m.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"m\.onnx: expected (a model in the ONNX format|an exported model)"):
        exported_models.open_model(path, threads=1)
