"""The cohorts of microscope adaptation: who is in them, that outlines lie on their classes, in photographs too, and
that colour gives no class away."""

from collections import Counter
from pathlib import Path

import numpy as np
import openslide
import pandas as pd
import pytest
import shapely
from PIL import Image

from workflow_scripts.lib import slides, splits
from workflow_scripts.lib.annotations import read_annotations
from workflow_scripts.lib.configuration.adaptation import AdaptationDemo, Camera
from workflow_scripts.lib.demo import adaptation, camera, dyes, histology
from workflow_scripts.lib.demo.histology import CELL_PX
from workflow_scripts.lib.domains import SOURCE, TARGET
from workflow_scripts.lib.errors import InputError

NAMES = ("scanned", "photographed")
DEMO = AdaptationDemo()
SMALL = {"names": NAMES, "slides": 6, "photographed": 6, "photographs": 2, "slide_px": 560, "photograph_um": 200}
SMALL |= {"camera": Camera().model_dump(), "tile_px": 64, "tile_mpp": 1.333, "seed": 5, "processes": 1}
ANNOTATED = "annotations"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("adaptation")
    adaptation.make_adaptation_cohorts(folder, **SMALL)
    return folder


@pytest.fixture(scope="module")
def planned() -> list[adaptation.Slide]:
    numbers = {name: getattr(DEMO, name) for name in ("slides", "photographed", "photographs", "seed")}
    return adaptation.plan(**numbers)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


def sheet_of(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.tsv", sep="\t")


def paint(regions: tuple[str, str], *, number: int) -> adaptation.Painted:
    slide, rng = adaptation.Slide(number, "", SOURCE, "", regions), np.random.default_rng([1, number])
    return adaptation.paint(slide, shape=(150, 150), seed=5, rng=rng)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_whatever_the_processes(made, tmp_path):
    adaptation.make_adaptation_cohorts(tmp_path, **SMALL | {"processes": 2})
    assert contents(tmp_path) == contents(made)


def test_another_seed_gives_other_slides_and_photographs():
    slide = adaptation.Slide(0, "", SOURCE, "", adaptation.REGIONS[0])
    first, second = (
        adaptation.paint(slide, shape=(64, 64), seed=seed, rng=np.random.default_rng(seed)).pixels for seed in (5, 6)
    )
    assert not np.array_equal(first, second)


def test_the_sheets_list_the_slides_and_the_photographs_with_their_pixels_size(made):
    source, target = (sheet_of(made, name) for name in NAMES)
    assert list(source.columns) == ["file", "slide_id", "patient_id"]
    assert list(target.columns) == ["file", "slide_id", "patient_id", "mpp"]
    assert set(target["mpp"]) == {SMALL["camera"]["mpp"]}
    for sheet, folder in ((source, "scanned/slides"), (target, "photographed/photographs")):
        assert set(sheet["file"]) == {f"{folder}/{path.name}" for path in (made / folder).iterdir()}
        assert sheet["slide_id"].is_unique
    assert (len(source), len(target)) == (6, 12)
    assert (target.groupby("patient_id").size() == 2).all()


def test_each_slide_and_photograph_is_annotated(made):
    for name in NAMES:
        there = {path.stem for path in (made / name / ANNOTATED).iterdir()}
        assert there == set(sheet_of(made, name)["slide_id"])
        for path in (made / name / ANNOTATED).iterdir():
            assert {region.class_name for region in read_annotations(path).regions} <= set(adaptation.CLASSES)


def test_all_three_forms_of_photographs_occur_and_none_says_a_pixel_s_size(made):
    files = sheet_of(made, "photographed")["file"]
    assert Counter(Path(file).suffix for file in files) == {".jpg": 4, ".png": 4, ".tif": 4}
    for file in files:
        with openslide.ImageSlide(made / file) as opened:
            # 200 µm at 1.1 µm/px.
            assert opened.dimensions == (181, 181)
            assert openslide.PROPERTY_NAME_MPP_X not in opened.properties


def test_slides_are_scanned_at_half_a_micrometre(made):
    for file in sheet_of(made, "scanned")["file"]:
        assert slides.inspect_slide(made / file, target_mpp=1.333).mpp == adaptation.MPP


def test_the_two_cohorts_share_no_patient_and_the_split_has_them_all_once(made):
    source, target = (set(sheet_of(made, name)["patient_id"]) for name in NAMES)
    assert not source & target
    split = splits.read_user_split(made / "split.tsv")
    assert sorted(split["patient_id"]) == sorted(source | target)


def test_of_either_cohort_a_third_of_the_patients_tests_and_a_sixth_validates(planned):
    sets = Counter((slide.role, slide.set) for slide in planned)
    for role in (SOURCE, TARGET):
        assert [sets[role, name] for name in (splits.TRAIN, splits.VALIDATION, splits.TEST)] == [15, 5, 10]


def test_every_set_of_either_cohort_shows_every_class_and_normal_most_often(planned):
    for role in (SOURCE, TARGET):
        for name in (splits.TRAIN, splits.VALIDATION, splits.TEST):
            here = [slide.regions for slide in planned if (slide.role, slide.set) == (role, name)]
            shown = Counter(region for regions in here for region in regions)
            assert set(shown) == set(adaptation.CLASSES)
            assert shown[adaptation.NORMAL] == len(here) > max(shown[one] for one in adaptation.CLASSES[1:])


def test_neither_a_patient_s_id_nor_a_photograph_s_form_tells_the_class(planned):
    by_patient = [slide.role for slide in sorted(planned, key=lambda slide: slide.patient_id)]
    assert by_patient != sorted(by_patient)
    forms = Counter((slide.regions[-1], suffix) for slide in planned for suffix in slide.suffixes)
    assert set(forms) == {(regions[-1], suffix) for regions in adaptation.REGIONS for suffix in camera.SUFFIXES}


def test_an_outline_lies_inside_its_class():
    slide, rng = adaptation.Slide(3, "", SOURCE, "", adaptation.REGIONS[0]), np.random.default_rng(1)
    painted = adaptation.paint(slide, shape=(200, 200), seed=5, rng=rng)
    drawn = adaptation._drawn(painted.classes, size=(800, 800), cell_px=4, mpp=0.5, rng=rng)
    row, column = np.indices((200, 200))
    for name, outline in drawn.items():
        inside = shapely.contains_xy(outline, (column + 0.5) * 4, (row + 0.5) * 4)
        mask = painted.classes[name]
        assert (inside & mask).sum() / (inside | mask).sum() > 0.85
    first, second = drawn.values()
    # INSIDE_UM on either side of the border, less what a hand draws outside of what it sees.
    assert first.distance(second) * 0.5 > adaptation.INSIDE_UM


def test_an_outline_lies_on_the_same_tissue_in_a_photograph_as_on_the_slide(tmp_path, monkeypatch):
    # A slide of which the lesion is black: what is outlined as lesion in its photographs is black there too.
    whole = histology.paint_tissues

    def blackened(*given, **named):
        found = whole(*given, **named)
        found.pixels[np.kron(found.tissue == 1, np.ones((4, 4), bool))] = 0
        return found

    monkeypatch.setattr(histology, "paint_tissues", blackened)
    slide = adaptation.Slide(0, "P", TARGET, "", adaptation.REGIONS[1], (".png", ".png"))
    given = {"slide_px": 800, "photograph_um": 250.0, "camera": Camera(strength=0).model_dump(), "seed": 5}
    rows = adaptation._make_slide(slide, folder=tmp_path, name_of={TARGET: "seen"}, **given)
    assert [row["slide_id"] for row in rows] == ["P-P1", "P-P2"]
    found = set()
    for row in rows:
        with Image.open(tmp_path / row["file"]) as image:
            dark = np.asarray(image.convert("L")) < 20
        y, x = np.indices(dark.shape) + 0.5
        for region in read_annotations(tmp_path / "seen" / ANNOTATED / f"{row['slide_id']}.xml").regions:
            inside = shapely.contains_xy(region.geometry, x, y)
            found.add(region.class_name)
            assert (dark[inside].mean() > 0.999) == (region.class_name == adaptation.ADENOCARCINOMA)
            assert region.class_name == adaptation.ADENOCARCINOMA or not dark[inside].any()
    assert found == set(adaptation.REGIONS[1])


def test_the_first_photograph_shows_the_lesion_and_the_second_normal_tissue(made, planned):
    plan = adaptation.plan(**{name: SMALL[name] for name in ("slides", "photographed", "photographs", "seed")})
    for slide in (one for one in plan if one.role == TARGET):
        for number, shown in enumerate((slide.regions[-1], slide.regions[0]), 1):
            path = made / "photographed" / ANNOTATED / f"{slide.patient_id}-P{number}.xml"
            assert shown in {region.class_name for region in read_annotations(path).regions}


def test_photographs_of_one_cohort_are_of_one_microscope(monkeypatch, tmp_path):
    seen = []
    take = camera.take
    monkeypatch.setattr(camera, "take", lambda *a, **k: seen.append(k["microscope"]) or take(*a, **k))
    given = {"slide_px": 560, "photograph_um": 200.0, "camera": SMALL["camera"], "seed": 5}
    for number in (6, 7):
        slide = adaptation.Slide(number, f"P{number}", TARGET, "", adaptation.REGIONS[0], (".png",))
        adaptation._make_slide(slide, folder=tmp_path, name_of={TARGET: "seen"}, **given)
    first, second = seen
    assert np.array_equal(first.tint, second.tint) and np.array_equal(first.brightest, second.brightest)


def test_mean_colours_of_what_is_stained_hardly_differ_between_classes():
    means: dict[str, list[np.ndarray]] = {name: [] for name in adaptation.CLASSES}
    for regions in adaptation.REGIONS:
        for number in range(3):
            painted = paint(regions, number=number)
            for name, mask in painted.classes.items():
                pixels = painted.pixels[np.kron(mask, np.ones((CELL_PX, CELL_PX), bool))]
                means[name].append(pixels[pixels.min(axis=1) < 225].mean(axis=0))
    colours = [np.mean(found, axis=0) for found in means.values()]
    assert max(np.abs(one - other).max() for one in colours for other in colours) < 8


def test_both_cohorts_are_of_one_laboratory():
    stains = [dyes.draw_stain(np.random.default_rng([7, number]), adaptation.LABORATORY) for number in range(40)]
    strengths = [np.linalg.norm(one.haematoxylin) for one in stains]
    assert np.std(np.log(strengths)) < 0.12


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"names": ("one", "one")}, "names of cohorts: expected two, of source and target, found one, one"),
        ({"slides": 5}, "5 slides of the source: expected at least 6"),
        ({"photographed": 5}, "5 slides of the target: expected at least 6"),
        ({"photograph_um": 85.0}, "photograph_um: 85 µm, expected at least 88.412 µm"),
        ({"photograph_um": 280.0}, "at most the 271.5 µm of the smallest slide"),
        ({"slide_px": 100}, "smaller than a tile"),
    ],
)
def test_cohorts_that_cannot_be_made_are_refused(tmp_path, changed, said):
    with pytest.raises(InputError, match=said):
        adaptation.make_adaptation_cohorts(tmp_path, **SMALL | changed)
    assert not any(tmp_path.iterdir())
