"""What tissues look like under the microscope, as numbers: fourteen kinds of tumour, and what surrounds them.

A kind is a point in a space of properties: of its nuclei, of how its cells are arranged, of what lies between them. A
slide is a draw around the point of its kind, so that neighbours overlap. A metastasis is a draw around a point that is
shifted twice: as all metastases are (less differentiated), and as its own kind is, some hardly and some far. Nothing
here is a colour: each slide's stain is drawn apart from what it shows.

ASSUME these properties are enough to look at. The points were set by eye from what textbooks say of each tumour, and
no number here was measured on a slide.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from typing import NamedTuple

import numpy as np

from workflow_scripts.lib.errors import InputError


class Property(NamedTuple):
    """How a property varies: `spread`, the standard deviation between slides of a kind, and `progress`, what
    metastases have more of it than primaries. Of the logarithm for sizes; of the logit for shares."""

    is_share: bool
    spread: float
    progress: float


@dataclass(frozen=True)
class Look:
    """How a tissue looks. Sizes are in µm; all that has no unit is a share, 0 to 1.

    Nuclei: nucleus_um, the mean half-axis; elongation, long to short axis; unequal, in size and form; chromatin, its
    grain; nucleoli; spacing_um between them; order, how regularly they stand; polarity, the nests whose nuclei
    stand on the wall.
    Arrangement: nest_um, the width of nests, or of bundles; stretch, their length to their width; stroma, of the area;
    lumen, nests with one; lining_um, how thick their epithelium is; papillary, nests turned inside out, with a core of
    stroma; aligned, how well cells and fibres lie side by side; turning, how far from bundle to bundle; wavy.
    Cells: borders that are seen; clear cytoplasm; mucus in drops; keratin in whorls; granules.
    Between: retraction, empty slits in place of stroma; fibrous rather than loose stroma; cellular; inflamed; necrosis;
    fat, territories of it.
    Of glands, and the same on all slides of a kind: two_rows, a row of flat nuclei on the wall, beneath the others;
    bare, the share of glands that are missing, in smooth patches; fat lies there alone. Of the liver: portal, it has
    portal fields and central veins.
    """

    nucleus_um: float = 3.2
    elongation: float = 1.2
    unequal: float = 0.2
    chromatin: float = 0.3
    nucleoli: float = 0.2
    spacing_um: float = 10.5
    order: float = 0.4
    polarity: float = 0.0
    nest_um: float = 80.0
    stretch: float = 1.15
    stroma: float = 0.2
    lumen: float = 0.0
    lining_um: float = 15.0
    papillary: float = 0.0
    aligned: float = 0.0
    turning: float = 0.0
    wavy: float = 0.2
    borders: float = 0.0
    clear: float = 0.0
    mucus: float = 0.0
    keratin: float = 0.0
    granules: float = 0.0
    retraction: float = 0.0
    fibrous: float = 0.5
    cellular: float = 0.4
    inflamed: float = 0.2
    necrosis: float = 0.0
    fat: float = 0.0
    two_rows: bool = False
    bare: float = 0.0
    portal: bool = False


PROPERTIES = {
    "nucleus_um": Property(False, 0.06, 0.09),
    "elongation": Property(False, 0.08, 0.0),
    "unequal": Property(True, 0.35, 0.6),
    "chromatin": Property(True, 0.35, 0.4),
    "nucleoli": Property(True, 0.4, 0.5),
    "spacing_um": Property(False, 0.06, -0.03),
    "order": Property(True, 0.35, -0.5),
    "polarity": Property(True, 0.5, -0.7),
    "nest_um": Property(False, 0.12, -0.05),
    "stretch": Property(False, 0.10, 0.0),
    "stroma": Property(True, 0.30, -0.4),
    "lumen": Property(True, 0.5, -0.7),
    "lining_um": Property(False, 0.10, 0.05),
    "papillary": Property(True, 0.5, -0.3),
    "aligned": Property(True, 0.4, -0.2),
    "turning": Property(True, 0.4, 0.2),
    "wavy": Property(True, 0.4, 0.0),
    "borders": Property(True, 0.4, -0.2),
    "clear": Property(True, 0.4, -0.3),
    "mucus": Property(True, 0.5, -0.2),
    "keratin": Property(True, 0.5, -0.4),
    "granules": Property(True, 0.5, 0.0),
    "retraction": Property(True, 0.4, 0.1),
    "fibrous": Property(True, 0.5, 0.3),
    "cellular": Property(True, 0.4, 0.1),
    "inflamed": Property(True, 0.5, 0.2),
    "necrosis": Property(True, 0.4, 0.4),
    "fat": Property(True, 0.3, 0.0),
}
# Those of nuclei; all others arrange cells and what lies between them.
NUCLEI = ("nucleus_um", "elongation", "unequal", "chromatin", "nucleoli", "spacing_um", "order")
# How far a kind's own shift goes, in standard deviations of each property between slides; one size for each kind,
# evenly from the first to the second.
OWN_SHIFT = (0.1, 1.9)

# The tumour, and the tissue of its organ that surrounds it.
KINDS: Mapping[str, tuple[Look, str]] = {
    # Large nests and cords of large cells with drops of fat, and unequal nuclei.
    "adrenal_cortical_carcinoma": (
        Look(
            nucleus_um=3.5,
            unequal=0.65,
            chromatin=0.5,
            nucleoli=0.7,
            spacing_um=14.5,
            order=0.3,
            nest_um=58,
            stretch=1.6,
            stroma=0.07,
            borders=0.7,
            clear=0.35,
            mucus=0.5,
            retraction=0.5,
            fibrous=0.2,
            necrosis=0.05,
        ),
        "fat",
    ),
    # Small nests and cords of equal cells in much dense stroma.
    "breast_carcinoma": (
        Look(
            nucleus_um=3.4,
            unequal=0.35,
            nucleoli=0.4,
            spacing_um=8.8,
            nest_um=40,
            stretch=2.4,
            stroma=0.5,
            fibrous=0.9,
            cellular=0.5,
            inflamed=0.4,
            lumen=0.15,
            lining_um=9,
        ),
        "fat",
    ),
    # Wide glands of tall cells with long nuclei on the wall; dirt in their lumens.
    "colonic_adenocarcinoma": (
        Look(
            nucleus_um=3.6,
            elongation=2.3,
            unequal=0.3,
            spacing_um=7.8,
            polarity=0.95,
            nest_um=88,
            stretch=1.3,
            stroma=0.3,
            lumen=0.9,
            lining_um=19,
            fibrous=0.5,
            cellular=0.5,
            inflamed=0.4,
            necrosis=0.06,
            mucus=0.1,
        ),
        "mucosa",
    ),
    # Cysts with papillae; one row of low cells.
    "cystadenocarcinoma": (
        Look(
            nucleus_um=3.5,
            elongation=1.3,
            unequal=0.5,
            nucleoli=0.5,
            spacing_um=8.5,
            polarity=0.9,
            nest_um=62,
            stretch=1.5,
            stroma=0.1,
            lumen=0.7,
            lining_um=13,
            papillary=0.7,
            fibrous=0.4,
            mucus=0.1,
        ),
        "fibrous",
    ),
    # Single cells, each with a drop of mucus that presses its nucleus to the wall, strewn in loose stroma.
    "gastric_adenocarcinoma": (
        Look(
            nucleus_um=2.9,
            elongation=1.7,
            unequal=0.3,
            chromatin=0.4,
            spacing_um=15,
            polarity=0.9,
            nest_um=21,
            stretch=1.0,
            stroma=0.42,
            clear=0.9,
            borders=0.6,
            mucus=0.3,
            fibrous=0.25,
            cellular=0.3,
            inflamed=0.6,
        ),
        "mucosa",
    ),
    # Bundles of long, pale, equal nuclei that turn from one to the next; vacuoles at their ends.
    "gastrointestinal_stromal_tumour": (
        Look(
            nucleus_um=3.2,
            elongation=3.4,
            unequal=0.1,
            chromatin=0.15,
            spacing_um=9.0,
            order=0.6,
            nest_um=95,
            stretch=1.5,
            stroma=0.03,
            aligned=0.85,
            turning=0.5,
            wavy=0.3,
            mucus=0.5,
            fibrous=0.8,
        ),
        "muscle",
    ),
    # Bundles at right angles, of blunt dark nuclei in much eosinophilic, fibrillar cytoplasm.
    "leiomyosarcoma": (
        Look(
            nucleus_um=3.5,
            elongation=4.2,
            unequal=0.6,
            chromatin=0.6,
            spacing_um=13.0,
            nest_um=130,
            stretch=1.8,
            stroma=0.04,
            aligned=0.96,
            turning=0.9,
            wavy=0.15,
            fibrous=0.9,
            retraction=0.3,
            necrosis=0.05,
        ),
        "muscle",
    ),
    # Small, crooked glands whose cells lie low; stroma with lymphocytes.
    "lung_adenocarcinoma": (
        Look(
            nucleus_um=3.7,
            elongation=1.15,
            unequal=0.5,
            nucleoli=0.8,
            spacing_um=9.5,
            polarity=0.75,
            nest_um=48,
            stretch=1.2,
            stroma=0.28,
            lumen=0.75,
            lining_um=10,
            fibrous=0.6,
            cellular=0.7,
            inflamed=0.8,
        ),
        "fibrous",
    ),
    # Sheets of large cells that fall apart, with great nucleoli and granules.
    "melanoma": (
        Look(
            nucleus_um=4.4,
            elongation=1.4,
            unequal=0.6,
            nucleoli=0.95,
            chromatin=0.25,
            spacing_um=13.0,
            order=0.3,
            nest_um=40,
            stretch=1.2,
            stroma=0.10,
            retraction=0.75,
            granules=0.6,
            borders=0.5,
            fibrous=0.3,
            inflamed=0.4,
        ),
        "fibrous",
    ),
    # Ribbons and nests of small, round, equal nuclei with stippled chromatin.
    "neuroendocrine_carcinoma": (
        Look(
            nucleus_um=3.0,
            elongation=1.05,
            unequal=0.08,
            chromatin=0.75,
            nucleoli=0.05,
            spacing_um=8.2,
            order=0.75,
            polarity=0.5,
            nest_um=30,
            stretch=3.2,
            stroma=0.18,
            retraction=0.5,
            fibrous=0.3,
            cellular=0.3,
        ),
        "mucosa",
    ),
    # Scattered, angular glands of pale cells in very much fibrous, cellular stroma.
    "pancreatic_adenocarcinoma": (
        Look(
            nucleus_um=3.6,
            elongation=1.25,
            unequal=0.45,
            spacing_um=9.5,
            polarity=0.85,
            nest_um=72,
            stretch=1.4,
            stroma=0.62,
            lumen=0.85,
            lining_um=11,
            clear=0.15,
            mucus=0.4,
            fibrous=0.95,
            cellular=0.8,
            inflamed=0.3,
        ),
        "fibrous",
    ),
    # Nests of clear cells with plain borders and small, round nuclei; fine vessels.
    "renal_cell_carcinoma": (
        Look(
            nucleus_um=2.9,
            elongation=1.05,
            unequal=0.15,
            nucleoli=0.3,
            spacing_um=16,
            order=0.55,
            nest_um=62,
            stretch=1.2,
            stroma=0.06,
            clear=0.92,
            borders=0.95,
            lumen=0.1,
            fibrous=0.2,
            cellular=0.5,
        ),
        "fibrous",
    ),
    # Pleomorphic spindle cells without order, in loose, wavy matrix.
    "sarcoma": (
        Look(
            nucleus_um=4.3,
            elongation=2.2,
            unequal=0.9,
            chromatin=0.7,
            nucleoli=0.6,
            spacing_um=13.5,
            order=0.1,
            nest_um=70,
            stretch=1.3,
            stroma=0.22,
            aligned=0.55,
            turning=0.7,
            wavy=0.8,
            fibrous=0.35,
            cellular=0.6,
            necrosis=0.1,
        ),
        "fat",
    ),
    # Sheets of polygonal cells with plain borders, and whorls of keratin.
    "squamous_carcinoma": (
        Look(
            nucleus_um=3.7,
            elongation=1.35,
            unequal=0.45,
            nucleoli=0.4,
            spacing_um=12.0,
            order=0.45,
            nest_um=100,
            stretch=1.4,
            stroma=0.24,
            borders=0.9,
            keratin=0.6,
            fibrous=0.7,
            cellular=0.7,
            inflamed=0.7,
        ),
        "mucosa",
    ),
}
LIVER = "liver"
SURROUNDINGS = {
    # Plates of polygonal cells, one or two wide, with round nuclei in their middles; slits of sinusoids.
    LIVER: Look(
        nucleus_um=3.3, elongation=1.03, unequal=0.12, nucleoli=0.6, chromatin=0.2, spacing_um=17, order=0.6,
        nest_um=25, stretch=3.5, stroma=0.11, retraction=0.85, borders=0.55, fibrous=0.3, cellular=0.3, inflamed=0.1,
        mucus=0.04, portal=True,
    ),
    # Small, round glands full of mucus, in loose stroma.
    "mucosa": Look(
        nucleus_um=2.4, elongation=1.6, unequal=0.08, spacing_um=8.5, order=0.8, polarity=0.99, nest_um=46, stretch=1.0,
        stroma=0.42, lumen=0.25, lining_um=15, clear=0.3, mucus=0.95, fibrous=0.15, cellular=0.7, inflamed=0.5,
    ),
    # Plain muscle: bundles of thin nuclei far apart.
    "muscle": Look(
        nucleus_um=2.6, elongation=5.0, unequal=0.06, chromatin=0.15, nucleoli=0.02, spacing_um=20, nest_um=170,
        stretch=3.0, stroma=0.06, aligned=0.97, turning=0.15, wavy=0.5, fibrous=0.9, retraction=0.4,
    ),
    # Septa between fat cells.
    "fat": Look(nest_um=14, stroma=0.97, fibrous=0.6, cellular=0.25, fat=0.72, inflamed=0.1),
    # Dense, wavy collagen with few cells.
    "fibrous": Look(nest_um=14, stroma=0.97, aligned=0.9, wavy=0.75, fibrous=0.97, cellular=0.3, inflamed=0.2),
}  # fmt: skip


def check_kinds(names: Sequence[str]) -> None:
    """Raise InputError, with the nearest name, unless each name is a key of KINDS and stands there once."""
    for name in names:
        if name not in KINDS:
            near = get_close_matches(name, KINDS, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(KINDS)}"
            raise InputError(f"class {name!r} is none that can be painted; {hint}")
    if len(set(names)) < len(names):
        raise InputError(f"classes: expected each once, found {', '.join(names)}")


def own_shifts(seed: int) -> dict[str, np.ndarray]:
    """By kind, what its metastases differ in from those of other kinds, (properties,) in standard deviations.

    Their sizes (root mean square) are spread evenly over OWN_SHIFT, in an order that the seed draws, and so are their
    directions. Which kinds a cohort has makes no difference to them.
    """
    rng = np.random.default_rng([seed, 21])
    sizes = rng.permutation(np.linspace(*OWN_SHIFT, len(KINDS)))
    shifts = rng.standard_normal((len(KINDS), len(PROPERTIES)))
    shifts *= (sizes / np.sqrt((shifts**2).mean(axis=1)))[:, None]
    return dict(zip(KINDS, shifts, strict=True))


def primary(kind: str, rng: np.random.Generator) -> Look:
    """How one primary tumour of a kind looks."""
    return vary(KINDS[kind][0], rng)


def metastasis(kind: str, own_shift: np.ndarray, rng: np.random.Generator) -> Look:
    """How one metastasis of a kind looks. own_shift: its kind's, of `own_shifts`."""
    progress = [of.progress for of in PROPERTIES.values()]
    return vary(KINDS[kind][0], rng, np.array(progress) + own_shift * _spreads())


def vary(look: Look, rng: np.random.Generator, shift: np.ndarray | float = 0.0, *, share: float = 1.0) -> Look:
    """A slide's draw around a look, shifted by so much (properties,), in logarithms and logits.

    share: of the spread of each property (PROPERTIES), what slides vary by.
    """
    moved = shift + share * _spreads() * rng.standard_normal(len(PROPERTIES))
    values = asdict(look)
    return replace(
        look, **{name: _moved(values[name], by, name) for name, by in zip(PROPERTIES, moved.tolist(), strict=True)}
    )


def _moved(value: float, by: float, name: str) -> float:
    # What a kind has nothing of, none of its slides has.
    if not PROPERTIES[name].is_share or value == 0:
        return float(value * np.exp(by))
    odds = value / (1 - value) * np.exp(by)
    return float(odds / (1 + odds))


def _spreads() -> np.ndarray:
    return np.array([of.spread for of in PROPERTIES.values()])
