"""The cohort of metastatic origin: who is in it, and that classes differ in what they look like and not in colour."""

from collections import Counter
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import openslide
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from workflow_scripts.lib import cohorts, splits
from workflow_scripts.lib.annotations import read_annotations
from workflow_scripts.lib.configuration.origin import OriginDemo
from workflow_scripts.lib.demo import dyes, histology, morphology, origins
from workflow_scripts.lib.domains import DOMAINS, METASTATIC, PRIMARY
from workflow_scripts.lib.errors import InputError

ALL, CONTROL = list(morphology.KINDS), "normal_liver"
SETS = (splits.TRAIN, splits.VALIDATION, splits.TEST)
DEMO = OriginDemo().model_dump()
OF_PLAN = {name: DEMO[name] for name in ("primary", "metastatic", "annotated", "seed")}
SMALL = {"classes": ["melanoma", "renal_cell_carcinoma"], "control": CONTROL, "primary": 4, "metastatic": (3, 4)}
SMALL |= {"annotated": 3, "slide_px": 600, "tile_px": 128, "tile_mpp": 0.78125, "seed": 5}
# Slides painted of each class.
EACH = 5


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("origin")
    origins.make_origin_cohort(folder, processes=1, **SMALL)
    return folder


@pytest.fixture(scope="module")
def planned() -> pd.DataFrame:
    return pd.DataFrame([vars(slide) for slide in origins.plan(ALL, CONTROL, **OF_PLAN)])


@pytest.fixture(scope="module")
def painted() -> pd.DataFrame:
    """Primaries of all classes: of each slide's tumour the mean colour of tissue, and how coarse and plain it is."""
    rows = []
    for kind in ALL:
        for number in range(EACH):
            rng = np.random.default_rng([1, ALL.index(kind), number])
            stain = dyes.draw_stain(rng)
            slide = paint(morphology.primary(kind, rng), morphology.KINDS[kind][1], stain, rng)
            pixels = slide.pixels[np.kron(slide.tumour, np.ones((4, 4), bool))]
            grey = slide.pixels.mean(axis=2)
            inside = np.kron(slide.tumour, np.ones((4, 4), bool))
            at = {sigma: gaussian_filter(grey, sigma)[inside].std() / grey[inside].std() for sigma in (2, 8)}
            colour = pixels[pixels.min(axis=1) < 225].mean(axis=0)
            rows.append((kind, *colour, at[2], at[8]))
    return pd.DataFrame(rows, columns=["class", "red", "green", "blue", "fine", "coarse"])


def paint(look: morphology.Look | None, home: str, stain: dyes.Stain, rng: np.random.Generator) -> histology.Painted:
    given = {"shape": (150, 150), "mpp": 0.5, "tumour_share": 0.6, "library_seed": 5}
    return histology.paint_slide(look, morphology.SURROUNDINGS[home], stain=stain, rng=rng, **given)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_whatever_the_processes(made, tmp_path):
    origins.make_origin_cohort(tmp_path, processes=2, **SMALL)
    assert contents(tmp_path) == contents(made)


def test_another_seed_gives_other_slides(made, tmp_path):
    origins.make_origin_cohort(tmp_path, processes=1, **SMALL | {"seed": 6, "slide_px": 300})
    first, second = (set(contents(folder).values()) for folder in (tmp_path, made))
    assert not first & second


def test_a_sheet_lists_the_slides_that_are_there_and_their_mpp_is_in_the_file(made):
    for domain in DOMAINS:
        table = pd.read_csv(made / f"{domain}.tsv", sep="\t")
        assert list(table.columns) == ["file", "slide_id", "patient_id", "class"]
        there = {f"{domain}/slides/{path.name}" for path in (made / domain / "slides").iterdir()}
        assert set(table["file"]) == there
        # The class is a column that readers of sheets may not know.
        sheet = cohorts.list_from_sheet(made / f"{domain}.tsv")
        assert (sheet["status"] == "listed").all()
        with openslide.OpenSlide(made / table["file"][0]) as opened:
            assert origins.MPP[0] <= float(opened.properties["openslide.mpp-x"]) <= origins.MPP[1]
            assert opened.properties["openslide.objective-power"] == "20"


def test_the_split_has_each_patient_of_both_domains_once(made):
    split = splits.read_user_split(made / "split.tsv")
    sheets = [pd.read_csv(made / f"{domain}.tsv", sep="\t") for domain in DOMAINS]
    assert set(split["patient_id"]) == set(pd.concat(sheets)["patient_id"])
    assert len(set(split["patient_id"])) < sum(map(len, sheets))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_class_has_slides_of_each_set_in_each_domain(seed):
    for metastatic in ((3, 3), (5, 12)):
        given = OF_PLAN | {"seed": seed, "primary": metastatic[0] + 1, "metastatic": metastatic}
        slides = origins.plan(ALL, CONTROL, **given)
        found = {(slide.class_name, slide.domain, slide.set) for slide in slides}
        assert found == {(c, d, s) for c in [*ALL, CONTROL] for d in DOMAINS for s in SETS}


def test_some_patients_have_a_primary_and_a_metastasis_and_all_stand_in_one_set(planned):
    of_patients = planned.groupby("patient_id")
    assert (of_patients["set"].nunique() == 1).all()
    assert (of_patients["class_name"].nunique() == 1).all()
    assert (of_patients["domain"].nunique() == of_patients.size()).all()
    assert 0.2 < (of_patients.size() == 2).sum() / (planned["domain"] == METASTATIC).sum() < 0.4


def test_metastases_are_imbalanced_primaries_are_not_and_the_control_is_in_the_middle(planned):
    counts = planned.groupby(["domain", "class_name"]).size()
    metastases = np.sort(counts[METASTATIC].drop(CONTROL))
    assert (metastases[0], metastases[-1]) == DEMO["metastatic"]
    assert metastases == pytest.approx(np.geomspace(*DEMO["metastatic"], len(ALL)), abs=0.51)
    assert (counts[PRIMARY] == DEMO["primary"]).all()
    assert metastases[0] < counts[METASTATIC, CONTROL] < metastases[-1]


def test_annotated_slides_are_of_all_classes_and_sets_and_never_of_the_control(planned):
    for domain in DOMAINS:
        drawn_on = planned[planned["annotated"] & (planned["domain"] == domain)]
        assert len(drawn_on) == DEMO["annotated"]
        assert set(drawn_on["class_name"]) == set(ALL)
        sizes = Counter(drawn_on["set"])
        assert sizes[splits.TRAIN] >= DEMO["annotated"] / 3
        assert min(sizes[name] for name in SETS) >= DEMO["annotated"] / 7


def test_three_annotated_slides_are_of_all_sets():
    slides = origins.plan(ALL[:3], CONTROL, primary=3, metastatic=(3, 3), annotated=3, seed=1)
    for domain in DOMAINS:
        assert {slide.set for slide in slides if slide.annotated and slide.domain == domain} == set(SETS)


def test_an_outline_holds_about_half_of_the_tissue(made):
    for domain in DOMAINS:
        paths = list((made / domain / "annotations").iterdir())
        assert len(paths) == SMALL["annotated"]
        for path in paths:
            found = read_annotations(path)
            assert {region.class_name for region in found.regions} == {"Tumor"}
            with openslide.OpenSlide(made / domain / "slides" / f"{path.stem}.svs") as opened:
                pixels = np.asarray(opened.read_region((0, 0), 0, opened.dimensions))[..., :3]
            tissue = (gaussian_filter(pixels.min(axis=2).astype(float), 8) < 225).sum()
            assert 0.3 < sum(region.geometry.area for region in found.regions) / tissue < 0.8


@pytest.mark.slow
def test_mean_colours_differ_less_between_classes_than_between_slides(painted):
    colours = painted.groupby("class")[["red", "green", "blue"]]
    between, within = colours.mean().std(), colours.std().mean()
    assert np.linalg.norm(between) < np.linalg.norm(within)


@pytest.mark.parametrize("texture", ["fine", "coarse"])
def test_classes_differ_in_texture_more_than_their_slides_do(painted, texture):
    of_classes = painted.groupby("class")[texture]
    assert of_classes.mean().std() > 1.5 * of_classes.std().mean()


def test_metastases_of_some_classes_hardly_differ_from_primaries_and_of_others_much():
    shifts = morphology.own_shifts(1)
    sizes = [np.sqrt((shift**2).mean()) for shift in shifts.values()]
    assert np.sort(sizes) == pytest.approx(np.linspace(*morphology.OWN_SHIFT, len(ALL)))
    assert list(shifts) == ALL
    assert sizes != [np.sqrt((shift**2).mean()) for shift in morphology.own_shifts(2).values()]


def test_metastases_are_less_differentiated_and_shifted_by_their_class():
    def mean_look(kind: str, shift: np.ndarray | None) -> dict[str, float]:
        rng = np.random.default_rng(0)
        draws = range(200)
        looks = [
            morphology.primary(kind, rng) if shift is None else morphology.metastasis(kind, shift, rng) for _ in draws
        ]
        return pd.DataFrame([asdict(look) for look in looks]).mean().to_dict()

    still = np.zeros(len(morphology.PROPERTIES))
    before, after = (mean_look("colonic_adenocarcinoma", shift) for shift in (None, still))
    assert after["unequal"] > before["unequal"]
    assert after["stroma"] < before["stroma"]
    assert after["lumen"] < before["lumen"]
    own = still.copy()
    own[list(morphology.PROPERTIES).index("nest_um")] = 2.0
    assert mean_look("colonic_adenocarcinoma", own)["nest_um"] == pytest.approx(1.27 * after["nest_um"], rel=0.01)


def test_normal_liver_is_drawn_alike_in_both_domains():
    slides = [origins.Slide(7, "S", "P", CONTROL, domain, splits.TRAIN) for domain in DOMAINS]
    stain = dyes.draw_stain(np.random.default_rng(0))
    pixels = []
    for slide in slides:
        rng = np.random.default_rng(1)
        look, home = origins.look_of(slide, control=CONTROL, seed=5, rng=rng)
        painted = paint(look, home, stain, rng)
        assert not painted.tumour.any()
        pixels.append(painted.pixels)
    assert (pixels[0] == pixels[1]).all()


def test_a_metastasis_lies_in_liver_and_a_primary_in_its_organ():
    rng = np.random.default_rng(0)
    slides = [origins.Slide(7, "S", "P", "leiomyosarcoma", domain, splits.TRAIN) for domain in DOMAINS]
    homes = [origins.look_of(slide, control=CONTROL, seed=5, rng=rng)[1] for slide in slides]
    assert homes == ["muscle", morphology.LIVER]


def test_a_slide_s_look_varies_around_its_kind_s_and_what_a_kind_has_none_of_no_slide_has():
    rng = np.random.default_rng(0)
    kind = morphology.KINDS["melanoma"][0]
    looks = pd.DataFrame([asdict(morphology.primary("melanoma", rng)) for _ in range(300)])
    assert looks["nucleus_um"].mean() == pytest.approx(kind.nucleus_um, rel=0.02)
    assert looks["nucleus_um"].std() / kind.nucleus_um == pytest.approx(
        morphology.PROPERTIES["nucleus_um"].spread, rel=0.15
    )
    assert (looks["keratin"] == 0).all()
    assert looks["granules"].between(0.05, 0.99).all()


def test_each_property_of_a_look_but_those_of_some_organs_says_how_it_varies():
    of_organs = ["two_rows", "bare", "portal"]
    assert [*morphology.PROPERTIES, *of_organs] == [field.name for field in fields(morphology.Look)]
    homes = {home for _, home in morphology.KINDS.values()}
    assert homes | {morphology.LIVER} == set(morphology.SURROUNDINGS)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"classes": ["melanom"]}, "class 'melanom' is none that can be painted; did you mean 'melanoma'?"),
        ({"classes": ["melanoma", "melanoma"]}, "classes: expected each once"),
        ({"control": "melanoma"}, "control 'melanoma': it is one of the classes"),
        ({"metastatic": (2, 4)}, "4 primaries and 2 to 4 metastases of a class: expected at least 3 of each"),
        ({"annotated": 9}, "9 annotated slides, expected at most 8"),
        ({"slide_px": 150}, "smaller than a tile of 100 µm"),
    ],
)
def test_a_cohort_that_cannot_be_made_is_refused(tmp_path, changed, said):
    with pytest.raises(InputError, match=said.replace("?", r"\?")):
        origins.make_origin_cohort(tmp_path, processes=1, **SMALL | changed)
