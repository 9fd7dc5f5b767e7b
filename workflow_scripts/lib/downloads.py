"""Files from the web: whole or absent, resumed after a break, checked, and one process at a time.

What has arrived of `folder/name` lies in `folder/.name.part` until it is whole, and stays there when the process is
killed, so that the next one goes on from there. That is why `files.writing` is not used, which removes what is partial.
`folder/.name.part.etag` says which version of the file at the server the part is of, where the server tells.
"""

import errno
import fcntl
import hashlib
import http
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import requests

from workflow_scripts.lib import web
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import writing
from workflow_scripts.lib.web import PATIENCE, Broken, Patience, Refused

log = logging.getLogger(__name__)

# How often a file whose content is wrong is fetched again from its first byte.
FRESH_STARTS = 2
# Time between two lines of progress, in s.
PROGRESS_EVERY_S = 30.0
# What a file system without locks answers.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@dataclass(frozen=True)
class Fetched:
    """A file that is in its place: its size in bytes and its md5, and whether this call brought it."""

    size: int
    md5: str
    is_new: bool


def fetch(
    url: str,
    path: str | Path,
    *,
    md5: str | None = None,
    size: int | None = None,
    token_file: str | Path | None = None,
    patience: Patience = PATIENCE,
) -> Fetched:
    """Download `url` to `path`, which appears when it is whole: of `size` bytes and with `md5`, where they are given.

    Without an md5 a file is whole when it has the size that the server tells, and is fetched again even if it is there.
    What is there with the right size and md5 is left alone. A download that broke off, here or in an earlier process,
    goes on where it stopped; from its first byte again when the server cannot do that, when the part is of another
    version, or, without md5, when the versions cannot be told apart. Wrong content is fetched anew FRESH_STARTS times.
    Another process that downloads the same file is waited for. The token, if any, goes to the host of `url` alone.

    Raises InputError, in one line, when the file cannot be had or written; what has arrived is kept for the next call.
    """
    if md5 is not None and not re.fullmatch(r"[0-9a-f]{32}", md5):
        raise InputError(f"{path}: expected an md5 of 32 hexadecimal digits in lower case, found {md5!r}.")
    path = Path(path)
    with _naming_in_errors(path), held_alone(_part_of(path)) as file:
        if md5 is not None and _is_whole(path, md5=md5, size=size):
            log.info("%s: whole already", path.name)
            _discard(path)
            return Fetched(size=path.stat().st_size, md5=md5, is_new=False)
        part = _Part(file, path)
        transfer = _Transfer(url, path.name, part, md5=md5, size=size, token_file=token_file, patience=patience)
        try:
            web.patiently(
                transfer.attempt,
                what=f"{path} from {url}",
                advice="Run it again later; what has arrived is kept.",
                patience=patience,
            )
        finally:
            part.leave()
        found = Fetched(size=part.length, md5=part.md5, is_new=True)
        os.replace(_part_of(path), path)
        _etag_of(path).unlink(missing_ok=True)
    log.info("%s: whole, %s, md5 %s", path.name, in_bytes(found.size), found.md5)
    return found


def fetch_and_pin(
    url: str,
    path: str | Path,
    path_to_pin: str | Path,
    *,
    token_file: str | Path | None = None,
    patience: Patience = PATIENCE,
) -> None:
    """Download a file whose md5 nobody has told, see `fetch`, and write a JSON of what came: url, date, size, md5."""
    found = fetch(url, path, token_file=token_file, patience=patience)
    pin = {"url": url, "date": datetime.now(UTC).date().isoformat(), "size": found.size, "md5": found.md5}
    with writing(path_to_pin) as partial:
        partial.write_text(json.dumps(pin, indent=2) + "\n", encoding="utf-8")


def missing_bytes(sizes: Mapping[Path, int]) -> int:
    """How many bytes of some files are still to come: all of their `sizes` but files of that size, and parts."""
    return sum(size - _present_bytes(path, size) for path, size in sizes.items())


def check_disk(path: str | Path, needed_bytes: int) -> None:
    """Raise InputError unless the disk of `path`, a folder that need not be there yet, has `needed_bytes` free.

    A quota is not seen; neither is what others write meanwhile.
    """
    there = next(folder for folder in [Path(path), *Path(path).absolute().parents] if folder.is_dir())
    free = shutil.disk_usage(there).free
    log.info("%s: %s to come, %s free", path, in_bytes(needed_bytes), in_bytes(free))
    if needed_bytes > free:
        raise InputError(
            f"{path}: expected {in_bytes(needed_bytes)} free for what is to be downloaded, found {in_bytes(free)}. "
            "Free some of the disk, or put the folder on another one."
        )


def cohort_progress(
    finished: Iterable[tuple[int, float]], *, files: int, size: int, since_s: float, now_s: float
) -> str:
    """One line on a cohort: files, bytes, rate, time left. `finished` has each file's bytes and when it finished (s).

    `files` and `size` (bytes) are the cohort's. The rate is that since `since_s`, when this run began: what was there
    before counts as done and not as fast.
    """
    found = list(finished)
    done = sum(amount for amount, _ in found)
    lately = sum(amount for amount, at_s in found if at_s >= since_s)
    return f"{len(found)} of {files} files, {_progress(done, size, brought=lately, seconds=now_s - since_s)}"


def in_bytes(amount: float) -> str:
    """An amount of bytes in words: 12 B, 3.4 kB, 771.2 GB (of 1000 MB)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(amount) < 1000:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def in_time(seconds: float) -> str:
    """A time in words, to two units: 45 s, 12 min 3 s, 6 h 47 min, 2 d 3 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for size, unit, below, lesser in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // below} {lesser}"
    raise AssertionError(whole)


def _progress(done: int, size: int | None, *, brought: int, seconds: float) -> str:
    """How far `done` of `size` bytes are, at the rate at which `brought` bytes came in `seconds`."""
    rate = brought / seconds if seconds > 0 else 0.0
    if size is None:
        return f"{in_bytes(done)}, {in_bytes(rate)}/s"
    share = done / size if size else 1.0
    left = f"{in_time((size - done) / rate)} left" if rate > 0 else "time left unknown"
    return f"{in_bytes(done)} of {in_bytes(size)} ({share:.0%}), {in_bytes(rate)}/s, {left}"


class _Part:
    """What has arrived of a file: the scratch file, and the length, md5 and ETag of what is in it."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._digest = hashlib.md5(usedforsecurity=False)
        self.length = 0
        file.seek(0)
        while data := file.read(web.CHUNK_BYTES):
            self._digest.update(data)
            self.length += len(data)
        self.etag = _read_etag(_etag_of(path)) if self.length else None

    @property
    def md5(self) -> str:
        return self._digest.hexdigest()

    def append(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.length += len(data)

    def begin(self, etag: str | None) -> None:
        """Throw away what has arrived; what comes is of the version that the server calls `etag`, if it tells."""
        # In this order: an ETag never stands beside bytes of another version, wherever the process is killed.
        _etag_of(self._path).unlink(missing_ok=True)
        self._file.truncate(0)
        self._digest = hashlib.md5(usedforsecurity=False)
        self.length = 0
        self.etag = etag if etag and _STRONG_ETAG.fullmatch(etag) else None
        if self.etag:
            _etag_of(self._path).write_text(self.etag, encoding="latin-1")

    def leave(self) -> None:
        """Bring the bytes to the disk; nothing is left behind where none has arrived."""
        self._file.flush()
        os.fsync(self._file.fileno())
        if not self.length:
            _etag_of(self._path).unlink(missing_ok=True)


class _Transfer:
    """The attempts at one file: each goes on from what the part has, and ends with a whole file or raises."""

    def __init__(
        self,
        url: str,
        name: str,
        part: _Part,
        *,
        md5: str | None,
        size: int | None,
        token_file: str | Path | None,
        patience: Patience,
    ) -> None:
        self._url = url
        self._name = name
        self._part = part
        self._md5 = md5
        self._size = size
        self._token_file = token_file
        self._patience = patience
        # The most that has arrived: an attempt that does not pass it has brought nothing.
        self._reached = part.length
        self._wrong = 0

    def attempt(self) -> None:
        """Fetch what is missing and check the whole. Raises Broken, Refused or InputError (of the token)."""
        part = self._part
        try:
            # Bytes of which nothing says whose they are do not make a file, however many there are.
            if self._md5 is None or part.length != self._size:
                self._fetch_rest()
        except Broken as error:
            error.progressed = part.length > self._reached
            self._reached = max(self._reached, part.length)
            raise
        if self._md5 is not None and part.md5 != self._md5:
            self._start_over(f"the md5 is {part.md5}, expected {self._md5}")

    def _fetch_rest(self) -> None:
        part = self._part
        headers = {"Accept-Encoding": "identity"}
        fits = part.length > 0 and (self._size is None or part.length < self._size)
        # Without an md5 only the ETag tells that the rest is of the version that the part is of.
        if fits and (self._md5 or part.etag):
            headers["Range"] = f"bytes={part.length}-"
            if part.etag:
                headers["If-Range"] = part.etag
        with web.answer(
            "GET", self._url, headers=headers, token_file=self._token_file, patience=self._patience
        ) as response:
            total = self._begin(response)
            progress = _Progress(self._name, total, part.length)
            for data in web.chunks(response):
                if total is not None and part.length + len(data) > total:
                    self._start_over(f"more than {in_bytes(total)} arrived")
                part.append(data)
                progress.tell(part.length)
        if total is not None and part.length < total:
            raise Broken("the transfer was cut")

    def _begin(self, response: requests.Response) -> int | None:
        """Make the part ready for the body of an answer; return the size (bytes) of the whole file, None if untold.

        Raises Broken when the body does not go on where the part ends, Refused when its end could not be told.
        """
        part = self._part
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise Refused(
                "the server sent the file compressed, which was not asked for", "Fetch it by another address."
            )
        etag = response.headers.get("ETag")
        if response.status_code == http.HTTPStatus.OK:
            total = _number(response.headers.get("Content-Length", ""))
            self._check_size(total)
            part.begin(etag)
            if total is None and self._md5 is None and response.headers.get("Transfer-Encoding") != "chunked":
                raise Refused("the server does not tell the file's size", "Fetch it by hand.")
            return total if total is not None else self._size
        start, total = _range_of(response)
        other = part.etag is not None and etag is not None and etag != part.etag
        if response.status_code != http.HTTPStatus.PARTIAL_CONTENT or start != part.length or other:
            part.begin(None)
            raise Broken(f"the server answered {response.status_code}, not the rest of the file")
        self._check_size(total)
        return total if total is not None else self._size

    def _check_size(self, told: int | None) -> None:
        if told is not None and self._size is not None and told != self._size:
            self._start_over(f"the server has {told} bytes, expected {self._size}")

    def _start_over(self, reason: str) -> None:
        """Throw away wrong content. Raises Broken FRESH_STARTS times, then Refused."""
        self._part.begin(None)
        self._reached = 0
        self._wrong += 1
        if self._wrong > FRESH_STARTS:
            raise Refused(reason, "Either the list or the server is wrong: make the list anew, or leave the file out.")
        raise Broken(reason)


class _Progress:
    """Lines of one transfer in the log, PROGRESS_EVERY_S apart; a short one has none."""

    def __init__(self, name: str, total: int | None, length: int) -> None:
        self._name = name
        self._total = total
        self._first = length
        self._began_s = self._told_s = time.monotonic()
        if length:
            log.info("%s: goes on at %s", name, in_bytes(length))

    def tell(self, length: int) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s >= PROGRESS_EVERY_S:
            self._told_s = now_s
            brought, seconds = length - self._first, now_s - self._began_s
            log.info("%s: %s", self._name, _progress(length, self._total, brought=brought, seconds=seconds))


_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]{1,200}"')


def _part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _etag_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.part.etag")


def _read_etag(path: Path) -> str | None:
    """The ETag that was written down for a part; None where there is none, or a kill left half of one."""
    try:
        found = path.read_text(encoding="latin-1")
    except FileNotFoundError:
        return None
    return found if _STRONG_ETAG.fullmatch(found) else None


def _discard(path: Path) -> None:
    """Remove what is left of an earlier download of a file."""
    _part_of(path).unlink(missing_ok=True)
    _etag_of(path).unlink(missing_ok=True)


def _present_bytes(path: Path, size: int) -> int:
    if path.is_file() and path.stat().st_size == size:
        return size
    part = _part_of(path)
    return min(size, part.stat().st_size) if part.is_file() else 0


def _is_whole(path: Path, *, md5: str, size: int | None) -> bool:
    if not path.is_file() or (size is not None and path.stat().st_size != size):
        return False
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == md5


@contextmanager
def _naming_in_errors(path: Path) -> Iterator[None]:
    """An error of the disk in the block becomes an InputError that names the file."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written: {error.strerror or error}. "
            "Look at the disk and its quota; what has arrived is kept."
        ) from error


@contextmanager
def held_alone(part: Path) -> Iterator[BinaryIO]:
    """Open a scratch file, made with its folder if need be, that no other process writes before the block ends.

    Where the file system has no locks there is a warning and none is held. A file that is empty in the end is removed.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    file = _open_locked(part)
    try:
        yield file
    finally:
        if _is_at(part, file) and not os.fstat(file.fileno()).st_size:
            part.unlink()
        file.close()


def _open_locked(part: Path) -> BinaryIO:
    while True:
        file = open(part, "a+b")  # noqa: SIM115
        try:
            _lock(file, part)
        except BaseException:
            file.close()
            raise
        # The one that held it may have moved it into place meanwhile, or removed it.
        if _is_at(part, file):
            return file
        file.close()


def _lock(file: BinaryIO, part: Path) -> None:
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("%s: another process has it; waiting", part)
            fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        log.warning("%s: no locks on this file system; nothing else may download this file meanwhile", part)


def _is_at(part: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(part.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _range_of(response: requests.Response) -> tuple[int | None, int | None]:
    """Where the body of an answer starts in the file and how long the file is, in bytes; None for what is untold."""
    found = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)", response.headers.get("Content-Range", ""))
    return (int(found[1]), _number(found[2])) if found else (None, None)
