"""What detectors of tumour learn from and are judged on: the annotated slides of some cohorts, and how much is tumour.

Source: cross-cancer transfer, 3.1.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import shapely
from shapely import MultiPolygon, Polygon

from workflow_scripts.lib.annotated_slides import AnnotatedSlide, read_slide
from workflow_scripts.lib.annotations import Region, place_of_label
from workflow_scripts.lib.tumour_filters import annotated_tiles

log = logging.getLogger(__name__)

# The columns of a slide that say whose it is, and those that count.
SLIDE = ["cohort", "slide_id", "patient_id", "set"]
COUNTED = ["polygons", "tiles", "tumour_tiles"]
COLUMNS = [*SLIDE, "polygons", "tumour_mm2", "tissue_mm2", "tumour_of_image", "tiles", "tumour_tiles"]


def regions_of(slide: AnnotatedSlide, *, classes: Mapping[str, str], label: str) -> list[Region]:
    """The regions of a slide whose class has this label; none where its annotations are refused.

    classes: the label of each class, as for `annotations.label_tiles`.
    """
    regions = slide.annotations.regions if slide.annotations else ()
    return [region for region in regions if classes.get(region.class_name) == label]


def outlined(slide: AnnotatedSlide, *, classes: Mapping[str, str], label: str) -> Polygon | MultiPolygon:
    """What is outlined as this label on a slide, in level-0 px, cut at the slide's edge; empty where nothing is.

    What overlaps counts once, and for the first label alone, see `annotations.place_of_label`.
    """
    regions = slide.annotations.regions if slide.annotations else ()
    found = place_of_label(regions, label, classes=classes).intersection(shapely.box(0, 0, slide.width, slide.height))
    # A polygon that touches the edge alone leaves a line there.
    parts = shapely.get_parts(shapely.get_parts(found))
    return shapely.union_all(parts[shapely.get_dimensions(parts) == 2]) if len(parts) else Polygon()


def describe_slides(
    slides: Sequence[Mapping[str, str]],
    *,
    annotations: Sequence[str | Path],
    stores: Sequence[str | Path],
    labels: Sequence[str | Path],
    classes: Mapping[str, Mapping[str, str]],
    label: Mapping[str, str],
) -> pd.DataFrame:
    """The table `cohort.tsv`: COLUMNS, a row for each slide, in their order.

    slides: what SLIDE says of each. annotations, stores, labels: of each in the same order its file of annotations, its
    tile store and `annotations/tiles/<slide>.tsv`. classes, label: by cohort, the label of each class, and the one that
    is tumour. Areas are of the polygons, cut at the slide's edge, and of the tiles with tissue; `tumour_of_image` is
    the polygons' share of the whole slide. All but the tissue is missing where annotations are refused.
    """
    rows = []
    for about, *paths in zip(slides, annotations, stores, labels, strict=True):
        cohort = about["cohort"]
        rows.append(dict(about) | _describe(*paths, classes=classes[cohort], label=label[cohort]))
    table = pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(COUNTED, "Int64"))
    for cohort, of in table.groupby("cohort", sort=False):
        log.info(
            "%s: %d slides, %d polygons, %.3g mm² of tumour", cohort, len(of), *of[["polygons", "tumour_mm2"]].sum()
        )
    return table


def _describe(
    path_to_annotations: str | Path,
    path_to_store: str | Path,
    path_to_labels: str | Path,
    *,
    classes: Mapping[str, str],
    label: str,
) -> dict[str, Any]:
    slide = read_slide(path_to_annotations, path_to_store, classes=classes)
    tile_mm2 = (slide.lattice.tile_px * slide.lattice.mpp / 1000) ** 2
    tissue = {"tissue_mm2": len(slide.coords) * tile_mm2}
    if slide.annotations is None:
        return tissue
    tumour = outlined(slide, classes=classes, label=label).area
    tiles = annotated_tiles(path_to_labels, label=label)
    return tissue | {
        "polygons": len(regions_of(slide, classes=classes, label=label)),
        "tumour_mm2": tumour * (slide.lattice.slide_mpp / 1000) ** 2,
        "tumour_of_image": tumour / (slide.width * slide.height),
        "tiles": len(tiles),
        "tumour_tiles": int(tiles["label"].sum()),
    }


def most_tumour(table: pd.DataFrame, *, cohort: str, set_name: str) -> str | None:
    """The slide of a cohort and set with the largest share of tumour, of `cohort.tsv`; ties go to the first slide_id.

    None where no slide of them has any that is known.
    """
    rows = table[(table["cohort"] == cohort) & (table["set"] == set_name)].dropna(subset=["tumour_of_image"])
    rows = rows.sort_values(["tumour_of_image", "slide_id"], ascending=[False, True])
    return rows["slide_id"].iloc[0] if len(rows) else None
