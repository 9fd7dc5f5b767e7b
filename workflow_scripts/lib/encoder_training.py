"""How encoders of patches are trained, on several tasks at once or without labels, and what they learn from.

Source: neural image compression, 2 (data) and 3 (training).
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from workflow_scripts.lib import autoencoders, encoders, files, models, tile_models, tile_sources, tiles, tumour_filters
from workflow_scripts.lib.autoencoders import Autoencoding
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.splits import TRAIN, VALIDATION
from workflow_scripts.lib.tile_problems import SlideProblem
from workflow_scripts.lib.tile_sources import TileSource
from workflow_scripts.lib.training import LAST
from workflow_scripts.lib.training_data import LabelledSlide, SlideTiles, sample_classes

# The kinds of encoders that are trained, as the configuration calls them, and what `model.json` calls their networks.
BACKBONES = {"multitask": encoders.MULTITASK, "autoencoder": autoencoders.BACKBONE, "bigan": encoders.BIGAN}
# Ways to be judged that an encoder without tasks has.
MEASURES = ("loss", LAST)
# The label of patches that are of no class of their task.
NO_CLASS = -1


class Multitask(SlideProblem):
    """Telling apart the classes of several tasks at once, each by a head of its own.

    tasks: the names of each task's classes, by its name. Labels number the classes of all tasks, one task after the
    other (`encoders.by_name`), as the network's outputs do. Balanced batches have as many patches of each task, so that
    the mean cross-entropy of a batch's patches is the mean over tasks (3: "the average categorical cross-entropy");
    where the tasks do not divide a batch, it is so over as many steps as there are tasks.
    """

    def __init__(self, *sets: Any, tasks: Mapping[str, Sequence[str]], **options: Any) -> None:
        super().__init__(*sets, **options)
        self._tasks = list(encoders.by_name(tasks))
        sizes = [len(classes) for classes in encoders.by_name(tasks).values()]
        self._task_of = np.repeat(np.arange(len(sizes)), sizes)

    def kinds(self) -> np.ndarray:
        """See `SlideProblem`: the place of each patch's task."""
        return self._task_of[self._training.labels.astype(int)]

    def share_loss(
        self, network: nn.Module, given: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """See `SlideProblem`."""
        return nn.functional.cross_entropy(self._of_own_task(network(given).float(), labels), labels.long())

    def evaluate(self, network: nn.Module, look_up: Callable[[], None]) -> dict[str, float]:
        """See `training.Problem`: of each task the share of its patches that are told right; of all tasks the mean.

        The loss is the mean over tasks too, however many patches each has. Where an output is not finite the loss is
        infinite and the others are NaN.
        """
        logits, labels = self._of_validation(network, look_up), torch.from_numpy(self._validation.labels)
        names = [f"accuracy_{task}" for task in self._tasks]
        if not torch.isfinite(logits).all():
            return {"loss": math.inf, **dict.fromkeys(["accuracy", *names], math.nan)}
        own = self._of_own_task(logits.double(), labels)
        losses = nn.functional.cross_entropy(own, labels.long(), reduction="none").numpy()
        right = (own.argmax(dim=1) == labels).numpy()
        tasks = self._task_of[self._validation.labels.astype(int)]
        of_tasks = [tasks == place for place in range(len(self._tasks))]
        accuracies = [float(right[members].mean()) for members in of_tasks]
        loss = float(np.mean([losses[members].mean() for members in of_tasks]))
        return {"loss": loss, "accuracy": float(np.mean(accuracies)), **dict(zip(names, accuracies, strict=True))}

    def _of_own_task(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Logits (n, outputs) of which those of other tasks than the label's own count for nothing."""
        task_of = torch.from_numpy(self._task_of).to(logits.device)
        return logits.masked_fill(task_of != task_of[labels.long()][:, None], -torch.inf)


class Bigan(SlideProblem):
    """Setting encoder and generator against a discriminator (see `encoders.BiGAN`). Labels count for nothing.

    Both sides take a step at once, by one optimiser. Its one measure is how much what the generator draws from the
    features of validation patches differs from these: the mean squared difference of network input. Neither side is
    trained for that, and it has no chance in it; the losses of the two say only which is ahead. Before the generator
    draws anything it may be lower than ever after, so that it is no choice between weights.
    """

    def share_loss(
        self, network: nn.Module, given: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """See `SlideProblem`."""
        codes = torch.randn(self.batch_size, self.network.features, generator=generator)[self._part]
        return sum(network(given, codes.to(given.device)))

    def evaluate(self, network: nn.Module, look_up: Callable[[], None]) -> dict[str, float]:
        """See `training.Problem`."""

        def differences(images: torch.Tensor) -> torch.Tensor:
            drawn = network.generate(network.embed(images))
            return (drawn - network.reduce(images)).square().flatten(1).mean(dim=1, keepdim=True)

        loss = float(self._of_validation(differences, look_up).double().mean())
        return {"loss": loss if math.isfinite(loss) else math.inf}


def train_encoder(
    folder: str | Path,
    *,
    identity: Mapping[str, Any],
    kind: str,
    training: Sequence[LabelledSlide],
    validation: Sequence[LabelledSlide],
    tasks: Mapping[str, Sequence[str]],
    features: int,
    shrink: int,
    settings: Mapping[str, Any],
    stain: Mapping[str, Any] | None,
    seed: int,
    code_version: str,
    workers: int,
) -> None:
    """Train an encoder, and write into `folder` what `tile_models.train_model` writes of a classifier.

    kind: of BACKBONES. training, validation: what `sampled_patches` gives. tasks: the names of each task's classes, of
    `multitask`. features: C. shrink: the side of the squares of px that are averaged first. settings: the keys of
    `compression.training` but for `workers`; `checkpoint_on`, `plateau_on` and `stop_on` are of MEASURES where there
    are no tasks, and of a `bigan` the last weights are kept whatever the first says (see `Bigan`). The rest is as in
    `train_model`. `scores.tsv` has `validation_accuracy`, and `validation_accuracy_<task>` of each task.

    Raises InputError as `train_network` and the networks do, and for a measure that only encoders with tasks have.
    """
    for key in ("checkpoint_on", "plateau_on", "stop_on"):
        if not tasks and settings[key] not in MEASURES:
            raise InputError(
                f"{key}: an encoder of kind {kind} has no {settings[key]}; expected one of {', '.join(MEASURES)}"
            )
    settings = {**settings, "checkpoint_on": LAST} if kind == "bigan" else settings
    described: dict[str, Any] = {"backbone": BACKBONES[kind], "features": features, "shrink": shrink}
    described["tasks"] = {task: list(classes) for task, classes in encoders.by_name(tasks).items()}

    def make_problem(description: Mapping[str, Any], *sets: SlideTiles, **options: Any) -> SlideProblem:
        network = encoders.build(description)
        if kind == "multitask":
            return Multitask(network, *sets, tasks=tasks, **options)
        return (Bigan if kind == "bigan" else Autoencoding)(network, *sets, **options)

    tile_models.train_network(
        folder, described, make_problem, identity=identity, training=training, validation=validation,
        settings=settings, stain=stain, seed=seed, code_version=code_version, workers=workers,
    )  # fmt: skip


def write_mean_colour(
    folder: str | Path,
    *,
    identity: Mapping[str, Any],
    tile_px: int,
    mpp: float,
    stain: Mapping[str, Any] | None,
    code_version: str,
) -> None:
    """Write the files of the encoder that knows mean colours, which learns nothing: no weights, and no evaluation."""
    description = {**identity, "backbone": encoders.MEAN_RGB, "features": 3, "shrink": 1, "tasks": {}}
    description |= {"tile_px": tile_px, "mpp": mpp, "stain": stain, "code_version": code_version}
    models.save(folder, {}, description)
    columns = ["evaluation", "step", "epoch", "learning_rate", "train_loss", "validation_loss", "chosen"]
    files.write_table(pd.DataFrame(columns=columns), Path(folder) / "curve.tsv")
    files.write_table(pd.DataFrame([identity]), Path(folder) / "scores.tsv")


def sampled_patches(
    slides: Mapping[str, Mapping[str, Sequence[tuple[str, str]]]],
    sources: Iterable[TileSource],
    paths_to_labels: Iterable[str | Path],
    *,
    tasks: Mapping[str, Sequence[str]],
    patches: int,
    seed: int,
    name: str,
) -> dict[str, list[LabelledSlide]]:
    """What encoder `name` learns from: the slides of each set, with the patches that are sampled of each.

    slides: of each task the slides of each set, as (cohort, slide); without tasks, of one entry under any name.
    sources: of each of these slides, task by task and set by set; paths_to_labels: of each in the same order
    (`annotations/tiles/<slide>.tsv`), none without tasks. tasks: the names of each task's classes, which are labels.
    patches: how many are sampled at most of each task, or of all, in both sets together: as many of each class, of each
    as many of each cohort, which is a centre (`training_data.sample_classes`). So a slide that is of two tasks comes
    twice. The seed is the study's, so that encoders that share a task see the same patches of it. A slide whose
    annotations were refused has none. Paper: 2 ("classes and centers were equally represented").

    Raises InputError where the training set of a task lacks a class, or its validation set has no patch.
    """
    sources, paths = iter(sources), iter(paths_to_labels)
    found: dict[str, list[LabelledSlide]] = {TRAIN: [], VALIDATION: []}
    names = [(task, label) for task, classes in encoders.by_name(tasks).items() for label in classes]
    for task, places in slides.items():
        classes = tasks[task] if tasks else ()
        of_task: dict[str, list[LabelledSlide]] = {set_name: [] for set_name in places}
        for set_name, of_set in places.items():
            for cohort, slide in of_set:
                source = next(sources)
                labels = labels_among(source, next(paths), classes) if classes else np.zeros(_count(source), np.int64)
                of_task[set_name].append(LabelledSlide(f"{cohort}/{slide}", source, labels))
        centres = {set_name: [cohort for cohort, _ in of_set] for set_name, of_set in places.items()}
        sampled = sample_classes(of_task, most=patches // max(len(classes), 1), seed=seed, centres=centres)
        _check(sampled, centres, classes, what=f"encoder {name}" + f", task {task}" * bool(classes))
        for set_name, of_set in sampled.items():
            first = names.index((task, classes[0])) if classes else 0
            of_all = [
                replace(slide, label=np.where(slide.label < 0, NO_CLASS, slide.label + first)) for slide in of_set
            ]
            found[set_name] += [slide for slide in of_all if len(slide.sampled)]
    return found


def _count(source: TileSource) -> int:
    return len(tile_sources.selected(source))


def labels_among(source: TileSource, path_to_labels: str | Path, classes: Sequence[str]) -> np.ndarray:
    """The place of each tile's label among the classes, (n,) int64; NO_CLASS of others, and without annotations.

    path_to_labels: `annotations/tiles/<slide>.tsv`. Raises InputError where it is of another slide, or lacks a tile.
    """
    table = files.read_table(path_to_labels, text=["slide_id", "label"])
    if not len(table):
        return np.full(_count(source), NO_CLASS)
    expected, found = tiles.read_summary(source.store)["slide_id"], table["slide_id"].unique().tolist()
    if found != [expected]:
        raise InputError(f"{path_to_labels}: expected labels of the slide {expected}, found {', '.join(found)}")
    numbers = {label: number for number, label in enumerate(classes)}
    numbered = table.assign(label=[numbers.get(label, NO_CLASS) for label in table["label"]])
    return tumour_filters.labels_of(numbered, tile_sources.places(source)[0])


def _check(
    sampled: Mapping[str, Sequence[LabelledSlide]],
    centres: Mapping[str, Sequence[str]],
    classes: Sequence[str],
    *,
    what: str,
) -> None:
    """Raise InputError unless an encoder can learn from what is sampled of a task, or without labels."""
    what_to_do = "use more slides, or a split of your own (cohorts.<name>.split)"
    for set_name, words in ((TRAIN, "train"), (VALIDATION, "validate")):
        drawn = [slide.label[slide.sampled] for slide in sampled[set_name]]
        labels = np.concatenate([np.empty(0, np.int64), *drawn])
        whose = f"{len(drawn)} slides of {', '.join(dict.fromkeys(centres[set_name])) or 'no cohort'} that {words}"
        if not len(labels):
            raise InputError(f"{what}: expected patches on the {whose}, found none; {what_to_do}")
        missing = [label for number, label in enumerate(classes) if set_name == TRAIN and number not in labels]
        if missing:
            counts = ", ".join(f"{np.sum(labels == number)} of {label}" for number, label in enumerate(classes))
            raise InputError(f"{what}: expected patches of {missing[0]} on the {whose}, found {counts}; {what_to_do}")
