"""The study of metastatic origin: which slides it uses, of which class and domain, and in which set.

Source: metastatic origin (Schau et al. 2020), 2.1 and Fig. 2A.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from workflow_scripts.lib.domains import DOMAINS, METASTATIC, PRIMARY
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.splits import TEST, TRAIN, VALIDATION

log = logging.getLogger(__name__)

SETS = (TRAIN, VALIDATION, TEST)
# What stands beside the classes' names in the tables of their predictions.
TAKEN = ("macro", "regime", "slide_id", "patient_id", "class", "tiles")
COLUMNS = ["slide_id", "patient_id", "class", "domain", "set", "reason"]
_REMEDY = "add slides of it, or give both cohorts a split (cohorts.<name>.split) that spreads its patients"


def select_slides(
    sheets: Mapping[str, pd.DataFrame],
    splits: Mapping[str, pd.DataFrame],
    *,
    classes: Sequence[str],
    control: str | None,
    balanced: bool,
    seed: int,
) -> pd.DataFrame:
    """The table `slides.tsv`: COLUMNS, a row for each listed slide, primaries first, in the order of the sheets.

    sheets, splits: of each of DOMAINS, a slide sheet (`cohorts`) and its table of splits, whose first round counts.
    `set` is that of the patient; a slide that is not used has none, and a `reason`: it has no class, or one that is not
    among `classes` and not `control`; its patient takes no part; or it is a primary slide beyond the number of
    metastatic slides of its class in its set (`balanced`), chosen by a hash of `seed` and its name.

    Raises InputError for a class that has the name of a column (TAKEN), when a patient is in one set by one cohort's
    split and in another by the other's, when a slide is in both cohorts, and when a class lacks training slides in a
    domain.
    """
    check_names(classes)
    tables = [_of_domain(domain, sheets[domain], splits[domain], [*classes, control]) for domain in DOMAINS]
    table = pd.concat(tables, ignore_index=True)
    _check_slides(table)
    _check_patients(table)
    if balanced:
        table = _balanced(table, list(classes), seed)
    used = table[table["reason"] == ""]
    _check_classes(used, classes)
    for (domain, name), slides in used.groupby(["domain", "set"], sort=False):
        log.info("%s, %s: %d slides of %d classes", domain, name, len(slides), slides["class"].nunique())
    return table


def check_names(classes: Sequence[str]) -> None:
    """Raise InputError for a class that has the name of a column of the tables."""
    taken = [name for name in classes if name in TAKEN]
    if taken:
        raise InputError(f"expected names of classes that no column has, found {', '.join(taken)}; rename the class")


def labels_of_set(table: pd.DataFrame, classes: Sequence[str], *, domain: str, name: str) -> dict[str, int]:
    """The slides of a domain and set that models learn from or are judged on: the place of its class, by slide id."""
    chosen = table[(table["domain"] == domain) & (table["set"] == name) & table["class"].isin(classes)]
    places = {word: place for place, word in enumerate(classes)}
    return {row.slide_id: places[row.label] for row in chosen.rename(columns={"class": "label"}).itertuples()}


def describe_data(slides: pd.DataFrame, *, classes: Sequence[str], control: str | None) -> pd.DataFrame:
    """The table `data.tsv` (Fig. 2A): class, domain, and the slides, patients and tiles that are used.

    slides: patient_id, class and domain of each used slide, and how many of its tiles models see. One that has none,
    since it could not be tiled or shows no tumour, counts as `without_tiles` alone. Classes are in their order and the
    control last, each with both domains, primaries first.
    """
    rows = []
    for name in [*classes, *([control] if control else [])]:
        for domain in DOMAINS:
            of = slides[(slides["class"] == name) & (slides["domain"] == domain)]
            seen = of[of["tiles"] > 0]
            counts = len(seen), seen["patient_id"].nunique(), int(seen["tiles"].sum()), len(of) - len(seen)
            rows.append((name, domain, *counts))
    return pd.DataFrame(rows, columns=["class", "domain", "slides", "patients", "tiles", "without_tiles"])


def shuffled(labels: Mapping[str, int], *, seed: int) -> dict[str, int]:
    """The same labels, dealt to the same slides anew: a negative control."""
    dealt = np.random.default_rng([seed, len(labels)]).permutation(list(labels.values()))
    return dict(zip(labels, dealt.tolist(), strict=True))


def _of_domain(domain: str, sheet: pd.DataFrame, split: pd.DataFrame, known: list[str | None]) -> pd.DataFrame:
    listed = sheet[sheet["status"] == "listed"]
    sets = dict(zip(split["patient_id"], split["round_1"].where(split["set"] != TEST, TEST), strict=True))
    table = listed[["slide_id", "patient_id", "class"]].assign(domain=domain, set=listed["patient_id"].map(sets))
    strange = ~table["class"].isin([name for name in known if name])
    table["reason"] = ""
    table.loc[table["set"] == "", "reason"] = "the split gives the patient no part"
    table.loc[strange, "reason"] = [
        f"class {name} is not among those of the study" if name else "the sheet gives no class"
        for name in table.loc[strange, "class"]
    ]
    table.loc[table["reason"] != "", "set"] = ""
    return table[COLUMNS].reset_index(drop=True)


def _balanced(table: pd.DataFrame, classes: list[str], seed: int) -> pd.DataFrame:
    table = table.copy()
    used = table[(table["reason"] == "") & table["class"].isin(classes)]
    for (name, place), slides in used.groupby(["class", "set"], sort=False):
        primary = slides[slides["domain"] == PRIMARY]
        most = len(slides) - len(primary)
        in_order = sorted(primary.index, key=lambda row: _draw(seed, table.at[row, "slide_id"]))
        table.loc[in_order[most:], ["set", "reason"]] = ("", f"balanced: {most} metastatic slides of {name} in {place}")
    return table


def _draw(seed: int, slide_id: str) -> str:
    return hashlib.sha256(f"{seed}:balanced:{slide_id}".encode()).hexdigest()


def _check_slides(table: pd.DataFrame) -> None:
    twice = table.loc[table["slide_id"].duplicated(), "slide_id"].tolist()
    if twice:
        raise InputError(
            f"{len(twice)} slides are in both cohorts, the first of them {twice[0]}; name them apart (slide_id)"
        )


def _check_patients(table: pd.DataFrame) -> None:
    sets = table[table["set"] != ""].groupby("patient_id")["set"].nunique()
    torn = sets.index[sets > 1].tolist()
    if torn:
        raise InputError(
            f"{len(torn)} patients are in one set by one cohort's split and in another by the other's, the first of "
            f"them {torn[0]}; give both cohorts one split (cohorts.<name>.split)"
        )


def _check_classes(used: pd.DataFrame, classes: Sequence[str]) -> None:
    counts = used.groupby(["domain", "set", "class"]).size()
    # Metastases first: without them balancing leaves no primaries.
    for domain in (METASTATIC, PRIMARY):
        lacking = [name for name in classes if (domain, TRAIN, name) not in counts.index]
        if lacking:
            raise InputError(f"{domain}: no training slide of {', '.join(lacking)}; {_REMEDY}")
        if not any((domain, VALIDATION, name) in counts.index for name in classes):
            raise InputError(f"{domain}: no validation slide of any class; {_REMEDY}")
    untested = [name for name in classes if (METASTATIC, TEST, name) not in counts.index]
    if len(untested) == len(classes):
        raise InputError(f"no held-out metastatic slide of any class; {_REMEDY}")
    if untested:
        log.warning("no held-out metastatic slide, and so no AUROC, of %s: %s", ", ".join(untested), _REMEDY)
