"""What microscope adaptation learns from and is judged on: the patches of either domain by set and class.

A patch is a tile that models see, of a slide or of a photograph. Its class is its label in the slide's table of labels
(`annotations/tiles/<slide>.tsv`), or the one class that its slide has in the sheet of a cohort without annotations; a
patch of another label has none. Source: microscope adaptation, 3 and Table 1.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.lib import files, tile_sources
from workflow_scripts.lib.domains import SOURCE, TARGET
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.splits import TEST, TRAIN, VALIDATION
from workflow_scripts.lib.tile_sources import TileSource
from workflow_scripts.lib.tumour_filters import labels_of

log = logging.getLogger(__name__)

DOMAINS = (SOURCE, TARGET)
SETS = (TRAIN, VALIDATION, TEST)
# The place of a patch without a class among the classes, and what stands for the class of patches of any label.
NO_CLASS = -1
ANY = ""


def slide_key(slide: Mapping[str, str]) -> str:
    """By what a slide is known: cohort and slide_id, since the two cohorts may call slides alike."""
    return f"{slide['cohort']}/{slide['slide_id']}"


def classes_of(
    coords: np.ndarray,
    slide: Mapping[str, str],
    *,
    classes: Sequence[str],
    paths_to_labels: Mapping[str, str | Path],
    slide_labels: Mapping[str, str],
) -> np.ndarray:
    """The place among `classes`, (n,) int64, of each patch at coords (n, 2), column and row; NO_CLASS for none.

    slide: cohort and slide_id. paths_to_labels: the table of labels of each slide that has one; slide_labels: the class
    of slides that have one for all their patches; both by `slide_key`. A slide in neither has no class, nor has one
    whose annotations were refused. Raises InputError where a table lacks a patch.
    """
    key, places = slide_key(slide), {name: place for place, name in enumerate(classes)}
    none = np.full(len(coords), NO_CLASS)
    if key not in paths_to_labels:
        return np.full(len(coords), places.get(slide_labels.get(key), NO_CLASS))
    table = files.read_table(paths_to_labels[key], text=["slide_id", "label"])
    if table.empty:
        return none
    table["label"] = table["label"].map(places).fillna(NO_CLASS)
    try:
        return labels_of(table, coords)
    except InputError as error:
        raise InputError(f"{paths_to_labels[key]}: {error}; label the tiles again") from error


def describe(
    slides: Sequence[Mapping[str, str]],
    sources: Sequence[TileSource],
    *,
    classes: Sequence[str],
    paths_to_labels: Mapping[str, str | Path],
    slide_labels: Mapping[str, str],
) -> pd.DataFrame:
    """The table `data.tsv`: domain, set, class, patches, slides, patients, of every domain, set and class in order.

    After the classes of a set comes a row without class (ANY): all its patches, whatever their label. In training and
    validation of the target these are the unlabelled patches that methods adapt to. slides, patients: those that have
    such a patch.

    slides: domain, set, cohort, slide_id and patient_id of each slide that takes part; sources: their tiles, in the
    same order. The rest is as in `classes_of`. Raises InputError as `check_patients` does, and for an unknown domain or
    set. (Paper: microscope adaptation, Table 1.)
    """
    check_patients(slides)
    names, counted = [*classes, ANY], []
    for slide, source in zip(slides, sources, strict=True):
        seen, _ = tile_sources.places(source)
        found = classes_of(seen, slide, classes=classes, paths_to_labels=paths_to_labels, slide_labels=slide_labels)
        numbers = [*np.bincount(found[found != NO_CLASS], minlength=len(classes)), len(found)]
        about = {key: slide[key] for key in ("domain", "set", "cohort", "slide_id", "patient_id")}
        counted += [about | {"class": name, "patches": n} for name, n in zip(names, numbers, strict=True) if n]
    columns = ["domain", "set", "cohort", "slide_id", "patient_id", "class", "patches"]
    table = pd.DataFrame(counted, columns=columns)
    rows = []
    for domain in DOMAINS:
        for set_name in SETS:
            of_set = table[(table["domain"] == domain) & (table["set"] == set_name)]
            for name in names:
                of = of_set[of_set["class"] == name]
                rows.append((domain, set_name, name, int(of["patches"].sum()), len(of), of["patient_id"].nunique()))
            log.info("%s, %s: %d patches of %d slides", *rows[-1][:2], *rows[-1][3:5])
    return pd.DataFrame(rows, columns=["domain", "set", "class", "patches", "slides", "patients"])


def check_patients(slides: Sequence[Mapping[str, str]]) -> None:
    """Raise InputError where a patient is tested and learnt from, be it in the other domain; or a set is unknown.

    Slides and photographs may be of the same patients (Paper: 3), whose tissue must not be on both sides. slides:
    domain, set and patient_id of each.
    """
    for key, known in (("domain", DOMAINS), ("set", SETS)):
        unknown = sorted({slide[key] for slide in slides} - set(known))
        if unknown:
            raise InputError(f"slides of the study: expected a {key} of {', '.join(known)}, found {unknown[0]!r}")
    tested = {slide["patient_id"] for slide in slides if slide["set"] == TEST}
    both = sorted({slide["patient_id"] for slide in slides if slide["set"] != TEST} & tested)
    if both:
        raise InputError(
            f"expected each patient in the {TEST} set of both cohorts or of neither, found {len(both)} in the {TEST} "
            f"set of one and learnt from in the other, the first is {both[0]}; give both cohorts one split "
            "(cohorts.<name>.split)"
        )
