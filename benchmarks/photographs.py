"""Photographs classified by an exported model: its runtime beside torch, and the whole command beside its network.

`photographs_network` is the same patches, in memory, through the trained network in torch and through the exported one.
`photographs_folder` is what the command does with each photograph of a folder (read, cut, judge tissue, encode, apply),
beside the exported network on as many patches in memory. The network is MobileNetV2 with random weights on patches of
512 px, as published; one thread.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks import harness
from benchmarks.harness import Contender
from workflow_scripts.lib import exported_models, model_export, models, photograph_classes
from workflow_scripts.lib.configuration.chain import Tiles
from workflow_scripts.lib.exported_models import ExportedModel

ROUNDS = 7
BACKBONE, CLASSES = "mobilenet_v2", ["normal", "adenoma", "adenocarcinoma"]
PX, MPP = 512, 1.333
# Of a camera of six megapixels behind an objective of 10: two patches a photograph by one.
PHOTOGRAPHS, CAMERA_MPP, WIDTH, HEIGHT = 8, 0.65, 3072, 2048
PATCHES_OF_EACH = 2
BATCH = photograph_classes.BATCH


def make_model(folder: Path) -> tuple[models.TrainedModel, ExportedModel]:
    """A network with random weights, as trained and as exported."""
    torch.manual_seed(0)
    description = {"backbone": BACKBONE, "classes": CLASSES, "tile_px": PX, "mpp": MPP, "stain": None}
    models.save(folder, models.build(BACKBONE, outputs=len(CLASSES)).state_dict(), description)
    settings = Tiles(tile_px=PX, mpp=MPP).model_dump(mode="json")
    model_export.export(folder / "m.onnx", path_to_model=folder, tiles=settings, method="dman", code_version="")
    return models.load(folder), exported_models.open_model(folder / "m.onnx", threads=1)


def tissue(height: int, width: int, seed: int) -> np.ndarray:
    """Pixels of the colour of stained tissue, none of which is background; uint8 RGB."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 170, (height // 16, width // 16, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    return np.clip(smooth + rng.integers(0, 24, smooth.shape), 0, 255).astype(np.uint8)


def by_network(trained: models.TrainedModel, exported: ExportedModel, patches: np.ndarray) -> dict[str, Contender]:
    """The same patches through both."""
    batches = [patches[start : start + BATCH] for start in range(0, len(patches), BATCH)]

    @torch.inference_mode()
    def in_torch() -> None:
        for batch in batches:
            trained.probabilities(models.to_input(torch.from_numpy(batch).permute(0, 3, 1, 2)))

    def in_onnxruntime() -> None:
        for batch in batches:
            exported.probabilities(batch)

    return {"torch": in_torch, "the exported model": in_onnxruntime}


def by_folder(exported: ExportedModel, folder: Path) -> dict[str, Contender]:
    """Photographs of a folder, and as many patches in memory, in batches of as many as a photograph has."""
    for number in range(PHOTOGRAPHS):
        Image.fromarray(tissue(HEIGHT, WIDTH, number)).save(folder / f"{number}.jpg", quality=90)
    found = photograph_classes.list_photographs(folder, mpp=CAMERA_MPP)
    patches = tissue(PX * PATCHES_OF_EACH, PX, 0).reshape(PATCHES_OF_EACH, PX, PX, 3)

    def in_memory() -> None:
        for _ in range(PHOTOGRAPHS):
            exported.probabilities(patches)

    def classified() -> None:
        n = [len(photograph_classes.classify(photograph, exported).coords) for photograph in found]
        assert n == [PATCHES_OF_EACH] * PHOTOGRAPHS, n

    return {"patches in memory": in_memory, "the photographs": classified}


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained, exported = make_model(folder)
        patches = np.stack([tissue(PX, PX, seed) for seed in range(BATCH)])
        of_network = by_network(trained, exported, patches)
        harness.compare("photographs_network", of_network, work=len(patches), unit="patches", rounds=ROUNDS)
        of_folder = by_folder(exported, folder)
        n_patches = PHOTOGRAPHS * PATCHES_OF_EACH
        harness.compare("photographs_folder", of_folder, work=n_patches, unit="patches", rounds=ROUNDS)


if __name__ == "__main__":
    main()
