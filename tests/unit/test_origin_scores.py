"""Tables of the held-out slides agree with scikit-learn, scipy, resamples spelt out, and numbers worked out by hand."""

import time
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata
from sklearn.metrics import confusion_matrix, roc_auc_score, top_k_accuracy_score
from statsmodels.stats.multitest import multipletests

from workflow_scripts.lib import divergence, origin_scores
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import read_table, write_table
from workflow_scripts.lib.origin_scores import HeldOut, tables
from workflow_scripts.lib.predictions import write_slide

NAN = float("nan")
CLASSES = ("liver", "colon", "breast")


def held_out(
    classes: Sequence[str], tiles: dict[str, list], *, patients: Sequence[str] | None = None,
    known: Sequence[str] = CLASSES,
) -> HeldOut:  # fmt: skip
    """Slides S0, S1, … of the given classes; tiles: by regime, of each slide the tiles' probabilities (n, k)."""
    names = [f"S{number}" for number in range(len(classes))]
    slides = pd.DataFrame({"slide_id": names, "patient_id": patients or names, "class": classes})
    probabilities = {
        regime: np.concatenate([np.reshape(of, (-1, len(known))) for of in slide]).astype(np.float32)
        for regime, slide in tiles.items()
    }
    counts = [len(of) for of in next(iter(tiles.values()))]
    return HeldOut(slides, tuple(known), np.repeat(np.arange(len(slides)), counts), probabilities)


def random_held_out(*, seed: int, signal: Sequence[float] = (0.0, 1.0), patients: int = 9, slides: int = 12) -> HeldOut:
    """Slides of `patients` with up to 6 tiles, of which regimes r0, r1, … know more and more; some values are tied."""
    rng = np.random.default_rng(seed)
    labels, of = np.arange(slides) % 3, np.arange(slides) % patients
    tiles: dict[str, list] = {f"r{number}": [] for number in range(len(signal))}
    for label in labels:
        n = rng.integers(1, 7)
        for number, strength in enumerate(signal):
            raised = np.exp(rng.normal(0, 1, (n, 3)).round(1) + strength * np.eye(3)[label])
            tiles[f"r{number}"].append(raised / raised.sum(axis=1, keepdims=True))
    return held_out([CLASSES[label] for label in labels], tiles, patients=[f"P{number}" for number in of])


def flat(held_out: HeldOut, regime: str, level: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class numbers, patients and probabilities of the tiles or slides, by pandas."""
    described = held_out.slides.iloc[held_out.slide_of_tile].reset_index(drop=True)
    frame = pd.concat([described, pd.DataFrame(held_out.probabilities[regime].astype(float))], axis=1)
    if level == "slide":
        frame = frame.groupby(["slide_id", "patient_id", "class"], sort=False).mean().reset_index()
    numbers = frame["class"].map({name: number for number, name in enumerate(held_out.classes)}).to_numpy()
    return numbers, frame["patient_id"].to_numpy(str), frame[list(range(len(held_out.classes)))].to_numpy()


def slow_aurocs(labels: np.ndarray, probabilities: np.ndarray) -> list[float]:
    """One against all others by scikit-learn, and then their mean."""
    found = [
        roc_auc_score(labels == number, column) if 0 < (labels == number).sum() < len(labels) else NAN
        for number, column in enumerate(probabilities.T)
    ]
    defined = [value for value in found if not np.isnan(value)]
    return [*found, np.mean(defined) if defined else NAN]


def slow_resamples(held_out: HeldOut, level: str, *, resamples: int, seed: int) -> dict[str, np.ndarray]:
    """The same of every resample of patients, spelt out tile by tile: (resamples, k + 1) by regime."""
    patients = np.unique(flat(held_out, next(iter(held_out.probabilities)), level)[1])
    shares = np.full(len(patients), 1 / len(patients))
    draws = np.random.default_rng(seed).multinomial(len(patients), shares, size=resamples)
    found: dict[str, list] = {regime: [] for regime in held_out.probabilities}
    for times in draws:
        for regime, rows in found.items():
            labels, of, probabilities = flat(held_out, regime, level)
            chosen = [
                n for name, count in zip(patients, times, strict=True) for n in [*np.flatnonzero(of == name)] * count
            ]
            rows.append(slow_aurocs(labels[chosen], probabilities[chosen]))
    return {regime: np.array(rows) for regime, rows in found.items()}


def all_tables(held_out: HeldOut, *, resamples: int = 50, seed: int = 3) -> dict[str, pd.DataFrame]:
    return tables(held_out, resamples=resamples, seed=seed)


# AUROC


@pytest.mark.parametrize("level", ["tile", "slide"])
def test_aurocs_and_their_intervals_are_those_of_every_resample_spelt_out(level):
    data = random_held_out(seed=1)
    table = all_tables(data)["auroc"]
    resampled = slow_resamples(data, level, resamples=50, seed=3)
    for regime in ("r0", "r1"):
        rows = table[(table["regime"] == regime) & (table["level"] == level)]
        assert rows["class"].tolist() == [*CLASSES, "macro"]
        labels, _, probabilities = flat(data, regime, level)
        np.testing.assert_allclose(rows["auroc"], slow_aurocs(labels, probabilities))
        expected = [np.nanpercentile(column, [2.5, 97.5]) for column in resampled[regime].T]
        np.testing.assert_allclose(rows[["low", "high"]], expected)
        assert (rows["n"] == len(labels)).all()
        assert rows["positives"].tolist() == [*np.bincount(labels), len(labels)]


def test_a_slide_counts_by_the_mean_of_its_tiles_and_not_by_their_majority():
    # Two of three tiles of S0 say colon, and their mean says liver.
    tiles = [[[0.4, 0.6, 0], [0.4, 0.6, 0], [1, 0, 0]], [[0.1, 0.8, 0.1]]]
    found = all_tables(held_out(["liver", "colon"], {"r": tiles}))
    assert found["slide_predictions"].loc[0, "liver"] == pytest.approx(0.6)
    assert found["ranks"].loc[0, "rank"] == 1
    confusion = found["confusion"].set_index(["level", "class", "predicted"])["n"]
    assert confusion["slide", "liver", "liver"] == 1
    assert confusion["tile", "liver", "colon"] == 2


def test_a_class_without_slides_has_no_auroc_and_is_in_no_mean_of_any_regime():
    tiles = [[[0.7, 0.2, 0.1]], [[0.2, 0.5, 0.3]], [[0.4, 0.5, 0.1]], [[0.5, 0.3, 0.2]]]
    data = held_out(["liver", "colon", "colon", "liver"], {"r": tiles, "s": tiles[::-1]})
    table = all_tables(data)["auroc"]
    breast = table[table["class"] == "breast"]
    assert breast[["auroc", "low", "high"]].isna().all(axis=None)
    assert set(breast["note"]) == {"no tile of the class", "no slide of the class"}
    assert (breast["positives"] == 0).all()
    macros = table[table["class"] == "macro"].set_index(["regime", "level"])
    for regime in ("r", "s"):
        others = table[(table["regime"] == regime) & (table["level"] == "slide")]["auroc"][:2]
        assert macros.loc[(regime, "slide"), "auroc"] == pytest.approx(others.mean())
    assert set(macros["note"]) == {"mean over 2 of 3 classes, without breast"}
    assert "breast" not in set(all_tables(data)["roc"]["class"])


def test_slides_of_one_class_have_no_auroc_at_all_and_no_test():
    tiles = [[[0.7, 0.2, 0.1]], [[0.2, 0.5, 0.3]]]
    found = all_tables(held_out(["liver", "liver"], {"r": tiles, "s": tiles}))
    assert found["auroc"]["auroc"].isna().all()
    assert found["auroc"]["note"][0] == "no tile of another class"
    assert found["tests"][["difference", "low", "high", "p", "p_adjusted"]].isna().all(axis=None)
    assert (found["tests"]["resamples"] == 0).all()
    assert found["roc"].empty


def test_a_class_of_one_patient_has_an_auroc_without_an_interval_and_says_so():
    data = random_held_out(seed=2)
    patients = data.slides["patient_id"].where(data.slides["class"] != "liver", "one")
    table = all_tables(data._replace(slides=data.slides.assign(patient_id=patients)))["auroc"]
    liver = table[table["class"] == "liver"]
    assert liver["auroc"].notna().all()
    assert liver[["low", "high"]].isna().all(axis=None)
    assert set(liver["note"]) == {"no interval: the class, or all others, are of one patient"}
    assert table.loc[table["class"] != "liver", ["low", "high"]].notna().all(axis=None)


def test_the_mean_has_no_interval_where_no_class_tells_how_its_patients_differ():
    data = random_held_out(seed=2)
    found = all_tables(data._replace(slides=data.slides.assign(patient_id=data.slides["class"])))
    means = found["auroc"][found["auroc"]["class"] == "macro"]
    assert means["auroc"].notna().all()
    assert means[["low", "high"]].isna().all(axis=None)
    assert found["tests"][["low", "high", "p"]].isna().all(axis=None)


def test_one_patient_has_no_interval_anywhere():
    data = random_held_out(seed=2)
    found = all_tables(data._replace(slides=data.slides.assign(patient_id="one")))
    for name in ("auroc", "tests", "top_k"):
        assert found[name][["low", "high"]].isna().all(axis=None)
    assert found["tests"]["p"].isna().all()
    assert "no interval: each class, or all others, are of one patient" in found["tests"].loc[0, "note"]


def test_resamples_that_lack_a_class_are_left_out_and_counted():
    data = random_held_out(seed=1, patients=6, slides=6)
    table = all_tables(data)["auroc"]
    lacking = np.isnan(slow_resamples(data, "slide", resamples=50, seed=3)["r0"]).sum(axis=0)
    assert lacking[:3].min() > 0
    rows = table[(table["regime"] == "r0") & (table["level"] == "slide")]
    expected = [f"{n} of 50 resamples lack the class and are left out" for n in lacking[:3]]
    assert rows["note"].tolist()[:3] == expected


# Tests of two regimes


@pytest.mark.parametrize("level", ["tile", "slide"])
def test_the_difference_of_two_regimes_is_paired_in_resamples_spelt_out(level):
    data = random_held_out(seed=4, signal=(0.0, 0.4, 1.5))
    table = all_tables(data)["tests"]
    rows = table[table["level"] == level]
    assert list(zip(rows["first"], rows["second"], strict=True)) == [("r0", "r1"), ("r0", "r2"), ("r1", "r2")]
    resampled = slow_resamples(data, level, resamples=50, seed=3)
    for row in rows.itertuples():
        found = [slow_aurocs(*flat(data, regime, level)[::2])[-1] for regime in (row.first, row.second)]
        assert row.difference == pytest.approx(found[0] - found[1])
        differences = resampled[row.first][:, -1] - resampled[row.second][:, -1]
        np.testing.assert_allclose([row.low, row.high], np.percentile(differences, [2.5, 97.5]))
        fewer = min((differences <= 0).sum(), (differences >= 0).sum())
        assert row.p == pytest.approx(min(1, 2 * (fewer + 1) / 51))
        assert (row.patients, row.resamples) == (9, 50)


def test_above_zero_the_first_is_better():
    data = random_held_out(seed=5, signal=(3.0, 0.0), patients=12)
    row = all_tables(data, resamples=200)["tests"].set_index("level").loc["slide"]
    assert row["difference"] > 0.2
    assert row["low"] > 0
    # No resample is at 0 or below: the floor.
    assert row["p"] == pytest.approx(2 / 201)
    assert row["note"] == "p is the least that so many resamples can give"


def test_a_regime_does_not_differ_from_itself():
    data = random_held_out(seed=6)
    same = data._replace(probabilities={"a": data.probabilities["r1"], "b": data.probabilities["r1"]})
    rows = all_tables(same)["tests"]
    assert (rows[["difference", "low", "high"]] == 0).all(axis=None)
    assert (rows["p"] == 1).all()


def test_p_is_adjusted_by_holm_over_the_whole_table():
    table = all_tables(random_held_out(seed=7, signal=(0.0, 0.5, 1.0)))["tests"]
    assert len(table) == 6
    np.testing.assert_allclose(table["p_adjusted"], multipletests(table["p"], method="holm")[1])


def test_a_single_regime_has_nothing_to_be_tested_against():
    found = all_tables(random_held_out(seed=1, signal=(1.0,)))["tests"]
    assert found.empty
    assert found.columns.tolist() == [
        "level", "first", "second", "difference", "low", "high", "p", "p_adjusted", "patients", "resamples", "note",
    ]  # fmt: skip


def test_of_two_regimes_that_know_as_much_one_in_twenty_is_called_different():
    found = [
        all_tables(random_held_out(seed=seed, signal=(0.7, 0.7), patients=45, slides=45), resamples=200)["tests"]
        for seed in range(100)
    ]
    below = np.mean([table.set_index("level").loc["slide", "p"] < 0.05 for table in found])
    assert below <= 0.12


# Curves


def test_the_area_under_a_curve_is_the_auroc_and_its_ends_are_there():
    found = all_tables(random_held_out(seed=8))
    auroc = found["auroc"].set_index(["regime", "class", "level"])["auroc"]
    curves = found["roc"].groupby(["regime", "class", "level"], sort=False)
    assert len(curves) == 2 * 3 * 2
    for key, curve in curves:
        assert curve[["fpr", "tpr"]].iloc[0].tolist() == [0, 0]
        assert curve[["fpr", "tpr"]].iloc[-1].tolist() == [1, 1]
        assert np.trapezoid(curve["tpr"], curve["fpr"]) == pytest.approx(auroc[key])


# Confusion, ranks


@pytest.mark.parametrize("level", ["tile", "slide"])
def test_confusion_is_scikit_learns(level):
    data = random_held_out(seed=9)
    table = all_tables(data)["confusion"]
    for regime in ("r0", "r1"):
        labels, _, probabilities = flat(data, regime, level)
        expected = confusion_matrix(labels, probabilities.argmax(axis=1), labels=range(3))
        rows = table[(table["regime"] == regime) & (table["level"] == level)]
        np.testing.assert_array_equal(rows["n"].to_numpy().reshape(3, 3), expected)
        np.testing.assert_allclose(rows["share"].to_numpy().reshape(3, 3), expected / expected.sum(axis=1)[:, None])
        assert rows["class"].tolist() == np.repeat(CLASSES, 3).tolist()
        assert rows["predicted"].tolist() == [*CLASSES] * 3


def test_of_equally_probable_classes_the_first_is_predicted_and_the_true_one_is_last():
    alike = [[[1 / 3, 1 / 3, 1 / 3]], [[0.5, 0.0, 0.5]], [[0.2, 0.4, 0.4]]]
    found = all_tables(held_out(["colon", "liver", "breast"], {"r": alike}))
    assert found["ranks"]["rank"].tolist() == [3, 2, 2]
    confusion = found["confusion"].query("level == 'slide' and n == 1")
    assert dict(zip(confusion["class"], confusion["predicted"], strict=True)) == {
        "colon": "liver", "liver": "liver", "breast": "colon",
    }  # fmt: skip


def test_ranks_and_confidence_are_of_the_true_class():
    tiles = [[[0.2, 0.3, 0.5]], [[0.2, 0.3, 0.5]], [[0.2, 0.3, 0.5]]]
    found = all_tables(held_out(["liver", "colon", "breast"], {"r": tiles}))["ranks"]
    assert found.columns.tolist() == ["regime", "slide_id", "class", "rank", "confidence"]
    assert found["rank"].tolist() == [3, 2, 1]
    assert found["confidence"].tolist() == pytest.approx([0.2, 0.3, 0.5])
    data = random_held_out(seed=10)
    labels, _, probabilities = flat(data, "r1", "slide")
    ranks = all_tables(data)["ranks"].query("regime == 'r1'")["rank"]
    expected = [rankdata(-row, method="max")[label] for row, label in zip(probabilities, labels, strict=True)]
    assert ranks.tolist() == expected


def test_the_share_among_the_first_k_is_scikit_learns_and_its_interval_is_by_patient():
    data = random_held_out(seed=11)
    table = all_tables(data)["top_k"]
    labels, patients, probabilities = flat(data, "r1", "slide")
    rows = table[table["regime"] == "r1"]
    assert rows["k"].tolist() == [1, 2, 3]
    expected = [top_k_accuracy_score(labels, probabilities, k=k) for k in (1, 2)]
    assert rows["share"].tolist() == pytest.approx([*expected, 1])
    assert (rows["n"] == 12).all()
    names = np.unique(patients)
    hit = probabilities.argmax(axis=1) == labels
    draws = np.random.default_rng(3).multinomial(len(names), np.full(len(names), 1 / len(names)), size=50)
    shares = [np.mean(np.concatenate([hit[patients == name] for name in np.repeat(names, times)])) for times in draws]
    np.testing.assert_allclose(rows[["low", "high"]].iloc[0], np.percentile(shares, [2.5, 97.5]))


# All tables


def test_a_slide_without_tiles_has_a_row_without_probabilities_and_counts_nowhere_else():
    tiles = [[[0.7, 0.2, 0.1]], [], [[0.4, 0.5, 0.1]], [[0.5, 0.3, 0.2]]]
    found = all_tables(held_out(["liver", "colon", "colon", "breast"], {"r": tiles}))
    predicted = found["slide_predictions"]
    assert predicted["tiles"].tolist() == [1, 0, 1, 1]
    assert predicted.loc[1, list(CLASSES)].isna().all()
    assert found["ranks"]["slide_id"].tolist() == ["S0", "S2", "S3"]
    assert (found["top_k"]["n"] == 3).all()
    macros = found["auroc"][found["auroc"]["class"] == "macro"]
    assert (macros["n"] == 3).all()
    assert macros["note"].str.contains("slides without tiles, left out: 1", regex=False).all()
    assert found["confusion"].query("level == 'slide'")["n"].sum() == 3


def test_regimes_and_classes_stand_in_the_order_that_is_given():
    data = random_held_out(seed=12)
    swapped = data._replace(probabilities=dict(reversed(data.probabilities.items())))
    for table in all_tables(swapped).values():
        column = "first" if "first" in table else "regime"
        assert table[column].drop_duplicates().tolist()[0] == "r1"
    assert all_tables(data)["slide_predictions"].columns.tolist() == [
        *["regime", "slide_id", "patient_id", "class", "tiles"], *CLASSES,
    ]  # fmt: skip


def test_the_same_seed_gives_the_same_tables_and_another_other_intervals():
    data = random_held_out(seed=13)
    first, again, other = (all_tables(data, seed=seed) for seed in (1, 1, 2))
    for name, table in first.items():
        pd.testing.assert_frame_equal(table, again[name])
    assert (first["auroc"]["auroc"] == other["auroc"]["auroc"]).all()
    assert not first["auroc"]["low"].equals(other["auroc"]["low"])


def test_a_study_as_large_as_the_papers_takes_less_than_a_minute():
    rng = np.random.default_rng(14)
    classes = tuple(f"c{number}" for number in range(14))
    labels = rng.integers(0, 14, 65)
    names = [f"S{number}" for number in range(65)]
    slides = pd.DataFrame({"slide_id": names, "patient_id": names, "class": [classes[label] for label in labels]})
    tiles = rng.dirichlet(np.ones(14), 65 * 500).astype(np.float32)
    data = HeldOut(slides, classes, np.repeat(np.arange(65), 500), {"a": tiles, "b": tiles[::-1]})
    started = time.process_time()
    all_tables(data, resamples=2000)
    assert time.process_time() - started < 15


# Files


def write_study(folder: Path, data: HeldOut, **changes: object) -> dict[str, Path]:
    """The files of a study; the slides of other sets and domains, and of a control class, have no predictions."""
    others = pd.DataFrame({
        "slide_id": ["T", "P", "C", "U"], "patient_id": list("tpcu"), "class": ["liver", "liver", "normal", "liver"],
        "domain": ["metastatic", "primary", "metastatic", "metastatic"], "set": ["train", "test", "test", ""],
    })  # fmt: skip
    slides = pd.concat([others[:2], data.slides.assign(domain="metastatic", set="test"), others[2:]])
    write_table(slides.assign(reason=""), folder / "slides.tsv")
    with h5py.File(folder / "predictions.h5", "w") as file:
        # In an order of its own.
        for number, slide_id in reversed(list(enumerate(data.slides["slide_id"]))):
            of = data.slide_of_tile == number
            coords = np.stack([np.arange(of.sum()), np.zeros(of.sum())], axis=1).astype(np.int32)
            write_slide(file, slide_id, coords, {regime: p[of] for regime, p in data.probabilities.items()} | changes)
    return {"path_to_predictions": folder / "predictions.h5", "path_to_slides": folder / "slides.tsv"}


def test_tables_are_written_from_the_files_of_a_study(tmp_path):
    data = random_held_out(seed=15)
    paths = {name: tmp_path / "tables" / f"{name}.tsv" for name in all_tables(data)}
    study = write_study(tmp_path, data)
    origin_scores.write_tables(paths, **study, regimes=["r0", "r1"], classes=CLASSES, resamples=50, seed=3)
    for name, table in all_tables(data).items():
        found = read_table(paths[name], text=["slide_id", "patient_id", "class", "note"])
        pd.testing.assert_frame_equal(found, table, check_dtype=False, check_column_type=False)


def read(study: dict[str, Path], regimes: Sequence[str] = ("r0", "r1"), classes: Sequence[str] = CLASSES) -> HeldOut:
    return origin_scores.read_held_out(**study, regimes=regimes, classes=classes)


def test_predictions_that_do_not_fit_are_refused(tmp_path):
    data = random_held_out(seed=16)
    study = write_study(tmp_path, data)
    with pytest.raises(InputError, match="S0: expected predictions of r2, found those of r0, r1; predict again"):
        read(study, regimes=["r0", "r2"])
    with pytest.raises(InputError, match=r"expected \d × 4 probabilities of r0, of tiles and classes, found an array"):
        read(study, classes=[*CLASSES, "skin"])
    with pytest.raises(InputError, match="the two differ in 4, the first is S0"):
        read(study, classes=["colon", "breast"])
    with pytest.raises(InputError, match="found macro, tiles; rename the class"):
        read(study, classes=["macro", "tiles"])
    with pytest.raises(InputError, match="expected metastatic slides of the test set, found none"):
        read(study, classes=["skin"])


@pytest.mark.parametrize("wrong", [NAN, -0.1, 0.9])
def test_what_no_softmax_gives_is_refused(tmp_path, wrong):
    data = random_held_out(seed=17)
    broken = data.probabilities["r0"].copy()
    broken[0, 0] = wrong
    study = write_study(tmp_path, data._replace(probabilities={"r0": broken}))
    with pytest.raises(InputError, match="S0: expected probabilities of r0 that sum to 1, found 1 of"):
        read(study, regimes=["r0"])


def test_a_study_whose_held_out_slides_lost_all_their_tiles_is_refused(tmp_path):
    study = write_study(tmp_path, held_out(["liver", "colon"], {"r": [[], []]}))
    with pytest.raises(InputError, match="expected tiles of held-out slides, found none of 2 slides"):
        read(study, regimes=["r"])


# Divergence and AUROC


def test_divergence_meets_the_auroc_by_slide_of_one_regime(tmp_path):
    data = random_held_out(seed=18, slides=24, patients=24)
    auroc = all_tables(data)["auroc"]
    write_table(auroc, tmp_path / "auroc.tsv")
    rng = np.random.default_rng(0)
    names = np.repeat([*CLASSES, "normal"], 100)
    values = np.concatenate(
        [rng.normal(0, 1, (400, 2)), rng.normal(np.repeat([2, 1, 0.5, 0], 100)[:, None], 1, (400, 2))]
    )
    table = divergence.divergence_table(
        values, np.tile(names, 2), np.repeat(["primary", "metastatic"], 400), estimator="gaussian", seed=1,
        order=[*CLASSES, "normal"],
    )  # fmt: skip
    write_table(table, tmp_path / "divergence.tsv")
    rows = [(name, domain, 3 + (domain == "primary")) for name in names[::100] for domain in ("primary", "metastatic")]
    write_table(pd.DataFrame(rows, columns=["class", "domain", "slides"]), tmp_path / "data.tsv")
    paths = [tmp_path / f"{name}.tsv" for name in ("divergence", "auroc", "data")]
    points, correlation = origin_scores.divergence_with_auroc(*paths, regime="r1")
    assert points["class"].tolist() == list(CLASSES)
    rows = auroc[(auroc["regime"] == "r1") & (auroc["level"] == "slide")]
    assert points["auroc"].tolist() == rows["auroc"].tolist()[:3]
    assert points["kl"].is_monotonic_decreasing
    numbers = ["primary_tiles", "primary_slides", "metastatic_tiles", "metastatic_slides"]
    assert (points[numbers] == [100, 4, 100, 3]).all(axis=None)
    assert len(correlation) == 1
    assert correlation.loc[0, ["regime", "n"]].tolist() == ["r1", 3]
    assert correlation.loc[0, "pearson"] == pytest.approx(np.corrcoef(points["kl"], points["auroc"])[0, 1])
    with pytest.raises(InputError, match="expected AUROCs of the regime r9, found those of r0, r1"):
        origin_scores.divergence_with_auroc(*paths, regime="r9")
