"""The generated cohorts of the study of cross-cancer transfer: annotated slides of a target organ, of a source that
resembles it, and of an organ that does not.

Target and source have glands; stain, scanners, gland sizes and what lies between the glands are each one's own. What a
tumour's glands differ in from benign ones is the same in both (`malignant`). The unrelated organ is smooth muscle: its
tumour has the nuclei of the muscle around it, in small bundles that turn and wave in looser stroma instead of running
side by side.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.lib.demo import dyes, histology, layouts, morphology, outlines, roster, workers
from workflow_scripts.lib.demo.morphology import Look
from workflow_scripts.lib.demo.svs import write_svs
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import write_table, writing
from workflow_scripts.lib.splits import TEST, TRAIN, VALIDATION

TARGET, SOURCE, UNRELATED = ROLES = ("target", "source", "unrelated")
MAGNIFICATION = 20
# The share of the slides that are not held out that validate (paper, 3.2: 80 %-20 %).
VALIDATES = 0.2
# The tumour's share of a slide's tissue.
TUMOUR_SHARE = (0.15, 0.5)


@dataclass(frozen=True)
class Organ:
    """An organ: its benign tissue, its tumours, how its slides are stained, and the µm/px of its scanners."""

    benign: Look
    tumour: Look
    laboratory: dyes.Laboratory
    scanners: tuple[float, ...]


def malignant(glands: Look) -> Look:
    """How the tumour of a glandular organ looks: small, crowded, uneven glands of a single row of cells with large
    nucleoli, in the stroma of its organ."""
    return replace(
        glands,
        nucleus_um=1.25 * glands.nucleus_um,
        elongation=1.2,
        unequal=0.4,
        chromatin=0.45,
        nucleoli=0.85,
        spacing_um=1.08 * glands.spacing_um,
        order=0.3,
        polarity=0.75,
        nest_um=0.42 * glands.nest_um,
        stretch=1.4,
        lumen=0.5 * glands.lumen,
        lining_um=0.52 * glands.lining_um,
        stroma=0.6 * glands.stroma,
        two_rows=False,
        bare=0.8 * glands.bare,
        fat=0.5 * glands.fat,
    )


# Wide glands in muscle and collagen that interlace.
_ACINI = Look(
    nucleus_um=2.7, elongation=1.5, unequal=0.15, chromatin=0.25, nucleoli=0.2, spacing_um=8.0, order=0.7,
    polarity=0.96, nest_um=95, stretch=1.3, stroma=0.42, lumen=0.85, lining_um=20, aligned=0.3, wavy=0.4, fibrous=0.9,
    cellular=0.5, inflamed=0.15, two_rows=True, bare=0.3,
)  # fmt: skip
# Lobules of smaller glands in wavy collagen, and fat.
_DUCTS = Look(
    nucleus_um=2.5, elongation=1.3, unequal=0.15, chromatin=0.25, nucleoli=0.2, spacing_um=7.6, order=0.7,
    polarity=0.96, nest_um=72, stretch=1.15, stroma=0.48, lumen=0.85, lining_um=17, aligned=0.3, wavy=0.8, fibrous=0.7,
    cellular=0.35, inflamed=0.3, two_rows=True, bare=0.4, fat=0.75,
)  # fmt: skip
_MUSCLE = Look(
    nucleus_um=2.9, elongation=4.0, unequal=0.15, chromatin=0.3, nucleoli=0.0, spacing_um=12.0, nest_um=150,
    stretch=2.6, stroma=0.06, aligned=0.95, turning=0.15, wavy=0.3, fibrous=0.9, retraction=0.35, cellular=0.4,
    inflamed=0.1,
)  # fmt: skip
ORGANS = {
    TARGET: Organ(
        _ACINI,
        malignant(_ACINI),
        dyes.Laboratory((0.62, 0.70, 0.34), (0.10, 0.86, 0.50), strengths=(1.05, 0.72), turn=0.015, spread=0.1),
        scanners=(0.44,),
    ),
    SOURCE: Organ(
        _DUCTS,
        malignant(_DUCTS),
        dyes.Laboratory((0.50, 0.77, 0.40), (0.24, 0.80, 0.46), strengths=(1.35, 0.48), turn=0.015, spread=0.1),
        scanners=(0.486, 0.452),
    ),
    UNRELATED: Organ(
        _MUSCLE,
        replace(_MUSCLE, nest_um=42, stretch=1.2, stroma=0.14, fibrous=0.5, aligned=0.7, turning=0.95, wavy=0.9),
        dyes.Laboratory((0.57, 0.74, 0.36), (0.17, 0.85, 0.48), strengths=(1.2, 0.6), turn=0.015, spread=0.1),
        scanners=(0.5,),
    ),
}


@dataclass(frozen=True)
class Slide:
    """A slide as it is to be made, of a patient of its own. role: a key of ORGANS; set: TRAIN, VALIDATION or TEST."""

    number: int
    slide_id: str
    patient_id: str
    role: str
    set: str


def make_transfer_cohorts(
    folder: str | Path,
    *,
    names: Sequence[str],
    target: int,
    held_out: int,
    source: int,
    unrelated: int,
    slide_px: int,
    tile_px: int,
    tile_mpp: float,
    seed: int,
    processes: int,
) -> None:
    """Generate the three cohorts under `folder`; the same arguments give the same bytes, whatever `processes` is.

    Written, for each name: <name>/slides/*.svs, <name>.tsv (a sheet: file, slide_id, patient_id) and
    <name>/annotations/<slide_id>.xml (ASAP's); and split.tsv, a table of splits (`splits`) of all patients, in one
    round.

    names: of the cohorts of the target, the source and the unrelated organ. target, source, unrelated: slides of each,
    of a patient each. held_out: slides of the target that are test slides; of all others of an organ a fifth validate.
    slide_px: longest side of level 0, px, at 0.44 to 0.5 µm/px (`Organ.scanners`). tile_px, tile_mpp: a tile, in px
    and µm/px, that must fit on a slide.

    On each slide the tumour is outlined as by hand, class `Tumor`; it has some foci and 15 % to 50 % of the tissue.

    With processes > 1 workers are spawned: a script that calls this needs `if __name__ == "__main__":`. Raises
    InputError for names that are not three, fewer than two slides of an organ beside those held out, none held out,
    and slides that hold no tile.
    """
    mpp = [one for organ in ORGANS.values() for one in organ.scanners]
    roster.check_size(slide_px, (min(mpp), max(mpp)), tile_um=tile_px * tile_mpp)
    if len(set(names)) != len(ROLES):
        raise InputError(f"names of cohorts: expected three, of {', '.join(ROLES)}, found {', '.join(names) or 'none'}")
    name_of = dict(zip(ROLES, names, strict=True))
    slides = plan({TARGET: target, SOURCE: source, UNRELATED: unrelated}, held_out=held_out, seed=seed)
    folder = Path(folder)
    for name in names:
        for part in ("slides", "annotations"):
            (folder / name / part).mkdir(parents=True, exist_ok=True)
    make = partial(_make_slide, folder=folder, name_of=name_of, slide_px=slide_px, seed=seed)
    for _ in workers.made(make, slides, processes=processes):
        pass
    for role, name in name_of.items():
        rows = [(f"{name}/{_file_of(one)}", one.slide_id, one.patient_id) for one in slides if one.role == role]
        write_table(pd.DataFrame(sorted(rows), columns=["file", "slide_id", "patient_id"]), folder / f"{name}.tsv")
    write_table(roster.split_table({slide.patient_id: slide.set for slide in slides}), folder / "split.tsv")


def plan(slides: dict[str, int], *, held_out: int, seed: int) -> list[Slide]:
    """The slides of the cohorts, organ by organ, as `make_transfer_cohorts` describes them.

    slides: how many of each organ, by role. Which are held out and which validate is by the seed.
    """
    rng = np.random.default_rng([seed, 41])
    rows: list[tuple[str, str]] = []
    for role, number in slides.items():
        tests = held_out if role == TARGET else 0
        others = number - tests
        if others < 2 or held_out < 1:
            raise InputError(
                f"{number} slides of the {role} organ, {tests} of them held out: expected at least two that are not, "
                "to train and to validate, and of the target one that is"
            )
        validates = max(1, round(VALIDATES * others))
        sets = [TEST] * tests + [VALIDATION] * validates + [TRAIN] * (others - validates)
        rows += [(role, name) for name in rng.permutation(sets).tolist()]
    # The ids of patients say nothing of their organ.
    ids = [f"TRANSFER-{number:04d}" for number in rng.permutation(len(rows)) + 1]
    return [
        Slide(number, f"{patient}-{role[0].upper()}", patient, role, name)
        for number, (patient, (role, name)) in enumerate(zip(ids, rows, strict=True))
    ]


def _make_slide(slide: Slide, *, folder: Path, name_of: dict[str, str], slide_px: int, seed: int) -> None:
    rng = np.random.default_rng([seed, 42, slide.number])
    organ = ORGANS[slide.role]
    stain = dyes.draw_stain(rng, organ.laboratory)
    mpp = float(rng.choice(organ.scanners))
    width, height = roster.draw_size(slide_px, rng)
    painted = histology.paint_slide(
        morphology.vary(organ.tumour, rng),
        organ.benign,
        shape=tuple(-(-side // histology.CELL_PX) for side in (height, width)),
        mpp=mpp,
        tumour_share=rng.uniform(*TUMOUR_SHARE),
        stain=stain,
        library_seed=seed,
        rng=rng,
        bodies=layouts.foci,
    )
    cohort = folder / name_of[slide.role]
    with writing(cohort / _file_of(slide)) as unfinished:
        write_svs(painted.pixels[:height, :width], unfinished, mpp=mpp, magnification=MAGNIFICATION)
    of_hand = np.random.default_rng([seed, 43, slide.number])
    drawn = outlines.draw(painted.tumour, size=(width, height), cell_px=histology.CELL_PX, mpp=mpp, rng=of_hand)
    outlines.write_asap(cohort / "annotations" / f"{slide.slide_id}.xml", {outlines.CLASS_NAME: drawn})


def _file_of(slide: Slide) -> str:
    return f"slides/{slide.slide_id}.svs"
