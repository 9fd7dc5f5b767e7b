"""Small layers for tests."""

import numpy as np

from workflow_scripts.lib.layers import Category, Layer

NAMED = (
    Category("no tissue", "#FFFFFF"),
    Category("filtered out", "#C4D3E6"),
    Category("A negative", "#D6D6D6"),
    Category("A positive", "#E8559F"),
)


def make_layer(codes: object, *, side: float = 254.27, width: int | None = None, height: int | None = None) -> Layer:
    """A layer of the trait A on a lattice of tiles of `side` level-0 px, with a score for each tile that has a vote."""
    codes = np.asarray(codes, np.int32)
    rows, columns = codes.shape
    scores = np.where(codes > 1, np.linspace(0, 1, codes.size).reshape(codes.shape), np.nan).astype(np.float32)
    size = width or int(columns * side) + 90, height or int(rows * side) + 40
    return Layer("S1", "A", *size, 0.2517, side, NAMED, codes, {"A probability": scores})


def some_layer(**geometry: object) -> Layer:
    """Three rows of four tiles, of every category."""
    return make_layer([[0, 2, 3, 0], [2, 2, 1, 3], [0, 3, 3, 0]], **geometry)
