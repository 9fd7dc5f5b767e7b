"""The GDC is asked for slides and for today's ids, and what it answers is not believed before it is checked."""

import json
import logging
import random
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import requests
from gdc_server import FAULTS, GdcFile, GdcServer, gdc_file

from workflow_scripts.lib import cohorts, files, gdc
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.web import Patience

QUICK = Patience(attempts=6, attempts_in_all=40, first_wait_s=0.002, longest_wait_s=0.02, connect_s=5, stall_s=2)


def slides(number: int, **others) -> list[GdcFile]:
    return [gdc_file(f"TCGA-AR-A{n:03d}-01Z-00-DX1.svs", 100, **others) for n in range(number)]


def query(server: GdcServer, project: str = "TCGA-BRCA") -> gdc.SlideQuery:
    return gdc.query_manifest(project, api=server.url, patience=QUICK)


def resolve(server: GdcServer, manifest: Path) -> pd.DataFrame:
    return gdc.resolve_files(cohorts.read_manifest(manifest), api=server.url, patience=QUICK)


def asked(server: GdcServer, path: str) -> int:
    """How often a path was asked for."""
    return sum(asked == path for _, asked, _ in server.requests)


def hits_of(*hits: object, total: object = None) -> bytes:
    """An answer of the `files` endpoint."""
    return json.dumps({"data": {"hits": hits, "pagination": {"total": len(hits) if total is None else total}}}).encode()


# The query for slides


def test_a_query_finds_the_open_diagnostic_slides_of_a_project_by_name():
    wanted = slides(3)
    others = [
        gdc_file("TCGA-05-4244-01Z-00-DX1.svs", project="TCGA-LUAD"),
        gdc_file("TCGA-AR-A001-01A-01-TS1.svs", strategy="Tissue Slide"),
        gdc_file("TCGA-AR-A002-01Z-00-DX2.svs", access="controlled"),
        gdc_file("TCGA-AR-A002-01Z-00-DX3.svs", told={"data_format": "TIFF"}),
    ]
    with GdcServer(*wanted[::-1], *others) as server:
        found = query(server)
    assert tuple(found.manifest.columns) == gdc.MANIFEST_COLUMNS
    assert found.manifest.to_dict("list") == {
        "id": [one.id for one in wanted],
        "filename": [one.name for one in wanted],
        "md5": [one.md5 for one in wanted],
        "size": [100] * 3,
        "state": ["released"] * 3,
    }
    assert found.data_release == "Data Release 45.0 - December 04, 2025"
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", found.date)


def test_a_long_list_comes_in_several_answers_and_is_whole(monkeypatch):
    monkeypatch.setattr(gdc, "FILES_PER_ANSWER", 10)
    many = slides(41)
    random.Random(0).shuffle(many)
    with GdcServer(*many) as server:
        found = query(server)
        assert asked(server, "/files") == 5
    assert list(found.manifest["filename"]) == sorted(one.name for one in many)


def test_the_pinned_manifest_is_the_portal_s_own_and_says_when_and_what_was_asked(tmp_path):
    with GdcServer(*slides(3)) as server:
        found = query(server)
        gdc.write_manifest(found, tmp_path / "manifest.txt", tmp_path / "manifest.json")
        ids = list(found.manifest["id"])
        portal = [
            requests.get(f"{server.url}/manifest/{','.join(ids)}", timeout=5).text,
            requests.post(f"{server.url}/manifest", json={"ids": ids}, timeout=5).text,
        ]
    assert [(tmp_path / "manifest.txt").read_text()] * 2 == portal
    assert list(cohorts.read_manifest(tmp_path / "manifest.txt")["id"]) == ids
    pin = json.loads((tmp_path / "manifest.json").read_text())
    assert pin == {
        "query": found.query,
        "api": server.url,
        "date": found.date,
        "data_release": "Data Release 45.0 - December 04, 2025",
        "n_files": 3,
    }
    assert {part["content"]["field"]: part["content"]["value"] for part in pin["query"]["content"]} == {
        "cases.project.project_id": ["TCGA-BRCA"],
        "files.data_format": ["SVS"],
        "files.experimental_strategy": ["Diagnostic Slide"],
        "files.access": ["open"],
    }


def test_the_same_files_give_the_same_manifest_in_whatever_order_they_come(tmp_path):
    for n, order in enumerate((1, -1)):
        with GdcServer(*slides(5)[::order]) as server:
            gdc.write_manifest(query(server), tmp_path / f"{n}.txt", tmp_path / f"{n}.json")
    assert (tmp_path / "0.txt").read_bytes() == (tmp_path / "1.txt").read_bytes()


def test_a_project_without_slides_is_an_error():
    with GdcServer(*slides(2)) as server, pytest.raises(InputError, match="of the project TCGA-XYZ, found none"):
        query(server, "TCGA-XYZ")


@pytest.mark.parametrize("project", ["", "TCGA BRCA", "../x", "a\nb", "*"])
def test_what_is_no_project_is_not_asked_for(project):
    with GdcServer() as server:
        with pytest.raises(InputError, match="expected a project of the GDC by its id"):
            query(server, project)
        assert server.requests == []


HOSTILE = [
    "../x.svs", "/etc/x.svs", "a/b.svs", "a\\b.svs", "..", "a\0b.svs", "a\tb.svs", "a\nb.svs", "\x1b[2J.svs",
    "-rf.svs", ".svs", "*.svs", f"{'a' * 4000}.svs", "notes.txt",
]  # fmt: skip


def test_hostile_names_in_the_portal_s_answer_never_become_lines_or_paths(tmp_path, caplog):
    good = slides(2)
    with GdcServer(*good, *(gdc_file(name) for name in HOSTILE)) as server:
        found = query(server)
    gdc.write_manifest(found, tmp_path / "manifest.txt", tmp_path / "manifest.json")
    assert list(cohorts.read_manifest(tmp_path / "manifest.txt")["filename"]) == [one.name for one in good]
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == len(HOSTILE)
    assert all(said.isprintable() and "left out" in said and len(said) < 300 for said in warned)


@pytest.mark.parametrize("release", ["", None, 45, ["45"]])
def test_a_portal_that_does_not_say_its_release_is_warned_of(release, caplog):
    with GdcServer(*slides(1)) as server:
        server.release = release
        assert query(server).data_release == ""
    assert "does not say which release" in caplog.text


@pytest.mark.parametrize("status", [b"[]", b'"OK"', b"null", b"{}"])
def test_a_status_of_another_form_has_no_release(status):
    with GdcServer(*slides(1)) as server:
        server.answers["/status"] = status
        assert gdc.data_release(api=server.url, patience=QUICK) == ""


# Answers that are not as documented


@pytest.mark.parametrize("fault", ["cut", "stall", "500", "429"])
def test_a_search_that_fails_is_tried_again(fault):
    with GdcServer(*slides(2)) as server:
        server.chances = {fault: 0.5}
        server.stall_s = 5.0
        server.seed = next(n for n in range(99) if random.Random(f"{n} /files 1").random() < 0.5)
        assert len(query(server).manifest) == 2
        assert asked(server, "/files") > 1


@pytest.mark.parametrize("content", [b"", b"<html>Maintenance</html>", b'{"data": ', b"\xff", b"[" * 200_000])
def test_an_answer_that_is_not_json_is_asked_for_again_and_then_an_error(content):
    with GdcServer() as server:
        server.answers["/files"] = content
        with pytest.raises(
            InputError, match=r"/files: the server answered something that is not JSON; tried 6 times\."
        ):
            query(server)
        assert asked(server, "/files") == 6


@pytest.mark.parametrize(
    "content",
    [
        b"[]", b"null", b"7", b"{}", b'{"data": []}', b'{"data": {"hits": {}}}', b'{"data": {"hits": []}}',
        b'{"data": {"hits": [], "pagination": []}}', hits_of(total="3"), hits_of(total=-1), hits_of(total=True),
    ],
)  # fmt: skip
def test_json_of_another_form_is_an_error_at_once(content):
    with GdcServer() as server:
        server.answers["/files"] = content
        with pytest.raises(InputError, match=r"/files: expected data\.hits and data\.pagination\.total"):
            query(server)
        assert asked(server, "/files") == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("file_id", None), ("file_id", "../x"), ("file_id", 7), ("file_id", "0" * 36), ("md5sum", None),
        ("md5sum", "A" * 32), ("md5sum", "x\n"), ("file_size", None), ("file_size", "100"), ("file_size", -1),
        ("file_size", 0), ("file_size", True), ("file_size", 1.5), ("file_name", None), ("file_name", ["a.svs"]),
        ("file_name", ""), ("state", None), ("state", "a\tb"), ("state", {}),
    ],
)  # fmt: skip
def test_a_file_with_a_field_that_is_missing_or_of_another_form_is_an_error(key, value):
    (one,) = slides(1)
    hit = {name: told for name, told in one.fields().items() if name != key} | (
        {key: value} if value is not None else {}
    )
    with GdcServer() as server:
        server.answers["/files"] = hits_of(hit)
        with pytest.raises(InputError, match=rf"files of the GDC: expected {key} \(.*\), found") as error:
            query(server)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("hit", ["text", None, 7, []])
def test_a_hit_that_is_no_file_is_an_error(hit):
    with GdcServer() as server:
        server.answers["/files"] = hits_of(hit)
        with pytest.raises(InputError, match=r"expected file_id .* and file_name"):
            query(server)


def test_fewer_files_than_there_are_said_to_be_is_an_error():
    (one,) = slides(1)
    with GdcServer() as server:
        server.answers["/files"] = hits_of(total=3)
        with pytest.raises(InputError, match="expected the 3 files that it says there are, found 0"):
            query(server)
        server.answers["/files"] = hits_of(one.fields(), total=3)
        with pytest.raises(InputError, match="the list of files changed while it was read"):
            query(server)
        server.answers["/files"] = hits_of(one.fields(), one.fields())
        with pytest.raises(InputError, match="the list of files changed while it was read"):
            query(server)


# Today's ids


def test_the_ids_of_an_old_manifest_are_dead_and_its_names_have_new_ones(tmp_path):
    old = slides(3)
    with GdcServer(*old) as server:
        manifest = server.write_old_manifest(tmp_path / "manifest.txt")
        with pytest.raises(InputError, match="404"):
            gdc.fetch_file(old[0].old_id, tmp_path / "x.svs", md5=old[0].md5, size=100, api=server.url, patience=QUICK)
        resolved = resolve(server, manifest)
    assert tuple(resolved.columns) == gdc.RESOLVED_COLUMNS
    assert resolved.to_dict("list") == {
        "filename": [one.name for one in old],
        "id": [one.id for one in old],
        "md5": [one.md5 for one in old],
        "size": [100] * 3,
        "problem": [""] * 3,
    }


def test_names_are_asked_for_in_batches(tmp_path):
    many = slides(250)
    with GdcServer(*many) as server:
        resolved = resolve(server, server.write_old_manifest(tmp_path / "manifest.txt"))
        assert asked(server, "/files") == 3
        assert len(server.requests) == 3
    assert list(resolved["id"]) == [one.id for one in many]


def test_of_several_files_of_a_name_the_md5_decides(tmp_path):
    name = slides(1)[0].name
    other, first, second = (
        gdc_file(name, body, id=f"{n}" * 8 + "-0000-4000-8000-" + "0" * 12)
        for n, body in enumerate([b"x", 100, 100], 1)
    )
    with GdcServer(first) as server:
        manifest = server.write_old_manifest(tmp_path / "manifest.txt")
        server.files = [second, other, first]
        resolved = resolve(server, manifest)
    assert resolved[["id", "md5", "problem"]].values.tolist() == [[first.id, first.md5, ""]]


def test_a_name_that_is_gone_is_closed_or_has_another_content_is_told_of(tmp_path, caplog):
    gone, closed, changed, there = slides(4)
    with GdcServer(gone, closed, changed, there) as server, caplog.at_level(logging.INFO):
        manifest = server.write_old_manifest(tmp_path / "manifest.txt")
        now = gdc_file(changed.name, b"another scan")
        server.files = [gdc_file(closed.name, 100, access="controlled"), now, there]
        resolved = resolve(server, manifest)
    assert list(resolved["problem"]) == [
        "the GDC has no open file of this name",
        "the GDC has no open file of this name",
        f"the GDC's file has md5 {now.md5}, the manifest {changed.md5}",
        "",
    ]
    assert list(resolved["id"]) == ["", "", "", there.id]
    assert resolved["size"].isna().tolist() == [True, True, True, False]
    assert "1 files found by name, 3 not" in caplog.text


def test_a_manifest_without_md5_takes_the_only_file_of_a_name(tmp_path):
    one, two = slides(2)
    manifest = tmp_path / "manifest.txt"
    manifest.write_text(f"filename\tmd5\n{one.name}\t\n{two.name}\t\n")
    with GdcServer(one, two, gdc_file(two.name, b"x", id=one.old_id)) as server:
        resolved = resolve(server, manifest)
    assert list(resolved["id"]) == [one.id, ""]
    assert "the manifest does not say which" in resolved["problem"][1]


def test_hostile_lines_of_a_manifest_are_refused_one_by_one_and_not_asked_for(tmp_path):
    good = slides(2)
    names = [
        good[0].name,
        *(name for name in HOSTILE if "\t" not in name and "\n" not in name),
        good[0].name,
        good[1].name,
    ]
    manifest = tmp_path / "manifest.txt"
    manifest.write_bytes("".join(["filename\tmd5\n", *(f"{name}\t{good[0].md5}\n" for name in names[:-1])]).encode())
    with open(manifest, "a") as lines:
        lines.write(f"{names[-1]}\t{good[1].md5}\n{good[1].name}\tno-md5\n")
    sent = []
    with GdcServer(*good) as server:
        found = server.found
        server.found = lambda asked: sent.append(asked) or found(asked)
        resolved = resolve(server, manifest)
    assert list(resolved["id"][resolved["problem"] == ""]) == [one.id for one in good]
    refused = resolved[resolved["problem"] != ""]
    assert [said.partition(":")[0] for said in refused["problem"]] == [
        f"line {n}" for n in [*range(3, len(names) + 1), len(names) + 2]
    ]
    assert "line 15: the name was there in line 2" in set(refused["problem"])
    assert refused["filename"].str.fullmatch(r"[ -~]{0,100}").all()
    assert set(refused["id"]) == {""}
    (only,) = sent
    assert only["filters"]["content"][0]["content"]["value"] == [one.name for one in good]
    files.write_table(resolved, tmp_path / "resolved.tsv")
    read = files.read_table(tmp_path / "resolved.tsv", text=("filename", "id", "md5", "problem"))
    assert list(read["problem"]) == list(resolved["problem"])


def test_names_that_were_not_asked_for_are_not_believed(tmp_path):
    (one,) = slides(1)
    with GdcServer(one) as server:
        manifest = server.write_old_manifest(tmp_path / "manifest.txt")
        server.answers["/files"] = hits_of(gdc_file("../x.svs").fields(), gdc_file("other.svs").fields(), one.fields())
        resolved = resolve(server, manifest)
    assert resolved[["filename", "id"]].values.tolist() == [[one.name, one.id]]


def test_a_manifest_without_a_usable_line_asks_nothing(tmp_path):
    manifest = tmp_path / "manifest.txt"
    manifest.write_text("filename\tmd5\n../x.svs\t\n")
    with GdcServer() as server:
        resolved = resolve(server, manifest)
        assert server.requests == []
    assert list(resolved["problem"]) == ["line 2: a path where a file name is expected"]


def test_the_published_manifests_are_resolved_name_by_name(shared_data):
    manifest = shared_data / "tcga" / "gdc_manifest_luad_PathoMCH.txt"
    lines = cohorts.read_manifest(manifest)
    told = [gdc_file(row.filename, b"", told={"md5sum": row.md5, "file_size": 5}) for row in lines.itertuples()]
    with GdcServer(*told) as server:
        resolved = resolve(server, manifest)
        assert len(server.requests) == 5
    assert set(resolved["problem"]) == {""}
    assert list(resolved["md5"]) == list(lines["md5"])
    assert list(resolved["id"]) == [one.id for one in told]


# Files


@pytest.mark.parametrize("file_id", ["", "..", "../status", "a,b", "0" * 36, "http://evil.example/"])
def test_what_is_no_id_never_becomes_an_address(tmp_path, file_id):
    with GdcServer() as server:
        with pytest.raises(InputError, match=r"expected the id of a file of the GDC"):
            gdc.fetch_file(file_id, tmp_path / "x.svs", md5="0" * 32, size=1, api=server.url)
        assert server.requests == []


@pytest.mark.parametrize("seed", range(10))
def test_with_every_fault_at_random_files_arrive_whole_or_fail_with_one_line(tmp_path, seed):
    rng = random.Random(seed)
    wanted = [gdc_file(f"TCGA-AR-{seed}{n:03d}-01Z-00-DX1.svs", rng.randrange(1, 20_000)) for n in range(200)]
    folder = tmp_path / "slides"

    def outcome(name: str, file_id: str, md5: str, size: int) -> str:
        try:
            patience = replace(QUICK, stall_s=0.2)
            gdc.fetch_file(file_id, folder / name, md5=md5, size=size, api=server.url, patience=patience)
        except InputError as error:
            return str(error)
        return "whole"

    with GdcServer(*wanted) as server, ThreadPoolExecutor(8) as pool:
        manifest = server.write_old_manifest(tmp_path / "manifest.txt")
        server.seed = seed
        server.chances = dict.fromkeys(FAULTS, 0.08) | {"404": 0.01, "stall": 0.03}
        resolved = resolve(server, manifest)
        columns = [resolved[column] for column in ("filename", "id", "md5", "size")]
        outcomes = list(pool.map(outcome, *columns))
    for slide, said in zip(wanted, outcomes, strict=True):
        if said == "whole":
            assert (folder / slide.name).read_bytes() == slide.body
        else:
            assert re.fullmatch(rf"[^\n]*{slide.name} from http[^\n]*; tried (once|\d+ times)\. [^\n]*", said)
    arrived = {slide.name for slide, said in zip(wanted, outcomes, strict=True) if said == "whole"}
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == arrived
    assert len(arrived) > 180
    print(f"seed {seed}: {len(arrived)} of {len(wanted)} arrived, {len(server.requests)} requests")
