"""How the methods of microscope adaptation are trained, and what they learn from.

Source: microscope adaptation (Zhang et al. 2019), 2 and 3.
"""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from workflow_scripts.lib import adaptation_losses as losses
from workflow_scripts.lib import adaptation_networks as networks
from workflow_scripts.lib import files, inference, models, provenance, tile_models, tile_sources, tiles, training_data
from workflow_scripts.lib.domains import LABELLED_TARGET, SOURCE, TARGET
from workflow_scripts.lib.encoder_training import NO_CLASS, labels_among
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.splits import TRAIN
from workflow_scripts.lib.tile_problems import Batch, SlideProblem
from workflow_scripts.lib.tile_sources import TileSource
from workflow_scripts.lib.training_data import LabelledSlide, SlideTiles

log = logging.getLogger(__name__)

# Domain losses that are distances of two samples; others are a discriminator's.
DISTANCES = {"mmd": losses.mmd, "coral": losses.coral}
ADDA = "adda"
# What of a method shapes its weights beyond what it learns from, and is part of its description.
OF_LOSSES = ("loss", "domain", "domain_weight", "domain_schedule", "entropy_weight", "pooled")


@dataclass(frozen=True)
class DomainSlide(LabelledSlide):
    """A slide or a photograph that a method learns from, and its domain (`domains`)."""

    domain: str = field(kw_only=True)


# What is learnt from


def learning_sets(
    slides: Mapping[str, Mapping[str, Sequence[tuple[str, str]]]],
    sources: Iterable[TileSource],
    paths_to_labels: Iterable[str | Path],
    slide_labels: Mapping[str, str],
    *,
    classes: Sequence[str],
    target_patches: int | None,
    seed: int,
) -> dict[str, list[DomainSlide]]:
    """What a method learns from, by set: slides with a label for each patch, and photographs without any.

    slides: of each part (SOURCE, LABELLED_TARGET, TARGET) the slides of each set, as (cohort, slide); parts that a
    method does not use are absent. target_patches: so many training patches of LABELLED_TARGET are used, spread evenly
    over its photographs (`training_data.sample_tiles`); None for all. The seed is the study's, so that all methods have
    the same (3: "500 labeled MSIs"). The rest is as in `labelled_parts`.

    Raises InputError where a part has no patch in a set, or the labelled training patches lack a class.
    """
    parts = labelled_parts(slides, sources, paths_to_labels, slide_labels, classes=classes)
    if target_patches is not None:
        few = parts[LABELLED_TARGET][TRAIN]
        groups = [LABELLED_TARGET] * len(few)
        parts[LABELLED_TARGET][TRAIN] = training_data.sample_tiles(few, groups, most=target_patches, seed=seed)
    found: dict[str, list[DomainSlide]] = {}
    for part, of_sets in parts.items():
        for name, of_set in of_sets.items():
            used = [slide for slide in of_set if len(slide.sampled)]
            if not used:
                raise InputError(
                    f"{part}, {name}: expected patches, found none on {len(of_set)} slides; add slides that have "
                    "tissue and labels, or give the cohort a split (cohorts.<name>.split) that spreads its patients"
                )
            found.setdefault(name, []).extend(used)
    _check_classes(found[TRAIN], classes)
    return found


def labelled_parts(
    slides: Mapping[str, Mapping[str, Sequence[tuple[str, str]]]],
    sources: Iterable[TileSource],
    paths_to_labels: Iterable[str | Path],
    slide_labels: Mapping[str, str],
    *,
    classes: Sequence[str],
) -> dict[str, dict[str, list[DomainSlide]]]:
    """The slides of each part and set with a label for each patch, and those patches `sampled` that are of a class.

    sources: of each of these slides, part by part and set by set. paths_to_labels: `annotations/tiles/<slide>.tsv` of
    the slides of the labelled parts that `slide_labels` does not have, in the same order. slide_labels: the class of
    every patch of a slide, by `<cohort>/<slide>`, of cohorts without annotations. Labels number the classes. Patches of
    the part TARGET have the label `len(classes)`, all of them: theirs is read from nowhere.

    Raises InputError where a table of labels is of another slide, or lacks a patch.
    """
    sources, paths = iter(sources), iter(paths_to_labels)

    def of(part: str, cohort: str, slide: str) -> DomainSlide:
        whole, source = f"{cohort}/{slide}", next(sources)
        if part == TARGET or whole in slide_labels:
            number = len(classes) if part == TARGET else _number(slide_labels[whole], classes)
            labels = np.full(len(tile_sources.selected(source)), number)
        else:
            labels = labels_among(source, next(paths), classes)
        domain = SOURCE if part == SOURCE else TARGET
        return DomainSlide(whole, source, labels, np.flatnonzero(labels != NO_CLASS), domain=domain)

    return {
        part: {name: [of(part, *slide) for slide in of_set] for name, of_set in of_sets.items()}
        for part, of_sets in slides.items()
    }


def _number(label: str, classes: Sequence[str]) -> int:
    return classes.index(label) if label in classes else NO_CLASS


def _check_classes(slides: Sequence[DomainSlide], classes: Sequence[str]) -> None:
    labels = np.concatenate([slide.label[slide.sampled] for slide in slides])
    counts = [int(np.sum(labels == number)) for number in range(len(classes))]
    if 0 in counts:
        listed = ", ".join(f"{count} of {name}" for count, name in zip(counts, classes, strict=True))
        raise InputError(
            f"expected labelled training patches of {classes[counts.index(0)]}, found {listed}; add slides of it, take "
            "it out of adaptation.classes, or raise target_patches where the method has that"
        )


# What is learnt


class Adapting(SlideProblem):
    """Telling classes of patches apart in two domains, of which one may come without labels (Eq. 1).

    classes: how many; the label of that number is none. The slides are `DomainSlide`s, and a batch has as many patches
    of each domain that they are of, but where these are `pooled`: `batch_size` is of one domain. Both domains pass the
    network together, so that batch statistics are of both. The loss is μ L_c + β L_h + α L_d; that L_d is minimised by
    the discriminator and maximised by the features is a reversed gradient, multiplied by the schedule's λ between them.

    gamma: of the focal losses. label_weight, entropy_weight, domain_weight: μ, β, α. crop_px: the side of the squares
    that are cut out of patches, at random in training and in the middle else; None for whole patches. steps_per_epoch,
    max_epochs: of the training, by which its progress is known.

    Over several processes each mean is that of the whole step; a distance (DISTANCES) is of each process's share.
    """

    def __init__(
        self,
        network: nn.Module,
        training: SlideTiles,
        validation: SlideTiles,
        *,
        batch_size: int,
        classes: int,
        method: Mapping[str, Any],
        focal_gamma: float,
        label_weight: float,
        crop_px: int | None,
        steps_per_epoch: int | None,
        max_epochs: int,
        **options: Any,
    ) -> None:
        of_slides = np.array([slide.domain == TARGET for slide in training.slides])
        self._of_target = of_slides[training.slide_of_tile]
        domains = len(np.unique(self._of_target))
        self._sees_target = bool((training.labels == classes).any())
        super().__init__(network, training, validation, batch_size=batch_size * domains, **options)
        # Of a set smaller than a batch too, as many of each domain.
        self.batch_size -= self.batch_size % domains
        self._check_share(method["domain"], self.batch_size // domains)
        self._classes, self._pooled, self._crop_px = classes, method["pooled"], crop_px
        self._label_gamma = focal_gamma if method["loss"] == "focal" else 0.0
        self._label_weight, self._entropy_weight = label_weight, method["entropy_weight"]
        self._domain, self._domain_weight = method["domain"], method["domain_weight"]
        self._of_judged = (
            losses.least_squares
            if self._domain == "least_squares"
            else partial(losses.sigmoid_focal, gamma=focal_gamma if self._domain == "focal" else 0.0)
        )
        self._scheduled = method["domain_schedule"] == "dann"
        self._steps = max_epochs * (steps_per_epoch or self.n_examples // self.batch_size)
        self._reversal = 1.0

    def _check_share(self, domain: str | None, patches: int) -> None:
        processes = self._fabric.world_size
        # Neither a covariance nor statistics of the target's part of a batch are of one patch.
        if domain in ("coral", ADDA) and patches // processes < 2:
            raise InputError(
                f"a step of {patches} patches of each domain over {processes} processes leaves a process fewer than "
                f"the two that {domain} needs: use a larger batch_size, more patches, or fewer GPUs"
            )

    def kinds(self) -> np.ndarray:
        """See `SlideProblem`: the domain of each patch; one for all where they are pooled."""
        return np.zeros(len(self._of_target), int) if self._pooled else self._of_target.astype(int)

    def batches(self, first_step: int) -> Iterator[tuple[Batch, int]]:
        """See `training.Problem`: of each step the batch, and its number."""
        for step, batch in enumerate(super().batches(first_step), start=first_step):
            yield batch, step

    def loss(self, network: nn.Module, batch: tuple[Batch, int], generator: torch.Generator) -> torch.Tensor:
        """See `training.Problem`."""
        patches, step = batch
        if self._scheduled:
            # Of all steps, never the number of the step (Ganin and Lempitsky).
            self._reversal = losses.reversal_factor(min(1.0, step / self._steps))
        return super().loss(network, patches, generator)

    def share_loss(
        self, network: nn.Module, given: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """See `SlideProblem`: Eq. 1, with the sign of α turned for the features by the reversed gradient."""
        unlabelled = labels == self._classes
        seen = self._seen(network(self._cropped(given, generator), self._reversal))
        loss = self._label_weight * self._label_loss(seen.logits, labels)
        if self._entropy_weight:
            loss = loss + self._entropy_weight * losses.entropy(seen.logits).mean()
        if self._domain in DISTANCES:
            loss = loss + self._domain_weight * self._domain_loss(seen.evidence, unlabelled)
        elif self._domain:
            # Half of a step is of each domain, so that the two means are twice the one over the step.
            loss = loss + self._domain_weight * 2 * self._of_judged(seen.evidence[:, 0], unlabelled).mean()
        return loss

    def evaluate(self, network: nn.Module, look_up: Callable[[], None]) -> dict[str, float]:
        """See `training.Problem`: of labelled patches the loss of labels, `accuracy`, and `macro_f1` over classes.

        And, where the target comes without labels, of the patches of both domains their mean `entropy`, and `domain`,
        the domain loss without its weight. Where an output is not finite the loss is infinite and the others are NaN.
        """
        found = self._of_validation(
            lambda images: self._outputs(network, models.centre_square(images, self._crop_px)), look_up
        )
        labels = torch.from_numpy(self._validation.labels).long()
        labelled = labels < self._classes
        names = ["accuracy", "macro_f1", *["entropy"] * self._sees_target, *["domain"] * bool(self._domain)]
        if not torch.isfinite(found).all():
            return {"loss": math.inf, **dict.fromkeys(names, math.nan)}
        logits, evidence = found.double().tensor_split([self._classes], dim=1)
        measured = {
            "loss": losses.focal(logits[labelled], labels[labelled], gamma=self._label_gamma).mean(),
            **_measure(logits[labelled].argmax(dim=1).numpy(), labels[labelled].numpy()),
        }
        if self._sees_target:
            measured["entropy"] = losses.entropy(logits).mean()
        if self._domain:
            measured["domain"] = self._domain_loss(evidence, ~labelled)
        return {name: float(value) for name, value in measured.items()}

    def _label_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """What this share has of the mean over the labelled patches of the step, which are half of it, or all."""
        labelled = labels < self._classes
        values = losses.focal(logits[labelled], labels[labelled].long(), gamma=self._label_gamma)
        return values.sum() * (2 if self._sees_target else 1) / len(labels)

    def _seen(self, given: tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]) -> "_Seen":
        """Logits, and what the domain loss is of, from what an `AdaptationNetwork` gives."""
        features, logits, judged = given
        logits = logits.float()
        if self._domain is None:
            return _Seen(logits, logits[:, :0])
        if self._domain in DISTANCES:
            return _Seen(logits, features.float() if self._domain == "mmd" else logits)
        return _Seen(logits, judged[:, None].float())

    def _outputs(self, network: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """The columns of `_seen`, of network input."""
        return torch.cat(self._seen(network(images)), dim=1)

    def _domain_loss(self, evidence: torch.Tensor, of_target: torch.Tensor) -> torch.Tensor:
        """The domain loss of patches with this evidence (n, k), without its weight."""
        if self._domain in DISTANCES:
            return DISTANCES[self._domain](evidence[~of_target], evidence[of_target])
        return losses.over_domains(self._of_judged(evidence[:, 0], of_target), of_target)

    def _cropped(self, given: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """A square of each patch of this share, from a corner of its own."""
        if self._crop_px is None:
            return given
        most = given.shape[-1] - self._crop_px + 1
        corners = torch.randint(most, (self.batch_size, 2), generator=generator)[self._part].tolist()
        squares = [
            patch[:, top : top + self._crop_px, left : left + self._crop_px]
            for patch, (top, left) in zip(given, corners, strict=True)
        ]
        return torch.stack(squares).contiguous(memory_format=torch.channels_last)


class AdaptingByAdda(Adapting):
    """Adapting an `AddaNetwork`: its classifier learns to give patches of the target the features of the source.

    The discriminator learns to tell the features apart (Eq. 2), and the classifier that those of the target be taken
    for the source's, −log of which is its loss, rather than less the discriminator's (ADDA, 3.2). Each loss reaches its
    own side alone, so that one step down the gradient of their sum is one of each. Labels count for nothing but the
    measures.
    """

    def share_loss(
        self, network: nn.Module, given: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """See `SlideProblem`."""
        images, of_target = self._cropped(given, generator), labels == self._classes
        source, target, fooling, logits = (output.float() for output in network(images[~of_target], images[of_target]))
        is_target, half = torch.ones_like(target, dtype=torch.bool), len(labels) / 2
        values = (
            self._of_judged(source, torch.zeros_like(source, dtype=torch.bool)),
            self._of_judged(target, is_target),
            self._of_judged(fooling, ~is_target),
        )
        loss = self._domain_weight * sum(of.sum() for of in values) / half
        if self._entropy_weight:
            # Of the target alone: what the source gives, nothing changes.
            loss = loss + self._entropy_weight * losses.entropy(logits).sum() / half
        return loss

    def _outputs(self, network: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Of network input the logits, and what the discriminator gives of the source's features and the target's."""
        features, logits = models.with_features(network.classifier, images)
        judged = [network.discriminator(of) for of in (network.features_of_source(images), features)]
        return torch.cat([part.float() for part in (logits, *judged)], dim=1)

    def _domain_loss(self, evidence: torch.Tensor, of_target: torch.Tensor) -> torch.Tensor:
        of_own = torch.where(of_target, evidence[:, 1], evidence[:, 0])
        return super()._domain_loss(of_own[:, None], of_target)


class _Seen(NamedTuple):
    """Of n patches the logits (n, classes) float32, and what the domain loss is of, (n, k)."""

    logits: torch.Tensor
    evidence: torch.Tensor


def _measure(predicted: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    # Here, because the import takes a second.
    from sklearn.metrics import f1_score

    f1 = f1_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0)
    return {"accuracy": float((predicted == labels).mean()), "macro_f1": float(f1)}


# Methods


def train_method(
    folder: str | Path,
    *,
    identity: Mapping[str, Any],
    method: Mapping[str, Any],
    classes: Sequence[str],
    focal_gamma: float,
    label_weight: float,
    discriminator: Sequence[int],
    training: Sequence[DomainSlide],
    validation: Sequence[DomainSlide],
    settings: Mapping[str, Any],
    stain: Mapping[str, Any] | None,
    seed: int,
    code_version: str,
    workers: int,
    starts_from: str | Path | None,
) -> None:
    """Train a method, and write into `folder` what `tile_models.train_model` writes: a classifier for `models.load`.

    method: values of `AdaptationMethod`, of which those in OF_LOSSES count. focal_gamma, label_weight, discriminator:
    as in the configuration. training, validation: of `learning_sets`. settings: values of `AdaptationTraining` but for
    `workers`, with the method's own epochs and rate where it has any. starts_from: the folder of the method that it
    starts from, or None; for `adda`, of the classifier whose features of the source it learns to give. The rest is as
    in `train_model`. `scores.tsv` has validation_loss, validation_accuracy, validation_macro_f1, and where the target
    comes without labels validation_entropy and validation_domain; none of the target's labels.

    Raises InputError as `train_network` does, and when the weights that it starts from are of another classifier.
    """
    kind = tile_models.classifier_kind(settings, classes=classes, tile_threshold=None, starts_from=starts_from)
    kind["adaptation"] = {
        **{key: method[key] for key in OF_LOSSES},
        "focal_gamma": focal_gamma,
        "label_weight": label_weight,
        "discriminator": list(discriminator),
    }
    kind |= {"crop_px": settings["crop_px"]} if settings["crop_px"] else {}
    domain = method["domain"]

    def make_problem(description: Mapping[str, Any], *sets: SlideTiles, **options: Any) -> Adapting:
        classifier = tile_models.begun_classifier(description, settings, starts_from=starts_from)
        px = settings["crop_px"] or description["tile_px"]
        models.check_tile_size(classifier, backbone=settings["backbone"], tile_px=px)
        judge = None
        if domain and domain not in DISTANCES:
            judge = networks.build_discriminator(networks.features_of(classifier), discriminator)
        if domain == ADDA:
            network, problem = networks.AddaNetwork(classifier, judge), AdaptingByAdda
        else:
            network, problem = networks.AdaptationNetwork(classifier, judge), Adapting
        return problem(
            network, *sets, classes=len(classes), method=method, focal_gamma=focal_gamma, label_weight=label_weight,
            **{key: settings[key] for key in ("crop_px", "steps_per_epoch", "max_epochs")}, **options,
        )  # fmt: skip

    tile_models.train_network(
        folder, kind, make_problem, identity=identity, training=training, validation=validation, settings=settings,
        stain=stain, seed=seed, code_version=code_version, workers=workers, kept=networks.KEPT,
    )  # fmt: skip


def load_for(
    slides: Sequence[LabelledSlide], folder: str | Path, *, stain: Mapping[str, Any] | None
) -> models.TrainedModel:
    """The model in a folder, for the patches of slides.

    stain: the reference that sources with a normalisation are normalised to. Raises InputError where the model was
    trained on other tiles, or in other colours (`inference.check_fit`).
    """
    model = models.load(folder)
    for slide in slides:
        with tiles.open_store(slide.source.store) as store:
            own = stain if slide.source.normalisation else None
            inference.check_fit(slide.slide_id, store, {str(folder): model.description}, own)
    return model


def measure_batch_statistics(
    folder: str | Path,
    *,
    identity: Mapping[str, Any],
    starts_from: str | Path,
    target: Sequence[LabelledSlide],
    batch_size: int,
    stain: Mapping[str, Any] | None,
    seed: int,
    code_version: str,
    threads: int,
) -> None:
    """Write the model in the folder `starts_from` with batch statistics measured anew on patches of the target.

    Nothing is learnt: means and variances become the means of those of all whole batches of one permutation of the
    patches, in which photographs mix; a last batch that is not full is left out. target: photographs, whose labels
    count for nothing. The files are those of `train_method`, without an evaluation. Source: Li et al., Revisiting
    batch normalization for practical domain adaptation, 2016.

    Raises InputError where the network has no batch statistics, there are fewer than two patches, or `load_for` does.
    """
    device = inference.choose_device(threads)
    model = load_for(target, starts_from, stain=stain)
    data, network = SlideTiles(target), model.network.to(device)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    if not layers:
        raise InputError(
            f"{starts_from}: a {model.description['backbone']} has no batch statistics; take the method out"
        )
    if len(data) < 2:
        raise InputError(f"expected patches of the target to measure batch statistics on, found {len(data)}")
    for layer in layers:
        layer.reset_running_stats()
        # The mean of all batches alike.
        layer.momentum = None
        layer.train()
    data.recolouring.to(device)
    order = training_data.batches(len(data), batch_size, seed=seed, first_step=0, part=slice(None))
    with torch.inference_mode():
        for batch in islice(order, len(data) // min(batch_size, len(data))):
            images, _, of_slides = data.__getitems__(batch)
            seen = models.to_input(data.recolouring(images.to(device), of_slides))
            network(models.centre_square(seen, model.description.get("crop_px")))
    log.info("batch statistics of %d layers measured on %d patches of the target", len(layers), len(data))
    description = {
        **{key: value for key, value in model.description.items() if key not in ("adaptation", "imagenet")},
        **identity,
        "starts_from": provenance.file_digest(Path(starts_from) / models.WEIGHTS_FILE),
        "code_version": code_version,
        "seed": seed,
        "learned_from": tile_models.digest_of_sets(target),
    }
    models.save(folder, {name: value.cpu() for name, value in network.state_dict().items()}, description)
    columns = ["evaluation", "step", "epoch", "learning_rate", "train_loss", "validation_loss", "chosen"]
    files.write_table(pd.DataFrame(columns=columns), Path(folder) / "curve.tsv")
    files.write_table(pd.DataFrame([identity]), Path(folder) / "scores.tsv")
