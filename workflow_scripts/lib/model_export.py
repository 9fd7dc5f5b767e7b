"""Trained classifiers written as exported models (see `exported_models`)."""

import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from workflow_scripts.lib import exported_models, models, provenance
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.exported_models import INPUT, METADATA, OUTPUT, TILE_SETTINGS
from workflow_scripts.lib.files import writing

log = logging.getLogger(__name__)

# The oldest set of operators that torch writes itself: more programs read it than a newer one.
OPSET = 18
# How far a probability of the exported model may be from the trained one's: sums in another order differ by less.
TOLERANCE = 1e-4
# Patches of noise that both see.
TRIED = 3


class _Classifier(nn.Module):
    """All that stands between the pixels of patches and their probabilities."""

    def __init__(self, model: models.TrainedModel) -> None:
        super().__init__()
        self.network = model.network
        self._model = model

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        return self._model.probabilities(models.to_input(patches.permute(0, 3, 1, 2)))


def export(
    path: str | Path, *, path_to_model: str | Path, tiles: Mapping[str, Any], method: str, code_version: str
) -> None:
    """Write a trained classifier as one ONNX file, whose form `exported_models` describes.

    path_to_model: the folder that `models.save` wrote. tiles: the section `tiles` of the configuration by which the
    patches were cut that it learned from. method: its name in the study.

    Its probabilities are those of `models.load(path_to_model)`, which is checked on patches of noise before the file is
    there. The same model gives the same bytes, and no path of this machine is among them.

    Raises InputError for a model of a trait (no classes), one that learned from tiles of other settings, of slides' own
    µm/px, or of normalised stains, which a photograph cannot have; and when torch cannot write its network.
    """
    model = models.load(path_to_model)
    _check(model.description, tiles, path_to_model)
    description = {
        "form": exported_models.FORM,
        "method": method,
        "classes": list(model.description["classes"]),
        "tiles": {name: tiles[name] for name in TILE_SETTINGS},
        "weights": provenance.file_digest(Path(path_to_model) / models.WEIGHTS_FILE),
        "code_version": code_version,
    }
    try:
        graph = _graph(_Classifier(model).eval(), tile_px=tiles["tile_px"])
    except torch.onnx.OnnxExporterError as error:
        raise InputError(
            f"{path_to_model}: torch cannot export a {model.description['backbone']} ({error}); export another method, "
            "or none"
        ) from error
    graph.producer_name, graph.producer_version = "Histocarta", ""
    onnx.helper.set_model_props(graph, {METADATA: json.dumps(description, sort_keys=True)})
    content = graph.SerializeToString(deterministic=True)
    _check_agreement(content, model, path_to_model)
    with writing(path) as partial:
        partial.write_bytes(content)
    log.info("%s: %s of %s, %.1f MB", path, method, model.description["backbone"], len(content) / 1e6)


def _check(description: Mapping[str, Any], tiles: Mapping[str, Any], path_to_model: str | Path) -> None:
    if "classes" not in description:
        raise InputError(f"{path_to_model}: expected a model of classes, found one of a trait; export another one")
    found, expected = ({key: of[key] for key in ("tile_px", "mpp")} for of in (description, tiles))
    if found != expected:
        raise InputError(f"{path_to_model}: it learned from tiles of {found}, and `tiles` has {expected}; train anew")
    if not isinstance(tiles["mpp"], (int, float)):
        raise InputError(f"{path_to_model}: tiles.mpp is {tiles['mpp']}; photographs are brought to a number of µm/px")
    if description.get("stain"):
        raise InputError(
            f"{path_to_model}: it learned from normalised stains; export one that takes colours as they are"
        )


def _graph(classifier: nn.Module, *, tile_px: int) -> onnx.ModelProto:
    """The classifier as a graph of ONNX, without what torch notes of where its code lies."""
    example = torch.zeros(2, tile_px, tile_px, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        # torch 2.12 uses in its exporter what it has deprecated.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        program = torch.onnx.export(
            classifier,
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            opset_version=OPSET,
            verbose=False,
        )
    model = program.model_proto
    graph = model.graph
    for noted in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del noted.metadata_props[:]
        noted.doc_string = ""
    return model


def _check_agreement(content: bytes, model: models.TrainedModel, path_to_model: str | Path) -> None:
    """Raise InputError where the exported model says otherwise than the trained one."""
    exported = exported_models.make_session(content, threads=1)
    side = model.description["tile_px"]
    patches = np.random.default_rng(0).integers(0, 256, (TRIED, side, side, 3), np.uint8)
    with torch.inference_mode():
        expected = model.probabilities(models.to_input(torch.from_numpy(patches).permute(0, 3, 1, 2))).numpy()
    apart = float(np.abs(exported.probabilities(patches) - expected).max())
    if not apart <= TOLERANCE:
        raise InputError(
            f"{path_to_model}: exported, its probabilities differ by {apart:.2g}, by more than {TOLERANCE:g}; export "
            "another method, or none"
        )
