"""Exports read back, by programs that are not ours, as the layer that they were made of."""

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import fromstring

import numpy as np
import openslide
import pytest
import shapely
import tifffile
from layered import NAMED, make_layer, some_layer

from workflow_scripts.lib import exports, tiles
from workflow_scripts.lib.annotations import read_annotations
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.layers import Layer

COLOURS = [tuple(bytes.fromhex(category.colour[1:])) for category in NAMED]


def features(path: Path) -> list[dict]:
    collection = json.loads(path.read_text(encoding="utf-8"))
    assert collection["type"] == "FeatureCollection"
    return collection["features"]


def painted(layer: Layer, width: int, height: int) -> np.ndarray:
    """A level of a layer's picture, pixel by pixel: the colour of the tile that the pixel's centre lies in."""
    picture = np.empty((height, width, 3), np.uint8)
    rows, columns = layer.codes.shape
    for j in range(height):
        for i in range(width):
            x, y = (i + 0.5) * layer.width / width, (j + 0.5) * layer.height / height
            code = 0
            for row in range(rows):
                for column in range(columns):
                    lattice = tiles.Lattice(columns, rows, 1, layer.tile_level0_px, 1.0)
                    left, top, right, bottom = lattice.tile_box(column, row)
                    if left <= x < right and top <= y < bottom:
                        code = layer.codes[row, column]
            picture[j, i] = COLOURS[code]
    return picture


def levels_of(path: Path) -> list[np.ndarray]:
    with tifffile.TiffFile(path) as tiff:
        return [level.asarray() for level in tiff.series[0].levels]


# GeoJSON


def test_the_same_tiles_are_read_back(tmp_path):
    layer = some_layer()
    exports.write_geojson(tmp_path / "S1.geojson", layer)
    found = features(tmp_path / "S1.geojson")
    lattice = tiles.Lattice(4, 3, 1, layer.tile_level0_px, 1.0)
    expected = [(column, row) for row, column in np.argwhere(layer.codes)]
    assert len(found) == len(expected) == 8
    for feature, (column, row) in zip(found, expected, strict=True):
        polygon = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert polygon.is_valid
        assert polygon.equals_exact(shapely.box(*lattice.tile_box(column, row)).normalize(), 1e-6, normalize=True)
        assert np.allclose(polygon.bounds, lattice.tile_box(column, row), rtol=0, atol=1e-6)
        category = NAMED[layer.codes[row, column]]
        classification = feature["properties"]["classification"]
        assert classification == {"name": category.name, "color": list(COLOURS[layer.codes[row, column]])}


def test_scores_are_measurements_and_a_tile_without_one_has_none(tmp_path):
    layer = some_layer()
    exports.write_geojson(tmp_path / "S1.geojson", layer)
    for feature in features(tmp_path / "S1.geojson"):
        properties = feature["properties"]
        column, row = (int(word.split()[1]) for word in properties["name"].split(", "))
        score = layer.scores["A probability"][row, column]
        measured = properties["measurements"]
        assert (measured == {}) if np.isnan(score) else (np.float32(measured["A probability"]) == score)
        assert properties["objectType"] == "tile"
        assert properties["isLocked"] is True
    assert "NaN" not in (tmp_path / "S1.geojson").read_text(encoding="utf-8")


def test_our_own_reader_of_annotations_reads_the_tiles(tmp_path):
    layer = some_layer()
    exports.write_geojson(tmp_path / "S1.geojson", layer)
    found = read_annotations(tmp_path / "S1.geojson")
    assert found.form == "GeoJSON"
    assert not found.left_out
    assert {region.class_name for region in found.regions} == {category.name for category in NAMED[1:]}
    assert sum(region.geometry.area for region in found.regions) == pytest.approx(8 * 254.27**2)


def test_no_tissue_is_a_collection_without_features(tmp_path):
    exports.write_geojson(tmp_path / "S1.geojson", make_layer(np.zeros((2, 2))))
    assert features(tmp_path / "S1.geojson") == []


def test_many_tiles_take_little_memory(tmp_path):
    layer = make_layer(np.full((100, 200), 2))
    tracemalloc.start()
    exports.write_geojson(tmp_path / "S1.geojson", layer)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = (tmp_path / "S1.geojson").stat().st_size
    assert size > 6e6
    assert peak < size / 2


# OME-TIFF


@pytest.mark.parametrize("side", [7.3, 40.0, 64.25], ids=["small", "whole", "large"])
def test_a_pixel_has_the_colour_of_the_tile_that_its_centre_lies_in(tmp_path, monkeypatch, side):
    monkeypatch.setattr(exports, "TIFF_TILE_PX", 32)
    monkeypatch.setattr(exports, "SMALLEST_LEVEL_PX", 16)
    layer = some_layer(side=side)
    exports.write_ome_tiff(tmp_path / "S1.ome.tif", layer)
    found = levels_of(tmp_path / "S1.ome.tif")
    assert len(found) > 1
    for level in found:
        height, width = level.shape[:2]
        assert np.array_equal(level, painted(layer, width, height)), level.shape


def test_a_centre_on_an_edge_is_in_the_tile_right_of_it(tmp_path):
    layer = make_layer([[2, 3]], side=2.5, width=6, height=3)
    exports.write_ome_tiff(tmp_path / "S1.ome.tif", layer)
    (level,) = levels_of(tmp_path / "S1.ome.tif")
    # Centres are at 0.5, 1.5, 2.5: the third lies where the second tile begins; the last lies past the lattice.
    assert [tuple(pixel) for pixel in level[0].tolist()] == [COLOURS[code] for code in (2, 2, 3, 3, 3, 0)]
    assert tuple(level[2, 0]) == COLOURS[0]


def test_it_is_an_ome_tiff_of_the_slides_size_and_scale(tmp_path):
    layer = some_layer(side=1015.87)
    exports.write_ome_tiff(tmp_path / "S1.ome.tif", layer)
    with tifffile.TiffFile(tmp_path / "S1.ome.tif") as tiff:
        assert tiff.is_ome
        assert tiff.is_bigtiff
        (series,) = tiff.series
        assert series.kind == "ome"
        assert [level.shape for level in series.levels] == [(3087, 4153, 3), (772, 1038, 3), (193, 260, 3)]
        assert all(level.keyframe.is_tiled for level in series.levels)
        assert [level.keyframe.is_reduced for level in series.levels] == [False, True, True]
        root = fromstring(tiff.ome_metadata)
    space = {"ome": root.tag[1:].split("}")[0]}
    image, pixels = root.find("ome:Image", space), root.find("ome:Image/ome:Pixels", space)
    assert image.get("Name") == "S1 A"
    assert "A positive: #E8559F" in image.find("ome:Description", space).text
    assert (pixels.get("SizeX"), pixels.get("SizeY")) == ("4153", "3087")
    for axis in "XY":
        assert float(pixels.get(f"PhysicalSize{axis}")) == pytest.approx(0.2517)
        assert pixels.get(f"PhysicalSize{axis}Unit") == "µm"


def test_openslide_reads_all_levels(tmp_path):
    layer = some_layer(side=1015.87)
    exports.write_ome_tiff(tmp_path / "S1.ome.tif", layer)
    with openslide.OpenSlide(tmp_path / "S1.ome.tif") as slide:
        assert slide.dimensions == (layer.width, layer.height)
        assert slide.level_dimensions == ((4153, 3087), (1038, 772), (260, 193))
        assert float(slide.properties[openslide.PROPERTY_NAME_MPP_X]) == pytest.approx(0.2517, rel=1e-6)
        assert float(slide.properties[openslide.PROPERTY_NAME_MPP_Y]) == pytest.approx(0.2517, rel=1e-6)
        assert not slide.associated_images
        for number, level in enumerate(levels_of(tmp_path / "S1.ome.tif")):
            height, width = level.shape[:2]
            read = slide.read_region((0, 0), number, (width, height)).convert("RGB")
            assert np.array_equal(np.asarray(read), level)


def test_a_small_slide_has_one_level_that_both_read(tmp_path):
    exports.write_ome_tiff(tmp_path / "S1.ome.tif", make_layer([[2]], side=100.5))
    assert [level.shape for level in levels_of(tmp_path / "S1.ome.tif")] == [(140, 190, 3)]
    with openslide.OpenSlide(tmp_path / "S1.ome.tif") as slide:
        assert slide.level_dimensions == ((190, 140),)


@pytest.mark.parametrize("shape", [(0, 0), (2, 3)])
def test_a_slide_without_tissue_is_white(tmp_path, shape):
    exports.write_ome_tiff(tmp_path / "S1.ome.tif", make_layer(np.zeros(shape)))
    assert all((level == 255).all() for level in levels_of(tmp_path / "S1.ome.tif"))


def test_a_slide_without_a_size_is_refused(tmp_path):
    with pytest.raises(InputError, match="S1: expected a slide's size, found 0 × 0 px"):
        exports.write_ome_tiff(tmp_path / "S1.ome.tif", replace(some_layer(), width=0, height=0))
    assert not list(tmp_path.iterdir())


def test_a_large_slide_takes_little_memory_and_gives_a_small_file(tmp_path):
    # 0.3 Gpx, as noisy as a map can be.
    codes = np.random.default_rng(0).integers(0, 4, (15, 20))
    layer = make_layer(codes, side=1015.87)
    tracemalloc.start()
    exports.write_ome_tiff(tmp_path / "S1.ome.tif", layer)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30e6
    assert (tmp_path / "S1.ome.tif").stat().st_size < 3.2e6


# Both


def test_the_same_layer_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        exports.write_exports(tmp_path / name, some_layer(side=600.1), formats=["geojson", "ome_tiff"])
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["S1.geojson", "S1.ome.tif"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_only_the_formats_that_are_asked_for_are_written(tmp_path):
    exports.write_exports(tmp_path, some_layer(), formats=["geojson"])
    assert [path.name for path in tmp_path.iterdir()] == ["S1.geojson"]
    with pytest.raises(InputError, match="export formats png: expected geojson, ome_tiff"):
        exports.write_exports(tmp_path, some_layer(), formats=["png"])


def test_an_export_lies_on_its_slide(shared_data, tmp_path):
    slide_file = shared_data / "slides/TCGA-C8-A1HN-01Z-00-DX1.region40x.svs"
    if not slide_file.is_file():
        pytest.skip(f"{slide_file} is not here")
    with openslide.OpenSlide(slide_file) as slide:
        size, mpp = slide.dimensions, float(slide.properties[openslide.PROPERTY_NAME_MPP_X])
    lattice = tiles.lattice_of(width=size[0], height=size[1], slide_mpp=mpp, tile_px=512, mpp=0.5)
    codes = np.indices((lattice.rows, lattice.columns)).sum(axis=0) % 2 + 2
    layer = make_layer(codes, side=lattice.tile_level0_px, width=size[0], height=size[1])
    exports.write_exports(tmp_path, replace(layer, slide_mpp=mpp), formats=["geojson", "ome_tiff"])
    with openslide.OpenSlide(tmp_path / "S1.ome.tif") as export:
        assert export.dimensions == size
        assert float(export.properties[openslide.PROPERTY_NAME_MPP_X]) == pytest.approx(mpp, rel=1e-6)
        for column, row in ((1, 1), (5, 7), (lattice.columns - 1, lattice.rows - 1)):
            left, top, *_ = lattice.tile_box(column, row)
            # The first pixel whose centre is in the tile, and its neighbours across the corner.
            x, y = int(np.ceil(left - 0.5)), int(np.ceil(top - 0.5))
            corner = np.asarray(export.read_region((x - 1, y - 1), 0, (2, 2)).convert("RGB"))
            here, across = COLOURS[codes[row, column]], COLOURS[codes[row, column - 1]]
            assert [tuple(pixel) for pixel in corner.reshape(4, 3).tolist()] == [here, across, across, here]
    boxes = [
        shapely.from_geojson(json.dumps(feature["geometry"])).bounds for feature in features(tmp_path / "S1.geojson")
    ]
    expected = [lattice.tile_box(column, row) for row in range(lattice.rows) for column in range(lattice.columns)]
    assert np.allclose(boxes, expected, rtol=0, atol=1e-6)
