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
def server():
    with GdcServer(*(gdc_file(name, 1000 * (n + 1)) for n, name in enumerate(NAMES))) as server:
        yield server


@pytest.fixture
def cohort(tmp_path, server) -> Path:
    """The folder of a cohort whose sheet lists the four slides, of a folder that is empty."""
    write_sheet(tmp_path / "brca", server)
    return tmp_path / "brca"


def write_sheet(cohort: Path, server: GdcServer, *, names=NAMES, excluded=(), md5=None) -> None:
    known = {file.name: file.md5 for file in server.files} | (md5 or {})
    rows = [
        {"slide_id": Path(name).stem, "file": str(cohort / "here" / name), "md5": known.get(name, "0" * 32)}
        | {"status": "excluded" if name in excluded else "listed"}
        for name in names
    ]
    files.write_table(pd.DataFrame(rows), cohort / "sheet.tsv")


def portal_of(server: GdcServer, **changes) -> slide_files.Portal:
    return slide_files.Portal(**({"api": server.url, "patience": QUICK} | changes))


def bring(cohort: Path, name: str, server: GdcServer, **changes) -> str:
    return slide_files.download(cohort / "slides" / name, portal=portal_of(server, **changes), run_began_s=0)


def look_up(cohort: Path, name: str, server: GdcServer) -> pd.Series:
    return slide_files.look_up(cohort / "slides" / name, portal=portal_of(server))


def searches(server: GdcServer) -> int:
    return sum(path == "/files" for _, path, _ in server.requests)


def table_of(cohort: Path) -> pd.DataFrame:
    return files.read_table(cohort / "input" / "gdc_files.tsv", text=["filename", "problem"]).set_index("filename")


def test_the_first_slide_looks_up_all_that_are_listed_and_the_others_ask_nothing(cohort, server):
    write_sheet(cohort, server, excluded=NAMES[:1])
    row = look_up(cohort, NAMES[1], server)
    assert (row["id"], row["size"], row["problem"]) == (server.files[1].id, 2000, "")
    assert table_of(cohort).index.tolist() == NAMES[1:]
    assert look_up(cohort, NAMES[3], server)["id"] == server.files[3].id
    assert searches(server) == 1


def test_a_slide_that_is_listed_later_is_looked_up_then_and_alone(cohort, server):
    write_sheet(cohort, server, names=NAMES[:3])
    look_up(cohort, NAMES[0], server)
    write_sheet(cohort, server)
    assert look_up(cohort, NAMES[3], server)["id"] == server.files[3].id
    assert searches(server) == 2
    assert table_of(cohort).index.tolist() == NAMES


def test_a_slide_of_another_md5_in_the_list_is_another_slide(cohort, server):
    look_up(cohort, NAMES[0], server)
    write_sheet(cohort, server, md5={NAMES[0]: "1" * 32})
    assert "the GDC's file has md5" in look_up(cohort, NAMES[0], server)["problem"]


def test_a_portal_that_has_none_of_the_slides_is_an_error_and_not_an_empty_cohort(cohort, server):
    write_sheet(cohort, server, names=["TCGA-BB-0001-01Z-00-DX1.X.svs"])
    with pytest.raises(InputError, match="expected slides that the GDC has, found none of 1; the first: TCGA-BB"):
        look_up(cohort, "TCGA-BB-0001-01Z-00-DX1.X.svs", server)


def test_a_slide_that_no_sheet_lists_is_refused(cohort, server):
    with pytest.raises(InputError, match=r"expected this slide once in .*sheet\.tsv, found it 0 times"):
        look_up(cohort, "TCGA-ZZ-0001-01Z-00-DX1.X.svs", server)


def test_a_slide_arrives_whole_and_a_line_says_how_far_the_cohort_is(cohort, server):
    line = bring(cohort, NAMES[1], server)
    assert (cohort / "slides" / NAMES[1]).read_bytes() == server.files[1].body
    assert line.startswith("downloads: 1 of 4 files, 2.0 kB of 10.0 kB")


def test_a_slide_that_the_portal_does_not_have_gets_a_stand_in_that_is_refused_with_the_reason(cohort, server):
    lost = server.files.pop()
    path = cohort / "slides" / lost.name
    assert bring(cohort, lost.name, server) == f"{lost.name}: not downloaded: the GDC has no open file of this name"
    with pytest.raises(slides.SlideRefused, match=r"^the GDC has no open file of this name$"), slides.open_slide(path):
        pass


def test_a_slide_that_the_portal_has_again_comes_in_place_of_its_stand_in(cohort, server):
    lost = server.files.pop()
    write_sheet(cohort, server, md5={lost.name: lost.md5})
    bring(cohort, lost.name, server)
    server.files.append(lost)
    bring(cohort, lost.name, server)
    assert (cohort / "slides" / lost.name).read_bytes() == lost.body


def test_a_slide_that_is_there_and_does_not_come_is_an_error_and_no_file(cohort, server):
    look_up(cohort, NAMES[0], server)
    server.faults.extend(["500"] * 2)
    with pytest.raises(InputError, match=NAMES[0]):
        bring(cohort, NAMES[0], server)
    assert not (cohort / "slides" / NAMES[0]).exists()


def test_an_id_that_is_reissued_after_it_was_looked_up_costs_one_attempt(cohort, server):
    look_up(cohort, NAMES[0], server)
    old = server.files[0]
    server.files[0] = gdc_file(old.name, old.body, id="11111111-1111-1111-1111-111111111111")
    with pytest.raises(InputError, match="404"):
        bring(cohort, NAMES[0], server)
    bring(cohort, NAMES[0], server)
    assert (cohort / "slides" / NAMES[0]).read_bytes() == old.body


def test_a_slide_that_is_not_kept_is_there_for_the_block_alone(cohort, server):
    path = cohort / "slides" / NAMES[0]
    with slide_files.brought(path, portal=portal_of(server), run_began_s=0) as slide:
        assert Path(slide).read_bytes() == server.files[0].body
    assert not path.exists()


def test_a_slide_stays_after_an_error_and_is_not_brought_again(cohort, server):
    path = cohort / "slides" / NAMES[0]
    with pytest.raises(ZeroDivisionError), slide_files.brought(path, portal=portal_of(server), run_began_s=0):
        raise ZeroDivisionError
    with slide_files.brought(path, portal=portal_of(server), run_began_s=0):
        pass
    assert len(server.data_requests()) == 1


@pytest.mark.parametrize(("kept", "needed"), [(True, 3000 + 4000), (False, 4000)])
def test_room_is_asked_for_what_is_still_to_come(cohort, server, monkeypatch, kept, needed):
    (cohort / "here").mkdir()
    (cohort / "here" / NAMES[0]).write_bytes(b"a slide of the user's own")
    (cohort / "tiles").mkdir()
    (cohort / "tiles" / f"{Path(NAMES[1]).stem}.h5").touch()
    asked = []
    monkeypatch.setattr(downloads, "check_disk", lambda path, amount: asked.append((path, amount)))
    bring(cohort, NAMES[2], server, keep_slides=kept, at_once=1)
    assert asked == [(cohort / "slides", needed)]


def test_a_slide_that_went_when_it_was_tiled_has_arrived(cohort, server):
    look_up(cohort, NAMES[0], server)
    (cohort / "tiles").mkdir()
    (cohort / "tiles" / f"{Path(NAMES[0]).stem}.h5").touch()
    (cohort / "slides").mkdir()
    (cohort / "slides" / NAMES[1]).touch()
    line = slide_files.progress(cohort / "slides" / NAMES[0], run_began_s=0, now_s=10)
    assert line.startswith("2 of 4 files, 3.0 kB of 10.0 kB")
