"""The demo cohort: its files read as real ones do, its truth is true, its special cases are there."""

import hashlib
import math
from collections import Counter
from pathlib import Path

import numpy as np
import openslide
import pandas as pd
import pytest
from scipy.stats import spearmanr

from workflow_scripts.lib import clinical, expression, tiles
from workflow_scripts.lib.demo import clones, cohort, noise, roster, svs, tables, tissue
from workflow_scripts.lib.errors import InputError

GENE, MIRNA = "GLDA", "hsa-miR-demo-5p"
TILE_PX, TILE_MPP = 64, 0.5
SMALL = {"gene": GENE, "mirna": MIRNA, "slide_px": 768, "tile_px": TILE_PX, "tile_mpp": TILE_MPP, "seed": 5}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    cohort.make_cohort(folder, slides=18, processes=1, **SMALL)
    return folder


@pytest.fixture(scope="module")
def planned() -> tuple[list[roster.Patient], list[roster.Slide]]:
    patients = roster.enrol(18, special_cases=True, seed=5)
    return patients, roster.list_slides(patients, slide_px=768, mpp=(0.2490, 0.2530), seed=5)


def special(planned, what: str) -> list[str]:
    return [patient.patient_id for patient in planned[0] if patient.special == what]


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", dtype={"kind": str}, keep_default_na=False)


def test_openslide_reads_a_slide_as_aperio_with_the_mpp_it_was_made_at(made, planned):
    for slide in planned[1]:
        if slide.condition == "cut":
            continue
        with openslide.OpenSlide(made / "slides" / slide.name) as opened:
            assert opened.properties["openslide.vendor"] == "aperio"
            assert opened.properties["openslide.objective-power"] == "40"
            assert opened.dimensions == (slide.width, slide.height)
            assert opened.level_downsamples == pytest.approx((1, 4, 16), rel=0.03)
            if slide.condition == "no_mpp":
                assert "openslide.mpp-x" not in opened.properties
            else:
                assert float(opened.properties["openslide.mpp-x"]) == pytest.approx(slide.mpp)


def test_levels_show_the_same_place_and_their_sides_are_rounded_down(tmp_path):
    pixels = np.full((500, 330, 3), 240, np.uint8)
    pixels[320:400, 160:240] = (120, 60, 140)
    svs.write_svs(pixels, tmp_path / "a.svs", mpp=0.25)
    with openslide.OpenSlide(tmp_path / "a.svs") as opened:
        assert opened.level_dimensions == ((330, 500), (82, 125), (20, 31))
        for level, factor in enumerate((1, 4, 16)):
            read = np.asarray(opened.read_region((0, 0), level, opened.level_dimensions[level]))[..., :3]
            dark = np.argwhere(read[..., 1] < 150)
            assert dark.min(axis=0) == pytest.approx((320 / factor, 160 / factor), abs=1)
            assert dark.max(axis=0) == pytest.approx((400 / factor - 1, 240 / factor - 1), abs=1)


def test_the_slide_s_own_edge_is_not_darkened_by_padding(tmp_path):
    svs.write_svs(np.full((250, 250, 3), 240, np.uint8), tmp_path / "a.svs", mpp=None)
    with openslide.OpenSlide(tmp_path / "a.svs") as opened:
        assert np.asarray(opened.read_region((0, 0), 0, (250, 250))).min() >= 238


def test_the_same_seed_gives_the_same_bytes_whatever_the_processes(tmp_path):
    small = SMALL | {"slide_px": 400, "slides": 3, "special_cases": False}
    cohort.make_cohort(tmp_path / "a", processes=1, **small)
    cohort.make_cohort(tmp_path / "b", processes=2, **small)
    first, second = (
        {p.relative_to(f): p.read_bytes() for p in f.rglob("*.*")} for f in (tmp_path / "a", tmp_path / "b")
    )
    assert len(first) == 3 + 6
    assert first == second


def test_another_seed_gives_other_slides(tmp_path):
    for seed in (1, 2):
        small = SMALL | {"slide_px": 400, "slides": 1, "special_cases": False, "seed": seed}
        cohort.make_cohort(tmp_path / str(seed), processes=1, **small)
    first, second = (next((tmp_path / seed / "slides").iterdir()) for seed in ("1", "2"))
    assert first.name != second.name
    assert first.read_bytes() != second.read_bytes()


def test_a_clone_covers_the_share_of_the_tissue_that_was_asked_for():
    rng = np.random.default_rng(0)
    within = np.zeros((200, 240), dtype=bool)
    within[20:180, 30:200] = True
    fields = clones.lay_out(within, (0.2, 0.9), 0.0, cell_um=2.0, rng=rng)
    assert (fields.a[within] > 0).mean() == pytest.approx(0.2, abs=0.001)
    assert (fields.b[within] > 0).mean() == pytest.approx(0.9, abs=0.001)


def test_a_tile_is_what_more_than_half_of_its_tissue_is():
    # Tiles of 4 × 4 cells, three across and two down; the last column and row of the slide hold no whole tile.
    within = np.ones((9, 13), dtype=bool)
    a, b = -np.ones((2, 9, 13))
    a[0:4, 0:3] = 1  # 12 of 16: A
    b[0:4, 4:6] = 1  # exactly half: not B
    a[0:4, 8:12], b[0:4, 8:12] = 1, 1  # AB
    within[4:8, 0:3] = False  # a quarter is tissue: no tile
    within[4:8, 4:6], b[4:6, 6:8], b[6, 6] = False, 1, 1  # half is tissue, and 5 of these 8 cells are B
    kinds = clones.tile_kinds(clones.Clones(a, b), within, size=(13 * 8 - 1, 9 * 8 - 1), cell_px=8, tile_level0_px=32)
    assert list(kinds.itertuples(index=False, name=None)) == [
        (0, 0, "A"),
        (1, 0, "0"),
        (2, 0, "AB"),
        (1, 1, "B"),
        (2, 1, "0"),
    ]


def test_tiles_whose_edges_cut_cells_count_exact_areas():
    rng = np.random.default_rng(1)
    within = rng.uniform(size=(30, 40)) < 0.8
    fields = clones.Clones(*rng.normal(size=(2, 30, 40)))
    # Edges at multiples of 20.4 px, cells of 8: in units of 0.4 px both are whole, and can be counted.
    kinds = clones.tile_kinds(fields, within, size=(320, 240), cell_px=8, tile_level0_px=20.4)
    fine = [np.kron(mask, np.ones((20, 20))) for mask in (within, within & (fields.a > 0), within & (fields.b > 0))]
    expected = []
    for row in range(11):
        for col in range(15):
            whole, a, b = (m[51 * row : 51 * row + 51, 51 * col : 51 * col + 51].sum() for m in fine)
            if whole >= 51 * 51 / 2:
                expected.append((col, row, clones.KINDS[bool(a > whole / 2), bool(b > whole / 2)]))
    assert list(kinds.itertuples(index=False, name=None)) == expected


def test_the_truth_of_a_slide_is_that_of_the_clones_it_was_painted_from(made, planned):
    truth = table(made / "truth" / "tiles.tsv")
    slide = next(s for s in planned[1] if s.condition == "whole")
    rng = np.random.default_rng([5, 3, slide.number])
    tissue.draw_stain(rng)
    anatomy, fields = cohort.plant(slide, (-(-slide.height // 8), -(-slide.width // 8)), rng)
    side = TILE_PX * TILE_MPP / slide.mpp
    whole, a, b = (
        np.kron(mask, np.ones((8, 8)))
        for mask in (
            anatomy.tissue(fields),
            anatomy.tissue(fields) & (fields.a > 0),
            anatomy.tissue(fields) & (fields.b > 0),
        )
    )
    rows = truth[truth["slide_id"] == slide.slide_id]
    assert len(rows) > 5
    for tile in rows.itertuples():
        top, left = round(tile.row * side), round(tile.col * side)
        where = np.s_[top : top + round(side), left : left + round(side)]
        assert whole[where].mean() > 0.48
        for name, mask in (("A", a), ("B", b)):
            part = mask[where].sum() / whole[where].sum()
            if abs(part - 0.5) > 0.02:
                assert (name in tile.kind) == (part > 0.5)


def test_the_slide_s_shares_and_hti_are_those_of_its_tiles(made):
    slides, tiles = table(made / "truth" / "slides.tsv"), table(made / "truth" / "tiles.tsv")
    assert list(slides.columns) == ["slide_id", "patient_id", f"share_{GENE}", f"share_{MIRNA}", "hti"]
    assert list(tiles.columns) == ["slide_id", "col", "row", "kind"]
    for slide in slides.to_dict("records"):
        count = Counter(tiles.loc[tiles["slide_id"] == slide["slide_id"], "kind"])
        n, positive = count.total(), count.total() - count["0"]
        assert slide[f"share_{GENE}"] == pytest.approx((count["A"] + count["AB"]) / n)
        assert slide[f"share_{MIRNA}"] == pytest.approx((count["B"] + count["AB"]) / n)
        parts = [count[kind] / positive for kind in ("A", "B", "AB") if count[kind]]
        assert slide["hti"] == pytest.approx(-sum(p * math.log(p, 3) for p in parts), abs=1e-12)
        assert slide["slide_id"].startswith(slide["patient_id"])


def test_the_manifest_states_each_file_as_it_lies_there(made):
    manifest = table(made / "gdc_manifest.txt")
    assert list(manifest.columns) == ["id", "filename", "md5", "size", "state"]
    assert {path.name for path in (made / "slides").iterdir()} == set(manifest["filename"])
    assert manifest["id"].is_unique
    for row in manifest.itertuples():
        content = (made / "slides" / row.filename).read_bytes()
        assert (hashlib.md5(content).hexdigest(), len(content)) == (row.md5, row.size)


def test_the_slide_cut_in_half_cannot_be_read(made, planned):
    (cut,) = (slide for slide in planned[1] if slide.condition == "cut")
    with pytest.raises(openslide.OpenSlideError), openslide.OpenSlide(made / "slides" / cut.name) as opened:
        opened.read_region((0, 0), 0, opened.dimensions)


def test_the_blank_slide_opens_and_has_neither_tissue_nor_truth(made, planned):
    (blank,) = (slide for slide in planned[1] if slide.condition == "blank")
    with openslide.OpenSlide(made / "slides" / blank.name) as opened:
        pixels = np.asarray(opened.read_region((0, 0), 0, opened.dimensions))[..., :3].astype(int)
    assert (pixels.min(axis=2) > 220).mean() > 0.95
    for name in ("slides.tsv", "tiles.tsv"):
        assert blank.slide_id not in set(table(made / "truth" / name)["slide_id"])


def test_the_marked_slide_has_ink_over_some_tiles_and_a_blurred_area(made, planned, tmp_path):
    (marked,) = (slide for slide in planned[1] if slide.condition == "marked")
    limits = {"max_background": 0.5, "background_rule": "saturation", "max_pen": 0.5, "min_sharpness": 100.0}
    (slide,) = (path for path in (made / "slides").iterdir() if path.name == marked.name)
    tiles.tile_slide(slide, tmp_path / "S.h5", slide_id="S", tile_px=TILE_PX // 2, mpp=TILE_MPP, **limits)
    with tiles.open_store(tmp_path / "S.h5") as store:
        reasons = Counter(store.dropped.reason.tolist())
        assert set(reasons) == {"pen", "blur"}
        assert store.dropped.quality["pen_green"][store.dropped.reason == "pen"].min() > 0.4
        assert len(store) > store.n_dropped


def test_the_marked_slide_takes_the_place_of_a_plain_one_and_changes_no_other(monkeypatch):
    now = roster.enrol(84, special_cases=True, seed=7)
    monkeypatch.delitem(roster.SPECIAL, "marked")
    before = roster.enrol(84, special_cases=True, seed=7)
    changed = [(one, other) for one, other in zip(before, now, strict=True) if one != other]
    assert [(one.special, other.special) for one, other in changed] == [("plain", "marked")]
    assert changed[0][0].shares == changed[0][1].shares


def test_every_special_patient_is_there(made, planned):
    names = table(made / "gdc_manifest.txt")["filename"].str.removesuffix(".svs")
    kinds = names.str.slice(13, 23).groupby(names.str.slice(0, 12)).apply(list)
    assert sum(kind == ["01Z-00-DX1", "01Z-00-DX2"] for kind in kinds) == 3
    assert sum(kind == ["01Z-00-DX2"] for kind in kinds) == 1
    assert sum(kind == ["06Z-00-DX1"] for kind in kinds) == 1
    assert sum(kind == ["01Z-00-DX1"] for kind in kinds) == len(kinds) - 5
    columns = pd.Series(pd.read_csv(made / "mrna.geneExp.tsv", sep="\t", index_col=0).columns)
    samples = Counter(columns.str.slice(0, 15))
    (nobody,), (twice,), (spread,) = (special(planned, s) for s in ("no_expression", "two_aliquots", "metastasis"))
    assert not any(sample.startswith(nobody) for sample in samples)
    assert samples[f"{twice}-01"] == 2
    assert samples[f"{spread}-01"] == samples[f"{spread}-06"] == 1
    rows = table(made / "clinical.tsv")["Patient ID"].value_counts()
    assert rows[nobody] == 1
    assert rows[special(planned, "two_clinical_rows")[0]] == 2
    assert set(rows.index) == set(kinds.index)


def test_the_cohort_s_own_readers_read_its_tables(made, planned):
    truth = table(made / "truth" / "slides.tsv").groupby("patient_id")[[f"share_{GENE}", f"share_{MIRNA}"]].mean()
    for path, feature, kind in (("mrna.geneExp.tsv", GENE, "mrna"), ("mirna.csv", MIRNA, "mirna")):
        values = expression.one_value_per_sample_type(expression.read_features(made / path, [feature], kind=kind))
        assert (values["value"] > 0).all()
        primary = values[values["sample_type"] == "01"].set_index("patient_id")["value"]
        both = truth.join(primary.drop(special(planned, "metastasis")), how="inner")
        assert spearmanr(both[f"share_{feature}"], both["value"]).statistic > 0.85
    patients = clinical.read_clinical(made / "clinical.tsv")
    assert patients["patient_id"].is_unique
    assert (patients["time"] > 0).all()
    assert set(patients["event"]) == {0, 1}


def test_expression_spans_four_doublings_and_follows_the_share_but_for_noise():
    rng = np.random.default_rng(0)
    assert tables.follow(np.array([0, 0.5, 1.0]), rng, spread=0.0) == pytest.approx([64, 256, 1024])
    shares = rng.beta(0.6, 0.6, 2000)
    assert 0.95 < spearmanr(shares, tables.follow(shares, rng)).statistic < 0.99


def test_the_hazard_follows_the_hti_and_the_asked_share_is_censored():
    rng = np.random.default_rng(0)
    hti = np.repeat([0.0, 1.0], 6_000)
    months, died = tables.survive(hti, log_hazard_ratio=math.log(10), censored=0.35, rng=rng)
    assert 1 - died.mean() == pytest.approx(0.35, abs=0.01)
    # Under proportional hazards of one Weibull, months ** shape is exponential: rate = deaths / total.
    rate = [died[hti == h].sum() / (months[hti == h] ** tables.SHAPE).sum() for h in (0, 1)]
    assert rate[1] / rate[0] == pytest.approx(10, rel=0.07)


def test_shares_are_wide_and_the_traits_independent():
    shares = np.array([patient.shares for patient in roster.enrol(84, special_cases=True, seed=3)])
    assert len(shares) == 81
    for trait in shares.T:
        assert (trait < 0.2).sum() >= 15
        assert (trait > 0.8).sum() >= 15
        assert ((trait > 0.3) & (trait < 0.7)).sum() >= 15
    assert abs(spearmanr(*shares.T).statistic) < 0.3


def test_of_84_slides_at_least_80_are_whole():
    patients = roster.enrol(84, special_cases=True, seed=3)
    slides = roster.list_slides(patients, slide_px=3072, mpp=(0.249, 0.253), seed=3)
    assert len(slides) == 84
    assert Counter(slide.condition for slide in slides) == {"whole": 80, "blank": 1, "cut": 1, "no_mpp": 1, "marked": 1}


def test_the_truth_can_lie_apart_from_what_a_user_would_bring(tmp_path):
    small = SMALL | {"slide_px": 400, "slides": 1, "special_cases": False}
    cohort.make_cohort(tmp_path / "input", truth_folder=tmp_path / "truth", processes=1, **small)
    assert sorted(path.name for path in (tmp_path / "truth").iterdir()) == ["slides.tsv", "tiles.tsv"]
    assert not (tmp_path / "input" / "truth").exists()


def test_too_few_slides_for_the_special_cases_are_refused(tmp_path):
    with pytest.raises(InputError, match="demo: 14 slides, expected at least 15"):
        cohort.make_cohort(tmp_path, slides=14, processes=1, **SMALL)


def test_a_slide_smaller_than_a_tile_is_refused(tmp_path):
    with pytest.raises(InputError, match="smaller than a tile of 32 µm"):
        cohort.make_cohort(tmp_path, slides=20, processes=1, **SMALL | {"slide_px": 130})


def test_either_trait_moves_the_mean_colour_less_than_the_stain_does():
    stain = tissue.draw_stain(np.random.default_rng(2))

    def colour(a: float, b: float, stain: tissue.Stain) -> np.ndarray:
        rng = np.random.default_rng(7)
        anatomy = tissue.grow((160, 160), mpp=0.25, rng=rng)
        everywhere = [np.full((160, 160), level, np.float32) for level in (a, b)]
        pixels = tissue.paint(anatomy, clones.Clones(*everywhere), stain, library_seed=5, rng=rng)
        return pixels[::4, ::4][np.kron(anatomy.solid, np.ones((2, 2), dtype=bool))].mean(axis=0)

    plain = colour(-1, -1, stain)
    stains = [tissue.draw_stain(np.random.default_rng(seed)) for seed in range(10, 20)]
    between_slides = np.std([colour(-1, -1, other) for other in stains], axis=0)
    for a, b in ((1, -1), (-1, 1)):
        assert np.linalg.norm(colour(a, b, stain) - plain) < np.linalg.norm(between_slides)


def test_noise_tiles_without_a_seam_and_has_unit_spread():
    rng = np.random.default_rng(0)
    texture = noise.periodic_noise(128, (3.0, 3.0), rng)
    assert texture.std() == pytest.approx(1, abs=1e-4)
    assert np.abs(texture[0] - texture[-1]).mean() < 1.5 * np.abs(np.diff(texture, axis=0)).mean()
    assert noise.smooth_field((400, 400), 12.5, rng).std() == pytest.approx(1, abs=0.15)
