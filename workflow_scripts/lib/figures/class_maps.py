"""Where on a slide which class of tumour is seen: Fig. 4A of metastatic origin."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from workflow_scripts.lib import palette, tiles
from workflow_scripts.lib import predictions as predicted
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.figures.origin import readable
from workflow_scripts.lib.origin_scores import DESCRIBED

# The rank of the true class on the paper's example: a second guess is what the figure is about.
SECOND = 2
ACROSS = 5


@dataclass(frozen=True)
class ClassMap:
    """A held-out slide, and the probability of each class by one regime on each of its tumour tiles.

    true: the slide's class, among `classes`. coords: (n, 2) int32, column and row; probabilities: (n, classes) float32.
    filtered: (m, 2) int32, tiles that the tumour filter took out. lattice: the slide's; width, height: its size in
    level-0 px. thumbnail: (h, w, 3) uint8 of the whole slide, or None where there is none.
    """

    slide_id: str
    true: str
    regime: str
    classes: tuple[str, ...]
    coords: np.ndarray
    probabilities: np.ndarray
    filtered: np.ndarray
    lattice: tiles.Lattice
    width: int
    height: int
    thumbnail: np.ndarray | None


def choose_slide(ranks: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """The slide to show: its row of `slide_predictions.tsv` by the last regime; no row where nothing was predicted.

    Of the slides whose true class came second, as it did on the paper's, the one with most tiles; of all slides where
    there is none. Ties go to the first slide_id. ranks: `ranks.tsv`.
    """
    style.require(ranks, ("regime", "slide_id", "rank"), what="tables/ranks.tsv")
    rows = of_last_regime(predictions).sort_values(["tiles", "slide_id"], ascending=[False, True])
    ours = ranks[ranks["regime"].isin(rows["regime"])]
    second = ours.loc[ours["rank"] == SECOND, "slide_id"]
    chosen = rows[rows["slide_id"].isin(second)]
    return (rows if chosen.empty else chosen).head(1)


def of_last_regime(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows of `slide_predictions.tsv` of the regime that comes last, which is the one that the study is about."""
    style.require(predictions, tuple(DESCRIBED), what="tables/slide_predictions.tsv")
    return predictions[predictions["regime"] == predictions["regime"].iloc[-1]] if len(predictions) else predictions


def read_class_maps(
    predictions: pd.DataFrame, *, probabilities: str | Path, stores: Iterable[str | Path]
) -> Iterator[ClassMap]:
    """One after the other, what the maps of some slides are drawn from.

    predictions: rows of `slide_predictions.tsv`. probabilities: `predictions.h5`; stores: the slides' tile stores.
    Raises InputError where a slide has no store, and as `predictions.read_classes` does.
    """
    store_of = {Path(store).stem: store for store in stores}
    classes = tuple(column for column in predictions.columns if column not in DESCRIBED)
    for row in predictions.to_dict("records"):
        slide_id, regime = row["slide_id"], row["regime"]
        if slide_id not in store_of:
            raise InputError(f"{slide_id}: expected its tile store among {len(store_of)}, found none; tile the slide")
        coords, found = predicted.read_classes(probabilities, slide_id, models=[regime], classes=len(classes))
        with tiles.open_store(store_of[slide_id]) as store:
            yield ClassMap(
                slide_id, row["class"], regime, classes, coords, found[regime], _without(store.coords, coords),
                store.lattice, store.attributes["width"], store.attributes["height"],
                tiles.decode(store.thumbnail) if store.thumbnail else None,
            )  # fmt: skip


def _without(coords: np.ndarray, others: np.ndarray) -> np.ndarray:
    known = set(map(tuple, others.tolist()))
    return np.array([place for place in coords.tolist() if tuple(place) not in known], np.int32).reshape(-1, 2)


@style.styled
def class_map(slide: ClassMap) -> Figure:
    """Fig. 4A: the slide, and a map for each class of its probability on each tile, the likeliest class first.

    Above a map: the class' place, its name, and its mean probability, which is the slide's. The true class has a frame.
    A slide that was excluded at tiling has a sentence in place of all this.
    """
    if not slide.width * slide.height:
        return style.nothing(f"{slide.slide_id} could not be tiled; its cohort's slides.tsv says why.")
    width, height = (side * slide.lattice.slide_mpp / 1000 for side in (slide.width, slide.height))
    means = slide.probabilities.mean(axis=0) if len(slide.coords) else np.full(len(slide.classes), np.nan)
    # Stable, so that ties stay in the order of the classes.
    order = np.argsort(-means, kind="stable")
    down = -(-(len(order) + 1) // ACROSS)
    panel_mm = (style.DOUBLE_COLUMN_MM - 24) / ACROSS
    row_mm = 10 + float(np.clip(panel_mm * height / width, 12, 48))
    figure = style.new(style.DOUBLE_COLUMN_MM, 22 + down * row_mm)
    figure.get_layout_engine().set(w_pad=2 * style.MM)
    panels = figure.subplots(down, ACROSS, squeeze=False)
    flat = panels.flatten()
    for panel in flat:
        # Ticks take a fifth of the time, though none is seen.
        panel.set(anchor="W", xticks=[], yticks=[])
        panel.set_axis_off()
    style.slide_picture(flat[0], slide.thumbnail, width, height)
    style.scale_bar(flat[0], width, height)
    flat[0].set_title("Slide", loc="left")
    colours = ScalarMappable(Normalize(0, 1), style.PROBABILITIES)
    for place, (panel, index) in enumerate(zip(flat[1:], order, strict=False), 1):
        name = slide.classes[index]
        _draw_class(panel, slide, index, colours, (width, height))
        text = f"{place}.\u00a0{readable(name)}"
        mean = f"{100 * means[index]:.1f} %" if np.isfinite(means[index]) else "no tile"
        is_true = name == slide.true
        weight = "bold" if is_true else "normal"
        panel.set_title(f"{style.wrapped(text, 22)}\n{mean}", loc="left", fontsize=6.5, fontweight=weight)
        if is_true:
            _frame(panel)
    figure.colorbar(
        colours,
        ax=panels,
        shrink=1 if down < 3 else 0.5,
        aspect=24,
        pad=0.03,
        label="probability of the class, by tile",
    )
    figure.suptitle(f"{style.short(slide.slide_id, 60)}\n{_said(slide, means, order)}")
    handles = [Patch(facecolor="none", edgecolor=palette.POSITIVE, linewidth=1.4, label="true class")]
    if len(slide.filtered):
        handles.append(Patch(facecolor=palette.FILTERED, label="filtered out"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def example(chosen: pd.DataFrame, *, probabilities: str | Path, stores: Iterable[str | Path]) -> Figure:
    """The map of the slide that was chosen (`choose_slide`), read as by `read_class_maps`; of none it says so."""
    slides = list(read_class_maps(chosen, probabilities=probabilities, stores=stores))
    return class_map(slides[0]) if slides else _no_slide()


@style.styled
def _no_slide() -> Figure:
    return style.nothing("No held-out slide was predicted.")


def _said(slide: ClassMap, means: np.ndarray, order: np.ndarray) -> str:
    true = f"true class {readable(slide.true)}"
    if not len(slide.coords):
        return f"{true}: no tumour tile"
    place = [slide.classes[index] for index in order].index(slide.true) + 1
    found = f"{true}: place {place} by {readable(slide.regime)}, with {100 * means[order[place - 1]]:.1f} %"
    first = f"; first is {readable(slide.classes[order[0]])}, with {100 * means[order[0]]:.1f} %"
    return found + (first if place > 1 else "")


def _frame(axes: Axes) -> None:
    (outline,) = axes.patches
    outline.set(edgecolor=palette.POSITIVE, linewidth=1.6)


def _draw_class(axes: Axes, slide: ClassMap, index: int, colours: ScalarMappable, size_mm: tuple[float, float]) -> None:
    rows, columns = slide.lattice.rows, slide.lattice.columns
    image = np.ones((rows, columns, 3))
    image[slide.filtered[:, 1], slide.filtered[:, 0]] = to_rgb(palette.FILTERED)
    shades = colours.to_rgba(slide.probabilities[:, index])[:, :3]
    image[slide.coords[:, 1], slide.coords[:, 0]] = shades
    side = slide.lattice.tile_px * slide.lattice.mpp / 1000
    if rows and columns:
        axes.imshow(image, extent=(0, columns * side, rows * side, 0), interpolation="nearest")
    style.slide_frame(axes, *size_mm)
