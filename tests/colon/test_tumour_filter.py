"""On real histology with known truth: a filter that learns half of the slides knows the tumour of the other half.

The one place where the truth trains: it is drawn as a pathologist would draw, on the slides at even places of the
sorted list, and scores those at odd places. Run by `make test-colon`; trait models that are there already are used.
"""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import shapely

from workflow_scripts.lib import files, scores

REPOSITORY = Path(__file__).parents[2]
COLON = REPOSITORY.parent / "shared" / "data" / "colon"
RESULTS = REPOSITORY / "results"
# Truth tiles are 224 px of a slide's level 0.
SIDE = 224
# Adenocarcinoma, tubular adenoma, villous adenoma; the others are healthy and serrated mucosa.
TUMOUR = ("AC", "T", "V")

pytestmark = pytest.mark.skipif(not COLON.is_dir(), reason=f"{COLON} is not here")


def snakemake(*overlays: str) -> None:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--quiet", "rules"]
    targets = ["results/colon/hti.tsv", *(["results/filters/colon/figures/tumour_filter.png"] if overlays else [])]
    arguments = ["--configfile", "studies/colon.yaml", *overlays, "--", *targets]
    subprocess.run([*command, *arguments], cwd=REPOSITORY, check=True)


@pytest.fixture(scope="module")
def truth() -> pd.DataFrame:
    tiles = pd.read_csv(COLON / "truth" / "tiles.csv", dtype=str).astype({"col": int, "row": int})
    return tiles.assign(tumour=tiles["tissue"].isin(TUMOUR).astype(int))


@pytest.fixture(scope="module")
def halves(truth) -> tuple[list[str], list[str]]:
    slides = sorted(truth["slide_id"].unique())
    return slides[::2], slides[1::2]


@pytest.fixture(scope="module")
def without(halves) -> pd.DataFrame:
    """The heterogeneity index without a filter."""
    snakemake()
    return files.read_table(RESULTS / "colon" / "hti.tsv", text=["slide_id"])


@pytest.fixture(scope="module")
def filtered(without, truth, halves) -> pd.DataFrame:
    """The heterogeneity index with the filter."""
    for slide in halves[0]:
        draw(truth[truth["slide_id"] == slide], RESULTS / "colon" / "input" / "annotations" / f"{slide}.geojson")
    snakemake("tests/colon/filter.yaml")
    return files.read_table(RESULTS / "colon" / "hti.tsv", text=["slide_id"])


def draw(tiles: pd.DataFrame, path: Path) -> None:
    """Outline the tumour of a slide, and what is not, as QuPath writes it."""
    features = []
    for name, is_tumour in (("Tumor", 1), ("Other", 0)):
        of_class = tiles[tiles["tumour"] == is_tumour]
        corner = of_class[["col", "row"]].to_numpy() * SIDE
        area = shapely.union_all(shapely.box(*corner.T, *(corner + SIDE).T))
        for polygon in getattr(area, "geoms", [area]):
            properties = {"objectType": "annotation", "classification": {"name": name, "color": [200, 0, 0]}}
            features.append(
                {"type": "Feature", "geometry": shapely.geometry.mapping(polygon), "properties": properties}
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def scored(folder: Path) -> pd.DataFrame:
    """slide_id, col, row and probability of all tiles that the filter has scored."""
    tables = []
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path) as file:
            for slide_id, slide in file.items():
                column, row = slide["coords"][:].T
                columns = {"slide_id": slide_id, "col": column, "row": row, "probability": slide["probability"][:]}
                tables.append(pd.DataFrame(columns))
    return pd.concat(tables)


def test_the_filter_knows_the_tumour_of_slides_that_nobody_annotated(filtered, truth, halves):
    found = scored(RESULTS / "colon" / "tumour")
    tiles = truth[truth["slide_id"].isin(halves[1])].merge(found, on=["slide_id", "col", "row"])
    assert set(tiles["slide_id"]) == set(halves[1])
    auroc = scores.auc(tiles["tumour"].to_numpy(), tiles["probability"].to_numpy())
    print(f"tile AUROC {auroc:.4f} of {len(tiles)} tiles on {tiles['slide_id'].nunique()} slides")
    assert auroc >= 0.93


def test_the_filter_does_not_cost_the_heterogeneity_index(without, filtered, halves):
    true = pd.read_csv(COLON / "truth" / "slides.csv").set_index("slide_id")["hti"]
    errors = [
        np.abs(table.set_index("slide_id")["hti"].reindex(halves[1]) - true.reindex(halves[1])).mean()
        for table in (without, filtered)
    ]
    print("mean absolute error of the HTI without the filter {:.4f}, with it {:.4f}".format(*errors))
    assert errors[1] <= errors[0] + 0.02
