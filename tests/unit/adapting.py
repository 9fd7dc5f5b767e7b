"""Small slides and photographs of three classes, as the methods of microscope adaptation learn from them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import test_training as classifiers
from stores import make_store

from workflow_scripts.lib import adaptation_training, files
from workflow_scripts.lib.configuration.adaptation import AdaptationMethod
from workflow_scripts.lib.tile_sources import TileSource

CLASSES = ["Normal", "Adenoma", "Adenocarcinoma"]
PX = 32
# Period of the stripes of a class in px; the one that is no class has none.
STRIPES = {"Normal": 16, "Adenoma": 8, "Adenocarcinoma": 4, "Background": 0}
SETTINGS = classifiers.SETTINGS | {
    "batch_size": 4, "balanced_batches": True, "checkpoint_on": "last", "max_epochs": 1, "evaluations_per_epoch": 1,
    "steps_per_epoch": 2, "crop_px": None,
}  # fmt: skip


def patches(labels: Sequence[str], *, seed: int, light: int = 0) -> np.ndarray:
    """A patch (px, px, 3) uint8 of each label: stripes of its period, and noise; `light` is added to all."""
    rng = np.random.default_rng(seed)
    columns = np.arange(PX)
    found = []
    for label in labels:
        period = STRIPES[label]
        wave = np.sin((columns + rng.uniform(0, PX)) * 2 * np.pi / period) if period else 0 * columns
        found.append(110 + light + 60 * np.broadcast_to(wave, (PX, PX))[..., None] + rng.normal(0, 10, (PX, PX, 3)))
    return np.clip(found, 0, 255).astype(np.uint8)


class Study:
    """Slides of the cohort `scanned` and photographs of the cohort `camera`, by part and set.

    of_slides: of each slide its part, set and the label of each patch.
    """

    def __init__(self, folder: Path, of_slides: Mapping[str, tuple[str, str, Sequence[str]]]) -> None:
        self.folder = folder
        self.places: dict[str, dict[str, list[tuple[str, str]]]] = {}
        for number, (name, (part, set_name, labels)) in enumerate(of_slides.items()):
            cohort = "scanned" if part == "source" else "camera"
            self.places.setdefault(part, {}).setdefault(set_name, []).append((cohort, name))
            light = 0 if part == "source" else 40
            images = patches(labels, seed=number, light=light)
            make_store(folder / f"{name}.h5", images, slide_id=name)
            table = pd.DataFrame({"slide_id": name, "col": range(len(labels)), "row": 0, "label": labels})
            files.write_table(table, self.path_to_labels(name))

    def path_to_labels(self, name: str) -> Path:
        return self.folder / f"{name}.tsv"

    def source(self, name: str) -> TileSource:
        return TileSource(self.folder / f"{name}.h5")

    def sets(
        self, *parts: str, slide_labels: Mapping[str, str] = {}, target_patches: int | None = None, seed: int = 1,
        classes: Sequence[str] = CLASSES,
    ) -> dict[str, list[adaptation_training.DomainSlide]]:  # fmt: skip
        """The learning sets of some parts."""
        slides = {part: self.places[part] for part in parts}
        listed = [
            (part, cohort, name) for part, of in slides.items() for of_set in of.values() for cohort, name in of_set
        ]
        labelled = [
            self.path_to_labels(name) for part, cohort, name in listed
            if part != "target" and f"{cohort}/{name}" not in slide_labels
        ]  # fmt: skip
        return adaptation_training.learning_sets(
            slides, [self.source(name) for _, _, name in listed], labelled, slide_labels, classes=classes,
            target_patches=target_patches, seed=seed,
        )  # fmt: skip


def make_study(folder: Path) -> Study:
    """Two slides and two photographs to train on, one of each to validate on, and as many photographs with labels."""
    every = [*CLASSES, "Background"]
    return Study(folder, {
        "s1": ("source", "train", ["Normal"] * 10 + ["Adenoma"] * 5 + ["Background"] * 3),
        "s2": ("source", "train", every * 4),
        "s3": ("source", "validation", every * 3),
        "t1": ("target", "train", every * 3),
        "t2": ("target", "train", ["Adenoma", "Normal"] * 4),
        "t3": ("target", "validation", every * 2),
        "l1": ("labelled_target", "train", every * 3),
        "l2": ("labelled_target", "train", ["Background"] * 6 + ["Adenoma", "Normal"] * 5),
        "l3": ("labelled_target", "validation", every * 2),
    })  # fmt: skip


def method(**given: object) -> dict[str, object]:
    return AdaptationMethod(title="", **given).model_dump()


def train(
    folder: Path, sets: Mapping[str, Sequence[adaptation_training.DomainSlide]], *, starts_from: Path | None = None,
    settings: Mapping[str, object] = {}, **given: object,
) -> Path:  # fmt: skip
    """Train a method of these values, and return its folder."""
    adaptation_training.train_method(
        folder, identity={"method": "one", "seed": 1},
        method=method(**given, **({"starts_from": "other"} if starts_from else {})), classes=CLASSES, focal_gamma=2.0,
        label_weight=1.0, discriminator=[8, 8], training=sets["train"], validation=sets["validation"],
        settings=SETTINGS | settings, stain=None, seed=1, code_version="test", workers=0, starts_from=starts_from,
    )  # fmt: skip
    return folder
