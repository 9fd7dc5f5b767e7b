"""The cohorts of cross-cancer transfer: who is in them, that the outlines lie on the tumours, and what organs share."""

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import openslide
import pandas as pd
import pytest
import shapely
from scipy.ndimage import gaussian_filter
from shapely import MultiPolygon, Polygon

from workflow_scripts.lib import cohorts, splits
from workflow_scripts.lib.annotations import read_annotations
from workflow_scripts.lib.configuration.transfer import TransferDemo
from workflow_scripts.lib.demo import dyes, histology, layouts, morphology, organs, outlines
from workflow_scripts.lib.errors import InputError

NAMES = ("kidney", "lung", "muscle")
SMALL = {"names": NAMES, "target": 4, "held_out": 2, "source": 3, "unrelated": 2}
SMALL |= {"slide_px": 800, "tile_px": 64, "tile_mpp": 1.0, "seed": 5, "processes": 1}
DEMO = TransferDemo()
COUNTS = {role: getattr(DEMO, role) for role in organs.ROLES}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("transfer")
    organs.make_transfer_cohorts(folder, **SMALL)
    return folder


def paint(role: str, number: int, *, px: int = 800) -> histology.Painted:
    organ, rng = organs.ORGANS[role], np.random.default_rng([1, organs.ROLES.index(role), number])
    tumour, stain = morphology.vary(organ.tumour, rng), dyes.draw_stain(rng, organ.laboratory)
    given = {"shape": (px // 4, px // 4), "mpp": organ.scanners[0], "tumour_share": 0.5, "bodies": layouts.foci}
    return histology.paint_slide(tumour, organ.benign, stain=stain, library_seed=5, rng=rng, **given)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


def sheet_of(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.tsv", sep="\t")


def drawn_on(folder: Path, name: str, slide_id: str) -> shapely.Geometry:
    found = read_annotations(folder / name / "annotations" / f"{slide_id}.xml")
    assert {region.class_name for region in found.regions} == {"Tumor"}
    return shapely.union_all([region.geometry for region in found.regions])


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_whatever_the_processes(made, tmp_path):
    organs.make_transfer_cohorts(tmp_path, **SMALL | {"processes": 2})
    assert contents(tmp_path) == contents(made)


@pytest.mark.slow
def test_another_seed_gives_other_slides(made, tmp_path):
    organs.make_transfer_cohorts(tmp_path, **SMALL | {"seed": 6, "slide_px": 300})
    first, second = (
        {content for path, content in contents(folder).items() if path.suffix != ".tsv"} for folder in (tmp_path, made)
    )
    assert not first & second


def test_a_sheet_lists_the_slides_that_are_there_and_each_has_its_outline(made):
    for name in NAMES:
        table = sheet_of(made, name)
        assert list(table.columns) == ["file", "slide_id", "patient_id"]
        assert set(table["file"]) == {f"{name}/slides/{path.name}" for path in (made / name / "slides").iterdir()}
        assert set(table["slide_id"]) == {path.stem for path in (made / name / "annotations").iterdir()}
        assert (cohorts.list_from_sheet(made / f"{name}.tsv")["status"] == "listed").all()


def test_a_slide_states_the_size_of_its_organ_s_pixels(made):
    for name, organ in zip(NAMES, organs.ORGANS.values(), strict=True):
        for file in sheet_of(made, name)["file"]:
            with openslide.OpenSlide(made / file) as opened:
                assert float(opened.properties["openslide.mpp-x"]) in organ.scanners


def test_the_source_has_two_scanners_and_no_organ_has_another_s():
    scanners = [organ.scanners for organ in organs.ORGANS.values()]
    assert [len(of) for of in scanners] == [1, 2, 1]
    assert len(set(sum(scanners, ()))) == 4


def test_the_split_has_each_patient_once_and_test_patients_of_the_target_alone(made):
    split = splits.read_user_split(made / "split.tsv").set_index("patient_id")
    target, *others = (sheet_of(made, name)["patient_id"] for name in NAMES)
    assert sorted(split.index) == sorted(pd.concat([target, *others]))
    assert (split.loc[target, "set"] == splits.TEST).sum() == SMALL["held_out"]
    assert (split.loc[pd.concat(others), "set"] == splits.DEVELOPMENT).all()


def test_a_fifth_of_the_slides_that_are_not_held_out_validates():
    sets = Counter((slide.role, slide.set) for slide in organs.plan(COUNTS, held_out=6, seed=DEMO.seed))
    for role, others in ((organs.TARGET, DEMO.target - 6), (organs.SOURCE, 16), (organs.UNRELATED, 16)):
        assert sets[role, splits.VALIDATION] == round(0.2 * others)
        assert sets[role, splits.TRAIN] == others - round(0.2 * others)
    assert sets[organs.TARGET, splits.TEST] == 6


def test_each_slide_is_of_a_patient_of_its_own_whose_id_does_not_tell_the_organ():
    slides = organs.plan(COUNTS, held_out=6, seed=DEMO.seed)
    assert len({slide.patient_id for slide in slides}) == len({slide.slide_id for slide in slides}) == len(slides)
    by_patient = [slide.role for slide in sorted(slides, key=lambda slide: slide.patient_id)]
    assert by_patient != sorted(by_patient, key=organs.ROLES.index)


@pytest.mark.parametrize("role", organs.ROLES)
def test_an_outline_lies_on_the_tumour(role):
    slide = paint(role, 0)
    size = slide.pixels.shape[1::-1]
    mpp = organs.ORGANS[role].scanners[0]
    rng = np.random.default_rng(0)
    outline = outlines.draw(slide.tumour, size=size, cell_px=histology.CELL_PX, mpp=mpp, rng=rng)
    row, column = np.indices(slide.tumour.shape)
    inside = shapely.contains_xy(outline, (column + 0.5) * histology.CELL_PX, (row + 0.5) * histology.CELL_PX)
    assert (inside & slide.tumour).sum() / (inside | slide.tumour).sum() > 0.9


def test_an_outline_holds_as_much_tissue_as_the_tumour_may_have(made):
    low, high = organs.TUMOUR_SHARE
    for name in NAMES:
        for file, slide_id in sheet_of(made, name)[["file", "slide_id"]].itertuples(index=False):
            with openslide.OpenSlide(made / file) as opened:
                pixels = np.asarray(opened.read_region((0, 0), 0, opened.dimensions))[..., :3]
            tissue = (gaussian_filter(pixels.min(axis=2).astype(float), 24) < 238).sum()
            assert 0.8 * low < drawn_on(made, name, slide_id).area / tissue < 1.3 * high


def test_asap_s_file_gives_back_what_was_drawn_with_its_holes(tmp_path):
    outer, hole, beside = (shapely.box(*at) for at in ((0, 0, 100, 80), (20, 20, 60.5, 50), (200, 0, 220, 30)))
    outline = MultiPolygon([Polygon(outer.exterior, [hole.exterior]), beside])
    outlines.write_asap(tmp_path / "drawn.xml", {outlines.CLASS_NAME: outline})
    found = read_annotations(tmp_path / "drawn.xml")
    assert found.form == "ASAP XML"
    assert [region.class_name for region in found.regions] == ["Tumor", "Tumor"]
    assert shapely.union_all([region.geometry for region in found.regions]).equals(outline)


def test_a_hole_in_which_tumour_lies_is_drawn_over(tmp_path):
    outer, hole, island = (shapely.box(*at) for at in ((0, 0, 100, 80), (20, 20, 60, 50), (30, 30, 40, 40)))
    outline = MultiPolygon([Polygon(outer.exterior, [hole.exterior]), island])
    outlines.write_asap(tmp_path / "drawn.xml", {outlines.CLASS_NAME: outline})
    regions = read_annotations(tmp_path / "drawn.xml").regions
    assert shapely.union_all([region.geometry for region in regions]).equals(outer)


def test_a_tumour_s_glands_differ_from_benign_ones_alike_in_both_organs_that_have_them():
    for role in (organs.TARGET, organs.SOURCE):
        organ = organs.ORGANS[role]
        assert organ.tumour == organs.malignant(organ.benign)
        assert organ.tumour.nest_um < 0.6 * organ.benign.nest_um
        assert organ.tumour.nucleoli > organ.benign.nucleoli
        assert organ.benign.two_rows and not organ.tumour.two_rows


def test_the_unrelated_tumour_has_no_glands_and_the_nuclei_of_the_muscle_around_it():
    organ = organs.ORGANS[organs.UNRELATED]
    differ = {name for name, value in asdict(organ.tumour).items() if value != getattr(organ.benign, name)}
    assert differ == {"nest_um", "stretch", "stroma", "fibrous", "aligned", "turning", "wavy"}
    assert organ.benign.lumen == organ.benign.polarity == 0


def test_mean_colours_differ_between_organs_and_not_between_a_tumour_and_what_surrounds_it():
    means = {}
    for role in organs.ROLES:
        benign, ill = zip(*(mean_colours(paint(role, number, px=600)) for number in range(4)), strict=True)
        means[role] = np.mean(benign, axis=0)
        assert np.abs(means[role] - np.mean(ill, axis=0)).max() < 8
    assert np.abs(means[organs.TARGET] - means[organs.SOURCE]).max() > 10


def mean_colours(slide: histology.Painted) -> tuple[np.ndarray, np.ndarray]:
    """Of what is stained, outside the tumour and in it."""
    inside = np.kron(slide.tumour, np.ones((4, 4), bool))
    stained = slide.pixels.min(axis=2) < 225
    return slide.pixels[stained & ~inside].mean(axis=0), slide.pixels[stained & inside].mean(axis=0)


def test_a_row_of_flat_nuclei_lies_on_the_wall_of_benign_glands(monkeypatch):
    put: list[int] = []
    monkeypatch.setattr(histology, "put_nuclei", lambda *given: put.append(len(given[3])))
    benign = organs.ORGANS[organs.TARGET].benign
    counts = []
    for look in (replace(benign, two_rows=False), benign):
        put.clear()
        rng = np.random.default_rng(3)
        given = {"shape": (150, 150), "mpp": 0.44, "tumour_share": 0.0, "library_seed": 5}
        histology.paint_slide(None, look, stain=dyes.draw_stain(rng), rng=rng, **given)
        counts.append(list(put))
    (plain, *_), (tall, flat, *_) = counts
    assert len(counts[1]) == len(counts[0]) + 1
    assert tall > 0.5 * plain
    assert flat > 0.3 * tall


def test_fat_lies_where_glands_are_missing():
    benign = organs.ORGANS[organs.SOURCE].benign
    seen = {}
    for name, look in (("fat", benign), ("lean", replace(benign, fat=0.0))):
        rng = np.random.default_rng(4)
        given = {"shape": (200, 200), "mpp": 0.486, "tumour_share": 0.0, "library_seed": 5}
        seen[name] = histology.paint_slide(None, look, stain=dyes.draw_stain(rng), rng=rng, **given).pixels
    empty = {name: (gaussian_filter(pixels.min(axis=2).astype(float), 8) > 225).mean() for name, pixels in seen.items()}
    assert empty["fat"] > empty["lean"] + 0.05


def test_foci_are_several_and_lie_apart_on_some_slides():
    y, x = np.mgrid[0:700:7, 0:700:7].astype(float)
    found = []
    for seed in range(20):
        field = layouts.foci(y, x, np.random.default_rng(seed))
        found.append(len(outlines._polygons_of(outlines._united(field > np.quantile(field, 0.7)))))
    assert min(found) == 1
    assert max(found) >= 3


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"names": ("kidney", "lung")}, "names of cohorts: expected three, of target, source, unrelated, found kidney"),
        ({"names": ("lung", "lung", "muscle")}, "names of cohorts: expected three"),
        ({"held_out": 3}, "4 slides of the target organ, 3 of them held out: expected at least two that are not"),
        ({"held_out": 0}, "4 slides of the target organ, 0 of them held out"),
        ({"source": 1}, "1 slides of the source organ"),
        ({"slide_px": 150}, "smaller than a tile of 64 µm"),
    ],
)
def test_cohorts_that_cannot_be_made_are_refused(tmp_path, changed, said):
    with pytest.raises(InputError, match=said):
        organs.make_transfer_cohorts(tmp_path, **SMALL | changed)
    assert not any(tmp_path.iterdir())


def test_the_section_refuses_to_hold_out_nearly_all():
    with pytest.raises(ValueError, match="19 of 20 slides of the target"):
        TransferDemo(held_out=19)
