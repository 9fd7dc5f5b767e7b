"""A filter is judged on annotated tiles, joined by their place, and its threshold comes from the validation slides."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.lib import files, tile_sources, tumour_filters
from workflow_scripts.lib.errors import InputError


def annotate(path: Path, slide_id: str, labels: list[str]) -> Path:
    """A slide's table of annotated tiles, in a row."""
    columns = np.arange(len(labels))
    annotated = pd.DataFrame({"slide_id": slide_id, "col": columns, "row": 0, "label": labels, "share_tumour": 0.5})
    files.write_table(annotated, path)
    return path


def predicted(slide_id: str, probabilities: list[float]) -> tuple[str, np.ndarray, np.ndarray]:
    """What a filter says of a slide's tiles, in another order than the table has."""
    columns = np.arange(len(probabilities))[::-1]
    coords = np.stack([columns, np.zeros_like(columns)], axis=1)
    return slide_id, coords, np.array(probabilities, np.float32)[columns]


@pytest.fixture
def judged(tmp_path) -> pd.DataFrame:
    """Four slides; the filter is right on training slides, and less so on the others."""
    sets = {
        "train": [
            ("t1", ["tumour", "background", "necrosis"], [0.9, 0.1, 0.2]),
            ("t2", ["background", "tumour"], [0.3, 0.7]),
        ],
        "validation": [("v", ["tumour", "background", "tumour", "background"], [0.8, 0.4, 0.6, 0.1])],
        "test": [("h", ["tumour", "background", "background"], [0.45, 0.55, 0.2])],
    }
    for name, slides in sets.items():
        tiles = tumour_filters.judged_tiles(
            [predicted(slide, probabilities) for slide, _, probabilities in slides],
            [annotate(tmp_path / f"{slide}.labels.tsv", slide, labels) for slide, labels, _ in slides],
            patients=[f"p-{slide}" for slide, _, _ in slides],
            set_name=name,
            label="tumour",
        )
        files.write_table(tiles, tmp_path / f"{name}.tsv")
    return tumour_filters.read_judged_tiles(tmp_path / f"{name}.tsv" for name in sets)


def test_tiles_and_scores_are_joined_by_their_place(judged):
    of_validation = judged[judged["set"] == "validation"]
    assert of_validation["label"].tolist() == [1, 0, 1, 0]
    assert np.allclose(of_validation["probability"], [0.8, 0.4, 0.6, 0.1])
    # Another label than the tumour's is no tumour.
    assert judged["label"].sum() == 5
    assert judged["patient_id"].unique().tolist() == ["p-t1", "p-t2", "p-v", "p-h"]


def test_a_set_without_annotated_slides_changes_nothing_of_the_others(judged, tmp_path):
    nothing = tumour_filters.judged_tiles([], [], patients=[], set_name="test", label="tumour")
    files.write_table(nothing, tmp_path / "test.tsv")
    found = tumour_filters.read_judged_tiles([tmp_path / "train.tsv", tmp_path / "test.tsv"])
    pd.testing.assert_frame_equal(found, judged[judged["set"] == "train"])
    evaluation, _ = tumour_filters.judge(found, threshold=0.5, resamples=20, seed=1)
    assert evaluation.set_index("set")["n_tiles"].to_dict() == {"train": 5, "validation": 0, "test": 0}


def test_the_threshold_is_chosen_on_the_validation_slides_alone(judged):
    threshold = tumour_filters.choose_threshold(judged[judged["set"] == "validation"], "youden")
    assert threshold == pytest.approx(0.5)
    evaluation, curves = tumour_filters.judge(judged, threshold=threshold, resamples=20, seed=1)
    assert evaluation.set_index("set")["auroc"].to_dict() == {"train": 1.0, "validation": 1.0, "test": 0.5}
    assert set(evaluation["threshold"]) == {threshold}
    assert set(curves["set"]) == {"train", "validation", "test"}


def test_tiles_next_to_the_threshold_are_judged_as_the_chain_uses_them(tmp_path):
    below = np.float32(1) - np.arange(1, 40, dtype=np.float32) * np.finfo(np.float32).eps
    above = np.nextafter(below, np.float32(1))
    for number, (other, tumour) in enumerate(zip(below.tolist(), above.tolist(), strict=True)):
        tiles = tumour_filters.judged_tiles(
            [("S", np.array([(0, 0), (1, 0)]), np.array([tumour, other], np.float32))],
            [annotate(tmp_path / "S.labels.tsv", "S", ["tumour", "background"])],
            patients=["p"],
            set_name="validation",
            label="tumour",
        )
        files.write_table(tiles, tmp_path / f"{number}.tsv")
        read = tumour_filters.read_judged_tiles([tmp_path / f"{number}.tsv"])
        threshold = tumour_filters.choose_threshold(read, "youden")
        evaluation, _ = tumour_filters.judge(read, threshold=threshold, resamples=1, seed=1)
        found = evaluation.set_index("set").loc["validation"]
        assert (found["true_positive"], found["false_positive"]) == (1, 0)


def test_a_given_threshold_is_not_chosen(judged):
    assert tumour_filters.choose_threshold(judged, 0.25) == 0.25
    evaluation, _ = tumour_filters.judge(judged, threshold=0.25, resamples=20, seed=1)
    assert evaluation.set_index("set").loc["test", "false_positive"] == 1


def test_a_threshold_that_was_written_is_read_to_the_last_bit(tmp_path):
    value = float(np.float32(0.123456789))
    tumour_filters.write_threshold(tmp_path / "threshold.json", value)
    assert tile_sources.read_threshold(str(tmp_path / "threshold.json")) == value
    assert tile_sources.read_threshold(0.25) == 0.25
    assert tile_sources.read_threshold(None) is None


@pytest.mark.parametrize(
    ("train", "validation", "said"),
    [
        ([[0, 1]], [[0, 1]], ""),
        ([[0], [1]], [[1], [0]], ""),
        ([[0, 1]], [[1]], r"filter F: .* of the validation set .* found 1 of tumour and 0 others on 1 slides"),
        ([[0], [0]], [[0, 1]], r"of the train set .* found 0 of tumour and 2 others on 2 slides"),
        ([[0, 1]], [], r"of the validation set .* found 0 of tumour and 0 others on 0 slides"),
    ],
)
def test_a_filter_that_cannot_learn_says_which_set_lacks_what(train, validation, said):
    labels = {name: [np.array(of) for of in slides] for name, slides in (("train", train), ("validation", validation))}
    with pytest.raises(InputError, match=said) if said else nullcontext():
        tumour_filters.check_labels(labels, name="F")


def test_a_slide_whose_annotations_were_refused_has_no_annotated_tile(tmp_path):
    table = pd.DataFrame(columns=["slide_id", "col", "row", "label", "share_tumour"])
    files.write_table(table, tmp_path / "S.tsv")
    assert tumour_filters.annotated_tiles(tmp_path / "S.tsv", label="tumour").empty


def test_labels_are_in_the_order_of_the_tiles(judged, tmp_path):
    annotated = tumour_filters.annotated_tiles(tmp_path / "v.labels.tsv", label="tumour")
    coords = np.array([[3, 0], [0, 0], [2, 0]])
    assert tumour_filters.labels_of(annotated, coords).tolist() == [0, 1, 1]
    with pytest.raises(InputError, match=r"no label for 1 tiles, the first at column 4, row 0"):
        tumour_filters.labels_of(annotated, np.array([[0, 0], [4, 0]]))
