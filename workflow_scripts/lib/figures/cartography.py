"""Maps of a slide: traits one by one, and their combinations (the paper's Fig. 1c and Fig. 3)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path
from matplotlib.transforms import Affine2D

from workflow_scripts.lib import palette, tiles
from workflow_scripts.lib.cartography import FILTERED_OUT, NEGATIVE, NO_TISSUE, POSITIVE, Cartography, read_map
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.heterogeneity import NONE, combination_counts, combination_names, slide_votes

# HTI of the rows of the paper's Fig. 3, from top to bottom.
EXAMPLE_ROWS = ((0.0, 0.1), (0.4, 0.6), (0.9, 1.0))
OTHER = "other combinations"
_FLAGS = {"no_positive": "no positive tile", "no_tiles": "no tile"}


@dataclass(frozen=True)
class SlideMap:
    """What a heterogeneity map is drawn from: a slide's map, its row of `hti.tsv`, and a picture of the slide.

    hti: a mapping with at least `traits` (`A+B`), `hti` and `flag`. thumbnail: (height, width, 3) uint8 of the whole
    slide, or None where there is none.
    """

    cartography: Cartography
    hti: Mapping[str, Any]
    thumbnail: np.ndarray | None

    @property
    def traits(self) -> list[str]:
        """The traits of the heterogeneity index, which may be fewer than the map's."""
        return str(self.hti["traits"]).split("+")


def read_slide_maps(hti: pd.DataFrame, *, maps: str | FilePath, stores: Iterable[str | FilePath]) -> Iterator[SlideMap]:
    """One after the other, what the heterogeneity maps of the slides in `hti` (rows of `hti.tsv`) are drawn from.

    maps: the folder of the slides' maps; stores: their tile stores, which hold the thumbnails. Raises InputError where
    a slide has no map or no store.
    """
    store_of = {FilePath(store).stem: store for store in stores}
    for row in hti.to_dict("records"):
        slide_id = row["slide_id"]
        if slide_id not in store_of:
            raise InputError(f"{slide_id}: expected its tile store among {len(store_of)}, found none; tile the slide")
        with tiles.open_store(store_of[slide_id]) as store:
            thumbnail = tiles.decode(store.thumbnail) if store.thumbnail else None
        yield SlideMap(read_map(FilePath(maps) / f"{slide_id}.h5"), row, thumbnail)


def tile_counts(slide: SlideMap) -> dict[str, int]:
    """Number of tiles of each combination, `none` included, by name."""
    _, positive = slide_votes(slide.cartography, slide.traits)
    return dict(zip(combination_names(slide.traits), combination_counts(positive).tolist(), strict=True))


@style.styled
def heterogeneity_map(slide: SlideMap) -> Figure:
    """Fig. 3 for one slide: its thumbnail, the map with a colour per combination, and the HTI above.

    The legend names every combination that the slide has, with its share of the slide's tiles.
    """
    counts = tile_counts(slide)
    colours = palette.combination_colours(slide.traits, counts)
    handles = _legend([slide.cartography], colours, counts)
    longest = max((len(line) for handle in handles for line in handle.get_label().split("\n")), default=0)
    columns = 3 if longest > 24 else 4
    wide = _aspect(slide.cartography) < 0.6
    pictures = 340 if wide else 86
    height = 20 + min(pictures * _aspect(slide.cartography), 150) + 4 * _lines(handles, columns)
    figure = style.new(style.DOUBLE_COLUMN_MM, height)
    left, right = figure.subplots(2, 1) if wide else figure.subplots(1, 2)
    style.slide_picture(left, slide.thumbnail, *_slide_mm(slide.cartography))
    _draw_combinations(right, slide, colours)
    style.scale_bar(right, *_slide_mm(slide.cartography))
    figure.suptitle(f"{_hti_text(slide.hti, full=True)}\n{style.short(slide.cartography.slide_id, 60)}")
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
    return figure


def choose_examples(hti: pd.DataFrame, *, per_row: int = 3) -> pd.DataFrame:
    """The slides to show on a page of examples: the rows of `hti.tsv` whose HTI lies in one of EXAMPLE_ROWS.

    At most `per_row` of each, those with most positive tiles (ties by slide_id), each row of examples from low to high.
    Slides without a positive tile have no map to show.
    """
    style.require(hti, ("slide_id", "hti", "n_positive"), what="hti.tsv")
    chosen = []
    for low, high in EXAMPLE_ROWS:
        rows = hti[hti["hti"].between(low, high) & (hti["n_positive"] > 0)]
        rows = rows.sort_values(["n_positive", "slide_id"], ascending=[False, True]).head(per_row)
        chosen.append(rows.sort_values(["hti", "slide_id"]))
    return pd.concat(chosen, ignore_index=True)


@style.styled
def heterogeneity_examples(slides: Iterable[SlideMap], *, per_row: int = 3) -> Figure:
    """The page of Fig. 3: slides of HTI 0-0.1, 0.4-0.6 and 0.9-1, one row each, the thumbnail beside each map.

    `slides`: those of `choose_examples`, in any order. A row without a slide says so.
    """
    slides = list(slides)
    rows = [[slide for slide in slides if low <= slide.hti["hti"] <= high] for low, high in EXAMPLE_ROWS]
    rows = [sorted(row, key=lambda slide: slide.hti["hti"])[:per_row] for row in rows]
    shown = [slide for row in rows for slide in row]
    if not shown:
        return style.nothing("No slide has an HTI of 0–0.1, 0.4–0.6 or 0.9–1 and a positive tile.")
    totals = pd.DataFrame([tile_counts(slide) for slide in shown]).sum().to_dict()
    colours = palette.combination_colours(shown[0].traits, totals)
    panel_mm = (style.DOUBLE_COLUMN_MM - 14) / (2 * per_row)
    heights = [16 + panel_mm * max((_aspect(slide.cartography) for slide in row), default=0.1) for row in rows]
    figure = style.new(style.DOUBLE_COLUMN_MM, min(sum(heights), 215) + 16)
    bands = figure.subfigures(len(EXAMPLE_ROWS), 1, height_ratios=heights)
    for band, row, (low, high) in zip(bands, rows, EXAMPLE_ROWS, strict=True):
        band.supylabel(f"HTI {low:g}–{high:g}", fontsize=8, fontweight="bold")
        _draw_examples(band, row, colours, per_row)
    handles = _legend([slide.cartography for slide in shown], colours, None)
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


@style.styled
def trait_maps(cartography: Cartography) -> Figure:
    """The molecular cartographies of one slide: for each trait its probabilities and its positive tiles (Fig. 1c)."""
    traits = cartography.traits
    if not traits:
        return style.nothing(f"{cartography.slide_id} has no trait map.")
    across = 1 if len(traits) == 1 else 2
    down = -(-len(traits) // across)
    width = style.DOUBLE_COLUMN_MM if across == 2 else 110
    panel_mm = (width - 28) / (2 * across)
    figure = style.new(width, min(24 + down * (10 + panel_mm * min(_aspect(cartography), 2)), 240))
    panels = figure.subplots(down, 2 * across, squeeze=False)
    for panel in panels.flat:
        panel.set_axis_off()
    for index, trait in enumerate(traits):
        row, column = divmod(index, across)
        left, right = panels[row, 2 * column], panels[row, 2 * column + 1]
        _draw_probabilities(left, cartography, index)
        _draw_states(right, cartography, index)
        left.set_title(style.wrapped(trait, 20), loc="left")
        right.set_title(_share_text(cartography.states[index]), fontweight="normal", fontsize=6.5)
    style.scale_bar(panels[0, 0], *_slide_mm(cartography))
    figure.colorbar(
        ScalarMappable(Normalize(0, 1), style.PROBABILITIES),
        ax=panels,
        shrink=1.0 if down < 3 else 0.4,
        aspect=18,
        label="mean probability of the ensemble's members",
    )
    figure.suptitle(style.short(cartography.slide_id, 60 if across == 2 else 36))
    present = np.unique(cartography.states)
    figure.legend(handles=_state_legend(present), loc="outside lower center", ncols=4 if across == 2 else 2)
    return figure


def _draw_examples(band: Any, row: Sequence[SlideMap], colours: Mapping[str, str], per_row: int) -> None:
    if not row:
        axes = band.subplots()
        style.say(axes, "no slide of this row")
        return
    panels = band.subplots(1, 2 * per_row, squeeze=False)[0]
    for panel in panels:
        panel.set_axis_off()
    for slide, left, right in zip(row, panels[::2], panels[1::2], strict=False):
        style.slide_picture(left, slide.thumbnail, *_slide_mm(slide.cartography))
        _draw_combinations(right, slide, colours)
        style.scale_bar(right, *_slide_mm(slide.cartography))
        right.set_title(_hti_text(slide.hti, full=False), fontsize=7.5)
        left.set_title(
            style.short(slide.cartography.slide_id, 16), fontsize=5.5, fontweight="normal", color=style.FAINT
        )


def _draw_combinations(axes: Axes, slide: SlideMap, colours: Mapping[str, str]) -> None:
    cartography = slide.cartography
    layers = [cartography.traits.index(trait) for trait in slide.traits]
    states = cartography.states[layers]
    image = _background(states[0])
    coords, positive = slide_votes(cartography, slide.traits)
    for column, row, votes in zip(*coords.T, positive.T, strict=True):
        name = "+".join(trait for trait, vote in zip(slide.traits, votes, strict=True) if vote)
        image[row, column] = to_rgb(colours[name] if name else palette.NEGATIVE)
    _draw_lattice(axes, cartography, image, states[0] == FILTERED_OUT)


def _draw_states(axes: Axes, cartography: Cartography, layer: int) -> None:
    states = cartography.states[layer]
    image = _background(states)
    image[states == POSITIVE] = to_rgb(palette.POSITIVE)
    _draw_lattice(axes, cartography, image, states == FILTERED_OUT)


def _draw_probabilities(axes: Axes, cartography: Cartography, layer: int) -> None:
    states = cartography.states[layer]
    image = _background(states)
    known = np.isfinite(cartography.probabilities[layer])
    scale = ScalarMappable(Normalize(0, 1), style.PROBABILITIES)
    image[known] = scale.to_rgba(cartography.probabilities[layer][known])[:, :3]
    _draw_lattice(axes, cartography, image, states == FILTERED_OUT)


def _background(states: np.ndarray) -> np.ndarray:
    """(rows, columns, 3) colours of a lattice before any positive tile."""
    image = np.ones((*states.shape, 3))
    for state, colour in (
        (NO_TISSUE, palette.NO_TISSUE),
        (FILTERED_OUT, palette.FILTERED),
        (NEGATIVE, palette.NEGATIVE),
    ):
        image[states == state] = to_rgb(colour)
    return image


def _draw_lattice(axes: Axes, cartography: Cartography, image: np.ndarray, filtered: np.ndarray) -> None:
    rows, columns = image.shape[:2]
    side = _tile_mm(cartography)
    if rows and columns:
        axes.imshow(image, extent=(0, columns * side, rows * side, 0), interpolation="nearest")
    places = np.argwhere(filtered) * side
    if len(places):
        squares = [Path.unit_rectangle().transformed(_square(x, y, side)) for y, x in places]
        outline = Path.make_compound_path(*squares)
        axes.add_patch(PathPatch(outline, facecolor="none", edgecolor=style.FILTERED_HATCH, linewidth=0, hatch="/////"))
    style.slide_frame(axes, *_slide_mm(cartography))


def _square(x: float, y: float, side: float) -> Any:
    return Affine2D().scale(side).translate(x, y)


def _tile_mm(cartography: Cartography) -> float:
    return cartography.tile_px * cartography.mpp / 1000


def _aspect(cartography: Cartography) -> float:
    return cartography.height / cartography.width


def _lines(handles: Sequence[Patch], columns: int) -> int:
    """Lines of text in the tallest column of a legend, which fills its columns one after the other."""
    lines = [handle.get_label().count("\n") + 1 for handle in handles]
    rows = -(-len(lines) // columns)
    return max((sum(lines[start : start + rows]) for start in range(0, len(lines), max(rows, 1))), default=0)


def _slide_mm(cartography: Cartography) -> tuple[float, float]:
    scale = _tile_mm(cartography) / cartography.tile_level0_px
    return cartography.width * scale, cartography.height * scale


def _hti_text(hti: Mapping[str, Any], *, full: bool) -> str:
    if not np.isfinite(hti["hti"]):
        return "HTI: NA (no tile)"
    text = f"HTI {hti['hti']:.2f}"
    if not full:
        return text
    low, high, p = (float(hti.get(name, np.nan)) for name in ("low", "high", "p"))
    if np.isfinite(low) and np.isfinite(high):
        text += f" (95 % {low:.2f}–{high:.2f})"
    if np.isfinite(p):
        text += f", co-location {style.p_text(p)}"
    flag = hti.get("flag")
    return f"{text}, {_FLAGS.get(flag, flag)}" if isinstance(flag, str) and flag else text


def _legend(
    cartographies: Sequence[Cartography], colours: Mapping[str, str], counts: Mapping[str, int] | None
) -> list[Patch]:
    """Handles for every combination in `colours`, then for no trait, filtered out and no tissue where there are any."""
    total = max(sum(counts.values()), 1) if counts else 1

    def share(number: int) -> str:
        return f" ({100 * number / total:.1f} %)" if counts else ""

    handles, others = [], 0
    for name, colour in colours.items():
        if colour == palette.OTHER_COMBINATIONS:
            others += counts[name] if counts else 1
        else:
            label = style.wrapped(palette.combination_label(name), 44)
            handles.append(Patch(facecolor=colour, label=label + share(counts[name] if counts else 0)))
    if others:
        handles.append(Patch(facecolor=palette.OTHER_COMBINATIONS, label=OTHER + share(others)))
    if counts is None or counts[NONE]:
        handles.append(Patch(facecolor=palette.NEGATIVE, label="no trait" + share(counts[NONE] if counts else 0)))
    present = np.unique(np.concatenate([np.unique(cartography.states) for cartography in cartographies]))
    return [*handles, *_state_legend(np.intersect1d(present, [NO_TISSUE, FILTERED_OUT]))]


def _state_legend(present: np.ndarray) -> list[Patch]:
    of_state = {
        POSITIVE: Patch(facecolor=palette.POSITIVE, label="positive"),
        NEGATIVE: Patch(facecolor=palette.NEGATIVE, label="negative"),
        FILTERED_OUT: Patch(
            facecolor=palette.FILTERED, edgecolor=style.FILTERED_HATCH, linewidth=0, hatch="/////", label="filtered out"
        ),
        NO_TISSUE: Patch(facecolor=palette.NO_TISSUE, edgecolor=style.RULE, label="no tissue"),
    }
    return [handle for state, handle in of_state.items() if state in present]


def _share_text(states: np.ndarray) -> str:
    voted = np.isin(states, [NEGATIVE, POSITIVE]).sum()
    if not voted:
        return "no tile"
    return f"{100 * (states == POSITIVE).sum() / voted:.0f} % of {style.count(int(voted), 'tile')}"
