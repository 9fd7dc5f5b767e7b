"""What made a file: the code that a stage depends on, and the packages that it ran with."""

import ast
import hashlib
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from workflow_scripts.lib.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[2]
LIBRARY = "workflow_scripts.lib"
PACKAGES = (
    "snakemake",
    "torch",
    "torchvision",
    "numpy",
    "pandas",
    "h5py",
    "openslide-python",
    "lifelines",
    "scikit-learn",
)


def code_version(script: str | Path) -> str:
    """Fingerprint of a script and of every module of the library that it imports, directly or not.

    Comments, docstrings, formatting and time stamps do not count: what is hashed is the code as Python would print
    it. A rule takes this as a parameter, so that changed code reruns its stage and an edited comment does not.
    """
    digest = hashlib.sha256()
    for module in sorted(_reachable(Path(script).resolve())):
        digest.update(_read(module).fingerprint)
    return digest.hexdigest()[:16]


def made_by(rule: str, inputs: Iterable[str | Path], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a result says about its making: rule, settings (the code's fingerprint too), inputs with digests, packages.

    Inputs are named with the folder that they lie in, because the files of all rounds have one name, and with as many
    folders above it as it takes to tell one from another. An input that is a folder has no digest: what lies in it says
    itself what made it.
    """
    return {
        "rule": rule,
        "settings": dict(settings.items()),
        "inputs": {
            name: file_digest(path) if path.is_file() else None for path, name in _names_of(map(Path, inputs)).items()
        },
        "python": platform.python_version(),
        "packages": {package: version(package) for package in PACKAGES},
    }


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _names_of(paths: Iterable[Path]) -> dict[Path, str]:
    """The last two parts of each path, and more of those that would share a name."""
    kept = dict.fromkeys(paths, 2)
    while True:
        names = {path: "/".join(path.parts[-parts:]) for path, parts in kept.items()}
        shared = Counter(names.values())
        if not (alike := [path for path, name in names.items() if shared[name] > 1]):
            return names
        kept |= {path: kept[path] + 1 for path in alike}


@dataclass(frozen=True)
class _Module:
    """What a fingerprint needs of a module: its own, and the files of the library that it imports."""

    fingerprint: bytes
    imports: tuple[Path, ...]


def _reachable(module: Path) -> set[Path]:
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting.extend(_read(current).imports)
    return found


@cache
def _read(module: Path) -> _Module:
    """A module's code and its import statements, wherever in the module they stand."""
    try:
        tree = ast.parse(module.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise InputError(f"{module}:{error.lineno}: not valid Python: {error.msg}") from None
    words: list[str] = [str(module.relative_to(REPOSITORY))]
    names: set[str] = set()
    _spell(tree, words, names)
    paths = (REPOSITORY / f"{name.replace('.', '/')}.py" for name in names if name.startswith(f"{LIBRARY}."))
    return _Module(
        hashlib.sha256("\n".join(words).encode()).digest(), tuple(sorted(path for path in paths if path.is_file()))
    )


def _spell(value: Any, words: list[str], names: set[str]) -> None:
    """Add a part of a syntax tree to `words`, but for docstrings, and the modules that it imports to `names`.

    Python's own dump and unparse differ between its versions. Empty fields are new ones.
    """
    if isinstance(value, list):
        words.append(f"[{len(value)}")
        for part in value:
            _spell(part, words, names)
    elif isinstance(value, ast.AST):
        kind = type(value)
        words.append(kind.__name__)
        if kind is ast.Import:
            names.update(alias.name for alias in value.names)
        elif kind is ast.ImportFrom and value.module:
            names.update([value.module, *(f"{value.module}.{alias.name}" for alias in value.names)])
        for name in value._fields:
            part = getattr(value, name, None)
            if kind in _DOCUMENTED and name == "body":
                part = _undocumented(part)
            elif kind is ast.JoinedStr:
                # Python 3.12 ends a format that is itself formatted with an empty text.
                part = [one for one in part if not (isinstance(one, ast.Constant) and one.value == "")]
            if part is not None and part != []:
                words.append(name)
                _spell(part, words, names)
    else:
        words.append(repr(value))


_DOCUMENTED = {ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef}


def _undocumented(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    is_docstring = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return body[1:] or [ast.Pass()] if is_docstring else body
