"""A score of each tile over the picture of its slide."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from workflow_scripts.lib import tiles
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.layers import Layer

# How much of a tile is its score's colour, the rest being the slide in grey: scores are told apart, glands still seen.
OPACITY = 0.65
# Where there is no thumbnail: the canvas' longest side in px.
CANVAS_PX = 1024
# Rec. 601.
LIGHTNESS = (0.299, 0.587, 0.114)


def heatmaps(layers: Iterable[Layer], *, stores: Iterable[str | Path]) -> Iterator[tuple[Layer, Figure]]:
    """One after the other, each layer with the heatmap of its first score; a trait's layer has one score alone.

    stores: the slides' tile stores, which hold the thumbnails. Raises InputError where a slide has none.
    """
    store_of = {Path(store).stem: store for store in stores}
    for layer in layers:
        if layer.slide_id not in store_of:
            raise InputError(
                f"{layer.slide_id}: expected its tile store among {len(store_of)}, found none; tile the slide"
            )
        with tiles.open_store(store_of[layer.slide_id]) as store:
            thumbnail = tiles.decode(store.thumbnail) if store.thumbnail else None
        yield layer, heatmap(layer, thumbnail, score=next(iter(layer.scores)))


@style.styled
def heatmap(layer: Layer, thumbnail: np.ndarray | None, *, score: str) -> Figure:
    """A slide, and beside it (below, where it is wide) the same with each tile's score over it, from 0 to 1.

    thumbnail: (h, w, 3) uint8 of the whole slide, or None where there is none. score: a name among the layer's scores.
    Beneath a score the slide is grey, so that its stain does not change the score's colour; elsewhere it is as it is.
    """
    width, height = (side * layer.slide_mpp / 1000 for side in (layer.width, layer.height))
    wide = height / width < 0.6
    pictures = 310 if wide else 80
    figure = style.new(style.DOUBLE_COLUMN_MM, 18 + min(pictures * height / width, 170))
    left, right = panels = figure.subplots(2, 1) if wide else figure.subplots(1, 2)
    colours = ScalarMappable(Normalize(0, 1), style.PROBABILITIES)
    style.slide_picture(left, thumbnail, width, height)
    style.slide_picture(right, _covered(layer, thumbnail, layer.scores[score], colours), width, height)
    style.scale_bar(right, width, height)
    figure.colorbar(colours, ax=panels, shrink=0.8, aspect=24, pad=0.02, label=score)
    figure.suptitle(f"{score}\n{style.short(layer.slide_id, 60)}")
    return figure


def _covered(layer: Layer, thumbnail: np.ndarray | None, values: np.ndarray, colours: ScalarMappable) -> np.ndarray:
    """(h, w, 3) uint8: the thumbnail, or a white canvas of its size, under the scores of the tiles."""
    if thumbnail is None:
        scale = CANVAS_PX / max(layer.width, layer.height)
        thumbnail = np.full((*(max(1, round(side * scale)) for side in (layer.height, layer.width)), 3), 255, np.uint8)
    rows = _tile_of(thumbnail.shape[0], layer.height, layer.tile_level0_px)
    columns = _tile_of(thumbnail.shape[1], layer.width, layer.tile_level0_px)
    on_lattice = np.ix_(rows < values.shape[0], columns < values.shape[1])
    shown = thumbnail.copy()
    scores = values[np.ix_(rows[rows < values.shape[0]], columns[columns < values.shape[1]])]
    known = np.isfinite(scores)
    under = shown[on_lattice]
    grey = under[known] @ np.array(LIGHTNESS)
    rgb = colours.to_rgba(scores[known])[:, :3] * 255
    under[known] = np.round(OPACITY * rgb + (1 - OPACITY) * grey[:, None]).astype(np.uint8)
    shown[on_lattice] = under
    return shown


def _tile_of(pixels: int, level0_px: int, side: float) -> np.ndarray:
    """The row or column of the lattice, which may be past its end, that each pixel of a picture has its centre in."""
    return ((np.arange(pixels) + 0.5) * level0_px / pixels / side).astype(int)
