"""The tables of neural image compression as pages, with the paper's values beside ours."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.lib import published
from workflow_scripts.lib.encoder_scores import YES, tasks_in
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.figures.compression import MOST_REPEATS, SETS
from workflow_scripts.lib.figures.origin import in_order, readable
from workflow_scripts.lib.figures.tables import as_page, estimate, grid, p_cell, row_head, whole
from workflow_scripts.lib.target_scores import DEVELOPMENT, EXTERNAL

# In `published.tsv`.
PAPER_TASKS = ("Lymph", "Mitosis", "Prostate", "Colorectal")
PAPER_METHODS = (
    "TUPAC16 top-3", "TUPAC16 top-2", "NIC unsupervised", "Streaming CNNs", "TUPAC16 top-1", "NIC multitask",
    "TUPAC16 human-assisted",
)  # fmt: skip
# What the paper's Table 1 has of our kinds of encoders; a `multitask` one has several tasks there.
MULTITASK = "NIC multitask"
PAPER_KINDS = {"bigan": "NIC unsupervised", "multitask": MULTITASK}
MODELS = {"tiles": "Tiles", "grids": "Grids"}
AUCS = {
    "mean_test_auc": "Test, mean of the rounds",
    "ensemble_test_auc": "Test, ensemble",
    "ensemble_ood_near_auc": "OOD-near, ensemble",
    "ensemble_ood_all_auc": "OOD-all, ensemble",
}
OTHER_DATA = "The paper's slides and patches are other ones: no agreement is to be expected."
NOT_STUDIED, NOT_STATED = "not studied", "not stated"


def _page(title: str, lead: str, parts: Sequence[str]) -> str:
    source = f"<p><small>Paper: {escape(published.COMPRESSION_PAPER)}</small></p>"
    return as_page(title, f"<h1>{escape(title)}</h1>\n<p>{lead}</p>\n" + "\n".join(parts) + source)


# Table 1, and the numbers of Figs. 4 to 6


def table1_page(
    table1: pd.DataFrame,
    auc: pd.DataFrame,
    auc_tests: pd.DataFrame,
    survival: pd.DataFrame,
    encoders: pd.DataFrame,
    *,
    titles: Mapping[str, str],
) -> str:
    """A self-contained page: what is learnt from grids, by target and encoder, and paired tests; the paper's Table 1.

    Each table is that of its name; titles: of targets.
    """
    style.require(
        table1, ("target", "encoder", "set", "spearman", "low", "high", "patients", "note"), what="tables/table1.tsv"
    )
    style.require(
        auc, ("target", "encoder", "set", "auc", "low", "high", "slides", "positives", "note"), what="tables/auc.tsv"
    )
    columns = ("target", "first", "second", "difference", "low", "high", "p", "p_adjusted", "patients", "note")
    style.require(auc_tests, columns, what="tables/auc_tests.tsv")
    columns = ("target", "encoder", "risk", "patients", "events", "c_index", "low", "high", "p", "p_adjusted", "note")
    style.require(survival, columns, what="tables/survival.tsv")
    style.require(encoders, ("encoder", "kind", "task"), what="tables/encoders.tsv")
    title = "Neural image compression: what is learnt from compressed slides"
    lead = (
        "By target and by the encoder whose grids it is learnt from. Under a value: its 95&nbsp;% interval, resampled"
        f" by patient. {OTHER_DATA}"
    )
    methods = _methods(encoders)
    parts = [
        *(_number_table(of, titles[name], methods) for name, of in _by_target(table1)),
        _paper_table1(),
        *(_auc_table(of, titles[name], methods) for name, of in _by_target(auc)),
        _test_table(auc_tests, titles) if len(auc_tests) else "",
        _survival_table(survival, titles, methods) if len(survival) else "",
        _notes(table1, auc, auc_tests, survival),
    ]
    return _page(title, lead, parts)


def _by_target(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(name, table[table["target"] == name]) for name in in_order(table["target"])]


def _methods(encoders: pd.DataFrame) -> dict[str, str]:
    """What the paper's Table 1 calls encoders of the kinds that it has."""
    found = {}
    for name, of in encoders.groupby("encoder", sort=False):
        kind = of["kind"].iloc[0]
        if kind in PAPER_KINDS and (kind != "multitask" or len(of) > 1):
            found[name] = PAPER_KINDS[kind]
    return found


def _number_table(rows: pd.DataFrame, title: str, methods: Mapping[str, str]) -> str:
    sets = in_order(rows["set"])
    known = rows.set_index(["encoder", "set"])
    lines = []
    for encoder in in_order(rows["encoder"]):
        cells = "".join(f'<td class="ours">{estimate(known.loc[(encoder, of)], "spearman")}</td>' for of in sets)
        method = methods.get(encoder)
        paper = "".join(
            f'<td class="paper">{_stated_spearman(of, method) if method else NOT_STUDIED}</td>'
            for of in (DEVELOPMENT, EXTERNAL)
        )
        lines.append(f"{row_head(readable(encoder))}{cells}{paper}")
    counts = "".join(
        f"<td><small>{whole(rows.loc[rows['set'] == of, 'patients'].max())} patients</small></td>" for of in sets
    )
    lines.append(f"{row_head('')}{counts}<td></td><td></td>")
    head = ["Encoder", *(SETS[of] for of in sets), "Paper, training set", "Paper, external test set"]
    return grid(f"{title}: Spearman coefficient (Table 1)", head, lines, nothing="No encoder was judged.")


def _stated_spearman(set_name: str, method: str) -> str:
    value, low, high = (
        published.value(f"proliferation_{set_name}_spearman{end}", cohort="", trait=method)
        if not (end and set_name == DEVELOPMENT)
        else np.nan
        for end in ("", "_low", "_high")
    )
    return estimate({"value": value, "low": low, "high": high}, "value") if np.isfinite(value) else NOT_STATED


def _paper_table1() -> str:
    rows = [
        row_head(name)
        + "".join(f'<td class="paper">{_stated_spearman(of, name)}</td>' for of in (DEVELOPMENT, EXTERNAL))
        for name in PAPER_METHODS
    ]
    head = ["Method", "Training set", "External test set"]
    return grid("The paper's Table 1: speed of tumour proliferation", head, rows, nothing="")


def _auc_table(rows: pd.DataFrame, title: str, methods: Mapping[str, str]) -> str:
    sets = in_order(rows["set"])
    known = rows.set_index(["encoder", "set"])
    lines = []
    for encoder in in_order(rows["encoder"]):
        cells = "".join(f'<td class="ours">{estimate(known.loc[(encoder, of)], "auc")}</td>' for of in sets)
        stated = f"{published.value('growth_pattern_auc', cohort=''):g}"
        paper = stated if methods.get(encoder) == MULTITASK else NOT_STATED
        lines.append(f'{row_head(readable(encoder))}{cells}<td class="paper">{paper}</td>')
    counts = "".join(f"<td><small>{_counted(rows[rows['set'] == of])}</small></td>" for of in sets)
    lines.append(f"{row_head('')}{counts}<td></td>")
    head = ["Encoder", *(SETS[of] for of in sets), "Paper, test folds (4.4)"]
    return grid(f"{title}: AUC (Fig. 4)", head, lines, nothing="No encoder was judged.")


def _counted(rows: pd.DataFrame) -> str:
    return f"{whole(rows['slides'].max())} slides, {whole(rows['positives'].max())} positive"


def _test_table(tests: pd.DataFrame, titles: Mapping[str, str]) -> str:
    rows = []
    for row in tests.to_dict("records"):
        cells = [estimate(row, "difference", sign="+"), p_cell(row["p"]), p_cell(row["p_adjusted"])]
        ours = "".join(f'<td class="ours">{cell}</td>' for cell in [*cells, whole(row["patients"])])
        pair = f"{readable(row['first'])} − {readable(row['second'])}"
        rows.append(f"{row_head(pair)}{ours}")
    head = ["Difference of AUCs", "Here", "p", "p (Holm)", "Patients"]
    title = titles[tests["target"].iloc[0]]
    return grid(f"{title}: paired tests between encoders", head, rows, nothing="")


def _survival_table(table: pd.DataFrame, titles: Mapping[str, str], methods: Mapping[str, str]) -> str:
    rows = []
    for name, of in _by_target(table):
        for place, row in enumerate(of.to_dict("records")):
            first = row_head(f"{titles[name]}: {row['risk'].replace(' - ', ' − ')}", rows=len(of)) if not place else ""
            cells = [
                estimate(row, "c_index"), p_cell(row["p"]), p_cell(row["p_adjusted"]), escape(str(row["direction"])),
                f"{whole(row['patients'])} / {whole(row['events'])}",
            ]  # fmt: skip
            ours = "".join(f'<td class="ours">{cell}</td>' for cell in cells)
            quantity = "survival" if row["risk"] == "Cox" else "growth_pattern"
            stated = published.value(f"{quantity}_logrank_p_below", cohort="")
            where = "Fig. 6" if quantity == "survival" else "Fig. 5"
            paper = f"p &lt; {stated:g} ({where})" if methods.get(row["encoder"]) == MULTITASK else NOT_STATED
            theirs = f'<td class="paper">{paper}</td>'
            rows.append(f"{first}{row_head(readable(row['encoder']))}{ours}{theirs}")
    head = ["Risk", "Encoder", "C-index", "Log-rank p", "p (Holm)", "Direction", "Patients / deaths", "Paper"]
    return grid("Survival by the predicted risk (Figs. 5 and 6)", head, rows, nothing="")


def _notes(*tables: pd.DataFrame) -> str:
    """What the tables say of single values; what is said of many stands once."""
    said: dict[str, dict[str, None]] = {}
    for table in tables:
        for row in table.to_dict("records"):
            if isinstance(row["note"], str) and row["note"]:
                names = [row[key] for key in ("target", "encoder", "first", "second", "set") if key in row]
                said.setdefault(row["note"], {})[", ".join(map(readable, names))] = None
    items = [f"<li><strong>{escape('; '.join(list(of)[:4]))}{_more(of)}</strong>: {escape(note)}</li>"
             for note, of in said.items()]  # fmt: skip
    return f"<h2>Notes</h2>\n<ul>{''.join(items)}</ul>\n" if items else ""


def _more(names: Mapping[str, None]) -> str:
    return f" and {len(names) - 4} more" if len(names) > 4 else ""


# Tables 2 and 3


def table2_page(ablation: pd.DataFrame, by_number: pd.DataFrame, by_task: pd.DataFrame, *, title: str) -> str:
    """A self-contained page: Tables 2 and 3, and the means of Fig. 3; title: of the ablation's target."""
    style.require(ablation, ("encoder", "tasks", "repeat", "spearman", "low", "high", "patients"), what="ablation.tsv")
    style.require(by_number, ("tasks", "encoders", "mean", "sd"), what="tables/ablation_by_number.tsv")
    style.require(by_task, ("task", "correlation", "encoders", "note"), what="tables/ablation_by_task.tsv")
    heading = "Neural image compression: which tasks help"
    lead = (
        f"Encoders of different tasks, judged by the Spearman coefficient of {escape(title)} on the patients that"
        f" validate its models; 95&nbsp;% intervals are resampled by patient. {OTHER_DATA}"
    )
    return _page(
        heading,
        lead,
        [_correlation_table(by_task), _ablation_table(ablation), _means_table(by_number), _paper_ablation()],
    )


def paper_task(task: str) -> str | None:
    """What the paper calls a task whose name has its word in it; None for one that it has not."""
    return next((name for name in PAPER_TASKS if name.lower() in task.lower()), None)


def _correlation_table(table: pd.DataFrame) -> str:
    rows = []
    for row in table.to_dict("records"):
        name = paper_task(row["task"])
        stated = f"{published.value('task_correlation', cohort='', trait=name):.3f}" if name else NOT_STUDIED
        ours = f"{row['correlation']:.3f}".replace("-", "−") if np.isfinite(row["correlation"]) else "NA"
        note = f"<small>{escape(row['note'])}</small>" if isinstance(row["note"], str) and row["note"] else ""
        rows.append(
            f'{row_head(readable(row["task"]))}<td class="ours">{ours}{note}</td><td>{whole(row["encoders"])}</td>'
            f'<td class="paper">{stated}</td>'
        )
    head = ["Task", "Correlation with being included", "Encoders", "Paper"]
    return grid("Table 2: is an encoder with a task better", head, rows, nothing="No encoder was judged.")


def _ablation_table(table: pd.DataFrame) -> str:
    tasks = tasks_in(table)
    rows = []
    for row in table.to_dict("records"):
        chosen = [paper_task(task) for task in tasks if row[task] == YES]
        cells = "".join(f"<td>{escape(row[task])}</td>" for task in tasks)
        rows.append(
            f'{row_head(readable(row["encoder"]))}{cells}<td class="ours">{estimate(row, "spearman")}</td>'
            f'<td class="paper">{_stated_of_tasks(chosen, row["repeat"])}</td>'
        )
    head = ["Encoder", *map(readable, tasks), "Spearman", "Paper"]
    return grid("Table 3: every encoder", head, rows, nothing="No encoder was judged.")


def _stated_of_tasks(chosen: Sequence[str | None], repeat: int) -> str:
    if None in chosen or repeat > MOST_REPEATS:
        return NOT_STUDIED
    value = published.value(f"ablation_spearman_{repeat}", cohort="", trait="+".join(map(str, chosen)))
    return f"{value:.3f}" if np.isfinite(value) else NOT_STUDIED


def _means_table(table: pd.DataFrame) -> str:
    rows = []
    for row in table.to_dict("records"):
        spread = f" ± {row['sd']:.3f}" if np.isfinite(row["sd"]) else ""
        mean = f"{row['mean']:.3f}".replace("-", "−")
        rows.append(
            f'{row_head(whole(row["tasks"]))}<td class="ours">{mean}{spread}</td><td>{whole(row["encoders"])}</td>'
        )
    head = ["Tasks", "Mean ± standard deviation", "Encoders"]
    return grid("Fig. 3: by the number of tasks", head, rows, nothing="No encoder was judged.")


def _paper_ablation() -> str:
    table = published.table()
    rows = []
    for row in table[table["quantity"].str.startswith("ablation_spearman_")].itertuples():
        cells = "".join(f'<td class="paper">{"yes" if task in row.trait else "no"}</td>' for task in PAPER_TASKS)
        rows.append(f'{cells}<td class="paper">{row.value:.3f}</td>')
    return grid("The paper's Table 3", [*PAPER_TASKS, "Spearman"], rows, nothing="")


# Encoders


def encoders_page(table: pd.DataFrame) -> str:
    """A self-contained page: each encoder, and its accuracy on validation patches of each task, beside the paper's."""
    style.require(table, ("encoder", "kind", "features", "task", "accuracy", "patches"), what="tables/encoders.tsv")
    tasks = [task for task in in_order(table["task"]) if isinstance(task, str) and task]
    rows = []
    for name, of in table.groupby("encoder", sort=False):
        by_task = of.set_index("task")["accuracy"]
        cells = "".join(
            f'<td class="ours">{_percent(by_task[task]) if task in by_task.index else "–"}</td>' for task in tasks
        )
        first = of.iloc[0]
        patches = whole(float(first["patches"]))
        rows.append(
            f"{row_head(readable(name))}<td>{escape(readable(first['kind']))}</td><td>{whole(first['features'])}</td>"
            f"{cells}<td>{patches if patches != 'NA' else '–'}</td>"
        )
    stated = "".join(f'<td class="paper">{_stated_accuracy(task)}</td>' for task in tasks)
    rows.append(f'{row_head("Paper")}<td class="paper">multitask</td><td class="paper">128</td>{stated}<td></td>')
    head = ["Encoder", "Kind", "Features", *map(readable, tasks), "Validation patches"]
    title = "Neural image compression: encoders"
    lead = f"Accuracy on validation patches of each task that an encoder learnt; – where it learnt none. {OTHER_DATA}"
    paper = [
        f'{row_head(task)}<td class="paper">{_percent(published.value("patch_accuracy", cohort="", trait=task))}</td>'
        for task in PAPER_TASKS
    ]
    return _page(
        title,
        lead,
        [
            grid("Encoders", head, rows, nothing="No encoder was trained."),
            grid("The paper's encoder of four tasks (4.1)", ["Task", "Accuracy"], paper, nothing=""),
        ],
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %" if np.isfinite(share) else "NA"


def _stated_accuracy(task: str) -> str:
    name = paper_task(task)
    return _percent(published.value("patch_accuracy", cohort="", trait=name)) if name else NOT_STUDIED


# Traits


def traits_page(table: pd.DataFrame) -> str:
    """A self-contained page: the chain's traits learnt from tiles and from whole grids, side by side.

    `table`: `tables/traits.tsv`: cohort, trait, model (`tiles`, `grids`), and the columns of `evaluation.table1`.
    """
    columns = [f"{name}{end}" for name in AUCS for end in ("", "_low", "_high")]
    style.require(table, ("cohort", "trait", "model", "note", *columns), what="tables/traits.tsv")
    rows = []
    for (cohort, trait), of in table.groupby(["cohort", "trait"], sort=False):
        by_model = of.set_index("model")
        cells = "".join(
            f'<td class="ours">{_auc_of(by_model.loc[model] if model in by_model.index else None, name)}</td>'
            for name in AUCS
            for model in MODELS
        )
        rows.append(f"{row_head(f'{cohort}: {trait}')}{cells}")
    head = ["Trait", *(f"{words}: {model.lower()}" for words in AUCS.values() for model in MODELS.values())]
    title = "Neural image compression: traits from tiles and from grids"
    lead = (
        "Slide-level AUC of the chain's traits, by the classifiers of tiles and by networks that read a whole"
        " compressed slide; the same labels, patients and sets. Under an AUC: its 95&nbsp;% interval, resampled by"
        " patient. (Not in the paper.)"
    )
    said = table.assign(target=table["cohort"] + ", " + table["trait"], encoder=table["model"])
    return _page(title, lead, [grid("AUC by trait", head, rows, nothing="No trait was learnt."), _notes(said)])


def _auc_of(row: Mapping[str, Any] | None, name: str) -> str:
    if row is None:
        return "not run"
    return estimate({"auc": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}, "auc")
