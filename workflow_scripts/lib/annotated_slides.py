"""Slides with their annotations: whether these can be used, the labels of the tiles, and the tables of a cohort.

A file that cannot be used is refused with its reason, and its slide has no labelled tile: one bad file never stops a
cohort, and never makes background of what somebody drew.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely

from workflow_scripts.lib import tiles
from workflow_scripts.lib.annotations import BACKGROUND, EXCLUSIONS, SHARE_DECIMALS, Annotations, label_tiles
from workflow_scripts.lib.annotations import read_annotations as read_file
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.tiles import Lattice

log = logging.getLogger(__name__)

READ = "read"
REFUSED = "refused"

# What is the same in all rows of a slide, and its text.
SLIDE_COLUMNS = ("slide_id", "file", "form", "status", "reason", "n_left_out", "n_tiles", "n_labelled")
TEXT = ("slide_id", "file", "form", "status", "reason", "class")


@dataclass(frozen=True)
class AnnotatedSlide:
    """A slide and the file of annotations that belongs to it.

    file: its name. annotations: None where it cannot be used, and `reason` says why; else `reason` says what to look
    at, or is empty. coords: (n, 2) int32, column and row of the slide's tiles on `lattice`. thumbnail: JPEG, or empty.
    width, height: level-0 px.
    """

    slide_id: str
    file: str
    annotations: Annotations | None
    reason: str
    lattice: Lattice
    coords: np.ndarray
    width: int
    height: int
    thumbnail: bytes


# One slide


def read_slide(
    path_to_annotations: str | Path, path_to_store: str | Path, *, classes: Mapping[str, str]
) -> AnnotatedSlide:
    """Read a slide's annotations, and from its tile store what they lie on.

    classes: the label of each class, as for `annotations.label_tiles`. One that has a label is no exclusion, whatever
    its name. Annotations are refused where `annotations.read_annotations` refuses the file, where the slide is
    excluded, and where every region lies outside the slide.

    Raises InputError when the store is not one.
    """
    with tiles.open_store(path_to_store) as store:
        attributes, lattice, coords, thumbnail = store.attributes, store.lattice, store.coords, store.thumbnail
    try:
        if attributes["status"] == tiles.EXCLUDED:
            raise InputError(f"the slide is excluded: {attributes['reason']}")
        annotations = read_file(path_to_annotations, exclusions=[name for name in EXCLUSIONS if name not in classes])
        reason = _remarks(annotations, attributes, classes)
    except InputError as refusal:
        annotations, reason = None, str(refusal).removeprefix(f"{path_to_annotations}: ")
    file = Path(path_to_annotations).name
    log.info("%s %s%s", READ if annotations else REFUSED, file, f": {reason}" if reason else "")
    return AnnotatedSlide(
        attributes["slide_id"],
        file,
        annotations,
        reason,
        lattice,
        coords,
        attributes["width"],
        attributes["height"],
        thumbnail,
    )


def regions_outside(annotations: Annotations, width: int, height: int) -> int:
    """How many regions lie outside a slide of `width` × `height` level-0 px. Raises InputError where all of them do."""
    slide = shapely.box(0, 0, width, height)
    outside = [region for region in annotations.regions if not slide.intersects(region.geometry)]
    if len(outside) == len(annotations.regions):
        left, top = outside[0].geometry.bounds[:2]
        raise InputError(
            f"every region lies outside the slide of {width} × {height} px, the first from ({left:.0f}, {top:.0f}) on; "
            "is this the file of another slide?"
        )
    return len(outside)


def _remarks(annotations: Annotations, attributes: Mapping[str, Any], classes: Mapping[str, str]) -> str:
    """What to look at in annotations that were read. Raises InputError where all of them are off the slide."""
    outside = regions_outside(annotations, attributes["width"], attributes["height"])
    remarks = [f"{outside} of {len(annotations.regions)} regions outside the slide"] if outside else []
    if not any(region.class_name in classes for region in annotations.regions):
        remarks.append("no region of a class that has a label: every tile is background")
    return "; ".join(remarks)


def tile_table(slide: AnnotatedSlide, *, classes: Mapping[str, str], rule: str, fraction: float | None) -> pd.DataFrame:
    """The label of each of a slide's tiles: slide_id, col, row, label, and `share_<label>` of the tile for each label.

    No row where the annotations are refused. Settings and what is raised: `annotations.label_tiles`.
    """
    coords = slide.coords if slide.annotations else slide.coords[:0]
    regions = slide.annotations.regions if slide.annotations else ()
    found = label_tiles(regions, slide.lattice, coords, classes=classes, rule=rule, fraction=fraction)
    shares = np.round(found.areas / slide.lattice.tile_level0_px**2, SHARE_DECIMALS)
    places = {"slide_id": slide.slide_id, "col": coords[:, 0], "row": coords[:, 1], "label": found.labels}
    return pd.DataFrame(places | {f"share_{name}": shares[:, number] for number, name in enumerate(found.names)})


def class_table(slide: AnnotatedSlide, labelled: pd.DataFrame) -> pd.DataFrame:
    """SLIDE_COLUMNS, class, n_regions, area_mm2 (overlaps count twice): a row for each class of a slide's regions.

    labelled: the slide's `tile_table`. Refused annotations have one row, without a class.
    """
    about = {
        "slide_id": slide.slide_id,
        "file": slide.file,
        "form": slide.annotations.form if slide.annotations else "",
        "status": READ if slide.annotations else REFUSED,
        "reason": slide.reason,
        "n_left_out": len(slide.annotations.left_out) if slide.annotations else 0,
        "n_tiles": len(labelled),
        "n_labelled": int((labelled["label"] != BACKGROUND).sum()),
    }
    if slide.annotations is None:
        return pd.DataFrame([about | {"class": "", "n_regions": 0, "area_mm2": 0.0}])
    areas: dict[str, list[float]] = {}
    for region in slide.annotations.regions:
        areas.setdefault(region.class_name, []).append(region.geometry.area * (slide.lattice.slide_mpp / 1000) ** 2)
    rows = [{"class": name, "n_regions": len(of), "area_mm2": sum(of)} for name, of in areas.items()]
    return pd.DataFrame([about | row for row in rows])


# A cohort


def list_annotations(found: pd.DataFrame) -> pd.DataFrame:
    """The table `regions.tsv`, a row per annotated slide, from the rows of all slides' `class_table`."""
    rows = [
        dict(zip(SLIDE_COLUMNS, about, strict=True))
        | {
            "n_regions": of["n_regions"].sum(),
            "area_mm2": of["area_mm2"].sum(),
            "classes": ", ".join(f"{name} ({n})" for name, n in zip(of["class"], of["n_regions"], strict=True) if n),
        }
        for about, of in found.groupby(list(SLIDE_COLUMNS), sort=False)
    ]
    table = pd.DataFrame(rows)
    log.info(
        "%d of %d files of annotations read, %d of %d tiles labelled",
        *((table["status"] == READ).sum(), len(table), table["n_labelled"].sum(), table["n_tiles"].sum()),
    )
    for row in table[table["reason"] != ""].itertuples():
        log.warning("%s %s: %s", row.status, row.file, row.reason)
    return table


def compare_classes(found: pd.DataFrame, classes: Mapping[str, str]) -> pd.DataFrame:
    """The table `classes.tsv`: the classes that have a label, in order, and then all others that the regions have.

    A class without regions, and one without a label, is said in `remark`: either may be misspelt.
    """
    regions = found[found["n_regions"] > 0].groupby("class")
    of_class = regions.agg(
        n_slides=("slide_id", "nunique"), n_regions=("n_regions", "sum"), area_mm2=("area_mm2", "sum")
    )
    others = sorted(set(of_class.index) - set(classes))
    table = of_class.reindex([*classes, *others]).fillna(0).astype({"n_slides": int, "n_regions": int})
    table.insert(0, "label", [classes.get(name, "") for name in table.index])
    table["remark"] = [_remark(name, classes, n) for name, n in table["n_regions"].items()]
    for name, remark in table.loc[table["remark"] != "", "remark"].items():
        log.warning("class %s: %s", name, remark)
    return table.rename_axis("class").reset_index()


def _remark(name: str, classes: Mapping[str, str], n_regions: int) -> str:
    if name in classes:
        return "" if n_regions else "no region has this class"
    near = get_close_matches(name.casefold(), [known.casefold() for known in classes], n=1, cutoff=0.75)
    meant = [f"; did you mean {known!r}?" for known in classes if known.casefold() in near]
    return f"labels no tile{''.join(meant[:1])}"


def report_files_of_no_slide(names: Iterable[str]) -> None:
    """Say which files of the folder are no slide's annotations."""
    for name in names:
        log.warning("%s belongs to no slide of the cohort", name)
