"""Tables of the held-out slides agree with scikit-learn, resamples spelt out, and numbers worked out by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests

from workflow_scripts.lib import transfer_scores
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import read_table, write_table
from workflow_scripts.lib.probability_maps import PixelCounts, write_counts
from workflow_scripts.lib.tumour_filters import JUDGED

NAN = float("nan")
WHY = "not available: no weights here; put them there"
# Number of pixels of a tile, and of the bins that their probabilities are in.
TILE_PIXELS, BINS = 50, 20


def slides_of(seed: int, *, tumour: Sequence[float] = (0.5, 0.4, 0.2, 0.6, 0.0, 0.7), tiles: int = 12) -> pd.DataFrame:
    """The tiles of slides S0, S1, … with so large a share of tumour, which are of patients P0, P1, …"""
    rng = np.random.default_rng(seed)
    tables = [
        pd.DataFrame({
            "slide_id": f"S{number}", "patient_id": f"P{number}", "set": "test", "col": np.arange(tiles), "row": number,
            "label": (rng.permutation(tiles) < share * tiles).astype(int),
        })
        for number, share in enumerate(tumour)
    ]  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def judged(tiles: pd.DataFrame, *, seed: int, signal: float) -> pd.DataFrame:
    """The same with probabilities in BINS steps, some of them tied, which know more the stronger the signal."""
    odds = np.random.default_rng(seed).normal(0, 1, len(tiles)) + signal * (tiles["label"] - 0.5)
    steps = np.floor(BINS / (1 + np.exp(-odds)))
    return tiles.assign(probability=((steps + 0.5) / BINS).astype(np.float32))[JUDGED]


def pixels_of(tiles: pd.DataFrame, slides: Sequence[str]) -> PixelCounts:
    """Counts of pixels where a tile's pixels are all as it is."""
    counts = np.zeros((len(slides), 2, BINS), np.int64)
    for row in tiles.itertuples():
        counts[slides.index(row.slide_id), row.label, int(row.probability * BINS)] += TILE_PIXELS
    edges = np.arange(1, BINS) / BINS
    return PixelCounts(tuple(slides), counts, edges, 2.0, "nearest", "tissue")


class Study:
    """The files of a study, by name of the arguments that take them."""

    def __init__(
        self, folder: Path, regimes: Mapping[str, pd.DataFrame | str], *, slides: Sequence[str] | None = None
    ) -> None:
        self.folder = folder
        self.tiles = {name: table for name, table in regimes.items() if not isinstance(table, str)}
        self.slides = list(slides or next(iter(self.tiles.values()))["slide_id"].drop_duplicates())
        notes = [(name, table if isinstance(table, str) else "") for name, table in regimes.items()]
        write_table(pd.DataFrame(notes, columns=["regime", "note"]), folder / "regimes.tsv")
        for name, table in self.tiles.items():
            write_table(table, self.path_of_tiles(name))
            self.write_pixels(name, pixels_of(table, self.slides))

    def path_of_tiles(self, regime: str) -> Path:
        return self.folder / regime / "test.tsv"

    def write_pixels(self, regime: str, counts: PixelCounts) -> None:
        write_counts(self.folder / f"{regime}.h5", counts)

    def tables(self, *, resamples: int = 60, seed: int = 3) -> dict[str, pd.DataFrame]:
        paths = {name: self.folder / f"{name}.tsv" for name in ("table1", "tests", "roc")}
        transfer_scores.write_tables(
            paths,
            path_to_regimes=self.folder / "regimes.tsv",
            paths_to_tiles={name: self.path_of_tiles(name) for name in self.tiles},
            paths_to_pixels={name: self.folder / f"{name}.h5" for name in self.tiles},
            resamples=resamples,
            seed=seed,
        )
        text = ["regime", "level", "slide", "first", "second", "note"]
        return {name: read_table(path, text=text) for name, path in paths.items()}


def three_regimes(seed: int = 0, signals: Sequence[float] = (0.5, 1.0, 3.0), **changes: object) -> dict:
    tiles = slides_of(seed, **changes)
    return {
        f"r{number}": judged(tiles, seed=100 * seed + number, signal=signal) for number, signal in enumerate(signals)
    }


def slow_resamples(tiles: pd.DataFrame, *, resamples: int, seed: int) -> np.ndarray:
    """The overall AUC in each resample of slides, spelt out tile by tile."""
    slides = np.unique(tiles["slide_id"])
    draws = np.random.default_rng(seed).multinomial(len(slides), np.full(len(slides), 1 / len(slides)), size=resamples)
    found = []
    for times in draws:
        drawn = [tiles[tiles["slide_id"] == slide] for slide in np.repeat(slides, times)]
        of = pd.concat(drawn)
        found.append(roc_auc_score(of["label"], of["probability"]) if of["label"].nunique() == 2 else NAN)
    return np.array(found)


# Table 1


@pytest.mark.parametrize("level", ["tile", "pixel"])
def test_each_slide_and_all_together_have_scikit_learns_auc_and_overall_its_interval(tmp_path, level):
    regimes = three_regimes()
    table = Study(tmp_path, regimes).tables()["table1"]
    assert table.columns.tolist() == [
        "regime", "level", "slide", "auc", "low", "high", "n", "positives", "note",
    ]  # fmt: skip
    for regime, tiles in regimes.items():
        rows = table[(table["regime"] == regime) & (table["level"] == level)].set_index("slide")
        assert rows.index.tolist() == ["S0", "S1", "S2", "S3", "S4", "S5", "overall"]
        for slide, of in tiles.groupby("slide_id"):
            one_class = of["label"].nunique() < 2
            expected = NAN if one_class else roc_auc_score(of["label"], of["probability"])
            assert rows.loc[slide, "auc"] == pytest.approx(expected, nan_ok=True)
            assert rows.loc[slide, "note"] == (f"no {level} of tumour" if one_class else "")
        overall = rows.loc["overall"]
        assert overall["auc"] == pytest.approx(roc_auc_score(tiles["label"], tiles["probability"]))
        resampled = slow_resamples(tiles, resamples=60, seed=3)
        np.testing.assert_allclose([overall["low"], overall["high"]], np.nanpercentile(resampled, [2.5, 97.5]))
        assert rows.loc[rows.index != "overall", ["low", "high"]].isna().all(axis=None)
        times = TILE_PIXELS if level == "pixel" else 1
        assert (overall["n"], overall["positives"]) == (len(tiles) * times, tiles["label"].sum() * times)


def test_overall_is_of_all_tiles_together_and_not_the_mean_over_slides(tmp_path):
    # Each slide is told perfectly, and the tumour of one is less probable than the other tissue of the next.
    tiles = slides_of(0, tumour=(0.5, 0.5), tiles=2).sort_values(["slide_id", "label"], ignore_index=True)
    regimes = {"r": tiles.assign(probability=[0.1, 0.3, 0.6, 0.8])[JUDGED]}
    rows = Study(tmp_path, regimes).tables()["table1"].set_index(["level", "slide"])["auc"]
    for level in ("tile", "pixel"):
        assert rows[level].tolist() == [1, 1, 0.75]


def test_slides_of_one_class_have_no_auc_and_count_in_the_pool(tmp_path):
    tiles = slides_of(0, tumour=(1.0, 0.0, 1.0, 0.0))
    rows = Study(tmp_path, {"r": judged(tiles, seed=1, signal=2)}).tables()["table1"]
    of_slides = rows[rows["slide"] != "overall"]
    assert of_slides["auc"].isna().all()
    assert of_slides["note"].tolist()[:2] == ["no tile of other tissue", "no tile of tumour"]
    overall = rows[rows["slide"] == "overall"]
    assert overall[["auc", "low", "high"]].notna().all(axis=None)
    assert overall["note"].str.fullmatch(r"\d+ of 60 resamples have one class and are left out").all()


def test_a_slide_without_tiles_has_its_row_and_is_not_drawn(tmp_path):
    regimes = three_regimes()
    with_it = Study(tmp_path / "with", regimes, slides=["blank", "S0", "S1", "S2", "S3", "S4", "S5"]).tables()
    without = Study(tmp_path / "without", regimes).tables()
    blank = with_it["table1"][with_it["table1"]["slide"] == "blank"]
    assert blank["note"].tolist() == ["no tile", "no pixel"] * 3
    assert (blank["n"] == 0).all()
    rest = with_it["table1"][with_it["table1"]["slide"] != "blank"].reset_index(drop=True)
    pd.testing.assert_frame_equal(rest, without["table1"])
    pd.testing.assert_frame_equal(with_it["tests"], without["tests"])


@pytest.mark.parametrize("tumour", [(0.5,), (0.5, 0.0, 0.0)])
def test_there_is_no_interval_and_no_test_where_all_tumour_is_on_one_slide(tmp_path, tumour):
    found = Study(tmp_path, three_regimes(tumour=tumour)).tables()
    overall = found["table1"][found["table1"]["slide"] == "overall"]
    assert overall["auc"].notna().all()
    assert overall[["low", "high"]].isna().all(axis=None)
    assert set(overall["note"]) == {"no interval: all tumour, or all other tissue, is on one slide"}
    assert found["tests"]["difference"].notna().all()
    assert found["tests"][["low", "high", "p", "p_adjusted"]].isna().all(axis=None)
    assert set(found["tests"]["note"]) == set(overall["note"])


def test_slides_without_tumour_have_no_auc_at_all(tmp_path):
    found = Study(tmp_path, three_regimes(tumour=(0.0, 0.0))).tables()
    assert found["table1"]["auc"].isna().all()
    assert set(found["table1"]["note"]) == {"no tile of tumour", "no pixel of tumour"}
    assert found["tests"][["difference", "low", "high", "p"]].isna().all(axis=None)
    assert found["roc"].empty


# Tests of two regimes


@pytest.mark.parametrize("level", ["tile", "pixel"])
def test_the_difference_of_two_regimes_is_paired_in_resamples_spelt_out(tmp_path, level):
    regimes = three_regimes(seed=1)
    table = Study(tmp_path, regimes).tables()["tests"]
    assert table.columns.tolist() == [
        "level", "first", "second", "difference", "low", "high", "p", "p_adjusted", "slides", "resamples", "note",
    ]  # fmt: skip
    rows = table[table["level"] == level]
    assert list(zip(rows["first"], rows["second"], strict=True)) == [("r0", "r1"), ("r0", "r2"), ("r1", "r2")]
    overall = {name: roc_auc_score(of["label"], of["probability"]) for name, of in regimes.items()}
    resampled = {name: slow_resamples(of, resamples=60, seed=3) for name, of in regimes.items()}
    for row in rows.itertuples():
        assert row.difference == pytest.approx(overall[row.first] - overall[row.second])
        differences = resampled[row.first] - resampled[row.second]
        np.testing.assert_allclose([row.low, row.high], np.percentile(differences, [2.5, 97.5]))
        fewer = min((differences <= 0).sum(), (differences >= 0).sum())
        assert row.p == pytest.approx(min(1, 2 * (fewer + 1) / 61))
        assert (row.slides, row.resamples) == (6, 60)


def test_p_is_adjusted_by_holm_over_the_whole_table(tmp_path):
    table = Study(tmp_path, three_regimes(seed=2)).tables()["tests"]
    assert len(table) == 6
    np.testing.assert_allclose(table["p_adjusted"], multipletests(table["p"], method="holm")[1])


def test_a_regime_does_not_differ_from_itself(tmp_path):
    same = three_regimes()["r1"]
    rows = Study(tmp_path, {"a": same, "b": same}).tables()["tests"]
    assert (rows[["difference", "low", "high"]] == 0).all(axis=None)
    assert (rows["p"] == 1).all()


def test_the_note_says_how_low_p_can_be_with_few_slides(tmp_path):
    few = Study(tmp_path / "few", three_regimes(signals=(0.0, 9.0))).tables(resamples=2000)["tests"]
    assert few["p"].tolist() == pytest.approx([2 / 2001] * 2)
    assert set(few["note"]) == {
        "p is the least that so many resamples can give; "
        "few slides: p can be as low as 0.001 here, and 0.031 by the signs of 6 slides"
    }
    many = Study(tmp_path / "many", three_regimes(signals=(1.0, 1.2), tumour=[0.5] * 12)).tables(resamples=2000)
    assert set(many["tests"]["note"]) == {""}


# Regimes that are not available


def test_a_regime_that_is_not_available_stands_in_its_place_without_values(tmp_path):
    regimes = three_regimes()
    found = Study(tmp_path, {"r0": regimes["r0"], "gone": WHY, "r2": regimes["r2"]}).tables()
    table = found["table1"]
    assert table["regime"].drop_duplicates().tolist() == ["r0", "gone", "r2"]
    gone, there = table[table["regime"] == "gone"], table[table["regime"] == "r0"]
    assert gone[["auc", "low", "high"]].isna().all(axis=None)
    assert set(gone["note"]) == {WHY}
    for column in ("level", "slide", "n", "positives"):
        assert gone[column].tolist() == there[column].tolist()
    tests = found["tests"].set_index(["level", "first", "second"])
    assert tests.loc[("tile", "r0", "gone"), "note"] == f"gone: {WHY}"
    assert tests.loc[("pixel", "gone", "r2"), ["difference", "low", "high", "p", "p_adjusted"]].isna().all()
    assert tests.loc[("tile", "r0", "r2"), "p"] > 0
    assert found["roc"]["regime"].drop_duplicates().tolist() == ["r0", "r2"]
    # What is there is as it is without the other.
    alone = Study(tmp_path / "alone", {"r0": regimes["r0"], "r2": regimes["r2"]}).tables()
    assert alone["tests"]["p_adjusted"].tolist() == found["tests"]["p_adjusted"].dropna().tolist()


def test_a_study_in_which_nothing_is_available_is_refused(tmp_path):
    study = Study(tmp_path, three_regimes())
    write_table(pd.DataFrame({"regime": ["r0"], "note": [WHY]}), tmp_path / "regimes.tsv")
    with pytest.raises(InputError, match="expected a regime that is available, found none of r0"):
        study.tables()


# Curves


def test_the_area_under_a_curve_is_the_overall_auc_and_its_ends_are_there(tmp_path):
    found = Study(tmp_path, three_regimes(seed=3)).tables()
    table = found["table1"]
    overall = table[table["slide"] == "overall"].set_index(["regime", "level"])["auc"]
    curves = found["roc"].groupby(["regime", "level"], sort=False)
    assert len(curves) == 6
    for key, curve in curves:
        assert curve[["fpr", "tpr"]].iloc[[0, -1]].to_numpy().tolist() == [[0, 0], [1, 1]]
        assert np.trapezoid(curve["tpr"], curve["fpr"]) == pytest.approx(overall[key])


# Files that do not fit


def test_regimes_that_were_not_judged_on_the_same_tiles_are_refused(tmp_path):
    regimes = three_regimes()
    study = Study(tmp_path, regimes)
    write_table(regimes["r1"].assign(label=1 - regimes["r1"]["label"]), study.path_of_tiles("r1"))
    with pytest.raises(
        InputError, match=r"r1/test\.tsv: expected the 72 tiles of .*r0/test\.tsv and their labels, found"
    ):
        study.tables()


@pytest.mark.parametrize(
    "changes", [{"mpp": 1.0}, {"domain": "image"}, {"slides": ("S0", "S1", "S2", "S3", "S4", "T")}]
)
def test_regimes_that_were_not_judged_on_the_same_pixels_are_refused(tmp_path, changes):
    regimes = three_regimes()
    study = Study(tmp_path, regimes)
    study.write_pixels("r2", pixels_of(regimes["r2"], study.slides)._replace(**changes))
    with pytest.raises(InputError, match=r"r2\.h5: expected the pixels of .*r0\.h5, found others, or of other maps"):
        study.tables()


def test_tiles_of_a_slide_without_counts_are_refused(tmp_path):
    regimes = three_regimes()
    study = Study(tmp_path, regimes)
    for name, table in regimes.items():
        study.write_pixels(name, pixels_of(table[table["slide_id"] != "S3"], [s for s in study.slides if s != "S3"]))
    with pytest.raises(InputError, match=r"r0\.h5: expected pixels of S3, of which there are tiles, found none"):
        study.tables()


def test_a_regime_without_its_files_is_refused(tmp_path):
    study = Study(tmp_path, three_regimes())
    del study.tiles["r1"]
    with pytest.raises(InputError, match="expected tiles of the regimes r0, r1, r2, found none of r1"):
        study.tables()


# Gain


def write_gain(folder: Path, seed: int = 0) -> tuple[dict[tuple[str, int], Path], dict[tuple[str, int], pd.DataFrame]]:
    tiles = slides_of(seed)
    signals = {("a", 4): 0.8, ("a", 2): 0.2, ("b", 2): 1.0, ("b", 4): 1.5, ("c", 4): 2.0}
    tables = {key: judged(tiles, seed=number, signal=signal) for number, (key, signal) in enumerate(signals.items())}
    paths = {key: folder / f"{key[0]}_of_{key[1]}_slides" / "test.tsv" for key in signals}
    for key, path in paths.items():
        write_table(tables[key], path)
    notes = pd.DataFrame({"regime": ["a", "gone", "b", "c"], "note": ["", WHY, "", ""]})
    write_table(notes, folder / "regimes.tsv")
    return paths, tables


def test_the_gain_is_to_the_first_regime_with_as_many_slides(tmp_path):
    paths, tables = write_gain(tmp_path)
    found = transfer_scores.gain_table(paths, path_to_regimes=tmp_path / "regimes.tsv", resamples=60, seed=3)
    assert found.columns.tolist() == [
        "regime", "slides", "auc", "low", "high", "difference", "difference_low", "difference_high", "note",
    ]  # fmt: skip
    keys = [("a", 2), ("a", 4), ("gone", 2), ("gone", 4), ("b", 2), ("b", 4), ("c", 4)]
    assert list(zip(found["regime"], found["slides"], strict=True)) == keys
    rows = found.set_index(["regime", "slides"])
    aucs = {key: roc_auc_score(of["label"], of["probability"]) for key, of in tables.items()}
    resampled = {key: slow_resamples(of, resamples=60, seed=3) for key, of in tables.items()}
    for key, auc in aucs.items():
        row, first = rows.loc[key], ("a", key[1])
        assert row["auc"] == pytest.approx(auc)
        np.testing.assert_allclose([row["low"], row["high"]], np.percentile(resampled[key], [2.5, 97.5]))
        differences = np.percentile(resampled[key] - resampled[first], [2.5, 97.5])
        expected = [NAN] * 3 if key == first else [auc - aucs[first], *differences]
        np.testing.assert_allclose(row[["difference", "difference_low", "difference_high"]].astype(float), expected)
    gone = rows.loc["gone"]
    assert gone.drop(columns="note").isna().all(axis=None)
    assert set(gone["note"]) == {WHY}


def test_the_gain_is_of_the_same_held_out_tiles_or_refused(tmp_path):
    paths, tables = write_gain(tmp_path)
    write_table(tables["b", 4][1:], paths["b", 4])
    with pytest.raises(InputError, match=r"b_of_4_slides/test\.tsv: expected the 72 tiles of .* found 71"):
        transfer_scores.gain_table(paths, path_to_regimes=tmp_path / "regimes.tsv", resamples=9, seed=3)


def test_the_same_seed_gives_the_same_tables_and_another_other_intervals(tmp_path):
    study = Study(tmp_path, three_regimes(seed=4))
    first, again, other = (study.tables(seed=seed) for seed in (1, 1, 2))
    for name, table in first.items():
        pd.testing.assert_frame_equal(table, again[name])
    assert first["table1"]["auc"].equals(other["table1"]["auc"])
    assert not first["table1"]["low"].equals(other["table1"]["low"])
