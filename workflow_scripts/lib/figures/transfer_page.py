"""Table 1 of cross-cancer transfer, and what its cohorts are made of: pages with the paper's values beside ours."""

from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np
import pandas as pd

from workflow_scripts.lib import published
from workflow_scripts.lib.detection_data import COLUMNS
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.figures.origin import in_order, readable
from workflow_scripts.lib.figures.tables import as_page, estimate, grid, notes, p_cell, row_head, whole
from workflow_scripts.lib.figures.transfer import LEVELS, NOT_AVAILABLE, is_missing
from workflow_scripts.lib.splits import TEST, TRAIN, VALIDATION
from workflow_scripts.lib.transfer_scores import OVERALL

SETS = {TRAIN: "training", VALIDATION: "validation", TEST: "held out"}
# In `published.tsv`: the cohorts of 3.1, the pre-trainings of Table 1, and its slides.
PAPER_TARGET, PAPER_SOURCE = "prostate", "CAMELYON16"
PAPER_REGIMES = ("None", "ImageNet", "CAMELYON16")
PAPER_SLIDES = 6


def table1_page(
    table1: pd.DataFrame, tests: pd.DataFrame, regimes: pd.DataFrame, *, in_paper: Mapping[str, str]
) -> str:
    """A self-contained page: Table 1 of ours and of the paper, paired tests, and why what is not there is not.

    `table1`, `tests`, `regimes`: the tables of these names. in_paper: what the paper calls those regimes that it has
    too, one of PAPER_REGIMES; their AUCs over all slides stand beside ours.
    """
    style.require(
        table1, ("regime", "level", "slide", "auc", "low", "high", "n", "positives", "note"), what="tables/table1.tsv"
    )
    columns = ("level", "first", "second", "difference", "low", "high", "p", "p_adjusted", "slides", "note")
    style.require(tests, columns, what="tables/tests.tsv")
    style.require(regimes, ("regime", "note"), what="regimes.tsv")
    title = "Cross-cancer transfer: how well tumour is told"
    lead = (
        "AUC of tumour against all other tissue on the held-out slides, by tile and by pixel. Overall is over the tiles"
        " or pixels of all slides together; beneath it its 95&nbsp;% interval, resampled by slide. The paper's slides"
        " are other ones: no agreement is to be expected."
    )
    parts = [
        _our_table(table1, regimes, in_paper),
        _test_table(tests, regimes, in_paper),
        _paper_table(),
        _notes(table1, tests, regimes),
    ]
    return _page(title, lead, parts)


def cohort_page(table: pd.DataFrame, *, target: str) -> str:
    """A self-contained page: what each cohort is made of, the paper's beside ours (3.1), and the target's slides.

    `table`: `tables/cohort.tsv` (`detection_data.COLUMNS`), in the order of the cohorts.
    """
    style.require(table, tuple(COLUMNS), what="tables/cohort.tsv")
    title = "Cross-cancer transfer: annotated slides"
    lead = (
        "The slides whose tumour is annotated. The share of the image is the outlined area over that of the whole"
        " slide, glass included; tumour tiles are those that the label rule calls so. The paper's slides are other"
        " ones: no agreement is to be expected."
    )
    return _page(title, lead, [_cohort_table(table), _slide_table(table[table["cohort"] == target], target)])


def _page(title: str, lead: str, parts: Sequence[str]) -> str:
    source = f"<p><small>Paper: {escape(published.TRANSFER_PAPER)}</small></p>"
    return as_page(title, f"<h1>{escape(title)}</h1>\n<p>{lead}</p>\n" + "\n".join(parts) + source)


# Table 1


def _our_table(table1: pd.DataFrame, regimes: pd.DataFrame, in_paper: Mapping[str, str]) -> str:
    slides = [name for name in in_order(table1["slide"]) if name != OVERALL]
    known = table1.set_index(["level", "regime", "slide"])
    missing = is_missing(regimes)
    rows = []
    for level, words in LEVELS.items():
        for regime in regimes["regime"]:
            first = row_head(words, rows=len(regimes) + 1) if regime == regimes["regime"].iloc[0] else ""
            if missing[regime]:
                cells = f'<td class="ours" colspan="{len(slides) + 1}">{NOT_AVAILABLE}</td>'
            else:
                found = [known.loc[key] if (key := (level, regime, slide)) in known.index else None for slide in slides]
                cells = "".join(f'<td class="ours">{_auc(row)}</td>' for row in found)
                overall = known.loc[key] if (key := (level, regime, OVERALL)) in known.index else None
                cells += f'<td class="ours"><strong>{estimate(overall, "auc")}</strong></td>'
            theirs = _stated(level, in_paper.get(regime))
            paper = f"{theirs:.3f}" if np.isfinite(theirs) else "not studied"
            rows.append(f'{first}{row_head(readable(regime))}{cells}<td class="paper">{paper}</td>')
        cells = "".join(f"<td><small>{_counted(table1, level, slide)}</small></td>" for slide in (*slides, OVERALL))
        rows.append(f"{row_head('of tumour / all')}{cells}<td></td>")
    head = ["Level", "Pre-training", *(style.short(slide, 24) for slide in slides), "Overall", "Paper, overall"]
    return grid("Table 1: AUC by held-out slide", head, rows, nothing="No regime was judged.")


def _auc(row: Mapping[str, float] | None) -> str:
    return f"{row['auc']:.3f}" if row is not None and np.isfinite(row["auc"]) else "NA"


def _counted(table1: pd.DataFrame, level: str, slide: str) -> str:
    """Tumour and all tiles or pixels of a slide, which are the same for all regimes."""
    rows = table1[(table1["level"] == level) & (table1["slide"] == slide)]
    return f"{whole(rows['positives'].max())} / {whole(rows['n'].max())}"


def _stated(level: str, name: str | None, slide: str = OVERALL) -> float:
    """What the paper's Table 1 has for a pre-training of its own name; NaN for one that it has not."""
    if name is None:
        return float("nan")
    return published.value(f"{level}_auc_{slide}", cohort="", trait=name)


def _test_table(tests: pd.DataFrame, regimes: pd.DataFrame, in_paper: Mapping[str, str]) -> str:
    missing = is_missing(regimes)
    rows = []
    for row in tests.to_dict("records"):
        stated = _stated(row["level"], in_paper.get(row["first"])) - _stated(row["level"], in_paper.get(row["second"]))
        cells = [
            estimate(row, "difference", sign="+"),
            p_cell(row["p"]),
            p_cell(row["p_adjusted"]),
            whole(row["slides"]),
        ]
        ours = "".join(f'<td class="ours">{cell}</td>' for cell in cells)
        if missing[row["first"]] or missing[row["second"]]:
            ours = f'<td class="ours" colspan="{len(cells)}">{NOT_AVAILABLE}</td>'
        paper = f"{stated:+.3f}".replace("-", "−") if np.isfinite(stated) else "not stated"
        pair = f"{readable(row['first'])} − {readable(row['second'])}"
        rows.append(f'{row_head(pair)}<td>{LEVELS[row["level"]].lower()}</td>{ours}<td class="paper">{paper}</td>')
    head = ["Difference of overall AUCs", "Level", "Here", "p", "p (Holm)", "Slides", "Paper"]
    return grid("Paired tests between regimes", head, rows, nothing="No two regimes were compared.")


def _paper_table() -> str:
    slides = [f"slide_{number}" for number in range(1, PAPER_SLIDES + 1)]
    rows = []
    for level, words in LEVELS.items():
        for name in PAPER_REGIMES:
            first = row_head(words, rows=len(PAPER_REGIMES)) if name == PAPER_REGIMES[0] else ""
            cells = "".join(f'<td class="paper">{_stated(level, name, slide):.3f}</td>' for slide in (*slides, OVERALL))
            rows.append(f"{first}{row_head(name)}{cells}")
    head = ["Level", "Pre-training", *(readable(slide).capitalize() for slide in slides), "Overall"]
    return grid("The paper's Table 1", head, rows, nothing="")


def _notes(table1: pd.DataFrame, tests: pd.DataFrame, regimes: pd.DataFrame) -> str:
    """Why regimes are not available, and what the tables say of single values; what is said of many stands once."""
    said = [(readable(row.regime), row.note) for row in regimes.itertuples()]
    gone = {regime for regime, missing in is_missing(regimes).items() if missing}
    said += [
        (f"{readable(row['regime'])}, {LEVELS[row['level']].lower()}, {row['slide']}", row["note"])
        for row in table1.to_dict("records")
        if row["regime"] not in gone
    ]
    said += [
        (f"{readable(row['first'])} − {readable(row['second'])}, {LEVELS[row['level']].lower()}", row["note"])
        for row in tests.to_dict("records")
        if not {row["first"], row["second"]} & gone
    ]
    return notes(said)


# The cohorts


def _cohort_table(table: pd.DataFrame) -> str:
    by_cohort = {name: table[table["cohort"] == name] for name in in_order(table["cohort"])}
    rows = []
    for name, said, theirs in _LINES:
        cells = "".join(f'<td class="ours">{said(of)}</td>' for of in by_cohort.values())
        stated = "".join(f'<td class="paper">{theirs(paper)}</td>' for paper in (PAPER_TARGET, PAPER_SOURCE))
        rows.append(f"{row_head(name)}{cells}{stated}")
    head = ["", *map(readable, by_cohort), f"Paper, {PAPER_TARGET}", f"Paper, {PAPER_SOURCE}"]
    return grid("Annotated slides of each cohort", head, rows if by_cohort else [], nothing="No slide is annotated.")


def _in_sets(of: pd.DataFrame, *names: str) -> str:
    """How many slides are in each of some sets: "17 + 5"."""
    return " + ".join(f"{(of['set'] == name).sum():,}" for name in names)


def _stated_of(paper: str, quantity: str, form: str) -> str:
    value = published.value(quantity, cohort="", trait=paper)
    return form.format(value) if np.isfinite(value) else "not stated"


def _least_to_most(values: pd.Series) -> str:
    """ "4–208", "NA" where none is known."""
    known = values.dropna().astype(float)
    return f"{whole(known.min())}–{whole(known.max())}" if len(known) else "NA"


def _shares(least: float, mean: float, most: float) -> str:
    return f"{100 * least:.1f} · {100 * mean:.1f} · {_percent(most)}" if np.isfinite(mean) else "NA"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _paper_shares(paper: str) -> str:
    found = [published.value(f"tumour_share_{name}", cohort="", trait=paper) for name in ("min", "mean", "max")]
    return _shares(*found) if np.isfinite(found).all() else "not stated"


def _paper_polygons(paper: str) -> str:
    found = [published.value(f"polygons_{name}", cohort="", trait=paper) for name in ("min", "max")]
    return _least_to_most(pd.Series(found)) if np.isfinite(found).all() else "not stated"


def _not_stated(_paper: str) -> str:
    return "not stated"


# Each line of the cohorts' table: its name, what is said of ours, and of the paper's.
_LINES: tuple[tuple[str, Callable[[pd.DataFrame], str], Callable[[str], str]], ...] = (
    ("Slides", lambda of: f"{len(of):,}", lambda paper: _stated_of(paper, "n_slides", "{:.0f}")),
    ("Patients", lambda of: f"{of['patient_id'].nunique():,}", lambda paper: _stated_of(paper, "n_patients", "{:.0f}")),
    (
        "Training + validation slides",
        lambda of: _in_sets(of, TRAIN, VALIDATION),
        lambda paper: _stated_of(paper, "n_training_slides", "{:.0f}"),
    ),
    ("Held-out slides", lambda of: _in_sets(of, TEST), lambda paper: _stated_of(paper, "n_held_out_slides", "{:.0f}")),
    ("Polygons of tumour, least–most", lambda of: _least_to_most(of["polygons"]), _paper_polygons),
    (
        "Of the image, least · mean · most",
        lambda of: _shares(*of["tumour_of_image"].astype(float).agg(["min", "mean", "max"])),
        _paper_shares,
    ),
    ("Tumour, mm²", lambda of: f"{of['tumour_mm2'].sum():,.4g}", _not_stated),
    ("Tissue, mm²", lambda of: f"{of['tissue_mm2'].sum():,.4g}", _not_stated),
    ("Annotated tiles", lambda of: whole(float(of["tiles"].sum())), _not_stated),
    ("Of these tumour", lambda of: whole(float(of["tumour_tiles"].sum())), _not_stated),
    ("Annotations refused", lambda of: f"{of['polygons'].isna().sum():,}", _not_stated),
)


def _slide_table(of: pd.DataFrame, target: str) -> str:
    rows = []
    for row in of.sort_values(["set", "slide_id"], key=_by_set).to_dict("records"):
        if pd.isna(row["polygons"]):
            cells = ["refused", "", f"{row['tissue_mm2']:,.3g}", "", "", ""]
        else:
            cells = [
                whole(float(row["polygons"])),
                f"{row['tumour_mm2']:,.3g}",
                f"{row['tissue_mm2']:,.3g}",
                _percent(row["tumour_of_image"]),
                whole(float(row["tiles"])),
                whole(float(row["tumour_tiles"])),
            ]
        ours = "".join(f'<td class="ours">{cell}</td>' for cell in cells)
        rows.append(f"{row_head(row['slide_id'])}<td>{escape(row['patient_id'])}</td><td>{SETS[row['set']]}</td>{ours}")
    head = [
        "Slide",
        "Patient",
        "Set",
        "Polygons",
        "Tumour, mm²",
        "Tissue, mm²",
        "Of the image",
        "Tiles",
        "Tumour tiles",
    ]
    return grid(f"Slides of {readable(target)}", head, rows, nothing="No slide is annotated.")


def _by_set(column: pd.Series) -> pd.Series:
    """Sets in their order, and slides by name."""
    return column.map(list(SETS).index) if column.name == "set" else column
