"""The page docs/configuration.md, made of the descriptions of the keys."""

import json
from collections.abc import Iterator
from inspect import cleandoc
from typing import Any, Literal, get_args, get_origin

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from workflow_scripts.lib.configuration.sections import Section, sections_in
from workflow_scripts.lib.configuration.whole import Configuration

_PAGE_HEAD = """\
<!-- Made by `python -m workflow_scripts.lib.configuration > docs/configuration.md`; a test fails when it is not. -->

# Configuration

`config.yaml` is the published study, and holds the defaults below. An overlay, given with `--configfile`, replaces
single keys: dictionaries are merged entry by entry, lists are replaced whole. What runs is a list (`study.cohorts`, a
cohort's `traits`); the dictionaries `cohorts` and `traits` hold definitions. The configuration is checked before
anything runs: an unknown key is an error, answered with the nearest known one.
"""


def reference() -> str:
    """The page docs/configuration.md (Markdown): a table of keys, defaults and descriptions for each section."""
    parts = [_PAGE_HEAD]
    for place, section in places("", Configuration):
        rows = [
            f"| `{key}` | {_default(field)} | {_description(field)} |" for key, field in section.model_fields.items()
        ]
        head = [
            f"## `{place}`",
            "",
            cleandoc(section.__doc__),
            "",
            "| key | default | description |",
            "| --- | --- | --- |",
        ]
        parts.append("\n".join([*head, *rows, ""]))
    return "\n".join(parts)


def places(place: str, section: type[Section]) -> Iterator[tuple[str, type[Section]]]:
    """The sections below a section, depth first, with their keys; an entry of a dictionary is called `<name>`."""
    for key, field in section.model_fields.items():
        entry = {dict: ".<name>", list: "[]"}.get(get_origin(field.annotation), "")
        for below in sections_in(field.annotation):
            yield f"{place}{key}{entry}", below
            yield from places(f"{place}{key}{entry}.", below)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if isinstance(field.get_default(), Section):
        return "below"
    value = TypeAdapter(Any).dump_python(field.get_default(), mode="json", exclude_defaults=True)
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _description(field: FieldInfo) -> str:
    choices = ", ".join(f"`{choice}`" for choice in _choices_in(field.annotation))
    return (f"{field.description} Choices: {choices}." if choices else field.description).replace("|", "\\|")


def _choices_in(annotation: Any) -> Iterator[Any]:
    for part in get_args(annotation):
        if get_origin(annotation) is Literal:
            yield part
        else:
            yield from _choices_in(part)
