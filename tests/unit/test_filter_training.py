"""What a tumour filter learns from: the annotated slides of its sets, and of these the tiles that are drawn."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from stores import make_store
from test_training import SETTINGS

from workflow_scripts.lib import filter_training, models, provenance, tile_models
from workflow_scripts.lib.configuration.chain import FilterTraining
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.tile_sources import TileSource

PLACES = {"train": [("own", "A"), ("own", "B")], "validation": [("own", "C")]}
# A small version of the published detector, and of its training: 3.2 of cross-cancer transfer.
DETECTOR = SETTINGS | {"head": [16, 8], "dropout": 0.8, "checkpoint_on": "loss", "max_epochs": 1}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> tuple[list[Path], list[Path]]:
    """Stores and tables of labels of three slides of 12, 20 and 8 tiles, of which a third is tumour, and bright."""
    folder = tmp_path_factory.mktemp("cohort")
    stores, tables = [], []
    for slide, tiles in zip("ABC", (12, 20, 8), strict=True):
        tumour = np.arange(tiles) % 3 == 0
        images = np.where(tumour, 200, 90).astype(np.uint8)[:, None, None, None] + np.zeros(
            (tiles, 32, 32, 3), np.uint8
        )
        stores.append(make_store(folder / f"{slide}.h5", images, slide_id=slide))
        table = pd.DataFrame({"slide_id": slide, "col": range(tiles), "row": 0})
        table.assign(label=np.where(tumour, "tumour", "background")).to_csv(
            folder / f"{slide}.tsv", sep="\t", index=False
        )
        tables.append(folder / f"{slide}.tsv")
    return stores, tables


def learned(cohort, places=PLACES, **changes):
    stores, tables = cohort
    options = {"label": "tumour", "tiles_per_class": 6, "seed": 1, "name": "filter"} | changes
    return filter_training.labelled_slides(places, map(TileSource, stores), tables, **options)


def train(folder: Path, cohort, settings=DETECTOR, **options) -> Path:
    slides = learned(cohort)
    tile_models.train_model(
        folder, identity={"trait": "tumour", "round": 1}, training=slides["train"], validation=slides["validation"],
        settings=settings, stain=None, tile_threshold=0.5, seed=1, code_version="1", workers=0, carries_head=False,
        **options,
    )  # fmt: skip
    return folder


def test_a_slide_is_labelled_tile_by_tile_and_named_with_its_cohort(cohort):
    slides = learned(cohort, tiles_per_class=None)
    assert [slide.slide_id for slide in slides["train"]] == ["own/A", "own/B"]
    assert slides["train"][0].label.tolist() == [1, 0, 0] * 4
    assert slides["train"][0].sampled is None


def test_all_filters_of_the_same_slides_see_the_same_tiles_in_the_same_sets(cohort):
    first, second = learned(cohort, name="random"), learned(cohort, name="imagenet")
    for name in ("train", "validation"):
        for one, other in zip(first[name], second[name], strict=True):
            assert one.slide_id == other.slide_id
            assert one.sampled.tobytes() == other.sampled.tobytes()
            assert one.label.tobytes() == other.label.tobytes()
    labels = np.concatenate([slide.label[slide.sampled] for of in first.values() for slide in of])
    assert np.bincount(labels).tolist() == [6, 6]


def test_a_slide_whose_annotations_were_refused_teaches_nothing(cohort, tmp_path):
    stores, tables = cohort
    pd.DataFrame(columns=["slide_id", "col", "row", "label"]).to_csv(tmp_path / "B.tsv", sep="\t", index=False)
    found = learned((stores, [tables[0], tmp_path / "B.tsv", tables[2]]))
    assert [slide.slide_id for slide in found["train"]] == ["own/A"]


def test_a_set_of_one_class_is_refused(cohort, tmp_path):
    stores, tables = cohort
    table = pd.read_csv(tables[2], sep="\t").assign(label="background")
    table.to_csv(tmp_path / "C.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match=r"tumour filter filter: expected annotated tiles of tumour .* validation set"):
        learned((stores, [*tables[:2], tmp_path / "C.tsv"]))


def test_a_filter_starts_from_anothers_convolutions_whatever_head_that_has(cohort, tmp_path):
    first = train(tmp_path / "first", cohort, DETECTOR | {"head": [4], "learning_rate": 1e-2})
    still = DETECTOR | {"learning_rate": 1e-30}
    second = train(tmp_path / "second", cohort, still, starts_from=first)
    alone = train(tmp_path / "alone", cohort, still)
    weights = {name: models.load(tmp_path / name).network.state_dict() for name in ("first", "second", "alone")}
    assert torch.equal(weights["second"]["conv1.0.weight"], weights["first"]["conv1.0.weight"])
    # The head is the one that it would have had without.
    assert torch.equal(weights["second"]["fc.0.weight"], weights["alone"]["fc.0.weight"])
    described = json.loads((second / "model.json").read_text())
    assert described["starts_from"] == provenance.file_digest(first / "weights.safetensors")
    assert (described["head"], described["dropout"]) == ([16, 8], 0.8)
    assert "starts_from" not in json.loads((alone / "model.json").read_text())


def test_a_filter_starts_from_a_file_of_imagenets_weights_as_the_configuration_gives_it(cohort, tmp_path):
    torch.manual_seed(5)
    pretrained = torchvision.models.get_model("shufflenet_v2_x0_5", weights=None).state_dict()
    save_file(pretrained, tmp_path / "own.safetensors")
    training = FilterTraining(
        backbone="shufflenet_v2_x0_5", weights="imagenet", imagenet=tmp_path / "own.safetensors"
    ).model_dump(mode="json", include={"weights", "imagenet"})
    train(tmp_path / "m", cohort, DETECTOR | training | {"learning_rate": 1e-30})
    weights = models.load(tmp_path / "m").network.state_dict()
    assert torch.equal(weights["conv1.0.weight"], pretrained["conv1.0.weight"])
    described = json.loads((tmp_path / "m" / "model.json").read_text())
    assert described["imagenet"] == provenance.file_digest(tmp_path / "own.safetensors")


def test_a_model_says_which_tiles_of_which_sets_it_learned_from(cohort, tmp_path):
    first, second = (
        train(tmp_path / name, cohort, DETECTOR | {"learning_rate": rate}) for name, rate in (("a", 1e-3), ("b", 1e-2))
    )
    found = [json.loads((folder / "model.json").read_text())["learned_from"] for folder in (first, second)]
    assert found[0] == found[1]
    other = tile_models.digest_of_sets(*learned(cohort, tiles_per_class=4).values())
    assert other != found[0] == tile_models.digest_of_sets(*learned(cohort).values())


def test_a_filter_of_another_backbone_is_no_start(cohort, tmp_path):
    other = train(tmp_path / "other", cohort, DETECTOR | {"backbone": "mobilenet_v2"})
    with pytest.raises(InputError, match="its backbone is mobilenet_v2, and this model's shufflenet_v2_x0_5"):
        train(tmp_path / "second", cohort, starts_from=other)


def test_the_kept_epoch_is_that_of_the_lowest_validation_loss(cohort, tmp_path):
    train(tmp_path / "m", cohort, DETECTOR | {"max_epochs": 4, "learning_rate": 1e-2})
    curve = pd.read_csv(tmp_path / "m" / "curve.tsv", sep="\t")
    assert curve["chosen"].sum() == 1
    assert curve.loc[curve["chosen"] == 1, "validation_loss"].item() == curve["validation_loss"].min()
