"""A tile classifier from its slides to its files: a trait's model of one round, or a tumour filter."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torchvision
from lightning_fabric import Fabric

from workflow_scripts.lib import models, tiles
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import write_table
from workflow_scripts.lib.training import Schedule, Trained, make_fabric, train
from workflow_scripts.lib.training_data import LabelledSlide, SlideTiles

log = logging.getLogger(__name__)

STATE_FILE = "state.pt"


def train_model(
    folder: str | Path,
    *,
    trait: str,
    round_number: int,
    training: Sequence[LabelledSlide],
    validation: Sequence[LabelledSlide],
    settings: Mapping[str, Any],
    stain: Mapping[str, Any] | None,
    tile_threshold: float,
    seed: int,
    code_version: str,
    workers: int,
) -> None:
    """Train the model of one trait and round, and write into `folder` all that is needed to use and to judge it.

    `settings` is the section `training` of the configuration, where each key is described, without `workers`, which
    shapes no result: the number of processes that decode tiles. `stain` is the reference that the slides' stains are
    normalised to, or None. The files are
    `weights.safetensors` and `model.json` (see `models.save`), `curve.tsv` (a row per evaluation, the kept one marked
    in `chosen`), and `scores.tsv` (one row: trait, round, validation_auc, validation_tile_auc, validation_loss,
    evaluation, slides and tiles per set). A state to go on from lies beside them while it runs.

    Raises InputError as `train` and `models.check_tile_size` do, naming the trait and the round.
    """
    folder = Path(folder)
    run_seed = int(hashlib.sha256(f"{seed}:{trait}:{round_number}".encode()).hexdigest()[:8], 16)
    description = {
        "trait": trait,
        "round": round_number,
        "backbone": settings["backbone"],
        "settings": dict(settings),
        "stain": stain,
        "tile_threshold": tile_threshold,
        "seed": seed,
        "code_version": code_version,
        **_tile_geometry([*training, *validation]),
    }
    fabric = make_fabric(precision=settings["precision"], threads=settings["threads"])
    run_key = _run_key(description, training, validation, fabric)
    train_tiles, validation_tiles = SlideTiles(training), SlideTiles(validation)
    log.info("%s round %d: training on %s", trait, round_number, train_tiles.describe())
    log.info("%s round %d: validating on %s", trait, round_number, validation_tiles.describe())
    torch.manual_seed(run_seed)
    try:
        network = models.build(settings["backbone"], weights=settings["weights"])
        models.check_tile_size(network, backbone=settings["backbone"], tile_px=description["tile_px"])
        trained = train(
            network, train_tiles, validation_tiles,
            Schedule(**{key: settings[key] for key in Schedule.__dataclass_fields__}), seed=run_seed, fabric=fabric,
            tile_threshold=tile_threshold, path_to_state=folder / STATE_FILE, run_key=run_key,
            workers=workers,
        )  # fmt: skip
    except InputError as error:
        raise InputError(f"{trait}, round {round_number}: {error}") from None
    if fabric.is_global_zero:
        _write_results(folder, trained, description, train_tiles, validation_tiles)
        (folder / STATE_FILE).unlink(missing_ok=True)


def _tile_geometry(slides: Sequence[LabelledSlide]) -> dict[str, Any]:
    """Tile size and µm/px, which all stores share. Raises InputError where they do not."""
    found = {(s["tile_px"], s["mpp"]) for s in (tiles.read_summary(slide.source.store) for slide in slides)}
    if len(found) != 1:
        raise InputError(f"the tile stores differ in tile size (px) and µm/px: {sorted(found)}; tile the slides again")
    tile_px, mpp = found.pop()
    return {"tile_px": int(tile_px), "mpp": float(mpp)}


def _run_key(
    description: dict[str, Any],
    training: Sequence[LabelledSlide],
    validation: Sequence[LabelledSlide],
    fabric: Fabric,
) -> str:
    """Stands for all that shapes the weights: settings, code, what computes, labels, and the very files of the tiles.

    A file is known by its size and its time of writing.
    """
    computed_by = {
        "processes": fabric.world_size,
        "accelerator": fabric.device.type,
        "precision": fabric.strategy.precision.precision,
        "torch": str(torch.__version__),
        "torchvision": torchvision.__version__,
    }
    learned_from = [
        [slide.slide_id, np.asarray(slide.label).tolist(), slide.source.threshold, *map(_version, slide.source.files)]
        for slide in [*training, *validation]
    ]
    content = json.dumps([description, computed_by, len(training), learned_from], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _version(path: Path) -> tuple[int, int]:
    return path.stat().st_size, path.stat().st_mtime_ns


def _write_results(
    folder: Path, trained: Trained, description: dict[str, Any], training: SlideTiles, validation: SlideTiles
) -> None:
    chosen = next(row for row in trained.curve if row["chosen"])
    row = {
        "trait": description["trait"],
        "round": description["round"],
        "validation_auc": chosen["validation_slide_auc"],
        "validation_tile_auc": chosen["validation_tile_auc"],
        "validation_loss": chosen["validation_loss"],
        "evaluation": chosen["evaluation"],
        "evaluations": len(trained.curve),
        "train_slides": len(training.slides),
        "train_tiles": len(training),
        "validation_slides": len(validation.slides),
        "validation_tiles": len(validation),
    }
    models.save(folder, trained.weights, description)
    write_table(pd.DataFrame(trained.curve), folder / "curve.tsv")
    write_table(pd.DataFrame([row]), folder / "scores.tsv")
