"""Slides beside their grids, and what slide-level networks looked at on them (neural image compression, Fig. 1)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure, SubFigure

from workflow_scripts.lib import risk_scores, target_scores, tiles
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.figures.heatmaps import LIGHTNESS
from workflow_scripts.lib.figures.origin import readable
from workflow_scripts.lib.slide_targets import CLASS, NUMBER, SURVIVAL
from workflow_scripts.lib.splits import TEST

GRID, ATTRIBUTION = "grid", "attribution"
# What lowers the output is dark, what raises it is not: they are told apart in grey too.
LOOKED_AT = LinearSegmentedColormap.from_list("looked_at", ["#12306B", "#5F86C4", "#F4F4F4", "#F5A04C", "#C74E00"])
OPACITY = 0.72
# A patch's attribution at this quantile of a slide's has the full colour.
FULL = 0.98
MOST_SLIDES = 3
HIGHEST_MM = 62.0
# Height of the bar of colours with its words.
BAR_MM = 12.0


class Picture(NamedTuple):
    """A whole slide: its thumbnail (h, w, 3) uint8 or None, its size and that of its lattice, in mm."""

    slide_id: str
    thumbnail: np.ndarray | None
    width: float
    height: float
    lattice: tuple[float, float]


def read_picture(path_to_store: str | Path) -> Picture:
    """What a tile store says of the whole slide. Raises InputError when it is not one."""
    with tiles.open_store(path_to_store) as store:
        lattice = store.lattice
        mm = lattice.slide_mpp / 1000
        side = lattice.tile_px * lattice.mpp / 1000
        return Picture(
            slide_id=store.attributes["slide_id"],
            thumbnail=tiles.decode(store.thumbnail) if store.thumbnail else None,
            width=store.attributes["width"] * mm,
            height=store.attributes["height"] * mm,
            lattice=(lattice.columns * side, lattice.rows * side),
        )


# Fig. 1


class Grid(NamedTuple):
    """A slide and its codes, (C, H, W) float, 0 where there is no tissue."""

    picture: Picture
    codes: np.ndarray


def read_grids(
    paths_to_grids: Iterable[str | Path], paths_to_stores: Iterable[str | Path], *, most: int = MOST_SLIDES
) -> list[Grid]:
    """The grids of a few slides, evenly among those of the files by name, as they lie in the slide.

    paths_to_stores: of all of the slides, at least. Raises InputError where a slide has no store.
    """
    stores = {Path(path).stem: path for path in paths_to_stores}
    places = {}
    for path in paths_to_grids:
        with h5py.File(path, "r", locking=False) as file:
            places |= dict.fromkeys(file, path)
    names = sorted(places)
    chosen = [names[int((place + 0.5) * len(names) / most)] for place in range(most)] if len(names) > most else names
    found = []
    for name in chosen:
        if name not in stores:
            raise InputError(
                f"{places[name]}: expected the tile store of {name}, found none; compress the slides again"
            )
        with h5py.File(places[name], "r", locking=False) as file:
            found.append(Grid(read_picture(stores[name]), file[name][GRID][0].astype(np.float32)))
    return found


@style.styled
def grids(found: Sequence[Grid], *, encoder: str) -> Figure:
    """Fig. 1: each slide beside its grid, of which three principal components are red, green and blue."""
    if not found:
        return style.nothing("No slide has tissue that was compressed.")
    pictures = [of.picture for of in found]
    heights = [_row_mm(picture, across=2) for picture in pictures]
    figure = style.new(style.DOUBLE_COLUMN_MM, 14 + sum(heights))
    panels = figure.subplots(len(found), 2, squeeze=False, height_ratios=heights)
    for (left, right), grid, colours in zip(panels, found, components([of.codes for of in found]), strict=True):
        picture = grid.picture
        style.slide_picture(left, picture.thumbnail, picture.width, picture.height)
        style.scale_bar(left, picture.width, picture.height)
        _show(right, colours, picture)
        left.set_title(style.short(picture.slide_id, 44), loc="left")
        features, height, width = grid.codes.shape
        right.set_title(f"{width} × {height} patches of {features} numbers", loc="left", fontweight="normal")
    style.footnote(
        figure,
        f"Encoder: {readable(encoder)}. Red, green and blue are the first, second and third principal component of the"
        " codes of all tissue that is shown, each from its 2nd to its 98th percentile; white: no tissue.",
    )
    return figure


def components(codes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The codes of some slides, (C, H, W) each, as colours, (H, W, 3) from 0 to 1; white where all of a code is 0.

    Principal components are those of all tissue together. A component's sign is that of its largest loading, so that
    it does not change between runs; what codes lack of three components is grey.
    """
    tissue = [(of != 0).any(axis=0) for of in codes]
    together = np.concatenate([of[:, where].T for of, where in zip(codes, tissue, strict=True)]).astype(float)
    found = [np.ones((*where.shape, 3)) for where in tissue]
    if not len(together):
        return found
    mean = together.mean(axis=0)
    _, vectors = np.linalg.eigh(np.atleast_2d(np.cov(together.T, bias=True)))
    axes = vectors[:, ::-1][:, :3]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    projected = (together - mean) @ axes
    low, high = np.quantile(projected, [0.02, 0.98], axis=0)
    spread = high - low
    for colours, of, where in zip(found, codes, tissue, strict=True):
        scores = (of[:, where].T - mean) @ axes
        shade = np.full((len(scores), 3), 0.5)
        shade[:, : axes.shape[1]] = np.divide(scores - low, spread, out=np.full(scores.shape, 0.5), where=spread > 1e-9)
        colours[where] = np.clip(shade, 0, 1)
    return found


def _row_mm(picture: Picture, *, across: int) -> float:
    """How much height a row of pictures takes, with the words above it."""
    width = style.DOUBLE_COLUMN_MM / across - 8
    return 12 + float(np.clip(width * picture.height / picture.width, 12, HIGHEST_MM)) if picture.width else 20.0


def _show(axes: Axes, image: np.ndarray, picture: Picture) -> None:
    """An image of the lattice's size over the slide's place; beyond the lattice is nothing."""
    width, height = picture.lattice
    if image.size:
        axes.imshow(image, extent=(0, width, height, 0), interpolation="nearest")
    style.slide_frame(axes, picture.width, picture.height)


# What was looked at


class Looked(NamedTuple):
    """What a network looked at on a slide: attribution (H, W), NaN without tissue; said: what stands above it."""

    attribution: np.ndarray
    said: str


def slides_in(path: str | Path) -> list[str]:
    """The slides of a file of attributions."""
    with h5py.File(path, "r", locking=False) as file:
        return sorted(file)


def read_attribution(path: str | Path, slide_id: str) -> np.ndarray:
    """Of one slide, (H, W) float32, NaN where there is no tissue."""
    with h5py.File(path, "r", locking=False) as file:
        return file[slide_id][ATTRIBUTION][:]


def raises(kind: str, classes: Sequence[str]) -> str:
    """What a positive attribution raises, by a target's kind and classes."""
    return {
        CLASS: f"p({readable(classes[-1])})" if classes else "the last class",
        NUMBER: "the number",
        SURVIVAL: "the risk",
    }[kind]


def tested(predictions: pd.DataFrame) -> pd.Series:
    """What is predicted of each tested slide, the mean over models, by slide_id; of classes p of the last one."""
    rows = predictions[predictions["set"] == TEST]
    outputs = [column for column in rows if column == "prediction" or column.startswith("p_")]
    return rows.groupby("slide_id")[outputs[-1]].mean().dropna()


def extremes(predictions: pd.DataFrame, slides: Iterable[str]) -> list[str]:
    """Of some slides that which has the lowest prediction, and that which has the highest."""
    of_slides = tested(predictions)
    of_slides = of_slides[of_slides.index.isin(list(slides))]
    return list(dict.fromkeys([of_slides.idxmin(), of_slides.idxmax()])) if len(of_slides) else []


def read_examples(
    paths_to_attributions: Mapping[str, str | Path],
    paths_to_predictions: Mapping[str, str | Path],
    paths_to_stores: Iterable[str | Path],
    *,
    described: Mapping[str, Mapping[str, object]],
) -> dict[str, list[tuple[Picture, Looked]]]:
    """By target the slides with the lowest and the highest prediction, with what its network looked at.

    Both files are of one encoder of each target; described: by target its kind, classes, title and slides_of_patient.
    """
    stores = {Path(path).stem: path for path in paths_to_stores}
    found = {}
    for target, path in paths_to_attributions.items():
        predictions, asked = target_scores.read_predictions(paths_to_predictions[target]), described[target]
        if asked["kind"] == SURVIVAL:
            # Slides are tested by different models, whose log risks have no common zero.
            predictions, _ = risk_scores.on_one_scale(predictions, slides_of_patient=asked["slides_of_patient"])
        of_slides = tested(predictions)
        name = raises(asked["kind"], asked["classes"])
        found[target] = [
            (
                read_picture(stores[slide]),
                Looked(
                    read_attribution(path, slide),
                    f"{_predicted(asked['kind'], name)} = {of_slides[slide]:.2f}".replace("-", "−"),
                ),
            )
            for slide in extremes(predictions, set(slides_in(path)) & set(stores))
        ]
    return found


def _predicted(kind: str, name: str) -> str:
    return name if kind == CLASS else {NUMBER: "number", SURVIVAL: "standardised risk"}[kind]


def read_slides(
    paths_to_attributions: Mapping[str, str | Path],
    paths_to_stores: Iterable[str | Path],
    *,
    described: Mapping[str, Mapping[str, object]],
) -> Iterator[tuple[Picture, dict[str, Looked]]]:
    """One after the other, every tested slide with what each target's network looked at, by target."""
    of_targets = {target: set(slides_in(path)) for target, path in paths_to_attributions.items()}
    for path in sorted(paths_to_stores, key=lambda path: Path(path).stem):
        slide = Path(path).stem
        found = {}
        for target in (target for target, slides in of_targets.items() if slide in slides):
            said = f"raises {raises(described[target]['kind'], described[target]['classes'])}"
            found[target] = Looked(read_attribution(paths_to_attributions[target], slide), said)
        if found:
            yield read_picture(path), found


@style.styled
def examples(
    found: Mapping[str, Sequence[tuple[Picture, Looked]]], *, described: Mapping[str, Mapping[str, object]]
) -> Figure:
    """A page: of each target two slides, and what its network looked at on them; the highest prediction on the right.

    found: as `read_examples` gives it. Colours are of each slide alone: the patches that count most have the full one.
    """
    shown = {target: pairs for target, pairs in found.items() if pairs}
    if not shown:
        return style.nothing("No tested slide has an attribution.")
    heights = [max(_row_mm(picture, across=4) for picture, _ in pairs) + 9 for pairs in shown.values()]
    figure = style.new(style.DOUBLE_COLUMN_MM, BAR_MM + sum(heights))
    *cells, last = figure.subfigures(len(shown) + 1, 1, height_ratios=[*heights, BAR_MM])
    for cell, (target, pairs) in zip(cells, shown.items(), strict=True):
        line = cell.subplots(1, 4)
        for axes in line:
            axes.set_anchor("NW")
        for axes in line[2 * len(pairs) :]:
            axes.set_axis_off()
        for number, (picture, looked) in enumerate(pairs):
            left, right = line[2 * number : 2 * number + 2]
            style.slide_picture(left, picture.thumbnail, picture.width, picture.height)
            style.scale_bar(left, picture.width, picture.height)
            left.set_title(style.short(picture.slide_id, 22), loc="left", fontsize=6.5)
            draw_attribution(right, picture, looked.attribution)
            right.set_title(style.short(looked.said, 26), loc="left", fontsize=6.5, fontweight="normal")
        asked = described[target]
        title = f"{style.short(str(asked['title']), 60)}: what raises {raises(asked['kind'], asked['classes'])}"
        cell.suptitle(title, x=0.01, ha="left", fontweight="bold")
    _draw_bar(last)
    return figure


@style.styled
def looked_at(picture: Picture, found: Mapping[str, Looked], *, titles: Mapping[str, str]) -> Figure:
    """A slide, and what each target's network looked at on it."""
    across = min(1 + len(found), 3)
    down = -(-(1 + len(found)) // across)
    row = _row_mm(picture, across=across) + 6
    figure = style.new(style.DOUBLE_COLUMN_MM, BAR_MM + 10 + row * down)
    first, last = figure.subfigures(2, 1, height_ratios=[10 + row * down, BAR_MM])
    panels = first.subplots(down, across, squeeze=False).flatten()
    for axes in panels[1 + len(found) :]:
        axes.set_axis_off()
    style.slide_picture(panels[0], picture.thumbnail, picture.width, picture.height)
    style.scale_bar(panels[0], picture.width, picture.height)
    panels[0].set_title("Slide", loc="left")
    for axes, (target, looked) in zip(panels[1:], found.items(), strict=False):
        draw_attribution(axes, picture, looked.attribution)
        style.heading(axes, style.short(titles[target], 34), looked.said)
    first.suptitle(style.short(picture.slide_id, 60))
    _draw_bar(last)
    return figure


def draw_attribution(axes: Axes, picture: Picture, attribution: np.ndarray) -> None:
    """The slide in grey, and over its tissue what raises and what lowers the output."""
    width, height = picture.lattice
    if picture.thumbnail is not None:
        grey = picture.thumbnail @ np.array(LIGHTNESS) / 255
        axes.imshow(grey, extent=(0, picture.width, picture.height, 0), cmap="gray", vmin=0, vmax=1)
    if attribution.size and np.isfinite(attribution).any():
        known = np.isfinite(attribution)
        full = np.quantile(np.abs(attribution[known]), FULL) or np.abs(attribution[known]).max() or 1.0
        image = LOOKED_AT(Normalize(-1, 1, clip=True)(np.where(known, attribution / full, 0)))
        image[..., 3] = np.where(known, OPACITY, 0)
        axes.imshow(image, extent=(0, width, height, 0), interpolation="nearest")
    style.slide_frame(axes, picture.width, picture.height)


def _draw_bar(cell: SubFigure) -> None:
    """The colours of attributions, which are of each slide alone."""
    left, bar, right = cell.subplots(1, 3)
    for axes in (left, right):
        axes.set_axis_off()
    colours = ScalarMappable(Normalize(-1, 1), LOOKED_AT)
    cell.colorbar(colours, cax=bar, orientation="horizontal", ticks=[-1, 0, 1])
    bar.set_xticklabels(["lowers it", "no part in it", "raises it"])
