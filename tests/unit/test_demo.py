"""The demo cohort: its files read as real ones do, its truth and annotations are true, its special cases are there."""

import hashlib
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import openslide
import pandas as pd
import pytest
import shapely
from scipy.ndimage import binary_erosion, distance_transform_edt
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression

from workflow_scripts.lib import clinical, expression, files, tiles
from workflow_scripts.lib.annotations import label_tiles, read_annotations
from workflow_scripts.lib.demo import clones, cohort, dyes, noise, outlines, roster, svs, tables, tissue
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.scores import auc

GENE, MIRNA = "GLDA", "hsa-miR-demo-5p"
TILE_PX, TILE_MPP = 64, 0.5
SMALL = {"gene": GENE, "mirna": MIRNA, "slide_px": 768, "tile_px": TILE_PX, "tile_mpp": TILE_MPP, "seed": 5}
SMALL |= {"annotated": 1, "normal_tissue": True}
ANNOTATED = 11


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    cohort.make_cohort(folder, slides=18, processes=1, **SMALL | {"annotated": ANNOTATED})
    return folder


@pytest.fixture(scope="module")
def planned() -> tuple[list[roster.Patient], list[roster.Slide]]:
    patients = roster.enrol(18, special_cases=True, seed=5)
    return patients, roster.list_slides(patients, slide_px=768, mpp=(0.2490, 0.2530), seed=5)


def special(planned, what: str) -> list[str]:
    return [patient.patient_id for patient in planned[0] if patient.special == what]


def planted(slide: roster.Slide) -> tuple[tissue.Anatomy, clones.Clones]:
    """What a slide of the cohort was painted from."""
    rng = np.random.default_rng([5, 3, slide.number])
    dyes.draw_stain(rng)
    return cohort.plant(slide, (-(-slide.height // 8), -(-slide.width // 8)), rng)


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
    small = SMALL | {"slide_px": 400, "slides": 3, "annotated": 2, "special_cases": False}
    cohort.make_cohort(tmp_path / "a", processes=1, **small)
    cohort.make_cohort(tmp_path / "b", processes=2, **small)
    first, second = (
        {p.relative_to(f): p.read_bytes() for p in f.rglob("*.*")} for f in (tmp_path / "a", tmp_path / "b")
    )
    assert len(first) == 3 + 2 + 6
    assert first == second


def test_another_seed_gives_other_slides(tmp_path):
    for seed in (1, 2):
        small = SMALL | {"slide_px": 400, "slides": 1, "special_cases": False, "seed": seed}
        cohort.make_cohort(tmp_path / str(seed), processes=1, **small)
    first, second = (next((tmp_path / seed / "slides").iterdir()) for seed in ("1", "2"))
    assert first.name != second.name
    assert first.read_bytes() != second.read_bytes()


def test_a_clone_covers_the_share_of_the_tumour_that_was_asked_for_and_nothing_else():
    rng = np.random.default_rng(0)
    within = np.zeros((200, 240), dtype=bool)
    within[20:180, 30:200] = True
    tumour = np.broadcast_to(np.arange(240) - 79.5, within.shape) * 2.0
    fields = clones.lay_out(within, tumour, (0.2, 0.9), 0.0, cell_um=2.0, rng=rng)
    for field, share in ((fields.a, 0.2), (fields.b, 0.9)):
        assert (field[20:180, 80:200] > 0).mean() == pytest.approx(share, abs=0.001)
        assert (field[:, :80] <= 0).all()


def test_a_tile_is_what_more_than_half_of_its_tissue_is():
    # Tiles of 4 × 4 cells, three across and two down; the last column and row of the slide hold no whole tile.
    within = np.ones((9, 13), dtype=bool)
    a, b = -np.ones((2, 9, 13))
    a[0:4, 0:3] = 1  # 12 of 16: A
    b[0:4, 4:6] = 1  # exactly half: not B
    a[0:4, 8:12], b[0:4, 8:12] = 1, 1  # AB
    within[4:8, 0:3] = False  # a quarter is tissue: no tile
    within[4:8, 4:6], b[4:6, 6:8], b[6, 6] = False, 1, 1  # half is tissue, and 5 of these 8 cells are B
    everywhere = np.ones_like(within)
    size = {"size": (13 * 8 - 1, 9 * 8 - 1), "cell_px": 8, "tile_level0_px": 32}
    kinds = clones.tile_kinds(clones.Clones(a, b), within, everywhere, **size)
    assert list(kinds.itertuples(index=False, name=None)) == [
        (0, 0, "A", 1),
        (1, 0, "0", 1),
        (2, 0, "AB", 1),
        (1, 1, "B", 1),
        (2, 1, "0", 1),
    ]


def test_a_tile_is_tumour_from_half_of_its_tissue_on_and_carries_what_most_of_the_tumour_does():
    within = np.ones((4, 16), dtype=bool)
    tumour = np.zeros_like(within)
    a = b = -np.ones((4, 16))
    tumour[:, 0:2] = True  # half: tumour, of which 5 of 8 cells carry A
    a[:, 0], a[0, 1] = 1, 1
    tumour[:, 4:6], tumour[0, 4], a[:, 4:6] = True, False, 1  # 7 of 16: not tumour, though all of it would carry A
    within[:, 8:10], within[0:2, 10:12], tumour[2:4, 10:12] = True, False, True  # 4 of 12 are tumour
    tumour[:, 12:16], within[:, 12:14] = True, False  # all of the tissue is
    size = {"size": (128, 32), "cell_px": 8, "tile_level0_px": 32}
    kinds = clones.tile_kinds(clones.Clones(a, b * 0), within, tumour, **size)
    assert kinds["kind"].tolist() == ["A", "0", "0", "0"]
    assert kinds["tumour"].tolist() == [1, 0, 0, 1]


def test_tiles_whose_edges_cut_cells_count_exact_areas():
    rng = np.random.default_rng(1)
    within = rng.uniform(size=(30, 40)) < 0.8
    fields = clones.Clones(*rng.normal(size=(2, 30, 40)))
    # Edges at multiples of 20.4 px, cells of 8: in units of 0.4 px both are whole, and can be counted.
    tumour = rng.uniform(size=within.shape) < 0.5
    kinds = clones.tile_kinds(fields, within, tumour, size=(320, 240), cell_px=8, tile_level0_px=20.4)
    ill = within & tumour
    fine = [np.kron(mask, np.ones((20, 20))) for mask in (within, ill, ill & (fields.a > 0), ill & (fields.b > 0))]
    expected = []
    for row in range(11):
        for col in range(15):
            whole, part, a, b = (m[51 * row : 51 * row + 51, 51 * col : 51 * col + 51].sum() for m in fine)
            if whole >= 51 * 51 / 2:
                is_tumour = part >= whole / 2
                kind = clones.KINDS[bool(is_tumour and a > part / 2), bool(is_tumour and b > part / 2)]
                expected.append((col, row, kind, int(is_tumour)))
    assert {row[3] for row in expected} == {0, 1}
    assert list(kinds.itertuples(index=False, name=None)) == expected


def test_the_truth_of_a_slide_is_that_of_the_clones_it_was_painted_from(made, planned):
    truth = table(made / "truth" / "tiles.tsv")
    slide = next(s for s in planned[1] if s.condition == "whole")
    anatomy, fields = planted(slide)
    side = TILE_PX * TILE_MPP / slide.mpp
    stained = anatomy.tissue(fields)
    ill = stained & (anatomy.tumour > 0)
    whole, part, a, b = (
        np.kron(mask, np.ones((8, 8))) for mask in (stained, ill, ill & (fields.a > 0), ill & (fields.b > 0))
    )
    rows = truth[truth["slide_id"] == slide.slide_id]
    assert len(rows) > 5
    for tile in rows.itertuples():
        top, left = round(tile.row * side), round(tile.col * side)
        where = np.s_[top : top + round(side), left : left + round(side)]
        assert whole[where].mean() > 0.48
        share = part[where].sum() / whole[where].sum()
        if abs(share - 0.5) > 0.02:
            assert tile.tumour == (share > 0.5)
            for name, mask in (("A", a), ("B", b)):
                carried = mask[where].sum() / max(part[where].sum(), 1)
                if abs(carried - 0.5) > 0.02:
                    assert (name in tile.kind) == (share > 0.5 and carried > 0.5)


def test_the_slide_s_shares_and_hti_are_those_of_its_tumour_tiles(made):
    slides, tiles = table(made / "truth" / "slides.tsv"), table(made / "truth" / "tiles.tsv")
    assert list(slides.columns) == ["slide_id", "patient_id", f"share_{GENE}", f"share_{MIRNA}", "hti"]
    assert list(tiles.columns) == ["slide_id", "col", "row", "kind", "tumour"]
    assert set(tiles.loc[tiles["tumour"] == 0, "kind"]) == {"0"}
    tiles = tiles[tiles["tumour"] == 1]
    assert set(slides["slide_id"]) == set(tiles["slide_id"])
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
    stain = dyes.draw_stain(np.random.default_rng(2))

    def colour(a: float, b: float, stain: dyes.Stain) -> np.ndarray:
        rng = np.random.default_rng(7)
        anatomy = tissue.grow((160, 160), mpp=0.25, tumour_share=1.0, rng=rng)
        everywhere = [np.full((160, 160), level, np.float32) for level in (a, b)]
        pixels = tissue.paint(anatomy, clones.Clones(*everywhere), stain, library_seed=5, rng=rng)
        return pixels[::4, ::4][np.kron(anatomy.solid, np.ones((2, 2), dtype=bool))].mean(axis=0)

    plain = colour(-1, -1, stain)
    stains = [dyes.draw_stain(np.random.default_rng(seed)) for seed in range(10, 20)]
    between_slides = np.std([colour(-1, -1, other) for other in stains], axis=0)
    for a, b in ((1, -1), (-1, 1)):
        assert np.linalg.norm(colour(a, b, stain) - plain) < np.linalg.norm(between_slides)


def test_without_normal_tissue_all_of_a_slide_is_tumour(tmp_path):
    without = {"annotated": 0, "normal_tissue": False, "special_cases": False}
    cohort.make_cohort(tmp_path, slides=4, processes=1, **SMALL | without)
    assert (files.read_table(tmp_path / "truth" / "tiles.tsv", text=["kind"])["tumour"] == 1).all()
    assert list((tmp_path / "annotations").iterdir()) == []


def test_a_tumour_has_its_share_of_the_tissue_and_is_one_smooth_body_or_two():
    slides = roster.list_slides(roster.enrol(84, special_cases=True, seed=7), slide_px=3072, mpp=(0.249, 0.253), seed=7)
    shares = np.array([slide.tumour_share for slide in slides])
    assert ((shares >= 0.75) & (shares <= 0.98)).all()
    assert 2 <= (shares > 0.93).sum() <= 15
    for slide in slides[:5]:
        anatomy, _ = planted(slide)
        ill = anatomy.tumour > 0
        assert ill[anatomy.solid].mean() == pytest.approx(slide.tumour_share, abs=0.001)
        body = outlines.draw(
            ill, size=(slide.width, slide.height), cell_px=8, mpp=slide.mpp, rng=np.random.default_rng(0)
        )
        assert len(body.geoms) <= 2
        # The field is about the distance to the border.
        distance = distance_transform_edt(ill) * anatomy.cell_um
        near = ill & (distance < 30)
        assert np.median(anatomy.tumour[near] / distance[near]) == pytest.approx(1, abs=0.35)


def test_no_small_gland_is_cut_by_the_tumour(planned):
    anatomy, _ = planted(planned[1][0])
    border = binary_erosion(anatomy.tumour <= 0, border_value=1) ^ (anatomy.tumour <= 0)
    assert border.any()
    assert (anatomy.depth[border] < 0).all()


@pytest.mark.parametrize("centred", [False, True], ids=["as it is", "against the slide's mean"])
def test_mean_colour_hardly_tells_the_tumour_from_normal_tissue(made, planned, centred):
    truth = table(made / "truth" / "tiles.tsv")
    rows = []
    for slide in (slide for slide in planned[1] if slide.condition == "whole"):
        side = TILE_PX * TILE_MPP / slide.mpp
        with openslide.OpenSlide(made / "slides" / slide.name) as opened:
            pixels = np.asarray(opened.read_region((0, 0), 0, opened.dimensions))[..., :3]
        for tile in truth[truth["slide_id"] == slide.slide_id].itertuples():
            top, left = round(tile.row * side), round(tile.col * side)
            seen = pixels[top : top + round(side), left : left + round(side)].reshape(-1, 3)
            rows.append((slide.slide_id, tile.tumour, *seen[seen.min(axis=1) < 225].mean(axis=0)))
    found = pd.DataFrame(rows, columns=["slide_id", "tumour", *"rgb"])
    colours = found[[*"rgb"]]
    if centred:
        colours = colours - colours.groupby(found["slide_id"]).transform("mean")
    assert 0.08 < 1 - found["tumour"].mean() < 0.3
    # Of the very tiles that it learnt from, which flatters it.
    told = LogisticRegression().fit(colours, found["tumour"]).decision_function(colours)
    assert auc(found["tumour"].to_numpy(), told) < 0.75


def test_so_many_patients_have_an_annotated_slide_and_it_is_a_whole_one(made, planned):
    names = [path.name for path in (made / "annotations").iterdir()]
    whole = {slide.slide_id for slide in planned[1] if slide.condition == "whole"}
    assert len(names) == ANNOTATED
    assert {name.removesuffix(".geojson") for name in names} <= whole
    assert len({name[:12] for name in names}) == ANNOTATED


def test_a_further_annotation_leaves_the_others(planned):
    slides = planned[1]
    assert roster.choose_annotated(slides, 0, seed=5) == []
    assert roster.choose_annotated(slides, 5, seed=5)[:4] == roster.choose_annotated(slides, 4, seed=5)
    assert roster.choose_annotated(slides, 5, seed=5) != roster.choose_annotated(slides, 5, seed=6)
    with pytest.raises(InputError, match="16 annotated slides, expected at most 8"):
        roster.choose_annotated(slides[:14], 16, seed=5)


def test_an_annotation_is_written_as_qupath_writes_it(made):
    for path in (made / "annotations").iterdir():
        content = json.loads(path.read_text())
        assert content["type"] == "FeatureCollection"
        for feature in content["features"]:
            assert feature["geometry"]["type"] == "Polygon"
            assert feature["properties"]["objectType"] == "annotation"
            assert feature["properties"]["classification"] == {"name": "Tumor", "color": [200, 0, 0]}


def test_annotations_label_nearly_all_tiles_as_the_truth_does(made, planned):
    truth = table(made / "truth" / "tiles.tsv")
    agree = []
    for slide in planned[1]:
        path = made / "annotations" / f"{slide.slide_id}.geojson"
        if not path.exists():
            continue
        found = read_annotations(path)
        assert (found.form, found.left_out) == ("GeoJSON", ())
        of_slide = truth[truth["slide_id"] == slide.slide_id]
        lattice = tiles.lattice_of(
            width=slide.width, height=slide.height, slide_mpp=slide.mpp, tile_px=TILE_PX, mpp=TILE_MPP
        )
        labels = label_tiles(
            found.regions, lattice, of_slide[["col", "row"]].to_numpy(), classes={"Tumor": "tumour"}
        ).labels
        agree += ((labels == "tumour") == (of_slide["tumour"] == 1)).tolist()
    assert len(agree) > 200
    assert np.mean(agree) >= 0.97


def test_a_drawn_outline_keeps_near_the_border_and_has_a_corner_every_few_tens_of_um(planned):
    slide = next(slide for slide in planned[1] if slide.condition == "whole")
    anatomy, _ = planted(slide)
    ill = (anatomy.outline > 0) & (anatomy.tumour > 0)
    drawn = outlines.draw(ill, size=(slide.width, slide.height), cell_px=8, mpp=slide.mpp, rng=np.random.default_rng(0))
    assert drawn.is_valid
    assert shapely.box(0, 0, slide.width, slide.height).covers(drawn)
    border = np.pad(ill, 1) ^ binary_erosion(np.pad(ill, 1))
    far = distance_transform_edt(~border) * anatomy.cell_um
    column, row = (np.clip(shapely.get_coordinates(drawn.segmentize(8)) / 8 + 1, 0, np.array(far.shape)[::-1] - 1)).T
    assert np.quantile(far[row.astype(int), column.astype(int)], 0.95) < 10
    ring = shapely.get_coordinates(max(drawn.geoms, key=lambda part: part.area).exterior)
    sides = np.linalg.norm(np.diff(ring, axis=0), axis=1) * slide.mpp
    # Along the slide's edge a line has no corner.
    assert 25 < np.median(sides) < 35


def test_the_outline_of_a_ring_has_its_hole():
    y, x = np.indices((100, 100)) - 50
    ring = (np.hypot(y, x) < 45) & (np.hypot(y, x) > 20)
    drawn = outlines.draw(ring, size=(800, 800), cell_px=8, mpp=0.25, rng=np.random.default_rng(0))
    assert [len(part.interiors) for part in drawn.geoms] == [1]
    assert drawn.area / 64 == pytest.approx(ring.sum(), rel=0.12)
    assert not drawn.contains(shapely.Point(400, 400))


def test_noise_tiles_without_a_seam_and_has_unit_spread():
    rng = np.random.default_rng(0)
    texture = noise.periodic_noise(128, (3.0, 3.0), rng)
    assert texture.std() == pytest.approx(1, abs=1e-4)
    assert np.abs(texture[0] - texture[-1]).mean() < 1.5 * np.abs(np.diff(texture, axis=0)).mean()
    assert noise.smooth_field((400, 400), 12.5, rng).std() == pytest.approx(1, abs=0.15)
