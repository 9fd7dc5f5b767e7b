"""Scores of microscope adaptation agree with scikit-learn, with resamples spelt out, and with numbers by hand."""

import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from adaptation_study import CLASSES, Study, published_methods
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from workflow_scripts.lib import adaptation_scores
from workflow_scripts.lib.adaptation_scores import judge, references, scores_of
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import read_table, write_table
from workflow_scripts.lib.predictions import write_slide

NAN = float("nan")
MEASURES = ["accuracy", "precision", "recall", "f1"]


def patches_of(rows: list[tuple[str, str, str]], *, method: str = "dman", domain: str = "target") -> pd.DataFrame:
    """Patches of a method, each a patient (whose slide has its name), its class and what is predicted."""
    table = pd.DataFrame(rows, columns=["patient_id", "class", "predicted"])
    places = {"col": range(len(rows)), "row": 0, "slide_id": table["patient_id"]}
    return table.assign(method=method, seed=1, domain=domain, **places)


def repeated(confusion: list[list[int]], patient: str) -> list[tuple[str, str, str]]:
    cells = [
        (name, other, n)
        for name, row in zip(CLASSES, confusion, strict=True)
        for other, n in zip(CLASSES, row, strict=True)
    ]
    return [(patient, name, other) for name, other, n in cells for _ in range(n)]


def tables_of(rows: list[tuple[str, str, str]]) -> dict[str, pd.DataFrame]:
    methods = {"dman": published_methods()["dman"]}
    return adaptation_scores.tables(
        patches_of(rows), methods=methods, classes=CLASSES, exported=None, resamples=50, seed=0
    )


def table2_of(rows: list[tuple[str, str, str]]) -> pd.Series:
    (row,) = tables_of(rows)["table2"].to_dict("records")
    return pd.Series(row)


def sklearn_scores(patches: pd.DataFrame) -> list[float]:
    """Accuracy and macro means, over the classes that have patches."""
    present = [name for name in CLASSES if (patches["class"] == name).any()]
    means = precision_recall_fscore_support(
        patches["class"], patches["predicted"], labels=present, average="macro", zero_division=0
    )
    return [accuracy_score(patches["class"], patches["predicted"]), *means[:3]]


# Measures


def test_measures_are_those_worked_out_by_hand():
    # Of 14 patches 10 are right. Precision 5/8, 2/3, 3/3; recall 5/6, 2/4, 3/4; F1 5/7, 4/7, 6/7.
    found = scores_of(np.array([[5, 1, 0], [2, 2, 0], [1, 0, 3]]))
    assert found == pytest.approx((10 / 14, 55 / 72, 25 / 36, 5 / 7))


def test_f1_is_the_mean_of_the_classes_and_not_that_of_the_means():
    found = scores_of(np.array([[90, 10], [0, 2]]))
    # F1 of the classes: 180 / 190 and 4 / 14.
    assert found.f1 == pytest.approx((180 / 190 + 4 / 14) / 2)
    assert abs(found.f1 - 2 * found.precision * found.recall / (found.precision + found.recall)) > 0.05


def test_the_paper_s_own_f1_is_no_harmonic_mean_either():
    precision, recall, f1 = 83.77, 93.03, 87.16
    assert 2 * precision * recall / (precision + recall) - f1 > 0.9


def test_a_class_that_nothing_is_predicted_as_has_precision_0():
    row = table2_of(repeated([[4, 0, 0], [2, 0, 0], [0, 0, 2]], "P1"))
    # Precision 4/6, 0, 1; F1 8/10, 0, 1.
    assert row[MEASURES].tolist() == pytest.approx([6 / 8, (4 / 6 + 1) / 3, 2 / 3, 1.8 / 3])
    assert "nothing is predicted as Adenoma: precision 0" in row["note"]


def test_a_class_without_patches_is_left_out_with_a_note():
    row = table2_of(repeated([[3, 1, 0], [0, 0, 0], [0, 0, 2]], "P1"))
    # Precision 1 and 1; recall 3/4 and 1; F1 6/7 and 1: what is taken for Adenoma is wrong, and no class more.
    assert row[MEASURES].tolist() == pytest.approx([5 / 6, 1, 7 / 8, 13 / 14])
    assert "no patch of Adenoma: means over the other classes" in row["note"]


def test_measures_of_no_patch_are_missing():
    assert np.isnan(scores_of(np.zeros((3, 3), int))).all()


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_measures_are_scikit_learn_s(classes):
    draw = np.random.default_rng(classes)
    labels, predicted = draw.integers(classes, size=(2, 60))
    confusion = np.zeros((classes, classes), int)
    np.add.at(confusion, (labels, predicted), 1)
    means = precision_recall_fscore_support(labels, predicted, average="macro", zero_division=0)[:3]
    assert scores_of(confusion) == pytest.approx((accuracy_score(labels, predicted), *means))


# Table 2


def test_table_2_has_a_row_for_each_method_seed_and_domain_in_order():
    study = Study(("source_only", "mix", "dman"), seeds=(7, 3))
    table = study.tables()["table2"]
    keys = sorted(
        {(m, s, d) for m in study.methods for s in (7, 3) for d in ("source", "target")},
        key=lambda key: (["source", "target"].index(key[2]), list(study.methods).index(key[0]), [7, 3].index(key[1])),
    )
    assert list(table[["method", "seed", "domain"]].itertuples(index=False, name=None)) == keys
    for row in table.itertuples():
        of = study.patches.query("method == @row.method and seed == @row.seed and domain == @row.domain")
        assert [row.accuracy, row.precision, row.recall, row.f1] == pytest.approx(sklearn_scores(of))
        assert (row.patches, row.slides, row.patients) == (200, 8, 8)
    assert table.set_index("method").loc["mix", ["title", "labelled"]].iloc[0].tolist() == ["Mix", "both"]


def test_an_interval_is_that_of_resamples_of_patients_spelt_out():
    study = Study(("dman",), patients=5, patches=6)
    patches = study.patches.query("domain == 'target'")
    names = sorted(patches["patient_id"].unique())
    draws = np.random.default_rng(0).multinomial(5, [0.2] * 5, size=200)
    found = []
    for times in draws:
        drawn = [patches[patches["patient_id"] == name] for name, n in zip(names, times, strict=True) for _ in range(n)]
        found.append(sklearn_scores(pd.concat(drawn)))
    (row,) = study.tables()["table2"].query("domain == 'target'").to_dict("records")
    for measure, values in zip(MEASURES, np.transpose(found), strict=True):
        assert [row[f"{measure}_low"], row[f"{measure}_high"]] == pytest.approx(np.quantile(values, [0.025, 0.975]))


def test_a_single_patient_has_no_interval():
    row = table2_of(repeated([[3, 1, 0], [1, 3, 0], [0, 0, 2]], "P1"))
    assert np.isnan(row[[f"{measure}_{end}" for measure in MEASURES for end in ("low", "high")]].astype(float)).all()
    assert "no interval: a single patient" in row["note"]


def test_resamples_that_lack_a_class_are_counted_and_its_patient_is_told():
    rows = repeated([[3, 0, 0], [0, 3, 0], [0, 0, 0]], "P1") + repeated([[2, 0, 0], [0, 2, 0], [0, 0, 2]], "P2")
    row = table2_of(rows)
    draws = np.random.default_rng(0).multinomial(2, [0.5, 0.5], size=50)
    assert f"of one patient: Adenocarcinoma; {(draws[:, 1] == 0).sum()} of 50 resamples lack a class" in row["note"]


def test_two_thousand_resamples_of_many_predictions_take_a_moment():
    study = Study(tuple(published_methods()), patients=15, patches=150)
    start = time.perf_counter()
    judge(study.patches, classes=study.classes, resamples=2000, seed=0)
    assert time.perf_counter() - start < 10


# Seeds, confusion, classes


def test_seeds_are_told_by_mean_and_spread():
    study = Study(("source_only", "dman"), seeds=(1, 2, 3))
    found = study.tables()
    values = found["table2"].query("method == 'dman' and domain == 'target'")["f1"]
    (row,) = found["seeds"].query("method == 'dman' and domain == 'target' and measure == 'f1'").to_dict("records")
    assert row["seeds"] == 3
    assert row["mean"] == pytest.approx(sum(values) / 3)
    assert row["sd"] == pytest.approx(np.sqrt(sum((values - sum(values) / 3) ** 2) / 2))
    assert (row["least"], row["greatest"]) == (min(values), max(values))


def test_one_seed_has_no_spread():
    seeds = Study().tables()["seeds"]
    assert seeds["sd"].isna().all()
    assert (seeds["mean"] == seeds["least"]).all()


def test_confusion_has_a_row_for_every_two_classes_and_shares_of_the_class():
    confusion = tables_of(repeated([[5, 1, 0], [0, 0, 0], [1, 0, 3]], "P1"))["confusion"]
    assert confusion["n"].tolist() == [5, 1, 0, 0, 0, 0, 1, 0, 3]
    expected = [5 / 6, 1 / 6, 0, NAN, NAN, NAN, 1 / 4, 0, 3 / 4]
    assert confusion["share"].tolist() == pytest.approx(expected, nan_ok=True)
    assert confusion["class"].tolist() == [name for name in CLASSES for _ in range(3)]


def test_each_class_has_its_own_measures():
    classes = tables_of(repeated([[5, 1, 0], [2, 2, 0], [0, 0, 0]], "P1"))["classes"].set_index("class")
    assert classes.loc["Normal", ["precision", "recall", "f1"]].tolist() == pytest.approx([5 / 7, 5 / 6, 10 / 13])
    assert classes.loc["Adenoma", ["patches", "predicted"]].tolist() == [4, 3]
    assert classes.loc["Adenocarcinoma", ["precision", "recall", "f1"]].isna().all()


# Tests


def test_every_method_is_tested_against_source_only_and_the_exported_one_and_two_are_compared_once():
    study = Study(("source_only_c", "source_only", "dann", "dman"), seeds=(1, 2))
    tests = study.tables(exported="dman")["tests"]
    pairs = [("source_only_c", "source_only"), ("dann", "source_only"), ("dman", "source_only"),
             ("source_only_c", "dman"), ("dann", "dman")]  # fmt: skip
    for _, of_seed in tests.groupby("seed"):
        assert list(of_seed[["first", "second"]].itertuples(index=False, name=None)) == pairs


@pytest.mark.parametrize(
    ("methods", "exported", "expected"),
    [
        (["source_only_c", "source_only", "dman"], "dman", ["source_only", "dman"]),
        (["mine", "dman"], "dman", ["mine", "dman"]),
        (["source_only", "dman"], None, ["source_only"]),
        (["source_only", "dman"], "source_only", ["source_only"]),
    ],
)
def test_what_others_are_tested_against(methods, exported, expected):
    assert references(methods, exported) == expected


def test_a_test_is_of_the_same_resamples_of_the_target_alone():
    study = Study(("source_only", "dman"))
    judged = judge(study.patches, classes=study.classes, resamples=200, seed=0)
    of = {one.method: one.resampled.f1 for one in judged if one.domain == "target"}
    (row,) = adaptation_scores.tests_table(judged, against=["source_only"]).to_dict("records")
    differences = of["dman"] - of["source_only"]
    table2 = study.tables()["table2"].query("domain == 'target'").set_index("method")["f1"]
    assert row["difference"] == pytest.approx(table2["dman"] - table2["source_only"])
    assert [row["low"], row["high"]] == pytest.approx(np.quantile(differences, [0.025, 0.975]))
    fewer = min((differences <= 0).sum(), (differences >= 0).sum())
    assert row["p"] == pytest.approx(min(1, 2 * (fewer + 1) / 201))
    assert (row["patients"], row["resamples"]) == (8, 200)


def test_holm_is_over_the_tests_of_one_seed():
    study = Study(("source_only", "ddc", "dman"), seeds=(1, 2))
    for _, of_seed in study.tables(exported="dman")["tests"].groupby("seed"):
        order = of_seed["p"].sort_values()
        adjusted = np.minimum(np.maximum.accumulate(order * np.arange(len(order), 0, -1)), 1)
        assert of_seed.loc[order.index, "p_adjusted"].tolist() == pytest.approx(adjusted.tolist())


def test_few_patients_are_told_and_a_single_one_is_not_tested():
    for patients, note in ((5, "few patients: the signs of 5 give no p below 0.062"), (1, "no interval")):
        (row,) = Study(("source_only", "dman"), patients=patients).tables()["tests"].to_dict("records")
        assert note in row["note"]
        assert np.isnan(row["p"]) == (patients == 1)


def test_a_method_alone_is_tested_against_none():
    tests = Study(("dman",)).tables(exported="dman")["tests"]
    assert tests.empty
    assert "p_adjusted" in tests


# Patches


SLIDES = [
    {"domain": domain, "set": set_name, "cohort": cohort, "slide_id": slide, "patient_id": f"P-{domain}-{slide}"}
    for domain, cohort in (("source", "colon"), ("target", "camera"))
    for slide, set_name in (("a", "test"), ("b", "test"), ("c", "train"))
]


class Files:
    """Predictions of two methods, one of them in normalised colours, of seeds 1 and 2: known, and in another order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        known = published_methods()
        self.methods = {"dman": known["dman"], "normalised": known["stain_normalised"]}
        self.coords = np.array([[0, 0], [1, 0], [0, 1], [3, 2]])
        self.labels, self.predictions = {}, {}
        for slide in SLIDES[:3]:
            self.label(slide, ["Normal", "background", "Adenoma", "Adenocarcinoma"])
        for seed in (1, 2):
            for domain in ("source", "target"):
                for colours, method in (("raw", "dman"), ("stained", "normalised")):
                    path = folder / str(seed) / f"{domain}_{colours}.h5"
                    path.parent.mkdir(exist_ok=True)
                    order = self.coords if colours == "raw" else self.coords[::-1]
                    with h5py.File(path, "w") as file:
                        for slide in ("a", "b"):
                            write_slide(file, slide, order, {method: self.said(seed, method, order)})
                    self.predictions[seed, domain, colours] = path

    @staticmethod
    def said(seed: int, method: str, coords: np.ndarray) -> np.ndarray:
        """Probabilities that tell of which patch they are."""
        first = 0.01 * (1 + coords[:, 0] + 4 * coords[:, 1]) + 0.2 * seed + 0.1 * (method == "dman")
        return np.stack([first, 0.2 - first / 5, 0.8 - 0.8 * first], axis=1).astype(np.float32)

    def label(self, slide: dict, labels: list[str]) -> None:
        path = self.folder / slide["cohort"] / f"{slide['slide_id']}.tsv"
        path.parent.mkdir(exist_ok=True)
        table = pd.DataFrame({"slide_id": slide["slide_id"], "col": self.coords[:, 0], "row": self.coords[:, 1]})
        # Tables of labels are in the store's order, which is none of the predictions'.
        order = [2, 0, 3, 1]
        write_table(table.assign(label=labels).iloc[order][: len(labels)], path)
        self.labels[f"{slide['cohort']}/{slide['slide_id']}"] = path

    def read(self, **changed) -> pd.DataFrame:
        given = {
            "methods": self.methods, "classes": CLASSES, "paths_to_labels": self.labels,
            "slide_labels": {"camera/a": "Adenoma", "camera/b": "Normal"},
        }  # fmt: skip
        return adaptation_scores.read_patches(self.predictions, SLIDES, **given | changed)


def test_patches_have_the_predictions_of_their_place_whatever_the_order_of_a_file(tmp_path):
    files = Files(tmp_path)
    table = files.read()
    # Two methods, two seeds; two slides of 3 labelled patches, and two photographs of 4.
    assert len(table) == 2 * 2 * (2 * 3 + 2 * 4)
    for row in table.to_dict("records"):
        expected = files.said(row["seed"], row["method"], np.array([[row["col"], row["row"]]]))[0]
        assert [row[f"p_{name}"] for name in CLASSES] == expected.tolist()
        assert row["predicted"] == CLASSES[expected.argmax()]
        assert row["patient_id"] == f"P-{row['domain']}-{row['slide_id']}"
    of_source = table.query("domain == 'source' and slide_id == 'a' and seed == 1 and method == 'dman'")
    found = {(row.col, row.row): row.label for row in of_source.rename(columns={"class": "label"}).itertuples()}
    assert found == {(0, 0): "Normal", (0, 1): "Adenoma", (3, 2): "Adenocarcinoma"}
    assert table.query("domain == 'target'").groupby("slide_id")["class"].unique().map(list).to_dict() == {
        "a": ["Adenoma"], "b": ["Normal"],
    }  # fmt: skip


def test_all_tables_are_written_and_read_back(tmp_path):
    files = Files(tmp_path)
    names = ("patches", "table2", "seeds", "tests", "confusion", "classes")
    paths = {name: tmp_path / f"{name}.tsv" for name in names}
    adaptation_scores.write_tables(
        paths, paths_to_predictions=files.predictions, slides=SLIDES, methods=files.methods, classes=CLASSES,
        paths_to_labels=files.labels, slide_labels={"camera/a": "Adenoma"}, exported="dman", resamples=20, seed=0,
    )  # fmt: skip
    patches = read_table(paths["patches"], text=adaptation_scores.TEXT)
    assert (
        patches["p_Normal"].astype(np.float32).tolist()
        == files.read(slide_labels={"camera/a": "Adenoma"})["p_Normal"].tolist()
    )
    assert read_table(paths["table2"])["patches"].tolist() == [6, 4] * 4


def test_photographs_without_a_label_are_told(tmp_path):
    with pytest.raises(InputError, match=r"target_raw.*expected patches of Normal.* on the 2 slides of the test set"):
        Files(tmp_path).read(slide_labels={})


def test_a_patch_that_a_method_was_not_asked_for_is_refused(tmp_path):
    files = Files(tmp_path)
    with h5py.File(files.predictions[2, "target", "stained"], "r+") as file:
        del file["b"]
        write_slide(file, "b", files.coords[:3], {"normalised": files.said(2, "normalised", files.coords[:3])})
    with pytest.raises(InputError, match=r"2/target_stained.h5: b: .*found none of 1, the first at column 3, row 2"):
        files.read()


def test_labels_of_other_tiles_are_refused(tmp_path):
    files = Files(tmp_path)
    write_table(pd.DataFrame({"slide_id": ["a"], "col": [0], "row": [0], "label": ["Normal"]}), files.labels["colon/a"])
    with pytest.raises(InputError, match=r"colon/a.tsv: no label for 3 tiles.*label the tiles again"):
        files.read()


def test_a_slide_whose_annotations_were_refused_has_no_patch(tmp_path):
    files = Files(tmp_path)
    write_table(pd.DataFrame(columns=["slide_id", "col", "row", "label"]), files.labels["colon/a"])
    assert set(files.read().query("domain == 'source'")["slide_id"]) == {"b"}
