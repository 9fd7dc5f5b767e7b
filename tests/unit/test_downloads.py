"""A download is whole or absent, whatever server, network and process do; and it says what it did."""

import email.utils
import errno
import fcntl
import logging
import random
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from gdc_server import GdcFile, GdcServer, gdc_file

from workflow_scripts.lib import downloads, web
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.web import Patience

REPOSITORY = Path(__file__).parents[2]
A = gdc_file("TCGA-AR-A5QM-01Z-00-DX1.A9017CED.svs", 50_000)
QUICK = Patience(attempts=6, attempts_in_all=40, first_wait_s=0.002, longest_wait_s=0.02, connect_s=5, stall_s=2)
TOKEN = "eyJhbGciOiJIUzI1NiJ9.SECRET"


def fetch(server: GdcServer, file: GdcFile, path: Path, **others) -> downloads.Fetched:
    """Download a file of which size and md5 are known."""
    known = {"md5": file.md5, "size": len(file.body), "patience": QUICK}
    return downloads.fetch(server.data_url(file), path, **(known | others))


def write_part(path: Path, data: bytes, etag: str = "") -> None:
    """What a killed process leaves."""
    path.with_name(f".{path.name}.part").write_bytes(data)
    if etag:
        path.with_name(f".{path.name}.part.etag").write_text(etag)


def assert_only(path: Path, body: bytes) -> None:
    """The file is whole, and nothing else lies beside it."""
    assert path.read_bytes() == body
    assert list(path.parent.iterdir()) == [path]


def said_on_failure(error: pytest.ExceptionInfo) -> str:
    """The message of a failure, which is one line."""
    said = str(error.value)
    assert "\n" not in said
    return said


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "slides" / A.name


# One fault after another


def test_a_file_arrives_whole_with_one_request(path):
    with GdcServer(A) as server:
        fetched = fetch(server, A, path)
        assert len(server.requests) == 1
    assert fetched == downloads.Fetched(size=50_000, md5=A.md5, is_new=True)
    assert_only(path, A.body)


def test_a_file_of_no_bytes_arrives(path):
    empty = gdc_file("empty.svs", b"")
    with GdcServer(empty) as server:
        fetch(server, empty, path)
        downloads.fetch(server.data_url(empty), path, patience=QUICK)
    assert_only(path, b"")


@pytest.mark.parametrize("fault", ["cut", "stall"])
def test_after_a_break_the_rest_alone_is_asked_for(path, fault):
    with GdcServer(A) as server:
        server.faults.append(fault)
        fetch(server, A, path, patience=replace(QUICK, stall_s=0.2))
        first, second = server.data_requests()
    assert "Range" not in first
    assert second["Range"] == "bytes=25000-"
    assert second["If-Range"] == f'"{A.md5}"'
    assert_only(path, A.body)


@pytest.mark.parametrize("fault", ["500", "429", "wrong md5"])
def test_what_may_pass_is_tried_again(path, fault):
    with GdcServer(A) as server:
        server.faults.extend([fault, fault])
        fetch(server, A, path)
        assert len(server.requests) == 3
    assert_only(path, A.body)


def test_a_server_that_ignores_the_range_sends_all_anew(path):
    with GdcServer(A) as server:
        server.faults.extend(["cut", "ignore range"])
        fetch(server, A, path)
        assert len(server.requests) == 2
    assert_only(path, A.body)


def test_a_server_that_sends_another_range_than_asked_for_is_not_believed(path):
    with GdcServer(A) as server:
        server.faults.extend(["cut", "other range"])
        fetch(server, A, path, md5=None, size=None)
        assert ["Range" in headers for headers in server.data_requests()] == [False, True, False]
    assert_only(path, A.body)


def test_a_server_that_ignores_if_range_does_not_mix_two_versions(path):
    changed = gdc_file(A.name, bytes(50_000))
    path.parent.mkdir()
    write_part(path, A.body[:777], f'"{A.md5}"')
    with GdcServer(changed) as server:
        server.ignores_if_range = True
        assert fetch(server, changed, path, md5=None, size=None).md5 == changed.md5
    assert_only(path, changed.body)


def test_a_file_that_is_not_there_is_asked_for_once(path):
    with GdcServer(A) as server:
        server.faults.extend(["404"])
        with pytest.raises(
            InputError, match=r"404 \(Not Found\); tried once\. It is not there, or has a new id"
        ) as error:
            fetch(server, A, path)
        assert len(server.requests) == 1
    assert said_on_failure(error).startswith(f"{path} from {server.url}/data/{A.id}: ")
    assert list(path.parent.iterdir()) == []


def test_a_file_of_controlled_access_asks_for_a_token_and_is_asked_for_once(path, tmp_path):
    controlled = gdc_file(A.name, access="controlled")
    with GdcServer(controlled) as server:
        server.token = TOKEN
        with pytest.raises(
            InputError, match=r"403 \(Forbidden\); tried once\. It is not open to everyone: give the file"
        ):
            fetch(server, controlled, path)
        (tmp_path / "token.txt").write_text("another")
        with pytest.raises(InputError, match=r"The token in .*token\.txt may not read it or is too old"):
            fetch(server, controlled, path, token_file=tmp_path / "token.txt")
        assert len(server.requests) == 2


def test_errors_that_do_not_pass_end_in_one_line_that_says_how_often(path):
    with GdcServer(A) as server:
        server.chances = {"500": 1.0}
        with pytest.raises(
            InputError, match=r"500 \(Internal Server Error\); tried 6 times\. Run it again later"
        ) as error:
            fetch(server, A, path)
        assert len(server.requests) == QUICK.attempts
    said_on_failure(error)


@pytest.mark.parametrize(("fault", "said"), [("cut", "the transfer was cut"), ("stall", r"nothing arrived for 0\.2 s")])
def test_a_break_that_does_not_pass_keeps_what_arrived(path, fault, said):
    impatient = Patience(attempts=1, first_wait_s=0.0, stall_s=0.2)
    with GdcServer(A) as server:
        server.faults.append(fault)
        # The first attempt brought half of it, and so renewed the patience; the second brings nothing.
        server.faults.append("500")
        with pytest.raises(InputError, match=r"tried 2 times\. .*what has arrived is kept"):
            fetch(server, A, path, patience=impatient)
        server.faults.append(fault)
        with pytest.raises(InputError, match=said):
            fetch(server, A, path, patience=Patience(attempts_in_all=1, stall_s=0.2))
        fetch(server, A, path)
        assert [headers.get("Range") for headers in server.data_requests()] == [
            None, "bytes=25000-", "bytes=25000-", "bytes=37500-",
        ]  # fmt: skip
    assert_only(path, A.body)


def test_progress_renews_the_patience_and_attempts_in_all_bound_it(path):
    with GdcServer(A) as server:
        server.chances = {"cut": 1.0}
        with pytest.raises(InputError, match="the transfer was cut; tried 10 times"):
            fetch(server, A, path, patience=Patience(attempts=2, attempts_in_all=10, first_wait_s=0.001))
    # Each attempt brought half of the rest.
    assert path.with_name(f".{A.name}.part").stat().st_size == 50_000 - 50_000 // 2**10 - 1


def test_bytes_that_came_before_do_not_count_as_progress(path):
    with GdcServer(A) as server:
        server.etags = False
        server.faults.extend(["cut"] * 20)
        with pytest.raises(InputError, match="tried 4 times"):
            # Without md5 and ETag every attempt is a fresh start, and breaks off at the same place.
            downloads.fetch(server.data_url(A), path, patience=Patience(attempts=3, first_wait_s=0.001))


def test_wrong_content_is_fetched_anew_twice_and_thrown_away(path):
    with GdcServer(A) as server:
        server.chances = {"wrong md5": 1.0}
        with pytest.raises(InputError, match=f"the md5 is [0-9a-f]{{32}}, expected {A.md5}; tried 3 times") as error:
            fetch(server, A, path)
        assert ["Range" in headers for headers in server.data_requests()] == [False] * 3
    said_on_failure(error)
    assert list(path.parent.iterdir()) == []


def test_after_wrong_content_what_comes_is_progress_again(path):
    with GdcServer(A) as server:
        server.faults.extend(["cut", "cut", "wrong md5", "cut", "cut", "cut"])
        fetch(server, A, path, patience=replace(QUICK, attempts=2))
    assert_only(path, A.body)


def test_a_file_of_another_size_is_not_fetched_to_its_end(path):
    with GdcServer(A) as server, pytest.raises(InputError, match="the server has 50000 bytes, expected 49999; tried 3"):
        fetch(server, A, path, size=49_999)
    assert list(path.parent.iterdir()) == []


def test_more_bytes_than_there_are_is_wrong_content(path):
    with GdcServer(A) as server:
        server.tells_length = False
        with pytest.raises(InputError, match=r"more than 50\.0 kB arrived; tried 3 times"):
            fetch(server, A, path, size=49_999)


def test_a_body_that_the_server_compressed_is_refused(path):
    with GdcServer(A) as server:
        server.encoding = "gzip"
        with pytest.raises(InputError, match="compressed, which was not asked for; tried once"):
            fetch(server, A, path)
        assert server.data_requests()[0]["Accept-Encoding"] == "identity"


def test_a_server_that_is_not_there_is_named(path):
    with GdcServer(A) as server:
        pass
    with pytest.raises(InputError, match=r"no answer \(Connection refused\); tried 6 times") as error:
        fetch(server, A, path)
    said_on_failure(error)


@pytest.mark.parametrize("url", ["not an address", "ftp://127.0.0.1/x", "http://", "file:///etc/passwd"])
def test_what_is_no_address_of_the_web_is_refused(path, url):
    with pytest.raises(InputError, match=r"the request failed \(\w+\); tried once"):
        downloads.fetch(url, path, patience=QUICK)


def test_certificates_that_are_not_there_are_not_taken_for_a_full_disk(path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/bundle.pem")
    with pytest.raises(InputError, match=r"could not be sent .*/nowhere/bundle\.pem.*; tried once\. Check the environ"):
        downloads.fetch("https://127.0.0.1:1/x", path, patience=QUICK)


def test_a_server_that_sends_in_circles_is_given_up(path):
    with GdcServer(A) as server:
        server.redirect_to = server.url
        with pytest.raises(InputError, match=r"the request failed \(TooManyRedirects\); tried once"):
            fetch(server, A, path)


# Waiting


def test_the_wait_doubles_up_to_a_bound_and_half_of_it_is_chance():
    patience = Patience(first_wait_s=1.0, longest_wait_s=10.0)
    shortest = [web.wait_s(n, asked_s=0, patience=patience, jitter=0.0) for n in (0, 1, 2, 3, 4, 5, 500)]
    assert shortest == [0.5, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert web.wait_s(3, asked_s=0, patience=patience, jitter=0.5) == 3.0


def test_the_wait_that_a_server_asks_for_is_kept_within_bounds():
    assert web.wait_s(1, asked_s=30.0, patience=QUICK, jitter=0.0) == 30.0
    assert web.wait_s(1, asked_s=1e9, patience=QUICK, jitter=0.0) == web.LONGEST_ASKED_WAIT_S


LONG_AGO = "Thu, 01 Jan 1970 00:00:00 GMT"
FAR_YEAR = f"Thu, 01 Jan {'9' * 30} 00:00:00 GMT"


def test_a_server_may_ask_in_seconds_or_by_a_date():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    later = email.utils.format_datetime(datetime(2026, 1, 1, 0, 2, tzinfo=UTC), usegmt=True)
    assert web.asked_wait_s("7", now=now) == 7.0
    assert web.asked_wait_s(later, now=now) == 120.0
    assert [web.asked_wait_s(text, now=now) for text in ("", "soon", "-5", LONG_AGO, FAR_YEAR)] == [0.0] * 5


def test_too_many_requests_are_not_made_before_the_time_is_over(path):
    with GdcServer(A) as server:
        server.faults.append("429")
        server.retry_after = "1"
        began_s = time.monotonic()
        fetch(server, A, path)
    assert time.monotonic() - began_s >= 1.0


# What is there already


def test_what_is_whole_is_not_fetched_again(path):
    with GdcServer(A) as server:
        fetch(server, A, path)
        write_part(path, A.body[:100], '"old"')
        assert fetch(server, A, path) == downloads.Fetched(size=50_000, md5=A.md5, is_new=False)
        assert len(server.requests) == 1
    assert_only(path, A.body)


@pytest.mark.parametrize("there", [A.body[:-1], A.body[:-1] + b"?", b""])
def test_a_file_that_is_there_and_is_another_one_is_replaced(path, there):
    path.parent.mkdir()
    path.write_bytes(there)
    with GdcServer(A) as server:
        assert fetch(server, A, path).is_new
    assert_only(path, A.body)


def test_a_part_that_has_it_all_needs_no_request(path):
    path.parent.mkdir()
    write_part(path, A.body)
    with GdcServer(A) as server:
        assert fetch(server, A, path).is_new
        assert server.requests == []
    assert_only(path, A.body)


@pytest.mark.parametrize(
    "part",
    [A.body[:777], b"?" * 777, A.body + b"?", b"?" * 50_000],
    ids=["fits", "of another file", "too long", "all wrong"],
)
@pytest.mark.parametrize("etag", ["", '"another version"', '"torn', f'"{A.md5}"'])
def test_whatever_an_earlier_process_left_the_file_is_right(path, part, etag):
    path.parent.mkdir()
    write_part(path, part, etag)
    with GdcServer(A) as server:
        fetch(server, A, path)
    assert_only(path, A.body)


@pytest.mark.parametrize("part", [A.body[:777], A.body, A.body + b"?"], ids=["some", "all", "more"])
@pytest.mark.parametrize("etag", ["", '"another version"', '"torn', 'W/"weak"'])
@pytest.mark.parametrize("size", [None, 50_000])
def test_without_md5_a_part_of_unknown_version_is_not_gone_on_with(path, part, etag, size):
    wrong = bytes(len(part))
    path.parent.mkdir()
    write_part(path, wrong, etag)
    with GdcServer(A) as server:
        assert fetch(server, A, path, md5=None, size=size).md5 == A.md5
    assert_only(path, A.body)


def test_without_md5_a_part_of_the_same_version_is_gone_on_with(path):
    with GdcServer(A) as server:
        server.faults.append("cut")
        fetched = fetch(server, A, path, md5=None, size=None)
        assert [headers.get("Range") for headers in server.data_requests()] == [None, "bytes=25000-"]
    assert fetched == downloads.Fetched(size=50_000, md5=A.md5, is_new=True)
    assert_only(path, A.body)


def test_a_file_that_changes_at_the_server_is_not_mixed_of_two_versions(path):
    changed = gdc_file(A.name, bytes(50_000))
    with GdcServer(A) as server:
        server.faults.extend(["cut", "500"])
        with pytest.raises(InputError):
            fetch(server, A, path, md5=None, size=None, patience=Patience(attempts=1, first_wait_s=0.0))
        server.files = [changed]
        assert fetch(server, A, path, md5=None, size=None).md5 == changed.md5
        assert server.data_requests()[-1]["If-Range"] == f'"{A.md5}"'
    assert_only(path, changed.body)


def test_without_md5_a_file_is_fetched_anew(path):
    with GdcServer(A) as server:
        for _ in range(2):
            assert fetch(server, A, path, md5=None, size=None).is_new
        assert len(server.requests) == 2


def test_without_md5_and_length_nothing_says_that_it_is_whole(path):
    with GdcServer(A) as server:
        server.tells_length = False
        with pytest.raises(InputError, match="the server does not tell the file's size; tried once"):
            fetch(server, A, path, md5=None, size=None)
        fetch(server, A, path, size=None)
    assert_only(path, A.body)


def test_what_is_no_md5_is_refused(path):
    with pytest.raises(InputError, match="expected an md5 of 32 hexadecimal digits"):
        downloads.fetch("http://127.0.0.1:1/", path, md5="361E57", patience=QUICK)


# Several at once, and kills


def test_two_that_want_one_file_fetch_it_once(path, caplog):
    with GdcServer(A) as server, ThreadPoolExecutor(4) as pool, caplog.at_level(logging.INFO):
        server.pause_s = 0.01
        fetched = list(pool.map(lambda _: fetch(server, A, path), range(4)))
        assert len(server.requests) == 1
    assert sorted(one.is_new for one in fetched) == [False, False, False, True]
    assert "another process has it; waiting" in caplog.text
    assert_only(path, A.body)


def test_two_that_want_one_file_of_unknown_md5_do_not_write_into_each_other_s(path):
    with GdcServer(A) as server, ThreadPoolExecutor(3) as pool:
        server.pause_s = 0.005
        fetched = list(pool.map(lambda _: fetch(server, A, path, md5=None, size=None), range(3)))
    assert fetched == [downloads.Fetched(size=50_000, md5=A.md5, is_new=True)] * 3
    assert_only(path, A.body)


def test_a_file_system_without_locks_is_told_of_and_used(path, caplog, monkeypatch):
    def has_none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", has_none)
    with GdcServer(A) as server:
        fetch(server, A, path)
    assert [record.levelname for record in caplog.records if "no locks on this file system" in record.message] == [
        "WARNING"
    ]
    assert_only(path, A.body)


def test_an_interrupted_download_goes_on_where_it_was(path, monkeypatch):
    """As with Control-C; what a SIGKILL leaves is below."""
    append = downloads._Part.append

    def interrupted(part, data):
        append(part, data[:1000])
        raise KeyboardInterrupt

    with GdcServer(A) as server:
        with monkeypatch.context() as patch:
            patch.setattr(downloads._Part, "append", interrupted)
            with pytest.raises(KeyboardInterrupt):
                fetch(server, A, path)
        assert not path.exists()
        fetch(server, A, path)
        assert "Range" in server.data_requests()[-1]
    assert_only(path, A.body)


DOWNLOADER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from workflow_scripts.lib import downloads
from workflow_scripts.lib.web import Patience

lines = [line.split() for line in sys.stdin]
folder = Path(sys.argv[1])
with ThreadPoolExecutor(4) as pool:
    waiting = [
        pool.submit(downloads.fetch, url, folder / name, md5=md5, size=int(size), patience=Patience(first_wait_s=0.01))
        for url, name, md5, size in lines
    ]
for done in waiting:
    done.result()
"""


def downloading(slides: list[GdcFile], server: GdcServer, folder: Path) -> subprocess.Popen:
    """A process that downloads some slides, four at once."""
    process = subprocess.Popen([sys.executable, "-c", DOWNLOADER, folder], stdin=subprocess.PIPE, cwd=REPOSITORY)
    process.stdin.write(
        "".join(f"{server.data_url(one)} {one.name} {one.md5} {len(one.body)}\n" for one in slides).encode()
    )
    process.stdin.close()
    return process


def test_killing_the_downloader_at_any_moment_loses_nothing_that_was_whole(tmp_path):
    slides = [gdc_file(f"TCGA-AR-A5{n:02d}-01Z-00-DX1.svs", 120_000) for n in range(40)]
    rng = random.Random(0)
    kills = 0
    asked_when_whole: dict[str, int] = {}
    with GdcServer(*slides) as server:
        server.pause_s = 0.004
        while True:
            asked = len(server.requests)
            with downloading(slides, server, tmp_path) as process:
                while len(server.requests) == asked and process.poll() is None:
                    time.sleep(0.002)  # Python starts
                time.sleep(rng.uniform(0.0, 0.3))
                process.kill()
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL
            kills += 1
            for slide in slides:
                if (tmp_path / slide.name).exists():
                    assert (tmp_path / slide.name).read_bytes() == slide.body
                    asked_when_whole.setdefault(slide.id, len(server.data_requests(slide)))
        assert kills >= 3
        assert asked_when_whole == {i.id: len(server.data_requests(i)) for i in slides if i.id in asked_when_whole}
        assert any("Range" in headers for headers in server.data_requests())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {one.name: one.body for one in slides}


# The token


def everything_said(caplog: pytest.LogCaptureFixture, error: BaseException | None) -> str:
    """The log, and the texts of an exception and of those behind it."""
    said = [caplog.text]
    while error is not None:
        said += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    return "\n".join(said)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token.txt"
    path.write_text(TOKEN + "\n")
    return path


def test_the_token_is_in_no_log_no_exception_and_no_file(path, token_file, caplog):
    controlled = gdc_file(A.name, 50_000, access="controlled")
    with GdcServer(controlled) as server, caplog.at_level(logging.DEBUG):
        server.token = TOKEN
        server.faults.extend(["cut", "500"])
        fetch(server, controlled, path, token_file=token_file)
        assert [headers["X-Auth-Token"] for headers in server.data_requests()] == [TOKEN] * 3
        said = everything_said(caplog, None)
        for fault in ("cut", "stall", "500", "404", "wrong md5"):
            server.chances = {fault: 1.0}
            path.unlink(missing_ok=True)
            with pytest.raises(InputError) as error:
                fetch(
                    server, controlled, path, token_file=token_file, patience=Patience(attempts_in_all=1, stall_s=0.2)
                )
            said += everything_said(caplog, error.value)
    assert "SECRET" not in said
    written = [file for file in path.parent.rglob("*") if file.is_file()]
    assert all(b"SECRET" not in file.read_bytes() for file in written)


def test_the_token_is_read_when_it_is_used(path, token_file):
    controlled = gdc_file(A.name, access="controlled")
    with GdcServer(controlled) as server:
        server.token = "renewed"
        token_file.write_text("renewed")
        fetch(server, controlled, path, token_file=token_file)
    assert path.read_bytes() == controlled.body


def test_the_token_does_not_go_to_another_host_after_a_redirect(path, token_file):
    controlled = gdc_file(A.name, access="controlled")
    with GdcServer(controlled) as other, GdcServer(controlled) as server:
        server.redirect_to = other.url
        other.token = server.token = TOKEN
        with pytest.raises(InputError, match="403"):
            fetch(server, controlled, path, token_file=token_file)
        assert [headers.get("X-Auth-Token") for headers in server.data_requests()] == [TOKEN]
        assert [headers.get("X-Auth-Token") for headers in other.data_requests()] == [None]
        other.files = [A]
        server.files = [A]
        fetch(server, A, path, token_file=token_file)
    assert_only(path, A.body)


def test_the_token_goes_out_encrypted_or_not_at_all(path, token_file):
    with pytest.raises(InputError, match="expected an https address for a request with a token") as error:
        downloads.fetch("http://gdc.example/data/1", path, token_file=token_file, patience=QUICK)
    assert "SECRET" not in str(error.value)


@pytest.mark.parametrize(
    "content", [b"", b"  \n", b"SECRET one\nSECRET two", "SECRET\u00e9".encode(), b"SECRET\x00", b"SEC\r\nRET"]
)
def test_what_is_no_token_is_refused_without_being_quoted(path, tmp_path, content):
    (tmp_path / "token.txt").write_bytes(content)
    with GdcServer(A) as server:
        with pytest.raises(InputError, match=r"token\.txt: expected one token, a single line") as error:
            fetch(server, A, path, token_file=tmp_path / "token.txt")
        assert server.requests == []
    assert "SEC" not in str(error.value)


def test_a_token_file_that_is_not_there_is_named(path, tmp_path):
    with (
        GdcServer(A) as server,
        pytest.raises(InputError, match=r"none\.txt: expected a file with a token, found: No such"),
    ):
        fetch(server, A, path, token_file=tmp_path / "none.txt")


# The disk


def test_a_disk_that_has_the_room_is_enough(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        downloads.check_disk(tmp_path / "not" / "there yet", 1000)
    assert "1.0 kB to come" in caplog.text


def test_a_disk_without_the_room_is_an_error_before_the_start(tmp_path):
    with pytest.raises(
        InputError, match=r"slides: expected 1000000\.0 TB free for what is to be downloaded, found .*B\."
    ):
        downloads.check_disk(tmp_path / "slides", 10**18)


def test_what_is_still_to_come_is_what_is_not_there(tmp_path):
    for name, there in (("whole", 10), ("older", 7)):
        (tmp_path / name).write_bytes(bytes(there))
    write_part(tmp_path / "begun", bytes(4))
    write_part(tmp_path / "wrong", bytes(99))
    sizes = {tmp_path / name: 10 for name in ("whole", "older", "begun", "wrong", "missing")}
    assert downloads.missing_bytes(sizes) == 0 + 10 + 6 + 0 + 10


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        GdcServer(A) as server,
        pytest.raises(InputError, match=r"x\.svs: cannot be written: (Not a directory|File exists)"),
    ):
        fetch(server, A, tmp_path / "file" / "x.svs")


def test_a_full_disk_is_named_and_what_arrived_is_kept(path):
    """A limit of a file's size stands for the disk's."""
    program = (
        "import resource, signal, sys; from workflow_scripts.lib import downloads\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "downloads.fetch(sys.argv[1], sys.argv[2], md5=sys.argv[3], size=50_000)\n"
    )
    with GdcServer(A) as server:
        arguments = [sys.executable, "-c", program, server.data_url(A), path, A.md5]
        ended = subprocess.run(arguments, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert f"InputError: {path}: cannot be written: File too large" in ended.stderr
        fetch(server, A, path)
        assert int(server.data_requests()[-1]["Range"].removeprefix("bytes=").rstrip("-")) > 0
    assert_only(path, A.body)


# What is said


def test_a_long_transfer_says_how_far_it_is(path, caplog, monkeypatch):
    monkeypatch.setattr(downloads, "PROGRESS_EVERY_S", 0.02)
    with GdcServer(A) as server, caplog.at_level(logging.INFO):
        server.pause_s = 0.01
        fetch(server, A, path)
    told = re.findall(rf"{A.name}: \S+ kB of 50\.0 kB \(\d+%\), \S+ \wB/s, \d+ s left", caplog.text)
    assert 2 <= len(told) <= 12
    assert f"{A.name}: whole, 50.0 kB, md5 {A.md5}" in caplog.text


def test_a_retry_and_a_resumption_are_in_the_log(path, caplog):
    with GdcServer(A) as server, caplog.at_level(logging.INFO):
        server.faults.append("cut")
        fetch(server, A, path)
    assert re.search(rf"{A.name} from \S+: the transfer was cut; attempt 2 in 0\.0 s", caplog.text)
    assert f"{A.name}: goes on at 25.0 kB" in caplog.text


def test_a_cohort_s_line_has_files_bytes_rate_and_time_left():
    finished = [(50_000_000, 10.0), (100_000_000, 110.0), (100_000_000, 150.0)]
    line = downloads.cohort_progress(finished, files=10, size=1_000_000_000, since_s=100.0, now_s=200.0)
    assert line == "3 of 10 files, 250.0 MB of 1.0 GB (25%), 2.0 MB/s, 6 min 15 s left"


def test_a_cohort_of_which_nothing_is_there_has_no_rate():
    line = downloads.cohort_progress([], files=10, size=1000, since_s=100.0, now_s=100.0)
    assert line == "0 of 10 files, 0 B of 1.0 kB (0%), 0 B/s, time left unknown"


def test_a_cohort_that_is_whole_has_no_time_left():
    line = downloads.cohort_progress([(1000, 150.0)], files=1, size=1000, since_s=100.0, now_s=200.0)
    assert line == "1 of 1 files, 1.0 kB of 1.0 kB (100%), 10 B/s, 0 s left"


@pytest.mark.parametrize(
    ("amount", "said"),
    [(0, "0 B"), (999, "999 B"), (1234, "1.2 kB"), (771_239_000_000, "771.2 GB"), (2e15, "2000.0 TB")],
)
def test_bytes_in_words(amount, said):
    assert downloads.in_bytes(amount) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (723, "12 min 3 s"), (24_420, "6 h 47 min"), (183_600, "2 d 3 h")],
)
def test_times_in_words(seconds, said):
    assert downloads.in_time(seconds) == said
