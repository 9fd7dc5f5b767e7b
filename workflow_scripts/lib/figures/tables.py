"""Table 1 as a page of HTML: our AUCs with their intervals, and the paper's beside them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.lib import published
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.files import writing

BOLD_FROM = 0.6
COLUMNS = {
    "mean_test_auc": "Test, mean of the rounds (range)",
    "ensemble_test_auc": "Test, ensemble",
    "ensemble_ood_near_auc": "OOD-near, ensemble",
    "ensemble_ood_all_auc": "OOD-all, ensemble",
}
NUMBERS = {
    "mean_test_auc": "n_test",
    "ensemble_test_auc": "n_ensemble_test",
    "ensemble_ood_near_auc": "n_ensemble_ood_near",
    "ensemble_ood_all_auc": "n_ensemble_ood_all",
}
_CSS = """
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: #222; background: #fff;
  margin: 1.5rem auto; max-width: 75rem; padding: 0 1rem; }
h1 { font-size: 1.3rem; } p { max-width: 60rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 1.2rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .4rem 0; }
th, td { padding: .35rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd; }
thead th { border-bottom: 2px solid #555; font-weight: 600; }
tbody th { font-weight: 600; white-space: nowrap; }
td.paper { color: #0b5f53; background: #f1f8f6; white-space: nowrap; }
td.ours { white-space: nowrap; }
small { color: #595959; display: block; }
@media print { body { margin: 0; max-width: none; font-size: 9pt; } }
"""

# What one note is of is named up to so many times.
MOST_NAMED = 4


def table1(frame: pd.DataFrame, *, cohort: str) -> str:
    """A self-contained page: `evaluation/table1.tsv` of `cohort`, with the values of the paper's Table 1 beside it.

    For a cohort of the paper, its traits that were not run here are rows too. For another cohort no agreement is to be
    expected; the paper's tables stand beneath ours. AUCs of at least 0.6 are bold, as in the paper.
    """
    style.require(frame, ("trait",), what="evaluation/table1.tsv")
    known = published.has(cohort)
    body = [_our_table(frame, cohort, paper=known)]
    if not known:
        body += [_paper_table(name) for name in published.cohorts()]
        relation = (
            "This cohort is none of the paper's: its values are printed beneath, and no agreement is to be expected."
        )
    else:
        relation = "The paper's values stand beside ours."
    title = f"Slide-level AUC: {cohort}"
    lead = (
        f"A slide's score is the share of its tiles classified as positive. {relation} AUCs of at least {BOLD_FROM:g}"
        " are bold. Under an AUC of ours: its 95&nbsp;% interval, resampled by patient, and the number of slides."
    )
    noted = _notes(frame)
    source = f"<p><small>Paper: {escape(published.PAPER)}</small></p>"
    return as_page(title, f"<h1>{escape(title)}</h1>\n<p>{lead}</p>\n" + "\n".join(body) + noted + source)


def save_page(page: str, path: str | Path, *, made_by: Mapping[str, Any]) -> None:
    """Write a page, with what made it (settings, code version, ...) as JSON in its head."""
    made = escape(json.dumps(made_by, sort_keys=True, default=str), quote=True)
    with writing(path) as partial:
        partial.write_text(
            page.replace("</head>", f'<meta name="made-by" content="{made}">\n</head>', 1), encoding="utf-8"
        )


def _our_table(frame: pd.DataFrame, cohort: str, *, paper: bool) -> str:
    ours = {row["trait"]: row for row in frame.to_dict("records")}
    theirs = {row["trait"]: row for row in published.table1(cohort).to_dict("records")} if paper else {}
    rows = []
    for trait, row in ours.items():
        match = next((other for other in theirs if published.same_trait(trait, other)), None)
        rows.append((trait, row, theirs.pop(match) if match else None))
    rows += [(trait, None, row) for trait, row in theirs.items()]
    cells = []
    for trait, row, other in rows:
        line = [f'<th scope="row">{escape(str(trait))}</th>']
        for column in COLUMNS:
            line.append(f'<td class="ours">{_our_cell(row, column)}</td>')
            if paper:
                line.append(f'<td class="paper">{_paper_cell(other, column)}</td>')
        cells.append(f"<tr>{''.join(line)}</tr>")
    if not cells:
        cells = [f'<tr><td colspan="{1 + len(COLUMNS)}">No trait was evaluated.</td></tr>']
    return _table(f"{cohort}: test and out-of-distribution sets", ("Here", "Paper") if paper else ("Here",), cells)


def _paper_table(cohort: str) -> str:
    cells = []
    for row in published.table1(cohort).to_dict("records"):
        tds = "".join(f'<td class="paper">{_paper_cell(row, column)}</td>' for column in COLUMNS)
        cells.append(f'<tr><th scope="row">{escape(row["trait"])}</th>{tds}</tr>')
    return _table(f"The paper's Table 1: TCGA-{cohort}", ("Paper",), cells)


def _table(caption: str, whose: Sequence[str], rows: Sequence[str]) -> str:
    span = len(whose)
    groups = "".join(f'<th scope="colgroup" colspan="{span}">{escape(name)}</th>' for name in COLUMNS.values())
    sides = "".join(f'<th scope="col">{side}</th>' for _ in COLUMNS for side in whose)
    colgroups = "<colgroup></colgroup>" + f'<colgroup span="{span}"></colgroup>' * len(COLUMNS)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption, quote=True)}"><table>'
        f"<caption>{escape(caption)}</caption>{colgroups}\n"
        f'<thead><tr><th scope="col" rowspan="2">Trait</th>{groups}</tr>\n<tr>{sides}</tr></thead>\n'
        f"<tbody>\n{chr(10).join(rows)}\n</tbody></table></div>"
    )


def _our_cell(row: Mapping[str, Any] | None, column: str) -> str:
    if row is None:
        return "not run"
    text = _auc(row.get(column))
    if column == "mean_test_auc" and text != "NA":
        text += f" ({_plain(row.get('min_test_auc'))}–{_plain(row.get('max_test_auc'))})"
    below = []
    low, high = row.get(f"{column}_low", np.nan), row.get(f"{column}_high", np.nan)
    if np.isfinite(low) and np.isfinite(high):
        below.append(f"{low:.2f}–{high:.2f}")
    number = row.get(NUMBERS[column], np.nan)
    if np.isfinite(number):
        below.append(f"n = {number:.0f}")
    return text + (f"<small>{', '.join(below)}</small>" if below else "")


def _paper_cell(row: Mapping[str, Any] | None, column: str) -> str:
    if row is None:
        return "not studied"
    text = _auc(row[column])
    if column == "mean_test_auc":
        text += f" ({_plain(row['min_test_auc'])}–{_plain(row['max_test_auc'])})"
    if column == "ensemble_test_auc" and np.isfinite(row["n_test"]):
        text += f"<small>n = {row['n_test']:.0f}</small>"
    return text


def _auc(auc: Any) -> str:
    text = _plain(auc)
    return f"<strong>{text}</strong>" if text != "NA" and auc >= BOLD_FROM else text


def _plain(auc: Any) -> str:
    return f"{auc:.2f}" if auc is not None and np.isfinite(auc) else "NA"


def _notes(frame: pd.DataFrame) -> str:
    if "note" not in frame:
        return ""
    said = [(row.trait, str(row.note)) for row in frame.itertuples() if isinstance(row.note, str) and row.note]
    items = "".join(f"<li><strong>{escape(str(trait))}</strong>: {escape(note)}</li>" for trait, note in said)
    return f"<h2>NA, and why</h2>\n<ul>{items}</ul>\n" if items else ""


def as_page(title: str, body: str) -> str:
    """A page of HTML that stands by itself, and looks as all of ours do."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def grid(caption: str, head: Sequence[str], rows: Sequence[str], *, nothing: str) -> str:
    """A table of a header and of rows of cells; of none it says so."""
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = [f"<tr>{row}</tr>" for row in rows] or [f'<tr><td colspan="{len(head)}">{nothing}</td></tr>']
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption, quote=True)}"><table>'
        f"<caption>{escape(caption)}</caption>\n<thead><tr>{columns}</tr></thead>\n"
        f"<tbody>\n{chr(10).join(lines)}\n</tbody></table></div>"
    )


def row_head(name: str, rows: int = 1) -> str:
    """The cell with the name of a row, or of several."""
    span = f' rowspan="{rows}"' if rows > 1 else ""
    return f'<th scope="row"{span}>{escape(name)}</th>'


def estimate(row: Mapping[str, Any] | None, column: str, *, sign: str = "") -> str:
    """The value in a column with its interval (low, high) beneath; with `sign` "+" also what is above zero has one."""
    if row is None or not np.isfinite(row[column]):
        return "NA"
    text = f"{row[column]:{sign}.3f}"
    if np.isfinite([row["low"], row["high"]]).all():
        between = " to " if sign or row["low"] < 0 else "–"
        text += f"<small>{row['low']:{sign}.3f}{between}{row['high']:{sign}.3f}</small>"
    return text.replace("-", "−")


def p_cell(p: float) -> str:
    """A p value, or NA."""
    return escape(style.p_text(p).removeprefix("p = ").removeprefix("p ")) if np.isfinite(p) else "NA"


def whole(number: float) -> str:
    """A number of things, or NA."""
    return f"{number:,.0f}" if np.isfinite(number) else "NA"


def notes(said: Iterable[tuple[str, object]]) -> str:
    """A list of what tables note, '' where they note nothing: what each note is of, and the note, which stands once."""
    by_note: dict[str, dict[str, None]] = {}
    for what, note in said:
        if isinstance(note, str) and note:
            by_note.setdefault(note, {})[what] = None
    items = [f"<li><strong>{_first_few(list(of))}</strong>: {escape(note)}</li>" for note, of in by_note.items()]
    return f"<h2>Notes</h2>\n<ul>{''.join(items)}</ul>\n" if items else ""


def _first_few(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return escape("; ".join(names[:MOST_NAMED]) + more)
