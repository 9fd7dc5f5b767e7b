"""Where an input comes from: a path on this machine, a place on a portal from which a run fetches it, or a tile.

A source is text in the configuration, one of

- `gdc:<project>`, as `gdc:TCGA-BRCA`: the manifest of the project's open diagnostic slides, by a query to the GDC;
- `gdc:<id>/<file name>`: one open file of the GDC by its fixed id; the name is what it is called here;
- `cbioportal:<study>`, as `cbioportal:brca_tcga`: the clinical file of a study's patients in cBioPortal's data hub;
- `tile:<cohort>/<slide_id>/<column>/<row>`, a stain's reference: a tile on the lattice of a cohort's slide, from 0;
- anything else: a path.

What is fetched lies under `results/` and is pinned there. A stain's reference may also be `published`: no file at all.
"""

import re
from collections.abc import Mapping
from typing import Literal

Kind = Literal["manifest", "table", "clinical", "stain"]

PUBLISHED = "published"

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}"
_FORMS: Mapping[Kind, tuple[re.Pattern, str]] = {
    "manifest": (re.compile(r"gdc:(?P<project>[A-Z0-9][A-Z0-9_-]{1,39})"), "gdc:<project> (gdc:TCGA-BRCA)"),
    "table": (
        re.compile(rf"gdc:(?P<id>[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})/(?P<name>{_NAME})"),
        "gdc:<id>/<file name>",
    ),
    "clinical": (re.compile(r"cbioportal:(?P<study>[a-z0-9][a-z0-9_-]{0,79})"), "cbioportal:<study> (…:brca_tcga)"),
    "stain": (
        re.compile(rf"tile:(?P<cohort>{_NAME})/(?P<slide>{_NAME})/(?P<column>[0-9]{{1,6}})/(?P<row>[0-9]{{1,6}})"),
        "tile:<cohort>/<slide_id>/<column>/<row>",
    ),
}
_PREFIXES = ("gdc:", "cbioportal:", "tile:")


def checked(source: str, *, kind: Kind) -> str:
    """The source as it is. Raises ValueError when it names a portal or a tile and is not of its kind's form."""
    if source.casefold().startswith(_PREFIXES) and parts(source, kind=kind) is None:
        raise ValueError(f"expected a path or {_FORMS[kind][1]}, found {source!r}")
    return source


def parts(source: str, *, kind: Kind) -> dict[str, str] | None:
    """What a source names (`project`; `id` and `name`; `study`; a tile's parts); None for a path."""
    found = _FORMS[kind][0].fullmatch(source)
    return found.groupdict() if found else None


def local_path(source: str, *, kind: Kind, cohort: str) -> str:
    """Where the input lies: the path itself, or where a run of `cohort` puts what it fetches."""
    found = parts(source, kind=kind)
    if found is None:
        return source
    if kind == "manifest":
        return f"results/{cohort}/input/gdc_manifest.txt"
    if kind == "stain":
        return f"results/{found['cohort']}/tiles/{found['slide']}.h5"
    if kind == "table":
        return f"results/input/gdc/{found['name']}"
    return f"results/input/cbioportal/{found['study']}/data_clinical_patient.txt"
