"""Tiles are sampled evenly from slides, and what joins or goes moves as few of the others' as it can."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import test_training as classifiers
from stores import make_store

from workflow_scripts.lib import tile_models
from workflow_scripts.lib.tile_scores import write_tile_scores
from workflow_scripts.lib.tile_sources import TileSource
from workflow_scripts.lib.training_data import LabelledSlide, SlideTiles, sample_classes, sample_tiles


def slide(folder: Path, name: str, tiles: int, label: int | np.ndarray = 0, **view: object) -> LabelledSlide:
    """A slide whose tile at column c is grey of level 2 · c."""
    store = folder / f"{name}.h5"
    if not store.exists():
        levels = np.arange(tiles, dtype=np.uint8) * 2
        make_store(store, np.broadcast_to(levels[:, None, None, None], (tiles, 16, 16, 3)), slide_id=name)
    return LabelledSlide(name, TileSource(store, **view), label)


def counts(slides: list[LabelledSlide], groups: list, most: int, seed: int = 1) -> list[int]:
    return [len(one.sampled) for one in sample_tiles(slides, groups, most=most, seed=seed)]


def drawn(slides: list[LabelledSlide], most: int, seed: int = 1) -> dict[str, set[int]]:
    found = sample_tiles(slides, ["all"] * len(slides), most=most, seed=seed)
    return {one.slide_id: set(one.sampled.tolist()) for one in found}


def columns(data: SlideTiles) -> list[int]:
    """Of each tile the column, by its grey."""
    images = data.__getitems__(range(len(data)))[0]
    return (images.float().mean(dim=(1, 2, 3)) / 2).round().int().tolist()


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    return [slide(folder, f"S{number}", tiles) for number, tiles in enumerate((40, 3, 25, 40, 12))]


def test_of_tiles_that_are_sampled_already_those_alone_are_drawn(slides):
    some = [replace(one, sampled=np.arange(2, 12, 3)) for one in (slides[0], slides[3])]
    found = sample_tiles(some, ["all", "all"], most=5, seed=1)
    assert [len(one.sampled) for one in found] in ([2, 3], [3, 2])
    assert all(set(one.sampled) <= {2, 5, 8, 11} for one in found)
    # Another slide takes none of theirs but the last.
    (alone,) = sample_tiles(some[:1], ["all"], most=3, seed=1)
    assert set(found[0].sampled) <= set(alone.sampled)


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        # More than there are: all.
        (500, [40, 3, 25, 40, 12]),
        # 3, then the others evenly.
        (43, [10, 3, 10, 10, 10]),
        # 3 and 12 are all that two have.
        (63, [16, 3, 16, 16, 12]),
        (5, [1, 1, 1, 1, 1]),
        (0, [0, 0, 0, 0, 0]),
    ],
)
def test_slides_share_evenly_and_small_ones_give_all(slides, most, expected):
    assert counts(slides, ["all"] * 5, most) == expected


@pytest.mark.parametrize("most", [1, 44, 62, 101, 119])
def test_as_many_tiles_are_sampled_as_may_be_and_shares_differ_by_one(slides, most):
    found = np.array(counts(slides, ["all"] * 5, most))
    assert found.sum() == most
    cut = found < np.array([40, 3, 25, 40, 12])
    assert np.ptp(found[cut]) <= 1
    assert found[cut].min() >= found[~cut].max(initial=0) - 1


def test_each_group_has_its_own_sample(slides):
    groups = [("liver", "primary"), ("liver", "metastatic"), ("liver", "primary"), ("colon", "primary"), ("x", "y")]
    assert counts(slides, groups, 20) == [10, 3, 10, 20, 12]
    together, apart = (
        sample_tiles(chosen, list("aabbb"[: len(chosen)]), most=20, seed=1) for chosen in (slides, slides[:2])
    )
    for one, other in zip(together, apart, strict=False):
        np.testing.assert_array_equal(one.sampled, other.sampled)


def test_a_slide_that_joins_takes_what_it_brings_and_exchanges_nothing(slides):
    for most in range(1, 120, 7):
        before = drawn(slides[:4], most)
        after = drawn(slides, most)
        assert all(after[name] <= before[name] for name in before)
        lost = sum(len(before[name] - after[name]) for name in before)
        assert lost <= len(after["S4"])


def test_the_order_of_slides_does_not_matter_and_the_seed_does(slides):
    assert drawn(slides, 50) == drawn(slides[::-1], 50)
    assert drawn(slides, 50) != drawn(slides, 50, seed=2)


def test_positions_are_sorted_and_come_from_all_over_the_slide(slides):
    (found,) = sample_tiles(slides[:1], ["all"], most=20, seed=3)
    assert found.sampled.dtype == np.int64
    assert (np.diff(found.sampled) > 0).all()
    assert found.sampled[0] < 10
    assert found.sampled[-1] >= 30


def test_sampled_tiles_are_those_that_training_sees_with_their_labels(tmp_path):
    of_tiles = np.arange(10) % 3
    first, second = slide(tmp_path, "A", 10, of_tiles), slide(tmp_path, "B", 6, 1)
    data = SlideTiles([replace(first, sampled=np.array([2, 7])), second, replace(second, sampled=np.array([], int))])
    assert columns(data) == [2, 7, 0, 1, 2, 3, 4, 5]
    assert data.labels.tolist() == [2, 1, 1, 1, 1, 1, 1, 1]
    assert data.slide_of_tile.tolist() == [0, 0, 1, 1, 1, 1, 1, 1]
    assert data.slide_labels() == {1: 1}


def test_a_sample_is_of_the_tiles_that_pass_the_filter_and_survives_another_threshold(tmp_path):
    places = np.stack([np.arange(40), np.zeros(40, int)], axis=1)
    write_tile_scores(tmp_path / "tumour.h5", [("A", places, np.linspace(0, 1, 40))])
    views = [slide(tmp_path, "A", 40, tumour=tmp_path / "tumour.h5", threshold=share) for share in (0.25, 0.5)]
    seen = [set(columns(SlideTiles(sample_tiles([view], ["all"], most=15, seed=1)))) for view in views]
    assert min(seen[0]) >= 10
    assert min(seen[1]) >= 20
    # What passes both is not drawn anew.
    assert {column for column in seen[0] if column >= 20} <= seen[1]


def test_a_state_is_of_the_tiles_that_were_sampled(tmp_path):
    whole = slide(tmp_path, "A", 10)
    samples = [None, np.arange(10), np.array([1, 2]), np.array([1, 3])]
    keys = {
        tile_models._run_key({"seed": 1}, [replace(whole, sampled=one)], [whole], classifiers.machine())
        for one in samples
    }
    assert len(keys) == 4


def test_a_model_learns_from_sampled_tiles(tmp_path):
    sets = [
        sample_tiles(classifiers.slides(tmp_path, labels, seed=seed), list(labels), most=10, seed=1)
        for seed, labels in ((1, "0101"), (2, "01"))
    ]
    classifiers.train(tmp_path / "model", *sets, max_epochs=1)
    table = tmp_path / "model" / "scores.tsv"
    found = classifiers.files.read_table(table).iloc[0]
    assert (found["train_tiles"], found["validation_tiles"]) == (20, 16)


# As many of each class


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    """Two slides to learn from and one to validate on: 90 tiles of class 0, and 20, 5 and 5 of class 1."""
    folder = tmp_path_factory.mktemp("annotated")
    labels = [np.repeat([0, 1], [40, 20]), np.repeat([1, 0], [5, 30]), np.repeat([0, 1], [20, 5])]
    first, second, third = (slide(folder, f"A{n}", len(of), of) for n, of in enumerate(labels))
    return {"train": [first, second], "validation": [third]}


def chosen(sets: dict[str, list[LabelledSlide]]) -> dict[str, list[int]]:
    return {one.slide_id: one.sampled.tolist() for of in sets.values() for one in of}


def of_classes(sets: dict[str, list[LabelledSlide]]) -> list[int]:
    labels = np.concatenate([one.label[one.sampled] for of in sets.values() for one in of])
    return np.bincount(labels, minlength=2).tolist()


@pytest.mark.parametrize(("most", "expected"), [(12, [12, 12]), (500, [30, 30]), (30, [30, 30])])
def test_of_each_class_there_are_as_many_and_no_more_than_the_rarest_has(annotated, most, expected):
    sets = sample_classes(annotated, most=most, seed=1)
    assert of_classes(sets) == expected
    assert list(sets) == ["train", "validation"]
    assert SlideTiles(sets["train"]).labels.sum() + SlideTiles(sets["validation"]).labels.sum() == expected[1]


def test_the_same_slides_give_the_same_tiles_whatever_set_and_order_they_are_in(annotated):
    found = chosen(sample_classes(annotated, most=12, seed=1))
    (first, second), (third,) = annotated.values()
    assert chosen(sample_classes({"train": [third, first], "validation": [second]}, most=12, seed=1)) == found
    assert chosen(sample_classes(annotated, most=12, seed=2)) != found


def test_a_smaller_sample_is_part_of_a_larger_one(annotated):
    few, many = (chosen(sample_classes(annotated, most=most, seed=1)) for most in (6, 12))
    assert all(set(few[name]) <= set(many[name]) for name in few)


def test_large_slides_give_more_of_their_class_in_proportion(annotated):
    many = [chosen(sample_classes(annotated, most=15, seed=seed)) for seed in range(200)]
    # Of 30 tiles of class 1, 20 are on the first slide.
    assert np.mean([sum(place >= 40 for place in of["A0"]) for of in many]) == pytest.approx(10, abs=0.3)
