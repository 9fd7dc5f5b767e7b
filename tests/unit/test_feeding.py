"""What is made ahead comes in its order, no further ahead than is said, and fails in its place."""

import threading

import pytest

from workflow_scripts.lib.feeding import Ahead


@pytest.mark.parametrize("threads", [1, 3])
def test_what_is_made_comes_in_the_order_of_the_items(threads):
    made = Ahead(lambda item: item * 2, range(20), threads=threads)
    assert list(made) == list(range(0, 40, 2))
    # Again, as validation batches are at each evaluation.
    assert list(made) == list(range(0, 40, 2))
    assert list(Ahead(lambda item: item, [])) == []


def test_the_next_is_made_while_one_is_in_use():
    made = {number: threading.Event() for number in range(3)}
    makers = set()

    def make(number):
        makers.add(threading.get_ident())
        made[number].set()
        return number

    for number in Ahead(make, range(3)):
        assert made[min(number + 1, 2)].wait(timeout=30)
    assert makers.isdisjoint({threading.get_ident()})
    assert len(makers) == 1


@pytest.mark.parametrize("threads", [1, 3])
def test_endless_items_are_taken_no_further_ahead_than_there_are_threads(threads):
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield taken[-1]

    made = iter(Ahead(lambda item: item, endless(), threads=threads))
    assert taken == []
    assert [next(made) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert len(taken) == 5 + threads
    made.close()


def test_an_error_comes_in_the_place_of_its_item():
    made = iter(Ahead(lambda item: 6 // item, [1, 2, 0, 3]))
    assert [next(made), next(made)] == [6, 3]
    with pytest.raises(ZeroDivisionError):
        next(made)
