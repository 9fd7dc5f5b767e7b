"""Held-out slides of cross-cancer transfer: what is outlined on them, and where each regime sees tumour."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import shapely
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from shapely import MultiPolygon, Polygon
from shapely.plotting import patch_from_polygon

from workflow_scripts.lib import palette, tiles
from workflow_scripts.lib.annotated_slides import AnnotatedSlide, read_slide
from workflow_scripts.lib.detection_data import most_tumour, outlined, regions_of
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.figures.origin import readable
from workflow_scripts.lib.figures.transfer import NOT_AVAILABLE, is_missing, looks_of
from workflow_scripts.lib.splits import TEST
from workflow_scripts.lib.transfer_scores import TILE

# A mask, as in the paper's Fig. 1: tumour is white.
MASK, MASKED = "#000000", "#FFFFFF"
OUTLINE = palette.POSITIVE
# Of the pictures of a figure together, in mm.
HIGHEST_MM = 160.0
# Beside and above each picture, in mm.
BESIDE_MM, ABOVE_MM = 4.0, 11.0
MOST_ACROSS = 4
NO_SLIDE = "No held-out slide has annotations that can be used."


@dataclass(frozen=True)
class Detection:
    """A slide whose tumour is outlined, and the probability of tumour of its tiles by regime.

    tumour: what is outlined, in level-0 px, cut at the slide's edge; polygons: how many outlines that is. maps: by
    regime, coords (n, 2) int, column and row, and probabilities (n,) float32.
    """

    slide: AnnotatedSlide
    tumour: Polygon | MultiPolygon
    polygons: int
    maps: Mapping[str, tuple[np.ndarray, np.ndarray]]


def read_detection(
    path_to_annotations: str | Path,
    path_to_store: str | Path,
    judged: Mapping[str, pd.DataFrame],
    *,
    classes: Mapping[str, str],
    label: str,
) -> Detection:
    """What the figures of a slide are drawn from.

    judged: by regime the rows of `annotated/test.tsv` (`tumour_filters.JUDGED`), of any slides; classes: the label of
    each class, and `label` is tumour's. Raises InputError when the store is not one.
    """
    slide = read_slide(path_to_annotations, path_to_store, classes=classes)
    maps = {}
    for regime, rows in judged.items():
        of = rows[rows["slide_id"] == slide.slide_id]
        maps[regime] = of[["col", "row"]].to_numpy(int), of["probability"].to_numpy(np.float32)
    regions = regions_of(slide, classes=classes, label=label)
    return Detection(slide, outlined(slide, classes=classes, label=label), len(regions), maps)


def read_detections(
    annotations: Sequence[str | Path],
    stores: Sequence[str | Path],
    judged: Mapping[str, pd.DataFrame],
    *,
    classes: Mapping[str, str],
    label: str,
) -> Iterator[Detection]:
    """One after the other, those of several slides; annotations and stores are in the same order."""
    for paths in zip(annotations, stores, strict=True):
        yield read_detection(*paths, judged, classes=classes, label=label)


def read_example(
    table: pd.DataFrame,
    annotations: Sequence[str | Path],
    stores: Sequence[str | Path],
    judged: Mapping[str, pd.DataFrame],
    *,
    target: str,
    classes: Mapping[str, str],
    label: str,
) -> Detection | None:
    """That of the target's held-out slide with the largest share of tumour (`detection_data.most_tumour`), or None.

    table: `tables/cohort.tsv`. annotations, stores: of the held-out slides, in the same order; a store has the name of
    its slide.
    """
    chosen = most_tumour(table, cohort=target, set_name=TEST)
    of_chosen = [paths for paths in zip(annotations, stores, strict=True) if Path(paths[1]).stem == chosen]
    return read_detection(*of_chosen[0], judged, classes=classes, label=label) if of_chosen else None


# Fig. 1


@style.styled
def slide_and_mask(found: Detection | None) -> Figure:
    """Fig. 1: a slide with the outlines of its tumour, and its binary mask beside it, or below where it is wide."""
    if found is None:
        return style.nothing(NO_SLIDE)
    slide = found.slide
    if slide.annotations is None:
        return style.nothing(f"{slide.slide_id}: {slide.file} is refused: {slide.reason}")
    width, height, mm = _size(slide)
    across = 1 if width / height > 1.8 else 2
    picture = (style.DOUBLE_COLUMN_MM - BESIDE_MM * across) / across
    row_mm = 10 + min(picture * height / width, HIGHEST_MM / (3 - across))
    figure = style.new(style.DOUBLE_COLUMN_MM, 16 + row_mm * (3 - across))
    left, right = figure.subplots(3 - across, across).flatten()
    style.slide_picture(left, tiles.decode(slide.thumbnail) if slide.thumbnail else None, width, height)
    _draw_outline(left, found.tumour, mm, linewidth=0.9)
    style.scale_bar(left, width, height)
    left.set_title("Slide, tumour as annotated", loc="left")
    right.add_patch(Rectangle((0, 0), width, height, facecolor=MASK, edgecolor="none"))
    if not found.tumour.is_empty:
        right.add_patch(patch_from_polygon(_in_mm(found.tumour, mm), facecolor=MASKED, edgecolor="none"))
    style.slide_frame(right, width, height)
    right.set_title("Mask (tumour is white)", loc="left")
    figure.suptitle(f"{style.short(slide.slide_id, 60)}\n{_said(found)}")
    return figure


def _size(slide: AnnotatedSlide) -> tuple[float, float, float]:
    """Width and height of a slide in mm, and those of its pixel."""
    mm = slide.lattice.slide_mpp / 1000
    return slide.width * mm, slide.height * mm, mm


def _said(found: Detection) -> str:
    mm2 = found.tumour.area * (found.slide.lattice.slide_mpp / 1000) ** 2
    share = found.tumour.area / (found.slide.width * found.slide.height)
    return f"{style.count(found.polygons, 'polygon')}, {mm2:,.3g} mm² of tumour: {100 * share:.1f} % of the image"


def _in_mm(geometry: Polygon | MultiPolygon, mm: float) -> MultiPolygon:
    parts = shapely.orient_polygons(shapely.get_parts(geometry))
    return shapely.transform(shapely.multipolygons(parts), lambda places: places * mm)


def _draw_outline(axes: Axes, tumour: Polygon | MultiPolygon, mm: float, *, linewidth: float) -> None:
    if tumour.is_empty:
        return
    # White beneath the colour keeps it apart from any stain, and from either end of the probabilities.
    for colour, wide in (("white", 1.8 * linewidth), (OUTLINE, linewidth)):
        line = {"facecolor": "none", "edgecolor": colour, "linewidth": wide, "joinstyle": "round"}
        axes.add_patch(patch_from_polygon(_in_mm(tumour, mm), **line))


# Fig. 4


@style.styled
def probability_maps(found: Detection | None, regimes: pd.DataFrame, table1: pd.DataFrame) -> Figure:
    """A slide with its outlined tumour, and a map for each regime of the probability of tumour of each tile.

    regimes: `regimes.tsv`. table1: `tables/table1.tsv` (regime, level, slide, auc), whose AUC by tile of this slide
    stands above each map. A slide that was excluded at tiling has a sentence in place of all this.
    """
    style.require(table1, ("regime", "level", "slide", "auc"), what="tables/table1.tsv")
    if found is None:
        return style.nothing(NO_SLIDE)
    slide, missing = found.slide, is_missing(regimes)
    names = list(looks_of(regimes))
    if not slide.width * slide.height:
        return style.nothing(f"{slide.slide_id} could not be tiled; its cohort's slides.tsv says why.")
    width, height, mm = _size(slide)
    across = _across(len(names) + 1, width / height)
    down = -(-(len(names) + 1) // across)
    picture = (style.DOUBLE_COLUMN_MM - 20) / across - BESIDE_MM
    row_mm = ABOVE_MM + float(np.clip(picture * height / width, 14, HIGHEST_MM / down))
    figure = style.new(style.DOUBLE_COLUMN_MM, 24 + down * row_mm)
    figure.get_layout_engine().set(w_pad=1.5 * style.MM, h_pad=1.5 * style.MM)
    panels = figure.subplots(down, across, squeeze=False)
    flat = panels.flatten()
    for panel in flat:
        panel.set(anchor="W", xticks=[], yticks=[])
        panel.set_axis_off()
    style.slide_picture(flat[0], tiles.decode(slide.thumbnail) if slide.thumbnail else None, width, height)
    _draw_outline(flat[0], found.tumour, mm, linewidth=0.7)
    style.scale_bar(flat[0], width, height)
    flat[0].set_title("Slide, tumour as annotated", loc="left", fontsize=6.5)
    colours = ScalarMappable(Normalize(0, 1), style.PROBABILITIES)
    rows = table1[(table1["level"] == TILE) & (table1["slide"] == slide.slide_id)]
    aucs = rows.set_index("regime")["auc"].to_dict()
    for panel, name in zip(flat[1:], names, strict=False):
        title = style.wrapped(readable(name), int(picture * 0.72))
        if missing[name] or name not in found.maps:
            style.slide_frame(panel, width, height)
            panel.text(width / 2, height / 2, NOT_AVAILABLE, ha="center", va="center", color=style.FAINT)
            panel.set_title(f"{title}\n", loc="left", fontsize=6.5)
            continue
        _draw_map(panel, found, name, colours)
        auc = aucs.get(name, np.nan)
        said = f"AUC {auc:.3f}" if np.isfinite(auc) else "AUC: NA"
        panel.set_title(f"{title}\n{said if len(found.maps[name][0]) else 'no tile'}", loc="left", fontsize=6.5)
    bar = {"shrink": 0.8 if down == 1 else 0.5, "aspect": 28, "fraction": 0.04, "pad": 0.02}
    figure.colorbar(colours, ax=panels, label="probability of tumour, by tile", **bar)
    handles = [Patch(facecolor="none", edgecolor=OUTLINE, label="tumour as annotated")]
    figure.legend(handles=handles, loc="outside lower center")
    said = _said(found) if slide.annotations else f"annotations refused: {style.short(slide.reason, 90)}"
    figure.suptitle(f"{style.short(slide.slide_id, 60)}\n{said}")
    return figure


def _across(pictures: int, shape: float) -> int:
    """How many pictures stand side by side, so that they are large and few places stay empty.

    shape: the width of one over its height.
    """

    def worth(across: int) -> float:
        down = -(-pictures // across)
        of_page = (style.DOUBLE_COLUMN_MM - 20) / across - BESIDE_MM
        width = min(of_page, (HIGHEST_MM / down - ABOVE_MM) * shape)
        return width * (pictures / (across * down)) ** 2

    return max(range(1, min(pictures, MOST_ACROSS) + 1), key=lambda across: (worth(across), across))


def _draw_map(axes: Axes, found: Detection, regime: str, colours: ScalarMappable) -> None:
    """The probability of each tile; where there is no tissue, it is white."""
    lattice = found.slide.lattice
    coords, probabilities = found.maps[regime]
    image = np.ones((lattice.rows, lattice.columns, 3))
    image[coords[:, 1], coords[:, 0]] = colours.to_rgba(probabilities)[:, :3]
    side = lattice.tile_px * lattice.mpp / 1000
    if image.size:
        axes.imshow(image, extent=(0, lattice.columns * side, lattice.rows * side, 0), interpolation="antialiased")
    width, height, mm = _size(found.slide)
    _draw_outline(axes, found.tumour, mm, linewidth=0.7)
    style.slide_frame(axes, width, height)
