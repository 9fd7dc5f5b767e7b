"""A tile classifier from its slides to its files: a trait's model of one round, or a tumour filter."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from workflow_scripts.lib import models, provenance, tiles
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import write_table
from workflow_scripts.lib.tile_problems import ManyClasses, TwoClasses
from workflow_scripts.lib.training import Problem, Schedule, Trained, make_fabric, train
from workflow_scripts.lib.training_data import LabelledSlide, SlideTiles

if TYPE_CHECKING:
    from lightning_fabric import Fabric

log = logging.getLogger(__name__)

STATE_FILE = "state.pt"
# The measures of an evaluation, as `scores.tsv` calls those of the weights that are kept; others keep their names.
SCORES = {
    "validation_slide_auc": "validation_auc",
    "validation_tile_auc": "validation_tile_auc",
    "validation_loss": "validation_loss",
}


def train_model(
    folder: str | Path,
    *,
    identity: Mapping[str, Any],
    training: Sequence[LabelledSlide],
    validation: Sequence[LabelledSlide],
    settings: Mapping[str, Any],
    stain: Mapping[str, Any] | None,
    tile_threshold: float | None,
    seed: int,
    code_version: str,
    workers: int,
    classes: Sequence[str] = (),
    starts_from: str | Path | None = None,
    carries_head: bool = True,
) -> None:
    """Train a classifier of tiles, and write into `folder` all that is needed to use and to judge it.

    identity: what distinguishes the model (`trait` and `round`, or a study's own), by name; the first columns of
    `scores.tsv`. classes: the names of the classes that labels are numbers of, with a probability each; none for the
    two of a trait, which has one probability. starts_from: the folder of a model whose weights training begins with
    (`model.json` has their SHA-256); None for `settings["weights"]`. It is of the same kind, or, where carries_head is
    false and the head begins anew, of the same backbone. settings: the section
    `training` of the configuration, where each key is described, without `workers`, which shapes no result: the number
    of processes that decode tiles. stain: the reference that the slides' stains are normalised to, or None.
    tile_threshold: the probability at which a tile is positive; None of classes, of which the likeliest counts.

    The files are `weights.safetensors` and `model.json` (see `models.save`), `curve.tsv` (a row per evaluation, the
    kept one marked in `chosen`), and `scores.tsv` (one row: the identity, validation_auc, validation_tile_auc,
    validation_loss, evaluation, slides and tiles per set). The state to go on from lies beside them, and stays: until a
    job has ended for those who sent it, its files may be taken away, and from the last state they are written at once.

    Raises InputError as `train`, `tile_problems` and `models` do, naming the model; and when the model that it starts
    from has another backbone, or another head or classes that it should carry.
    """
    kind = classifier_kind(settings, classes=classes, tile_threshold=tile_threshold, starts_from=starts_from)

    def make_problem(description: Mapping[str, Any], *sets: SlideTiles, **options: Any) -> Problem:
        network = begun_classifier(description, settings, starts_from=starts_from, carries_head=carries_head)
        models.check_tile_size(network, backbone=settings["backbone"], tile_px=description["tile_px"])
        if classes:
            return ManyClasses(network, *sets, classes=len(classes), **options)
        return TwoClasses(network, *sets, threshold=tile_threshold, **options)

    train_network(
        folder, kind, make_problem, identity=identity, training=training, validation=validation, settings=settings,
        stain=stain, seed=seed, code_version=code_version, workers=workers,
    )  # fmt: skip


def train_network(
    folder: str | Path,
    kind: Mapping[str, Any],
    make_problem: Callable[..., Problem],
    *,
    identity: Mapping[str, Any],
    training: Sequence[LabelledSlide],
    validation: Sequence[LabelledSlide],
    settings: Mapping[str, Any],
    stain: Mapping[str, Any] | None,
    seed: int,
    code_version: str,
    workers: int,
    kept: str = "",
) -> None:
    """Train a network of any kind on the tiles of slides, and write its files, as `train_model` says.

    kind: what describes such a network in `model.json`, its `backbone` at least. make_problem: makes what is learnt,
    with the network, of the whole description, the two sets, and as keywords what `SlideProblem` takes; torch's global
    generator is seeded then. The measures in `scores.tsv` are those that the problem has. kept: the name of the part of
    the network whose weights are written, under the names that they have in it; the others served training alone. All
    are written where it is ''.
    """
    folder = Path(folder)
    named = ":".join(str(value) for value in (seed, *identity.values()))
    run_seed = int(hashlib.sha256(named.encode()).hexdigest()[:8], 16)
    description = {
        **identity,
        **kind,
        "settings": dict(settings),
        "stain": stain,
        "seed": seed,
        "code_version": code_version,
        **_tile_geometry([*training, *validation]),
        "learned_from": digest_of_sets(training, validation),
    }
    fabric = make_fabric(precision=settings["precision"], threads=settings["threads"])
    run_key = _run_key(description, training, validation, fabric)
    train_tiles, validation_tiles = SlideTiles(training), SlideTiles(validation)
    name = ", ".join(f"{key} {value}" for key, value in identity.items())
    log.info("%s: training on %s", name, train_tiles.describe())
    log.info("%s: validating on %s", name, validation_tiles.describe())
    torch.manual_seed(run_seed)
    try:
        options = {key: settings[key] for key in ("batch_size", "balanced_batches", "augmentations")}
        options |= {"seed": run_seed, "fabric": fabric, "workers": workers}
        trained = train(
            make_problem(description, train_tiles, validation_tiles, **options),
            Schedule(**{key: settings[key] for key in Schedule.__dataclass_fields__}), seed=run_seed,
            fabric=fabric, path_to_state=folder / STATE_FILE, run_key=run_key,
        )  # fmt: skip
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    if fabric.is_global_zero:
        _write_results(folder, trained, identity, description, train_tiles, validation_tiles, kept)


def classifier_kind(
    settings: Mapping[str, Any],
    *,
    classes: Sequence[str],
    tile_threshold: float | None,
    starts_from: str | Path | None,
) -> dict[str, Any]:
    """What `model.json` says of the kind of a classifier of tiles, and of the weights that it starts from.

    Arguments as of `train_model`. Raises InputError where the weights of ImageNet are asked for, and absent.
    """
    imagenet = starts_from is None and settings["weights"] == "imagenet"
    first = models.pretrained_file(settings["backbone"], settings["imagenet"]) if imagenet else None
    return {
        **({"classes": list(classes)} if classes else {}),
        "backbone": settings["backbone"],
        **({"head": settings["head"], "dropout": settings["dropout"]} if settings["head"] else {}),
        "tile_threshold": tile_threshold,
        **({"starts_from": provenance.file_digest(Path(starts_from) / models.WEIGHTS_FILE)} if starts_from else {}),
        **({"imagenet": provenance.file_digest(first)} if first else {}),
    }


def begun_classifier(
    description: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    starts_from: str | Path | None,
    carries_head: bool = True,
) -> torch.nn.Module:
    """The classifier to be trained, with the weights that it starts from; arguments as of `train_model`.

    Random weights come from torch's global generator. Raises InputError when those that it starts from are of another.
    """
    # Its own random weights are drawn first, so that they are the same wherever it starts from.
    network = models.build_described(description)
    if starts_from is None:
        if settings["weights"] == "imagenet":
            path = models.pretrained_file(settings["backbone"], settings["imagenet"])
            models.load_pretrained(network, settings["backbone"], path)
        return network
    start = models.load(starts_from)
    for key in ("backbone", *(("classes", "head") if carries_head else ())):
        if start.description.get(key) != description.get(key):
            raise InputError(
                f"{starts_from}: its {key} is {start.description.get(key)}, and this model's {description.get(key)}; "
                "start from a model of the same kind"
            )
    if carries_head:
        return start.network
    weights = start.network.state_dict()
    models.carry_backbone(network, weights, backbone=settings["backbone"], source=starts_from)
    return network


def _tile_geometry(slides: Sequence[LabelledSlide]) -> dict[str, Any]:
    """Tile size and µm/px, which all stores share. Raises InputError where they do not."""
    summaries = (tiles.read_summary(slide.source.store) for slide in slides)
    found = {(int(summary["tile_px"]), tiles.asked_mpp(summary)) for summary in summaries}
    if len(found) != 1:
        raise InputError(
            f"the tile stores differ in tile size (px) and µm/px: {sorted(found, key=str)}; tile the slides again"
        )
    tile_px, mpp = found.pop()
    return {"tile_px": tile_px, "mpp": mpp}


def _run_key(
    description: dict[str, Any],
    training: Sequence[LabelledSlide],
    validation: Sequence[LabelledSlide],
    fabric: "Fabric",
) -> str:
    """Stands for all that shapes the weights: settings, code, what computes, labels, and the very files of the tiles.

    A file is known by its size and its time of writing.
    """
    computed_by = {
        "processes": fabric.world_size,
        "accelerator": fabric.device.type,
        "precision": fabric.strategy.precision.precision,
        "torch": str(torch.__version__),
        "torchvision": version("torchvision"),
    }
    learned_from = [
        [
            slide.slide_id,
            *_drawn(slide),
            slide.source.threshold,
            *map(_version, slide.source.files),
        ]
        for slide in [*training, *validation]
    ]
    content = json.dumps([description, computed_by, len(training), learned_from], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def digest_of_sets(*sets: Sequence[LabelledSlide]) -> str:
    """Stands for the slides of each set, their labels, and the tiles that are drawn of them: SHA-256."""
    content = [[(slide.slide_id, *_drawn(slide)) for slide in of] for of in sets]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _drawn(slide: LabelledSlide) -> tuple[Any, Any]:
    return np.asarray(slide.label).tolist(), None if slide.sampled is None else slide.sampled.tolist()


def _version(path: Path) -> tuple[int, int]:
    return path.stat().st_size, path.stat().st_mtime_ns


def _write_results(
    folder: Path,
    trained: Trained,
    identity: Mapping[str, Any],
    description: dict[str, Any],
    training: SlideTiles,
    validation: SlideTiles,
    kept: str,
) -> None:
    prefix = f"{kept}." if kept else ""
    weights = {name.removeprefix(prefix): value for name, value in trained.weights.items() if name.startswith(prefix)}
    chosen = next(row for row in trained.curve if row["chosen"])
    row = {
        **identity,
        **{column: chosen[measure] for measure, column in SCORES.items() if measure in chosen},
        **{name: value for name, value in chosen.items() if name.startswith("validation_") and name not in SCORES},
        "evaluation": chosen["evaluation"],
        "evaluations": len(trained.curve),
        "train_slides": len(training.slides),
        "train_tiles": len(training),
        "validation_slides": len(validation.slides),
        "validation_tiles": len(validation),
    }
    models.save(folder, weights, description)
    write_table(pd.DataFrame(trained.curve), folder / "curve.tsv")
    write_table(pd.DataFrame([row]), folder / "scores.tsv")
