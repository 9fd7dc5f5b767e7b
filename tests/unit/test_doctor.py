"""The doctor says, before a long run, what is missing and what the run will take."""

import pandas as pd
import pytest
from PIL import Image
from test_flow import CLINICAL, LABELS, SHEET, SPLIT

from workflow_scripts.lib import clinical, doctor, flow

ROW = {"patient_id": "A", "status": "listed", "mpp": None}


def sheet_of(*files) -> pd.DataFrame:
    return pd.DataFrame([{"slide_id": f"S{n}", "file": str(file)} | ROW for n, file in enumerate(files)])


def words(findings: list[doctor.Finding]) -> list[str]:
    return [f"{finding.state} {finding.subject}: {finding.words}" for finding in findings]


@pytest.fixture
def healthy(tmp_path, shared_data):
    file = tmp_path / "healthy.svs"
    file.write_bytes((shared_data / "slides" / "CMU-1-Small-Region.svs").read_bytes())
    return file


def test_slides_that_are_absent_are_downloaded_or_excluded(tmp_path):
    sheet = sheet_of(tmp_path / "a.svs", tmp_path / "b.svs")
    asked = {"target_mpp": 0.5, "configured_mpp": None}
    found = doctor.examine_slides(sheet, downloaded_to="results/x/slides", **asked)
    assert words(found) == ["ok slides: 0 of 2 are here", "note slides: 2 will be downloaded to results/x/slides"]
    found = doctor.examine_slides(sheet, downloaded_to=None, **asked)
    assert words(found) == ["error slides: 0 of 2 are here", "warning slides: 2 are not here and will be excluded"]


def test_slides_that_will_be_excluded_are_counted_by_reason_before_the_run(tmp_path, healthy, shared_data):
    broken = tmp_path / "broken.svs"
    broken.write_text("no slide")
    no_mpp = shared_data / "slides" / "TCGA-CR-7395-01A-01-TS1.svs"
    sheet = sheet_of(healthy, broken, no_mpp, no_mpp)
    found = words(doctor.examine_slides(sheet, target_mpp=0.5, configured_mpp=None, downloaded_to=None))
    assert found == [
        "ok slides: 4 of 4 are here",
        "warning slides: 2 slides will be excluded: no µm/px in the file and none configured (as S2)",
        "warning slides: 1 slide will be excluded: "
        "cannot be opened: not a slide, cut short, or of an unsupported format (as S1)",
    ]
    found = words(doctor.examine_slides(sheet, target_mpp=0.5, configured_mpp=0.5, downloaded_to=None))
    assert len(found) == 2


def test_photographs_are_slides_of_a_cohort_that_has_them(tmp_path):
    Image.new("RGB", (90, 90)).save(tmp_path / "a.jpg")
    Image.new("L", (90, 90)).save(tmp_path / "grey.png")
    sheet = sheet_of(tmp_path / "a.jpg", tmp_path / "grey.png")
    asked = {"target_mpp": 0.5, "configured_mpp": 0.4, "downloaded_to": None}
    assert words(doctor.examine_slides(sheet, photographs=True, **asked)) == [
        "ok slides: 2 of 2 are here",
        "warning slides: 1 slide will be excluded: grey, expected colour (RGB) of 8 bits (as S1)",
    ]
    assert "2 slides will be excluded: cannot be opened: not a slide" in words(doctor.examine_slides(sheet, **asked))[1]


def test_patients_without_expression_survival_or_dx1_and_missing_traits_are_named():
    labels = {"one": LABELS, "two": LABELS.assign(tier="unlabelled", label=pd.array([None] * 5, "Int64"))}
    counts = flow.cohort_flow(SHEET, SPLIT, labels, CLINICAL)
    traits = flow.trait_flow(SPLIT, labels, missing={"CD24": "in no table"}, cohort="ours")
    described = clinical.describe(CLINICAL.assign(Age=["50", "", "", ""]), covariates=["Age"], categories=[])
    assert words(doctor.examine_patients(counts, traits, described)) == [
        "ok patients: 4 patients with 5 slides",
        "note list: excluded lines (sheet.tsv says why): 3",
        "ok expression: patients without a value of any trait: 0",
        "note survival: patients without time or event: 2",
        "note DX1: patients without a DX1 slide: 1",
        "warning traits: two: 5 slides without a value (100%)",
        "note traits: CD24 is not run: in no table",
        "note clinical: time, event: known of 3 of 4 patients",
        "warning clinical: Age: known of 1 of 4 patients",
    ]


def test_the_estimate_grows_with_the_slides_bytes_and_the_tiles_area(tmp_path):
    (tmp_path / "a.svs").write_bytes(b"x" * 1_000_000)
    sheet = sheet_of(tmp_path / "a.svs", tmp_path / "b.svs", tmp_path / "c.svs")
    asked = {"tile_px": 512, "mpp": 0.5, "traits": 2, "rounds": 5, "chunks": 4, "figures": 9}
    asked["folder_of_stores"] = tmp_path / "tiles"
    found = doctor.estimate(sheet, {"b.svs": 1_000_000_000}, is_downloaded=True, **asked)
    assert (found.slide_bytes, found.download_bytes, found.models) == (1_001_000_000, 1_000_000_000, 10)
    # 191 mm² of tissue per GB in tiles of 0.256 mm; 0.57 bytes per px.
    assert found.tiles == round(1.001 * 191 / 0.256**2) == 2917
    assert found.store_bytes == round(2917 * 512**2 * 0.57)
    assert found.jobs == {"downloads": 2, "tiling": 3, "training": 10, "predictions": 4, "figures and tables": 9}
    finer = doctor.estimate(sheet, {"b.svs": 1_000_000_000}, is_downloaded=True, **asked | {"tile_px": 256})
    assert finer.tiles == pytest.approx(4 * found.tiles, abs=4)
    here = doctor.estimate(sheet, {"b.svs": 1_000_000_000}, is_downloaded=False, **asked)
    assert (here.slide_bytes, here.download_bytes, here.jobs["downloads"]) == (1_000_000, 0, 0)
    # What was tiled is done.
    (tmp_path / "tiles").mkdir()
    (tmp_path / "tiles" / "S1.h5").touch()
    rest = doctor.estimate(sheet, {"b.svs": 1_000_000_000}, is_downloaded=True, **asked)
    assert (rest.slide_bytes, rest.download_bytes, rest.jobs["tiling"]) == (1_000_000, 0, 2)


def test_a_disk_that_is_too_small_is_an_error_before_the_first_byte(tmp_path):
    small = doctor.Estimate(1, 0, 1, 1000, 1, {})
    huge = doctor.Estimate(1, 10**18, 1, 1000, 1, {})
    assert doctor.examine_disk(tmp_path, [small], kept=True).state == "ok"
    assert doctor.examine_disk(tmp_path, [small, huge], kept=True).state == "error"
    # Slides that are deleted when they are tiled do not add up.
    assert doctor.examine_disk(tmp_path, [small, huge], kept=False).state == "ok"


def test_a_machine_without_a_gpu_is_a_warning_unless_slurm_has_some(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert "warning GPU: none: inception_v3 will train on CPUs" in words(
        doctor.examine_machine(gpus=0, backbone="inception_v3")
    )
    assert "ok GPU: 2 visible" in words(doctor.examine_machine(gpus=2, backbone="inception_v3"))
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/sbatch")
    found = doctor.examine_machine(gpus=0, backbone="inception_v3")
    assert not [finding for finding in found if finding.state in ("warning", "error")]


def test_a_sister_studys_cohort_is_its_slides_alone(tmp_path):
    Image.new("RGB", (90, 90)).save(tmp_path / "a.png")
    sheet = sheet_of(tmp_path / "a.png", tmp_path / "b.png").assign(reason="")
    sheet.to_csv(tmp_path / "sheet.tsv", sep="\t", index=False)
    tables = dict.fromkeys(("path_to_flow", "path_to_traits", "path_to_clinical", "path_to_manifest", "downloaded_to"))
    asked = {"title": "Photographs", "photographs": True, "configured_mpp": 1.0, "tile_px": 64, "mpp": 1.0}
    counts = {"traits": 0, "rounds": 5, "chunks": 4, "figures": 0}
    said, found = doctor.examine_cohort(
        path_to_sheet=tmp_path / "sheet.tsv", folder_of_stores=tmp_path, **tables, **asked, **counts
    )
    assert said.splitlines()[:3] == [
        "Photographs",
        "  warning  slides  1 are not here and will be excluded",
        "  ok       slides  1 of 2 are here",
    ]
    assert said.splitlines()[-1] == "  estimate jobs: 2 (downloads 0, tiling 2)"
    assert found.models == 0


def test_weights_that_are_not_here_are_told_before_the_job_that_needs_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    random = {"backbone": "resnet18", "weights": "random", "imagenet": None}
    lacking = random | {"weights": "imagenet"}
    here = lacking | {"imagenet": str(tmp_path / "mine.pth")}
    (tmp_path / "mine.pth").touch()
    assert doctor.examine_weights([random], [random]) == []
    assert words(doctor.examine_weights([here, here], [])) == [f"ok weights: resnet18 of ImageNet: {tmp_path}/mine.pth"]
    (found,) = words(doctor.examine_weights([lacking], [lacking]))
    assert found.startswith("error weights: no ImageNet weights of resnet18 on this machine")
    (found,) = words(doctor.examine_weights([random], [lacking]))
    assert found.startswith("warning weights: no ImageNet weights")


def test_what_stops_or_costs_comes_first():
    states = ("ok", "note", "error", "warning")
    text = doctor.report("Title", [doctor.Finding("subject", state, "words") for state in states], ["disk: 1 B"])
    assert [line.split()[0] for line in text.splitlines()] == ["Title", "error", "warning", "note", "ok", "estimate"]
