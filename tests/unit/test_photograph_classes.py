"""Photographs are classified as their tiles would be, and none is lost."""

import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from exported import CLASSES, TILES, write_exported
from matplotlib.colors import to_rgba
from PIL import Image

from workflow_scripts import classify_photographs
from workflow_scripts.lib import exported_models, files, photograph_classes, provenance, tiles
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.figures import contact_sheets
from workflow_scripts.lib.photograph_classes import Photograph

# p(Red) of the model is the sigmoid of (red − blue) / 100: of RED 1 / (1 + exp(−1)), of BLUE 1 / (1 + exp(1)).
RED, BLUE, WHITE = (200, 20, 100), (60, 20, 160), (250, 250, 250)
P_RED_OF_RED = 0.7310586


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return exported_models.open_model(write_exported(tmp_path_factory.mktemp("model") / "m.onnx"), threads=1)


def draw(path, *colours, side=64):
    """A photograph of squares of colours in a row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.concatenate([np.full((side, side, 3), colour, np.uint8) for colour in colours], axis=1)
    Image.fromarray(pixels).save(path)
    return path


def classify(path, model, mpp=0.5):
    return photograph_classes.classify(Photograph(path.name, path, mpp), model)


def run(monkeypatch, *arguments):
    """Call the command with arguments, in this process."""
    monkeypatch.setattr(sys, "argv", ["classify_photographs", *map(str, arguments), "--threads", "1"])
    classify_photographs.main()


# One photograph


def test_a_photograph_has_the_means_of_its_patches(tmp_path, model):
    # At 0.5 µm/px a patch of 32 px at 1 µm/px is 64 px wide: two red ones, a blue one, and one without tissue.
    found = classify(draw(tmp_path / "a.png", RED, BLUE, WHITE, RED), model)
    assert (found.status, found.reason) == ("accepted", "")
    assert found.coords.tolist() == [[0, 0], [1, 0], [3, 0]]
    assert found.corners_px.tolist() == [[0, 0], [64, 0], [192, 0]]
    # JPEG moves a grey level or two, a hundredth each of the logit.
    np.testing.assert_allclose(found.probabilities[:, 1], [P_RED_OF_RED, 1 - P_RED_OF_RED, P_RED_OF_RED], atol=0.006)
    np.testing.assert_allclose(found.means, found.probabilities.mean(axis=0), atol=1e-6)
    assert photograph_classes.class_of(found, CLASSES) == "Red"


def test_the_patches_are_the_tiles_that_the_study_stores(tmp_path, model):
    generator = np.random.default_rng(3)
    pixels = (np.array(RED) + generator.integers(-20, 21, (150, 210, 3))).clip(0, 255).astype(np.uint8)
    pixels[:70, :70] = 250
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=92)
    tiles.tile_slide(tmp_path / "a.jpg", tmp_path / "a.h5", slide_id="a", configured_mpp=0.7, photograph=True, **TILES)
    found = classify(tmp_path / "a.jpg", model, mpp=0.7)
    with tiles.open_store(tmp_path / "a.h5") as store:
        stored = np.empty((len(store), 32, 32, 3), np.uint8)
        store.read(np.arange(len(store)), stored)
        # 210 / 45.7 px: four columns, three rows; some of the twelve are blank.
        assert 6 < len(store) < 12
        assert found.coords.tolist() == store.coords.tolist()
    np.testing.assert_array_equal(found.probabilities, model.probabilities(stored))


def test_more_patches_than_the_model_sees_at_once_keep_their_order(tmp_path, model):
    colours = [(20 * number % 256, 20, 100) for number in range(photograph_classes.BATCH + 3)]
    found = classify(draw(tmp_path / "a.png", *colours), model)
    red = np.array([colour[0] for colour in colours])
    np.testing.assert_allclose(found.probabilities[:, 1], 1 / (1 + np.exp((100 - red) / 100)), atol=0.01)


@pytest.mark.parametrize(
    ("colours", "side", "mpp", "reason"),
    [
        ([WHITE, WHITE], 64, 0.5, "blank: none of 2 tiles holds enough tissue"),
        ([RED], 60, 0.5, "smaller than one tile"),
        ([RED], 64, 1.1, "coarser than the target"),
    ],
)
def test_a_photograph_that_cannot_be_classified_has_its_reason_and_its_picture(
    tmp_path, model, colours, side, mpp, reason
):
    found = classify(draw(tmp_path / "a.png", *colours, side=side), model, mpp=mpp)
    assert found.status == "excluded"
    assert reason in found.reason
    assert found.thumbnail is not None
    assert np.isnan(found.means).all()
    assert photograph_classes.class_of(found, CLASSES) == ""


def test_a_photograph_that_is_cut_short_is_excluded_with_its_reason(tmp_path, model):
    path = draw(tmp_path / "a.jpg", RED, BLUE)
    path.write_bytes(path.read_bytes()[:-200])
    found = classify(path, model)
    assert found.status == "excluded"
    assert found.reason
    assert found.thumbnail is None


def test_a_photograph_that_the_disk_does_not_give_is_excluded_with_its_reason(tmp_path, model, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(photograph_classes.slides, "open_slide", refuse)
    found = classify(draw(tmp_path / "a.png", RED), model)
    assert (found.status, found.reason) == ("excluded", "cannot be read: Permission denied")


def test_quality_drops_patches_of_photographs_too(tmp_path, model):
    # Plain colours have no edges.
    strict = replace(model, description=model.description | {"tiles": TILES | {"min_sharpness": 100.0}})
    found = classify(draw(tmp_path / "a.png", RED, BLUE), strict)
    assert (found.status, found.reason) == ("excluded", "no tile left: quality drops all of 2 with tissue")


# Which photographs


def test_photographs_are_found_by_suffix_and_below_the_folder_where_asked(tmp_path):
    for name in ("b.JPG", "a.tiff", "sub/c.png", ".hidden.png", ".cache/d.png"):
        draw(tmp_path / name, RED)
    (tmp_path / "notes.txt").write_text("no photograph")
    (tmp_path / "folder.png").mkdir()
    listed = [photograph_classes.list_photographs(tmp_path, mpp=1, recursive=deep) for deep in (False, True)]
    assert [[one.file for one in found] for found in listed] == [["a.tiff", "b.JPG"], ["a.tiff", "b.JPG", "sub/c.png"]]
    assert {one.mpp for one in listed[1]} == {1}


def test_a_sheet_gives_each_photograph_its_scale_and_loses_none(tmp_path):
    folder = tmp_path / "photographs"
    for name in ("a.png", "b.png", "c.png"):
        draw(folder / name, RED)
    outside = draw(tmp_path / "outside.png", RED)
    sheet = tmp_path / "sheet.tsv"
    sheet.write_text(f"file\tmpp\nb.png\t0.7\na.png\t0.5\n../outside.png\t1\n{outside}\t1\ngone.png\t1\n")
    found = photograph_classes.list_photographs(folder, path_to_sheet=sheet)
    assert {one.file: (one.mpp, one.problem) for one in found} == {
        "a.png": (0.5, ""),
        "b.png": (0.7, ""),
        "c.png": (None, "not in the sheet"),
        "../outside.png": (1.0, "in the sheet, and not in the folder"),
        str(outside): (1.0, "in the sheet, and not in the folder"),
        "gone.png": (1.0, "in the sheet, and not in the folder"),
    }


def test_what_a_sheet_names_outside_the_folder_is_not_opened(tmp_path, model):
    draw(tmp_path / "photographs/a.png", RED)
    draw(tmp_path / "outside.png", RED)
    (tmp_path / "sheet.tsv").write_text("file\tmpp\na.png\t0.5\n../outside.png\t0.5\n")
    listed = photograph_classes.list_photographs(tmp_path / "photographs", path_to_sheet=tmp_path / "sheet.tsv")
    found = photograph_classes.classify(listed[1], model)
    assert (found.status, found.thumbnail, len(found.coords)) == ("excluded", None, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\tscale\na.png\t1\n", "found file, scale; add mpp"),
        ("file\tmpp\na.png\t1\na.png\t2\n", "a.png has more than one line"),
        ("file\tmpp\na.png\t353\n", "mpp of a.png: found 353, expected µm/px from 0.05 to 20"),
        ("file\tmpp\na.png\t\n", "mpp of a.png: found nan"),
        ("file\tmpp\na.png\tten\n", "mpp of a.png: found ten"),
        ("", "expected a tab-separated table"),
        (None, "expected a sheet of photographs"),
    ],
)
def test_a_sheet_that_says_no_scale_is_refused(tmp_path, text, message):
    draw(tmp_path / "a.png", RED)
    if text is not None:
        (tmp_path / "sheet.tsv").write_text(text)
    with pytest.raises(InputError, match=message):
        photograph_classes.list_photographs(tmp_path, path_to_sheet=tmp_path / "sheet.tsv")


def test_a_folder_without_photographs_or_no_scale_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a folder of photographs"):
        photograph_classes.list_photographs(tmp_path / "none", mpp=1)
    with pytest.raises(InputError, match=r"expected photographs \(.*, found none; say --recursive"):
        photograph_classes.list_photographs(tmp_path, mpp=1)
    draw(tmp_path / "a.png", RED)
    for mpp in (0.0, float("nan"), 353.0):
        with pytest.raises(InputError, match="--mpp: found"):
            photograph_classes.list_photographs(tmp_path, mpp=mpp)


def test_a_name_that_cannot_be_printed_is_listed_escaped_and_opened_as_it_is(tmp_path, model):
    path = draw(tmp_path / "a\tb\x1b[31m\udce9.png", RED)
    (listed,) = photograph_classes.list_photographs(tmp_path, mpp=0.5)
    assert listed.path == path
    assert listed.file == r"a\tb\x1b[31m\udce9.png"
    assert photograph_classes.classify(listed, model).status == "accepted"


# The command


@pytest.fixture
def folder(tmp_path):
    """Three photographs in two folders, one of them blank, and a file that is none."""
    draw(tmp_path / "photographs/b.png", BLUE)
    draw(tmp_path / "photographs/$a_1$ 腺瘤.png", RED, RED, BLUE)
    draw(tmp_path / "photographs/blank.png", WHITE)
    (tmp_path / "photographs/text.png").write_text("no image")
    write_exported(tmp_path / "m.onnx")
    return tmp_path


def test_the_command_writes_every_photograph_and_patch(folder, monkeypatch, capsys):
    run(monkeypatch, folder / "m.onnx", folder / "photographs", "--mpp", 0.5, "--to", folder / "out")
    table = files.read_table(folder / "out/photographs.tsv", text=["reason", "class"])
    assert list(table) == ["file", "mpp", "status", "reason", "patches", "class", "p_Blue", "p_Red"]
    assert table[["file", "status", "patches", "class"]].to_numpy().tolist() == [
        ["$a_1$ 腺瘤.png", "accepted", 3, "Red"],
        ["b.png", "accepted", 1, "Blue"],
        ["blank.png", "excluded", 0, ""],
        ["text.png", "excluded", 0, ""],
    ]
    patches = files.read_table(folder / "out/patches.tsv")
    assert list(patches) == ["file", "col", "row", "x_px", "y_px", "class", "p_Blue", "p_Red"]
    assert patches["class"].tolist() == ["Red", "Red", "Blue", "Blue"]
    assert patches["x_px"].tolist() == [0, 64, 128, 0]
    means = patches.groupby("file")["p_Red"].mean()
    np.testing.assert_allclose(means, table["p_Red"].dropna(), atol=1e-6)
    said = capsys.readouterr().err.splitlines()
    assert said[1] == "2 of 4  b.png: Blue 0.73, 1 patch"
    assert said[-1].startswith("2 photographs classified, 2 excluded")
    with Image.open(folder / "out/contact_sheet_1.png") as sheet:
        assert sheet.width > 1000


def test_a_second_run_leaves_no_sheet_of_the_first(folder, monkeypatch):
    monkeypatch.setattr(classify_photographs, "PER_SHEET", 3)
    arguments = (folder / "m.onnx", folder / "photographs", "--mpp", 0.5, "--to", folder / "out")
    run(monkeypatch, *arguments)
    names = ["contact_sheet_1.png", "contact_sheet_2.png", "patches.tsv", "photographs.tsv"]
    assert sorted(path.name for path in (folder / "out").iterdir()) == names
    first = (folder / "out/contact_sheet_1.png").read_bytes()
    (folder / "photographs/text.png").unlink()
    run(monkeypatch, *arguments)
    assert sorted(path.name for path in (folder / "out").iterdir()) == [names[0], *names[2:]]
    assert (folder / "out/contact_sheet_1.png").read_bytes() != first


def test_what_is_wrong_with_the_arguments_is_said_in_a_line(folder, monkeypatch):
    shutil.copy(folder / "photographs/text.png", folder / "text.onnx")
    for arguments, message in (
        (("m.onnx", "--to", "photographs/out"), "lies in the folder of photographs"),
        (("text.onnx", "--to", "out"), "expected a model in the ONNX format"),
    ):
        model, flag, out = arguments
        with pytest.raises(SystemExit, match=message):
            run(monkeypatch, folder / model, folder / "photographs", "--mpp", 0.5, flag, folder / out)
    assert not (folder / "out").exists()


def test_the_command_needs_no_torch(folder):
    """Nor what only training, statistics and the workflow need; these would not be found."""
    unneeded = ("torch", "torchvision", "onnx", "onnxscript", "lightning_fabric", "sklearn", "lifelines", "snakemake")
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({unneeded}))\n"
        "from workflow_scripts import classify_photographs\n"
        "classify_photographs.main()\n"
    )
    arguments = [folder / "m.onnx", folder / "photographs", "--mpp", "0.5", "--to", folder / "out", "--threads", "1"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=provenance.REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "out/photographs.tsv").is_file()


# Contact sheets


def test_a_contact_sheet_says_of_each_photograph_what_it_is(tmp_path, model):
    shown = [
        classify(draw(tmp_path / "red.png", RED), model),
        classify(draw(tmp_path / "$b_1$.png", BLUE), model),
        classify(draw(tmp_path / "blank.png", WHITE), model),
        photograph_classes.classify(Photograph("gone.png", tmp_path, None, "not in the sheet"), model),
    ]
    figure = contact_sheets.contact_sheet(shown, CLASSES, first=25, of=28, model="dman")
    words = [axes.texts[-1].get_text() for axes in figure.axes]
    assert words[0] == "25  red.png\nRed 0.73"
    assert words[1] == "26  $b_1$.png\nBlue 0.73"
    assert words[2].startswith("27  blank.png\nexcluded: blank")
    assert words[3] == "28  gone.png\nexcluded: not in the\nsheet"
    colours = contact_sheets.class_colours(CLASSES)
    frames = [axes.spines["left"].get_edgecolor() for axes in figure.axes]
    expected = [colours["Red"], colours["Blue"], contact_sheets.EXCLUDED_COLOUR, contact_sheets.EXCLUDED_COLOUR]
    assert frames == [to_rgba(colour) for colour in expected]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*CLASSES, "excluded"]


def test_a_table_of_excluded_photographs_alone_has_its_columns(tmp_path, model):
    blank = classify(draw(tmp_path / "a.png", WHITE), model)
    assert list(photograph_classes.patch_table([blank], CLASSES)) == [
        "file", "col", "row", "x_px", "y_px", "class", "p_Blue", "p_Red",
    ]  # fmt: skip
    (row,) = photograph_classes.photograph_table([blank], CLASSES).to_dict("records")
    assert (row["patches"], row["class"]) == (0, "")
    assert pd.isna(row["p_Red"])
