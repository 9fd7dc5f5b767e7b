"""Annotations: what pathologists drew on a slide, read into one form, and what that makes of each tile.

Coordinates are continuous level-0 pixels as in `slides`: (0, 0) is the slide's upper left corner, and a pixel covers a
unit square. QuPath and ASAP mean the same by theirs, and so do CAMELYON16's files.

ASSUME QuPath had the whole slide open. It crops slides that state a bounding box (MIRAX and a few others) to it, unless
told `--no-crop`, and then counts from the box's corner.

Nothing in a file is trusted: it may be large, deeply nested, an XML bomb, or hold numbers that no slide has. A name or
a class is text to be shown and compared, and never a path.
"""

import json
import logging
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import numpy as np
import shapely
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from shapely import MultiPolygon, Polygon

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.tiles import Lattice

log = logging.getLogger(__name__)

# The class of a region that has none; QuPath's word.
UNCLASSIFIED = "unclassified"
# Classes whose polygons are holes in all others. CAMELYON16's XML has its tumours in the groups `_0`, `_1` or `Tumor`,
# and what lies inside a tumour and is none in `_2` or `Exclusion`.
EXCLUSIONS = ("Exclusion", "_2")
# What of a tile a label must cover, see `label_tiles`: most or any of its area, a fraction of it, or its centre.
RULES = ("majority", "any", "fraction", "centre")
BACKGROUND = "background"

MAX_BYTES = 256 * 1024 * 1024
# Level-0 px. The widest slides have a million; ASAP lets one draw a little past the edge.
MAX_COORDINATE = 1e7
# Characters of a name or a class.
MAX_NAME = 200
# Level-0 px². What is smaller is the trace of a click.
MIN_AREA = 1.0
# Pairs of an outline's sides that may cross or touch. Mending takes a second at that many, and grows with the square.
MAX_CROSSINGS = 2000
# How much the readings of an outline that crosses itself may differ, as a share of the larger one.
MENDING_TOLERANCE = 0.05
# Sides of an outline that are cut at the tiles' edges together, which bounds the memory.
SIDES_AT_ONCE = 10_000
# Decimals of a coordinate. Nobody draws to a millionth of a pixel, and GEOS loses its way among numbers such as 1e-84.
PLACE_DECIMALS = 6
# Decimals of a share of a tile: polygons' corners are rounded, and two that share a side may overlap by a hair.
SHARE_DECIMALS = 9


@dataclass(frozen=True)
class Region:
    """A place that somebody outlined: its name in the file, its class, and its valid geometry in level-0 px.

    The name says which feature it is, counted from 1, and what the file calls it: `feature 3 (Annotation 2)`.
    """

    name: str
    class_name: str
    geometry: Polygon | MultiPolygon


@dataclass(frozen=True)
class LeftOut:
    """A feature of a file that is no region, and why not."""

    name: str
    reason: str


@dataclass(frozen=True)
class Annotations:
    """What a file holds: `form` (`GeoJSON`, `ASAP XML` or `CAMELYON16 JSON`), its regions, and what is left out."""

    form: str
    regions: tuple[Region, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class TileLabels:
    """A label for each of n tiles, and how much of each tile every label but the background covers.

    names: the k labels, in the order of precedence; labels: (n,) str, one of the names or the background's; areas:
    (n, k) float64, level-0 px², of which a whole tile has the square of `Lattice.tile_level0_px`.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    areas: np.ndarray


# Reading


def read_annotations(path: str | Path, *, exclusions: Collection[str] = EXCLUSIONS) -> Annotations:
    """Read the regions of an annotation file: QuPath's GeoJSON, ASAP's XML, or CAMELYON16's polygons as JSON.

    The form is found from the content, whatever the suffix. A polygon of a class in `exclusions` is no region: it is
    subtracted from every region, also from one that somebody drew inside it. Points, lines and what encloses less than
    a pixel are left out, with the reason; so is a region that exclusions cover, and an exclusion that touches none.

    An outline that is not closed is closed. One that crosses itself is mended where its two readings agree to within
    5 % (an area that it goes round twice is inside, or outside): the two loops of a figure of eight both count.

    Raises InputError, with the feature's name where there is one: a file that is absent, too large, of another kind,
    or has no region; an outline that cannot be mended; coordinates that are no numbers, or that no slide has.
    """
    try:
        form, features = _features_of(_content(path))
        drawn = [_region_of(feature) if isinstance(feature, _Feature) else feature for feature in features]
        left_out = [one for one in drawn if isinstance(one, LeftOut)]
        regions, covered = _subtract(
            [one for one in drawn if isinstance(one, Region) and one.class_name not in exclusions],
            [one for one in drawn if isinstance(one, Region) and one.class_name in exclusions],
        )
        left_out += covered
        if not regions:
            raise InputError(f"expected at least one region, found none in this {form} file{_first_of(left_out)}")
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    log.info("%s: %s, %d regions, %d features left out", path, form, len(regions), len(left_out))
    for one in left_out:
        log.info("left out: %s: %s", one.name, one.reason)
    return Annotations(form, tuple(regions), tuple(left_out))


@dataclass(frozen=True)
class _Feature:
    """A feature as it was drawn: polygons of rings, each ring a list of places, the first ring the outer one."""

    name: str
    class_name: str
    polygons: Sequence[Sequence[Any]]


def _content(path: str | Path) -> bytes:
    if not Path(path).is_file():
        raise InputError("expected an annotation file, found none")
    size = Path(path).stat().st_size
    if size > MAX_BYTES:
        raise InputError(
            f"expected at most {MAX_BYTES >> 20} MB, found {size >> 20} MB; export the annotations without the cells "
            "and detections"
        )
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"expected an annotation file, found: {error.strerror}") from error


def _features_of(content: bytes) -> tuple[str, Iterator[_Feature | LeftOut]]:
    """Return the form of a file's content, and its features one after the other."""
    start = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:40]
    if start.startswith(b"<"):
        return "ASAP XML", _asap_features(_parse_xml(content))
    if not start.startswith((b"{", b"[", b'"')):
        found = f"it begins with {_shown(start.decode('latin-1'))!r}" if start else "it is empty"
        raise InputError(f"expected GeoJSON, ASAP XML or CAMELYON16 JSON, found neither JSON nor XML: {found}")
    document = _parse_json(content)
    if isinstance(document, dict) and isinstance(document.get("positive"), list):
        return "CAMELYON16 JSON", _camelyon_features(document)
    if isinstance(document, dict | list):
        return "GeoJSON", _geojson_features(document)
    raise InputError("expected a JSON object or list, found text: JSON that was encoded twice; decode it once")


def _first_of(left_out: Sequence[LeftOut]) -> str:
    return f"; the first of {len(left_out)} left out: {left_out[0].name}: {left_out[0].reason}" if left_out else ""


# ASAP


def _parse_xml(content: bytes) -> Element:
    try:
        root = fromstring(content, forbid_dtd=True)
    except DefusedXmlException as error:
        raise InputError("expected plain XML, found a document type or entities, which no annotation needs") from error
    except (ParseError, ValueError, LookupError) as error:
        raise InputError(f"expected XML, found: {error}") from error
    if root.tag != "ASAP_Annotations":
        raise InputError(
            f"expected the XML of ASAP (<ASAP_Annotations>), found <{_shown(root.tag)}>; export Halo's and Aperio's "
            "annotations as GeoJSON, by way of QuPath"
        )
    return root


_ASAP_AREAS = ("Polygon", "Rectangle", "Spline")


def _asap_features(root: Element) -> Iterator[_Feature | LeftOut]:
    """The features of ASAP's XML; the class is the group.

    A spline is the polygon through its points, as it is in the masks that ASAP makes.
    """
    for number, annotation in enumerate(root.iterfind("Annotations/Annotation"), 1):
        name = _feature_name(number, annotation.get("Name"))
        kind = annotation.get("Type", "")
        if kind in _ASAP_AREAS:
            group = annotation.get("PartOfGroup", "None")
            class_name = UNCLASSIFIED if group == "None" else _class_text(group, name)
            yield _Feature(name, class_name, [[_places(annotation, name)]])
        else:
            yield LeftOut(name, f"type {_shown(kind)!r}: only {', '.join(_ASAP_AREAS)} enclose an area")


def _places(annotation: Element, name: str) -> list[tuple[float, float]]:
    """The places of an ASAP annotation, in the order that they state, or else as they stand."""
    found = annotation.findall("Coordinates/Coordinate")
    order = [place.get("Order", "") for place in found]
    if all(re.fullmatch(r"[0-9]{1,9}", one) for one in order) and len(set(map(int, order))) == len(order):
        found = [place for _, place in sorted(zip(map(int, order), found, strict=True), key=lambda pair: pair[0])]
    return [(_number(place.get("X", ""), name), _number(place.get("Y", ""), name)) for place in found]


def _number(text: str, name: str) -> float:
    """A number as ASAP writes it, with a full stop or, on computers of many countries, a decimal comma."""
    if not re.fullmatch(r"[-+]?[0-9]+(?:[.,][0-9]*)?(?:[eE][-+]?[0-9]{1,3})?", text):
        raise InputError(f"{name}: expected a number as coordinate, found {_shown(text)!r}")
    return float(text.replace(",", "."))


# JSON


def _parse_json(content: bytes) -> Any:
    try:
        return json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError("expected JSON as UTF-8 text, found other bytes") from error
    except RecursionError as error:
        raise InputError("expected GeoJSON, found lists or objects nested hundreds deep") from error
    except ValueError as error:
        raise InputError(f"expected JSON, found: {error}; export the annotations again") from error


def _camelyon_features(document: dict[str, Any]) -> Iterator[_Feature | LeftOut]:
    """The features of CAMELYON16's polygons as JSON: `positive` and `negative`, under its XML's names for them."""
    listed = {"Tumor": document["positive"], "Exclusion": document.get("negative", [])}
    if not isinstance(listed["Exclusion"], list) or not all(isinstance(one, dict) for one in chain(*listed.values())):
        raise InputError("expected lists of objects with name and vertices under positive and negative")
    polygons = [(class_name, polygon) for class_name, polygons in listed.items() for polygon in polygons]
    for number, (class_name, polygon) in enumerate(polygons, 1):
        yield _Feature(_feature_name(number, polygon.get("name")), class_name, [[polygon.get("vertices")]])


def _geojson_features(document: dict[str, Any] | list[Any]) -> Iterator[_Feature | LeftOut]:
    """The features of GeoJSON: of a collection, a bare list, a single feature, or bare geometries.

    A feature's class is QuPath's, or that of digital slide archives' exports (`label`).
    """
    for number, feature in enumerate(_flat(document), 1):
        properties = feature.get("properties") or {}
        name = _feature_name(number, properties.get("name") or feature.get("id"))
        polygons, others = _geometry_parts(feature.get("geometry"), name)
        for kind, count in others.items():
            yield LeftOut(name, f"{f'{count} × ' if count > 1 else ''}{kind}: points and lines enclose no area")
        if polygons:
            yield _Feature(name, _class_of(properties, name), polygons)
        elif not others:
            yield LeftOut(name, "it has no geometry")


def _flat(document: dict[str, Any] | list[Any]) -> Iterator[dict[str, Any]]:
    """Every feature of a document, QuPath's children of features too, in the order of the file."""
    # A stack in place of recursion: how deep a file is nested is the file's choice.
    pending = document[::-1] if isinstance(document, list) else [document]
    while pending:
        one = pending.pop()
        kind = one.get("type") if isinstance(one, dict) else None
        if kind == "FeatureCollection" and isinstance(one.get("features"), list):
            pending += one["features"][::-1]
        elif kind == "Feature" and isinstance(one.get("properties"), dict | None):
            children = (one.get("properties") or {}).get("childObjects")
            pending += children[::-1] if isinstance(children, list) else []
            yield one
        elif kind in _GEOMETRIES:
            yield {"geometry": one}
        else:
            raise InputError(f"expected GeoJSON (a FeatureCollection, features or geometries), found {_described(one)}")


_WITHOUT_AREA = ("Point", "MultiPoint", "LineString", "MultiLineString")
_GEOMETRIES = ("Polygon", "MultiPolygon", "GeometryCollection", *_WITHOUT_AREA)


def _geometry_parts(geometry: Any, name: str) -> tuple[list[Any], Counter[str]]:
    """The polygons of a geometry, and how many parts of each other kind it has."""
    polygons, others = [], Counter()
    pending = [] if geometry is None else [geometry]
    while pending:
        part = pending.pop()
        kind = part.get("type") if isinstance(part, dict) else None
        inside = part.get("geometries" if kind == "GeometryCollection" else "coordinates") if kind else None
        if kind not in _GEOMETRIES or not isinstance(inside, list):
            raise InputError(f"{name}: expected a GeoJSON geometry, found {_described(part)}")
        if kind == "GeometryCollection":
            pending += inside[::-1]
        elif kind in _WITHOUT_AREA:
            others[kind] += 1
        else:
            polygons += [inside] if kind == "Polygon" else inside
    if not all(isinstance(rings, list) for rings in polygons):
        raise InputError(f"{name}: expected polygons as lists of rings, found something else")
    return polygons, others


def _class_of(properties: dict[str, Any], name: str) -> str:
    """The class of a feature: a text, or an object with `name`, or with `names` where QuPath derived it of several."""
    for key in ("classification", "pathClass", "label"):
        found = properties.get(key)
        if isinstance(found, dict):
            names = found.get("names")
            # As QuPath shows a derived class.
            found = ": ".join(map(str, names)) if isinstance(names, list) else found.get("name")
        if found is not None and found != "":
            return _class_text(found, name)
    return UNCLASSIFIED


# Names


def _feature_name(number: int, given: Any) -> str:
    named = isinstance(given, str | int) and given != ""
    return f"feature {number} ({_shown(given)})" if named else f"feature {number}"


def _class_text(found: Any, name: str) -> str:
    if not isinstance(found, str | int) or isinstance(found, bool):
        raise InputError(f"{name}: expected a text as class, found {_described(found)}")
    return _shown(found) or UNCLASSIFIED


def _shown(text: str | int) -> str:
    """A text from outside on one line and without what a terminal or a table would act on."""
    line = " ".join(str(text)[: 4 * MAX_NAME].split())
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)[:MAX_NAME]


def _described(found: Any) -> str:
    if isinstance(found, dict):
        kind = f" of type {_shown(found['type'])!r}" if isinstance(found.get("type"), str) else ""
        return f"an object{kind} with the keys {', '.join(_shown(key) for key in list(found)[:6]) or 'none'}"
    return type(found).__name__


# From outlines to regions


def _region_of(feature: _Feature) -> Region | LeftOut:
    """The region that a feature encloses. Raises InputError with its name where nobody can say what that is."""
    polygons = [_polygon(rings, feature.name) for rings in feature.polygons]
    if len(polygons) == 1:
        geometry = polygons[0]
    else:
        geometry = _united(polygons)
    if geometry.area < MIN_AREA:
        return LeftOut(feature.name, "it encloses less than a pixel")
    return Region(feature.name, feature.class_name, geometry)


def _polygon(rings: Sequence[Any], name: str) -> Polygon | MultiPolygon:
    """The polygon of an outer ring and its holes; empty where the outer ring encloses nothing."""
    outlines = [_ring(ring, name) for ring in rings]
    if not outlines or len(outlines[0]) < 3:
        return Polygon()
    holes = [outline for outline in outlines[1:] if len(outline) >= 3]
    polygon = Polygon(outlines[0], holes)
    if polygon.is_valid:
        return polygon
    # Ring by ring: a hole that reaches past the outer ring is still a hole, and two that overlap are one.
    return _polygonal(_mended(outlines[0], name).difference(_united([_mended(hole, name) for hole in holes])))


def _ring(ring: Any, name: str) -> np.ndarray:
    """The corners of a ring, (n, 2) float64, without the closing one and without repeats."""
    try:
        places = np.asarray(ring)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{name}: expected a ring as a list of places [x, y], found something else") from error
    if places.size == 0:
        return np.zeros((0, 2))
    # A third number is a height, which GeoJSON allows.
    if places.dtype.kind not in "iuf" or places.ndim != 2 or places.shape[1] not in (2, 3):
        raise InputError(f"{name}: expected a ring as a list of places [x, y], found something else")
    places = places[:, :2].astype(np.float64)
    impossible = ~(np.abs(places) <= MAX_COORDINATE)
    if impossible.any():
        raise InputError(
            f"{name}: expected coordinates in level-0 px, at most {MAX_COORDINATE:,.0f} from the corner, "
            f"found {places[impossible][0]:g}"
        )
    places = places.round(PLACE_DECIMALS)
    return places[(places != np.roll(places, 1, axis=0)).any(axis=1)]


def _mended(outline: np.ndarray, name: str) -> Polygon | MultiPolygon:
    """What an outline encloses that may cross itself.

    There are two readings: every place that it goes round (QuPath's and ASAP's), or only those that it goes round an
    odd number of times. Where they differ, it is not said which was meant.
    """
    ring = Polygon(outline)
    if ring.is_valid:
        return ring
    if _crosses_often(outline):
        raise InputError(f"{name}: its outline crosses itself in more than {MAX_CROSSINGS} places; draw it again")
    all_round = _polygonal(shapely.make_valid(ring, method="structure", keep_collapsed=False))
    odd_round = _polygonal(shapely.make_valid(ring, method="linework"))
    low, high = sorted((all_round.area, odd_round.area))
    if high - low > MENDING_TOLERANCE * high:
        place = re.search(r"\[(.*)\]", shapely.is_valid_reason(ring))
        raise InputError(
            f"{name}: its outline crosses itself{f' at ({place[1]})' if place else ''} and may enclose "
            f"{low:,.0f} or {high:,.0f} px²; draw it again, or as several polygons"
        )
    return all_round


def _crosses_often(outline: np.ndarray) -> bool:
    """Whether more than MAX_CROSSINGS pairs of sides that are not neighbours meet."""
    count = len(outline)
    sides = shapely.linestrings(np.stack([outline, np.roll(outline, -1, axis=0)], axis=1))
    tree = shapely.STRtree(sides)
    # A few sides at a time, so that a scribble is recognised before all its crossings are in memory.
    step = max(1, 1_000_000 // count)
    met = 0
    for start in range(0, count, step):
        one, other = tree.query(sides[start : start + step], predicate="intersects")
        apart = other - (one + start)
        met += int(((apart > 1) & (apart < count - 1)).sum())
        if met > MAX_CROSSINGS:
            return True
    return False


def _united(geometries: Sequence[Polygon | MultiPolygon]) -> Polygon | MultiPolygon:
    # Those that do not meet are put together without a look at their corners: a hundred times faster for cells.
    return shapely.disjoint_subset_union_all(geometries) if len(geometries) else Polygon()


def _polygonal(geometry: shapely.Geometry) -> Polygon | MultiPolygon:
    """A geometry without its points and lines."""
    if isinstance(geometry, Polygon | MultiPolygon):
        return geometry
    parts = shapely.get_parts(shapely.get_parts(geometry))
    return _united(parts[shapely.get_dimensions(parts) == 2])


def _subtract(regions: list[Region], exclusions: list[Region]) -> tuple[list[Region], list[LeftOut]]:
    """The regions without what the exclusions cover, and what has become of no use by that."""
    if not exclusions:
        return regions, []
    left, left_out = [], []
    excluded = _united([exclusion.geometry for exclusion in exclusions])
    shapely.prepare(excluded)
    for region in regions:
        geometry = region.geometry
        if excluded.intersects(geometry):
            geometry = _polygonal(geometry.difference(excluded))
        if geometry.area < MIN_AREA:
            left_out.append(LeftOut(region.name, "exclusions cover it"))
        else:
            left.append(replace(region, geometry=geometry))
    tree = shapely.STRtree([region.geometry for region in regions])
    for exclusion in exclusions:
        if not len(tree.query(exclusion.geometry, predicate="intersects")):
            left_out.append(LeftOut(exclusion.name, f"an exclusion ({exclusion.class_name}) that touches no region"))
    return left, left_out


# From regions to tiles


def label_tiles(
    regions: Sequence[Region],
    lattice: Lattice,
    coords: np.ndarray,
    *,
    classes: Mapping[str, str],
    rule: str = "majority",
    fraction: float | None = None,
    background: str = BACKGROUND,
) -> TileLabels:
    """Give each tile a label by how much of its area the regions cover, or by which of them covers its centre.

    coords: (n, 2) int, column and row of each tile on `lattice`. classes: the label of each class; several may share
    one, and regions of other classes are not looked at. Where regions of two labels overlap, the place belongs to the
    label that comes first in `classes`; where those of one label do, it counts once.

    - `majority`: the label that covers most of the tile, the background being what none covers; with one label, more
      than half. The background wins a tie, then the first label.
    - `fraction`: the first label that covers at least `fraction` (above 0, up to 1) of the tile.
    - `any`: the first label that covers any of it. A common side is no area.
    - `centre`: the first label that covers the point in its middle, an outline being part of what it encloses, and
      that of a hole too. Source: microscope adaptation, 3.

    A tile to which the rule gives no label is `background`.

    Raises InputError for an unknown rule, a fraction that is missing, out of range or without a use, a class whose
    label is the background, and a tile outside the lattice.
    """
    _check_rule(classes, rule, fraction, background)
    names = tuple(dict.fromkeys(classes.values()))
    coords = _checked(coords, lattice)
    areas = _label_areas(regions, lattice, coords, classes, names)
    shares = np.round(areas / lattice.tile_level0_px**2, SHARE_DECIMALS)
    if rule == "majority":
        rest = np.round(1 - shares.sum(axis=1, keepdims=True), SHARE_DECIMALS)
        chosen = np.argmax(np.hstack([rest, shares]), axis=1)
    else:
        if rule == "centre":
            enough = _cover_centres(regions, lattice, coords, classes, names)
        else:
            enough = shares >= round(fraction, SHARE_DECIMALS) if rule == "fraction" else shares > 0
        chosen = np.argmax(np.hstack([~enough.any(axis=1, keepdims=True), enough]), axis=1)
    return TileLabels(names, np.asarray((background, *names))[chosen], areas)


def place_of_label(regions: Sequence[Region], label: str, *, classes: Mapping[str, str]) -> Polygon | MultiPolygon:
    """Where regions give a label, in level-0 px; of no area where they give it nowhere.

    classes: the label of each class, as for `label_tiles`, and as there a place under two labels belongs to the one
    that comes first.
    """
    names = list(dict.fromkeys(classes.values()))
    if label not in names:
        return Polygon()
    position = names.index(label)
    before, until = (_under_labels(regions, classes, names[:end]) for end in (position, position + 1))
    return until if before.is_empty else _polygonal(until.difference(before))


def _under_labels(
    regions: Sequence[Region], classes: Mapping[str, str], labels: Collection[str]
) -> Polygon | MultiPolygon:
    return _united([region.geometry for region in regions if classes.get(region.class_name) in labels])


def _check_rule(classes: Mapping[str, str], rule: str, fraction: float | None, background: str) -> None:
    if rule not in RULES:
        raise InputError(f"label rule {rule!r}: expected one of {', '.join(RULES)}")
    if rule == "fraction" and (fraction is None or not 10**-SHARE_DECIMALS <= fraction <= 1):
        raise InputError(f"label rule fraction: expected a fraction above 0 and up to 1, found {fraction}")
    if rule != "fraction" and fraction is not None:
        raise InputError(f"label rule {rule}: found a fraction ({fraction}), which only the rule `fraction` uses")
    if not classes or background in classes.values():
        raise InputError(
            f"expected the label of at least one class, and none that is {background!r}, found {dict(classes)}; "
            "a class that is not named is background"
        )


def _checked(coords: np.ndarray, lattice: Lattice) -> np.ndarray:
    coords = np.asarray(coords).reshape(-1, 2)
    outside = coords[((coords < 0) | (coords >= [lattice.columns, lattice.rows])).any(axis=1)]
    if len(outside):
        raise InputError(
            f"expected tiles on a lattice of {lattice.columns} columns and {lattice.rows} rows, "
            f"found {len(outside)} outside it, the first at column {outside[0, 0]}, row {outside[0, 1]}"
        )
    return coords


def _label_areas(
    regions: Sequence[Region], lattice: Lattice, coords: np.ndarray, classes: Mapping[str, str], names: Sequence[str]
) -> np.ndarray:
    """(n, k) float64, level-0 px²: what each label covers of each tile and no label before it does."""
    areas = np.zeros((len(coords), len(names)))
    if len(coords) == 0:
        # The lattice of a slide that gives no tile may be of no size, or of an unknown one.
        return areas
    before = np.zeros(len(coords))
    for position in range(len(names)):
        until = _tile_areas(_under_labels(regions, classes, names[: position + 1]), lattice)[coords[:, 1], coords[:, 0]]
        areas[:, position] = np.maximum(until - before, 0)
        before = until
    return areas


def _cover_centres(
    regions: Sequence[Region], lattice: Lattice, coords: np.ndarray, classes: Mapping[str, str], names: Sequence[str]
) -> np.ndarray:
    """(n, k) bool: whether each label covers the point in the middle of each tile."""
    # Rounded as the outlines are, so that what was drawn through a centre meets it.
    centres = ((coords + 0.5) * lattice.tile_level0_px).round(PLACE_DECIMALS)
    covered = np.zeros((len(coords), len(names)), bool)
    for position, name in enumerate(names):
        place = _under_labels(regions, classes, [name])
        shapely.prepare(place)
        covered[:, position] = shapely.intersects_xy(place, centres[:, 0], centres[:, 1])
    return covered


def _tile_areas(geometry: Polygon | MultiPolygon, lattice: Lattice) -> np.ndarray:
    """(rows, columns) float64, level-0 px²: how much of each tile of the lattice a geometry covers.

    Exact, by Green's theorem: a side of the outline, cut where it leaves a tile, adds what lies between it and the
    tile's left edge, and its height's share of every tile left of it in the row; sides that go down take away. The cost
    is that of the outline's length in tiles: intersecting each tile with an outline of 100,000 corners took minutes.
    """
    box = shapely.box(*lattice.area_box(0, 0, lattice.columns, lattice.rows))
    if not box.covers(shapely.box(*geometry.bounds)):
        geometry = _polygonal(geometry.intersection(box))
    places, ring = shapely.get_coordinates(
        shapely.get_rings(shapely.get_parts(shapely.orient_polygons(geometry))), return_index=True
    )
    places /= lattice.tile_level0_px
    same = ring[1:] == ring[:-1]
    starts, ends = places[:-1][same], places[1:][same]
    # One column more, for sides on the right edge of the lattice.
    shape = (lattice.rows, lattice.columns + 1)
    inside, height = np.zeros(shape), np.zeros(shape)
    for first in range(0, len(starts), SIDES_AT_ONCE):
        chunk = slice(first, first + SIDES_AT_ONCE)
        begin, end = _cut(*_cut(starts[chunk], ends[chunk], axis=0), axis=1)
        middle, rise = (begin + end) / 2, (end - begin)[:, 1]
        column = np.clip(np.floor(middle[:, 0]).astype(int), 0, lattice.columns)
        row = np.clip(np.floor(middle[:, 1]).astype(int), 0, lattice.rows - 1)
        np.add.at(inside, (row, column), rise * (middle[:, 0] - column))
        np.add.at(height, (row, column), rise)
    right_of = height[:, ::-1].cumsum(axis=1)[:, ::-1] - height
    return (inside + right_of)[:, :-1] * lattice.tile_level0_px**2


def _cut(starts: np.ndarray, ends: np.ndarray, *, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Sides (n, 2) cut at every whole number along an axis: the starts and ends of their parts, in order."""
    lowest, highest = np.minimum(starts, ends)[:, axis], np.maximum(starts, ends)[:, axis]
    first = np.floor(lowest) + 1
    cuts = np.maximum(np.ceil(highest) - first, 0).astype(int)
    side = np.repeat(np.arange(len(starts)), cuts + 1)
    part = np.arange(len(side)) - np.repeat(np.cumsum(cuts + 1) - cuts - 1, cuts + 1)
    way = (ends - starts)[side]
    forward = way[:, axis] >= 0

    def cut_at(number: np.ndarray) -> np.ndarray:
        """How far along its side the cut of this number is, from 0 to 1."""
        line = first[side] + np.where(forward, number, cuts[side] - 1 - number)
        is_cut = (number >= 0) & (number < cuts[side])
        at = np.where(number < 0, 0.0, 1.0)
        np.divide(line - starts[side, axis], way[:, axis], out=at, where=is_cut)
        return at

    return starts[side] + way * cut_at(part - 1)[:, None], starts[side] + way * cut_at(part)[:, None]
