"""Exported models: one ONNX file each, which classifies patches anywhere, without torch and without a configuration.

The input `patches` is (n, tile_px, tile_px, 3) uint8, RGB at the model's µm/px, n free; the output `probabilities` is
(n, classes) float32. What is done to pixels before the network is part of the graph. What else is needed to use the
model stands in the file's metadata under METADATA, as JSON: see `ExportedModel`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from workflow_scripts.lib import tiles
from workflow_scripts.lib.errors import InputError

INPUT, OUTPUT = "patches", "probabilities"
METADATA = "histocarta"
# What the metadata hold changes with this number.
FORM = 1
KEYS = ("form", "method", "classes", "tiles", "weights", "code_version")
# What makes a slide's or a photograph's patches what they are, of the section `tiles` of the configuration.
TILE_SETTINGS = (
    "tile_px", "mpp", "max_background", "background_rule", *tiles.LIMITS, "jpeg_quality", "mpp_tolerance",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class ExportedModel:
    """A classifier of patches, and what its file says of it.

    `description` has `method` (its name in the study), `classes` (their names, in the order of probabilities), `tiles`
    (TILE_SETTINGS: how patches are cut and which of them are kept), `weights` (SHA-256 of the file of weights that it
    was made from) and `code_version`.
    """

    session: onnxruntime.InferenceSession
    description: Mapping[str, Any]

    def probabilities(self, patches: np.ndarray) -> np.ndarray:
        """The probabilities (n, classes) float32 of patches (n, tile_px, tile_px, 3) uint8."""
        return self.session.run([OUTPUT], {INPUT: patches})[0]


def open_model(path: str | Path, *, threads: int) -> ExportedModel:
    """Read an exported model, to be applied in `threads` threads of the CPU.

    Raises InputError where there is no such file, or it is no model of this form.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: expected an exported model, found: {error.strerror}") from error
    try:
        return make_session(content, threads=threads)
    except InputError as error:
        raise InputError(f"{path}: {error}; give a file that this version has exported") from None


def make_session(content: bytes, *, threads: int) -> ExportedModel:
    """The model whose file has these bytes. Raises InputError where it is no model of this form."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    # The library has a dozen errors, which share no other base.
    except Exception as error:
        raise InputError(f"expected a model in the ONNX format, found: {error}") from None
    description = _description_of(session.get_modelmeta().custom_metadata_map)
    side, classes = description["tiles"]["tile_px"], len(description["classes"])
    found = {of.name: of.shape[1:] for of in (*session.get_inputs(), *session.get_outputs())}
    expected = {INPUT: [side, side, 3], OUTPUT: [classes]}
    if found != expected:
        raise InputError(f"expected arrays of {expected} beside the number of patches, found {found}")
    return ExportedModel(session, description)


def _description_of(metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        found = json.loads(metadata.get(METADATA, "{}"))
        lacking = [key for key in KEYS if key not in found]
        lacking += [key for key in TILE_SETTINGS if key not in found.get("tiles", {})]
    except (ValueError, TypeError, AttributeError):
        raise InputError(f"expected JSON under {METADATA!r} in its metadata, found something else") from None
    if lacking or found["form"] != FORM:
        raise InputError(
            f"expected the metadata of an exported model of form {FORM}, found form {found.get('form', 'none')}"
            + (f", without {', '.join(lacking)}" if lacking else "")
        )
    rule = found["tiles"]["background_rule"]
    if rule not in tiles.BACKGROUND_RULES:
        raise InputError(f"expected a background rule among {', '.join(tiles.BACKGROUND_RULES)}, found {rule!r}")
    return found
