"""What is learnt from whole compressed slides: a class, a number, or the risk of death."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn

from workflow_scripts.lib import evaluation, feeding, grids, scores
from workflow_scripts.lib.augmentations import TURNS
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.grids import Place
from workflow_scripts.lib.orientations import turned
from workflow_scripts.lib.partial_likelihood import Ties, negative_log_likelihood
from workflow_scripts.lib.slide_networks import SlideNetwork
from workflow_scripts.lib.training_data import balanced_batches, batches

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class GridSet:
    """The slides of a set: where each one's grid is, and what it is to be, in their order.

    labels: a class's number from 0, (n,); a number, (n,); or of survival months of follow-up, and 1 for a death or 0,
    (n, 2).
    """

    places: Sequence[Place]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.places)


class Batch(NamedTuple):
    """Slides: grids (n, C, H, W) float16, where tissue is, (n, H, W) bool, and the labels of a `GridSet`, float64.

    H and W are the largest of the n; right of a smaller slide and below it there is no tissue.
    """

    grids: torch.Tensor
    tissue: torch.Tensor
    labels: torch.Tensor


class GridProblem(ABC):
    """Learning from compressed slides: a `training.Problem` but for the loss and what it is judged by.

    l2: weight of the squared weights of the convolutions in the loss. augmentations: of `augmentations.TURNS`, by which
    training slides are turned as they are, each with probability ½, beside the orientation of their patches; seed: of
    the order of slides, and of the turns.

    Grids are read while those before them are learnt from, so that memory holds two batches, however many slides there
    are. In each step a slide comes in one of the orientations in which it was compressed, with its layout turned in the
    same way: as the slide would look that was laid under the scanner so. In validation it comes as it is, and alone.
    """

    def __init__(
        self,
        network: SlideNetwork,
        training: GridSet,
        validation: GridSet,
        *,
        batch_size: int,
        augmentations: Sequence[str],
        l2: float,
        seed: int,
        fabric: "Fabric",
    ) -> None:
        # A batch normalised as a whole has no spread of one slide.
        for name, data, fewest in (("training", training, 2), ("validation", validation, 1)):
            if len(data) < fewest:
                raise InputError(
                    f"the {name} set has {len(data)} slides with tissue and a label, and {fewest} are needed: use more "
                    "slides, fewer folds or another study.seed"
                )
        self.check(training, validation)
        self.network = network
        self.n_examples = len(training)
        self.batch_size = min(batch_size, len(training))
        self._training, self._validation = training, validation
        self._augmentations, self._l2, self._seed, self._fabric = augmentations, l2, seed, fabric

    @abstractmethod
    def check(self, training: GridSet, validation: GridSet) -> None:
        """Raise InputError where nothing can be learnt from labels such as these."""

    @abstractmethod
    def loss_of(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The mean loss of what the network gives of slides, (n, outputs) float, and their labels."""

    @abstractmethod
    def measure(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """The measure beside the loss, of the finite outputs (n, outputs) of all validation slides."""

    def batches(self, first_step: int) -> Iterator[Batch]:
        """See `training.Problem`."""
        plan = enumerate(self.plan(first_step), start=first_step)
        return iter(feeding.Ahead(lambda of_step: self._read(*of_step), plan))

    def plan(self, first_step: int) -> Iterator[list[int]]:
        """The slides of a step and of every one after it, without end."""
        return batches(self.n_examples, self.batch_size, seed=self._seed, first_step=first_step, part=slice(None))

    def loss(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        """See `training.Problem`."""
        loss = self.loss_of(self._apply(network, batch).float(), batch.labels.to(self._fabric.device))
        return loss + self._l2 * self.network.squared_weights()

    def evaluate(self, network: nn.Module, look_up: Callable[[], None]) -> dict[str, float]:
        """See `training.Problem`: the loss over all validation slides at once, without L2, and `measure`."""
        found = []
        with self._fabric.autocast():
            for slide in in_order(self._validation):
                found.append(self._apply(network, slide).double().cpu())
                look_up()
        outputs, labels = torch.cat(found), torch.from_numpy(self._validation.labels)
        finite = bool(torch.isfinite(outputs).all())
        measured = self.measure(outputs.numpy() if finite else np.zeros(outputs.shape), self._validation.labels)
        if not finite:
            return {"loss": math.inf, **dict.fromkeys(measured, math.nan)}
        return {"loss": float(self.loss_of(outputs, labels)), **measured}

    def _apply(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        return network(*to_input(batch, self._fabric.device))

    def _read(self, step: int, slides: Sequence[int]) -> Batch:
        """The batch of a step: its turns are drawn from the seed and the step alone."""
        drawn = np.random.default_rng([self._seed, step])
        read = []
        for slide in slides:
            place = self._training.places[slide]
            orientation = int(drawn.integers(place.shape.orientations))
            chosen = drawn.random(len(TURNS)) < 0.5
            further = sum(
                1 << digit for digit, name in enumerate(TURNS) if name in self._augmentations and chosen[digit]
            )
            read.append([
                turned(turned(torch.from_numpy(found), orientation), further)
                for found in grids.read_grid(place, orientation)
            ])  # fmt: skip
        return _together(read, self._training.labels[slides])


class ClassProblem(GridProblem):
    """Classes 0 to `classes` - 1, by a logit each: cross-entropy, judged by the mean AUC of a class against the others.

    balanced: as many slides of every class in a batch.
    """

    def __init__(self, *sets: Any, classes: int, balanced: bool, **options: Any) -> None:
        self._classes, self._balanced = classes, balanced
        super().__init__(*sets, **options)

    def check(self, training: GridSet, validation: GridSet) -> None:
        """See `GridProblem`."""
        missing = set(range(self._classes)) - set(training.labels.astype(int).tolist())
        if missing:
            raise InputError(
                f"the training set of {len(training)} slides has none of class {min(missing)}, of {self._classes} from "
                "0: use more slides, fewer classes or another study.seed"
            )

    def plan(self, first_step: int) -> Iterator[list[int]]:
        """See `GridProblem`."""
        if not self._balanced:
            return super().plan(first_step)
        options = {"seed": self._seed, "first_step": first_step, "part": slice(None)}
        return balanced_batches(self._training.labels, self.batch_size, **options)

    def loss_of(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See `GridProblem`."""
        return nn.functional.cross_entropy(outputs, labels.long())

    def measure(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """See `GridProblem`."""
        probabilities = torch.softmax(torch.from_numpy(outputs), dim=1).numpy()
        return {"slide_auc": scores.macro_auc(labels.astype(int), probabilities)}


class NumberProblem(GridProblem):
    """A number, less `mean` and over `spread`: mean squared error, judged by Spearman's correlation."""

    def __init__(self, *sets: Any, mean: float, spread: float, **options: Any) -> None:
        self._mean, self._spread = mean, spread
        super().__init__(*sets, **options)

    def check(self, training: GridSet, validation: GridSet) -> None:
        """See `GridProblem`."""
        if len(np.unique(training.labels)) < 2:
            raise InputError(
                f"the training set of {len(training)} slides has the one number {self._mean:g}: nothing to learn; use "
                "more slides or another study.seed"
            )

    def loss_of(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See `GridProblem`."""
        expected = (labels - self._mean) / self._spread
        return nn.functional.mse_loss(outputs[:, 0], expected.to(outputs.dtype))

    def measure(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """See `GridProblem`."""
        return {"spearman": evaluation.spearman(labels, outputs[:, 0])[0]}


class RiskProblem(GridProblem):
    """The logarithm of a risk of death: Cox's partial likelihood over a batch, judged by the C-index.

    Paper: neural image compression, A.3.
    """

    def __init__(self, *sets: Any, ties: Ties, **options: Any) -> None:
        self._ties = ties
        super().__init__(*sets, **options)

    def check(self, training: GridSet, validation: GridSet) -> None:
        """See `GridProblem`."""
        for name, data in (("training", training), ("validation", validation)):
            if not data.labels[:, 1].any():
                raise InputError(
                    f"the {name} set of {len(data)} slides has no death: nothing to learn a risk from, or to judge it "
                    "by; use more slides, fewer folds or another study.seed"
                )

    def loss_of(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See `GridProblem`."""
        return negative_log_likelihood(outputs[:, 0], labels[:, 0], labels[:, 1], ties=self._ties)

    def measure(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """See `GridProblem`."""
        return {"c_index": scores.c_index(labels[:, 0], labels[:, 1], outputs[:, 0])}


def in_order(data: GridSet) -> Iterable[Batch]:
    """Each slide of a set as it is and alone, with the next being read."""

    def read(slide: int) -> Batch:
        return _together([[torch.from_numpy(found) for found in grids.read_grid(data.places[slide], 0)]],
                         data.labels[[slide]])  # fmt: skip

    return feeding.Ahead(read, range(len(data)))


def to_input(batch: Batch, device: torch.device | str) -> tuple[torch.Tensor, torch.Tensor]:
    """What a network takes, on a device: grids float32, channels last, and where tissue is."""
    found = batch.grids.to(device, non_blocking=True)
    return found.to(torch.float32, memory_format=torch.channels_last), batch.tissue.to(device, non_blocking=True)


def _together(read: Sequence[Sequence[torch.Tensor]], labels: np.ndarray) -> Batch:
    """Slides of unlike size as one batch: each a grid (C, H, W) and where tissue is."""
    height, width = (max(tissue.shape[axis] for _, tissue in read) for axis in (0, 1))
    values = torch.zeros(len(read), read[0][0].shape[0], height, width, dtype=torch.float16)
    tissue = torch.zeros(len(read), height, width, dtype=torch.bool)
    for number, (grid, of_slide) in enumerate(read):
        values[number, :, : grid.shape[1], : grid.shape[2]] = grid
        tissue[number, : grid.shape[1], : grid.shape[2]] = of_slide
    return Batch(values, tissue, torch.from_numpy(np.asarray(labels, np.float64)))
