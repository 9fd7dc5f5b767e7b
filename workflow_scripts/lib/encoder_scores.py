"""How well encoders learnt their tasks, and which tasks help what is learnt from grids (neural image compression, 4.3).

"Performance" is the Spearman coefficient of the ablation's target on the slides that validate its models.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.lib import evaluation, files, target_scores
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.slide_targets import NUMBER
from workflow_scripts.lib.target_scores import DEVELOPMENT, Learnt

YES, NO = "yes", "no"
ACCURACY = "validation_accuracy_"


def encoder_table(kinds: Mapping[str, str], folders: Sequence[str | Path]) -> pd.DataFrame:
    """The table `encoders.tsv`: encoder, kind, features, task, accuracy, patches; a row per encoder and task. (4.1.)

    kinds: by encoder, as the configuration has it; folders: of each, with model.json and scores.tsv. patches: those
    that the accuracy is over, of the validation slides of all its tasks. An encoder without tasks has one row, with
    neither task nor accuracy.
    """
    rows = []
    for (encoder, kind), folder in zip(kinds.items(), map(Path, folders), strict=True):
        described = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        scores = files.read_table(folder / "scores.tsv").iloc[0]
        patches = scores.get("validation_tiles", np.nan)
        for task in described.get("tasks") or [""]:
            accuracy = scores.get(f"{ACCURACY}{task}", np.nan)
            rows.append((encoder, kind, described["features"], task, accuracy, patches))
    return pd.DataFrame(rows, columns=["encoder", "kind", "features", "task", "accuracy", "patches"])


def write_ablation(
    paths: Mapping[str, str | Path],
    target: Learnt,
    tasks: Mapping[str, Sequence[str]],
    *,
    resamples: int,
    seed: int,
) -> None:
    """Write Tables 2 and 3 and Fig. 3: paths of `ablation`, `by_number` and `by_task`; tasks: of each encoder."""
    table = ablation(target, tasks, resamples=resamples, seed=seed)
    files.write_table(table, paths["ablation"])
    files.write_table(by_number(table), paths["by_number"])
    files.write_table(by_task(table), paths["by_task"])


def ablation(target: Learnt, tasks: Mapping[str, Sequence[str]], *, resamples: int, seed: int) -> pd.DataFrame:
    """The table `ablation.tsv`: a row per encoder, in the order of `tasks`. (Table 3.)

    encoder; tasks (number); a column for each task, `yes` or `no`; repeat: which of the encoders with these tasks it
    is, from 1; spearman, low, high (95 %, patients resampled), patients; note. Raises InputError for a target that is
    no number.
    """
    if target.kind != NUMBER:
        raise InputError(
            f"compression.ablation.target: expected a target of kind number, found {target.name}, a {target.kind}"
        )
    scored = target_scores.table1([target], resamples=resamples, seed=seed)
    scored = scored[scored["set"] == DEVELOPMENT].set_index("encoder")
    # In the order of those that learn from all.
    names = list(dict.fromkeys(task for of in sorted(tasks.values(), key=len, reverse=True) for task in of))
    rows, seen = [], []
    for encoder, of in tasks.items():
        seen.append(frozenset(of))
        row = {"encoder": encoder, "tasks": len(of)} | {task: YES if task in of else NO for task in names}
        row |= {"repeat": seen.count(frozenset(of))}
        rows.append(row | scored.loc[encoder, ["spearman", "low", "high", "patients", "note"]].to_dict())
    return pd.DataFrame(rows)


def tasks_in(table: pd.DataFrame) -> list[str]:
    """The tasks of the table `ablation.tsv`, in its order."""
    columns = list(table.columns)
    return columns[columns.index("tasks") + 1 : columns.index("repeat")]


def by_number(table: pd.DataFrame) -> pd.DataFrame:
    """The table `ablation_by_number.tsv`: tasks, encoders, mean, sd (of n - 1; missing of one encoder). (Fig. 3.)"""
    known = table.dropna(subset=["spearman"])
    rows = [(number, len(of), of["spearman"].mean(), of["spearman"].std()) for number, of in known.groupby("tasks")]
    return pd.DataFrame(rows, columns=["tasks", "encoders", "mean", "sd"])


def by_task(table: pd.DataFrame) -> pd.DataFrame:
    """The table `ablation_by_task.tsv`: task, correlation, encoders, note. (Table 2.)

    Spearman's coefficient over encoders of whether a task is among theirs with their performance.
    """
    known, rows = table.dropna(subset=["spearman"]), []
    for task in tasks_in(table):
        among = (known[task] == YES).to_numpy(float)
        coefficient, _ = evaluation.spearman(among, known["spearman"].to_numpy(float))
        note = ""
        if len(known) < 3:
            note = "fewer than three encoders"
        elif np.ptp(among) == 0:
            note = "in all encoders, or in none"
        elif np.isnan(coefficient):
            note = "all encoders perform alike"
        rows.append((task, coefficient, len(known), note))
    return pd.DataFrame(rows, columns=["task", "correlation", "encoders", "note"])
