"""Annotations of every form are read as one, what cannot be read is refused by name, and tiles get labels by area."""

import json
import logging
import math

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from shapely import MultiPolygon, Polygon, box

from workflow_scripts.lib import annotations, slides
from workflow_scripts.lib.annotations import UNCLASSIFIED, Annotations, LeftOut, Region, label_tiles, read_annotations
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.figures import annotations as drawn
from workflow_scripts.lib.tiles import Lattice

SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
HOLE = [[2, 2], [2, 6], [6, 6], [6, 2], [2, 2]]
FAR = [[20, 0], [30, 0], [30, 10], [20, 10], [20, 0]]


def geometry(kind, coordinates):
    return {"type": kind, "coordinates": coordinates}


def feature(shape, **properties):
    return {"type": "Feature", "geometry": shape, "properties": properties}


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def asap(*shapes_):
    """The XML of ASAP: for each (places, group, type) an annotation, each place (x, y) as text."""
    rows = []
    for number, (places, group, kind) in enumerate(shapes_):
        coordinates = "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}" />' for i, (x, y) in enumerate(places))
        rows.append(
            f'<Annotation Name="Annotation {number}" Type="{kind}" PartOfGroup="{group}" Color="#F4FA58">'
            f"<Coordinates>{coordinates}</Coordinates></Annotation>"
        )
    return f'<?xml version="1.0"?><ASAP_Annotations><Annotations>{"".join(rows)}</Annotations></ASAP_Annotations>'


def read(tmp_path, content, **keywords):
    return read_annotations(write(tmp_path / "annotations", content), **keywords)


def only_region(tmp_path, content):
    (region,) = read(tmp_path, content).regions
    return region


# Every real file

NO_REGION = "expected at least one region, found none in this GeoJSON file; the first of 1 left out: feature 1"
NEITHER = "expected GeoJSON, ASAP XML or CAMELYON16 JSON, found neither JSON nor XML: it begins with"

# file: (form, regions of each class), or the beginning of the refusal.
VERDICTS = {
    # The class is the group, and this one has none. Decimal commas.
    "asap/diag_example_asap_decimal_comma.xml": ("ASAP XML", {UNCLASSIFIED: 1}),
    "asap/markowetz_tiles.xml": ("ASAP XML", {"aberrant_positive_columnar": 116, "unsure": 20}),
    "asap/markowetz_xml_example.xml": ("ASAP XML", {"aberrant_positive_columnar": 1, "unsure": 1}),
    # Their lists of negatives are empty.
    "camelyon16_json/Tumor_001.json": ("CAMELYON16 JSON", {"Tumor": 2}),
    "camelyon16_json/Tumor_028.json": ("CAMELYON16 JSON", {"Tumor": 10}),
    "luna_cmu1_small_region/1006844.annotation.geojson": ("GeoJSON", {"TILs": 8, "Tumor": 4, "Other": 3}),
    "luna_cmu1_small_region/123.annotation.geojson": ("GeoJSON", {"Tumor": 1, "Other": 1}),
    # Tables of tiles and of cells.
    "luna_cmu1_small_region/123.tiles.otsu.csv": f"{NEITHER} 'address,tile_image_file",
    "luna_cmu1_small_region/123_cell_objects.csv": f"{NEITHER} 'cell_id,Name",
    "luna_cmu1_small_region/123456_annotation_from_halo.xml": "expected the XML of ASAP (<ASAP_Annotations>), found <",
    # A digital slide archive's own JSON: circles and rectangles by their centres.
    "luna_cmu1_small_region/Annotation.json": "expected GeoJSON (a FeatureCollection, features or geometries), found "
    "an object with the keys _accessLevel, _id,",
    # A cell; its nucleus is no region of its own.
    "luna_cmu1_small_region/region_annotation_results.geojson": ("GeoJSON", {"Other": 1}),
    # GeoJSON as a text within JSON.
    "luna_cmu1_small_region/regional_annotation.json": "expected a JSON object or list, found text: JSON that was enco",
    # Named, not classified.
    "qupath_geojson/dlup_qupath05.geojson": ("GeoJSON", {UNCLASSIFIED: 3}),
    "qupath_geojson/markowetz_example.geojson": ("GeoJSON", {"artifact": 1, "unsure": 1}),
    "qupath_geojson/markowetz_tiles.geojson": ("GeoJSON", {"aberrant_positive_columnar": 116, "unsure": 20}),
    "qupath_geojson/wsidicom/qupath_geojson__qupath-brush.json": ("GeoJSON", {UNCLASSIFIED: 1}),
    "qupath_geojson/wsidicom/qupath_geojson__qupath-ellipse.json": ("GeoJSON", {UNCLASSIFIED: 1}),
    "qupath_geojson/wsidicom/qupath_geojson__qupath-line.json": f"{NO_REGION} (line): LineString: points and lines enc",
    "qupath_geojson/wsidicom/qupath_geojson__qupath-multipoint.json": f"{NO_REGION} (multipoint): MultiPoint: points",
    "qupath_geojson/wsidicom/qupath_geojson__qupath-point.json": f"{NO_REGION} (point): Point: points and lines",
    "qupath_geojson/wsidicom/qupath_geojson__qupath-polygon.json": ("GeoJSON", {UNCLASSIFIED: 1}),
    # Open, as QuPath's polylines are.
    "qupath_geojson/wsidicom/qupath_geojson__qupath-polyline.json": f"{NO_REGION} (polyline): LineString: points and",
    "qupath_geojson/wsidicom/qupath_geojson__qupath-rectangle.json": ("GeoJSON", {UNCLASSIFIED: 1}),
    "qupath_geojson/wsidicom/qupath_geojson__qupath-wand.json": ("GeoJSON", {UNCLASSIFIED: 1}),
    "qupath_geojson/wsidicom/qupath_geojson_advanced__qupath-polygon-cell-classified.json": (
        "GeoJSON",
        {"Cell": 2, "Nucleus": 2},
    ),
    "../slides/diag_example_asap.xml": ("ASAP XML", {UNCLASSIFIED: 1}),
}


def test_every_file_has_a_verdict(shared_data):
    folder = shared_data / "annotations"
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert present | {"../slides/diag_example_asap.xml"} == set(VERDICTS)


@pytest.mark.parametrize("name", VERDICTS)
def test_the_verdict_on(name, shared_data):
    path = shared_data / "annotations" / name
    verdict = VERDICTS[name]
    if isinstance(verdict, str):
        with pytest.raises(InputError) as refusal:
            read_annotations(path)
        assert str(refusal.value).startswith(f"{path}: {verdict}")
        return
    found = read_annotations(path)
    classes = [region.class_name for region in found.regions]
    assert (found.form, {name: classes.count(name) for name in classes}) == verdict
    assert found.left_out == ()
    assert all(region.geometry.is_valid and region.geometry.area > 1 for region in found.regions)


def test_one_annotation_in_both_formats_gives_the_same_tile_labels(shared_data):
    folder = shared_data / "annotations"
    lattice = Lattice(columns=140, rows=140, tile_px=256, mpp=0.5, slide_mpp=0.25)
    coords = np.stack(np.meshgrid(np.arange(140), np.arange(140)), axis=-1).reshape(-1, 2)
    classes = {"unsure": "unsure", "aberrant_positive_columnar": "aberrant"}
    regions = [
        read_annotations(folder / name).regions
        for name in ("qupath_geojson/markowetz_tiles.geojson", "asap/markowetz_tiles.xml")
    ]
    for rule in ({"rule": "majority"}, {"rule": "any"}, {"rule": "fraction", "fraction": 0.1}):
        one, other = (label_tiles(each, lattice, coords, classes=classes, **rule) for each in regions)
        assert (one.labels == other.labels).all()
        np.testing.assert_allclose(one.areas, other.areas, atol=1e-3)
        assert set(one.labels) == {"unsure", "aberrant", "background"}


def test_the_region_of_a_real_slide_covers_the_tiles_that_it_states(shared_data):
    """Tumor is [1512, 2333) both ways: of 513.03-px tiles, (3, 3) and (3, 4) lie in it for the most part."""
    regions = read_annotations(shared_data / "annotations/luna_cmu1_small_region/123.annotation.geojson").regions
    lattice = Lattice(columns=4, rows=5, tile_px=512, mpp=0.5, slide_mpp=0.499)
    found = label_tiles(regions, lattice, [[3, 3], [3, 4], [2, 3], [1, 1]], classes={"Tumor": "T", "Other": "O"})
    assert found.labels.tolist() == ["T", "T", "background", "O"]
    assert found.areas[1, 0] == pytest.approx((4 * 513.026052 - 1539.078156) * (2333 - 4 * 513.026052), rel=1e-6)


# GeoJSON


@pytest.mark.parametrize(
    "document",
    [
        {"type": "FeatureCollection", "features": [feature(geometry("Polygon", [SQUARE]))]},
        feature(geometry("Polygon", [SQUARE])),
        [feature(geometry("Polygon", [SQUARE]))],
        geometry("Polygon", [SQUARE]),
        [geometry("Polygon", [SQUARE])],
        {"type": "GeometryCollection", "geometries": [geometry("Polygon", [SQUARE])]},
        feature(geometry("MultiPolygon", [[SQUARE]])),
        # Not closed, and with heights.
        geometry("Polygon", [SQUARE[:-1]]),
        geometry("Polygon", [[[x, y, 0] for x, y in SQUARE]]),
        # Each corner twice.
        geometry("Polygon", [[place for place in SQUARE for _ in range(2)]]),
    ],
    ids=str,
)
def test_every_shape_of_geojson_is_one_region(tmp_path, document):
    region = only_region(tmp_path, document)
    assert region.geometry.equals(box(0, 0, 10, 10))
    assert region.class_name == UNCLASSIFIED
    assert region.name == "feature 1"


@pytest.mark.parametrize(
    ("properties", "class_name"),
    [
        ({"classification": {"name": "Tumor", "colorRGB": -3670016}}, "Tumor"),
        ({"classification": {"name": "Tumor", "color": [200, 0, 0]}}, "Tumor"),
        ({"classification": {"names": ["Tumor", "Positive"]}}, "Tumor: Positive"),
        ({"classification": "Tumor"}, "Tumor"),
        ({"pathClass": "Tumor"}, "Tumor"),
        ({"pathClass": {"name": "Tumor"}}, "Tumor"),
        ({"label": "Tumor", "group": "Other"}, "Tumor"),
        ({"label": 1}, "1"),
        ({"classification": {"name": None}, "label": ""}, UNCLASSIFIED),
        ({"name": "Tumor"}, UNCLASSIFIED),
        ({"classification": "  Tumor\n bed "}, "Tumor bed"),
        (
            {"classification": "../../etc/passwd\x1b[2J\ud800"},
            "../../etc/passwd\ufffd[2J\ufffd",
        ),
    ],
)
def test_the_class_of_a_feature(tmp_path, properties, class_name):
    assert only_region(tmp_path, feature(geometry("Polygon", [SQUARE]), **properties)).class_name == class_name


@pytest.mark.parametrize("found", [["a"], 1.5, True])
def test_a_class_that_is_no_text_is_refused(tmp_path, found):
    with pytest.raises(InputError, match=r"feature 1 \(A\): expected a text as class, found (list|float|bool)"):
        read(tmp_path, feature(geometry("Polygon", [SQUARE]), name="A", classification=found))


def test_a_region_is_named_by_its_number_and_its_name_or_id(tmp_path):
    shape = geometry("Polygon", [SQUARE])
    document = [feature(shape, name="A"), feature(shape) | {"id": "b-1"}, feature(shape) | {"properties": None}]
    assert [one.name for one in read(tmp_path, document).regions] == ["feature 1 (A)", "feature 2 (b-1)", "feature 3"]


def test_children_that_qupath_nests_in_a_feature_are_regions_too(tmp_path):
    child = feature(geometry("Polygon", [FAR]), name="child")
    parent = feature(geometry("Polygon", [SQUARE]), name="parent", childObjects=[child])
    assert [one.name for one in read(tmp_path, parent).regions] == ["feature 1 (parent)", "feature 2 (child)"]


def test_a_hole_is_not_in_the_region(tmp_path):
    assert only_region(tmp_path, geometry("Polygon", [SQUARE, HOLE])).geometry.area == 100 - 16


def test_the_parts_of_a_multipolygon_are_one_region_and_each_has_its_holes(tmp_path):
    region = only_region(tmp_path, geometry("MultiPolygon", [[SQUARE, HOLE], [FAR]]))
    assert isinstance(region.geometry, MultiPolygon)
    assert region.geometry.area == 184


def test_parts_of_a_multipolygon_that_overlap_count_once(tmp_path):
    shifted = [[x + 5, y] for x, y in SQUARE]
    assert only_region(tmp_path, geometry("MultiPolygon", [[SQUARE], [shifted]])).geometry.area == 150


def test_points_and_lines_beside_polygons_are_left_out_with_the_reason(tmp_path):
    mixed = {
        "type": "GeometryCollection",
        "geometries": [geometry("Point", [1, 1]), geometry("Polygon", [SQUARE]), geometry("Point", [2, 2])],
    }
    line = feature(geometry("LineString", [[0, 0], [1, 1]]), name="vessel")
    found = read(tmp_path, [feature(mixed), line, feature(None)])
    assert [one.name for one in found.regions] == ["feature 1"]
    assert found.left_out == (
        LeftOut("feature 1", "2 × Point: points and lines enclose no area"),
        LeftOut("feature 2 (vessel)", "LineString: points and lines enclose no area"),
        LeftOut("feature 3", "it has no geometry"),
    )


FLAT, CORNER = [[0, 0], [9, 0], [4, 0]], [[0, 0], [1, 0], [0, 1]]


@pytest.mark.parametrize("coordinates", [[], [[]], [[[1, 1]]], [[[1, 1], [5, 5], [1, 1]]], [FLAT], [CORNER]])
def test_the_trace_of_a_click_is_left_out(tmp_path, coordinates):
    found = read(tmp_path, [geometry("Polygon", coordinates), geometry("Polygon", [SQUARE])])
    assert len(found.regions) == 1
    assert found.left_out == (LeftOut("feature 1", "it encloses less than a pixel"),)


def test_what_was_read_and_left_out_is_logged(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        read(tmp_path, [geometry("Polygon", [SQUARE]), geometry("Point", [1, 1])])
    assert "GeoJSON, 1 regions, 1 features left out" in caplog.text
    assert "left out: feature 2: Point" in caplog.text


# Self-intersections


def test_a_bow_tie_is_its_two_triangles(tmp_path):
    region = only_region(tmp_path, geometry("Polygon", [[[0, 0], [10, 10], [10, 0], [0, 10]]]))
    assert region.geometry.is_valid
    assert region.geometry.area == 50


@given(
    corners=st.lists(st.tuples(st.integers(-500, 500), st.integers(-500, 500)), min_size=3, max_size=7, unique=True),
    kind=st.sampled_from(["GeoJSON", "ASAP"]),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_outline_becomes_a_valid_region_within_its_hull_or_is_refused_by_name(tmp_path, corners, kind):
    text = asap((corners, "a", "Polygon")) if kind == "ASAP" else geometry("Polygon", [corners])
    try:
        region = only_region(tmp_path, text)
    except InputError as error:
        assert "feature 1" in str(error)
        return
    assert region.geometry.is_valid
    assert isinstance(region.geometry, Polygon | MultiPolygon)
    assert region.geometry.difference(shapely.MultiPoint(corners).convex_hull).area < 1e-6
    if Polygon(corners).is_valid:
        assert region.geometry.area == Polygon(corners).area


def test_a_little_loop_at_the_join_of_an_outline_is_mended(tmp_path):
    outline = [[0, 0], [100, 0], [100, 100], [0, 100], [0, -5], [-5, -5], [-5, 3], [4, 3], [4, 0]]
    assert 10_000 <= only_region(tmp_path, geometry("Polygon", [outline])).geometry.area <= 10_050


def test_a_star_whose_middle_is_in_doubt_is_refused_by_name_with_the_place(tmp_path):
    turns = [4 * math.pi / 5 * step for step in range(5)]
    star = [[100 * math.cos(turn), 100 * math.sin(turn)] for turn in turns]
    with pytest.raises(InputError, match=r"feature 1 \(star\): its outline crosses itself at \(.*\) and may encl"):
        read(tmp_path, feature(geometry("Polygon", [star]), name="star"))


def test_a_hole_that_reaches_past_the_outline_is_still_a_hole(tmp_path):
    across, beside = [[8, 2], [12, 2], [12, 8], [8, 8]], [[20, 2], [22, 2], [22, 8], [20, 8]]
    assert only_region(tmp_path, geometry("Polygon", [SQUARE, across, beside])).geometry.area == 88


def test_corners_are_told_apart_to_a_millionth_of_a_pixel(tmp_path):
    ring = [[0, 0], [10, 1e-84], [10, 10], [10, 10.0000001], [0, 10]]
    found = only_region(tmp_path, geometry("Polygon", [ring]))
    assert shapely.get_coordinates(found.geometry).tolist() == [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]


def test_holes_that_overlap_are_one(tmp_path):
    other = [[4, 4], [8, 4], [8, 8], [4, 8]]
    assert only_region(tmp_path, geometry("Polygon", [SQUARE, HOLE, other])).geometry.area == 100 - 28


def test_a_scribble_is_refused_before_it_takes_long(tmp_path):
    scribble = np.random.default_rng(1).uniform(0, 10_000, (3_000, 2)).round(1).tolist()
    with pytest.raises(InputError, match=r"feature 1: its outline crosses itself in more than 2000 places"):
        read(tmp_path, geometry("Polygon", [scribble]))


# ASAP

PLACES = [("0", "0"), ("10", "0"), ("10", "10"), ("0", "10")]


def test_asap_has_its_class_from_the_group(tmp_path):
    found = read(tmp_path, asap((PLACES, "Tumor", "Polygon"), (PLACES, "None", "Rectangle"), (PLACES, "a", "Spline")))
    assert found.form == "ASAP XML"
    assert [one.class_name for one in found.regions] == ["Tumor", UNCLASSIFIED, "a"]
    assert found.regions[0].name == "feature 1 (Annotation 0)"
    assert all(one.geometry.equals(box(0, 0, 10, 10)) for one in found.regions)


def test_asap_dots_are_left_out(tmp_path):
    found = read(tmp_path, asap((PLACES, "a", "Polygon"), (PLACES[:1], "a", "Dot")))
    reason = "type 'Dot': only Polygon, Rectangle, Spline enclose an area"
    assert found.left_out == (LeftOut("feature 2 (Annotation 1)", reason),)


def test_a_decimal_comma_is_a_decimal_point(tmp_path):
    places = [("0,25", "0"), ("10,75", "0"), ("10,75", "1e1"), ("0,25", "10.0")]
    assert only_region(tmp_path, asap((places, "a", "Polygon"))).geometry.bounds == (0.25, 0, 10.75, 10)


@pytest.mark.parametrize("number", ["1.234,5", "1,234,5", "nan", "inf", "1_0", "", "0x10", " 5", "1e9999", "٣"])
def test_what_is_no_number_is_refused_by_name(tmp_path, number):
    with pytest.raises(InputError, match=r"feature 1 \(Annotation 0\): expected a number"):
        read(tmp_path, asap(([*PLACES, (number, "5")], "a", "Polygon")))


def test_asap_coordinates_are_in_their_stated_order(tmp_path):
    text = asap((PLACES, "a", "Polygon"))
    swapped = text.replace('Order="1"', 'Order="x"').replace('Order="2"', 'Order="1"').replace('Order="x"', 'Order="2"')
    assert only_region(tmp_path, swapped).geometry.area == 50
    # Where the order is stated twice for one, or not at all, the places are taken as they stand.
    for other in ("Order", "Other"):
        unordered = text.replace('Order="3"', f'{other}="0"')
        assert only_region(tmp_path, unordered).geometry.area == 100


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_the_encoding_of_xml_is_the_one_that_it_states(tmp_path, encoding):
    text = asap((PLACES, "Tumör", "Polygon")).replace("?>", f' encoding="{encoding.removesuffix("-sig")}"?>', 1)
    (tmp_path / "a").write_bytes(text.encode(encoding))
    assert read_annotations(tmp_path / "a").regions[0].class_name == "Tumör"


BOMB = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<ASAP_Annotations><Annotations>&b;</Annotations></ASAP_Annotations>"""
FOREIGN = """<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><ASAP_Annotations>&a;</ASAP_Annotations>"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "expected plain XML, found a document type or entities"),
        (FOREIGN, "expected plain XML, found a document type or entities"),
        ("<ASAP_Annotations><Annotations>", "expected XML, found: no element found"),
        ('<?xml version="1.0" encoding="none"?><a/>', "expected XML, found: unknown encoding"),
        ("<Annotations><Annotation/></Annotations>", r"found <Annotations>; export Halo's and Aperio's"),
        ("<a>" * 100_000 + "</a>" * 100_000, "found <a>"),
        ("<ASAP_Annotations/>", "expected at least one region, found none in this ASAP XML file$"),
    ],
    ids=["bomb", "foreign entity", "cut short", "encoding", "Halo", "deep", "empty"],
)
def test_xml_that_is_not_asaps_is_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)


# CAMELYON16 and exclusions


def test_camelyon16_negatives_are_holes_in_its_tumours(tmp_path):
    document = {
        "positive": [{"name": "_0", "vertices": SQUARE[:-1]}, {"name": "_1", "vertices": FAR}],
        "negative": [{"name": "_2", "vertices": HOLE}],
    }
    found = read(tmp_path, document)
    assert found.form == "CAMELYON16 JSON"
    assert [(one.name, one.class_name) for one in found.regions] == [
        ("feature 1 (_0)", "Tumor"),
        ("feature 2 (_1)", "Tumor"),
    ]
    assert [one.geometry.area for one in found.regions] == [84, 100]


@pytest.mark.parametrize(
    "wrong", [{"positive": [1]}, {"positive": [], "negative": 3}, {"positive": [], "negative": {}}]
)
def test_camelyon16_of_another_shape_is_refused(tmp_path, wrong):
    with pytest.raises(InputError, match="expected lists of objects with name and vertices"):
        read(tmp_path, wrong)


@pytest.mark.parametrize(("tumour", "hole"), [("_0", "_2"), ("_1", "_2"), ("Tumor", "Exclusion")])
def test_exclusions_of_camelyon16s_xml_are_holes(tmp_path, tumour, hole):
    region = only_region(tmp_path, asap((HOLE[:-1], hole, "Polygon"), (SQUARE[:-1], tumour, "Polygon")))
    assert (region.class_name, region.geometry.area) == (tumour, 84)


def test_other_classes_are_exclusions_when_they_are_named(tmp_path):
    document = [
        feature(geometry("Polygon", [SQUARE]), classification="_2"),
        feature(geometry("Polygon", [HOLE]), classification="Necrosis"),
    ]
    (region,) = read(tmp_path, document, exclusions=["Necrosis"]).regions
    assert (region.class_name, region.geometry.area) == ("_2", 84)
    assert len(read(tmp_path, document, exclusions=[]).regions) == 2


def test_what_exclusions_make_of_no_use_is_left_out(tmp_path):
    document = [
        feature(geometry("Polygon", [SQUARE]), classification="Exclusion"),
        feature(geometry("Polygon", [HOLE]), classification="Tumor"),
        feature(geometry("Polygon", [FAR]), classification="Tumor"),
        feature(geometry("Polygon", [[[x, y + 50] for x, y in FAR]]), classification="Exclusion"),
    ]
    found = read(tmp_path, document)
    assert [one.name for one in found.regions] == ["feature 3"]
    assert found.left_out == (
        LeftOut("feature 2", "exclusions cover it"),
        LeftOut("feature 4", "an exclusion (Exclusion) that touches no region"),
    )


# What is not trusted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "neither JSON nor XML: it is empty"),
        ("x\ty\n1\t2\n", r"neither JSON nor XML: it begins with 'x y 1 2'"),
        ("{", "expected JSON, found: Expecting property name"),
        ('"[]"', "JSON that was encoded twice"),
        ("[]", "expected at least one region, found none in this GeoJSON file$"),
        ("{}", "expected GeoJSON .* found an object with the keys none"),
        ("[1]", "expected GeoJSON .* found int"),
        ('{"type": "FeatureCollection", "features": 1}', "found an object of type 'FeatureCollection'"),
        ('{"type": ["Feature"]}', "found an object with the keys type"),
        (
            '{"type": "Feature", "geometry": {"type": "Circle", "coordinates": []}}',
            "feature 1: expected a GeoJSON",
        ),
        ('{"type": "Feature", "geometry": [1]}', "feature 1: expected a GeoJSON geometry, found list"),
        ('{"type": "Feature", "properties": 1}', "expected GeoJSON .* found an object of type 'Feature'"),
        ('{"type": "MultiPolygon", "coordinates": [1]}', "feature 1: expected polygons as lists of rings"),
        ("[" * 100_000, "nested hundreds deep"),
        ("[" * 100_000 + "]" * 100_000, "nested hundreds deep"),
        ('{"type": "GeometryCollection", "geometries": [' * 100_000 + "]}" * 100_000, "nested hundreds deep"),
        ("[" + "9" * 5000 + "]", "expected JSON, found"),
    ],
    ids=lambda text: text[:40],
)
def test_a_file_that_is_no_annotation_is_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as refusal:
        read(tmp_path, text)
    assert str(refusal.value).startswith(str(tmp_path))
    assert len(str(refusal.value)) < 600


def test_collections_as_deep_as_json_may_be_are_read(tmp_path):
    deep = '{"type": "GeometryCollection", "geometries": [' * 300
    region = only_region(tmp_path, deep + json.dumps(geometry("Polygon", [SQUARE])) + "]}" * 300)
    assert region.geometry.area == 100


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e9", "-1e9", "1e400", "10000001", "1" * 18])
def test_coordinates_that_no_slide_has_are_refused_by_name(tmp_path, number):
    text = json.dumps(feature(geometry("Polygon", [[[0, 0], [5, 5], ["N", 5]]]), name="A")).replace('"N"', number)
    with pytest.raises(InputError, match=r"feature 1 \(A\): expected coordinates in level-0 px, at most 10,000,000"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "place", [["1", "2"], None, [1], [1, 2, 3, 4], {"x": 1}, [[1, 2]], [None, 1], ["a", 1], [10**30, 1]], ids=str
)
def test_places_that_are_no_pairs_of_numbers_are_refused_by_name(tmp_path, place):
    with pytest.raises(InputError, match=r"feature 1: expected a ring as a list of places"):
        read(tmp_path, geometry("Polygon", [[[0, 0], [5, 5], place]]))


def test_other_bytes_are_refused(tmp_path):
    (tmp_path / "a").write_bytes(b'{"type": "\xff"}')
    with pytest.raises(InputError, match="expected JSON as UTF-8 text"):
        read_annotations(tmp_path / "a")
    for absent in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="expected an annotation file, found none"):
            read_annotations(absent)


def test_a_file_that_is_too_large_is_refused_without_reading_it(tmp_path):
    with open(tmp_path / "a", "wb") as file:
        file.truncate(annotations.MAX_BYTES + 2**20)
    with pytest.raises(InputError, match="expected at most 256 MB, found 257 MB; export"):
        read_annotations(tmp_path / "a")


# Tile labels

LATTICE = Lattice(columns=4, rows=3, tile_px=10, mpp=1.0, slide_mpp=1.0)
ALL = np.stack(np.meshgrid(np.arange(4), np.arange(3)), axis=-1).reshape(-1, 2)


def region(shape, class_name="Tumor"):
    return Region("feature 1", class_name, shape)


def labels_of(regions, *, classes=None, coords=ALL, lattice=LATTICE, **rule):
    return label_tiles(regions, lattice, coords, classes=classes or {"Tumor": "tumour"}, **rule)


def test_areas_are_those_under_each_tile_and_everything_else_is_background():
    found = labels_of([region(box(5, 0, 22, 10))])
    assert found.names == ("tumour",)
    assert found.areas[:, 0] == pytest.approx([50, 100, 20, 0] + [0] * 8)
    assert found.labels.tolist() == ["background", "tumour"] + ["background"] * 10


def test_half_of_a_tile_is_no_majority_and_is_a_fraction_of_a_half():
    half = [region(box(0, 0, 5, 10))]
    assert labels_of(half, coords=[[0, 0]]).labels.tolist() == ["background"]
    assert labels_of([region(box(0, 0, 5.001, 10))], coords=[[0, 0]]).labels.tolist() == ["tumour"]
    assert labels_of(half, coords=[[0, 0]], rule="fraction", fraction=0.5).labels.tolist() == ["tumour"]
    assert labels_of(half, coords=[[0, 0]], rule="fraction", fraction=0.501).labels.tolist() == ["background"]


def test_any_is_a_touch_with_an_area():
    found = labels_of([region(box(10, 0, 20.01, 10))], rule="any", background="normal")
    assert found.labels[:4].tolist() == ["normal", "tumour", "tumour", "normal"]


def test_the_label_of_the_centre_is_that_of_the_region_which_covers_it():
    # Of the tiles of 10 px in the first row, the centres lie at 5, 15, 25 and 35.
    found = labels_of([region(box(4, 4, 16, 6)), region(box(0, 0, 40, 4.9))], rule="centre")
    assert found.labels.tolist() == ["tumour", "tumour"] + ["background"] * 10
    # The shares are those of the area all the same.
    assert found.areas[:2, 0] == pytest.approx([49 + 6 * 1.1, 49 + 6 * 1.1])
    assert labels_of([region(box(11, 1, 14.9, 9))], rule="centre", background="normal").labels[1] == "normal"


def test_a_centre_on_an_outline_lies_inside_also_on_that_of_a_hole():
    triangle = Polygon([(0, 0), (10, 0), (0, 10)])
    for shape in (box(5, 0, 10, 10), box(0, 0, 5, 5), triangle, box(0, 0, 10, 10).difference(box(5, 2, 8, 8))):
        assert labels_of([region(shape)], coords=[[0, 0]], rule="centre").labels == ["tumour"]
    for shape in (box(5.001, 0, 10, 10), box(0, 0, 10, 10).difference(box(4.999, 2, 8, 8))):
        assert labels_of([region(shape)], coords=[[0, 0]], rule="centre").labels == ["background"]
    # Between two labels it is the first one's.
    halves = [region(box(0, 0, 5, 10), "Stroma"), region(box(5, 0, 10, 10))]
    assert labels_of(halves, classes=CLASSES, coords=[[0, 0]], rule="centre").labels == ["tumour"]
    # Half a tile is 0.15000000000000002 px by the computer's numbers.
    lattice = Lattice(columns=1, rows=1, tile_px=3, mpp=0.1, slide_mpp=1.0)
    assert lattice.tile_level0_px / 2 != 0.15
    on_it = [region(Polygon([(0, 0), (0.15, 0), (0.15, 9), (0, 9)]))]
    assert labels_of(on_it, lattice=lattice, coords=[[0, 0]], rule="centre").labels == ["tumour"]


def test_a_centre_under_several_labels_has_the_first_and_several_regions_of_one_label_are_one():
    regions = [region(box(0, 0, 10, 10), "Stroma"), region(box(4, 4, 6, 6), "_0"), region(box(8, 0, 14, 10), "_0")]
    found = labels_of(regions, classes=CLASSES, coords=[[0, 0], [1, 0]], rule="centre")
    assert found.labels.tolist() == ["tumour", "background"]
    other_way = {"Stroma": "stroma", "Tumor": "tumour", "_0": "tumour"}
    assert labels_of(regions, classes=other_way, coords=[[0, 0]], rule="centre").labels == ["stroma"]
    apart = [region(MultiPolygon([box(0, 0, 1, 1), box(14, 4, 16, 6)]))]
    assert labels_of(apart, coords=[[0, 0], [1, 0]], rule="centre").labels.tolist() == ["background", "tumour"]
    assert labels_of([], rule="centre").labels.tolist() == ["background"] * 12
    none_at_all = np.zeros((0, 2), np.int32)
    assert labels_of(apart, coords=none_at_all, rule="centre").labels.shape == (0,)


def test_the_share_of_a_third_is_a_fraction_of_a_third():
    lattice = Lattice(columns=1, rows=1, tile_px=3, mpp=0.1, slide_mpp=0.1)
    third = [region(box(0, 0, 1, 3))]
    assert labels_of(third, coords=[[0, 0]], lattice=lattice, rule="fraction", fraction=1 / 3).labels == ["tumour"]


CLASSES = {"Tumor": "tumour", "Stroma": "stroma", "_0": "tumour"}


def test_the_place_of_a_label_is_without_what_an_earlier_label_has():
    regions = [region(box(0, 0, 10, 10), "a"), region(box(5, 0, 15, 10), "b"), region(box(14, 0, 20, 10), "c")]
    regions += [region(box(0, 0, 99, 99), "none of these")]
    classes = {"a": "first", "b": "second", "c": "second"}
    place = annotations.place_of_label(regions, "second", classes=classes)
    assert place.equals(box(10, 0, 20, 10))
    assert annotations.place_of_label(regions, "first", classes=classes).equals(box(0, 0, 10, 10))
    covered = annotations.place_of_label(regions[:1], "second", classes=classes)
    assert covered.area == annotations.place_of_label(regions, "third", classes=classes).area == 0


def test_where_labels_overlap_the_place_belongs_to_the_first():
    regions = [region(box(0, 0, 10, 10), "Stroma"), region(box(0, 0, 4, 10), "_0"), region(box(0, 0, 3, 10))]
    found = labels_of(regions, classes=CLASSES, coords=[[0, 0]])
    assert found.names == ("tumour", "stroma")
    assert found.areas == pytest.approx(np.array([[40, 60]]))
    assert found.labels == ["stroma"]
    assert labels_of(regions, classes=CLASSES, coords=[[0, 0]], rule="any").labels == ["tumour"]
    other_way = labels_of(regions, classes={"Stroma": "stroma", "Tumor": "tumour"}, coords=[[0, 0]])
    assert other_way.areas == pytest.approx(np.array([[100, 0]]))


def test_the_majority_of_several_labels_is_the_largest_share_and_ties_are_fixed():
    stripes = [region(box(0, 0, 4, 10)), region(box(4, 0, 8, 10), "Stroma")]
    assert labels_of(stripes, classes=CLASSES, coords=[[0, 0]]).labels == ["tumour"]
    thirds = [region(box(0, 0, 10 / 3, 10)), region(box(10 / 3, 0, 20 / 3, 10), "Stroma")]
    assert labels_of(thirds, classes=CLASSES, coords=[[0, 0]]).labels == ["background"]


def test_classes_that_are_not_named_are_not_looked_at():
    assert set(labels_of([region(box(0, 0, 40, 30), "tumor")]).labels) == {"background"}


def test_a_slide_without_regions_or_tiles_has_background_or_nothing():
    found = labels_of([])
    assert set(found.labels) == {"background"}
    assert not found.areas.any()
    none_at_all = np.zeros((0, 2), np.int32)
    none = labels_of([region(box(0, 0, 5, 5))], coords=none_at_all)
    assert (none.labels.shape, none.areas.shape) == ((0,), (0, 1))
    empty = Lattice(columns=0, rows=0, tile_px=10, mpp=1.0, slide_mpp=1.0)
    assert labels_of([region(box(0, 0, 5, 5))], lattice=empty, coords=none_at_all).areas.shape == (0, 1)


def test_regions_past_the_lattice_count_only_within():
    across = [region(box(-1e6, -1e6, 15, 1e6)), region(box(500, 500, 600, 600)), region(box(-20, -20, -10, -10))]
    assert labels_of(across).areas[:, 0] == pytest.approx([100, 50, 0, 0] * 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rule": "most"}, "label rule 'most': expected one of majority, any, fraction, centre"),
        ({"rule": "fraction"}, "expected a fraction above 0 and up to 1, found None"),
        ({"rule": "fraction", "fraction": 0}, "found 0"),
        ({"rule": "fraction", "fraction": 1.1}, "found 1.1"),
        ({"rule": "fraction", "fraction": math.nan}, "found nan"),
        ({"rule": "any", "fraction": 0.5}, r"found a fraction \(0.5\), which only the rule `fraction` uses"),
        ({"classes": {"Tumor": "background"}}, "a class that is not named is background"),
        ({"coords": [[0, 0], [4, 0]]}, "found 1 outside it, the first at column 4, row 0"),
        ({"coords": [[-1, 0]]}, "found 1 outside it"),
    ],
)
def test_labelling_that_makes_no_sense_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        labels_of([region(box(0, 0, 5, 5))], **wrong)


def test_no_class_at_all_is_refused():
    with pytest.raises(InputError, match="expected the label of at least one class"):
        label_tiles([], LATTICE, ALL, classes={})


@st.composite
def shapes(draw):
    """A valid region around a 40 × 30 px lattice and past it, often with corners on its lines, some with a hole."""
    anywhere = st.floats(-15, 55, allow_nan=False).map(lambda number: round(number, annotations.PLACE_DECIMALS))
    number = st.one_of(st.integers(-2, 9).map(lambda line: line * 5.0), anywhere)
    corners = draw(st.lists(st.tuples(number, number), min_size=3, max_size=8, unique=True))
    shape = shapely.make_valid(Polygon(corners), method="structure", keep_collapsed=False)
    if draw(st.booleans()):
        left, top = draw(number), draw(number)
        shape = shape.difference(box(left, top, left + 7, top + 7))
    assume(shape.geom_type in ("Polygon", "MultiPolygon") and shape.area > 1)
    return shape


REGIONS = st.lists(st.builds(region, shapes(), st.sampled_from(["Tumor", "Stroma", "other"])), max_size=4)


@given(shape=shapes())
@settings(max_examples=200, deadline=None)
def test_the_area_in_a_tile_is_the_intersections(shape):
    found = labels_of([region(shape)])
    expected = [shape.intersection(box(*LATTICE.tile_box(*place))).area for place in ALL.tolist()]
    np.testing.assert_allclose(found.areas[:, 0], expected, atol=1e-7)


@given(regions=REGIONS)
@settings(max_examples=150, deadline=None)
def test_areas_sum_up_to_the_union_and_no_tile_is_more_than_full(regions):
    found = labels_of(regions, classes=CLASSES)
    union = shapely.union_all([one.geometry for one in regions if one.class_name in CLASSES] or [Polygon()])
    assert found.areas.sum() == pytest.approx(union.intersection(box(0, 0, 40, 30)).area, abs=1e-6)
    assert (found.areas >= 0).all()
    assert (found.areas.sum(axis=1) <= 100 + 1e-6).all()


@given(regions=REGIONS, low=st.floats(0.01, 1), high=st.floats(0.01, 1))
@settings(max_examples=150, deadline=None)
def test_any_labels_what_a_fraction_does_and_that_what_a_larger_one_does(regions, low, high):
    low, high = sorted([low, high])
    labelled = [
        labels_of(regions, classes=CLASSES, **rule).labels != "background"
        for rule in (
            {"rule": "any"},
            {"rule": "fraction", "fraction": low},
            {"rule": "fraction", "fraction": high},
            {"rule": "majority"},
        )
    ]
    assert (labelled[0] >= labelled[1]).all()
    assert (labelled[1] >= labelled[2]).all()
    assert (labelled[0] >= labelled[3]).all()


@given(regions=REGIONS, seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_the_order_of_regions_and_tiles_does_not_matter(regions, seed):
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(ALL))
    shuffled = [regions[position] for position in generator.permutation(len(regions))]
    one, other = labels_of(regions, classes=CLASSES), labels_of(shuffled, classes=CLASSES, coords=ALL[order])
    np.testing.assert_allclose(one.areas[order], other.areas, atol=1e-9)
    assert (one.labels[order] == other.labels).all()


def test_a_tile_of_a_fractional_side_is_where_the_lattice_says():
    lattice = Lattice(columns=12, rows=12, tile_px=512, mpp=0.5, slide_mpp=0.2525)
    whole = [region(box(*lattice.tile_box(7, 9)))]
    coords = np.stack(np.meshgrid(np.arange(12), np.arange(12)), axis=-1).reshape(-1, 2)
    found = labels_of(whole, coords=coords, lattice=lattice, rule="any")
    assert coords[found.labels == "tumour"].tolist() == [[7, 9]]


def test_an_outline_of_many_corners_is_cut_in_chunks_with_the_same_result(monkeypatch):
    turns = np.linspace(0, 2 * np.pi, 500, endpoint=False)
    circle = np.column_stack([20 + 13 * np.cos(turns), 15 + 13 * np.sin(turns)])
    ring = Polygon(circle, [[(18, 13), (22, 13), (20, 17)]])
    at_once = labels_of([region(ring)]).areas
    monkeypatch.setattr(annotations, "SIDES_AT_ONCE", 7)
    np.testing.assert_allclose(labels_of([region(ring)]).areas, at_once, atol=1e-9)


# The figure


def texts(figure):
    figure.draw_without_rendering()
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    return legend, " ".join(figure.axes[1].texts[0].get_text().split())


def draw(regions, left_out=(), **changed):
    keywords = {"classes": {"_0": "tumour", "Stroma": "Stroma"}, "thumbnail": np.full((30, 40, 3), 230, np.uint8)}
    keywords |= {"width": 4000, "height": 3000, "slide_mpp": 0.5, "slide_id": "S"} | changed
    return drawn.annotated_slide(Annotations("GeoJSON", tuple(regions), tuple(left_out)), **keywords)


def test_the_figure_names_each_class_with_its_regions_and_its_size():
    regions = [
        region(box(0, 0, 1000, 1000), "$\\frac{"),
        region(box(0, 0, 1000, 1000), "Stroma"),
        region(box(0, 0, 20, 20), "_0"),
        region(box(100, 0, 120, 20), "_0"),
    ]
    legend, remarks = texts(draw(regions))
    assert legend == [
        "_0, as tumour: 2 regions, 200 µm²",
        "Stroma: 1 region, 0.25 mm²",
        "$\\frac{ (labels no tile): 1 region, 0.25 mm²",
    ]
    assert remarks == "GeoJSON: 4 regions."


def test_the_figure_says_what_lies_off_the_slide_and_what_was_left_out():
    regions = [region(box(3900, 0, 4100, 100)), region(box(5000, 0, 5100, 100))]
    left_out = [LeftOut(f"feature {number} ($_{{)", "Point: points and lines enclose no area") for number in range(5)]
    _, remarks = texts(draw(regions, left_out, thumbnail=None))
    assert "Outside the slide: 1; is this the file of another slide? Past the slide's edge: 1." in remarks
    assert "Left out: feature 0 ($_{): Point: points and lines enclose no area; feature 1" in remarks
    assert remarks.endswith("and 2 more.")


def test_a_class_has_its_colour_whatever_others_a_slide_has():
    classes = {"a": "A", "b": "B"}
    both = draw([region(box(0, 0, 9, 9), "a"), region(box(0, 0, 9, 9), "b")], classes=classes)
    one = draw([region(box(0, 0, 9, 9), "b")], classes=classes)
    colours = [[patch.get_edgecolor() for patch in figure.legends[0].get_patches()] for figure in (both, one)]
    assert colours[0][1] == colours[1][0] != colours[0][0]


def test_a_real_annotation_is_drawn_over_its_slide(shared_data):
    with slides.open_slide(shared_data / "slides" / "diag_example.tif") as slide:
        thumbnail = np.asarray(slides.thumbnail(slide, longest_side=400))
        width, height = slide.dimensions
    found = read_annotations(shared_data / "slides" / "diag_example_asap.xml")
    figure = drawn.annotated_slide(
        found,
        classes={UNCLASSIFIED: "tumour"},
        thumbnail=thumbnail,
        width=width,
        height=height,
        slide_mpp=0.987,
        slide_id="diag_example",
    )
    assert texts(figure) == (["unclassified, as tumour: 1 region, 0.0188 mm²"], "ASAP XML: 1 region.")
