"""Slides are made by several processes, and come back in their order."""

import logging
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

log = logging.getLogger(__name__)

Planned, Made = TypeVar("Planned"), TypeVar("Made")


def made(make: Callable[[Planned], Made], planned: Sequence[Planned], *, processes: int) -> Iterator[Made]:
    """Yield make(one) for each of the planned slides, in their order, and log how many there are.

    With processes > 1 workers are spawned: a script that calls this needs `if __name__ == "__main__":`, and `make`
    must be importable.
    """
    for number, one in enumerate(_mapped(make, planned, processes), start=1):
        if number % 10 == 0 or number == len(planned):
            log.info("%d of %d slides", number, len(planned))
        yield one


def _mapped(make: Callable[[Planned], Made], planned: Sequence[Planned], processes: int) -> Iterator[Made]:
    if processes == 1:
        yield from map(make, planned)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(make, planned, chunksize=1)
