"""Maps are exported, and drawn over the slides, where the configuration lists them; nothing else runs for it."""

import json

import openslide
import pytest
from checkouts import MINI, Checkout

from workflow_scripts.lib import planning

SECTION = """\
exports:
  maps: [heterogeneity, GLDA]
  formats: [geojson]
  heatmaps: [miR-demo-5p]

demo:
"""


def names(checkout: Checkout, folder: str) -> list[str]:
    """The files in a folder of the mini cohort's results."""
    return sorted(
        path.name for path in (checkout.folder / "results/mini" / folder).iterdir() if not path.name.startswith(".")
    )


@pytest.mark.slow
def test_what_the_configuration_lists_is_exported_and_nothing_else_made(copy):
    copy.edit(MINI, "demo:\n", SECTION)
    # The summary has the configuration.
    assert copy.planned() == {"export_maps": 2, "draw_heatmaps": 1, "summarise": 1}
    run = copy.snakemake()
    assert run.returncode == 0, run.stdout
    slides = planning.usable_files(copy.folder / "results/mini/sheet.tsv")
    assert names(copy, "exports") == ["GLDA", "heterogeneity"]
    for name in ("GLDA", "heterogeneity"):
        assert names(copy, f"exports/{name}") == sorted(f"{slide}.geojson" for slide in slides)
    assert names(copy, "figures/heatmaps/miR-demo-5p") == sorted(f"{slide}.png" for slide in slides)

    # A map can be asked for that is not listed; another format makes the exports again, and no heatmap.
    assert copy.planned("results/mini/exports/miR-demo-5p") == {"export_maps": 1}
    copy.edit(MINI, "formats: [geojson]", "formats: [geojson, ome_tiff]")
    assert copy.planned() == {"export_maps": 2, "summarise": 1}
    run = copy.snakemake("results/mini/exports/heterogeneity")
    assert run.returncode == 0, run.stdout
    for slide, file in slides.items():
        exported = copy.folder / "results/mini/exports/heterogeneity" / slide
        with openslide.OpenSlide(copy.folder / file) as one, openslide.OpenSlide(f"{exported}.ome.tif") as other:
            assert one.dimensions == other.dimensions
        tiles = json.loads(exported.with_name(f"{slide}.geojson").read_text())["features"]
        assert {tile["properties"]["objectType"] for tile in tiles} == {"tile"}
