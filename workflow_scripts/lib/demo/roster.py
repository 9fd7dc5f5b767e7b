"""Who is in the demo cohort: its patients, their slides, and what is out of the ordinary with some of them."""

import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import betaincinv

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.splits import DEVELOPMENT, TEST, assert_leak_free

PROJECT = "TCGA-DM"
FIRST = 1000
# One patient each, but for the patients with two slides.
SPECIAL = Counter(
    {
        "two_slides": 3,
        "no_expression": 1,
        "no_dx1": 1,
        "metastasis": 1,
        "blank": 1,
        "cut": 1,
        "no_mpp": 1,
        "two_aliquots": 1,
        "two_clinical_rows": 1,
        "marked": 1,
    }
)
# Share of a slide's tissue that is tumour, and how often it is nearly all of it.
TUMOUR_SHARE, NEARLY_ALL, HOW_OFTEN = (0.75, 0.93), (0.93, 0.98), 0.08
# Those of a slide, not of a patient.
SPOILT = ("blank", "cut", "no_mpp", "marked")
FEWEST = SPECIAL.total() + SPECIAL["two_slides"]


@dataclass(frozen=True)
class Patient:
    """A patient, what is special (a key of SPECIAL, or `plain`), and the share of tumour that carries each trait."""

    patient_id: str
    special: str
    shares: tuple[float, float]


@dataclass(frozen=True)
class Slide:
    """A slide as it is to be made. width, height: level-0 px. tumour_share: of its tissue's area; shares: of the
    tumour's, wanted for each trait."""

    number: int
    slide_id: str
    patient_id: str
    condition: str
    sample_type: str
    diagnostic_index: int
    tumour_share: float
    shares: tuple[float, float]
    association: float
    mpp: float
    width: int
    height: int

    @property
    def name(self) -> str:
        return f"{self.slide_id}.svs"


def check_size(slide_px: int, mpp: tuple[float, float], *, tile_um: float) -> None:
    """Raise InputError unless the finest level's µm/px lie in order, and slides can hold a tile of `tile_um`."""
    if not 0 < mpp[0] <= mpp[1]:
        raise InputError(f"demo: slides between {mpp[0]} and {mpp[1]} µm/px, expected two positive numbers in order")
    if slide_px * mpp[0] * 0.9 < tile_um:
        raise InputError(
            f"demo: slides of {slide_px} px at {mpp[0]} µm/px are smaller than a tile of {tile_um:g} µm: "
            "make the slides larger or the tiles smaller"
        )


def draw_size(slide_px: int, rng: np.random.Generator) -> tuple[int, int]:
    """A slide's width and height in level-0 px, each up to 3 % short of `slide_px`."""
    width, height = (int(slide_px - rng.integers(0, slide_px // 32 + 1)) for _ in range(2))
    return width, height


def split_table(sets: Mapping[str, str]) -> pd.DataFrame:
    """The table of splits (`splits`) of patients, of one round. sets: TRAIN, VALIDATION or TEST, by patient."""
    rows = [
        (patient, TEST if name == TEST else DEVELOPMENT, "" if name == TEST else name)
        for patient, name in sorted(sets.items())
    ]
    split = pd.DataFrame(rows, columns=["patient_id", "set", "round_1"])
    assert_leak_free(split)
    return split


def enrol(slides: int, *, special_cases: bool, seed: int) -> list[Patient]:
    """Patients for so many slides. Raises InputError where the special cases need more slides than there are.

    The shares are spread evenly over Beta(0.6, 0.6): many tumours have a trait nearly everywhere or hardly anywhere.
    The two traits are independent.
    """
    if special_cases and slides < FEWEST:
        raise InputError(
            f"demo: {slides} slides, expected at least {FEWEST} with the special cases: "
            "ask for more slides, or for none of the special cases"
        )
    rng = np.random.default_rng([seed, 1])
    specials = list(SPECIAL.elements()) if special_cases else []
    n = slides - specials.count("two_slides")
    specials = rng.permutation(specials + ["plain"] * (n - len(specials))).tolist()
    spread = [betaincinv(0.6, 0.6, (rng.permutation(n) + rng.uniform(size=n)) / n) for _ in range(2)]
    return [
        Patient(f"{PROJECT}-{FIRST + number}", special, (float(np.clip(a, 0.01, 0.99)), float(np.clip(b, 0.01, 0.99))))
        for number, (special, a, b) in enumerate(zip(specials, *spread, strict=True))
    ]


def list_slides(
    patients: list[Patient], *, slide_px: int, mpp: tuple[float, float], seed: int, normal_tissue: bool = True
) -> list[Slide]:
    """The slides of the patients. A second slide has about the shares of the first. Sides are up to 3 % short of
    `slide_px`; mpp is drawn between the two ends of `mpp`, with the four decimals that an SVS states. Without
    `normal_tissue` all tissue is tumour."""
    rng, of_tumour = (np.random.default_rng([seed, stream]) for stream in (2, 7))
    slides: list[Slide] = []
    for patient in patients:
        indices = {"two_slides": (1, 2), "no_dx1": (2,)}.get(patient.special, (1,))
        sample_type = "06" if patient.special == "metastasis" else "01"
        for index in indices:
            moved = rng.normal(0, 0.06, 2) if index != indices[0] else np.zeros(2)
            name = str(uuid.UUID(bytes=rng.bytes(16), version=4)).upper()
            slides.append(
                Slide(
                    number=len(slides),
                    slide_id=f"{patient.patient_id}-{sample_type}Z-00-DX{index}.{name}",
                    patient_id=patient.patient_id,
                    condition=patient.special if patient.special in SPOILT else "whole",
                    sample_type=sample_type,
                    diagnostic_index=index,
                    tumour_share=_draw_tumour_share(of_tumour) if normal_tissue else 1.0,
                    shares=tuple(float(s) for s in np.clip(np.array(patient.shares) + moved, 0.01, 0.99)),
                    association=float(rng.uniform(-0.6, 0.6)),
                    mpp=float(np.round(rng.uniform(*mpp), 4)),
                    width=int(slide_px - rng.integers(0, slide_px // 32 + 1)),
                    height=int(slide_px - rng.integers(0, slide_px // 32 + 1)),
                )
            )
    return slides


def _draw_tumour_share(rng: np.random.Generator) -> float:
    return float(rng.uniform(*(NEARLY_ALL if rng.uniform() < HOW_OFTEN else TUMOUR_SHARE)))


def choose_annotated(slides: list[Slide], number: int, *, seed: int) -> list[str]:
    """The ids of the slides that a pathologist annotated: the first whole one of `number` patients, drawn by the seed.

    More patients are annotated beside the same others. Raises InputError where there are not so many.
    """
    first: dict[str, str] = {}
    for slide in slides:
        if slide.condition == "whole":
            first.setdefault(slide.patient_id, slide.slide_id)
    if number > len(first):
        raise InputError(
            f"demo: {number} annotated slides, expected at most {len(first)}: annotate fewer, or ask for more slides"
        )
    drawn = np.random.default_rng([seed, 8]).permutation(sorted(first))
    return [first[patient] for patient in drawn[:number].tolist()]
