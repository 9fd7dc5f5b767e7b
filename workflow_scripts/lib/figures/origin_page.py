"""How well the origin of metastases is told, as a page of HTML, with the paper's values beside ours."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.lib import published
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.figures.origin import LEVELS, MACRO, SHOWN_K, STATED_K, in_order, readable
from workflow_scripts.lib.figures.tables import as_page, estimate, grid, p_cell, row_head, whole


def auroc_page(auroc: pd.DataFrame, tests: pd.DataFrame, top_k: pd.DataFrame) -> str:
    """A self-contained page of the metastatic origin study: AUROCs by regime and class, paired tests, top-k shares.

    `auroc`, `tests`, `top_k`: the tables of these names. The paper's means, and its shares of slides whose true class
    is the first or among the first six, stand beside ours; a regime that it has not is without. It does not say whether
    its means are of tiles or of slides. An AUROC or a test that is not there gives its reason.
    """
    columns = ("regime", "class", "level", "auroc", "low", "high", "n", "positives", "note")
    style.require(auroc, columns, what="tables/auroc.tsv")
    style.require(
        tests,
        ("level", "first", "second", "difference", "low", "high", "p", "p_adjusted", "patients", "note"),
        what="tables/tests.tsv",
    )
    style.require(top_k, ("regime", "k", "share", "low", "high", "n"), what="tables/top_k.tsv")
    regimes = in_order(auroc["regime"])
    theirs = {regime: published.value("mean_auroc", cohort="", trait=regime) for regime in regimes}
    title = "Metastatic origin: how well each class is told"
    lead = (
        "One class against all others, on held-out slides of metastases; a slide's probabilities are the mean of its"
        " tiles'. Beneath a value: its 95&nbsp;% interval, resampled by patient. The paper's slides are other ones, and"
        " it does not say whether its means are of tiles or of slides: no agreement is to be expected."
    )
    parts = [
        _mean_table(auroc, regimes, theirs),
        _test_table(tests, theirs),
        _class_table(auroc, regimes),
        _top_k_table(top_k),
        _notes(auroc, tests),
    ]
    source = f"<p><small>Paper: {escape(published.ORIGIN_PAPER)}</small></p>"
    return as_page(title, f"<h1>{escape(title)}</h1>\n<p>{lead}</p>\n" + "\n".join(parts) + source)


def _mean_table(auroc: pd.DataFrame, regimes: Sequence[str], theirs: Mapping[str, float]) -> str:
    means = auroc[auroc["class"] == MACRO].set_index(["regime", "level"])
    rows = []
    for regime in regimes:
        found = [means.loc[key] if (key := (regime, level)) in means.index else None for level in LEVELS]
        ours = "".join(f'<td class="ours">{estimate(row, "auroc")}</td>' for row in found)
        rows.append(f'{row_head(readable(regime))}{ours}<td class="paper">{_paper_mean(theirs[regime])}</td>')
    head = ["Regime", *(f"{words.capitalize()}, here" for words, _ in LEVELS.values()), "Paper"]
    return grid("Mean AUROC of the classes", head, rows, nothing="No regime was evaluated.")


def _test_table(tests: pd.DataFrame, theirs: Mapping[str, float]) -> str:
    rows = []
    for row in tests.to_dict("records"):
        stated = theirs.get(row["first"], np.nan) - theirs.get(row["second"], np.nan)
        pair = f"{readable(row['first'])} − {readable(row['second'])}"
        cells = [
            estimate(row, "difference", sign="+"),
            p_cell(row["p"]),
            p_cell(row["p_adjusted"]),
            whole(row["patients"]),
        ]
        ours = "".join(f'<td class="ours">{cell}</td>' for cell in cells)
        level = LEVELS[row["level"]][0]
        paper = f"{stated:+.3f}".replace("-", "−") if np.isfinite(stated) else "not stated"
        rows.append(f'{row_head(pair)}<td>{level}</td>{ours}<td class="paper">{paper}</td>')
    head = ["Difference of mean AUROCs", "Level", "Here", "p", "p (Holm)", "Patients", "Paper"]
    return grid("Paired tests between regimes", head, rows, nothing="No two regimes were compared.")


def _class_table(auroc: pd.DataFrame, regimes: Sequence[str]) -> str:
    known = auroc.set_index(["class", "level", "regime"])
    rows = []
    for name in (name for name in in_order(auroc["class"]) if name != MACRO):
        for level, (words, _) in LEVELS.items():
            found = [known.loc[key] if (key := (name, level, regime)) in known.index else None for regime in regimes]
            on = next((f"{whole(row['positives'])} of {whole(row['n'])}" for row in found if row is not None), "NA")
            cells = "".join(f'<td class="ours">{estimate(row, "auroc")}</td>' for row in found)
            first = row_head(readable(name), rows=len(LEVELS)) if level == next(iter(LEVELS)) else ""
            rows.append(f"{first}<td>{words}</td><td>{on}</td>{cells}")
    head = ["Class", "Level", "Of the class", *map(readable, regimes)]
    return grid("AUROC by class", head, rows, nothing="No class was evaluated.")


def _top_k_table(top_k: pd.DataFrame) -> str:
    shown = [k for k in SHOWN_K if (top_k["k"] == k).any()]
    rows = []
    for regime in in_order(top_k["regime"]):
        known = top_k[top_k["regime"] == regime].set_index("k")
        cells = "".join(f'<td class="ours">{_percent(known.loc[k] if k in known.index else None)}</td>' for k in shown)
        rows.append(f"{row_head(readable(regime))}<td>{whole(known['n'].max())}</td>{cells}")
    if rows:
        stated = {k: published.value(f"top_{k}_share", cohort="") for k in STATED_K}
        texts = [f"{100 * stated[k]:.0f} %" if k in stated else "not stated" for k in shown]
        cells = "".join(f'<td class="paper">{text}</td>' for text in texts)
        rows.append(f'{row_head("paper")}<td class="paper"></td>{cells}')
    head = ["Regime", "Slides", *(f"first {k}" if k > 1 else "first" for k in shown)]
    return grid("Slides whose true class is among the first k", head, rows, nothing="No slide was predicted.")


def _percent(row: Mapping[str, Any] | None) -> str:
    if row is None or not np.isfinite(row["share"]):
        return "NA"
    known = np.isfinite([row["low"], row["high"]]).all()
    interval = f"<small>{100 * row['low']:.0f}–{100 * row['high']:.0f}</small>" if known else ""
    return f"{100 * row['share']:.0f} %{interval}"


def _paper_mean(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "not studied"


def _notes(auroc: pd.DataFrame, tests: pd.DataFrame) -> str:
    """What the tables say of single values, each once for all regimes."""
    said = [(row["class"], row["level"], row["note"]) for row in auroc.to_dict("records")]
    said += [(f"{row['first']} − {row['second']}", row["level"], row["note"]) for row in tests.to_dict("records")]
    items = [
        f"<li><strong>{escape(readable(what))}, {LEVELS[level][0]}</strong>: {escape(note)}</li>"
        for what, level, note in dict.fromkeys(said)
        if isinstance(note, str) and note
    ]
    return f"<h2>Notes</h2>\n<ul>{''.join(items)}</ul>\n" if items else ""
