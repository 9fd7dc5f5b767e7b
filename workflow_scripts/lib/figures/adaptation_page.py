"""Tables 1 and 2 of microscope adaptation as pages of HTML, with the paper's values beside ours."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.lib import published
from workflow_scripts.lib.adaptation_data import ANY, DOMAINS
from workflow_scripts.lib.adaptation_scores import MEASURES
from workflow_scripts.lib.domains import SOURCE, TARGET
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.figures.adaptation import DOMAIN_WORDS, MEASURE_WORDS, PAPER_DOMAINS, paper_value
from workflow_scripts.lib.figures.origin import in_order, readable
from workflow_scripts.lib.figures.tables import as_page, estimate, grid, notes, p_cell, row_head, whole
from workflow_scripts.lib.splits import TEST, TRAIN, VALIDATION

SETS = {TRAIN: "training", VALIDATION: "validation", TEST: "test"}
# The paper's sets, as `published.tsv` names them; it has no validation set.
PAPER_SETS = {TRAIN: "train", TEST: "test"}
PAPER_CLASSES = ("normal", "adenoma", "adenocarcinoma")
LABELLED = {"source": "slides", "target": "photographs", "both": "both"}


def table1_page(data: pd.DataFrame) -> str:
    """A self-contained page: patches by domain, set and class, with the paper's Table 1 beside ours.

    `data`: `tables/data.tsv`. A class is the paper's where it has its name, whatever the case of its letters.
    """
    style.require(data, ("domain", "set", "class", "patches", "slides", "patients"), what="tables/data.tsv")
    title = "Microscope adaptation: patches"
    lead = (
        "Patches of slides and of photographs by their class. Labelled: those of one of the classes. All: of any label"
        " or none; those of the photographs' training and validation sets are what methods adapt to, without labels."
        " Beneath a number: the slides, or photographs, that have such a patch. The paper has no validation set, and"
        " its images are other ones."
    )
    return _page(title, lead, [_data_table(data), _paper_data()])


def table2_page(
    table2: pd.DataFrame, tests: pd.DataFrame, seeds: pd.DataFrame, methods: Mapping[str, Mapping[str, Any]]
) -> str:
    """A self-contained page: Table 2 of photographs and of slides, paired tests, and what the tables note.

    `table2`, `tests`, `seeds`: the tables of these names. methods: their plain values, by name, in order. Of several
    seeds the mean is shown, with the standard deviation and the range instead of the interval, and the tests are of
    each seed.
    """
    bounds = [f"{measure}{end}" for measure in MEASURES for end in ("", "_low", "_high")]
    style.require(
        table2, ("method", "seed", "domain", *bounds, "patches", "slides", "patients", "note"), what="tables/table2.tsv"
    )
    columns = ("seed", "first", "second", "difference", "low", "high", "p", "p_adjusted", "patients", "note")
    style.require(tests, columns, what="tables/tests.tsv")
    style.require(
        seeds, ("method", "domain", "measure", "seeds", "mean", "sd", "least", "greatest"), what="tables/seeds.tsv"
    )
    number = table2["seed"].nunique()
    beneath = (
        f"Values are means over {number} seeds, with the standard deviation, and beneath them the range"
        if number > 1
        else "Beneath a value: its 95&nbsp;% interval, resampled by patient"
    )
    title = "Microscope adaptation: how well classes of patches are told"
    lead = (
        f"Test patches, in %. Precision, recall and F1 are means over classes. {beneath}. The paper's images are other"
        " ones: no agreement is to be expected."
    )
    parts = [
        _measure_table(table2, seeds, methods, TARGET),
        _measure_table(table2, seeds, methods, SOURCE),
        _test_table(tests, methods, several=number > 1),
        _notes(table2, tests, methods),
    ]
    return _page(title, lead, parts)


def _page(title: str, lead: str, parts: Sequence[str]) -> str:
    source = f"<p><small>Paper: {escape(published.ADAPTATION_PAPER)}</small></p>"
    return as_page(title, f"<h1>{escape(title)}</h1>\n<p>{lead}</p>\n" + "\n".join(parts) + source)


# Table 1


def _data_table(data: pd.DataFrame) -> str:
    classes = [name for name in in_order(data["class"].fillna(ANY)) if name != ANY]
    known = data.assign(**{"class": data["class"].fillna(ANY)}).set_index(["domain", "set", "class"])
    rows = []
    for domain in DOMAINS:
        for place, (of, words) in enumerate(SETS.items()):
            first = row_head(DOMAIN_WORDS[domain].capitalize(), rows=len(SETS) + len(PAPER_SETS)) if place == 0 else ""
            found = [known.loc[key] if (key := (domain, of, name)) in known.index else None for name in classes]
            all_of = known.loc[domain, of, ANY] if (domain, of, ANY) in known.index else None
            labelled = sum(int(row["patches"]) for row in found if row is not None)
            cells = [*map(_counted, found), f"{labelled:,}", _counted(all_of)]
            cells.append(whole(float(all_of["patients"])) if all_of is not None else "NA")
            ours = "".join(f'<td class="ours">{cell}</td>' for cell in cells)
            rows.append(f"{first}<td>{words}</td>{ours}")
            if of in PAPER_SETS:
                stated = [_stated_patches(domain, of, name.lower()) for name in classes]
                total = _stated_patches(domain, of, "total")
                paper = "".join(f'<td class="paper">{text}</td>' for text in (*stated, total, "", ""))
                rows.append(f'<td class="paper">{words}, paper</td>{paper}')
    head = ["", "Set", *map(readable, classes), "Labelled", "All", "Patients"]
    return grid("Table 1: patches", head, rows if classes else [], nothing="No class was given.")


def _counted(row: Mapping[str, Any] | None) -> str:
    return "NA" if row is None else f"{int(row['patches']):,}<small>{int(row['slides']):,}</small>"


def _stated_patches(domain: str, of: str, name: str) -> str:
    """What the paper's Table 1 has for a class of its own name, or for all."""
    if name not in (*PAPER_CLASSES, "total"):
        return "not studied"
    trait = PAPER_DOMAINS[domain].upper()
    return f"{published.value(f'{PAPER_SETS[of]}_patches_{name}', cohort='', trait=trait):,.0f}"


def _paper_data() -> str:
    rows = []
    for domain in DOMAINS:
        trait = PAPER_DOMAINS[domain].upper()
        for of, words in PAPER_SETS.items():
            cells = "".join(f"<td>{_stated_patches(domain, of, name)}</td>" for name in (*PAPER_CLASSES, "total"))
            quantity = "n_test_slides" if of == TEST else "n_slides"
            slides = published.value(quantity, cohort="", trait=trait)
            said = f"{slides:.0f}" if of == TEST else f"{slides:.0f} in both sets"
            rows.append(f"{row_head(trait)}<td>{words}</td>{cells}<td>{said}</td>")
    head = ["Domain", "Set", *(name.capitalize() for name in PAPER_CLASSES), "Total", "Slides"]
    return grid("The paper's Table 1", head, rows, nothing="")


# Table 2


def _measure_table(
    table2: pd.DataFrame, seeds: pd.DataFrame, methods: Mapping[str, Mapping[str, Any]], domain: str
) -> str:
    of_domain = table2[table2["domain"] == domain]
    spread = seeds[seeds["domain"] == domain].set_index(["method", "measure"])
    rows = []
    for name in (name for name in methods if (of_domain["method"] == name).any()):
        of = of_domain[of_domain["method"] == name]
        cells = [f"<td>{LABELLED[methods[name]['labelled']]}</td>"]
        for measure in MEASURES:
            ours = _over_seeds(spread.loc[name, measure]) if len(of) > 1 else _percent(of.iloc[0], measure)
            cells.append(f'<td class="ours">{ours}</td>')
        stated = [paper_value(methods, name, domain, measure) for measure in MEASURES]
        if np.isfinite(stated).all():
            cells += [f'<td class="paper">{100 * value:.2f}</td>' for value in stated]
        else:
            cells.append(f'<td class="paper" colspan="{len(MEASURES)}">not studied</td>')
        rows.append(row_head(methods[name]["title"]) + "".join(cells))
    theirs = [f"Paper: {word.lower() if word != 'F1' else word}" for word in MEASURE_WORDS.values()]
    counts = of_domain[["patches", "slides", "patients"]].max() if len(of_domain) else [np.nan] * 3
    patches, slides, patients = map(float, counts)
    caption = (
        f"Table 2: {DOMAIN_WORDS[domain]} ({whole(patches)} patches of {whole(slides)} {DOMAIN_WORDS[domain]}, "
        f"{whole(patients)} patients)"
    )
    head = ["Method", "Labels of", *MEASURE_WORDS.values(), *theirs]
    return grid(caption, head, rows, nothing="No method was judged.")


def _percent(row: Mapping[str, Any], measure: str) -> str:
    """ "90.5" with its interval beneath."""
    if not np.isfinite(row[measure]):
        return "NA"
    low, high = (100 * row[f"{measure}_{end}"] for end in ("low", "high"))
    between = f"<small>{low:.1f}–{high:.1f}</small>" if np.isfinite([low, high]).all() else ""
    return f"{100 * row[measure]:.1f}{between}"


def _over_seeds(row: Mapping[str, Any]) -> str:
    """ "90.5 ± 0.8" with the range beneath."""
    if not np.isfinite(row["mean"]):
        return "NA"
    between = f"<small>{100 * row['least']:.1f}–{100 * row['greatest']:.1f}</small>"
    return f"{100 * row['mean']:.1f} ± {100 * row['sd']:.1f}{between}"


def _test_table(tests: pd.DataFrame, methods: Mapping[str, Mapping[str, Any]], *, several: bool) -> str:
    rows = []
    for row in tests.to_dict("records"):
        pair = [row["first"], row["second"]]
        values = (paper_value(methods, name, TARGET, "f1") for name in pair)
        stated = np.subtract(*values)
        paper = f"{stated:+.3f}".replace("-", "−") if np.isfinite(stated) else "not stated"
        cells = [estimate(row, "difference", sign="+"), p_cell(row["p"]), p_cell(row["p_adjusted"])]
        ours = "".join(f'<td class="ours">{cell}</td>' for cell in (*cells, whole(row["patients"])))
        seed = f"<td>{row['seed']}</td>" if several else ""
        titles = " − ".join(methods[name]["title"] for name in pair)
        rows.append(f'{row_head(titles)}{seed}{ours}<td class="paper">{paper}</td>')
    head = ["Difference of F1", *(["Seed"] if several else []), "Here", "p", "p (Holm)", "Patients", "Paper"]
    caption = f"Paired tests on {DOMAIN_WORDS[TARGET]}"
    return grid(caption, head, rows, nothing="No two methods were compared.")


def _notes(table2: pd.DataFrame, tests: pd.DataFrame, methods: Mapping[str, Mapping[str, Any]]) -> str:
    """What the tables say of single values; what is said of many stands once."""
    said = [
        (f"{methods[row['method']]['title']}, {DOMAIN_WORDS[row['domain']]}", row["note"])
        for row in table2.to_dict("records")
    ]
    said += [
        (" − ".join(methods[row[name]]["title"] for name in ("first", "second")), row["note"])
        for row in tests.to_dict("records")
    ]
    return notes(said)
