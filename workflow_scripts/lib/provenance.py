"""What made a file: the code that a stage depends on, and the packages that it ran with."""

import ast
import hashlib
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
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
    modules = sorted(_reachable(Path(script).resolve()))
    digest = hashlib.sha256()
    for module in modules:
        digest.update(_normalised(module).encode())
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


def _reachable(module: Path) -> set[Path]:
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting.extend(_imported(current))
    return found


@cache
def _parsed(module: Path) -> ast.Module:
    try:
        return ast.parse(module.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise InputError(f"{module}:{error.lineno}: not valid Python: {error.msg}") from None


@cache
def _imported(module: Path) -> tuple[Path, ...]:
    """Files of the library that a module's import statements name, wherever in the module they stand."""
    names: set[str] = set()
    for node in ast.walk(_parsed(module)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    paths = (REPOSITORY / f"{name.replace('.', '/')}.py" for name in names if name.startswith(f"{LIBRARY}."))
    return tuple(sorted(path for path in paths if path.is_file()))


@cache
def _normalised(module: Path) -> str:
    tree = _Undocumented().visit(ast.parse(module.read_text(encoding="utf-8")))
    return f"{module.relative_to(REPOSITORY)}\n{_spelt(tree)}"


def _spelt(node: Any) -> str:
    """A syntax tree in words. Python's own dump and unparse differ between its versions; empty fields are new ones."""
    if isinstance(node, ast.AST):
        fields = (f"{name}={_spelt(value)}" for name, value in ast.iter_fields(node) if value not in (None, []))
        return f"{type(node).__name__}({','.join(fields)})"
    return f"[{','.join(map(_spelt, node))}]" if isinstance(node, list) else repr(node)


class _Undocumented(ast.NodeTransformer):
    """Drops docstrings, and what one version of Python adds."""

    def _strip(self, node: Any) -> Any:
        self.generic_visit(node)
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            node.body = node.body[1:] or [ast.Pass()]
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.JoinedStr:
        self.generic_visit(node)
        # Python 3.12 ends a format that is itself formatted with an empty text.
        node.values = [part for part in node.values if not (isinstance(part, ast.Constant) and part.value == "")]
        return node

    visit_Module = visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _strip
