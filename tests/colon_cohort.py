"""The cohorts of microscope adaptation on real histology: half of the colon's mosaics as they are scanned, and regions
of the others photographed by the simulated camera."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import openslide
import pandas as pd
import shapely
from shapely import MultiPolygon

from workflow_scripts.lib import slides
from workflow_scripts.lib.demo import camera as cameras
from workflow_scripts.lib.demo import outlines, roster
from workflow_scripts.lib.demo.adaptation import ADENOCARCINOMA, ADENOMA, NORMAL, set_sizes
from workflow_scripts.lib.files import write_table

NAMES = ("slides", "photographs")
# Tissues of the truth: healthy, tubular and villous adenoma, adenocarcinoma. Serrated lesions are of no class.
CLASS_OF = {"H": NORMAL, "T": ADENOMA, "V": ADENOMA, "AC": ADENOCARCINOMA}
# A piece of a mosaic, px of level 0; pieces along a region's side, and regions of a slide.
PIECE_PX, REGION, REGIONS = 224, 4, 2
# Of a region's sixteen pieces so many have a class at least.
FEWEST_PIECES = 4


def make(shared: Path, folder: Path, *, seed: int, camera: Mapping[str, float]) -> None:
    """Write both cohorts under `folder`, as `demo.adaptation.make_adaptation_cohorts` lays them out.

    shared: the folder of real inputs, in which `colon` is. The sheet of the slides points to them there; everything
    else is written. Of a slide that is photographed the REGIONS squares of REGION pieces a side with the most pieces of
    a class are, which do not overlap. camera: the values of `configuration.adaptation.Camera`. Halves, sets and the
    microscope are drawn by the seed.
    """
    truth = pd.read_csv(shared / "colon" / "truth" / "tiles.csv", dtype=str).astype({"col": int, "row": int})
    truth = truth.assign(label=truth["tissue"].map(CLASS_OF)).dropna(subset=["label"])
    patient_of = pd.read_csv(shared / "colon" / "truth" / "slides.csv", dtype=str).set_index("slide_id")["patient_id"]
    patients = np.random.default_rng([seed, 81]).permutation(sorted(patient_of.unique())).tolist()
    halves = patients[: len(patients) // 2], patients[len(patients) // 2 :]
    microscope = cameras.draw_microscope(np.random.default_rng([seed, 82]))
    rows: dict[str, list[tuple]] = {name: [] for name in NAMES}
    for number, (slide_id, pieces) in enumerate(truth.groupby("slide_id", sort=True)):
        path, patient = shared / "colon" / "slides" / f"{slide_id}.svs", patient_of[slide_id]
        if patient in halves[0]:
            _outline(folder / "slides" / "annotations" / f"{slide_id}.xml", pieces, PIECE_PX)
            rows["slides"].append((str(path), slide_id, patient))
            continue
        rng = np.random.default_rng([seed, 83, number])
        for index, (column, row) in enumerate(_regions(pieces)):
            photograph_id = f"{patient}-P{index + 1}"
            suffix = cameras.SUFFIXES[(number * REGIONS + index) % len(cameras.SUFFIXES)]
            file = f"photographs/photographs/{photograph_id}{suffix}"
            with openslide.OpenSlide(path) as slide:
                side, mpp = PIECE_PX * REGION, float(slide.properties[openslide.PROPERTY_NAME_MPP_X])
                left, top = column * PIECE_PX, row * PIECE_PX
                field = slides.read_area(slide, (left, top, left + side, top + side), (side, side))
            seen = cameras.take(np.asarray(field), mpp=mpp, camera=camera, microscope=microscope, rng=rng)
            cameras.write_photograph(folder / file, seen, jpeg_quality=camera["jpeg_quality"])
            here = pieces.assign(col=pieces["col"] - column, row=pieces["row"] - row)
            here = here[here["col"].between(0, REGION - 1) & here["row"].between(0, REGION - 1)]
            path_to_outlines = folder / "photographs" / "annotations" / f"{photograph_id}.xml"
            _outline(path_to_outlines, here, PIECE_PX * mpp / camera["mpp"])
            rows["photographs"].append((file, photograph_id, patient, camera["mpp"]))
    columns = ["file", "slide_id", "patient_id", "mpp"]
    for name, found in rows.items():
        write_table(pd.DataFrame(sorted(found), columns=columns[: len(found[0])]), folder / f"{name}.tsv")
    sets = {}
    for half in halves:
        names = [name for name, size in set_sizes(len(half)).items() for _ in range(size)]
        sets |= dict(zip(half, names, strict=True))
    write_table(roster.split_table(sets), folder / "split.tsv")


def _regions(pieces: pd.DataFrame) -> Iterator[tuple[int, int]]:
    """The upper left pieces (column, row) of the regions of a slide, those with the most pieces of a class first."""
    there = np.zeros((pieces["row"].max() + REGION, pieces["col"].max() + REGION), int)
    there[pieces["row"], pieces["col"]] = 1
    for _ in range(REGIONS):
        counts = np.lib.stride_tricks.sliding_window_view(there, (REGION, REGION)).sum(axis=(2, 3))
        row, column = np.unravel_index(counts.argmax(), counts.shape)
        if counts.max() < FEWEST_PIECES:
            return
        # Negative, so that none that overlaps it is taken.
        there[row : row + REGION, column : column + REGION] = -(REGION**2)
        yield int(column), int(row)


def _outline(path: Path, pieces: pd.DataFrame, side: float) -> None:
    """Outline the pieces of each class, squares of `side` px."""
    drawn = {}
    for name, of_class in pieces.groupby("label", sort=True):
        corner = of_class[["col", "row"]].to_numpy()
        squares = shapely.union_all(shapely.box(*(corner.T * side), *((corner + 1).T * side)))
        drawn[name] = MultiPolygon([squares] if squares.geom_type == "Polygon" else list(squares.geoms))
    outlines.write_asap(path, drawn)
