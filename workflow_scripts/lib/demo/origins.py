"""The generated cohort of the study of metastatic origin: primaries and metastases of many classes, on small slides.

What a class looks like is in `morphology`, and how it is painted in `histology`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.lib.demo import histology, morphology, outlines, roster, workers
from workflow_scripts.lib.demo.dyes import draw_stain
from workflow_scripts.lib.demo.svs import write_svs
from workflow_scripts.lib.domains import DOMAINS, METASTATIC, PRIMARY
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import write_table, writing
from workflow_scripts.lib.splits import TEST, TRAIN, VALIDATION

# A slide's finest level lies between these two, µm/px, and is what a 20x objective gives.
MPP, MAGNIFICATION = (0.4960, 0.5060), 20
# Shares of a class's slides that are held out, and that validate; of each there is one at least.
HELD_OUT, VALIDATES = {PRIMARY: 0.15, METASTATIC: 0.34}, 0.2
FEWEST = 3
# The share of metastases whose patient has a slide of the primary too.
WITH_PRIMARY = 0.3
# The tumour's share of a slide's tissue.
TUMOUR_SHARE = (0.42, 0.62)
# The sets of annotated slides, in turn: three slides are of all sets, and a filter learns from half of many.
ANNOTATED_SETS = (TRAIN, VALIDATION, TEST, TRAIN)


@dataclass(frozen=True)
class Slide:
    """A slide as it is to be made. set: TRAIN, VALIDATION or TEST, its patient's; annotated: an outline is drawn."""

    number: int
    slide_id: str
    patient_id: str
    class_name: str
    domain: str
    set: str
    annotated: bool = False


def make_origin_cohort(
    folder: str | Path,
    *,
    classes: Sequence[str],
    control: str,
    primary: int,
    metastatic: tuple[int, int],
    annotated: int,
    slide_px: int,
    tile_px: int,
    tile_mpp: float,
    seed: int,
    processes: int,
) -> None:
    """Generate the cohort under `folder`; the same arguments give the same bytes, whatever `processes` is.

    Written, for each domain (`primary`, `metastatic`): <domain>/slides/*.svs, <domain>.tsv (a sheet: file, slide_id,
    patient_id, class) and <domain>/annotations/<slide_id>.geojson; and split.tsv, a table of splits (`splits`) of the
    patients of both, in one round.

    classes: keys of `morphology.KINDS`. control: the name that slides of normal liver have; they are there in both
    domains, drawn alike. primary: slides of primaries per class. metastatic: of metastases, of the class with the
    fewest and of that with the most; those between are geometric, and the seed draws which class has which. The control
    has as many as a class in the middle. annotated: on so many slides of each domain the tumour is outlined as by
    hand, class `Tumor`; of all classes and sets in turn. slide_px: longest side of level 0, px, at about 0.5 µm/px.
    tile_px, tile_mpp: a tile, in px and µm/px, that must fit on a slide.

    About half of a slide's tissue is tumour, the rest its organ's in primaries, and liver in metastases. Each slide's
    stain is its own. Some patients have a primary and a metastasis, and stand in one set. Each class has slides of
    each set in each domain.

    With processes > 1 workers are spawned: a script that calls this needs `if __name__ == "__main__":`. Raises
    InputError for a class that cannot be painted, a control that is one of the classes, fewer than FEWEST slides of a
    class in a domain, more annotated slides than there are, and slides that hold no tile.
    """
    roster.check_size(slide_px, MPP, tile_um=tile_px * tile_mpp)
    folder = Path(folder)
    for domain in DOMAINS:
        for name in ("slides", "annotations"):
            (folder / domain / name).mkdir(parents=True, exist_ok=True)
    slides = plan(classes, control, primary=primary, metastatic=metastatic, annotated=annotated, seed=seed)
    make = partial(_make_slide, folder=folder, control=control, slide_px=slide_px, seed=seed)
    for _ in workers.made(make, slides, processes=processes):
        pass
    for domain in DOMAINS:
        write_table(_sheet([slide for slide in slides if slide.domain == domain]), folder / f"{domain}.tsv")
    write_table(roster.split_table({slide.patient_id: slide.set for slide in slides}), folder / "split.tsv")


def plan(
    classes: Sequence[str],
    control: str,
    *,
    primary: int,
    metastatic: tuple[int, int],
    annotated: int,
    seed: int,
) -> list[Slide]:
    """The slides of a cohort, as `make_origin_cohort` describes them: class by class, primaries first."""
    _check(classes, control, primary, metastatic)
    rng = np.random.default_rng([seed, 31])
    counts = np.round(np.geomspace(*metastatic, len(classes))).astype(int)
    counts = [*rng.permutation(counts).tolist(), int(np.sort(counts)[len(counts) // 2])]
    rows = []
    for name, count in zip([*classes, control], counts, strict=True):
        rows += [(name, *row) for row in _patients_of_class(primary, count, rng)]
    # The ids of patients say nothing of their class.
    ids = [f"ORIGIN-{number:04d}" for number in rng.permutation(len(rows)) + 1]
    slides: list[Slide] = []
    for patient_id, (name, set_name, domains) in zip(ids, rows, strict=True):
        for domain in domains:
            slide_id = f"{patient_id}-{domain[0].upper()}"
            slides.append(Slide(len(slides), slide_id, patient_id, name, domain, set_name))
    drawn_on = {slide for domain in DOMAINS for slide in _choose_annotated(slides, classes, domain, annotated, rng)}
    return [Slide(**vars(slide) | {"annotated": slide in drawn_on}) for slide in slides]


def _check(classes: Sequence[str], control: str, primary: int, metastatic: tuple[int, int]) -> None:
    morphology.check_kinds(classes)
    if control in classes:
        raise InputError(f"control {control!r}: it is one of the classes; expected a name of its own")
    if min(primary, *metastatic) < FEWEST or metastatic[0] > metastatic[1]:
        raise InputError(
            f"{primary} primaries and {metastatic[0]} to {metastatic[1]} metastases of a class: expected at least "
            f"{FEWEST} of each, one for each set, and the fewest first"
        )


def _patients_of_class(primaries: int, metastases: int, rng: np.random.Generator) -> list[tuple[str, tuple[str, ...]]]:
    """The patients of a class: the set of each, and the domains that they have a slide of."""
    open_places = _set_sizes(primaries, PRIMARY)
    patients: list[tuple[str, tuple[str, ...]]] = []
    pairs = round(WITH_PRIMARY * metastases)
    for name in rng.permutation(list(_set_sizes(metastases, METASTATIC).elements())).tolist():
        paired = pairs > 0 and open_places[name] > 0
        pairs -= paired
        open_places[name] -= paired
        patients.append((name, DOMAINS if paired else (METASTATIC,)))
    return patients + [(name, (PRIMARY,)) for name in open_places.elements()]


def _set_sizes(slides: int, domain: str) -> Counter[str]:
    held_out, validates = (max(1, round(share * slides)) for share in (HELD_OUT[domain], VALIDATES))
    return Counter({TRAIN: slides - held_out - validates, VALIDATION: validates, TEST: held_out})


def _choose_annotated(
    slides: list[Slide], classes: Sequence[str], domain: str, number: int, rng: np.random.Generator
) -> list[Slide]:
    """So many slides of a domain, of all classes and of ANNOTATED_SETS in turn, as long as there are such."""
    free = [slides[at] for at in rng.permutation(len(slides)).tolist() if slides[at].domain == domain]
    free = [slide for slide in free if slide.class_name in classes]
    if number > len(free):
        raise InputError(
            f"{number} annotated slides, expected at most {len(free)}, the {domain} ones with a tumour: "
            "annotate fewer, or ask for more slides"
        )
    order = rng.permutation(list(classes)).tolist()
    chosen: list[Slide] = []
    for turn in range(number):
        wanted = order[turn % len(order)], ANNOTATED_SETS[(turn + turn // len(order)) % len(ANNOTATED_SETS)]
        # Of the class and the set, or else of the set, or else whichever is free.
        best = max(free, key=lambda slide: (slide.set == wanted[1]) + (slide.class_name == wanted[0]) / 2)
        free.remove(best)
        chosen.append(best)
    return chosen


def _make_slide(slide: Slide, *, folder: Path, control: str, slide_px: int, seed: int) -> None:
    rng = np.random.default_rng([seed, 32, slide.number])
    stain = draw_stain(rng)
    mpp = float(np.round(rng.uniform(*MPP), 4))
    width, height = roster.draw_size(slide_px, rng)
    look, home = look_of(slide, control=control, seed=seed, rng=rng)
    painted = histology.paint_slide(
        look,
        morphology.SURROUNDINGS[home],
        shape=tuple(-(-side // histology.CELL_PX) for side in (height, width)),
        mpp=mpp,
        tumour_share=rng.uniform(*TUMOUR_SHARE),
        stain=stain,
        library_seed=seed,
        rng=rng,
    )
    with writing(folder / slide.domain / _file_of(slide)) as unfinished:
        write_svs(painted.pixels[:height, :width], unfinished, mpp=mpp, magnification=MAGNIFICATION)
    if slide.annotated:
        of_hand = np.random.default_rng([seed, 33, slide.number])
        drawn = outlines.draw(painted.tumour, size=(width, height), cell_px=histology.CELL_PX, mpp=mpp, rng=of_hand)
        outlines.write_geojson(folder / slide.domain / "annotations" / f"{slide.slide_id}.geojson", drawn, of_hand)


def look_of(slide: Slide, *, control: str, seed: int, rng: np.random.Generator) -> tuple[morphology.Look | None, str]:
    """How the tumour of a slide looks, if it has one, and what surrounds it (a key of `morphology.SURROUNDINGS`)."""
    if slide.class_name == control:
        return None, morphology.LIVER
    if slide.domain == PRIMARY:
        return morphology.primary(slide.class_name, rng), morphology.KINDS[slide.class_name][1]
    own_shift = morphology.own_shifts(seed)[slide.class_name]
    return morphology.metastasis(slide.class_name, own_shift, rng), morphology.LIVER


def _file_of(slide: Slide) -> str:
    return f"slides/{slide.slide_id}.svs"


def _sheet(slides: list[Slide]) -> pd.DataFrame:
    rows = [(f"{one.domain}/{_file_of(one)}", one.slide_id, one.patient_id, one.class_name) for one in slides]
    return pd.DataFrame(sorted(rows), columns=["file", "slide_id", "patient_id", "class"])
