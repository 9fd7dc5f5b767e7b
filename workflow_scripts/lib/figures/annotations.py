"""Annotations drawn over their slide, for checking that they are its own and mean what they should."""

from collections.abc import Mapping, Sequence

import numpy as np
import shapely
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from shapely.plotting import patch_from_polygon

from workflow_scripts.lib import tiles
from workflow_scripts.lib.annotated_slides import AnnotatedSlide
from workflow_scripts.lib.annotations import Annotations, Region
from workflow_scripts.lib.figures import style

# The features left out that are named beneath the picture.
MOST_LEFT_OUT = 3


@style.styled
def checked_slide(slide: AnnotatedSlide, *, classes: Mapping[str, str]) -> Figure:
    """A slide with its annotations (`annotated_slide`), or why they cannot be used."""
    if slide.annotations is None:
        return style.nothing(f"{slide.slide_id}: {slide.file} is refused: {slide.reason}")
    return annotated_slide(
        slide.annotations,
        classes=classes,
        thumbnail=tiles.decode(slide.thumbnail) if slide.thumbnail else None,
        width=slide.width,
        height=slide.height,
        slide_mpp=slide.lattice.slide_mpp,
        slide_id=slide.slide_id,
    )


@style.styled
def annotated_slide(
    annotations: Annotations,
    *,
    classes: Mapping[str, str],
    thumbnail: np.ndarray | None,
    width: int,
    height: int,
    slide_mpp: float,
    slide_id: str,
) -> Figure:
    """A slide with the outlines of its regions, a colour for each class, and how many there are and how large.

    classes: the label of each class, as for `annotations.label_tiles`; their order fixes the colours, so that a class
    looks the same on every slide. Regions of other classes, which label no tile, are dashed. thumbnail: (h, w, 3) uint8
    of the whole slide, or None; width, height: of the slide in level-0 px; slide_mpp: µm/px of level 0.

    What reaches past the slide's edge, and what was left out of the file, is said beneath.
    """
    mm = slide_mpp / 1000
    names = _names(annotations.regions, classes)
    remarks = style.wrapped(_remarks(annotations, width, height), 130)
    # In mm: the picture with its scale bar, the remarks, and beside them the title and the legend.
    heights = (8 + min(style.DOUBLE_COLUMN_MM * height / width, 170), 3 * (remarks.count("\n") + 1))
    figure = style.new(style.DOUBLE_COLUMN_MM, sum(heights) + 12 + 2 * len(names))
    axes, below = figure.subplots(2, 1, height_ratios=heights)
    below.set_axis_off()
    # Names from outside may have dollars, and are no formulas.
    below.text(0, 1, remarks, va="top", fontsize=6, color=style.FAINT, transform=below.transAxes, parse_math=False)
    style.slide_picture(axes, thumbnail, width * mm, height * mm)
    style.scale_bar(axes, width * mm, height * mm)
    colours = dict(zip(classes, style.OUTLINES, strict=False))
    handles, labels = [], []
    for name in names:
        geometries = [region.geometry for region in annotations.regions if region.class_name == name]
        colour = colours.get(name, style.OTHER_OUTLINES if name in classes else style.LOW)
        dashes = "solid" if name in classes else (0, (2, 1))
        _draw_outlines(axes, geometries, mm, colour, dashes)
        handles.append(Patch(facecolor=(colour, 0.25), edgecolor=colour, linestyle=dashes))
        labels.append(f"{_meaning(name, classes)}: {_size(geometries, mm)}")
    figure.suptitle(style.short(slide_id, 60))
    _add_legend(figure, handles, labels)
    return figure


def _names(regions: Sequence[Region], classes: Mapping[str, str]) -> list[str]:
    """The classes that there are: in the order of `classes`, then the others by name."""
    present = {region.class_name for region in regions}
    return [*(name for name in classes if name in present), *sorted(present - set(classes))]


def _draw_outlines(axes: Axes, geometries: Sequence[shapely.Geometry], mm: float, colour: str, dashes: object) -> None:
    parts = shapely.orient_polygons(shapely.get_parts(geometries))
    # Not a valid geometry where regions overlap; it is only drawn.
    outlines = shapely.transform(shapely.multipolygons(parts), lambda places: places * mm)
    # White beneath the colour keeps it apart from any stain.
    axes.add_patch(patch_from_polygon(outlines, facecolor="none", edgecolor="white", linewidth=2.2))
    shown = {"facecolor": (colour, 0.15), "edgecolor": colour, "linewidth": 1.1, "linestyle": dashes}
    axes.add_patch(patch_from_polygon(outlines, **shown))


def _meaning(name: str, classes: Mapping[str, str]) -> str:
    if name not in classes:
        return f"{style.short(name)} (labels no tile)"
    label = classes[name]
    return style.short(name) if label == name else f"{style.short(name)}, as {style.short(label)}"


def _size(geometries: Sequence[shapely.Geometry], mm: float) -> str:
    area = sum(geometry.area for geometry in geometries) * mm**2
    size = f"{area:,.3g} mm²" if area >= 0.01 else f"{area * 1e6:,.0f} µm²"
    return f"{style.count(len(geometries), 'region')}, {size}"


def _add_legend(figure: Figure, handles: Sequence[Patch], labels: Sequence[str]) -> None:
    legend = figure.legend(handles, [" "] * len(labels), loc="outside lower center", ncols=2)
    # A legend that is given a label with "_" before it (CAMELYON16's classes) leaves it out.
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_parse_math(False)
        text.set_text(label)


def _remarks(annotations: Annotations, width: int, height: int) -> str:
    geometries = [region.geometry for region in annotations.regions]
    slide = shapely.box(0, 0, width, height)
    outside = int((~shapely.intersects(slide, geometries)).sum())
    across = int((~shapely.covers(slide, geometries)).sum()) - outside
    remarks = [f"{annotations.form}: {style.count(len(geometries), 'region')}."]
    if outside:
        remarks.append(f"Outside the slide: {outside}; is this the file of another slide?")
    if across:
        remarks.append(f"Past the slide's edge: {across}.")
    if annotations.left_out:
        shown = [f"{one.name}: {one.reason}" for one in annotations.left_out[:MOST_LEFT_OUT]]
        more = len(annotations.left_out) - len(shown)
        remarks.append(f"Left out: {'; '.join(shown)}{f'; and {more} more' if more else ''}.")
    return " ".join(remarks)
