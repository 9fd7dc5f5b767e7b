"""Batches made ready by threads while those before them are computed on.

Decoding a JPEG lets other threads run, and reading HDF5 takes turns by a lock of its own, so that threads do here what
takes processes elsewhere; a batch needs no way between them.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

Item, Made = TypeVar("Item"), TypeVar("Made")


@dataclass(frozen=True)
class Ahead(Generic[Item, Made]):
    """What `make` gives for each of some items, in their order, made by `threads` threads ahead of its use.

    While one is in use, as many more as there are threads are made or wait. Items are taken when there is room for
    them, by the thread that iterates, so that they may be endless. What `make` raises is raised in its item's place.
    """

    make: Callable[[Item], Made]
    items: Iterable[Item]
    threads: int = 1

    def __iter__(self) -> Iterator[Made]:
        with ThreadPoolExecutor(self.threads) as pool:
            coming = deque()
            for item in self.items:
                coming.append(pool.submit(self.make, item))
                if len(coming) > self.threads:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
