"""What a network learns from: the tiles of labelled slides, their order in training, and their augmentation."""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from workflow_scripts.lib import tiles

# File handles are few on clusters (1,024 by default), and every worker has its own.
MOST_OPEN_STORES = 256


@dataclass(frozen=True)
class LabelledSlide:
    """A slide that a model learns from: its tiles inherit its label (0 or 1). Paper: Results, Training models."""

    slide_id: str
    store: Path
    label: int


class SlideTiles(Dataset):
    """The tiles of labelled slides as one sequence; a batch is (tiles (n, 3, px, px) uint8, labels (n,) float32).

    Stores are opened where they are read, so that worker processes share no file handle.
    """

    def __init__(self, slides: Sequence[LabelledSlide]) -> None:
        counts = [tiles.read_summary(slide.store)["n_tiles"] for slide in slides]
        self.slides = list(slides)
        self.slide_of_tile = np.repeat(np.arange(len(slides)), counts)
        self.labels = np.repeat([slide.label for slide in slides], counts).astype(np.float32)
        self._first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._open: dict[tuple[int, Path], tuple[ExitStack, tiles.TileStore]] = {}

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        batch, labels = self.__getitems__([index])
        return batch[0], labels[0]

    def __getitems__(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        images = [tiles.decode(self._encoded(index)) for index in indices]
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), torch.from_numpy(self.labels[list(indices)])

    def _encoded(self, index: int) -> np.ndarray:
        slide = self.slide_of_tile[index]
        # A handle that was opened before a fork is not this process's own.
        key = (os.getpid(), self.slides[slide].store)
        if key not in self._open:
            if len(self._open) >= MOST_OPEN_STORES:
                self._open.pop(next(iter(self._open)))[0].close()
            opened = ExitStack()
            self._open[key] = opened, opened.enter_context(tiles.open_store(key[1]))
        return self._open[key][1].encoded(int(index - self._first[slide]))

    def describe(self) -> str:
        """How many slides and tiles of each class there are, for the log."""
        slides = np.array([slide.label for slide in self.slides])
        parts = (f"{np.sum(slides == c)} slides / {np.sum(self.labels == c)} tiles of class {c}" for c in (0, 1))
        return ", ".join(parts)


def batches(n_tiles: int, batch_size: int, *, seed: int, first_step: int, part: slice) -> Iterator[list[int]]:
    """Yield the tile indices of step `first_step` and of every step after it, without end.

    An epoch is a permutation of its own, cut into whole batches; the few tiles left over come back in the next.
    `part` is the share of a batch that this process takes (`slice(rank, None, processes)`).
    """
    size = min(batch_size, n_tiles)
    per_epoch = n_tiles // size
    step = first_step
    while True:
        epoch, first = divmod(step, per_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(n_tiles)
        for start in range(first * size, per_epoch * size, size):
            yield order[start : start + size][part].tolist()
            step += 1


def augment(batch: torch.Tensor, names: Sequence[str], generator: torch.Generator) -> torch.Tensor:
    """Flip, transpose or recolour each tile of a batch (n, 3, px, px; float in [−1, 1]) with probability ½.

    Paper: Methods, Training has the two flips only. `transpose` with them makes all eight symmetries of a square;
    `colour_jitter` scales each tile's distance from white per channel by 0.8-1.25 (its stain's density, roughly).
    """

    def chosen() -> torch.Tensor:
        return (torch.rand(len(batch), generator=generator) < 0.5).to(batch.device)[:, None, None, None]

    if "horizontal_flip" in names:
        batch = torch.where(chosen(), batch.flip(3), batch)
    if "vertical_flip" in names:
        batch = torch.where(chosen(), batch.flip(2), batch)
    if "transpose" in names:
        batch = torch.where(chosen(), batch.transpose(2, 3), batch)
    if "colour_jitter" in names:
        scale = torch.exp((torch.rand(len(batch), 3, 1, 1, generator=generator) * 2 - 1) * math.log(1.25))
        batch = torch.where(chosen(), (1 - (1 - batch) * scale.to(batch.device)).clamp(-1, 1), batch)
    return batch.contiguous(memory_format=torch.channels_last)
