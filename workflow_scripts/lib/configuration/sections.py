"""What every part of the configuration is made of: closed sections, types of values, and checks of names."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

# Names of cohorts and traits become folders.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Metric = Literal["slide_auc", "tile_auc", "loss"]
# See `augmentations.augment`.
Augmentation = Literal[
    "horizontal_flip",
    "vertical_flip",
    "transpose",
    "rotation",
    "colour_jitter",
    "saturation",
    "brightness",
    "hue",
    "scaling",
    "elastic",
    "contrast",
    "hed_light",
    "hed_strong",
    "blur",
    "noise",
]


class Section(BaseModel):
    """A closed part of the configuration: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def check_known(name: str, known: Any, where: str, defined: str) -> None:
    if name not in known:
        raise ValueError(f"{where}: {name!r} is not among {defined}{suggestion(name, known)}")


def check_starts(name: str, definitions: dict[str, Any], defined: str) -> None:
    """Raise ValueError where a model, by way of those that it starts from, starts from itself or an unknown one."""
    before, start = [name], definitions[name].starts_from
    while start is not None:
        check_known(start, definitions, f"{defined}.{before[-1]}.starts_from", defined)
        if start in before:
            raise ValueError(f"{defined}.{name}.starts_from: {' starts from '.join([*before, start])}")
        before.append(start)
        start = definitions[start].starts_from


def check_once(names: list[str], where: str) -> None:
    if len(set(names)) < len(names):
        raise ValueError(f"{where}: expected each name once, found {names}")


def suggestion(name: str, known: Any) -> str:
    near = get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"; did you mean {near[0]!r}?" if near else f" ({', '.join(known)})"


def sections_in(annotation: Any) -> Iterator[type[Section]]:
    """The sections that a key of some type holds, in dictionaries, lists and choices too."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in get_args(annotation):
        yield from sections_in(part)
