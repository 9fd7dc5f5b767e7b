"""A GDC of one's own, on loopback: the endpoints that are used, and what goes wrong with them.

Its files have new ids for old names, as the real one's have: the ids of a manifest from before (`old_manifest`) are
answered with 404. Every other fault is off until asked for: one after another from `faults` (of the next requests for
data), or at random, by `chances` and a seed. What a request gets then depends on the seed, its path and how often that
path was asked for, and not on the order of requests of several threads.
"""

import hashlib
import json
import random
import socket
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

MANIFEST_COLUMNS = ("id", "filename", "md5", "size", "state")
# Those that may happen at any time. "other range" is a server that is wrong about what it was asked for.
FAULTS = ("cut", "stall", "500", "429", "404", "wrong md5", "ignore range")


@dataclass(frozen=True, eq=False)
class GdcFile:
    """A file of the portal: what it says of it, and its bytes."""

    name: str
    body: bytes
    id: str
    old_id: str
    access: str = "open"
    project: str = "TCGA-BRCA"
    strategy: str = "Diagnostic Slide"
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def md5(self) -> str:
        return hashlib.md5(self.body).hexdigest()

    def fields(self) -> dict[str, Any]:
        """What the `files` endpoint says; `told` are lies."""
        return {
            "file_id": self.id,
            "file_name": self.name,
            "md5sum": self.md5,
            "file_size": len(self.body),
            "state": "released",
            "access": self.access,
            "data_format": "SVS",
            "experimental_strategy": self.strategy,
            "cases.project.project_id": self.project,
        } | dict(self.told)


def gdc_file(name: str, body: bytes | int = 2000, **others: Any) -> GdcFile:
    """A file with ids that its name gives, and with so many bytes that it gives, unless they are given."""
    if isinstance(body, int):
        body = random.Random(name).randbytes(body)
    ids = {key: str(uuid.uuid5(uuid.NAMESPACE_URL, f"{key} of {name}")) for key in ("id", "old_id")}
    return GdcFile(**({"name": name, "body": body} | ids | others))


class GdcServer:
    """The server; use it in a `with`. `requests` has a (method, path, headers) of each request that came."""

    def __init__(self, *files: GdcFile, reissued: bool = True) -> None:
        self.files = list(files)
        self.reissued = reissued
        self.release = "Data Release 45.0 - December 04, 2025"
        self.faults: deque[str] = deque()
        self.chances: dict[str, float] = {}
        self.seed = 0
        self.retry_after = "0"
        self.stall_s = 30.0
        self.pause_s = 0.0
        self.etags = True
        self.ignores_if_range = False
        self.tells_length = True
        self.encoding = ""
        self.token = ""
        self.redirect_to = ""
        self.answers: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self._times_asked: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def __enter__(self) -> "GdcServer":
        server = self

        class Handler(_Handler):
            gdc = server

        self._http = _Http(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def data_url(self, file: GdcFile) -> str:
        return f"{self.url}/data/{file.id}"

    def data_requests(self, file: GdcFile | None = None) -> list[dict[str, str]]:
        """The headers of the requests for data, of one file or of all."""
        path = "/data/" + (file.id if file else "")
        return [headers for _, asked, headers in self.requests if asked.startswith(path)]

    def write_old_manifest(self, path: Path) -> Path:
        """A manifest from before the ids were reissued, as the portal wrote it."""
        lines = [(file.old_id, file.name, file.md5, str(len(file.body)), "released") for file in self.files]
        path.write_text("\n".join("\t".join(line) for line in [MANIFEST_COLUMNS, *lines]) + "\n", encoding="utf-8")
        return path

    def took(self, method: str, path: str, headers: Mapping[str, str]) -> str:
        """Note a request; say what goes wrong with it, '' for nothing."""
        with self._lock:
            self.requests.append((method, path, dict(headers)))
            self._times_asked[path] += 1
            if path.startswith("/data/") and self.faults:
                return self.faults.popleft()
            # 404 is of data alone: to a search it would mean that the API is another one.
            chances = {k: p for k, p in self.chances.items() if path.startswith("/data/") or k != "404"}
            chance = random.Random(f"{self.seed} {path} {self._times_asked[path]}").random()
        for fault, share in chances.items():
            if chance < share:
                return fault
            chance -= share
        return ""

    def wait(self, seconds: float) -> None:
        """Do nothing for a time, unless the server is closed."""
        self._closing.wait(seconds)

    def found(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of the `files` endpoint to a query."""
        hits = [file.fields() for file in self.files if _matches(file.fields(), asked.get("filters"))]
        by, _, direction = str(asked.get("sort", "")).partition(":")
        if by:
            hits.sort(key=lambda hit: str(hit[by]), reverse=direction == "desc")
        start, size = int(asked.get("from", 0)), int(asked.get("size", 10))
        fields = str(asked.get("fields", "file_id,file_name")).split(",")
        page = [{"id": hit["file_id"]} | {key: hit[key] for key in fields if key in hit} for hit in hits]
        told = {"count": len(page[start : start + size]), "total": len(hits), "size": size, "from": start}
        return {"data": {"hits": page[start : start + size], "pagination": told}, "warnings": {}}

    def manifest_of(self, ids: list[str]) -> str:
        rows = [(f.id, f.name, f.md5, str(len(f.body)), "released") for f in self.files if f.id in ids]
        return "\n".join("\t".join(row) for row in [MANIFEST_COLUMNS, *rows]) + "\n"

    def file_of(self, file_id: str) -> GdcFile | None:
        for file in self.files:
            if file_id == file.id or (file_id == file.old_id and not self.reissued):
                return file
        return None


def _matches(fields: Mapping[str, Any], query: Mapping[str, Any] | None) -> bool:
    if not query:
        return True
    content = query["content"]
    if query["op"] == "and":
        return all(_matches(fields, part) for part in content)
    assert query["op"] in ("in", "="), query["op"]
    wanted = content["value"] if isinstance(content["value"], list) else [content["value"]]
    return fields[content["field"].removeprefix("files.")] in wanted


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that give up are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gdc: GdcServer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        fault = self.gdc.took("GET", self.path, self.headers)
        parts = urlsplit(self.path)
        if self._failed(fault) or self._answered_as_told(parts.path):
            return
        if parts.path == "/status":
            self._send_json(
                {"status": "OK", "tag": "8.5.0", "version": 1, "commit": "0" * 40, "data_release": self.gdc.release},
                fault,
            )
        elif parts.path == "/files":
            asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
            asked |= {"filters": json.loads(asked["filters"])} if "filters" in asked else {}
            self._send_json(self.gdc.found(asked), fault)
        elif parts.path.startswith("/manifest/"):
            self._send_manifest(parts.path.removeprefix("/manifest/").split(","), fault)
        elif parts.path.startswith("/data/"):
            self._send_data(parts.path.removeprefix("/data/"), fault)
        else:
            self._send(404, b"", {})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        fault = self.gdc.took("POST", self.path, self.headers)
        if self._failed(fault) or self._answered_as_told(self.path):
            return
        if self.path == "/files":
            self._send_json(self.gdc.found(asked), fault)
        elif self.path == "/manifest":
            self._send_manifest(asked["ids"], fault)
        else:
            self._send(404, b"", {})

    def _failed(self, fault: str) -> bool:
        """Whether a request was answered with an error."""
        if not fault.isdecimal():
            return False
        self._send(
            int(fault), b'{"message": "an error"}', {"Retry-After": self.gdc.retry_after} if fault == "429" else {}
        )
        return True

    def _answered_as_told(self, path: str) -> bool:
        if path not in self.gdc.answers:
            return False
        self._send(200, self.gdc.answers[path], {})
        return True

    def _send_json(self, content: Any, fault: str) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"}, fault)

    def _send_manifest(self, ids: list[str], fault: str) -> None:
        self._send(200, self.gdc.manifest_of(ids).encode(), {"Content-Type": "text/tab-separated-values"}, fault)

    def _send_data(self, file_id: str, fault: str) -> None:
        file = self.gdc.file_of(file_id)
        if self.gdc.redirect_to:
            self._send(302, b"", {"Location": f"{self.gdc.redirect_to}{self.path}"})
        elif file is None:
            self._send(404, b'{"message": "not found"}', {})
        elif file.access != "open" and self.headers.get("X-Auth-Token") != self.gdc.token:
            self._send(403, b'{"message": "no access"}', {})
        else:
            self._send_body(file, fault)

    def _send_body(self, file: GdcFile, fault: str) -> None:
        body = file.body if fault != "wrong md5" else bytes(byte ^ 1 for byte in file.body)
        etag = f'"{file.md5}"'
        headers = {"ETag": etag} if self.gdc.etags else {}
        headers |= {"Content-Encoding": self.gdc.encoding} if self.gdc.encoding else {}
        wanted = self.headers.get("Range", "").removeprefix("bytes=").rstrip("-")
        is_other = not self.gdc.ignores_if_range and self.headers.get("If-Range", etag) != etag
        if fault == "ignore range" or is_other or not wanted:
            self._send(200, body, headers, fault)
        elif int(wanted) >= len(body):
            self._send(416, b"", headers | {"Content-Range": f"bytes */{len(body)}"})
        else:
            wanted = wanted if fault != "other range" else str(int(wanted) + 1)
            told = {"Content-Range": f"bytes {wanted}-{len(body) - 1}/{len(body)}"}
            self._send(206, body[int(wanted) :], headers | told, fault)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], fault: str = "") -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if self.gdc.tells_length:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if fault in ("cut", "stall"):
            body = body[: len(body) // 2]
        for start in range(0, len(body), 4096):
            self.wfile.write(body[start : start + 4096])
            if self.gdc.pause_s:
                time.sleep(self.gdc.pause_s)
        if fault == "stall":
            self.gdc.wait(self.gdc.stall_s)
        if fault in ("cut", "stall"):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
