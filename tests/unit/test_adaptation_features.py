"""The planes of microscope adaptation show the same patches by each method, as many of each class and domain."""

from pathlib import Path

import numpy as np
import pytest
import torch
from adapting import CLASSES, SETTINGS, Study

from workflow_scripts.lib import adaptation_features, adaptation_training, files, models
from workflow_scripts.lib.training_data import SlideTiles


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    every = [*CLASSES, "Background"]
    return Study(tmp_path_factory.mktemp("study"), {
        "s1": ("source", "test", every * 3), "s2": ("source", "test", ["Normal"] * 9),
        "l1": ("labelled_target", "test", every * 2), "l2": ("labelled_target", "test", ["Adenoma", *every]),
        "l3": ("labelled_target", "test", ["Background"]),
    })  # fmt: skip


NAMES = ["s1", "s2", "l1", "l2", "l3"]


def parts(study: Study) -> list[adaptation_training.DomainSlide]:
    found = adaptation_training.labelled_parts(
        study.places, map(study.source, NAMES), map(study.path_to_labels, NAMES), {}, classes=CLASSES
    )
    return [slide for of_sets in found.values() for of_set in of_sets.values() for slide in of_set]


def save_model(folder: Path, seed: int, **described: object) -> Path:
    torch.manual_seed(seed)
    network = models.build(SETTINGS["backbone"], outputs=len(CLASSES))
    description = {"backbone": SETTINGS["backbone"], "classes": CLASSES, "tile_px": 32, "mpp": 0.5} | described
    models.save(folder, network.state_dict(), description)
    return folder


def test_as_many_patches_are_sampled_of_each_class_and_domain(study):
    sampled, table = adaptation_features.sampled_patches(parts(study), classes=CLASSES, most=200, seed=1)
    # Three of each class have both; photographs have three of each, slides three of two classes.
    assert table.groupby(["domain", "class"]).size().tolist() == [3] * 6
    assert "l3" not in set(table["slide_id"])
    # The table is in the order of the patches.
    data = SlideTiles(sampled)
    assert [CLASSES[int(label)] for label in data.labels] == table["class"].tolist()
    assert [data.slides[place].slide_id.split("/")[1] for place in data.slide_of_tile] == table["slide_id"].tolist()
    labels = {name: files.read_table(study.path_to_labels(name)).set_index("col")["label"] for name in NAMES}
    assert [labels[row.slide_id][row.col] for row in table.itertuples()] == table["class"].tolist()


def test_a_seed_draws_its_own_patches_and_always_the_same(study):
    def drawn(seed: int) -> list[tuple[str, int]]:
        _, table = adaptation_features.sampled_patches(parts(study), classes=CLASSES, most=2, seed=seed)
        assert len(table) == 12
        return list(zip(table["slide_id"], table["col"], strict=True))

    assert drawn(1) == drawn(1) != drawn(2)


def plane(path: Path, study: Study, folders: dict[str, Path], *, most: int = 200):
    adaptation_features.write_plane(
        path, model_folders=folders, slides=study.places,
        sources={method: [study.source(name) for name in NAMES] for method in folders},
        paths_to_labels=[study.path_to_labels(name) for name in NAMES], slide_labels={}, stain=None, classes=CLASSES,
        most=most, perplexity=30, seed=1, batch_size=7, threads=1,
    )  # fmt: skip
    return files.read_table(path, text=["method", "domain", "class", "slide_id"])


def test_each_method_has_a_plane_of_its_own_of_the_same_patches(tmp_path, study):
    before = torch.get_num_threads()
    folders = {name: save_model(tmp_path / name, seed) for seed, name in enumerate(("dman", "dann"))}
    found = plane(tmp_path / "tsne.tsv", study, folders)
    torch.set_num_threads(before)
    assert found.columns.tolist() == adaptation_features.COLUMNS
    one, other = (found[found["method"] == name].reset_index(drop=True) for name in ("dman", "dann"))
    assert len(one) == len(other) == 18
    columns = ["domain", "class", "slide_id", "col", "row"]
    assert one[columns].equals(other[columns])
    assert np.isfinite(one[["x", "y"]].to_numpy()).all()
    assert not np.allclose(one[["x", "y"]], other[["x", "y"]])
    first = (tmp_path / "tsne.tsv").read_bytes()
    plane(tmp_path / "tsne.tsv", study, folders)
    assert (tmp_path / "tsne.tsv").read_bytes() == first


def test_features_are_those_that_the_model_pools_of_the_middle_of_its_patches(tmp_path, study):
    folder = save_model(tmp_path, 0, crop_px=24)
    sampled, _ = adaptation_features.sampled_patches(parts(study), classes=CLASSES, most=200, seed=1)
    found = adaptation_features.pooled_features(folder, sampled, stain=None, batch_size=7, device=torch.device("cpu"))
    data = SlideTiles(sampled)
    with torch.inference_mode():
        given = models.to_input(data.__getitems__(range(len(data)))[0])
        expected, _ = models.with_features(models.load(folder).network, given[:, :, 4:28, 4:28])
    assert found.std() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * found.std())


def test_too_few_patches_give_no_plane(tmp_path, study):
    small = Study(tmp_path / "small", {name: (part, "test", CLASSES[:1]) for name, part in (
        ("s1", "source"), ("l1", "labelled_target"),
    )})  # fmt: skip
    adaptation_features.write_plane(
        tmp_path / "tsne.tsv", model_folders={"dman": tmp_path}, slides=small.places,
        sources={"dman": [small.source("s1"), small.source("l1")]},
        paths_to_labels=[small.path_to_labels("s1"), small.path_to_labels("l1")], slide_labels={}, stain=None,
        classes=CLASSES, most=5, perplexity=30, seed=1, batch_size=7, threads=1,
    )  # fmt: skip
    table = files.read_table(tmp_path / "tsne.tsv")
    assert table.columns.tolist() == adaptation_features.COLUMNS
    assert len(table) == 0
