"""The demo cohort: generated slides with everything that a real cohort has, and the truth that no real cohort has."""

import hashlib
import uuid
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.lib.demo import outlines, roster, tables, tissue, workers
from workflow_scripts.lib.demo.clones import Clones, lay_out, tile_kinds
from workflow_scripts.lib.demo.dyes import draw_stain
from workflow_scripts.lib.demo.marks import mark
from workflow_scripts.lib.demo.roster import Patient, Slide
from workflow_scripts.lib.demo.svs import write_svs
from workflow_scripts.lib.files import write_table, writing
from workflow_scripts.lib.heterogeneity import heterogeneity_index

KINDS = ("A", "B", "AB", "0")


@dataclass(frozen=True)
class Made:
    """A slide that lies on disk: its digest and size, and the truth of its tiles (`clones.tile_kinds`)."""

    slide: Slide
    md5: str
    size: int
    tiles: pd.DataFrame


def make_cohort(
    folder: str | Path,
    *,
    gene: str,
    mirna: str,
    slides: int,
    annotated: int,
    normal_tissue: bool,
    slide_px: int,
    tile_px: int,
    tile_mpp: float,
    seed: int,
    processes: int,
    mpp: tuple[float, float] = (0.2490, 0.2530),
    log_hazard_ratio: float = 2.7,
    censored: float = 0.35,
    special_cases: bool = True,
    truth_folder: str | Path | None = None,
) -> None:
    """Generate a cohort under `folder`; the same arguments give the same bytes, whatever `processes` is.

    Written: slides/*.svs, gdc_manifest.txt, mrna.geneExp.tsv, mirna.csv, clinical.tsv, annotations/<slide_id>.geojson,
    truth/slides.tsv (slide_id, patient_id, share_<gene>, share_<mirna>, hti) and truth/tiles.tsv (slide_id, col, row,
    kind, tumour).

    gene, mirna: the names of trait A (an mRNA) and trait B (a mature miRNA). normal_tissue: beside the tumour;
    without it all tissue is tumour. annotated: on so many slides a pathologist drew the tumour
    (`roster.choose_annotated`). slide_px: longest side of level 0, px. tile_px, tile_mpp: the tiles, in px and
    µm/px, for which the truth is stated; see `clones.tile_kinds` for what a tile's kind is. mpp: a slide's finest
    level lies between these two, µm/px. log_hazard_ratio: of death, between HTI 0 and HTI 1. censored: share of
    patients alive at their last visit. truth_folder: where the two tables of truth go instead of truth/.
    special_cases: patients with two slides (3), without expression, without a DX1 slide, with a metastasis (06Z) only,
    with two aliquots, with two clinical rows; a nearly blank slide, a slide cut in half, one without mpp, and one with
    pen ink and a blurred area.

    A slide's share of a trait is the share of its tumour tiles that are positive, and its HTI is of these tiles. A
    patient's expression follows the mean share of their slides, their survival the HTI of their first. The blank slide
    has no tile and is not in truth/; the cut slide, the one without mpp and the marked one are there as they were made.

    With processes > 1 workers are spawned: a script that calls this needs `if __name__ == "__main__":`.
    Raises InputError when the special cases or the annotations need more slides, or a slide is too small for a single
    tile.
    """
    roster.check_size(slide_px, mpp, tile_um=tile_px * tile_mpp)
    folder = Path(folder)
    truth_folder = folder / "truth" if truth_folder is None else Path(truth_folder)
    for name in ("slides", "annotations"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    patients = roster.enrol(slides, special_cases=special_cases, seed=seed)
    planned = roster.list_slides(patients, slide_px=slide_px, mpp=mpp, seed=seed, normal_tissue=normal_tissue)
    drawn_on = roster.choose_annotated(planned, annotated, seed=seed)
    make = partial(_make_slide, folder=folder, annotated=drawn_on, tile_um=tile_px * tile_mpp, seed=seed)
    made = list(workers.made(make, planned, processes=processes))
    truth = _slide_truth(made, gene, mirna)
    _write_manifest(folder / "gdc_manifest.txt", made, seed)
    _write_expression(folder, patients, truth, gene, mirna, seed)
    _write_clinical(folder / "clinical.tsv", patients, truth, log_hazard_ratio, censored, seed)
    write_table(truth[truth["n_tumour"] > 0].drop(columns="n_tumour"), truth_folder / "slides.tsv")
    tiles = pd.concat([one.tiles.assign(slide_id=one.slide.slide_id) for one in made], ignore_index=True)
    write_table(tiles[["slide_id", "col", "row", "kind", "tumour"]], truth_folder / "tiles.tsv")


def _make_slide(slide: Slide, *, folder: Path, annotated: list[str], tile_um: float, seed: int) -> Made:
    rng = np.random.default_rng([seed, 3, slide.number])
    shape = tuple(-(-side // tissue.CELL_PX) for side in (slide.height, slide.width))
    stain = draw_stain(rng)
    if slide.condition == "blank":
        pixels = tissue.smear(shape, stain, mpp=slide.mpp, library_seed=seed, rng=rng)
        columns = {"col": int, "row": int, "kind": str, "tumour": int}
        tiles = pd.DataFrame({name: [] for name in columns}).astype(columns)
    else:
        anatomy, clones = plant(slide, shape, rng)
        pixels = tissue.paint(anatomy, clones, stain, library_seed=seed, rng=rng)
        if slide.condition == "marked":
            pixels = mark(pixels, mpp=slide.mpp)
        tiles = tile_kinds(
            clones,
            anatomy.tissue(clones),
            anatomy.tumour > 0,
            size=(slide.width, slide.height),
            cell_px=tissue.CELL_PX,
            tile_level0_px=tile_um / slide.mpp,
        )
        if slide.slide_id in annotated:
            _annotate(slide, anatomy, folder / "annotations" / f"{slide.slide_id}.geojson", seed)
    path = folder / "slides" / slide.name
    with writing(path) as unfinished:
        mpp = None if slide.condition == "no_mpp" else slide.mpp
        write_svs(pixels[: slide.height, : slide.width], unfinished, mpp=mpp)
        if slide.condition == "cut":
            content = unfinished.read_bytes()
            unfinished.write_bytes(content[: len(content) // 2])
    content = path.read_bytes()
    return Made(slide, hashlib.md5(content).hexdigest(), len(content), tiles)


def _annotate(slide: Slide, anatomy: tissue.Anatomy, path: Path, seed: int) -> None:
    rng = np.random.default_rng([seed, 9, slide.number])
    ill = (anatomy.outline > 0) & (anatomy.tumour > 0)
    size = (slide.width, slide.height)
    outlines.write_geojson(path, outlines.draw(ill, size=size, cell_px=tissue.CELL_PX, mpp=slide.mpp, rng=rng), rng)


def plant(slide: Slide, shape: tuple[int, int], rng: np.random.Generator) -> tuple[tissue.Anatomy, Clones]:
    """A slide's anatomy and clones, on a grid of `shape` cells."""
    anatomy = tissue.grow(shape, mpp=slide.mpp, tumour_share=slide.tumour_share, rng=rng)
    clones = lay_out(anatomy.solid, anatomy.tumour, slide.shares, slide.association, cell_um=anatomy.cell_um, rng=rng)
    return anatomy, clones


def _slide_truth(made: list[Made], gene: str, mirna: str) -> pd.DataFrame:
    """slide_id, patient_id, share_<gene>, share_<mirna>, hti, n_tumour (tiles)."""
    rows = []
    for one in made:
        counts = _kind_counts(one)
        a, b, both, _ = counts
        shares = ((a + both) / counts.sum(), (b + both) / counts.sum())
        hti = heterogeneity_index(counts).hti
        rows.append((one.slide.slide_id, one.slide.patient_id, *shares, hti, one.tiles["tumour"].sum()))
    return pd.DataFrame(rows, columns=["slide_id", "patient_id", f"share_{gene}", f"share_{mirna}", "hti", "n_tumour"])


def _kind_counts(made: Made) -> np.ndarray:
    """Number of tumour tiles of each of KINDS, int64 (4,).

    A slide without them counts as a thousand imagined ones of its planned shares: its tumour has expression and
    survival all the same.
    """
    ill = made.tiles[made.tiles["tumour"] == 1]
    if len(ill):
        return ill["kind"].value_counts().reindex(KINDS, fill_value=0).to_numpy()
    a, b = made.slide.shares
    return np.round(1000 * np.array([a * (1 - b), b * (1 - a), a * b, (1 - a) * (1 - b)])).astype(np.int64)


def _write_manifest(path: Path, made: list[Made], seed: int) -> None:
    rng = np.random.default_rng([seed, 4])
    rows = [
        (str(uuid.UUID(bytes=rng.bytes(16), version=4)), one.slide.name, one.md5, one.size, "released") for one in made
    ]
    write_table(pd.DataFrame(rows, columns=["id", "filename", "md5", "size", "state"]), path)


def _write_expression(
    folder: Path, patients: list[Patient], truth: pd.DataFrame, gene: str, mirna: str, seed: int
) -> None:
    """Both tables. The metastasis's patient has a primary tumour's column too, which says the opposite of the slide."""
    rng = np.random.default_rng([seed, 5])
    mean = truth.groupby("patient_id")[[f"share_{gene}", f"share_{mirna}"]].mean()
    samples: list[tuple[str, str, np.ndarray]] = []
    for patient in patients:
        if patient.special == "no_expression":
            continue
        shares = mean.loc[patient.patient_id].to_numpy()
        sample_type = "06" if patient.special == "metastasis" else "01"
        samples.append((f"{patient.patient_id}-{sample_type}A", "A000", shares))
        if patient.special == "metastasis":
            samples.append((f"{patient.patient_id}-01A", "A000", 1 - shares))
        if patient.special == "two_aliquots":
            samples.append((f"{patient.patient_id}-01A", "A111", shares))
    shares = np.array([share for *_, share in samples])
    analytes = ("R", "H")
    mrna, mir = ([f"{sample}-11{letter}-{plate}-07" for sample, plate, _ in samples] for letter in analytes)
    tables.write_mrna(folder / "mrna.geneExp.tsv", {gene: tables.follow(shares[:, 0], rng)}, mrna, rng)
    tables.write_mirna(folder / "mirna.csv", mirna, tables.follow(shares[:, 1], rng), mir, rng)


def _write_clinical(
    path: Path,
    patients: list[Patient],
    truth: pd.DataFrame,
    log_hazard_ratio: float,
    censored: float,
    seed: int,
) -> None:
    rng = np.random.default_rng([seed, 6])
    first = truth.drop_duplicates("patient_id").set_index("patient_id")["hti"]
    months, died = tables.survive(first.to_numpy(), log_hazard_ratio=log_hazard_ratio, censored=censored, rng=rng)
    types = {"metastasis": ("01", "06"), "two_clinical_rows": ("01", "01")}
    samples = [(p.patient_id, sample) for p in patients for sample in types.get(p.special, ("01",))]
    tables.write_clinical(
        path,
        pd.DataFrame(samples, columns=["patient_id", "sample_type"]),
        dict(zip(first.index, months.tolist(), strict=True)),
        dict(zip(first.index, died.tolist(), strict=True)),
        rng,
    )
