"""The generated cohorts of the study of microscope adaptation: annotated slides of colon polyps, and photographs of
other slides by the simulated camera of a microscope (`camera`).

Slides of both cohorts are painted alike, by one laboratory: what photographs differ in is the camera's doing. The
classes differ in their glands and nuclei, never in the amounts of stain (`histology`). Normal is the commonest, as in
the paper's Table 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage
from shapely import MultiPolygon

from workflow_scripts.lib.demo import camera as cameras
from workflow_scripts.lib.demo import dyes, histology, outlines, roster, workers
from workflow_scripts.lib.demo.histology import CELL_PX, Grid
from workflow_scripts.lib.demo.morphology import Look, vary
from workflow_scripts.lib.demo.svs import write_svs
from workflow_scripts.lib.domains import SOURCE, TARGET
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import write_table, writing
from workflow_scripts.lib.splits import TEST, TRAIN, VALIDATION

DOMAINS = (SOURCE, TARGET)
NORMAL, ADENOMA, ADENOCARCINOMA = CLASSES = ("Normal", "Adenoma", "Adenocarcinoma")
# What slides show, in turn: a lesion each, so that few patients are enough to know one from the other.
REGIONS = ((NORMAL, ADENOMA), (NORMAL, ADENOCARCINOMA))
MPP, MAGNIFICATION = 0.5, 20
LABORATORY = dyes.Laboratory(strengths=(1.15, 0.62), turn=0.014, spread=0.04)
# Of how much kinds of tumour vary from slide to slide (`morphology.vary`), what these classes do.
VARIES = 0.5
# The shares of either cohort's patients that test (paper, 3: 15 slides of 30) and that validate.
HELD_OUT, VALIDATES, FEWEST = 1 / 3, 1 / 6, 6
# The share of a slide's tissue that is its lesion.
LESION_SHARE = (0.45, 0.65)
# Regions are outlined this far inside the tissue of their class, so that a patch shows the class of its middle; half
# the width of what is passed over.
INSIDE_UM, NARROW_UM = 24.0, 5.0

LOOKS = {
    # Round crypts, apart, full of mucus, small nuclei on the wall.
    NORMAL: Look(
        nucleus_um=2.4, elongation=1.4, unequal=0.1, spacing_um=8.4, order=0.85, polarity=0.99, nest_um=60, stroma=0.36,
        stretch=1.0, lumen=0.95, lining_um=18, clear=0.3, mucus=0.9, fibrous=0.3, cellular=0.5, inflamed=0.4,
    ),
    # Long glands side by side, of tall cells whose long, crowded nuclei stand in several rows.
    ADENOMA: Look(
        nucleus_um=3.3, elongation=2.8, unequal=0.15, chromatin=0.45, spacing_um=6.4, order=0.2, polarity=0.98,
        nest_um=56, stretch=2.8, stroma=0.26, lumen=0.5, lining_um=22, fibrous=0.3, cellular=0.5, inflamed=0.4,
    ),
    # Small, crooked glands and nests of large, round, unequal nuclei with nucleoli, in much fibrous stroma.
    ADENOCARCINOMA: Look(
        nucleus_um=4.9, elongation=1.2, unequal=0.6, chromatin=0.5, nucleoli=0.9, spacing_um=12.5, order=0.2,
        polarity=0.3, nest_um=46, stretch=1.3, stroma=0.36, lumen=0.4, lining_um=13, wavy=0.6, fibrous=0.95,
        retraction=0.3, cellular=0.4, inflamed=0.2, necrosis=0.05,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Slide:
    """A slide as it is to be made, of a patient of its own. role: SOURCE or TARGET; set: TRAIN, VALIDATION or TEST;
    regions: the classes that it has; suffixes: of its photographs, none where it is scanned."""

    number: int
    patient_id: str
    role: str
    set: str
    regions: tuple[str, ...]
    suffixes: tuple[str, ...] = ()

    @property
    def slide_id(self) -> str:
        return f"{self.patient_id}-S"


@dataclass(frozen=True)
class Painted:
    """A slide's pixels, uint8 (rows, columns, 3), and by class where it is outlined, bool, on cells of CELL_PX px."""

    pixels: np.ndarray
    classes: dict[str, np.ndarray]


def make_adaptation_cohorts(
    folder: str | Path,
    *,
    names: Sequence[str],
    slides: int,
    photographed: int,
    photographs: int,
    slide_px: int,
    photograph_um: float,
    camera: Mapping[str, float],
    tile_px: int,
    tile_mpp: float,
    seed: int,
    processes: int,
) -> None:
    """Generate both cohorts under `folder`; the same arguments give the same bytes, whatever `processes` is.

    Written: <source>/slides/*.svs and <source>.tsv (a sheet: file, slide_id, patient_id); <target>/photographs/*, JPEG,
    PNG and TIFF in turn, and <target>.tsv (file, slide_id, patient_id, mpp), where a photograph is a slide; of either
    <name>/annotations/<slide_id>.xml (ASAP's), in px of the slide or of the photograph; and split.tsv, a table of
    splits (`splits`) of all patients, in one round.

    names: of the source and of the target. slides, photographed: slides of each, of a patient each, whom the two do
    not share; of each cohort's patients a third tests, a sixth validates. photographs: of each photographed slide; the
    first shows its lesion, the next normal tissue, and so on in turn. They may overlap. slide_px:
    longest side of level 0, px of MPP. photograph_um: side of the field of a photograph, µm. camera: the values of
    `configuration.adaptation.Camera`. tile_px, tile_mpp: a tile, in px and µm/px, that must fit on a photograph.

    Classes that are outlined: CLASSES, two on a slide (REGIONS), a little inside their tissue.

    With processes > 1 workers are spawned: a script that calls this needs `if __name__ == "__main__":`. Raises
    InputError for names that are not two, fewer than FEWEST slides of a cohort, and fields that hold no tile or are
    larger than a slide.
    """
    tile_um = tile_px * tile_mpp
    roster.check_size(slide_px, (MPP, MPP), tile_um=tile_um)
    # The shorter side of a slide, as `roster.draw_size` may draw it.
    shortest_um = (slide_px - slide_px // 32) * MPP
    # A field is of whole cells, and its photograph of whole pixels.
    least_um = tile_um + CELL_PX * MPP + camera["mpp"]
    if not least_um <= photograph_um <= shortest_um:
        raise InputError(
            f"photograph_um: {photograph_um:g} µm, expected at least {least_um:g} µm, which hold a tile, and at "
            f"most the {shortest_um:g} µm of the smallest slide; make slides larger, or photographs of another size"
        )
    if len(set(names)) != len(DOMAINS):
        raise InputError(
            f"names of cohorts: expected two, of {' and '.join(DOMAINS)}, found {', '.join(names) or 'none'}"
        )
    planned = plan(slides=slides, photographed=photographed, photographs=photographs, seed=seed)
    folder, name_of = Path(folder), dict(zip(DOMAINS, names, strict=True))
    given = {"slide_px": slide_px, "photograph_um": photograph_um, "camera": dict(camera), "seed": seed}
    make = partial(_make_slide, folder=folder, name_of=name_of, **given)
    made = [row for rows in workers.made(make, planned, processes=processes) for row in rows]
    for role, name in name_of.items():
        rows = sorted((row["file"], row["slide_id"], row["patient_id"]) for row in made if row["role"] == role)
        sheet = pd.DataFrame(rows, columns=["file", "slide_id", "patient_id"])
        write_table(sheet.assign(mpp=camera["mpp"]) if role == TARGET else sheet, folder / f"{name}.tsv")
    write_table(roster.split_table({one.patient_id: one.set for one in planned}), folder / "split.tsv")


def plan(*, slides: int, photographed: int, photographs: int, seed: int) -> list[Slide]:
    """The slides of both cohorts, the source's first, as `make_adaptation_cohorts` describes them.

    In each set of each cohort REGIONS come in turn. Which patient has which is by the seed, and so is which photograph
    is in which form.
    """
    rng = np.random.default_rng([seed, 71])
    rows: list[tuple[str, str, tuple[str, ...]]] = []
    for role, number in zip(DOMAINS, (slides, photographed), strict=True):
        if number < FEWEST:
            raise InputError(
                f"{number} slides of the {role}: expected at least {FEWEST}, to train, to validate and to test; "
                "ask for more"
            )
        for name, size in set_sizes(number).items():
            rows += [(role, name, regions) for regions in islice(cycle(REGIONS), size)]
    # The ids of patients say nothing of their cohort.
    ids = [f"POLYP-{number:04d}" for number in rng.permutation(len(rows)) + 1]
    forms = rng.permutation(list(islice(cycle(cameras.SUFFIXES), photographed * photographs))).tolist()
    return [
        Slide(number, patient, *row, tuple(forms.pop() for _ in range(photographs)) if row[0] == TARGET else ())
        for number, (patient, row) in enumerate(zip(ids, rows, strict=True))
    ]


def set_sizes(patients: int) -> dict[str, int]:
    """How many of a cohort's patients train, validate and test."""
    tests, validate = round(HELD_OUT * patients), round(VALIDATES * patients)
    return {TRAIN: patients - tests - validate, VALIDATION: validate, TEST: tests}


def paint(slide: Slide, *, shape: tuple[int, int], seed: int, rng: np.random.Generator) -> Painted:
    """Paint a slide of two regions on `shape` (rows, columns) cells; its stain and its tissues are drawn by `rng`."""
    found = histology.paint_tissues(
        [vary(LOOKS[name], rng, share=VARIES) for name in slide.regions],
        shape=shape,
        mpp=MPP,
        places=partial(_beside_each_other, share=rng.uniform(*LESION_SHARE)),
        stain=dyes.draw_stain(rng, LABORATORY),
        library_seed=seed,
        rng=rng,
    )
    return Painted(
        found.pixels, {name: _well_inside(found.tissue == number) for number, name in enumerate(slide.regions)}
    )


def _beside_each_other(grid: Grid, tissue: np.ndarray, rng: np.random.Generator, *, share: float) -> np.ndarray:
    lesion = histology.body_of(grid, tissue, share, rng)
    return np.stack([-lesion, lesion])


def _well_inside(mask: np.ndarray) -> np.ndarray:
    """The cells of a mask that lie INSIDE_UM inside it; of one that is thin, at least half as deep as the deepest."""
    depth = _depth(mask)
    return mask & (depth > min(INSIDE_UM / (CELL_PX * MPP), depth.max() / 2))


def _depth(mask: np.ndarray) -> np.ndarray:
    return ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]


# Files


def _make_slide(
    slide: Slide,
    *,
    folder: Path,
    name_of: dict[str, str],
    slide_px: int,
    photograph_um: float,
    camera: Mapping[str, float],
    seed: int,
) -> list[dict[str, str]]:
    """Write a slide or its photographs, and what is outlined. Returns their rows of the sheet, with the role."""
    rng = np.random.default_rng([seed, 72, slide.number])
    width, height = roster.draw_size(slide_px, rng)
    painted = paint(slide, shape=tuple(-(-side // CELL_PX) for side in (height, width)), seed=seed, rng=rng)
    pixels, cohort = painted.pixels[:height, :width], name_of[slide.role]
    of_hand = np.random.default_rng([seed, 73, slide.number])
    if slide.role == SOURCE:
        file = f"{cohort}/slides/{slide.slide_id}.svs"
        with writing(folder / file) as unfinished:
            write_svs(pixels, unfinished, mpp=MPP, magnification=MAGNIFICATION)
        drawn = _drawn(painted.classes, size=(width, height), cell_px=CELL_PX, mpp=MPP, rng=of_hand)
        outlines.write_asap(folder / cohort / "annotations" / f"{slide.slide_id}.xml", drawn)
        return [_row(slide, file, slide.slide_id)]
    # One for all photographs of the cohort.
    microscope = cameras.draw_microscope(np.random.default_rng([seed, 74]))
    rows = []
    for number, suffix in enumerate(slide.suffixes):
        slide_id = f"{slide.patient_id}-P{number + 1}"
        file = f"{cohort}/photographs/{slide_id}{suffix}"
        of_photograph = np.random.default_rng([seed, 75, slide.number, number])
        # The lesion first.
        shown = painted.classes[slide.regions[::-1][number % len(slide.regions)]]
        rows_of, columns_of = _field(shown, pixels.shape[:2], photograph_um, of_photograph)
        field = pixels[_in_px(rows_of), _in_px(columns_of)]
        seen = cameras.take(field, mpp=MPP, camera=camera, microscope=microscope, rng=of_photograph)
        cameras.write_photograph(folder / file, seen, jpeg_quality=camera["jpeg_quality"])
        parts = {name: mask[rows_of, columns_of] for name, mask in painted.classes.items()}
        places = {"size": seen.shape[1::-1], "cell_px": CELL_PX * MPP / camera["mpp"], "mpp": camera["mpp"]}
        drawn = _drawn(parts, **places, rng=of_hand)
        outlines.write_asap(folder / cohort / "annotations" / f"{slide_id}.xml", drawn)
        rows.append(_row(slide, file, slide_id))
    return rows


def _row(slide: Slide, file: str, slide_id: str) -> dict[str, str]:
    return {"role": slide.role, "file": file, "slide_id": slide_id, "patient_id": slide.patient_id}


def _field(shown: np.ndarray, size: tuple[int, int], side_um: float, rng: np.random.Generator) -> tuple[slice, slice]:
    """The rows and columns of cells of a field of `side_um` on a slide of `size` (rows, columns) px.

    Its middle is deep in what is shown (bool, cells), or as near to that as the slide's edges let it be.
    """
    depth = _depth(shown)
    places = np.argwhere(depth >= depth.max() / 2)
    middle = places[rng.integers(len(places))]
    side = int(side_um / (CELL_PX * MPP))
    first = [int(np.clip(at - side // 2, 0, px // CELL_PX - side)) for at, px in zip(middle, size, strict=True)]
    return tuple(slice(at, at + side) for at in first)


def _in_px(cells: slice) -> slice:
    return slice(cells.start * CELL_PX, cells.stop * CELL_PX)


def _drawn(
    classes: Mapping[str, np.ndarray],
    *,
    size: tuple[int, int],
    cell_px: float,
    mpp: float,
    rng: np.random.Generator,
) -> dict[str, MultiPolygon]:
    """The outline of each class as it is drawn by hand, in px of the slide or photograph; see `outlines.draw`."""
    return {
        name: outlines.draw(mask, size=size, cell_px=cell_px, mpp=mpp, rng=rng, narrow_um=NARROW_UM)
        for name, mask in classes.items()
        if mask.any()
    }
