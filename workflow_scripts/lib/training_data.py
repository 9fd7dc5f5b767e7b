"""What a network learns from: the tiles of labelled slides, samples of them, and their order in training."""

import hashlib
import os
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset

from workflow_scripts.lib import tile_sources, tiles
from workflow_scripts.lib.recolouring import Recolouring
from workflow_scripts.lib.tile_sources import TileSource

# File handles are few on clusters (1,024 by default), and every worker has its own.
MOST_OPEN_STORES = 256
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class LabelledSlide:
    """A slide that a model learns from.

    label: its class, from 0, which all its tiles inherit (Paper: Results, Training models); or (n,) of classes, one for
    each of the n tiles of `source`, in their order. sampled: the positions (k,) among these n tiles of those that are
    used (`sample_tiles`); None for all.
    """

    slide_id: str
    source: TileSource
    label: int | np.ndarray
    sampled: np.ndarray | None = None


def labelled_sets(
    labels: Mapping[str, Mapping[str, int]], sources: Iterable[TileSource]
) -> dict[str, list[LabelledSlide]]:
    """The slides of each set from the labels by slide id, and their sources in the order of the labels, set by set."""
    following = iter(sources)
    return {name: [LabelledSlide(slide, next(following), of[slide]) for slide in of] for name, of in labels.items()}


class SlideTiles(Dataset):
    """The tiles of labelled slides as one sequence, each with its label and its slide's place in the list of slides.

    A batch is (tiles (n, 3, px, px) uint8 as they are stored, labels (n,) float32, slides (n,) int64); `recolouring`
    gives such tiles the colours that models see. Stores are opened where they are read, so that worker processes share
    no file handle.
    """

    def __init__(self, slides: Sequence[LabelledSlide]) -> None:
        passing = [tile_sources.selected(slide.source) for slide in slides]
        labels = [np.broadcast_to(slide.label, len(of)) for slide, of in zip(slides, passing, strict=True)]
        used = [slice(None) if slide.sampled is None else slide.sampled for slide in slides]
        selected, labels = ([of[places] for of, places in zip(whole, used, strict=True)] for whole in (passing, labels))
        counts = [len(positions) for positions in selected]
        self.slides = list(slides)
        self.slide_of_tile = np.repeat(np.arange(len(slides)), counts)
        self.labels = np.concatenate([*labels, []]).astype(np.float32)
        self.recolouring = Recolouring([tile_sources.normalisation_of(slide.source) for slide in slides])
        self._position = np.concatenate([*selected, []]).astype(np.int64)
        self._open: dict[tuple[int, Path], tuple[ExitStack, tiles.TileStore]] = {}

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        batch, labels, slides = self.__getitems__([index])
        return batch[0], labels[0], slides[0]

    def __getitems__(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        chosen = np.asarray(indices)
        slides = self.slide_of_tile[chosen]
        px = self._store(slides[0]).attributes["tile_px"]
        images = np.empty((len(chosen), px, px, 3), np.uint8)
        for slide in np.unique(slides):
            places = np.flatnonzero(slides == slide)
            self._store(slide).read(self._position[chosen[places]], [images[place] for place in places])
        labels = torch.from_numpy(self.labels[chosen])
        return torch.from_numpy(images).permute(0, 3, 1, 2), labels, torch.from_numpy(slides)

    def _store(self, slide: int) -> tiles.TileStore:
        # A handle that was opened before a fork is not this process's own.
        key = (os.getpid(), self.slides[slide].source.store)
        if key not in self._open:
            if len(self._open) >= MOST_OPEN_STORES:
                self._open.pop(next(iter(self._open)))[0].close()
            opened = ExitStack()
            self._open[key] = opened, opened.enter_context(tiles.open_store(key[1]))
        return self._open[key][1]

    def slide_labels(self) -> dict[int, int]:
        """The labels of the slides with tiles that have one for all of them, by their place."""
        labels = {int(slide): self.slides[slide].label for slide in np.unique(self.slide_of_tile)}
        return {slide: label for slide, label in labels.items() if isinstance(label, int)}

    def describe(self) -> str:
        """How many tiles of each class there are, and of how many slides, for the log."""
        classes = np.union1d([0, 1], self.labels).astype(int)
        slides = [len(np.unique(self.slide_of_tile[self.labels == c])) for c in classes]
        counts = zip(slides, classes, strict=True)
        return ", ".join(f"{n} slides / {np.sum(self.labels == c)} tiles of class {c}" for n, c in counts)


def sample_tiles(
    slides: Sequence[LabelledSlide], groups: Sequence[Hashable], *, most: int, seed: int
) -> list[LabelledSlide]:
    """The slides with at most `most` tiles sampled of all those of each group; groups: of each slide, its group.

    A group's slides share evenly: each gives as many tiles as any other, and one that has fewer gives all, so that
    large slides do not stand for their class alone. Where that leaves a rest, slides with more tiles give one more. A
    slide's tiles are those with the lowest hashes of seed, slide, column and row. So a slide that joins takes no more
    tiles from the others than it brings, and none of theirs is exchanged for another. Of a slide of which some tiles
    are `sampled` already, those alone are drawn. Paper: metastatic origin, 3.2 ("5000 tiles from each of the 14 classes
    across each of the whole slide images").
    """
    sampled = [np.empty(0, np.int64)] * len(slides)
    for group in dict.fromkeys(groups):
        lots: dict[int, dict[int, bytes]] = {}
        for number, (slide, of) in enumerate(zip(slides, groups, strict=True)):
            if of == group:
                seen = tile_sources.places(slide.source)[0]
                positions = range(len(seen)) if slide.sampled is None else slide.sampled.tolist()
                lots[number] = {position: _lot(seed, slide.slide_id, *seen[position]) for position in positions}
        available = {number: len(of_slide) for number, of_slide in lots.items()}
        for number, share in _even_shares(available, most, lambda number: _lot(seed, slides[number].slide_id)).items():
            drawn = sorted(lots[number], key=lots[number].__getitem__)[:share]
            sampled[number] = np.sort(np.array(drawn, np.int64))
    return [replace(slide, sampled=positions) for slide, positions in zip(slides, sampled, strict=True)]


def sample_classes(
    sets: Mapping[str, Sequence[LabelledSlide]],
    *,
    most: int,
    seed: int,
    centres: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, list[LabelledSlide]]:
    """The slides of some sets with equally many tiles sampled of each class: at most `most`, or as the rarest has.

    The label of each slide is of its tiles, (n,), and negative for tiles of no class, which are not drawn. They are
    drawn from all slides of all sets alike, so that a slide gives what share it has of its class: of each class the
    tiles with the lowest hashes of seed, slide, column and row. So whoever learns from these slides, in whichever way,
    sees these tiles. Paper: cross-cancer transfer, 3.2 ("we randomly sampled 300,000 cancerous tiles and 300,000
    non-cancerous tiles").

    centres: of each set the centre of each slide. Those that have a class share evenly in its tiles, and one that has
    fewer gives all. None: all are of one. Paper: neural image compression, 2.
    """
    slides = [slide for of in sets.values() for slide in of]
    centre_of = [centre for name, of in sets.items() for centre in (centres[name] if centres else [""] * len(of))]
    lots = [
        np.array([int.from_bytes(_lot(seed, slide.slide_id, *place)[:8]) for place in seen], np.uint64)
        for slide, (seen, _) in zip(slides, (tile_sources.places(slide.source) for slide in slides), strict=True)
    ]
    every, labels = (np.concatenate(parts) for parts in (lots, [slide.label for slide in slides]))
    of_centre = np.repeat(centre_of, list(map(len, lots)))
    of_classes = [np.flatnonzero(labels == label) for label in np.unique(labels[labels >= 0])]
    number = min([most, *map(len, of_classes)])
    drawn = np.zeros(len(every), bool)
    for members in of_classes:
        found, counts = np.unique(of_centre[members], return_counts=True)
        available = dict(zip(found.tolist(), counts.tolist(), strict=True))
        for centre, share in _even_shares(available, number, lambda centre: _lot(seed, centre)).items():
            of_both = members[of_centre[members] == centre]
            drawn[of_both[np.argsort(every[of_both], kind="stable")[:share]]] = True
    of_slides = np.split(drawn, np.cumsum([len(of_slide) for of_slide in lots])[:-1])
    sampled = iter([replace(slide, sampled=np.flatnonzero(of)) for slide, of in zip(slides, of_slides, strict=True)])
    return {name: [next(sampled) for _ in of] for name, of in sets.items()}


def _even_shares(available: Mapping[Key, int], most: int, lot: Callable[[Key], bytes]) -> dict[Key, int]:
    """How many each gives of what is available of it, so that together they give `most` and none much more than others.

    One that has fewer gives all. Where a rest is left, those that have more, and of equals those of the higher lot,
    give one more.
    """
    left, shares = most, {}
    for done, key in enumerate(sorted(available, key=lambda key: (available[key], lot(key)))):
        shares[key] = min(available[key], left // (len(available) - done))
        left -= shares[key]
    return shares


def _lot(*named: object) -> bytes:
    """What a name draws: the same whatever else there is."""
    return hashlib.sha256(":".join(map(str, named)).encode()).digest()


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


def balanced_batches(
    labels: np.ndarray, batch_size: int, *, seed: int, first_step: int, part: slice
) -> Iterator[list[int]]:
    """As `batches`, of tiles with `labels` (n,) of k classes: each step has as many of every class.

    A step takes the next tiles of each class from an endless row of permutations of its own, so that a rarer class
    comes back sooner. What is left of a batch when k classes have been given as many goes to one class after the other,
    the last first, and the next step goes on where it ended: after k steps all have had as many.
    Paper: metastatic origin, 2.2 ("class-balancing").
    """
    size = min(batch_size, len(labels))
    classes = np.unique(labels)
    k = len(classes)
    each, left = divmod(size, k)

    def more(step: int, place: int) -> int:
        """How many tiles beyond `each` a class has had before a step."""
        return (step * left + place) // k

    rows = [
        _endless(np.flatnonzero(labels == c), taken=first_step * each + more(first_step, place), seed=(seed, int(c)))
        for place, c in enumerate(classes)
    ]
    for row in rows:
        next(row)
    step = first_step
    while True:
        shares = [each + more(step + 1, place) - more(step, place) for place in range(k)]
        yield np.concatenate([row.send(share) for row, share in zip(rows, shares, strict=True)])[part].tolist()
        step += 1


def _endless(members: np.ndarray, *, taken: int, seed: tuple[int, int]) -> Generator[np.ndarray, int, None]:
    """The next tiles of a row of permutations of which some were taken before; send how many, after a first `next`."""
    shuffle, first = divmod(taken, len(members))
    order = np.random.default_rng([*seed, shuffle]).permutation(members)[first:]
    share = yield order[:0]
    while True:
        while len(order) < share:
            shuffle += 1
            order = np.concatenate([order, np.random.default_rng([*seed, shuffle]).permutation(members)])
        given, order = order[:share], order[share:]
        share = yield given
