"""A model of two classes in the form of an exported one, whose probabilities are worked out by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from workflow_scripts.lib.exported_models import FORM, INPUT, METADATA, OUTPUT

CLASSES = ["Blue", "Red"]
# Tiles of 32 px at 1 µm/px; every pixel's own tile settings as in the configuration.
TILES: dict[str, Any] = {
    "tile_px": 32, "mpp": 1.0, "max_background": 0.5, "background_rule": "saturation", "max_pen": None,
    "max_dark": None, "min_sharpness": None, "jpeg_quality": 90, "mpp_tolerance": 0.02,
}  # fmt: skip


def describe(**changed: Any) -> dict[str, Any]:
    described = {
        "form": FORM, "method": "dman", "classes": CLASSES, "tiles": TILES, "weights": "0" * 64, "code_version": "abc",
    }  # fmt: skip
    return described | changed


def write_exported(
    path: Path, metadata: dict[str, str] | None = None, *, outputs: int = 2, classes: list[str] = CLASSES
) -> Path:
    """Write a model for which p(Red) of a patch is the sigmoid of (mean red − mean blue) / 100.

    Any class after the second has a logit of 0.
    """
    weights = np.zeros((3, outputs), np.float32)
    weights[0, 1], weights[2, 1] = 0.01, -0.01
    nodes = [
        helper.make_node("Cast", [INPUT], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [OUTPUT], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["n", 32, 32, 3])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", outputs])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([1, 2]), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {METADATA: json.dumps(describe(classes=classes))} if metadata is None else metadata)
    onnx.save(model, path)
    return path
