"""Whether heterogeneity matters for survival: patients, groups, Kaplan-Meier, log-rank, Cox, and Figs. 4 to 6.

Time is in months from diagnosis, event is 1 for a death and 0 for a patient lost sight of alive. lifelines is imported
where it is used: it takes more than a second, and most that read these tables or draw from them need none of it.
"""

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from workflow_scripts.lib import clinical as clinical_table
from workflow_scripts.lib import files
from workflow_scripts.lib.cohorts import one_slide_per_patient
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.evaluation import holm
from workflow_scripts.lib.labels import OOD, OOD_NEAR, UNLABELLED, seen_patients
from workflow_scripts.lib.splits import TEST

if TYPE_CHECKING:
    from lifelines import CoxPHFitter

log = logging.getLogger(__name__)

LOW, HIGH = "low", "high"
HIGH_WORSE, LOW_WORSE, NO_DIRECTION = "high worse", "low worse", "none"
# A category with fewer patients is not tested (Fig. 6).
FEWEST_OF_A_CATEGORY = 3
# A Cox model's level with fewer patients has no hazard ratio worth the name.
FEWEST_OF_A_COVARIATE = 5
# A log hazard ratio per standard deviation this uncertain has not been estimated: the likelihood has no maximum.
LARGEST_ERROR = 10.0


CATEGORY_VALUES = ["column", "category", "patient_id", "hti"]


class Patients(NamedTuple):
    """`patients`: a row per patient in survival. `exclusions`: reason, n (patients left out)."""

    patients: pd.DataFrame
    exclusions: pd.DataFrame


class Comparison(NamedTuple):
    """`tests`: a row per comparison. `values`: the patients (or values) that it stands on, long."""

    tests: pd.DataFrame
    values: pd.DataFrame


def analyse(
    hti: pd.DataFrame,
    slides: pd.DataFrame,
    labels: Mapping[str, pd.DataFrame],
    splits: pd.DataFrame,
    clinical: pd.DataFrame,
    *,
    folder: str | Path,
    groups: Sequence[Mapping[str, float]],
    censor_at_months: float | None,
    covariates: Sequence[str],
    categories: Sequence[str],
) -> None:
    """Write the tables under survival/ into `folder`: who takes part, every test, and what each stands on.

    hti, slides, labels by trait, splits and clinical are the tables of those names. The traits are those of the HTI.
    The first of `groups` (pairs of thresholds) is the one of patients.tsv and of Fig. 5a; times and events are written
    as they are analysed, after `censor`. Files: patients, exclusions, logrank, curves, cox, by_expression and
    by_expression_tests (Fig. 5a), hti_by_expression and its tests (Fig. 5b), hti_by_category and its tests (Fig. 6).

    Raises InputError where there is no HTI, or no death in the clinical table.
    """
    if hti.empty:
        raise InputError("survival: expected the HTI of at least one slide, found none: no slide was accepted")
    clinical_table.check_events(clinical)
    traits = hti["traits"].iloc[0].split("+")
    eligible = eligible_slides(labels, splits, traits)
    found = assemble_patients(hti, slides, eligible, clinical, **groups[0])
    patients = censor(found.patients, at_months=censor_at_months)
    log.info("%d patients in survival, %d deaths; left out:", len(patients), patients["event"].sum())
    for reason, n in found.exclusions.itertuples(index=False):
        log.info("  %d: %s", n, reason)
    of_traits = {trait: labels[trait] for trait in traits}
    tables = {"patients": patients, "exclusions": found.exclusions, "logrank": logrank(patients, groups)}
    tables |= {"curves": curves(patients, groups), "cox": cox(patients, clinical, covariates)}
    for name, comparison in (
        ("by_expression", compare_expression_split(patients, of_traits)),
        ("hti_by_expression", hti_by_expression(patients, of_traits)),
        ("hti_by_category", hti_by_category(patients, clinical, categories)),
    ):
        tables |= {name: comparison.values, f"{name}_tests": comparison.tests}
    for name, table in tables.items():
        files.write_table(table, Path(folder) / f"{name}.tsv")


def read_patients(path: str | Path) -> pd.DataFrame:
    """The table survival/patients.tsv as it was written."""
    return files.read_table(path, text=["patient_id", "slide_id", "group"])


def eligible_slides(labels: Mapping[str, pd.DataFrame], splits: pd.DataFrame, traits: Sequence[str]) -> pd.DataFrame:
    """Which slides may stand for their patient in survival: slide_id, patient_id, eligible, reason.

    labels: label tables by trait. A slide is eligible when it is labelled for every one of `traits` and either its
    patient is a test patient, or the slide is out of distribution (near or not) for every one of them and no other
    slide of its patient is in distribution for any: no model of the traits has seen the patient. An unlabelled slide,
    without expression, is not out of distribution and is never eligible, a test patient's neither. (Paper: Results, A
    statistically significant link; OOD is "for both traits".)
    """
    tiers = pd.concat({trait: labels[trait].set_index("slide_id")["tier"] for trait in traits}, axis=1)
    patient = pd.concat([labels[trait].set_index("slide_id")["patient_id"] for trait in traits])
    patient = patient[~patient.index.duplicated()].reindex(tiers.index)
    unlabelled = (tiers.isna() | (tiers == UNLABELLED)).any(axis=1)
    tested = patient.isin(splits.loc[splits["set"] == TEST, "patient_id"])
    ood = tiers.isin([OOD_NEAR, OOD]).all(axis=1)
    seen = patient.isin(set.union(*(seen_patients(labels[trait], splits) for trait in traits)))
    reason = pd.Series("", index=tiers.index)
    reason[seen] = "another slide of the patient in distribution for a trait, not a test patient"
    reason[~tested & ~ood] = "in distribution for a trait, not a test patient"
    reason[unlabelled] = "no expression of a trait"
    table = pd.DataFrame({"patient_id": patient, "eligible": reason == "", "reason": reason})
    return table.rename_axis("slide_id").reset_index()


def group(values: pd.Series, *, low: float, high: float) -> pd.Series:
    """`low` where a patient's HTI or risk is ≤ low, `high` where > high, empty between. (Paper: Fig. 4.)

    Raises InputError where `low` exceeds `high`, or a value is missing.
    """
    if low > high:
        raise InputError(f"expected the low group's threshold at most the high group's, found {low} and {high}")
    if values.isna().any():
        raise InputError(f"expected a value of every patient, found {int(values.isna().sum())} missing")
    return pd.Series(
        np.select([values <= low, values > high], [LOW, HIGH], default=""), index=values.index, name="group"
    )


def assemble_patients(
    hti: pd.DataFrame,
    slides: pd.DataFrame,
    eligible: pd.DataFrame,
    clinical: pd.DataFrame,
    *,
    low: float,
    high: float,
) -> Patients:
    """The table `survival/patients.tsv`, one row per patient, and the patients left out by reason.

    hti: `hti.tsv`; slides: `slides.tsv`, of which the accepted ones count; eligible: the table of `eligible_slides`;
    clinical: patient_id, time, event, one row per patient. A patient stands by one slide, `one_slide_per_patient` of
    those that have an HTI (a slide without tiles has none). Each patient with an accepted slide is in the table or
    counted once: no slide with tiles, that slide's reason not to be eligible, no survival data, or negative follow-up.

    Columns: patient_id, slide_id, hti, time (months), event (0, 1), group. (Paper: Methods, Survival analysis.)
    """
    accepted = slides[slides["status"] == "accepted"]
    with_hti = accepted.merge(hti.loc[hti["hti"].notna(), ["slide_id", "hti"]], on="slide_id", validate="1:1")
    chosen = one_slide_per_patient(with_hti)
    if clinical["patient_id"].duplicated().any():
        raise InputError(
            f"expected one clinical row per patient, found {clinical['patient_id'].duplicated().sum()} more"
        )
    table = (
        accepted[["patient_id"]]
        .drop_duplicates()
        .merge(chosen[["patient_id", "slide_id", "hti"]], on="patient_id", how="left")
        .merge(eligible[["slide_id", "reason"]], on="slide_id", how="left")
        .merge(clinical[["patient_id", "time", "event"]], on="patient_id", how="left")
    )
    reason = table["reason"].fillna("no expression of a trait")
    known = table["time"].notna() & table["event"].notna()
    reason[(reason == "") & ~known] = "no survival data"
    reason[(reason == "") & (table["time"] < 0)] = "negative follow-up"
    reason[table["slide_id"].isna()] = "no slide with tiles"
    kept = table[reason == ""].sort_values("patient_id").reset_index(drop=True)
    kept = kept.assign(event=_events(kept["event"]), group=group(kept["hti"], low=low, high=high))
    exclusions = reason[reason != ""].value_counts().sort_index().rename_axis("reason").reset_index(name="n")
    return Patients(kept[["patient_id", "slide_id", "hti", "time", "event", "group"]], exclusions)


def censor(patients: pd.DataFrame, *, at_months: float | None) -> pd.DataFrame:
    """End follow-up at `at_months`: who is under observation then is censored there; None changes nothing.

    A death at that month exactly counts. (The paper's text has no limit; its released code has 10 years.)
    """
    if at_months is None:
        return patients
    later = patients["time"] > at_months
    return patients.assign(time=patients["time"].clip(upper=at_months), event=patients["event"].where(~later, 0))


def logrank(patients: pd.DataFrame, groups: Sequence[Mapping[str, float]]) -> pd.DataFrame:
    """The table `survival/logrank.tsv`: the log-rank test for each pair of thresholds, `{"low": …, "high": …}`.

    A row per pair: group_low and group_high (its thresholds: at most, and above), n_low, n_high, events_low,
    events_high, statistic (chi-squared, one degree of freedom), p, p_adjusted (Holm, over the rows that have a p),
    direction and note. The direction is `high worse` where the high group has more deaths than expected, `low worse`
    where it has fewer. An empty group, or no death, gives no p and a note. (Paper: Fig. 4, Mantel's log-rank test.)
    """
    rows = []
    for pair in groups:
        labels = group(patients["hti"], low=pair["low"], high=pair["high"])
        rows.append({"group_low": pair["low"], "group_high": pair["high"]} | compare(patients, labels))
    return with_adjusted(pd.DataFrame(rows))


def kaplan_meier(patients: pd.DataFrame) -> pd.DataFrame:
    """Kaplan-Meier curves of the groups in `patients`, long: group, time, survival, low, high, at_risk, events.

    A row per group and time at which someone dies or is censored, and one at time 0. survival is the share alive just
    after that time; low and high its 95 % interval (Greenwood, log-log); at_risk the patients under observation just
    before it. Patients between the groups are left out. (Paper: Fig. 4.)
    """
    from lifelines import KaplanMeierFitter

    curves = []
    for name in (LOW, HIGH):
        members = patients[patients["group"] == name]
        if members.empty:
            continue
        fit = KaplanMeierFitter().fit(members["time"], members["event"])
        interval = fit.confidence_interval_survival_function_
        curve = pd.DataFrame(
            {
                "group": name,
                "time": fit.survival_function_.index,
                "survival": fit.survival_function_.iloc[:, 0].to_numpy(),
                "low": interval.iloc[:, 0].to_numpy(),
                "high": interval.iloc[:, 1].to_numpy(),
                "at_risk": fit.event_table["at_risk"].to_numpy().astype(int),
                "events": fit.event_table["observed"].to_numpy().astype(int),
            }
        )
        curves.append(curve)
    columns = ["group", "time", "survival", "low", "high", "at_risk", "events"]
    return pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=columns)


def curves(patients: pd.DataFrame, groups: Sequence[Mapping[str, float]]) -> pd.DataFrame:
    """The Kaplan-Meier curves for each pair of thresholds: group_low, group_high, and the columns of `kaplan_meier`."""
    tables = []
    for pair in groups:
        curve = kaplan_meier(patients.assign(group=group(patients["hti"], low=pair["low"], high=pair["high"])))
        curve.insert(0, "group_low", pair["low"])
        curve.insert(1, "group_high", pair["high"])
        tables.append(curve)
    return pd.concat(tables, ignore_index=True)


def cox(patients: pd.DataFrame, clinical: pd.DataFrame, covariates: Sequence[str]) -> pd.DataFrame:
    """The table `survival/cox.tsv`: Cox models of the HTI alone (`hti`) and with covariates (`hti + covariates`).

    patients: patient_id, hti, time, event, between groups or not; clinical: patient_id and the `covariates`, as
    `clinical.column` reads them. The HTI is continuous, so its hazard ratio is that of HTI 1 against 0. A covariate
    whose values are all numbers enters as it is, another as one indicator per level beside the most frequent (ties: the
    first by name). Patients without a value, or in a level of fewer than 5 patients or without a death, are left out
    and counted in `note`; so are covariates that do not vary.

    Columns: model, covariate, n, events, coef (log hazard ratio, Efron's ties), hazard_ratio, low, high (95 %, Wald),
    p, ph_p (proportional hazards: scaled Schoenfeld residuals against the rank of time), c_index (of the whole model,
    on its own patients; 1 where the higher risk always dies first), note. A model that cannot be fitted has one row
    with the reason. Without covariates there is the first model alone.
    """
    plain = patients[["time", "event", "hti"]].reset_index(drop=True)
    tables = [_fit("hti", plain, "")]
    if covariates:
        joined = plain.join(_clinical_columns(patients, clinical, covariates))
        tables.append(_fit("hti + covariates", *_design(joined, covariates)))
    return pd.concat(tables, ignore_index=True)


def compare_expression_split(patients: pd.DataFrame, labels: Mapping[str, pd.DataFrame]) -> Comparison:
    """Fig. 5a: the same patients split by HTI and by bulk expression, with a log-rank test of each split.

    patients: with their HTI group; labels: label tables by trait, whose `value` is the bulk expression of a patient's
    slide. For each trait the patients are those in an HTI group with a value of that trait. Split by expression, above
    their median is high and at most the median is low.

    tests: trait, split (`hti`, `expression`), n_low … note as in `logrank`, with p_adjusted (Holm) over all rows.
    values: trait, split, patient_id, time, event, group.
    """
    tests, values = [], []
    for trait, table in labels.items():
        basis = patients.assign(value=_expression(patients, table))
        basis = basis[(basis["group"] != "") & basis["value"].notna()]
        by_expression = pd.Series(np.where(basis["value"] > basis["value"].median(), HIGH, LOW), index=basis.index)
        for split, groups in (("hti", basis["group"]), ("expression", by_expression)):
            tests.append({"trait": trait, "split": split} | compare(basis, groups))
            kept = basis[["patient_id", "time", "event"]].assign(trait=trait, split=split, group=groups)
            values.append(kept[["trait", "split", "patient_id", "time", "event", "group"]])
    return Comparison(with_adjusted(pd.DataFrame(tests)), pd.concat(values, ignore_index=True))


def hti_by_expression(patients: pd.DataFrame, labels: Mapping[str, pd.DataFrame]) -> Comparison:
    """Fig. 5b: HTI of the patients above and at most the median bulk expression, with a Mann-Whitney test per trait.

    labels: label tables by trait, whose `value` is the bulk expression of a patient's slide; the median is over the
    patients that have one.

    tests: trait, n_below, n_above, median_below, median_above, missing, statistic, p (two-sided), p_adjusted (Holm over
    the traits), note. values: trait, patient_id, label (`above`, `below`), hti.
    """
    tests, values = [], []
    for trait, table in labels.items():
        value = _expression(patients, table)
        side = np.where(value > value.dropna().median(), "above", "below")
        kept = patients[["patient_id"]].assign(trait=trait, label=side, hti=patients["hti"])[value.notna()]
        below, above = (kept.loc[kept["label"] == name, "hti"] for name in ("below", "above"))
        statistic, p, note = _compare_values([below, above])
        row = {"trait": trait, "n_below": len(below), "n_above": len(above)}
        row |= {"median_below": below.median(), "median_above": above.median(), "missing": int(value.isna().sum())}
        tests.append(row | {"statistic": statistic, "p": p, "note": note})
        values.append(kept[["trait", "patient_id", "label", "hti"]])
    return Comparison(with_adjusted(pd.DataFrame(tests)), pd.concat(values, ignore_index=True))


def hti_by_category(patients: pd.DataFrame, clinical: pd.DataFrame, columns: Sequence[str]) -> Comparison:
    """Fig. 6: HTI by the categories of clinical columns, each column with a test over its categories.

    Kruskal-Wallis, or Mann-Whitney (two-sided) for two categories; a category of fewer than 3 patients is reported and
    not tested.

    tests: column, test, n (patients tested), categories (tested), missing (patients without a category), statistic, p,
    p_adjusted (Holm over the columns), sizes (patients of each category), note. values: column, category, patient_id,
    hti; categories in the order of their names.
    """
    tests, values = [], []
    found = _clinical_columns(patients, clinical, columns)
    for column in columns:
        known = patients[["patient_id", "hti"]].assign(
            column=column, category=clinical_table.as_categories(found[column]).to_numpy()
        )
        known = known.dropna(subset=["category"]).sort_values(["category", "patient_id"])
        groups = {name: members["hti"] for name, members in known.groupby("category")}
        tested = [members for members in groups.values() if len(members) >= FEWEST_OF_A_CATEGORY]
        statistic, p, note = _compare_values(tested)
        small = [name for name, members in groups.items() if len(members) < FEWEST_OF_A_CATEGORY]
        notes = [f"not tested, fewer than {FEWEST_OF_A_CATEGORY} patients: {', '.join(small)}"] if small else []
        row = {"column": column, "test": "Mann-Whitney" if len(tested) == 2 else "Kruskal-Wallis"}
        row |= {"n": sum(map(len, tested)), "categories": len(tested), "missing": len(patients) - len(known)}
        row |= {"sizes": ", ".join(f"{name} {len(members)}" for name, members in groups.items())}
        tests.append(row | {"statistic": statistic, "p": p, "note": "; ".join(filter(None, [note, *notes]))})
        values.append(known[CATEGORY_VALUES])
    order = ["column", "test", "n", "categories", "missing", "statistic", "p", "sizes", "note"]
    points = pd.concat(values, ignore_index=True) if values else pd.DataFrame(columns=CATEGORY_VALUES)
    return Comparison(with_adjusted(pd.DataFrame(tests, columns=order)), points)


def _events(values: pd.Series) -> pd.Series:
    if not values.isin([0, 1]).all():
        raise InputError(f"expected events of 0 or 1, found {sorted(set(values) - {0, 1}, key=str)}")
    return values.astype(int)


def compare(patients: pd.DataFrame, labels: pd.Series) -> dict[str, object]:
    """The log-rank test of `low` against `high` in `labels`, which has the index of `patients` (time, event).

    n_low, n_high, events_low, events_high, statistic, p, direction and note, as in `logrank`.
    """
    from lifelines.statistics import logrank_test

    low, high = patients[labels == LOW], patients[labels == HIGH]
    row = {"n_low": len(low), "n_high": len(high)}
    row |= {"events_low": int(low["event"].sum()), "events_high": int(high["event"].sum())}
    untested = {"statistic": np.nan, "p": np.nan, "direction": NO_DIRECTION}
    if low.empty or high.empty:
        return row | untested | {"note": f"no patient in the {LOW if low.empty else HIGH} group"}
    if row["events_low"] + row["events_high"] == 0:
        return row | untested | {"note": "no death in either group"}
    excess, at_stake = _excess_deaths(low, high)
    if at_stake == 0:
        return row | untested | {"note": "no death while patients of both groups were under observation"}
    result = logrank_test(low["time"], high["time"], low["event"], high["event"])
    direction = NO_DIRECTION if abs(excess) < 1e-9 else (HIGH_WORSE if excess > 0 else LOW_WORSE)
    return row | {"statistic": result.test_statistic, "p": result.p_value, "direction": direction, "note": ""}


def _excess_deaths(low: pd.DataFrame, high: pd.DataFrame) -> tuple[float, float]:
    """Deaths in the high group beyond those expected were the groups alike, and their variance."""
    both = pd.concat([low, high])
    excess = variance = 0.0
    for time, deaths in both.loc[both["event"] == 1].groupby("time").size().items():
        at_risk, at_risk_high = (both["time"] >= time).sum(), (high["time"] >= time).sum()
        share = at_risk_high / at_risk
        excess += ((high["time"] == time) & (high["event"] == 1)).sum() - deaths * share
        variance += deaths * share * (1 - share) * (at_risk - deaths) / max(at_risk - 1, 1)
    return float(excess), float(variance)


def _compare_values(groups: Sequence[pd.Series]) -> tuple[float, float, str]:
    """Statistic, p and note: Mann-Whitney of two groups (of the second), Kruskal-Wallis of more."""
    from scipy.stats import kruskal, mannwhitneyu

    if len(groups) < 2 or min(map(len, groups)) == 0:
        return np.nan, np.nan, "fewer than two groups to compare"
    if pd.concat(groups).nunique() == 1:
        return np.nan, np.nan, "all values are alike"
    result = mannwhitneyu(groups[1], groups[0]) if len(groups) == 2 else kruskal(*groups)
    return float(result.statistic), float(result.pvalue), ""


def with_adjusted(tests: pd.DataFrame) -> pd.DataFrame:
    """The table with p_adjusted (Holm, over its rows that have a p) after p."""
    place = tests.columns.get_loc("p") + 1
    columns = [*tests.columns[:place], "p_adjusted", *tests.columns[place:]]
    return tests.assign(p_adjusted=holm(tests["p"].to_numpy(float)))[columns]


def _expression(patients: pd.DataFrame, labels: pd.DataFrame) -> pd.Series:
    """The bulk expression of each patient's slide, NaN where there is none."""
    return patients["slide_id"].map(labels.set_index("slide_id")["value"]).astype(float)


def _clinical_columns(patients: pd.DataFrame, clinical: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The patients' values of clinical columns, in the order of `patients` and under the names asked for."""
    values = pd.DataFrame({name: clinical_table.column(clinical, name) for name in names})
    values.index = pd.Index(clinical["patient_id"])
    return values.reindex(patients["patient_id"]).reset_index(drop=True)


def _design(joined: pd.DataFrame, covariates: Sequence[str]) -> tuple[pd.DataFrame, str]:
    """The table of a Cox model (time, event and numbers), and what was left out of it.

    Leaving out patients makes other levels small, so it goes on until none is.
    """
    frame, kept, notes = joined.copy(), list(covariates), []
    while True:
        complete = frame[["time", "event", "hti", *kept]].dropna()
        for name in kept:
            small = _small_levels(complete[name], complete["event"])
            if complete[name].nunique() - len(small) < 2:
                notes.append(f"{name} left out: it has fewer than two values to compare")
                kept.remove(name)
                break
            if small:
                notes.append(f"{name}: levels with too few patients or no death left out: {', '.join(small)}")
                frame[name] = frame[name].where(~frame[name].isin(small))
                break
        else:
            break
    if len(complete) < len(frame):
        notes.append(f"{len(frame) - len(complete)} patients left out, without a value or in a level left out")
    columns = [
        complete[name] if pd.api.types.is_numeric_dtype(complete[name]) else _indicators(complete[name], name)
        for name in ["time", "event", "hti", *kept]
    ]
    return pd.concat(columns, axis=1), "; ".join(notes)


def _small_levels(values: pd.Series, event: pd.Series) -> list[str]:
    """Levels of a category whose hazard ratio cannot be estimated; none of a number.

    Without a death a level's hazard ratio tends to 0, where its patients weigh nothing: leaving them out gives the
    other coefficients that the limit has.
    """
    if pd.api.types.is_numeric_dtype(values):
        return []
    counts, deaths = values.value_counts(), event.groupby(values).sum()
    return sorted(level for level in counts.index if counts[level] < FEWEST_OF_A_COVARIATE or deaths[level] == 0)


def _indicators(values: pd.Series, name: str) -> pd.DataFrame:
    """One column of 0 and 1 per level, named `<name>: <level> against <reference>`, but for the most frequent level."""
    counts = values.value_counts()
    reference = min(counts.index[counts == counts.max()])
    return pd.DataFrame(
        {
            f"{name}: {level} against {reference}": (values == level).astype(float)
            for level in sorted(counts.index)
            if level != reference
        }
    )


def _fit(model: str, frame: pd.DataFrame, note: str) -> pd.DataFrame:
    """One Cox model's rows. `frame` has time, event and a number per covariate."""
    from lifelines.statistics import proportional_hazard_test
    from lifelines.utils import concordance_index

    n, events = len(frame), int(frame["event"].sum())
    covariates = [name for name in frame.columns if name not in ("time", "event")]
    fitted, reason = None, _why_not(frame, covariates)
    if not reason:
        fitted, reason = _try_fit(frame, covariates)
    start = {"model": model, "n": n, "events": events}
    if fitted is None:
        empty = dict.fromkeys(["coef", "hazard_ratio", "low", "high", "p", "ph_p", "c_index"], np.nan)
        rows = [start | {"covariate": "hti"} | empty | {"note": "; ".join(filter(None, [reason, note]))}]
    else:
        proportional = proportional_hazard_test(fitted, frame, time_transform="rank").summary["p"]
        # A higher risk means a shorter time: the index is taken of minus the risk.
        c_index = concordance_index(frame["time"], -fitted.predict_log_partial_hazard(frame), frame["event"])
        rows = [
            start
            | {
                "covariate": name,
                "coef": fitted.summary.loc[name, "coef"],
                "hazard_ratio": fitted.summary.loc[name, "exp(coef)"],
                "low": fitted.summary.loc[name, "exp(coef) lower 95%"],
                "high": fitted.summary.loc[name, "exp(coef) upper 95%"],
                "p": fitted.summary.loc[name, "p"],
                "ph_p": proportional.loc[name],
                "c_index": c_index,
                "note": note,
            }
            for name in covariates
        ]
    columns = [
        "model",
        "covariate",
        "n",
        "events",
        "coef",
        "hazard_ratio",
        "low",
        "high",
        "p",
        "ph_p",
        "c_index",
        "note",
    ]
    return pd.DataFrame(rows)[columns]


def _why_not(frame: pd.DataFrame, covariates: Sequence[str]) -> str:
    """Why a Cox model cannot be fitted to these patients at all; empty where it can be tried."""
    events = int(frame["event"].sum())
    if events <= len(covariates):
        return f"not fitted: {events} deaths for {len(covariates)} covariates"
    if frame["hti"].nunique() < 2:
        return "not fitted: the HTI does not vary"
    return ""


def _try_fit(frame: pd.DataFrame, covariates: Sequence[str]) -> tuple["CoxPHFitter | None", str]:
    from lifelines import CoxPHFitter
    from lifelines.exceptions import ConvergenceError, ConvergenceWarning
    from scipy.linalg import LinAlgWarning

    with warnings.catch_warnings():
        # A step of the search may overflow and be taken back; where it ends is checked below.
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("error", ConvergenceWarning)
        warnings.simplefilter("error", LinAlgWarning)
        try:
            fitted = CoxPHFitter().fit(frame, "time", "event")
        except (ConvergenceError, ConvergenceWarning, LinAlgWarning) as error:
            return None, f"not fitted: {str(error).splitlines()[0].split('. ')[0]}"
    spread = fitted.standard_errors_ * frame[list(covariates)].std()
    unbounded = spread.index[~(spread <= LARGEST_ERROR)]
    if len(unbounded):
        return None, f"not fitted: {unbounded[0]} separates those who died from the others, its hazard has no limit"
    return fitted, ""
