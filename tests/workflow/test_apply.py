"""Trained models applied to slides alone give the maps that the chain gives for the same slides."""

import shutil

import pytest
import yaml

from workflow_scripts.lib import cartography, files, planning

OVERLAY = {
    "study": {"cohorts": ["new"]},
    "cohorts": {"new": {"title": "New", "slides": {"folder": "new_slides"}, "models": "results/mini/models"}},
}


@pytest.fixture
def applied(copy):
    """A copy of the finished checkout with three of its slides in a folder of their own, to be applied to."""
    listed = planning.usable_files(copy.folder / "results" / "mini" / "sheet.tsv")
    (copy.folder / "new_slides").mkdir()
    for slide in list(listed)[:3]:
        shutil.copyfile(copy.folder / listed[slide], copy.folder / "new_slides" / f"{slide}.svs")
    (copy.folder / "apply.yaml").write_text(yaml.safe_dump(OVERLAY))
    return copy


@pytest.mark.slow
def test_maps_and_hti_of_applied_models_are_those_of_the_chain(applied):
    run = applied.snakemake(overlay="apply.yaml")
    assert run.returncode == 0, run.stdout
    results = applied.folder / "results"
    maps = cartography.maps_in(results / "new" / "maps")
    assert len(maps) == 3
    for path in maps:
        assert path.read_bytes() == (results / "mini" / "maps" / path.name).read_bytes()
    new, old = (files.read_table(results / cohort / "hti.tsv", text=["slide_id", "flag"]) for cohort in ("new", "mini"))
    shared = old[old["slide_id"].isin(new["slide_id"])].reset_index(drop=True)
    assert new[["slide_id", "hti", "p"]].equals(shared[["slide_id", "hti", "p"]])


def test_models_that_are_not_whole_are_refused_before_anything_runs(applied):
    (applied.folder / "results/mini/models/tumour_filter/weights.safetensors").unlink()
    run = applied.snakemake("--dry-run", overlay="apply.yaml")
    assert run.returncode != 0
    assert "1 files of the models are missing, the first of them tumour_filter/weights.safetensors" in run.stdout
