"""The cohorts of neural image compression: who is in them, what is planted, and that colour gives nothing away."""

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import openslide
import pandas as pd
import pytest
import shapely
from scipy.stats import spearmanr
from shapely import MultiPolygon, Polygon

from workflow_scripts.lib import assembly, clinical, cohorts, files, labels, splits
from workflow_scripts.lib.annotations import read_annotations
from workflow_scripts.lib.configuration.compression import CompressionDemo
from workflow_scripts.lib.demo import compression, dyes, histology, morphology, outlines
from workflow_scripts.lib.errors import InputError

DEMO = CompressionDemo()
SMALL = {"prefix": "small", "genes": ("PRLA", "RIMA"), "annotated": 3, "development": 24, "external": 3}
SMALL |= {"slide_px": 300, "tile_px": 64, "tile_mpp": 0.5, "seed": 5}
CLASSES = {"lymph_node_a": {"Tumor"}, "lymph_node_b": {"Tumor"}, "glands": {"Gland"}}
CLASSES |= {"nuclei": {"Crowded", "Regular"}, "tissues": set(compression.SEVERAL)}
# Of a pixel of glass no channel is darker.
GLASS = 225


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("compression")
    compression.make_compression_cohorts(folder, processes=1, **SMALL)
    return folder


@pytest.fixture(scope="module")
def planned() -> list[compression.Slide]:
    return compression.plan(**{name: getattr(DEMO, name) for name in ("annotated", "development", "external", "seed")})


def contents(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t")


def sheet_of(folder: Path, role: str) -> pd.DataFrame:
    return table(folder / f"small_{role}.tsv")


def paint(role: str, number: int = 0, *, px: int = 600, **planted) -> compression.Painted:
    slide = compression.Slide(number, "", "", role, **planted)
    rng = np.random.default_rng([1, compression.ROLES.index(role), number])
    return compression.paint(slide, shape=(px // 4, px // 4), seed=5, rng=rng)


def mean_colour(painted: compression.Painted) -> np.ndarray:
    return painted.pixels[painted.pixels.min(axis=2) < GLASS].mean(axis=0)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_whatever_the_processes(made, tmp_path):
    compression.make_compression_cohorts(tmp_path, processes=2, **SMALL)
    assert contents(tmp_path) == contents(made)


@pytest.mark.slow
def test_another_seed_gives_other_slides(made, tmp_path):
    few = SMALL | {"seed": 6, "development": 2, "external": 2}
    compression.make_compression_cohorts(tmp_path, processes=1, **few)
    first, second = ({c for path, c in contents(at).items() if path.suffix != ".tsv"} for at in (tmp_path, made))
    assert not first & second


def test_a_sheet_lists_the_slides_that_are_there(made):
    for role in compression.ROLES:
        found = sheet_of(made, role)
        assert list(found.columns) == ["file", "slide_id", "patient_id"]
        there = (made / f"small_{role}" / "slides").iterdir()
        assert set(found["file"]) == {f"small_{role}/slides/{path.name}" for path in there}
        assert (cohorts.list_from_sheet(made / f"small_{role}.tsv")["status"] == "listed").all()


def test_a_slide_states_the_size_of_its_scanner_s_pixels(made):
    for role, centre in compression.CENTRES.items():
        for file in sheet_of(made, role)["file"]:
            with openslide.OpenSlide(made / file) as opened:
                assert float(opened.properties["openslide.mpp-x"]) == centre.mpp


def test_the_two_centres_of_one_task_differ_in_stain_and_scanner_and_so_do_the_hospitals():
    for pair in (compression.LYMPH_NODES, compression.HOSPITALS):
        centres = [compression.CENTRES[role] for role in pair]
        assert centres[0].mpp != centres[1].mpp
        stains = [
            dyes.draw_stain(np.random.default_rng(0), replace(one.laboratory, turn=0, spread=0)) for one in centres
        ]
        haematoxylin, eosin = histology.AMOUNTS
        colours = [243 * np.exp(-haematoxylin * one.haematoxylin - eosin * one.eosin) for one in stains]
        assert np.abs(colours[0] - colours[1]).max() > 6


def test_annotated_slides_have_outlines_of_their_task_s_classes(made):
    for role in compression.TASKS:
        found = sheet_of(made, role)
        assert len(found) == (2 if role in compression.LYMPH_NODES else SMALL["annotated"])
        folder = made / f"small_{role}" / "annotations"
        assert set(found["slide_id"]) == {path.stem for path in folder.iterdir()}
        drawn = [read_annotations(path) for path in folder.iterdir()]
        assert {region.class_name for one in drawn for region in one.regions} == CLASSES[role]


def test_hospitals_have_no_annotations(made):
    assert {path.name for role in compression.HOSPITALS for path in (made / f"small_{role}").iterdir()} == {"slides"}


def test_an_outline_lies_on_its_class():
    for role in ("lymph_node_a", "nuclei", "tissues"):
        mpp = compression.CENTRES[role].mpp
        for name, mask in paint(role, px=1024).classes.items():
            size = (mask.shape[1] * 4, mask.shape[0] * 4)
            outline = outlines.draw(mask, size=size, cell_px=4, mpp=mpp, rng=np.random.default_rng(0))
            row, column = np.indices(mask.shape)
            inside = shapely.contains_xy(outline, (column + 0.5) * 4, (row + 0.5) * 4)
            assert (inside & mask).sum() / (inside | mask).sum() > 0.75, (role, name)


def test_the_split_has_the_patients_of_all_tasks_once_and_holds_none_out(made):
    split = splits.read_user_split(made / "split.tsv")
    assert sorted(split["patient_id"]) == sorted(
        patient for role in compression.TASKS for patient in sheet_of(made, role)["patient_id"]
    )
    assert set(split["set"]) == {splits.DEVELOPMENT}


def test_a_third_of_each_task_s_slides_validates(planned):
    sets = Counter((slide.role, slide.set) for slide in planned)
    for role in compression.TASKS:
        slides = 5 if role in compression.LYMPH_NODES else DEMO.annotated
        assert sets[role, splits.VALIDATION] == round(slides / 3)
        assert sets[role, splits.TRAIN] == slides - round(slides / 3)


def test_of_every_twelve_slides_of_a_hospital_two_are_of_one_patient(planned):
    for role, slides in (("development", DEMO.development), ("external", DEMO.external)):
        of_patient = Counter(slide.patient_id for slide in planned if slide.role == role)
        assert of_patient.total() == slides
        assert Counter(of_patient.values()) == {2: slides // 12, 1: slides - 2 * (slides // 12)}


def test_the_number_and_the_rim_are_spread_evenly_and_independent(planned):
    for role in compression.HOSPITALS:
        slides = [slide for slide in planned if slide.role == role]
        shares, rims = (np.array([getattr(slide, name) for slide in slides]) for name in ("crowded", "rim"))
        assert np.histogram(shares, bins=4, range=(0, 1))[0].min() >= 0.15 * len(slides)
        assert abs(rims.mean() - 0.5) < 0.15
        assert abs(spearmanr(shares, rims).statistic) < 0.2


def test_two_slides_of_a_patient_have_one_number_and_one_pattern(made):
    targets = table(made / "targets.tsv")
    twice = targets[targets["patient_id"].duplicated(keep=False)]
    assert len(twice) == 4
    assert (twice.groupby("patient_id")[["growth_pattern", "proliferation"]].nunique() == 1).all(axis=None)


def test_targets_and_truth_have_the_slides_of_both_hospitals(made):
    slides = sorted(slide for role in compression.HOSPITALS for slide in sheet_of(made, role)["slide_id"])
    targets, truth = (table(made / name) for name in ("targets.tsv", "truth.tsv"))
    assert list(targets.columns) == ["slide_id", "patient_id", "growth_pattern", "proliferation"]
    assert targets["slide_id"].tolist() == truth["slide_id"].tolist() == slides
    assert targets["proliferation"].between(0, 1).all()
    assert (targets["growth_pattern"] == truth["rim"].map({1: "desmoplastic", 0: "replacement"})).all()
    assert spearmanr(targets["proliferation"], truth["crowded"]).statistic > 0.95


def test_the_hazard_rises_with_the_number_and_falls_with_the_rim(made):
    truth = table(made / "truth.tsv").drop_duplicates("patient_id", keep=False)
    of_share, of_no_rim = compression.LOG_HAZARD_RATIOS
    expected = of_share * (truth["crowded"] - 0.5) + of_no_rim * (0.5 - truth["rim"])
    assert truth["log_hazard"].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-5)


def test_the_clinical_table_has_each_patient_once_with_deaths_and_without(made):
    patients = clinical.read_clinical(made / "clinical.tsv")
    assert sorted(patients["patient_id"]) == sorted(set(table(made / "truth.tsv")["patient_id"]))
    assert 0.4 < patients["event"].mean() < 0.9


def test_crowded_nuclei_have_the_share_that_was_planned():
    for planted in (0.05, 0.5, 0.95):
        assert paint("development", crowded=planted, px=1024).crowded == pytest.approx(planted, abs=0.03)


def test_crowded_nuclei_lie_in_the_nests_of_the_others():
    regular = morphology.KINDS["melanoma"][0]
    crowded = compression.crowded_of(regular)
    differ = {name for name, value in asdict(crowded).items() if value != getattr(regular, name)}
    assert differ <= set(morphology.NUCLEI)
    assert crowded.spacing_um < regular.spacing_um


def test_a_rim_is_fibres_beside_the_tumour(monkeypatch):
    put: list[np.ndarray] = []
    whole = histology.paint_tissues
    monkeypatch.setattr(histology, "paint_tissues", lambda *a, **k: put.append(found := whole(*a, **k)) or found)
    for number in range(3):
        for rim in (True, False):
            paint("development", number, crowded=0.5, rim=rim, px=1024)
    of_rim = [(found.tissue == 3).mean() for found in put]
    assert min(of_rim[::2]) > 1.5 * max(of_rim[1::2])


def test_mean_colours_hardly_change_with_the_number_and_the_rim():
    for number in range(3):
        base = {"crowded": 0.1, "rim": False}
        here = mean_colour(paint("development", number, **base))
        for change in ({"crowded": 0.9}, {"rim": True}):
            assert np.abs(mean_colour(paint("development", number, **base | change)) - here).max() < 3


def test_tissues_that_lie_nowhere_are_left_out():
    looks = [compression.SEVERAL["Muscle"], compression.SEVERAL["Stroma"]]
    given = {"shape": (60, 60), "mpp": 0.5, "library_seed": 5, "rng": np.random.default_rng(1)}
    stain = dyes.draw_stain(np.random.default_rng(1))
    found = histology.paint_tissues(
        looks, places=lambda grid, *_: np.stack([np.zeros(grid.shape), np.full(grid.shape, -99)]), stain=stain, **given
    )
    assert set(np.unique(found.tissue)) <= {-1, 0}


def test_an_outline_round_another_class_is_cut_and_both_are_read_as_drawn(tmp_path):
    outer, hole = shapely.box(0, 0, 100, 80), shapely.box(20, 20, 60, 50)
    inner = shapely.box(19, 19, 61, 51)
    drawn = {"Regular": MultiPolygon([Polygon(outer.exterior, [hole.exterior])]), "Crowded": MultiPolygon([inner])}
    outlines.write_asap(tmp_path / "drawn.xml", drawn)
    found = read_annotations(tmp_path / "drawn.xml").regions
    for name, outline in drawn.items():
        assert shapely.union_all([one.geometry for one in found if one.class_name == name]).equals(outline)


def test_the_development_cohort_can_be_assembled_for_the_chain(made, tmp_path):
    genes = SMALL["genes"]
    assembly.assemble_cohort(
        slides={"manifest": None, "folder": None, "sheet": made / "small_development.tsv", "exclude": {}},
        expression_tables={"mrna": {"path": str(made / "mrna.geneExp.tsv"), "kind": "mrna", "sample_type": None}},
        path_to_clinical=str(made / "clinical.tsv"),
        path_to_split=None,
        traits={gene: {"table": "mrna", "feature": gene} for gene in genes},
        label_settings={"low": 0.35, "high": 0.65, "near": 0.1, "population": "slides"},
        split_settings={"test": 0.2, "validation": 0.3, "rounds": 1},
        seed=1,
        path_to_sheet=tmp_path / "sheet.tsv",
        path_to_splits=tmp_path / "splits.tsv",
        folder_of_labels=tmp_path / "labels",
    )
    sheet = files.read_table(tmp_path / "sheet.tsv", text=cohorts.SHEET_TEXT)
    assert set(sheet["sample_type"]) == {"01"}
    truth = table(made / "truth.tsv").set_index("slide_id")
    found = labels.read_labels(tmp_path / "labels", genes)
    assert found[genes[0]]["value"].notna().all()
    for gene, planted in zip(genes, ("crowded", "rim"), strict=True):
        values = found[gene].set_index("slide_id")["value"]
        assert spearmanr(values, truth.loc[values.index, planted]).statistic > 0.8


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"genes": ("PRLA", "PRLA")}, "genes: expected two, found PRLA, PRLA"),
        ({"annotated": 2}, "2 annotated slides of a task, 24 and 3 of the hospitals: expected three or more of a task"),
        ({"external": 1}, "two or more of a hospital"),
        ({"slide_px": 60}, "smaller than a tile of 32 µm"),
    ],
)
def test_cohorts_that_cannot_be_made_are_refused(tmp_path, changed, said):
    with pytest.raises(InputError, match=said):
        compression.make_compression_cohorts(tmp_path, processes=1, **SMALL | changed)
    assert not any(tmp_path.iterdir())
