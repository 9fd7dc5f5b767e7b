"""A cohort whose inputs are places on the portals is fetched by the run, and is the cohort that lay on the disk."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from checkouts import MINI, REPOSITORY, Checkout
from gdc_server import GdcFile, GdcServer, gdc_file

TARGET = "results/mini/slides.tsv"
TABLES = {"mrna": "mrna.geneExp.tsv", "mirna": "mirna.csv"}


@contextmanager
def portal_of(finished: Checkout) -> Iterator[GdcServer]:
    """A portal that holds the mini cohort's inputs: its slides under new ids, its tables, and its clinical file."""
    inputs = finished.folder / "results" / "mini" / "input"
    slides = [
        gdc_file(file.name, file.read_bytes(), project="TCGA-MINI") for file in sorted(inputs.glob("slides/*.svs"))
    ]
    tables = [gdc_file(name, (inputs / name).read_bytes(), strategy="RNA-Seq") for name in TABLES.values()]
    with GdcServer(*slides, *tables) as server:
        server.answers["/hub/mini_study/data_clinical_patient.txt"] = (inputs / "clinical.tsv").read_bytes()
        yield server


@pytest.fixture
def portal(finished):
    with portal_of(finished) as server:
        yield server


@pytest.fixture(scope="module")
def arrived(finished, tmp_path_factory):
    """A portal, and a checkout in which the cohort was fetched from it. Tests change copies only."""
    with portal_of(finished) as server:
        checkout = Checkout(REPOSITORY).copy_to(tmp_path_factory.mktemp("arrived") / "checkout", with_results=False)
        configure(checkout, server)
        run = checkout.snakemake(TARGET)
        assert run.returncode == 0, run.stdout
        yield server, checkout


@pytest.fixture
def fetched(portal, tmp_path) -> Checkout:
    """A checkout without any input, whose mini cohort is to be fetched from the portal."""
    checkout = Checkout(REPOSITORY).copy_to(tmp_path / "checkout", with_results=False)
    configure(checkout, portal)
    return checkout


def configure(checkout: Checkout, portal: GdcServer, **downloads) -> None:
    path = checkout.folder / MINI
    content = yaml.safe_load((REPOSITORY / MINI).read_text())
    cohort = content["cohorts"]["mini"]
    ids = {file.name: file.id for file in portal.files}
    cohort["slides"] = {"manifest": "gdc:TCGA-MINI", "download": True}
    cohort["expression"] = {kind: f"gdc:{ids[name]}/{name}" for kind, name in TABLES.items()}
    cohort["clinical"] = "cbioportal:mini_study"
    del cohort["truth"], cohort["annotations"], cohort["tumour_filter"]
    patience = {"attempts": 2, "stall_s": 10}
    content["downloads"] = {"gdc": portal.url, "cbioportal": f"{portal.url}/hub", "patience": patience} | downloads
    path.write_text(yaml.safe_dump(content))


def slides_of(portal: GdcServer) -> list[GdcFile]:
    return [file for file in portal.files if file.project == "TCGA-MINI"]


def made(checkout: Checkout) -> dict[str, bytes]:
    """What a run made of the inputs: splits, labels and tile stores, by path."""
    results = checkout.folder / "results" / "mini"
    found = [results / "splits.tsv", *results.glob("labels/*.tsv"), *results.glob("tiles/*.h5")]
    return {str(path.relative_to(results)): path.read_bytes() for path in sorted(found)}


def test_the_cohort_that_is_fetched_is_the_cohort_that_lay_here(finished, arrived):
    portal, fetched = arrived
    assert made(fetched) == made(finished)
    # The manifest is pinned, with what was asked and when.
    pin = json.loads((fetched.folder / "results/mini/input/gdc_manifest.json").read_text())
    assert (pin["n_files"], pin["data_release"]) == (8, portal.release)
    assert len(portal.data_requests()) == 8 + len(TABLES)
    assert fetched.planned(TARGET) == {}


def test_code_and_the_ways_of_transfer_are_no_reason_to_fetch_again(arrived, tmp_path):
    portal, fetched = arrived[0], arrived[1].copy_to(tmp_path / "copy", with_results=True)
    fetched.edit("workflow_scripts/lib/gdc.py", "FILES_PER_ANSWER = 1000", "FILES_PER_ANSWER = 999")
    fetched.edit("workflow_scripts/lib/downloads.py", "FRESH_STARTS = 2", "FRESH_STARTS = 3")
    configure(fetched, portal, at_once=1, patience={"attempts": 3, "stall_s": 20})
    assert fetched.planned(TARGET) == {}


@pytest.mark.slow
def test_slides_that_are_not_kept_go_when_they_are_tiled_and_come_again_when_they_are_needed(finished, portal, fetched):
    configure(fetched, portal, keep_slides=False)
    assert fetched.snakemake(TARGET).returncode == 0
    assert list((fetched.folder / "results/mini/slides").iterdir()) == []
    assert made(fetched) == made(finished)
    assert fetched.planned(TARGET) == {}
    fetched.edit(MINI, "tile_px: 64", "tile_px: 128")
    assert fetched.planned(TARGET) == {"tile_slide": 8, "list_slides": 1}
    before = len(portal.data_requests())
    assert fetched.snakemake(TARGET).returncode == 0
    assert len(portal.data_requests()) - before == 8


@pytest.mark.slow
def test_a_change_of_the_list_and_of_a_stage_are_both_followed_in_one_run(arrived, tmp_path):
    portal, fetched = arrived[0], arrived[1].copy_to(tmp_path / "copy", with_results=True)
    # The one of eight without which every set still has both classes.
    out = slides_of(portal)[7].name
    content = yaml.safe_load((fetched.folder / MINI).read_text())
    content["cohorts"]["mini"]["slides"]["exclude"] = {out: "of another study"}
    content["tiles"]["tile_px"] = 128
    (fetched.folder / MINI).write_text(yaml.safe_dump(content))
    before = len(portal.requests)
    run = fetched.snakemake(TARGET)
    assert run.returncode == 0, run.stdout
    rows = (fetched.folder / TARGET).read_text().splitlines()
    assert ["left out: of another study" in row for row in rows].count(True) == 1
    assert fetched.planned(TARGET) == {}
    # Slides that are there ask nothing of the portal.
    assert len(portal.requests) == before


@pytest.mark.slow
def test_a_slide_whose_md5_changes_in_the_list_is_downloaded_anew(arrived, tmp_path, monkeypatch):
    portal, fetched = arrived[0], arrived[1].copy_to(tmp_path / "copy", with_results=True)
    first = slides_of(portal)[0]
    again = gdc_file(first.name, first.body + b"0", project="TCGA-MINI")
    monkeypatch.setattr(portal, "files", [again if file is first else file for file in portal.files])
    manifest = fetched.folder / "results/mini/input/gdc_manifest.txt"
    manifest.write_text(manifest.read_text().replace(first.md5, again.md5))
    run = fetched.snakemake(TARGET)
    assert run.returncode == 0, run.stdout
    assert (fetched.folder / "results/mini/slides" / first.name).read_bytes() == again.body
    assert (fetched.folder / TARGET).read_text().count("\taccepted\t") == 8
    assert fetched.planned(TARGET) == {}


@pytest.mark.slow
def test_a_slide_of_ones_own_that_is_removed_after_it_was_tiled_is_not_downloaded(finished, portal, fetched):
    own = fetched.folder / "own"
    own.mkdir()
    first = slides_of(portal)[0]
    (own / first.name).write_bytes(first.body)
    fetched.edit(MINI, "download: true", "download: true\n      folder: own")
    assert fetched.snakemake(TARGET).returncode == 0
    assert not (fetched.folder / "results/mini/slides" / first.name).exists()
    (own / first.name).unlink()
    assert fetched.planned(TARGET) == {}


@pytest.mark.slow
def test_a_slide_that_the_portal_no_longer_has_is_excluded_with_that_reason(portal, fetched):
    manifest = portal.write_old_manifest(fetched.folder / "manifest.txt")
    lines = [line for line in manifest.read_text().splitlines() if not line.endswith("RNA-Seq")]
    manifest.write_text("\n".join(line for line in lines if ".svs" in line or line.startswith("id\t")) + "\n")
    fetched.edit(MINI, "manifest: gdc:TCGA-MINI", "manifest: manifest.txt")
    lost, changed = slides_of(portal)[:2]
    portal.files.remove(lost)
    portal.files[portal.files.index(changed)] = gdc_file(changed.name, b"another slide", project="TCGA-MINI")
    run = fetched.snakemake(TARGET)
    assert run.returncode == 0, run.stdout
    rows = {line.split("\t")[0]: line for line in (fetched.folder / TARGET).read_text().splitlines()}
    assert "excluded\tthe GDC has no open file of this name" in rows[Path(lost.name).stem]
    assert "excluded\tthe GDC's file has md5" in rows[Path(changed.name).stem]
    assert sum("\taccepted\t" in row for row in rows.values()) == 6


@pytest.mark.slow
def test_a_download_that_fails_is_one_clear_line_and_the_next_run_goes_on(portal, fetched):
    configure(fetched, portal, patience={"attempts": 1, "stall_s": 10})
    assert fetched.snakemake("results/mini/splits.tsv").returncode == 0
    before = len(portal.data_requests())
    portal.faults.extend(["500"])
    run = fetched.snakemake(TARGET, "--keep-going")
    assert run.returncode != 0
    assert "Traceback" not in run.stdout
    # One failed, seven are there.
    assert len(list((fetched.folder / "results/mini/slides").glob("[!.]*.svs"))) == 7
    assert fetched.snakemake(TARGET).returncode == 0
    assert len(portal.data_requests()) - before == 9


@pytest.mark.slow
def test_a_run_killed_while_it_downloads_goes_on_to_the_same_cohort(finished, portal, fetched):
    assert fetched.snakemake("results/mini/splits.tsv").returncode == 0
    portal.pause_s = 0.02
    command = [sys.executable, "-m", "snakemake", TARGET, "--cores", "2", "--configfile", MINI]
    folder = fetched.folder / "results/mini/slides"
    for wanted in (1, 4):
        run = subprocess.Popen(command, cwd=fetched.folder, start_new_session=True, stdout=-3, stderr=-3)
        while run.poll() is None and len(list(folder.glob("[!.]*.svs"))) < wanted:
            time.sleep(0.02)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    portal.pause_s = 0.0
    run = fetched.snakemake(TARGET)
    assert run.returncode == 0, run.stdout
    assert made(fetched) == made(finished)
