"""The GDC's API: which slides a project has, what today's ids of some files are, and the files themselves.

The GDC gives a file a new id now and then; its name and md5 stay. So ids are looked up by name shortly before use, and
the md5 decides. What is used here is described at docs.gdc.cancer.gov/API/Users_Guide/: Search_and_Retrieval (`files`:
filters, fields, size, from, sort), Downloading_Files (`data`) and System_Information (`status`).
"""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from workflow_scripts.lib import cohorts, downloads, files, web
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.web import PATIENCE, Patience

log = logging.getLogger(__name__)

API = "https://api.gdc.cancer.gov"
MANIFEST_COLUMNS = ("id", "filename", "md5", "size", "state")
RESOLVED_COLUMNS = ("filename", "id", "md5", "size", "problem")
# Names in one request: a filter of some 7 kB.
NAMES_PER_REQUEST = 100
# Files in one answer. The API tells no limit; a project's slides come in one or two answers of this size.
FILES_PER_ANSWER = 1000

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class SlideQuery:
    """What the GDC answered to a query for slides: the files, as a manifest, and what was asked where and when."""

    manifest: pd.DataFrame
    query: Mapping[str, Any]
    api: str
    date: str
    data_release: str


def query_manifest(project: str, *, api: str = API, patience: Patience = PATIENCE) -> SlideQuery:
    """All diagnostic slides (SVS) of a project, as TCGA-BRCA, that are open to everyone, in the order of their names.

    The manifest has the columns MANIFEST_COLUMNS. A file whose name could not be a slide's is left out with a warning.
    `date` is today's (UTC), `data_release` what the portal calls the release of its data, '' where it does not say.

    Raises InputError when the project has none, or when the API does not answer, or not as it is documented.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", project):
        raise InputError(
            f"expected a project of the GDC by its id, as TCGA-BRCA, found {cohorts.printable(project)!r}."
        )
    query = _all_of(
        {
            "cases.project.project_id": [project],
            "files.data_format": ["SVS"],
            "files.experimental_strategy": ["Diagnostic Slide"],
            "files.access": ["open"],
        }
    )
    release = data_release(api=api, patience=patience)
    found = _find(query, api=api, patience=patience)
    problems = found["filename"].map(cohorts.problem_of_file_name)
    for name, problem in zip(found["filename"][problems != ""], problems[problems != ""], strict=True):
        log.warning("%s: left out: %s: %s", project, cohorts.printable(name), problem)
    manifest = found[problems == ""].sort_values(["filename", "id"], ignore_index=True)
    if manifest.empty:
        raise InputError(
            f"{api}: expected open diagnostic slides of the project {project}, found none. "
            "Projects are named as in the portal: TCGA-BRCA."
        )
    log.info("%s: %d slides, %s; %s", project, len(manifest), downloads.in_bytes(manifest["size"].sum()), release)
    return SlideQuery(manifest, query=query, api=api, date=datetime.now(UTC).date().isoformat(), data_release=release)


def write_manifest(answer: SlideQuery, path_to_manifest: str | Path, path_to_pin: str | Path) -> None:
    """Write the manifest, as gdc-client and `cohorts.read_manifest` read it, and a JSON of what it is the answer to.

    The JSON has query, api, date, data_release and n_files.
    """
    pin = {
        "query": answer.query,
        "api": answer.api,
        "date": answer.date,
        "data_release": answer.data_release,
        "n_files": len(answer.manifest),
    }
    with files.writing(path_to_pin) as partial:
        partial.write_text(json.dumps(pin, indent=2) + "\n", encoding="utf-8")
    files.write_table(answer.manifest, path_to_manifest)


def resolve_files(manifest: pd.DataFrame, *, api: str = API, patience: Patience = PATIENCE) -> pd.DataFrame:
    """Today's id of each file of a manifest (as `cohorts.read_manifest` gives it): a row per line, RESOLVED_COLUMNS.

    Files are looked up by name among those open to everyone, NAMES_PER_REQUEST at a time; of several that have the name
    it is the one with the manifest's md5 (the first by id, should there be two). A line without one has its `problem`,
    and neither id, md5 nor size (bytes): the line is no file's, or the GDC has no such file, or only with another md5.

    Raises InputError when the API does not answer, or not as it is documented.
    """
    lines = _lines_of(manifest)
    names = [line.name for line in lines if not line.problem]
    found: dict[str, list[dict[str, Any]]] = {}
    for start in range(0, len(names), NAMES_PER_REQUEST):
        batch = names[start : start + NAMES_PER_REQUEST]
        query = _all_of({"files.file_name": batch, "files.access": ["open"]})
        for row in _find(query, api=api, patience=patience).sort_values("id").to_dict("records"):
            found.setdefault(row["filename"], []).append(row)
    rows = [_resolved(line, found.get(line.name, [])) for line in lines]
    resolved = pd.DataFrame(rows, columns=list(RESOLVED_COLUMNS)).astype({"size": "Int64"})
    lost = resolved[resolved["problem"] != ""]
    log.info("%d files found by name, %d not", len(resolved) - len(lost), len(lost))
    for row in lost.itertuples():
        log.info("%s: %s", row.filename, row.problem)
    return resolved


def fetch_file(
    file_id: str,
    path: str | Path,
    *,
    md5: str,
    size: int,
    api: str = API,
    token_file: str | Path | None = None,
    patience: Patience = PATIENCE,
) -> downloads.Fetched:
    """Download a file of the GDC by its id, see `downloads.fetch`; open files need no token.

    Raises InputError, in one line, when the id is none or the file cannot be had whole.
    """
    return downloads.fetch(
        url_of_file(file_id, api=api), path, md5=md5, size=size, token_file=token_file, patience=patience
    )


def url_of_file(file_id: str, *, api: str = API) -> str:
    """Where the file of an id is downloaded from. Raises InputError when the id is none (a UUID)."""
    if not _ID.fullmatch(file_id):
        raise InputError(f"expected the id of a file of the GDC (a UUID), found {cohorts.printable(file_id)!r}.")
    return _url(api, f"data/{file_id}")


def data_release(*, api: str = API, patience: Patience = PATIENCE) -> str:
    """What the portal calls the release of its data, as 'Data Release 45.0 - December 04, 2025'; '' if it does not say.

    The documentation of `status` does not list the field; what others recorded of its answers has it, since 2017.
    Raises InputError when the API does not answer.
    """
    status = web.ask(_url(api, "status"), patience=patience)
    release = status.get("data_release", "") if isinstance(status, dict) else ""
    if not isinstance(release, str) or not release:
        log.warning("%s: the portal does not say which release of its data this is", api)
        return ""
    return cohorts.printable(release)


@dataclass(frozen=True)
class _Line:
    """What a manifest says of a file, and why it cannot be looked up ('' when it can)."""

    name: str
    md5: str
    problem: str


def _lines_of(manifest: pd.DataFrame) -> list[_Line]:
    """The lines of a manifest; a name that is there twice counts where it stands first."""
    first: dict[str, int] = {}
    lines = []
    for row in manifest.itertuples(index=False):
        problem = row.problem or cohorts.problem_of_file_name(row.filename)
        if not problem and first.setdefault(row.filename, row.line) != row.line:
            problem = f"the name was there in line {first[row.filename]}"
        lines.append(_Line(row.filename, row.md5, f"line {row.line}: {problem}" if problem else ""))
    return lines


def _resolved(line: _Line, hits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The row of a line, given the files of its name; a manifest without md5 takes the only one."""
    problem = line.problem
    if not problem and not hits:
        problem = "the GDC has no open file of this name"
    md5s = sorted({hit["md5"] for hit in hits})
    fits = [hit for hit in hits if hit["md5"] == line.md5] if line.md5 else list(hits)
    if not problem and not fits:
        problem = f"the GDC's file has md5 {' or '.join(md5s)}, the manifest {line.md5}"
    if not problem and not line.md5 and len(md5s) > 1:
        problem = f"the GDC has files of this name with md5 {' and '.join(md5s)}, and the manifest does not say which"
    if problem:
        return {"filename": cohorts.printable(line.name), "id": "", "md5": "", "size": None, "problem": problem}
    return {"filename": line.name} | {key: fits[0][key] for key in ("id", "md5", "size")} | {"problem": ""}


def _all_of(values: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A filter of the API for files that have one of the values in each of some fields."""
    wanted = [{"op": "in", "content": {"field": field, "value": list(value)}} for field, value in values.items()]
    return {"op": "and", "content": wanted}


def _find(query: Mapping[str, Any], *, api: str, patience: Patience) -> pd.DataFrame:
    """The files that a filter finds, with MANIFEST_COLUMNS, in the order of their ids.

    Raises InputError when what came is not as many files as the API says there are, or not as it is documented.
    """
    url = _url(api, "files")
    found: dict[str, dict[str, Any]] = {}
    total = None
    while total is None or len(found) < total:
        body = {
            "filters": query,
            "fields": "file_id,file_name,md5sum,file_size,state",
            "format": "JSON",
            # By id, because no two files share one: none can be on two pages, or on none.
            "sort": "file_id:asc",
            "from": len(found),
            "size": FILES_PER_ANSWER,
        }
        hits, told = _page(web.ask(url, body=body, patience=patience), url=url)
        new = {row["id"]: row for row in map(_row_of, hits)} if hits else {}
        if len(new) != len(hits) or not new.keys().isdisjoint(found) or (total is not None and told != total):
            raise InputError(f"{url}: the list of files changed while it was read. Ask again.")
        found |= new
        total = told
        if len(found) > total or (not hits and len(found) < total):
            raise InputError(
                f"{url}: expected the {total} files that it says there are, found {len(found)}. Ask again."
            )
    return pd.DataFrame(list(found.values()), columns=list(MANIFEST_COLUMNS))


def _page(answer: Any, *, url: str) -> tuple[list[Any], int]:
    """The files of one answer, and how many there are in all."""
    data = answer.get("data") if isinstance(answer, dict) else None
    hits = data.get("hits") if isinstance(data, dict) else None
    pagination = data.get("pagination") if isinstance(data, dict) else None
    total = pagination.get("total") if isinstance(pagination, dict) else None
    if not isinstance(hits, list) or not _is_count(total):
        raise InputError(
            f"{url}: expected data.hits and data.pagination.total, found something else. {_NOT_AS_DOCUMENTED}"
        )
    return hits, total


def _row_of(hit: Any) -> dict[str, Any]:
    """The row of a manifest of one file in an answer. What its name may be is left to the caller."""
    keys = ("file_id", "file_name", "md5sum", "file_size", "state")
    values = [hit.get(key) for key in keys] if isinstance(hit, dict) else [None] * len(keys)
    file_id, name, md5, size, state = values
    expected = {
        "file_id (a UUID)": isinstance(file_id, str) and _ID.fullmatch(file_id),
        "file_name (text)": isinstance(name, str) and name,
        "md5sum (32 hexadecimal digits)": isinstance(md5, str) and _MD5.fullmatch(md5),
        "file_size (bytes)": _is_count(size) and size,
        "state (a word)": isinstance(state, str) and re.fullmatch(r"[a-z_]+", state),
    }
    wrong = [what for what, fits in expected.items() if not fits]
    if wrong:
        shown = cohorts.printable(json.dumps(hit))
        raise InputError(f"files of the GDC: expected {' and '.join(wrong)}, found {shown}. {_NOT_AS_DOCUMENTED}")
    return dict(zip(MANIFEST_COLUMNS, (file_id, name, md5, size, state), strict=True))


_NOT_AS_DOCUMENTED = "Check the address of the API; it may have changed."


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _url(api: str, endpoint: str) -> str:
    return f"{api.rstrip('/')}/{endpoint}"
