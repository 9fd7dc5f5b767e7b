"""A cohort's slides come from the portal by name, or say in their place why they do not."""

from pathlib import Path

import pandas as pd
import pytest
from gdc_server import GdcServer, gdc_file

from workflow_scripts.lib import downloads, files, slide_files, slides
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.web import Patience

QUICK = Patience(attempts=2, first_wait_s=0.001, longest_wait_s=0.002, stall_s=2)
NAMES = [f"TCGA-AA-000{n}-01Z-00-DX1.X.svs" for n in range(1, 5)]


@pytest.fixture
def portal():
    with GdcServer(*(gdc_file(name, 1000 * (n + 1)) for n, name in enumerate(NAMES))) as server:
        yield server


def write_sheet(path: Path, folder: Path, portal: GdcServer, *, names=NAMES, excluded=()) -> Path:
    md5 = {file.name: file.md5 for file in portal.files}
    rows = [
        {"slide_id": Path(name).stem, "file": str(folder / name), "md5": md5.get(name, "0" * 32)}
        | {"status": "excluded" if name in excluded else "listed"}
        for name in names
    ]
    files.write_table(pd.DataFrame(rows), path)
    return path


def resolved(tmp_path, portal, **changes) -> pd.DataFrame:
    sheet = write_sheet(tmp_path / "sheet.tsv", tmp_path / "here", portal, **changes)
    files.write_table(slide_files.resolve(sheet, api=portal.url, patience=QUICK), tmp_path / "files.tsv")
    return slide_files.read(tmp_path / "files.tsv")


def test_listed_slides_are_found_by_name_with_todays_id(tmp_path, portal):
    found = resolved(tmp_path, portal, excluded=NAMES[:1])
    assert found["filename"].tolist() == NAMES[1:]
    assert found["id"].tolist() == [file.id for file in portal.files[1:]]
    assert found["size"].tolist() == [2000, 3000, 4000]
    assert (found["problem"] == "").all()


def test_a_portal_that_has_none_of_the_slides_is_an_error_and_not_an_empty_cohort(tmp_path, portal):
    with pytest.raises(InputError, match=r"expected slides that the GDC has, found none among 1; the first: TCGA-BB"):
        resolved(tmp_path, portal, names=["TCGA-BB-0001-01Z-00-DX1.X.svs"])


def test_a_slide_arrives_whole_and_a_line_says_how_far_the_cohort_is(tmp_path, portal):
    found = resolved(tmp_path, portal)
    path = tmp_path / "cohort" / "slides" / NAMES[1]
    line = slide_files.download(path, found, run_began_s=0, api=portal.url, patience=QUICK)
    assert path.read_bytes() == portal.files[1].body
    assert line.startswith("downloads: 1 of 4 files, 2.0 kB of 10.0 kB")


def test_a_slide_that_the_portal_does_not_have_gets_a_stand_in_that_is_refused_with_the_reason(tmp_path, portal):
    lost = portal.files.pop()
    found = resolved(tmp_path, portal)
    path = tmp_path / "slides" / lost.name
    line = slide_files.download(path, found, run_began_s=0, api=portal.url, patience=QUICK)
    assert line == f"{lost.name}: not downloaded: the GDC has no open file of this name"
    with pytest.raises(slides.SlideRefused, match=r"^the GDC has no open file of this name$"), slides.open_slide(path):
        pass


def test_a_slide_that_is_there_and_does_not_come_is_an_error_and_no_file(tmp_path, portal):
    found = resolved(tmp_path, portal)
    portal.faults.extend(["500"] * 2)
    path = tmp_path / "slides" / NAMES[0]
    with pytest.raises(InputError, match=NAMES[0]):
        slide_files.download(path, found, run_began_s=0, api=portal.url, patience=QUICK)
    assert not path.exists()


def test_a_slide_that_was_not_looked_up_says_what_to_delete(tmp_path, portal):
    found = resolved(tmp_path, portal, names=NAMES[:2])
    path = tmp_path / "results" / "brca" / "slides" / NAMES[3]
    with pytest.raises(InputError, match=r"found it 0 times\. Delete .*results/brca/input/gdc_files\.tsv"):
        slide_files.download(path, found, run_began_s=0, api=portal.url, patience=QUICK)


@pytest.mark.parametrize(("kept", "needed"), [(True, 2000 + 3000 + 4000), (False, 4000 + 3000 + 2000)])
def test_room_is_asked_for_what_is_still_to_come(tmp_path, portal, monkeypatch, kept, needed):
    found = resolved(tmp_path, portal)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / NAMES[0]).write_bytes(b"a slide of the user's own")
    asked = []
    monkeypatch.setattr(downloads, "check_disk", lambda path, amount: asked.append((path, amount)))
    slide_files.check_disk(found, tmp_path / "sheet.tsv", tmp_path / "slides", kept=kept, at_once=4)
    assert asked == [(tmp_path / "slides", needed)]


def test_slides_that_are_not_kept_need_room_for_the_largest_of_them_alone(tmp_path, portal, monkeypatch):
    found, asked = resolved(tmp_path, portal), []
    monkeypatch.setattr(slide_files, "WAITING_TO_BE_TILED", 2)
    monkeypatch.setattr(downloads, "check_disk", lambda path, amount: asked.append(amount))
    slide_files.check_disk(found, tmp_path / "sheet.tsv", tmp_path / "slides", kept=False, at_once=1)
    assert asked == [4000 + 3000]


def test_a_slide_that_went_when_it_was_tiled_has_arrived(tmp_path, portal):
    found = resolved(tmp_path, portal)
    (tmp_path / "tiles").mkdir()
    (tmp_path / "tiles" / f"{Path(NAMES[0]).stem}.h5").touch()
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / NAMES[1]).touch()
    line = slide_files.progress(found, tmp_path / "slides", run_began_s=0, now_s=10)
    assert line.startswith("2 of 4 files, 3.0 kB of 10.0 kB")
