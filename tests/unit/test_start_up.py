"""A job starts with the imports of its own stage."""

import ast
from functools import cache
from pathlib import Path

import pytest

from workflow_scripts.lib import provenance

SCRIPTS = sorted((provenance.REPOSITORY / "workflow_scripts").glob("*.py"))
# The doctor counts GPUs.
COMPUTE = {
    "train_model", "train_filter", "predict_slides", "filter_slides", "score_annotated", "doctor",
    "train_origin", "predict_origin", "train_origin_autoencoder", "encode_origin_tiles", "find_regimes",
    "compress_slides", "train_slide_models", "predict_slide_targets", "attribute_slides",
    "train_encoder", "make_mean_colour_encoder", "train_adaptation", "measure_batch_statistics", "predict_adaptation",
    "embed_adaptation_patches", "export_adapted_model",
}  # fmt: skip


@cache
def imports_of(path: Path) -> frozenset[str]:
    """The modules that a file imports when it is imported itself: what stands in functions comes later, or never."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    return frozenset(found)


def started(script: Path) -> set[str]:
    """All modules that a script imports at its start, by itself or through the library."""
    found: set[str] = set()
    waiting = [script]
    while waiting:
        new = imports_of(waiting.pop()) - found
        found |= new
        own = (provenance.REPOSITORY / f"{name.replace('.', '/')}.py" for name in new)
        waiting += [path for path in own if path.is_file()]
    return found


def packages(script: Path) -> set[str]:
    return {name.split(".")[0] for name in started(script)}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_only_what_trains_or_predicts_imports_torch(script):
    assert ("torch" in packages(script)) == (script.stem in COMPUTE)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_only_figures_import_matplotlib(script):
    draws = script.stem.startswith(("draw_", "write_"))
    assert ("matplotlib" in packages(script)) == draws


@pytest.mark.parametrize(
    "name",
    ["tile_slide", "tile_brought_slide", "draw_quality", "export_maps", "gather_models", "classify_photographs"],
)
def test_what_computes_no_statistics_imports_none(name):
    (script,) = (path for path in SCRIPTS if path.stem == name)
    assert not packages(script) & {"scipy", "sklearn", "lifelines"}


def test_a_slide_is_tiled_without_tables():
    (script,) = (path for path in SCRIPTS if path.stem == "tile_slide")
    assert "pandas" not in packages(script)
