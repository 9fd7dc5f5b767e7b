"""Tables of what is learnt from grids agree with SciPy, scikit-learn and lifelines, and resamples spelt out."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from compression_study import TASKS, Study, ablation
from lifelines.utils import concordance_index
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from workflow_scripts.lib import encoder_scores, evaluation, risk_scores, survival, target_scores
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import read_table, write_table
from workflow_scripts.lib.scores import c_index

DRAWN = {"resamples": 40, "seed": 3}
NAN = float("nan")
# Table 3 of the paper: lymph, mitosis, prostate, colorectal, and the correlation; Table 2 is made of it.
TABLE_3 = {
    "0001": 0.563, "0010": 0.515, "0100": 0.473, "1000": 0.498, "0011": 0.584, "0101": 0.573, "0110": 0.557,
    "1001": 0.613, "1010": 0.548, "1100": 0.520, "0111": 0.549, "1011": 0.592, "1101": 0.605, "1110": 0.505,
    "1111": 0.569, "1111, again": 0.594, "1111, a third time": 0.597, "1111, a fourth time": 0.591,
}  # fmt: skip


@pytest.fixture(scope="module")
def study() -> Study:
    return Study(encoders=("mean_rgb", "bigan", "multitask"))


@pytest.fixture(scope="module")
def folder(study, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("compression")
    study.write(path)
    return path


@pytest.fixture
def targets(study, folder):
    return {learnt.name: learnt for learnt in study.read(folder)}


def changed(learnt, change, *, encoder: str = "multitask"):
    """A target of one encoder, with its predictions changed."""
    return learnt._replace(predictions={encoder: change(learnt.predictions[encoder].copy())})


# Slides and patients


def test_an_external_slide_has_the_mean_of_all_models_and_a_development_slide_what_its_model_says(targets):
    learnt = targets["proliferation"]
    rows = learnt.predictions["multitask"]
    external = target_scores.of_set(learnt, rows, "external")
    of_slide = rows[(rows["slide_id"] == external["slide_id"][0]) & (rows["set"] == "test")]
    assert len(of_slide) == 4
    assert external["prediction"][0] == pytest.approx(of_slide["prediction"].mean())
    development = target_scores.of_set(learnt, rows, "development").set_index("slide_id")["prediction"]
    validated = rows[rows["set"] == "validation"].set_index("slide_id")["prediction"]
    assert development.to_dict() == pytest.approx(validated.to_dict())


def test_slides_of_one_cohort_alone_are_tested_by_the_one_model_that_has_not_seen_them(targets):
    learnt = targets["death"]
    rows = learnt.predictions["multitask"]
    tested = target_scores.of_set(learnt, rows, learnt.held_out).set_index("slide_id")["prediction"]
    assert learnt.held_out == "test"
    assert tested.to_dict() == rows[rows["set"] == "test"].set_index("slide_id")["prediction"].to_dict()


def test_a_slide_of_which_one_model_says_nothing_has_no_prediction(targets):
    learnt = targets["proliferation"]
    rows = learnt.predictions["multitask"].copy()
    place = rows.index[rows["set"] == "test"][0]
    rows.loc[place, "prediction"] = NAN
    slides = target_scores.of_set(learnt, rows, "external").set_index("slide_id")
    assert slides["prediction"].isna().sum() == 1
    assert np.isnan(slides.loc[rows.loc[place, "slide_id"], "prediction"])


@pytest.mark.parametrize(("how", "expected"), [("mean", 2.0), ("max", 5.0), ("median", 1.0)])
def test_a_patients_slides_are_made_one_by_the_rule(how, expected):
    slides = pd.DataFrame({"patient_id": ["A"] * 3 + ["B"], "risk": [0.0, 1.0, 5.0, NAN]})
    found = target_scores.of_patients(slides, ["risk"], how=how)
    assert found.values.tolist() == [["A", expected]]


def test_predictions_of_another_encoder_are_refused(study, folder, tmp_path):
    path = tmp_path / "multitask.tsv"
    write_table(study.predictions("growth", "bigan"), path)
    asked = {"growth": study.described["growth"] | {"encoders": ["multitask"]}}
    with pytest.raises(InputError, match="expected predictions of growth from multitask, found growth from bigan"):
        target_scores.read(asked, [folder / "targets" / "growth.tsv"], [path])


def test_a_table_without_its_columns_is_refused(study, folder, tmp_path):
    write_table(study.predictions("growth", "bigan").drop(columns="p_1"), tmp_path / "bigan.tsv")
    asked = {"growth": study.described["growth"] | {"encoders": ["bigan"]}}
    with pytest.raises(InputError, match="found none of p_1"):
        target_scores.read(asked, [folder / "targets" / "growth.tsv"], [tmp_path / "bigan.tsv"])


def test_slides_that_are_not_used_count_for_nothing(study, folder, tmp_path):
    table = study.target("growth")
    table.loc[0, "reason"] = "no class"
    write_table(table, tmp_path / "growth.tsv")
    asked = {"growth": study.described["growth"] | {"encoders": []}}
    (learnt,) = target_scores.read(asked, [tmp_path / "growth.tsv"], [])
    assert len(learnt.slides) == len(table) - 1


# Numbers


def test_table_1_is_scipys_spearman_over_patients_with_intervals_of_resamples_spelt_out(targets):
    learnt = targets["proliferation"]
    table = target_scores.table1([learnt], **DRAWN).set_index(["encoder", "set"])
    points = target_scores.numbers([learnt])
    assert list(table.index) == [(name, of) for name in learnt.predictions for of in ("development", "external")]
    for (encoder, set_name), row in table.iterrows():
        of = points[(points["encoder"] == encoder) & (points["set"] == set_name)].sort_values("patient_id")
        assert row["patients"] == of["patient_id"].nunique() == len(of)
        assert row["spearman"] == pytest.approx(spearmanr(of["value"], of["prediction"]).statistic)
        times = evaluation.draw_patients(of["patient_id"], **DRAWN).times
        spelt = [spearmanr(*of.loc[of.index.repeat(many), ["value", "prediction"]].T.to_numpy()) for many in times]
        low, high = np.quantile([result.statistic for result in spelt], [0.025, 0.975])
        assert (row["low"], row["high"]) == (pytest.approx(low), pytest.approx(high))


def test_resampled_spearman_has_ties_as_scipy_has_them():
    first, second = np.array([1, 1, 2, 3, 3, 3.0]), np.array([2, 1, 1, 1, 5, 5.0])
    drawn = evaluation.draw_patients(list("ABCDEF"), resamples=50, seed=1)
    found = evaluation.resampled_spearman(first, second, drawn)
    for many, value in zip(drawn.times, found, strict=True):
        copies = np.repeat(first, many), np.repeat(second, many)
        expected = NAN if min(map(np.ptp, copies)) == 0 else spearmanr(*copies).statistic
        assert value == pytest.approx(expected, nan_ok=True)


def test_predictions_that_are_all_alike_have_no_spearman_and_say_so(targets):
    learnt = changed(targets["proliferation"], lambda rows: rows.assign(prediction=0.5))
    table = target_scores.table1([learnt], **DRAWN)
    assert table[["spearman", "low", "high"]].isna().all(axis=None)
    assert set(table["note"]) == {"all predictions are alike"}


def test_two_patients_have_no_spearman_and_say_so(targets):
    learnt = targets["proliferation"]
    few = learnt._replace(slides=learnt.slides[learnt.slides["patient_id"].isin(["BR-000", "BR-001", "OT-000"])])
    table = target_scores.table1([few], **DRAWN)
    assert table["spearman"].isna().all()
    assert set(table["note"]) == {"fewer than three patients"}
    assert table["patients"].tolist() == [2, 1] * 3


def test_slides_without_a_prediction_are_left_out_and_counted(targets):
    def without(rows: pd.DataFrame) -> pd.DataFrame:
        return rows[rows["slide_id"] != "BR-000-S1"]

    table = target_scores.table1([changed(targets["proliferation"], without)], **DRAWN)
    assert table["note"].tolist() == ["slides without a prediction, left out: 1", ""]


def test_no_number_target_makes_tables_with_their_columns(targets):
    assert list(target_scores.numbers([targets["growth"]])) == [
        "target", "encoder", "set", "patient_id", "value", "prediction",
    ]  # fmt: skip
    assert list(target_scores.table1([], **DRAWN))[:4] == ["target", "encoder", "set", "spearman"]


# Classes


def test_auc_of_two_classes_is_that_of_the_last_with_intervals_by_patient(targets):
    learnt = targets["growth"]
    table = target_scores.auc_table([learnt], **DRAWN).set_index(["encoder", "set"])
    slides = target_scores.of_set(learnt, learnt.predictions["multitask"], "test")
    row = table.loc[("multitask", "test")]
    assert row["auc"] == pytest.approx(roc_auc_score(slides["value"], slides["p_1"]))
    assert (row["slides"], row["positives"]) == (len(slides), slides["value"].sum())
    expected = evaluation.bootstrap_auc(slides["value"], slides["p_1"], slides["patient_id"], **DRAWN)
    assert (row["low"], row["high"]) == (expected.low, expected.high)
    assert row["auc"] > table.loc[("mean_rgb", "test"), "auc"]


def test_auc_of_more_classes_is_the_mean_of_each_against_the_rest():
    study = Study(encoders=["multitask"])
    study.described["growth"] |= {"classes": ("one", "two", "three"), "favourable": None}
    table = study.target("growth")
    table["value"] = pd.cut(study.slides["liver"]["hidden"], [-9, -0.5, 0.5, 9], labels=False)
    learnt = target_scores.Learnt(
        "growth", "class", "liver", None, ("one", "two", "three"), None, "mean", table,
        {"multitask": study.predictions("growth", "multitask")},
    )  # fmt: skip
    row = target_scores.auc_table([learnt], **DRAWN).iloc[1]
    slides = target_scores.of_set(learnt, learnt.predictions["multitask"], "test")
    expected = roc_auc_score(slides["value"], slides[["p_0", "p_1", "p_2"]], multi_class="ovr")
    assert row["auc"] == pytest.approx(expected)
    assert row["low"] < row["auc"] < row["high"]
    assert row["positives"] == row["slides"]
    assert target_scores.roc_table([learnt]).empty


def test_one_class_has_no_auc_no_curve_and_says_so(targets):
    learnt = targets["growth"]
    one = learnt._replace(slides=learnt.slides[learnt.slides["value"] == 1])
    table = target_scores.auc_table([one], **DRAWN)
    assert table[["auc", "low", "high"]].isna().all(axis=None)
    assert set(table["note"]) == {"one class: all slides are desmoplastic"}
    assert target_scores.roc_table([one]).empty
    tests = target_scores.auc_tests([one], compared="growth", **DRAWN)
    assert tests["p"].isna().all()
    assert set(tests["note"]) == {"one class: all slides are desmoplastic"}


def test_a_class_of_one_patient_has_an_auc_without_interval(targets):
    learnt = targets["growth"]
    kept = (learnt.slides["value"] == 1) | (learnt.slides["patient_id"] == "LI-000")
    slides = learnt.slides[kept].assign(value=lambda of: (of["patient_id"] != "LI-000").astype(int))
    row = target_scores.auc_table([learnt._replace(slides=slides)], **DRAWN).iloc[-1]
    assert np.isfinite(row["auc"])
    assert np.isnan(row["low"])
    assert row["note"] == "no interval: each class, or all others, are of one patient"


def test_encoders_are_compared_in_the_same_resamples_and_holm_adjusts_all_pairs(targets):
    learnt = targets["growth"]
    tests = target_scores.auc_tests(list(targets.values()), compared="growth", **DRAWN)
    assert tests[["first", "second"]].values.tolist() == [
        ["mean_rgb", "bigan"], ["mean_rgb", "multitask"], ["bigan", "multitask"],
    ]  # fmt: skip
    aucs = target_scores.auc_table([learnt], **DRAWN).query("set == 'test'").set_index("encoder")["auc"]
    expected = [aucs[row.first] - aucs[row.second] for row in tests.itertuples()]
    assert tests["difference"].tolist() == pytest.approx(expected)
    assert tests["p_adjusted"].tolist() == evaluation.holm(tests["p"].to_numpy()).tolist()
    assert tests["p"].iloc[1] < 0.1
    same = changed(learnt, lambda rows: rows)
    same = same._replace(predictions={"one": same.predictions["multitask"], "two": same.predictions["multitask"]})
    (row,) = target_scores.auc_tests([same], compared="growth", **DRAWN).itertuples()
    assert (row.difference, row.p) == (0, 1)


def test_encoders_are_compared_on_slides_that_all_have_a_prediction_of(targets):
    learnt = targets["growth"]
    rows = learnt.predictions["multitask"]
    fewer = learnt._replace(predictions=learnt.predictions | {"multitask": rows[rows["slide_id"] != "LI-000-S1"]})
    tests = target_scores.auc_tests([fewer], compared="growth", **DRAWN)
    assert tests["note"].str.endswith("slides that not all encoders have a prediction of, left out: 1").all()


def test_no_compared_target_makes_an_empty_table_of_tests(targets):
    tests = target_scores.auc_tests(list(targets.values()), compared=None, **DRAWN)
    assert tests.empty
    assert "p_adjusted" in tests


def test_a_roc_curve_goes_from_corner_to_corner(targets):
    curves = target_scores.roc_table(list(targets.values()))
    assert set(curves["target"]) == {"growth"}
    for _, curve in curves.groupby("encoder"):
        assert curve[["fpr", "tpr"]].iloc[[0, -1]].values.tolist() == [[0, 0], [1, 1]]


# Risks


def test_who_dies_first_has_the_higher_risk_at_a_c_index_of_1():
    time, event = np.array([1, 2, 3, 4.0]), np.array([1, 1, 1, 0])
    assert c_index(time, event, np.array([4, 3, 2, 1.0])) == 1
    assert c_index(time, event, np.array([1, 2, 3, 4.0])) == 0
    assert c_index(time, event, np.ones(4)) == 0.5
    assert np.isnan(c_index(time, np.zeros(4), np.arange(4)))


def test_resampled_c_index_is_lifelines_on_the_copies():
    draw = np.random.default_rng(0)
    time, event, risk = draw.integers(1, 8, 20), draw.integers(0, 2, 20), draw.integers(0, 5, 20) / 2
    times = evaluation.draw_patients([f"{n:02d}" for n in range(20)], resamples=30, seed=1).times
    found = risk_scores.resampled_c_index(time, event, risk, times)
    spelt = [concordance_index(*(np.repeat(of, many) for of in (time, -risk, event))) for many in times]
    assert found == pytest.approx(spelt)


def test_a_high_risk_dies_sooner_in_both_kinds_of_target(targets):
    found = [risk_scores.risks_of(targets[name], "multitask", scale="standardised") for name in ("growth", "death")]
    table = risk_scores.survival_table(found, **DRAWN)
    assert table["risk"].tolist() == ["1 - p(desmoplastic)", "Cox"]
    assert (table["c_index"] > 0.6).all()
    assert (table["low"] < table["c_index"]).all()
    assert (table["c_index"] < table["high"]).all()
    assert set(table["direction"]) == {survival.HIGH_WORSE}
    assert table["p_adjusted"].tolist() == evaluation.holm(table["p"].to_numpy()).tolist()


def test_risks_turned_round_have_one_less_the_c_index_and_the_other_direction(targets):
    plain = risk_scores.risks_of(targets["death"], "multitask", scale="standardised")
    turned = plain._replace(patients=plain.patients.assign(risk=-plain.patients["risk"]))
    first, second = risk_scores.survival_table([plain, turned], **DRAWN).itertuples()
    assert first.c_index + second.c_index == pytest.approx(1)
    assert (first.direction, second.direction) == (survival.HIGH_WORSE, survival.LOW_WORSE)


def test_standardised_risks_do_not_know_which_model_they_are_of(targets):
    learnt = targets["death"]
    pooled, scaled = (
        risk_scores.risks_of(learnt, "multitask", scale=scale).patients["risk"]
        for scale in ("as_predicted", "standardised")
    )
    assert np.ptp(pooled) > 15 > np.ptp(scaled)
    rows, _ = risk_scores.on_one_scale(learnt.predictions["multitask"], slides_of_patient="mean")
    validated = rows[rows["set"] == "validation"].groupby(["model", "patient_id"])["prediction"].mean()
    assert validated.groupby("model").mean().to_numpy() == pytest.approx(np.zeros(4), abs=1e-9)
    assert validated.groupby("model").std(ddof=0).to_numpy() == pytest.approx(np.ones(4))


def test_a_model_whose_validation_risks_are_alike_or_missing_is_named(targets):
    def alike(rows: pd.DataFrame) -> pd.DataFrame:
        rows.loc[(rows["model"] == 1) & (rows["set"] == "validation"), "prediction"] = 2.0
        return rows[(rows["model"] != 2) | (rows["set"] != "validation")]

    learnt = changed(targets["death"], alike)
    found = risk_scores.risks_of(learnt, "multitask", scale="standardised")
    assert found.notes[:2] == (
        "model 1: risks of the patients that validate it are alike",
        "model 2 left out: no patient validates it",
    )
    assert len(found.patients) == 36


def test_a_risk_at_the_median_is_low():
    patients = pd.DataFrame(
        {"patient_id": list("ABCD"), "risk": [1.0, 2.0, 2.0, 3.0], "time": [4.0, 3, 2, 1], "event": [1, 1, 1, 1]}
    )
    table = risk_scores.risks_table([risk_scores.Risks("t", "e", "Cox", patients, ())])
    assert table["group"].tolist() == ["low", "low", "low", "high"]


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"event": 0}, "no death in either group"),
        ({"risk": 1.0}, "no patient in the high group"),
        ({"patient_id": None}, "no patient in the low group"),
    ],
)
def test_what_cannot_be_compared_is_na_with_the_reason(change, note):
    patients = pd.DataFrame({"patient_id": list("ABC"), "risk": [1.0, 2, 3], "time": [1.0, 2, 3], "event": [1, 1, 0]})
    patients = patients.assign(**change).dropna()
    risks = risk_scores.Risks("t", "e", "Cox", patients, ())
    (row,) = risk_scores.survival_table([risks], **DRAWN).itertuples()
    assert row.note.startswith(note)
    assert np.isnan(row.p)
    assert np.isnan(row.p_adjusted)
    assert np.isfinite(row.c_index) == ("high" in note)
    assert len(risk_scores.curves_table([risks])) == len(risk_scores.risks_table([risks])) + (len(patients) > 0) * (
        2 if note.startswith("no death") else 1
    )


def test_patients_without_follow_up_are_left_out_and_counted(targets):
    learnt = targets["growth"]
    slides = learnt.slides.assign(time=learnt.slides["time"].where(learnt.slides["patient_id"] != "LI-003"))
    found = risk_scores.risks_of(learnt._replace(slides=slides), "multitask", scale="standardised")
    assert found.notes == ("patients without follow-up, left out: 1",)
    assert "LI-003" not in set(found.patients["patient_id"])


def test_a_class_target_without_a_favourable_class_and_a_number_have_no_risk(targets, tmp_path):
    paths = {name: tmp_path / f"{name}.tsv" for name in ("survival", "risks", "survival_curves")}
    without = [targets["growth"]._replace(favourable=None), targets["proliferation"]]
    risk_scores.write_tables(paths, without, scale="standardised", **DRAWN)
    assert all(read_table(path).empty for path in paths.values())
    assert "p_adjusted" in read_table(paths["survival"])


# Encoders and the ablation


def test_encoders_are_listed_with_the_accuracy_of_each_of_their_tasks(tmp_path):
    for name, described, scores in (
        ("multitask", {"features": 128, "tasks": {"one": ["a", "b"], "two": ["a", "b"]}},
         {"validation_tiles": 80, "validation_accuracy_one": 0.9, "validation_accuracy_two": 0.7}),
        ("mean_rgb", {"features": 3}, {"encoder": "mean_rgb"}),
    ):  # fmt: skip
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text(json.dumps(described))
        write_table(pd.DataFrame([scores]), tmp_path / name / "scores.tsv")
    kinds = {"multitask": "multitask", "mean_rgb": "mean_rgb"}
    table = encoder_scores.encoder_table(kinds, [tmp_path / name for name in kinds])
    assert table.fillna(-1).values.tolist() == [
        ["multitask", "multitask", 128, "one", 0.9, 80],
        ["multitask", "multitask", 128, "two", 0.7, 80],
        ["mean_rgb", "mean_rgb", 3, "", -1, -1],
    ]


def test_table_2_and_fig_3_of_the_paper_follow_from_its_table_3():
    rows = []
    for which, value in TABLE_3.items():
        tasks = {task: "yes" if on == "1" else "no" for task, on in zip(TASKS, which[:4], strict=True)}
        rows.append({"encoder": which, "tasks": which.count("1")} | tasks | {"repeat": 1, "spearman": value})
    table = pd.DataFrame(rows)
    assert encoder_scores.by_task(table)["correlation"].round(3).tolist() == [0.319, 0.033, 0.077, 0.824]
    found = encoder_scores.by_number(table)
    assert found[["tasks", "encoders"]].values.tolist() == [[1, 4], [2, 6], [3, 4], [4, 4]]
    # So that three tasks did not do better than two, and four did.
    assert found["mean"].round(3).tolist() == [0.512, 0.566, 0.563, 0.588]


def test_the_ablation_is_the_development_spearman_of_each_encoder(study, folder):
    tasks = ablation(repeats=2)
    learnt = study.ablated(folder, tasks)
    table = encoder_scores.ablation(learnt, tasks, **DRAWN)
    assert encoder_scores.tasks_in(table) == list(TASKS)
    assert list(table["encoder"]) == list(tasks)
    assert table["repeat"].tolist() == [1] * 15 + [2]
    assert table[table["tasks"] == 1][list(TASKS)].values.tolist() == [
        ["yes" if task == chosen else "no" for task in TASKS] for chosen in TASKS
    ]
    scored = target_scores.table1([learnt], **DRAWN).query("set == 'development'")
    assert table["spearman"].tolist() == scored["spearman"].tolist()
    by_task = encoder_scores.by_task(table).set_index("task")["correlation"]
    assert by_task.idxmax() == TASKS[-1]


def test_a_task_of_all_encoders_has_no_correlation_and_one_encoder_no_spread():
    table = pd.DataFrame({
        "encoder": list("abc"), "tasks": [1, 2, 2], "one": "yes", "two": ["no", "yes", "yes"], "repeat": [1, 1, 2],
        "spearman": [0.1, 0.2, 0.3],
    })  # fmt: skip
    found = encoder_scores.by_task(table)
    assert found["correlation"].round(3).tolist() == [pytest.approx(NAN, nan_ok=True), 0.866]
    assert found["note"].tolist() == ["in all encoders, or in none", ""]
    assert encoder_scores.by_number(table)["sd"].isna().tolist() == [True, False]
    assert set(encoder_scores.by_task(table.assign(spearman=0.1))["note"][1:]) == {"all encoders perform alike"}
    assert set(encoder_scores.by_task(table.assign(spearman=NAN))["note"]) == {"fewer than three encoders"}


def test_an_ablation_by_what_is_no_number_is_refused(targets):
    with pytest.raises(InputError, match="expected a target of kind number, found growth, a class"):
        encoder_scores.ablation(targets["growth"], {"multitask": ["one"]}, **DRAWN)


def test_the_same_input_gives_the_same_tables(study, folder, tmp_path):
    for run in ("one", "two"):
        paths = {name: tmp_path / run / f"{name}.tsv" for name in ("auc", "auc_tests", "roc", "table1", "numbers")}
        targets = study.read(folder)
        target_scores.write_class_tables(paths, targets, compared="growth", **DRAWN)
        target_scores.write_number_tables(paths, targets, **DRAWN)
    for path in paths.values():
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()
