"""The generated cohorts of the study of neural image compression: annotated slides of four patch tasks, and slides of
liver metastases with a class, a number and survival.

The tasks are told by tissue (`lymph_node_a`, `lymph_node_b`: one task, of two centres; `glands`; `nuclei`;
`tissues`), each of an organ with a stain and a scanner of its own. In the metastases the number is the share of the
tumour whose nuclei are crowded, unequal and coarse (`crowded_of`), the class is whether a rim of collagen lies
between tumour and liver, and the hazard of death rises with the one and with the lack of the other. Both hospitals
have the same tissues.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.lib.demo import dyes, histology, layouts, outlines, roster, tables, workers
from workflow_scripts.lib.demo.brushes import step
from workflow_scripts.lib.demo.histology import Grid
from workflow_scripts.lib.demo.morphology import KINDS, LIVER, SURROUNDINGS, Look, vary
from workflow_scripts.lib.demo.svs import write_svs
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import write_table, writing
from workflow_scripts.lib.splits import TRAIN, VALIDATION

# One task of two centres, and three of one.
LYMPH_NODES = ("lymph_node_a", "lymph_node_b")
GLANDS, NUCLEI, TISSUES = "glands", "nuclei", "tissues"
TASKS = (*LYMPH_NODES, GLANDS, NUCLEI, TISSUES)
DEVELOPMENT, EXTERNAL = HOSPITALS = ("development", "external")
ROLES = (*TASKS, *HOSPITALS)
MAGNIFICATION = 20
# The share of a task's slides that validate.
VALIDATES = 1 / 3
# Of so many slides of a hospital two are of one patient, whose second slide has the first's share but for so much
# (standard deviation).
SLIDES_PER_PAIR, BETWEEN_SLIDES = 12, 0.05
# The classes, with a rim and without.
PATTERNS = ("desmoplastic", "replacement")
# Of the number that is told of a patient (standard deviation), beside what the slides show.
NOISE = 0.03
# Logarithms of hazard ratios: between no crowded nuclei and no others, and of tumours without a rim. About so many are
# alive at their last visit.
LOG_HAZARD_RATIOS, CENSORED = (2.8, 1.8), 0.35
# What a second gene follows: the share of positive tiles that stands for a rim, and for none.
RIM_SHARES = (0.8, 0.2)
# The tumour's share of a slide's tissue; how wide patches of crowded nuclei are, µm.
TUMOUR_SHARE, CLONE_UM = (0.4, 0.6), 210.0
# The rim's width, µm, and how much of the tumour's border has one, on slides that have a rim and on others.
RIM_UM, COVERED = (30.0, 60.0), ((0.65, 1.0), (0.0, 0.2))
# Between the middles of the places where a tissue is, of slides with several.
PLACE_UM = 180.0
# Half the width of what is passed over by who outlines single glands.
GLAND_NARROW_UM = 5.0


@dataclass(frozen=True)
class Centre:
    """How slides are stained, and the µm/px of the scanner."""

    laboratory: dyes.Laboratory
    mpp: float


def _laboratory(
    haematoxylin: tuple[float, float, float], eosin: tuple[float, float, float], strengths: tuple[float, float]
) -> dyes.Laboratory:
    return dyes.Laboratory(haematoxylin, eosin, strengths, turn=0.014, spread=0.09)


CENTRES = {
    LYMPH_NODES[0]: Centre(_laboratory((0.60, 0.71, 0.36), (0.13, 0.86, 0.49), (1.20, 0.60)), 0.5),
    LYMPH_NODES[1]: Centre(_laboratory((0.66, 0.68, 0.32), (0.24, 0.84, 0.40), (0.90, 0.52)), 0.455),
    GLANDS: Centre(_laboratory((0.54, 0.75, 0.38), (0.20, 0.82, 0.46), (1.30, 0.52)), 0.486),
    NUCLEI: Centre(_laboratory((0.63, 0.70, 0.34), (0.10, 0.86, 0.50), (1.05, 0.74)), 0.47),
    TISSUES: Centre(_laboratory((0.57, 0.74, 0.36), (0.17, 0.85, 0.48), (1.15, 0.64)), 0.495),
    DEVELOPMENT: Centre(_laboratory((0.58, 0.73, 0.37), (0.16, 0.84, 0.50), (1.15, 0.62)), 0.5),
    EXTERNAL: Centre(_laboratory((0.64, 0.70, 0.33), (0.23, 0.83, 0.45), (0.92, 0.58)), 0.46),
}


def crowded_of(cells: Look) -> Look:
    """How a tumour looks where it proliferates: larger nuclei of every form, crowded, with coarse chromatin and
    nucleoli, in the nests that it has elsewhere."""
    return replace(
        cells,
        nucleus_um=1.3 * cells.nucleus_um,
        unequal=0.6,
        chromatin=0.75,
        nucleoli=0.8,
        spacing_um=0.7 * cells.spacing_um,
        order=0.25,
    )


# Small, round, dark nuclei side by side, and hardly anything between them.
_LYMPHOID = Look(
    nucleus_um=2.6, elongation=1.05, unequal=0.12, chromatin=0.5, nucleoli=0.1, spacing_um=6.7, order=0.35, nest_um=150,
    stroma=0.05, cellular=0.5, inflamed=0.3,
)  # fmt: skip
# Nests of larger cells, with lymphocytes in the stroma between them.
_IN_LYMPH_NODE = Look(
    nucleus_um=3.3, unequal=0.4, chromatin=0.35, nucleoli=0.6, spacing_um=8.8, order=0.3, nest_um=46, stretch=1.4,
    stroma=0.26, cellular=0.8, inflamed=0.95,
)  # fmt: skip
# Glands with lumens or without, in stroma with about as many nuclei.
_GLANDULAR = Look(
    nucleus_um=2.7, elongation=1.4, unequal=0.2, spacing_um=8.2, order=0.6, polarity=0.8, nest_um=130, stretch=1.3,
    stroma=0.48, lumen=0.5, lining_um=26, aligned=0.3, wavy=0.5, fibrous=0.7, cellular=0.95, inflamed=0.5,
)  # fmt: skip
_SOLID = Look(
    nucleus_um=2.9, elongation=1.25, unequal=0.15, chromatin=0.25, nucleoli=0.15, spacing_um=10.6, order=0.6,
    nest_um=70, stretch=1.5, stroma=0.16, borders=0.4, fibrous=0.6, cellular=0.5, inflamed=0.25,
)  # fmt: skip
_IN_LIVER = Look(
    nucleus_um=3.0, elongation=1.4, unequal=0.18, chromatin=0.25, nucleoli=0.15, spacing_um=10.6, order=0.55,
    polarity=0.3, nest_um=72, stretch=1.4, stroma=0.26, lumen=0.25, lining_um=18, wavy=0.7, fibrous=0.95, cellular=0.8,
    inflamed=0.3,
)  # fmt: skip
# Collagen with fibroblasts and some lymphocytes.
_RIM = replace(SURROUNDINGS["fibrous"], cellular=0.8, inflamed=0.3)
# The tissues of a slide with several, by class.
SEVERAL = {
    "Tumor": KINDS["colonic_adenocarcinoma"][0],
    "Mucosa": SURROUNDINGS["mucosa"],
    "Muscle": replace(SURROUNDINGS["muscle"], wavy=0.2, retraction=0.15),
    "Stroma": replace(SURROUNDINGS["fibrous"], cellular=0.8),
    "Lymphoid": _LYMPHOID,
    "Necrosis": Look(nest_um=90, stroma=0.1, necrosis=0.85, unequal=0.4, chromatin=0.6, inflamed=0.3),
}


@dataclass(frozen=True)
class Slide:
    """A slide as it is to be made. role: one of ROLES; set: TRAIN or VALIDATION, of an annotated slide. Of metastases:
    crowded, the share of the tumour with crowded nuclei; rim, whether it has one."""

    number: int
    slide_id: str
    patient_id: str
    role: str
    set: str = ""
    crowded: float = 0.0
    rim: bool = False


@dataclass(frozen=True)
class Painted:
    """A slide's pixels; where its classes are, bool, on cells of `histology.CELL_PX` px; crowded, as it came out."""

    pixels: np.ndarray
    classes: dict[str, np.ndarray]
    crowded: float = 0.0


def make_compression_cohorts(
    folder: str | Path,
    *,
    prefix: str,
    genes: Sequence[str],
    annotated: int,
    development: int,
    external: int,
    slide_px: int,
    tile_px: int,
    tile_mpp: float,
    seed: int,
    processes: int,
) -> None:
    """Generate the seven cohorts under `folder`; the same arguments give the same bytes, whatever `processes` is.

    A cohort is called <prefix>_<role>, of each of ROLES. Written, for each: <cohort>/slides/*.svs and <cohort>.tsv (a
    sheet: file, slide_id, patient_id). For each of TASKS: <cohort>/annotations/<slide_id>.xml (ASAP's); and
    split.tsv, a table of splits (`splits`) of their patients, in one round, with no test set. Of both HOSPITALS:
    targets.tsv (slide_id, patient_id, growth_pattern: one of PATTERNS, proliferation: 0 to 1, the same for all slides
    of a patient), clinical.tsv (as cBioPortal exports a study) and truth.tsv (slide_id, patient_id, crowded: the
    share of the tumour, rim: 1 or 0, log_hazard: the patient's); of the first also mrna.geneExp.tsv.

    genes: two; the first follows `crowded`, the second `rim`. annotated: slides of each task, of a patient each; the
    two centres of one task have half of them each, rounded up. A third validates. development, external: slides of
    each hospital; of every twelve two are of one patient. slide_px: longest side of level 0, px, at 0.455 to 0.5
    µm/px (`CENTRES`). tile_px, tile_mpp: a tile, in px and µm/px, that must fit on a slide.

    Classes that are outlined: `Tumor` in lymph nodes, `Gland`, `Crowded` and `Regular` nuclei, and of several tissues
    the keys of SEVERAL.

    With processes > 1 workers are spawned: a script that calls this needs `if __name__ == "__main__":`. Raises
    InputError for genes that are not two, fewer than three annotated slides of a task or two of a hospital, and slides
    that hold no tile.
    """
    mpp = [centre.mpp for centre in CENTRES.values()]
    roster.check_size(slide_px, (min(mpp), max(mpp)), tile_um=tile_px * tile_mpp)
    if len(set(genes)) != 2:
        raise InputError(f"genes: expected two, found {', '.join(genes) or 'none'}")
    slides = plan(annotated=annotated, development=development, external=external, seed=seed)
    folder = Path(folder)
    for role in ROLES:
        for part in ("slides", "annotations") if role in TASKS else ("slides",):
            (folder / f"{prefix}_{role}" / part).mkdir(parents=True, exist_ok=True)
    make = partial(_make_slide, folder=folder, prefix=prefix, slide_px=slide_px, seed=seed)
    crowded = list(workers.made(make, slides, processes=processes))
    for role in ROLES:
        cohort = f"{prefix}_{role}"
        rows = [(f"{cohort}/{_file_of(one)}", one.slide_id, one.patient_id) for one in slides if one.role == role]
        write_table(pd.DataFrame(sorted(rows), columns=["file", "slide_id", "patient_id"]), folder / f"{cohort}.tsv")
    write_table(roster.split_table({one.patient_id: one.set for one in slides if one.set}), folder / "split.tsv")
    _write_tables(folder, slides, crowded, genes, seed)


def plan(*, annotated: int, development: int, external: int, seed: int) -> list[Slide]:
    """The slides of the cohorts, role by role, as `make_compression_cohorts` describes them.

    Which slides validate and who has two is by the seed. In each hospital the shares of crowded nuclei are spread
    evenly from 0 to 1, and of two patients who are neighbours in that one has a rim.
    """
    if annotated < 3 or min(development, external) < 2:
        raise InputError(
            f"{annotated} annotated slides of a task, {development} and {external} of the hospitals: expected three or "
            "more of a task, to train and to validate on both centres, and two or more of a hospital"
        )
    slides = _annotated_slides(annotated, np.random.default_rng([seed, 61]))
    for role, number, site in zip(HOSPITALS, (development, external), "DX", strict=True):
        rng = np.random.default_rng([seed, 62, HOSPITALS.index(role)])
        slides += [replace(one, role=role) for one in _metastases(number, f"TCGA-N{site}", rng)]
    return [replace(slide, number=number) for number, slide in enumerate(slides)]


def _annotated_slides(annotated: int, rng: np.random.Generator) -> list[Slide]:
    rows: list[tuple[str, str]] = []
    for role in TASKS:
        number = -(-annotated // 2) if role in LYMPH_NODES else annotated
        validate = max(1, round(VALIDATES * number))
        rows += [(role, name) for name in rng.permutation([VALIDATION] * validate + [TRAIN] * (number - validate))]
    # The ids of patients say nothing of their task.
    ids = [f"PATCHES-{number:04d}" for number in rng.permutation(len(rows)) + 1]
    return [Slide(0, f"{patient}-A", patient, role, str(name)) for patient, (role, name) in zip(ids, rows, strict=True)]


def _metastases(slides: int, project: str, rng: np.random.Generator) -> list[Slide]:
    """The slides of a hospital, patient by patient."""
    pairs = slides // SLIDES_PER_PAIR
    patients = slides - pairs
    shares = (np.arange(patients) + rng.uniform(size=patients)) / patients
    rims = np.concatenate([rng.permutation([True, False]) for _ in range(-(-patients // 2))])[:patients]
    two = rng.permutation([2] * pairs + [1] * (patients - pairs))
    order = rng.permutation(patients)
    planned: list[Slide] = []
    for number, at in enumerate(order.tolist()):
        patient = f"{project}-{1000 + number}"
        for index in range(1, two[at] + 1):
            share = shares[at] + (rng.normal(0, BETWEEN_SLIDES) if index > 1 else 0)
            share = float(np.clip(share, 0.01, 0.99))
            planned.append(Slide(0, f"{patient}-01Z-00-DX{index}", patient, "", crowded=share, rim=bool(rims[at])))
    return planned


# Painting


def paint(slide: Slide, *, shape: tuple[int, int], seed: int, rng: np.random.Generator) -> Painted:
    """Paint a slide on `shape` (rows, columns) cells; its stain and its tissues are drawn by `rng`."""
    centre = CENTRES[slide.role]
    stain = dyes.draw_stain(rng, centre.laboratory)
    given = {"shape": shape, "mpp": centre.mpp, "stain": stain, "library_seed": seed, "rng": rng}
    if slide.role in LYMPH_NODES:
        share = rng.uniform(0.35, 0.6)
        tumour = vary(_IN_LYMPH_NODE, rng)
        found = histology.paint_slide(tumour, _LYMPHOID, tumour_share=share, bodies=layouts.foci, **given)
        return Painted(found.pixels, {outlines.CLASS_NAME: found.tumour})
    painter = {GLANDS: _paint_glands, NUCLEI: _paint_nuclei, TISSUES: _paint_tissues}.get(slide.role)
    return painter(rng, given) if painter else _paint_metastasis(slide, rng, given)


def _paint_glands(rng: np.random.Generator, given: dict) -> Painted:
    found = histology.paint_tissues([vary(_GLANDULAR, rng)], places=histology.everywhere, **given)
    return Painted(found.pixels, {"Gland": found.nests})


def _paint_nuclei(rng: np.random.Generator, given: dict) -> Painted:
    regular = vary(_SOLID, rng)
    share = rng.uniform(0.4, 0.6)
    found = histology.paint_tissues([regular, crowded_of(regular)], places=partial(_in_patches, share=share), **given)
    return Painted(found.pixels, {"Crowded": found.tissue == 1, "Regular": found.tissue == 0})


def _paint_tissues(rng: np.random.Generator, given: dict) -> Painted:
    looks = [vary(look, rng) for look in SEVERAL.values()]
    found = histology.paint_tissues(looks, places=partial(_side_by_side, tissues=len(looks)), **given)
    return Painted(found.pixels, {name: found.tissue == number for number, name in enumerate(SEVERAL)})


def _paint_metastasis(slide: Slide, rng: np.random.Generator, given: dict) -> Painted:
    regular = vary(_IN_LIVER, rng)
    looks = [vary(SURROUNDINGS[LIVER], rng), regular, crowded_of(regular), vary(_RIM, rng)]
    drawn = {"share": rng.uniform(*TUMOUR_SHARE), "rim_um": rng.uniform(*RIM_UM)}
    drawn["covered"] = rng.uniform(*COVERED[0 if slide.rim else 1])
    places = partial(_tumour_in_liver, crowded=slide.crowded, **drawn)
    found = histology.paint_tissues(looks, places=places, **given)
    regular_cells, crowded_cells = (int((found.tissue == number).sum()) for number in (1, 2))
    return Painted(found.pixels, {}, crowded_cells / (regular_cells + crowded_cells))


# Where tissues lie: heights for `histology.paint_tissues`.


def _in_patches(grid: Grid, tissue: np.ndarray, rng: np.random.Generator, *, share: float) -> np.ndarray:
    field = _patches(grid, tissue, share, rng)
    return np.stack([-field, field])


def _patches(grid: Grid, part: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Above 0 on so large a share of a part, in smooth patches."""
    field = grid.field(CLONE_UM, rng) + 0.2 * grid.field(0.3 * CLONE_UM, rng)
    return field - np.quantile(field[part], 1 - share)


def _side_by_side(grid: Grid, tissue: np.ndarray, rng: np.random.Generator, *, tissues: int) -> np.ndarray:
    """Each tissue lies around some of many places, in turn."""
    y, x = (axis + 14 * grid.field(80, rng) + 3 * grid.field(25, rng) for axis in (grid.y, grid.x))
    # A small slide has places for all too.
    apart = min(PLACE_UM, 0.5 * min(grid.extent))
    places = rng.permutation(layouts.jittered(grid.extent, apart, 0.25, rng, margin=0.3 * apart))
    far = np.stack([np.hypot(y - py, x - px) for py, px in places])
    return np.stack([-far[number::tissues].min(axis=0) for number in range(tissues)])


def _tumour_in_liver(
    grid: Grid,
    tissue: np.ndarray,
    rng: np.random.Generator,
    *,
    share: float,
    crowded: float,
    rim_um: float,
    covered: float,
) -> np.ndarray:
    """Liver, regular tumour, crowded tumour, and the rim."""
    body = histology.body_of(grid, tissue, share, rng)
    patches = _patches(grid, tissue & (body > 0), crowded, rng)
    beside = _patches(grid, tissue & (np.abs(body) < rim_um), covered, rng)
    width = rim_um * step(beside - 0.1, 0.2)
    liver, rim = -body - width, np.minimum(-body, body + width)
    return np.stack([liver, np.where(patches > 0, body - 1, body), np.where(patches > 0, body, body - 1), rim])


# Files


def _make_slide(slide: Slide, *, folder: Path, prefix: str, slide_px: int, seed: int) -> float:
    """Write a slide and, of a task, what is outlined on it. Returns the share of crowded nuclei, as it came out."""
    rng = np.random.default_rng([seed, 68, slide.number])
    width, height = roster.draw_size(slide_px, rng)
    shape = tuple(-(-side // histology.CELL_PX) for side in (height, width))
    painted = paint(slide, shape=shape, seed=seed, rng=rng)
    cohort, mpp = folder / f"{prefix}_{slide.role}", CENTRES[slide.role].mpp
    with writing(cohort / _file_of(slide)) as unfinished:
        write_svs(painted.pixels[:height, :width], unfinished, mpp=mpp, magnification=MAGNIFICATION)
    if slide.role in TASKS:
        of_hand = np.random.default_rng([seed, 64, slide.number])
        of_slide = {"size": (width, height), "cell_px": histology.CELL_PX, "mpp": mpp, "rng": of_hand}
        of_slide |= {"narrow_um": GLAND_NARROW_UM} if slide.role == GLANDS else {}
        drawn = {name: outlines.draw(mask, **of_slide) for name, mask in painted.classes.items()}
        outlines.write_asap(cohort / "annotations" / f"{slide.slide_id}.xml", drawn)
    return painted.crowded


def _file_of(slide: Slide) -> str:
    return f"slides/{slide.slide_id}.svs"


def _write_tables(
    folder: Path, slides: Sequence[Slide], crowded: Sequence[float], genes: Sequence[str], seed: int
) -> None:
    shown = [(one, share) for one, share in zip(slides, crowded, strict=True) if one.role in HOSPITALS]
    truth = pd.DataFrame(
        [(one.slide_id, one.patient_id, share, int(one.rim)) for one, share in shown],
        columns=["slide_id", "patient_id", "crowded", "rim"],
    )
    patients = truth.groupby("patient_id", sort=True)[["crowded", "rim"]].mean()
    of_share, of_no_rim = LOG_HAZARD_RATIOS
    patients["log_hazard"] = of_share * (patients["crowded"] - 0.5) + of_no_rim * (0.5 - patients["rim"])
    truth["log_hazard"] = truth["patient_id"].map(patients["log_hazard"])
    write_table(truth.sort_values("slide_id").round(6), folder / "truth.tsv")
    _write_targets(folder / "targets.tsv", truth, patients, np.random.default_rng([seed, 65]))
    rng = np.random.default_rng([seed, 66])
    months, died = tables.survive(patients["log_hazard"].to_numpy(), log_hazard_ratio=1.0, censored=CENSORED, rng=rng)
    of_patient = [dict(zip(patients.index, values.tolist(), strict=True)) for values in (months, died)]
    samples = pd.DataFrame({"patient_id": patients.index, "sample_type": "01"})
    tables.write_clinical(folder / "clinical.tsv", samples, *of_patient, rng)
    here = patients.loc[sorted({one.patient_id for one in slides if one.role == DEVELOPMENT})]
    _write_expression(folder / "mrna.geneExp.tsv", here, genes, np.random.default_rng([seed, 67]))


def _write_targets(path: Path, truth: pd.DataFrame, patients: pd.DataFrame, rng: np.random.Generator) -> None:
    told = np.clip(patients["crowded"] + rng.normal(0, NOISE, len(patients)), 0, 1).round(4)
    rows = truth.sort_values("slide_id")
    table = rows[["slide_id", "patient_id"]].assign(
        growth_pattern=np.where(rows["rim"] == 1, *PATTERNS), proliferation=rows["patient_id"].map(told)
    )
    write_table(table, path)


def _write_expression(path: Path, patients: pd.DataFrame, genes: Sequence[str], rng: np.random.Generator) -> None:
    shares = patients["crowded"], np.where(patients["rim"] == 1, *RIM_SHARES)
    values = {gene: tables.follow(np.asarray(of_gene), rng) for gene, of_gene in zip(genes, shares, strict=True)}
    tables.write_mrna(path, values, [f"{patient}-01A-11R-A000-07" for patient in patients.index], rng)
