"""What is learnt from the tiles of slides; and by classifiers: two classes by one logit, or any number by as many."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from workflow_scripts.lib import feeding, interruption, models, scores
from workflow_scripts.lib.augmentations import augment
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.training_data import SlideTiles, balanced_batches, batches

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Tiles, labels and slides, as `SlideTiles` gives them.
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class SlideProblem(ABC):
    """Learning from the tiles of slides: a `training.Problem` but for the loss of a batch and what it is judged by.

    seed: of the order of the tiles. workers: processes that read them, or 0 for a thread of this one.

    Raises InputError when a set lacks tiles, or a process has a single tile per step.
    """

    def __init__(
        self,
        network: nn.Module,
        training: SlideTiles,
        validation: SlideTiles,
        *,
        batch_size: int,
        balanced_batches: bool,
        augmentations: Sequence[str],
        seed: int,
        fabric: "Fabric",
        workers: int = 0,
    ) -> None:
        _check_sets(training, validation)
        _check_batch(batch_size, len(training), fabric.world_size)
        for data in (training, validation):
            data.recolouring.to(fabric.device)
        self.network = network
        self.n_examples = len(training)
        self.batch_size = min(batch_size, len(training))
        self._training, self._validation = training, validation
        self._balanced, self._augmentations = balanced_batches, augmentations
        self._seed, self._fabric, self._workers = seed, fabric, workers
        # The places of a step's batch, or of all tiles, that this process takes.
        self._part = slice(fabric.global_rank, None, fabric.world_size)
        self._in_order = self._all_batches(validation, batch_size)

    @abstractmethod
    def share_loss(
        self, network: nn.Module, given: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """The mean loss of this process's share of a step: network input (n, 3, px, px) and labels (n,) float.

        What is drawn from `generator` is drawn for the whole step, in all processes alike.
        """

    @abstractmethod
    def evaluate(self, network: nn.Module, look_up: Callable[[], None]) -> dict[str, float]:
        """See `training.Problem`."""

    def kinds(self) -> np.ndarray:
        """What balanced batches have as many tiles of: a number for each training tile, (n,); its class."""
        return self._training.labels

    def batches(self, first_step: int) -> Iterator[Batch]:
        """See `training.Problem`."""
        options: dict[str, Any] = {"seed": self._seed, "first_step": first_step, "part": self._part}
        plan = (
            balanced_batches(self.kinds(), self.batch_size, **options)
            if self._balanced
            else batches(self.n_examples, self.batch_size, **options)
        )
        return iter(self._loader(self._training, plan, persistent_workers=False))

    def loss(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        """See `training.Problem`."""
        images, labels, slides = batch
        seen = self._training.recolouring(self._moved(images), slides)
        given = augment(seen, self._augmentations, generator, of=self.batch_size, part=self._part)
        loss = self.share_loss(network, given, labels.to(self._fabric.device), generator)
        # Gradients of processes are averaged, and shares of an odd batch are not equal; of one process this is 1.
        return loss * (len(labels) * self._fabric.world_size / self.batch_size)

    def _of_validation(
        self, compute: Callable[[torch.Tensor], torch.Tensor], look_up: Callable[[], None]
    ) -> torch.Tensor:
        """What `compute` gives of network input, (n, outputs) float32 of the n validation tiles, on the CPU.

        Each process computes its share.
        """
        found = []
        with self._fabric.autocast():
            for images, _, slides in self._in_order:
                seen = self._validation.recolouring(self._moved(images), slides)
                found.append(compute(models.to_input(seen)).float().cpu())
                look_up()
        share = torch.cat(found)
        gathered = self._fabric.all_gather(share).reshape(self._fabric.world_size, *share.shape)
        return gathered.transpose(0, 1).reshape(-1, share.shape[1])[: len(self._validation)].cpu()

    def _moved(self, images: torch.Tensor) -> torch.Tensor:
        return images.to(self._fabric.device, non_blocking=True)

    def _all_batches(self, data: SlideTiles, batch_size: int) -> Iterable[Batch]:
        """This process's share of all tiles, in their order; its workers live as long as it does.

        All shares have the same length: the last tile comes again where there are too few.
        """
        longest = -(-len(data) // self._fabric.world_size)
        share = [min(tile, len(data) - 1) for tile in range(longest * self._fabric.world_size)[self._part]]
        plan = [share[start : start + batch_size] for start in range(0, len(share), batch_size)]
        return self._loader(data, plan, persistent_workers=True)

    def _loader(self, data: SlideTiles, plan: Iterable[list[int]], *, persistent_workers: bool) -> Iterable[Batch]:
        """The batches of a plan, read by `workers` processes, or by a thread of this one where that is 0."""
        if not self._workers:
            return feeding.Ahead(data.__getitems__, plan)
        return DataLoader(
            data,
            batch_sampler=plan,
            num_workers=self._workers,
            persistent_workers=persistent_workers,
            collate_fn=_as_read,
            # A GPU copies from such memory by itself, while the next step is prepared.
            pin_memory=self._fabric.device.type == "cuda",
            worker_init_fn=interruption.obey_only_the_parent,
        )


class TileProblem(SlideProblem):
    """Telling classes of tiles apart, but for the loss of tiles and the measures.

    Raises InputError as `SlideProblem` does, and when the training set lacks a class.
    """

    def __init__(self, network: nn.Module, training: SlideTiles, validation: SlideTiles, **options: Any) -> None:
        super().__init__(network, training, validation, **options)
        _check_classes(training, self.n_classes)

    @property
    @abstractmethod
    def n_classes(self) -> int:
        """How many classes the labels are of, from 0."""

    @abstractmethod
    def tile_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The mean loss of tiles from what the network gives, (n, outputs) float, and their labels (n,) float."""

    @abstractmethod
    def measure(self, logits: torch.Tensor, validation: SlideTiles) -> dict[str, float]:
        """The measures but for the loss, from the finite logits (n, outputs) of all validation tiles."""

    def share_loss(
        self, network: nn.Module, given: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """See `SlideProblem`."""
        return self.tile_loss(network(given).float(), labels)

    def evaluate(self, network: nn.Module, look_up: Callable[[], None]) -> dict[str, float]:
        """See `training.Problem`: the mean loss over tiles, and `measure`.

        A measure that needs several classes is NaN where the set has one. Where a logit is not finite the loss is
        infinite and the others are NaN.
        """
        logits = self._all_logits(network, look_up)
        if not torch.isfinite(logits).all():
            return {"loss": math.inf, **dict.fromkeys(("tile_auc", "slide_auc"), math.nan)}
        loss = float(self.tile_loss(logits.double(), torch.from_numpy(self._validation.labels).double()))
        return {"loss": loss, **self.measure(logits, self._validation)}

    def _all_logits(self, network: nn.Module, look_up: Callable[[], None]) -> torch.Tensor:
        """Logits (n, outputs) float32 of the n validation tiles on the CPU."""
        return self._of_validation(network, look_up)


class TwoClasses(TileProblem):
    """Labels 0 and 1 by one logit. A tile is positive at the probability `threshold` or above.

    A slide is judged by its share of positive tiles; those whose tiles have labels of their own are left out.
    """

    n_classes = 2

    def __init__(self, *sets: Any, threshold: float, **options: Any) -> None:
        super().__init__(*sets, **options)
        self._threshold = threshold

    def tile_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Binary cross-entropy."""
        return nn.functional.binary_cross_entropy_with_logits(logits[:, 0], labels)

    def measure(self, logits: torch.Tensor, validation: SlideTiles) -> dict[str, float]:
        """AUC by tile, and by slide."""
        probabilities = torch.sigmoid(logits[:, 0]).numpy()
        positive = scores.positive(probabilities, threshold=self._threshold)
        labels = validation.slide_labels()
        of_slides = [scores.slide_score(positive[validation.slide_of_tile == slide]) for slide in labels]
        return {
            "tile_auc": scores.auc(validation.labels, probabilities),
            "slide_auc": scores.auc(np.array(list(labels.values())), np.array(of_slides)),
        }


class ManyClasses(TileProblem):
    """Labels 0 to `classes` - 1 by as many logits, with a softmax. A slide has the mean of its tiles' probabilities.

    Source: metastatic origin, 2.1 (slides) and 2.2 (softmax).
    """

    def __init__(self, *sets: Any, classes: int, **options: Any) -> None:
        self._classes = classes
        super().__init__(*sets, **options)

    @property
    def n_classes(self) -> int:
        """See `TileProblem`."""
        return self._classes

    def tile_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Cross-entropy."""
        return nn.functional.cross_entropy(logits, labels.long())

    def measure(self, logits: torch.Tensor, validation: SlideTiles) -> dict[str, float]:
        """The mean over classes of the AUC of one against the others, by tile and by slide."""
        probabilities = torch.softmax(logits, dim=1).numpy()
        labels = validation.slide_labels()
        of_slides = [probabilities[validation.slide_of_tile == slide].mean(axis=0) for slide in labels]
        return {
            "tile_auc": scores.macro_auc(validation.labels.astype(int), probabilities),
            "slide_auc": scores.macro_auc(np.array(list(labels.values())), np.reshape(of_slides, (-1, self._classes))),
        }


def _as_read(batch: Any) -> Any:
    return batch


def _check_sets(training: SlideTiles, validation: SlideTiles) -> None:
    for name, data in (("training", training), ("validation", validation)):
        if not len(data):
            raise InputError(f"the {name} set has {len(data.slides)} slides and no tile: nothing to learn from")


def _check_classes(training: SlideTiles, n_classes: int) -> None:
    missing = set(range(n_classes)) - set(training.labels.astype(int).tolist())
    if missing:
        raise InputError(
            f"the training set has no tile of class {min(missing)} ({training.describe()}): "
            "use more slides or another study.seed, and for a trait wider labels.low and labels.high; where a tumour "
            "filter chooses the tiles, a lower threshold"
        )


def _check_batch(batch_size: int, n_tiles: int, processes: int) -> None:
    # On a CPU each process's share is normalised by itself, and BatchNorm has no variance of one tile.
    if min(batch_size, n_tiles) // processes < 2:
        raise InputError(
            f"a step of {min(batch_size, n_tiles)} tiles (training.batch_size {batch_size}, {n_tiles} training tiles) "
            f"over {processes} processes leaves a process fewer than the two tiles that training needs: use a larger "
            "batch_size, more tiles, or fewer GPUs"
        )
