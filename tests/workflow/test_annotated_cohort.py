"""A cohort with a folder of annotations: each is read and drawn, or refused with its reason, and reruns alone."""

import json
from pathlib import Path

import pandas as pd
import pytest
from checkouts import MINI, Checkout

from workflow_scripts.lib import annotated_slides, files, planning

FILTER = "    tumour_filter: mini\n"
GENERATED = """\
    annotations:
      folder: results/mini/input/annotations
      classes: {Tumor: tumour}
"""
DRAWN = """\
    annotations:
      folder: drawn
      classes: {Tumor: tumour, Stroma: stroma}
"""
RULES = {"read_annotations", "list_annotations", "draw_annotations"}


def geojson(class_name: str, *, width: float) -> str:
    """A box of a class, from the slide's corner to `width` and to far below its lower edge, in level-0 px."""
    ring = [[0, 0], [width, 0], [width, 5000], [0, 5000], [0, 0]]
    properties = {"classification": {"name": class_name}}
    return json.dumps(
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}
    )


def asap(class_name: str) -> str:
    """The same box as wide as any slide, as ASAP writes it."""
    places = [(0, 0), (5000, 0), (5000, 5000), (0, 5000)]
    coordinates = "".join(f'<Coordinate Order="{n}" X="{x},5" Y="{y},5" />' for n, (x, y) in enumerate(places))
    annotation = f'<Annotation Name="a" Type="Polygon" PartOfGroup="{class_name}"><Coordinates>{coordinates}'
    return f"<ASAP_Annotations><Annotations>{annotation}</Coordinates></Annotation></Annotations></ASAP_Annotations>"


def annotate(checkout: Checkout) -> list[str]:
    """Write annotations of four slides and of nobody; return the ids of the four."""
    checkout.edit(MINI, GENERATED, DRAWN)
    # Of these a filter could not learn.
    checkout.edit(MINI, FILTER, "")
    slides = planning.usable_files(checkout.folder / "results/mini/sheet.tsv")
    left, whole, misspelt, broken = list(slides)[:4]
    folder = checkout.folder / "drawn"
    folder.mkdir()
    (folder / f"{left}.geojson").write_text(geojson("Tumor", width=512))
    (folder / f"{Path(slides[whole]).name}.xml").write_text(asap("Stroma"))
    (folder / f"{misspelt}.json").write_text(geojson("tumor", width=512))
    (folder / f"{broken}.xml").write_text("<ASAP_Annotations>")
    (folder / "nobody.geojson").write_text(geojson("Tumor", width=512))
    return [left, whole, misspelt, broken]


@pytest.mark.slow
def test_a_cohort_with_annotations_can_check_them_before_anything_is_trained(copy):
    drawn = left, whole, misspelt, broken = annotate(copy)
    planned = copy.planned("annotations")
    assert planned == {"read_annotations": 4, "draw_annotations": 4, "list_annotations": 1, "annotations": 1}
    run = copy.snakemake("annotations")
    assert run.returncode == 0, run.stdout
    assert "nobody.geojson belongs to no slide of the cohort" in run.stdout
    assert "class tumor: labels no tile; did you mean 'Tumor'?" in run.stdout

    results = copy.folder / "results/mini"
    regions = files.read_table(results / "annotations/regions.tsv", text=annotated_slides.TEXT).set_index("slide_id")
    assert dict(regions["status"]) == {left: "read", whole: "read", misspelt: "read", broken: "refused"}
    assert regions.loc[broken, "reason"].startswith("expected XML, found: no element found")
    assert "every tile is background" in regions.loc[misspelt, "reason"]
    labels = {slide: files.read_table(results / f"annotations/tiles/{slide}.tsv", text=["label"]) for slide in drawn}
    stroma = labels[whole]
    assert (set(stroma["label"]), set(stroma["slide_id"])) == ({"stroma"}, {whole})
    # 512 level-0 px of about 0.25 µm are four of the tiles of 64 px at 0.5 µm.
    assert (labels[left]["label"] == "tumour").tolist() == (labels[left]["col"] < 4).tolist()
    assert set(labels[misspelt]["label"]) == {"background"}
    assert labels[broken].empty
    classes = files.read_table(results / "annotations/classes.tsv", text=["class", "label", "remark"])
    assert classes["class"].tolist() == ["Tumor", "Stroma", "tumor"]
    assert classes["n_slides"].tolist() == [1, 1, 1]
    assert all((results / f"figures/annotations/{slide}.png").is_file() for slide in drawn)

    # A changed file, one that is gone, and another class: each reruns its own, and the list.
    assert set(copy.planned("annotations")) <= {"annotations"}
    folder = copy.folder / "drawn"
    (folder / f"{left}.geojson").write_text(geojson("Tumor", width=700))
    again = {"read_annotations": 1, "draw_annotations": 1, "list_annotations": 1, "annotations": 1}
    assert copy.planned("annotations") == again
    (folder / f"{broken}.xml").unlink()
    assert copy.planned("annotations") == again
    copy.edit(MINI, "classes: {Tumor: tumour, ", "classes: {Tumor: tumour, tumor: tumour, ")
    planned = copy.planned("annotations")
    assert planned == {"read_annotations": 3, "draw_annotations": 3, "list_annotations": 1, "annotations": 1}
    (folder / f"{left}.xml").write_text(asap("Tumor"))
    run = copy.snakemake("--dry-run")
    assert run.returncode != 0
    assert f"{left}: expected one file of annotations, found drawn/{left}.geojson and drawn/{left}.xml" in run.stdout


def test_a_cohort_without_annotations_has_no_job_for_them(copy):
    copy.edit(MINI, GENERATED, "")
    copy.edit(MINI, FILTER, "")
    planned = copy.planned("--forcerun", "tile_slide")
    assert planned["tile_slide"] == 8
    assert not RULES & set(planned)


def test_the_generated_annotations_are_read_with_the_cohort_and_say_what_the_truth_says(finished):
    results = finished.folder / "results/mini"
    regions = files.read_table(results / "annotations/regions.tsv", text=annotated_slides.TEXT)
    splits = files.read_table(results / "splits.tsv", text=["patient_id", "set", "round_1", "round_2"])
    splits = splits.set_index("patient_id")
    patients = [slide[:12] for slide in regions["slide_id"]]
    assert regions["status"].tolist() == ["read"] * 3
    assert regions["reason"].tolist() == [""] * 3
    assert {splits.at[patient, "round_1"] or splits.at[patient, "set"] for patient in patients} == {
        "train", "validation", "test",
    }  # fmt: skip
    truth = files.read_table(results / "truth/tiles.tsv", text=["slide_id", "kind"])
    labels = [files.read_table(results / f"annotations/tiles/{slide}.tsv", text=["slide_id", "label"])
              for slide in regions["slide_id"]]  # fmt: skip
    both = pd.concat(labels).merge(truth, on=["slide_id", "col", "row"])
    assert set(both["label"]) == {"tumour", "background"}
    assert ((both["label"] == "tumour") == (both["tumour"] == 1)).mean() >= 0.95
