"""A pathologist's annotations, of the tumour or of several tissues: outlines as a hand draws them, in a file as QuPath
or ASAP writes it."""

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

import numpy as np
import shapely
from shapely import LineString, MultiPolygon, Polygon
from shapely.ops import split

from workflow_scripts.lib.files import writing

CLASS_NAME = "Tumor"
COLOUR = (200, 0, 0)
# Those of several classes, in turn.
COLOURS = (COLOUR, (0, 140, 60), (230, 150, 0), (120, 60, 180), (0, 150, 190), (110, 80, 50))
# What ASAP has in place of holes: polygons of a group that is subtracted from all others.
HOLE_NAME, HOLE_COLOUR = "Exclusion", (0, 0, 200)
# µm. A hand passes over necks and bays narrower than twice the first, unless it takes more care; it draws a little
# outside, sets a corner so often, and trembles by so much (standard deviation).
NARROW_UM = 12.0
OUTSIDE_UM = 3.0
STEP_UM = 30.0
TREMOR_UM = 1.5


def draw(
    tumour: np.ndarray,
    *,
    size: tuple[int, int],
    cell_px: int,
    mpp: float,
    rng: np.random.Generator,
    narrow_um: float = NARROW_UM,
) -> MultiPolygon:
    """The outline of a mask as it is drawn by hand, valid, in level-0 px.

    tumour: bool (rows, columns), cells of `cell_px` level-0 px, whose side is `mpp` µm. size: the slide's width and
    height in level-0 px, past which no line goes. narrow_um: half the width of what is passed over. Off the slide's
    edge, the line has a corner every 20 to 40 µm; it keeps to within about 10 µm of the mask's border but where that
    is narrow.
    """
    step, tremor, narrow, outside = (um / (cell_px * mpp) for um in (STEP_UM, TREMOR_UM, narrow_um, OUTSIDE_UM))
    smooth = _united(tumour).buffer(-narrow).buffer(2 * narrow).buffer(outside - narrow)
    drawn = [_by_hand(part, step, tremor, rng) for part in _polygons_of(smooth)]
    # Where the mask is narrow a line may have crossed itself.
    valid = shapely.union_all([shapely.make_valid(one, method="structure", keep_collapsed=False) for one in drawn])
    on_slide = valid.intersection(shapely.box(0, 0, size[0] / cell_px, size[1] / cell_px))
    return shapely.transform(MultiPolygon(_polygons_of(on_slide)), lambda places: np.round(places * cell_px, 1))


def _united(mask: np.ndarray) -> Polygon | MultiPolygon:
    """The cells of a mask as one shape, in cells."""
    steps = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    row, left = np.nonzero(steps == 1)
    _, right = np.nonzero(steps == -1)
    return shapely.union_all(shapely.box(left, row, right, row + 1))


def _polygons_of(shape: shapely.Geometry) -> list[Polygon]:
    return [part for part in shapely.get_parts(shape) if isinstance(part, Polygon) and not part.is_empty]


def _by_hand(polygon: Polygon, step: float, tremor: float, rng: np.random.Generator) -> Polygon:
    shell, *holes = (_traced(ring, step, tremor, rng) for ring in (polygon.exterior, *polygon.interiors))
    return Polygon(shell, holes)


def _traced(ring: shapely.LinearRing, step: float, tremor: float, rng: np.random.Generator) -> np.ndarray:
    count = max(4, round(ring.length / step))
    at = (np.arange(count) + rng.uniform(-0.15, 0.15, count)) * (ring.length / count)
    return shapely.get_coordinates(shapely.line_interpolate_point(ring, at)) + rng.normal(0, tremor, (count, 2))


def write_geojson(path: str | Path, outline: MultiPolygon, rng: np.random.Generator) -> None:
    """Write an outline as QuPath exports annotations: an object of its own for each part."""
    features = [
        {
            "type": "Feature",
            "id": str(uuid.UUID(bytes=rng.bytes(16), version=4)),
            "geometry": shapely.geometry.mapping(part),
            "properties": {
                "objectType": "annotation",
                "classification": {"name": CLASS_NAME, "color": list(COLOUR)},
            },
        }
        for part in outline.geoms
    ]
    with writing(path) as partial:
        partial.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")


def write_asap(path: str | Path, outlines: Mapping[str, MultiPolygon]) -> None:
    """Write the outline of each class as ASAP does: a polygon for each part, and one of the group HOLE_NAME for each
    hole.

    A hole would be subtracted from what lies in it too. One in which another part of the class lies is drawn over; an
    outline that goes round another class is cut in two.
    """
    parts = {name: _cut_round(outline, name, outlines) for name, outline in outlines.items()}
    holes = [hole for of_class in parts.values() for hole in _holes(of_class)]
    root = Element("ASAP_Annotations")
    drawn = SubElement(root, "Annotations")
    groups = [(name, COLOURS[number % len(COLOURS)], of_class) for number, (name, of_class) in enumerate(parts.items())]
    groups.append((HOLE_NAME, HOLE_COLOUR, holes))
    for name, colour, polygons in groups:
        for polygon in polygons:
            look = {"PartOfGroup": name, "Color": _hex(colour)}
            one = SubElement(drawn, "Annotation", Name=f"Annotation {len(drawn)}", Type="Polygon", **look)
            places = SubElement(one, "Coordinates")
            for order, (x, y) in enumerate(polygon.exterior.coords[:-1]):
                SubElement(places, "Coordinate", Order=str(order), X=f"{x:.1f}", Y=f"{y:.1f}")
    listed = SubElement(root, "AnnotationGroups")
    for name, colour, polygons in groups:
        if polygons:
            group = SubElement(listed, "Group", Name=name, PartOfGroup="None", Color=_hex(colour))
            SubElement(group, "Attributes")
    indent(root, "\t")
    with writing(path) as partial:
        ElementTree(root).write(partial, encoding="utf-8", xml_declaration=True)


def _holes(parts: list[Polygon]) -> list[Polygon]:
    """The holes of the parts of a class, but for those in which another part lies."""
    holes = [Polygon(ring) for part in parts for ring in part.interiors]
    return [hole for hole in holes if not any(hole.contains(part) for part in parts)]


def _cut_round(outline: MultiPolygon, name: str, outlines: Mapping[str, MultiPolygon]) -> list[Polygon]:
    """The parts of a class's outline, cut from top to bottom through holes until no other class lies in any."""
    others = shapely.union_all([other for of, other in outlines.items() if of != name])
    pending, parts = list(outline.geoms), []
    while pending:
        part = pending.pop(0)
        holes = [Polygon(ring) for ring in part.interiors]
        cut = next((hole for hole in holes if hole.intersection(others).area > 0), None)
        if cut is None:
            parts.append(part)
            continue
        x, (_, top, _, bottom) = cut.representative_point().x, part.bounds
        line = LineString([(x, top - 1), (x, bottom + 1)])
        pending = _polygons_of(split(part, line)) + pending
    return parts


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
