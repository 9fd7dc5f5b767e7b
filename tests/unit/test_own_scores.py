"""A tile's probability is read alike from a table, an HDF5 and annotations; what does not fit the slide is refused."""

import json
import logging

import h5py
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workflow_scripts.lib import files, own_scores
from workflow_scripts.lib.annotations import read_annotations
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.own_scores import read_own_scores
from workflow_scripts.lib.tiles import Lattice, lattice_of

# Tiles of 10 level-0 px; 3 columns and 2 rows, and a strip of 4 px to the right and of 5 below that is no tile.
SIZE = (34, 25)
LATTICE = Lattice(columns=3, rows=2, tile_px=10, mpp=0.5, slide_mpp=0.5)
COORDS = np.array([(0, 0), (2, 0), (1, 1)], np.int32)
VALUES = np.array([0.1, 0.7, 1 / 3], np.float32)


def read(path, coords=COORDS, **keywords):
    return read_own_scores(path, LATTICE, coords, **{"size": SIZE} | keywords)


def refusal(path, **keywords) -> str:
    with pytest.raises(InputError) as raised:
        read(path, **keywords)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert message.count(str(path)) == 1
    assert "\n" not in message
    return message


@pytest.fixture
def table(tmp_path):
    """Write a TSV of rows under a header."""

    def write(*rows, header="slide_id col row probability"):
        path = tmp_path / "S.tsv"
        path.write_text("\n".join("\t".join(map(str, line)) for line in (header.split(), *rows)) + "\n")
        return path

    return write


@pytest.fixture
def hdf5(tmp_path):
    def write(name="S.h5", **datasets):
        with h5py.File(tmp_path / name, "w") as file:
            for dataset, values in datasets.items():
                file[dataset] = values
        return tmp_path / name

    return write


# A table


def test_a_slide_without_tiles_needs_no_file(tmp_path):
    excluded = Lattice(columns=0, rows=0, tile_px=10, mpp=0.5, slide_mpp=float("nan"))
    found = read_own_scores(tmp_path / "absent.h5", excluded, np.zeros((0, 2), np.int32), size=(0, 0))
    assert found.shape == (0,)
    assert found.dtype == np.float32


def test_tiles_are_joined_by_their_place_and_others_are_ignored(table):
    path = table((1, 1, 0.5), (9, 9, 1), (0, 0, 0.25), (-1, 0, 0), (2, 0, 0.75), header="col row probability")
    assert read(path).tolist() == [0.25, 0.75, 0.5]
    assert read(path, slide_id="S").tolist() == [0.25, 0.75, 0.5]


def test_more_columns_and_whole_numbers_with_a_point_are_read(table):
    path = table(("1.0", 1, "x", 0), ("0.0", 0, "y", 1), ("2.0", 0, "", 0.5), header="col row note probability")
    assert read(path).tolist() == [1, 0.5, 0]


def test_a_tile_without_a_probability_is_refused_with_the_number_and_the_first_place(table):
    said = refusal(table(("S", 0, 0, 0.5), ("S", 1, 1, "")))
    assert "each of the slide's 3 tiles, found none for 2, the first at column 2, row 0" in said
    assert "found none for 3" in refusal(table())
    assert "found none for 1, the first at column 0, row 0" in refusal(
        table(("S", 0, 0, "NA"), ("S", 2, 0, 1), ("S", 1, 1, 1))
    )


def test_a_missing_value_where_the_slide_has_no_tile_is_no_matter(table):
    rows = [("S", column, row, 0.5) for column, row in COORDS]
    assert read(table(*rows, ("S", 1, 0, ""))).tolist() == [0.5] * 3


@pytest.mark.parametrize("value", [-0.1, 1.0001, 85, "inf"])
def test_a_value_outside_0_to_1_is_refused_wherever_it_stands(table, value):
    rows = [("S", column, row, 0.5) for column, row in COORDS]
    assert f"from 0 to 1, found {float(value):g}" in refusal(table(*rows, ("S", 9, 9, value)))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("S", 0, 0, 1), ("S", 2, 0, 1), ("S", 1, 1, 1), ("S", 2, 0, 1)], "found column 2, row 0 again"),
        ([("S", 0.5, 0, 1)], "whole numbers as col and row, found 0.5 and 0"),
        ([("S", "", 0, 1)], "whole numbers as col and row, found nan and 0"),
        ([("S", "inf", 0, 1)], "whole numbers as col and row, found inf and 0"),
        ([("S", "A1", 0, 1)], "whole numbers as col and row, found A1 and 0"),
        ([("S", 0, 0, 1), ("T", 1, 0, 1)], "expected tiles of slide S, found those of T"),
        ([("", 0, 0, 1)], "expected tiles of slide S, found those of no slide"),
    ],
)
def test_a_table_of_something_else_is_refused(table, rows, said):
    assert said in refusal(table(*rows), slide_id="S")


def test_a_slide_whose_name_is_a_number_is_found(table):
    rows = [("007", column, row, 0.5) for column, row in COORDS]
    assert read(table(*rows), slide_id="007").tolist() == [0.5] * 3
    assert "expected tiles of slide 7, found those of 007" in refusal(table(*rows), slide_id="7")


def test_a_table_without_its_columns_is_refused(table, tmp_path):
    assert "the columns col, row and probability, found x, y, p" in refusal(table((0, 0, 1), header="x y p"))
    (tmp_path / "empty.tsv").touch()
    assert "tab-separated table" in refusal(tmp_path / "empty.tsv")


def test_a_file_that_is_absent_or_of_an_unknown_kind_is_refused(tmp_path):
    assert "found none" in refusal(tmp_path / "S.tsv")
    (tmp_path / "S.png").touch()
    assert "found the suffix '.png'" in refusal(tmp_path / "S.png")


# HDF5, tile by tile


def test_an_hdf5_of_tiles_is_read_as_a_table_is(hdf5):
    coords = np.array([(1, 1), (7, 7), (2, 0), (0, 0)], np.int64)
    for kind in (np.float32, np.float64, np.float16):
        path = hdf5(coords=coords, probability=np.array([0.25, 0, 1, 0.5], kind))
        found = read(path)
        assert found.tolist() == [0.5, 1, 0.25]
        assert found.dtype == np.float32
    assert read(hdf5(coords=coords, probability=np.array([True, False, True, False]))).tolist() == [0, 1, 1]


def test_an_hdf5_of_tiles_is_refused_as_a_table_is(hdf5):
    twice = np.array([(0, 0), (0, 0)])
    assert "column 0, row 0 again" in refusal(hdf5(coords=twice, probability=[0.5, 0.5]))
    assert "found none for 2" in refusal(hdf5(coords=twice[:1], probability=[0.5]))
    assert "found 2" in refusal(hdf5(coords=COORDS, probability=[0, 0.5, 2]))
    assert "whole numbers, found float64" in refusal(hdf5(coords=COORDS + 0.5, probability=[0, 0.5, 1]))


@pytest.mark.parametrize(
    ("datasets", "found"),
    [
        ({}, "found none"),
        ({"tumour": np.zeros((5, 7))}, "found tumour (5, 7)"),
        ({"coords": COORDS, "probability": np.zeros(2)}, "found coords (3, 2), probability (2,)"),
        ({"coords": COORDS, "mask": np.zeros((5, 7))}, "found coords (3, 2), mask (5, 7)"),
        ({"mask": np.zeros((5, 7)), "probability": np.zeros((5, 7))}, "found mask (5, 7), probability (5, 7)"),
        ({"mask": np.zeros((5, 7, 1))}, "found mask (5, 7, 1)"),
        ({"mask": np.full((5, 7), b"1")}, "found none"),
        ({"mask/of/a/group": 1}, "found none"),
    ],
)
def test_an_hdf5_of_neither_form_is_refused_with_what_it_holds(hdf5, datasets, found):
    said = refusal(hdf5(**datasets))
    assert "coords (n, 2) and probability (n,), or one of mask (rows, columns)" in said
    assert said.endswith(found)


def test_what_is_no_hdf5_is_refused(tmp_path, hdf5):
    (tmp_path / "S.hdf5").write_text("no HDF5")
    assert "expected an HDF5 file" in refusal(tmp_path / "S.hdf5")
    whole = hdf5(mask=np.zeros((50, 68))).read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    assert "expected an HDF5 file" in refusal(tmp_path / "cut.h5")


# HDF5, a grid


def mean_by_geometry(grid, lattice, size, column, row):
    """The mean of a grid over a tile, by intersecting each cell with it."""
    tile = shapely.box(*lattice.tile_box(column, row))
    high, wide = size[1] / grid.shape[0], size[0] / grid.shape[1]
    total = 0.0
    for (down, across), value in np.ndenumerate(grid):
        cell = shapely.box(across * wide, down * high, (across + 1) * wide, (down + 1) * high)
        total += float(value) * cell.intersection(tile).area
    return total / tile.area


def test_a_mask_at_full_resolution_gives_the_share_of_each_tile(hdf5):
    mask = np.zeros(SIZE[::-1], bool)
    mask[:5, :10] = True
    mask[0, 20] = True
    mask[10:, 10:20] = True
    for name in own_scores.GRIDS:
        assert read(hdf5(**{name: mask})).tolist() == [0.5, np.float32(0.01), 1]
    assert read(hdf5("S.HDF5", mask=mask.astype(np.uint8))).tolist() == [0.5, np.float32(0.01), 1]


def test_cells_that_a_tiles_edge_cuts_count_by_the_part_inside(hdf5):
    # One row and two columns of cells on a slide of two tiles and a half: the edge of the cells halves the second tile.
    lattice = Lattice(columns=2, rows=1, tile_px=10, mpp=1, slide_mpp=1)
    path = hdf5(mask=np.array([[0, 1.0]]))
    found = read_own_scores(path, lattice, np.array([(0, 0), (1, 0)]), size=(25, 12))
    assert found.tolist() == [0, 0.75]
    thirds = hdf5(mask=np.array([[0.3, 0.6, 0.9]]))
    found = read_own_scores(thirds, lattice, np.array([(0, 0), (1, 0)]), size=(30, 10))
    assert found == pytest.approx([0.3, 0.6])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    width=st.integers(30, 200),
    height=st.integers(30, 200),
    cell=st.floats(3, 14),
    side=st.floats(8, 30),
    rounding=st.sampled_from([np.floor, np.ceil, np.round]),
)
def test_a_tiles_mean_is_that_of_the_cells_under_it(tmp_path, seed, width, height, cell, side, rounding):
    lattice = lattice_of(width=width, height=height, slide_mpp=1.0, tile_px=10, mpp=side / 10)
    grid = np.random.default_rng(seed).random((int(rounding(height / cell)), int(rounding(width / cell))))
    coords = np.array([(column, row) for row in range(lattice.rows) for column in range(lattice.columns)])
    with h5py.File(tmp_path / "S.h5", "w") as file:
        file["probability"] = grid
    found = read_own_scores(tmp_path / "S.h5", lattice, coords, size=(width, height))
    shown = coords[:: max(1, len(coords) // 5)]
    expected = [mean_by_geometry(grid, lattice, (width, height), *place) for place in shown]
    assert found[:: max(1, len(coords) // 5)] == pytest.approx(expected, abs=1e-6)


def test_a_grid_is_read_in_parts_to_the_same_end(hdf5, monkeypatch):
    grid = np.random.default_rng(5).random((50, 68))
    whole = read(hdf5(mask=grid))
    for cells in (1, 68, 700):
        monkeypatch.setattr(own_scores, "CELLS_AT_ONCE", cells)
        assert (read(hdf5(mask=grid)) == whole).all()


def test_all_of_a_tile_is_1_and_none_of_it_0_to_the_last_bit(hdf5):
    # 0.1 is no binary fraction, and a side of 10.1 px is cut by every cell's edge somewhere.
    lattice = Lattice(columns=30, rows=20, tile_px=10, mpp=0.505, slide_mpp=0.5)
    coords = np.array([(column, row) for column in range(30) for row in range(20)])
    for value in (0, 1):
        path = hdf5(mask=np.full((77, 101), value, np.float32))
        assert set(read_own_scores(path, lattice, coords, size=(307, 233)).tolist()) == {value}


def test_a_missing_cell_is_refused_only_under_a_tile_of_the_slide(hdf5):
    grid = np.full((25, 34), 0.5)
    # Column 1, row 0 is no tile of the store; neither are the strips at the right and below.
    grid[:10, 10:20] = np.nan
    grid[:, 30:] = np.nan
    grid[20:] = np.nan
    assert read(hdf5(mask=grid)).tolist() == [0.5] * 3
    grid[9, 9] = np.nan
    assert "found none for 1, the first at column 0, row 0" in refusal(hdf5(mask=grid))


@pytest.mark.parametrize(("value", "found"), [(255, "255"), (-1, "-1"), (np.inf, "inf")])
def test_a_cell_outside_0_to_1_is_refused_wherever_it_lies(hdf5, value, found):
    grid = np.zeros((25, 34))
    grid[24, 33] = value
    assert f"from 0 to 1, found {found}" in refusal(hdf5(mask=grid))


@pytest.mark.parametrize("shape", [(25, 34), (2, 3), (3, 4), (1, 1), (250, 340), (8, 11), (8, 12), (9, 12), (9, 11)])
def test_a_grid_of_the_slides_shape_is_read_at_any_resolution(hdf5, shape):
    assert read(hdf5(mask=np.ones(shape))).tolist() == [1, 1, 1]


@pytest.mark.parametrize("shape", [(34, 25), (25, 40), (20, 34), (340, 250), (1, 9), (0, 0), (0, 34)])
def test_a_grid_of_another_shape_is_refused(hdf5, shape):
    said = refusal(hdf5(mask=np.ones(shape)))
    assert "over the whole slide of 34 × 25 px" in said
    assert f"found {shape[0]} rows and {shape[1]} columns; is it transposed" in said


@pytest.mark.parametrize("down", [1, 2, 16, 32, 33.7, 64])
@pytest.mark.parametrize("rounding", [np.floor, np.ceil, np.round])
def test_the_shape_fits_however_a_downsample_was_rounded(down, rounding):
    for width, height in ((98304, 40213), (40213, 98304), (5001, 5000), (3001, 191_999)):
        shape = int(rounding(height / down)), int(rounding(width / down))
        own_scores._check_shape(shape, (width, height))
        if abs(shape[0] - shape[1]) > 3:
            with pytest.raises(InputError):
                own_scores._check_shape(shape[::-1], (width, height))


# Annotations


def drawn(path, *features):
    """A GeoJSON of (class, box) pairs."""
    listed = [
        {
            "type": "Feature",
            "geometry": json.loads(shapely.to_geojson(shapely.box(*box))),
            "properties": {"classification": {"name": name}},
        }
        for name, box in features
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": listed}))
    return path


def test_annotations_give_the_share_of_each_tile_under_the_classes(tmp_path):
    path = drawn(tmp_path / "S.geojson", ("Tumor", (0, 0, 10, 4)), ("Stroma", (0, 0, 34, 25)), ("Met", (20, 0, 40, 20)))
    assert read(path, classes=["Tumor"]).tolist() == [np.float32(0.4), 0, 0]
    assert read(path, classes=["Tumor", "Met"]).tolist() == [np.float32(0.4), 1, 0]
    assert read(path, classes=["Stroma"]).dtype == np.float32


def test_where_regions_overlap_the_place_counts_once(tmp_path):
    path = drawn(tmp_path / "S.json", ("a", (0, 0, 10, 6)), ("b", (0, 4, 10, 8)), ("a", (0, 0, 5, 8)))
    assert read(path, classes=["a", "b"])[0] == np.float32(0.8)


def test_an_exclusion_is_a_hole_unless_it_is_one_of_the_classes(tmp_path):
    path = drawn(tmp_path / "S.json", ("Tumor", (0, 0, 10, 10)), ("Exclusion", (0, 0, 10, 5)))
    assert read(path, classes=["Tumor"])[0] == 0.5
    assert read(path, classes=["Exclusion"])[0] == 0.5
    assert read(path, classes=["Tumor", "Exclusion"])[0] == 1


def test_asaps_xml_is_read(tmp_path):
    corners = "".join(
        f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>' for n, (x, y) in enumerate([(0, 0), (10, 0), (0, 10)])
    )
    (tmp_path / "S.xml").write_text(
        f'<ASAP_Annotations><Annotations><Annotation Name="1" Type="Polygon" PartOfGroup="Tumor"><Coordinates>{corners}'
        "</Coordinates></Annotation></Annotations></ASAP_Annotations>"
    )
    assert read(tmp_path / "S.xml", classes=["Tumor"]).tolist() == [0.5, 0, 0]


def test_annotations_that_cannot_be_used_are_refused(tmp_path):
    path = drawn(tmp_path / "S.geojson", ("Tumor", (100, 100, 110, 110)))
    assert "every region lies outside the slide of 34 × 25 px" in refusal(path, classes=["Tumor"])
    assert "expected the classes of annotation that are tumour" in refusal(path)
    assert "expected at least one region" in refusal(drawn(tmp_path / "none.json"), classes=["Tumor"])


def test_a_slide_without_a_region_of_the_classes_has_no_tumour_and_the_log_says_so(tmp_path, caplog):
    path = drawn(tmp_path / "S.geojson", ("Stroma", (0, 0, 10, 10)))
    with caplog.at_level(logging.WARNING):
        assert read(path, classes=["Tumor", "Met"]).tolist() == [0, 0, 0]
    assert "no region of Tumor, Met: no tile is tumour" in caplog.text


def test_the_three_forms_of_one_drawing_agree(tmp_path, hdf5):
    lattice = lattice_of(width=400, height=300, slide_mpp=0.25, tile_px=16, mpp=0.5)
    coords = np.array([(column, row) for row in range(lattice.rows) for column in range(lattice.columns)])
    boxes = [(13, 20, 170, 111), (90, 60, 399, 212), (0, 250, 55, 300)]
    path = drawn(tmp_path / "S.geojson", *(("Tumor", box) for box in boxes))
    mask = np.zeros((300, 400), bool)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = True
    from_drawing = read_own_scores(path, lattice, coords, size=(400, 300), classes=["Tumor"])
    from_mask = read_own_scores(hdf5(mask=mask), lattice, coords, size=(400, 300))
    files.write_table(
        pd.DataFrame({"col": coords[:, 0], "row": coords[:, 1], "probability": from_mask}), tmp_path / "S.tsv"
    )
    from_table = read_own_scores(tmp_path / "S.tsv", lattice, coords, size=(400, 300))
    assert len(np.unique(from_mask)) > 10
    assert (from_drawing == from_mask).all()
    assert (from_table == from_mask).all()


def test_a_real_drawing_and_the_mask_made_of_it_agree(shared_data, hdf5):
    width, height, cell = 46_000, 32_912, 8
    lattice = lattice_of(width=width, height=height, slide_mpp=0.499, tile_px=224, mpp=0.5)
    coords = np.array([(column, row) for row in range(lattice.rows) for column in range(lattice.columns)])
    path = shared_data / "annotations" / "luna_cmu1_small_region" / "1006844.annotation.geojson"
    from_drawing = read_own_scores(path, lattice, coords, size=(width, height), classes=["Tumor", "TILs"])
    # A cell is in the mask where its centre is in a region.
    mask = np.zeros((height // cell, width // cell), bool)
    for region in read_annotations(path).regions:
        if region.class_name != "Other":
            left, top, right, bottom = (int(edge) // cell for edge in region.geometry.bounds)
            across, down = np.meshgrid(np.arange(left, right + 1), np.arange(top, bottom + 1))
            inside = shapely.contains_xy(region.geometry, (across + 0.5) * cell, (down + 0.5) * cell)
            mask[down[inside], across[inside]] = True
    from_mask = read_own_scores(hdf5(mask=mask), lattice, coords, size=(width, height))
    assert ((from_drawing > 0) & (from_drawing < 1)).sum() > 100
    assert np.abs(from_drawing - from_mask).max() < 0.01
