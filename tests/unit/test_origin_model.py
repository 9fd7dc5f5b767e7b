"""The published network of metastatic origin, and how it is trained: its layers, its schedule, and one step."""

import math
from pathlib import Path

import numpy as np
import pytest
import test_training as training
import torch
import yaml
from snakemake.utils import update_config
from stores import make_store

from workflow_scripts.lib import configuration, files, models

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def study() -> configuration.Configuration:
    """The published study."""
    content = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    update_config(content, yaml.safe_load((REPOSITORY / "studies" / "origin.yaml").read_text()))
    return configuration.load(content)


def test_tiles_of_128_px_cover_100_um(study):
    assert study.tiles.tile_px == 128
    assert study.tiles.tile_px * study.tiles.mpp == 100


def test_each_regime_takes_80000_steps_in_ten_epochs_and_transfer_half_of_them_on_primaries(study):
    origin = study.origin
    epochs = {name: regime.max_epochs or origin.training.max_epochs for name, regime in origin.regimes.items()}
    assert epochs == {"primary": 10, "metastatic": 10, "pretrained": 5, "transfer": 5}
    assert origin.training.steps_per_epoch * epochs["primary"] == 80_000
    assert origin.regimes["transfer"].starts_from == "pretrained"
    assert origin.regimes["pretrained"].domain == "primary"
    assert origin.regimes["transfer"].domain == "metastatic"
    # Nothing stops it before.
    assert origin.training.stop_patience >= 10 <= origin.training.plateau_patience


def test_the_network_is_resnet50_with_an_output_for_each_of_fourteen_classes(study):
    network = models.build(study.origin.training.backbone, outputs=len(study.origin.classes))
    blocks = [len(getattr(network, f"layer{number}")) for number in (1, 2, 3, 4)]
    assert blocks == [3, 4, 6, 3]
    assert network.fc.out_features == 14
    # 25,557,032 with a thousand outputs (He et al. 2016), of 2,048 weights and a bias each.
    assert sum(p.numel() for p in network.parameters()) == 25_557_032 - (1000 - 14) * 2049


@pytest.mark.slow
def test_one_step_of_the_published_training_is_made(tmp_path, study):
    rng = np.random.default_rng(1)
    classes = study.origin.classes
    slides = [
        training.labelled(f"s{label}", make_store(tmp_path / f"{label}.h5", images, slide_id=f"s{label}"), label)
        for label in range(len(classes))
        for images in [rng.integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)]
    ]
    published = study.origin.training.model_dump(exclude={"workers"})
    training.train(
        tmp_path / "model", slides, slides, classes=classes,
        **published | {"steps_per_epoch": 1, "max_epochs": 1, "threads": 2},
    )  # fmt: skip
    curve = files.read_table(tmp_path / "model" / "curve.tsv")
    assert curve["step"].tolist() == [1]
    # Nothing is known of fourteen classes at first.
    assert abs(curve["train_loss"].item() - math.log(14)) < 0.5
    model = models.load(tmp_path / "model")
    assert model.description["settings"]["learning_rate"] == 1e-3
    with torch.no_grad():
        probabilities = model.probabilities(models.to_input(torch.zeros(1, 3, 128, 128, dtype=torch.uint8)))
    assert probabilities.shape == (1, 14)
    assert probabilities.sum().item() == pytest.approx(1)
