"""What quality dropped from a cohort's slides, and why: examples, measures of all tiles, and counts of slides."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.lib import quality, tiles
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.quality import BLUR, DARK, PEN, REASONS, Limits

KEPT = "#9A9A9A"
COLOURS = {PEN: "#0F7B6C", DARK: "#7A3E9D", BLUR: "#E08A00"}
NAMES = {PEN: "pen ink", DARK: "dark (folds)", BLUR: "not sharp"}
EXAMPLES = 16
PER_ROW = 8
MOST_SLIDES = 8
SHARES = np.linspace(0, 1, 26)
SHARPNESS = np.logspace(0, 5, 26)
PANELS = {"pen": "Pen ink, all colours", "dark": "Dark and saturated", "sharpness": "Sharpness"}
PANELS |= {f"pen_{ink}": f"{ink.capitalize()} ink" for ink in quality.INKS}


@dataclass(frozen=True)
class Example:
    """A dropped tile to show. picture: (height, width, 3) uint8."""

    slide_id: str
    reason: str
    measures: Mapping[str, float]
    picture: np.ndarray


@dataclass(frozen=True)
class CohortQuality:
    """What the contact sheet is drawn from.

    slides: a row per slide with tissue, `slide_id`, `kept`, and dropped tiles by reason. histograms: for each of PANELS
    (2, 25) numbers of tiles, kept and dropped, between SHARES, or SHARPNESS. examples: at most EXAMPLES of a reason.
    """

    slides: pd.DataFrame
    histograms: Mapping[str, np.ndarray]
    examples: Sequence[Example]


def read_quality(stores: Iterable[str | Path]) -> CohortQuality:
    """Gather a cohort's measures from its tile stores, one store after the other.

    The examples of a reason are from as many slides as there are: the first of each slide, then the second.
    """
    rows = []
    histograms = {panel: np.zeros((2, len(SHARES) - 1), np.int64) for panel in PANELS}
    drawn: dict[str, list[tuple[int, str, Example]]] = {reason: [] for reason in REASONS}
    for path in stores:
        with tiles.open_store(path) as store:
            slide_id, kept, dropped = store.attributes["slide_id"], len(store), store.dropped
            for which, measures in enumerate((store.quality, dropped.quality)):
                for panel, counted in histograms.items():
                    counted[which] += _count(panel, measures)
        if kept + len(dropped.reason) == 0:
            continue
        rows.append({"slide_id": slide_id, "kept": kept} | {name: (dropped.reason == name).sum() for name in REASONS})
        for reason, examples in drawn.items():
            examples += _examples(slide_id, dropped, reason)
            examples.sort(key=lambda entry: entry[:2])
            del examples[EXAMPLES:]
    slides = pd.DataFrame(rows, columns=["slide_id", "kept", *REASONS])
    return CohortQuality(slides, histograms, [example for of in drawn.values() for *_, example in of])


@style.styled
def contact_sheet(found: CohortQuality, limits: Limits) -> Figure:
    """Examples of dropped tiles by reason, with slide and measure; above, all tiles' measures and slides' counts."""
    if found.slides.empty:
        return style.nothing("No slide has a tile with tissue: there is nothing to judge.")
    shown = {reason: [example for example in found.examples if example.reason == reason] for reason in REASONS}
    shown = {reason: examples for reason, examples in shown.items() if examples}
    lines = {reason: -(-len(examples) // PER_ROW) for reason, examples in shown.items()}
    heights = [9 + 27 * count for count in lines.values()] or [20]
    figure = style.new(style.DOUBLE_COLUMN_MM, 112 + sum(heights))
    bands = figure.subfigures(len(heights) + 1, 1, height_ratios=[112, *heights])
    panels = bands[0].subplots(2, 4)
    for axes, panel in zip([*panels[0, :3], *panels[1]], PANELS, strict=True):
        _draw_histogram(axes, panel, found.histograms[panel], _limit(panel, limits))
    _draw_slides(panels[0, 3], found.slides)
    if not shown:
        style.say(bands[1].subplots(), f"No tile was dropped. {limits_text(limits)}")
    for band, (reason, examples) in zip(bands[1:], shown.items(), strict=False):
        _draw_examples(band, reason, examples, int(found.slides[reason].sum()))
    figure.suptitle(_title(found.slides))
    return figure


def limits_text(limits: Limits) -> str:
    """The limits in words, those without one too."""
    shares = {"pen ink": limits.max_pen, "dark area": limits.max_dark}
    said = [f"{name} at most {_percent(limit)}" for name, limit in shares.items() if limit is not None]
    if limits.min_sharpness is not None:
        said.append(f"sharpness at least {limits.min_sharpness:g}")
    return f"Limits: {', '.join(said)}." if said else "There is no limit."


def _count(panel: str, measures: Mapping[str, np.ndarray]) -> np.ndarray:
    if panel == "sharpness":
        return np.histogram(np.clip(measures[panel], SHARPNESS[0], SHARPNESS[-1]), SHARPNESS)[0]
    # Sums of float32 shares may exceed 1 by a bit.
    return np.histogram(np.clip(quality.pen_share(measures) if panel == "pen" else measures[panel], 0, 1), SHARES)[0]


def _examples(slide_id: str, dropped: tiles.Dropped, reason: str) -> list[tuple[int, str, Example]]:
    """Examples of one slide, each with its number among them and the slide's lot."""
    lot = hashlib.sha256(slide_id.encode()).hexdigest()
    indices = [index for index in dropped.pictures if dropped.reason[index] == reason][:EXAMPLES]
    return [
        (
            number,
            lot,
            Example(
                slide_id,
                reason,
                {name: float(values[index]) for name, values in dropped.quality.items()},
                tiles.decode(dropped.pictures[index]),
            ),
        )
        for number, index in enumerate(indices)
    ]


def _limit(panel: str, limits: Limits) -> float | None:
    return {"pen": limits.max_pen, "dark": limits.max_dark, "sharpness": limits.min_sharpness}.get(panel)


def _draw_histogram(axes: Axes, panel: str, counts: np.ndarray, limit: float | None) -> None:
    edges = SHARPNESS if panel == "sharpness" else SHARES
    kept, dropped = counts
    axes.stairs(kept, edges, fill=True, color=KEPT, label="kept")
    axes.stairs(dropped, edges, color=style.HIGH, linewidth=1.2, label="dropped")
    axes.set_yscale("symlog", linthresh=1)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(0, max(counts.max() * 3, 10))
    axes.set_xlim(edges[0], edges[-1])
    if panel == "sharpness":
        axes.set_xscale("log")
    if limit is not None:
        axes.axvline(limit, color=style.INK, linewidth=0.9, linestyle="--")
    axes.set_title(PANELS[panel], loc="left")
    said = "" if panel in quality.PENS else "\nno limit" if limit is None else f"\nlimit (dashed): {limit:g}"
    axes.set_xlabel(("variance of the Laplacian" if panel == "sharpness" else "share of the tile") + said)
    axes.set_ylabel("tiles")
    if panel == "pen":
        axes.legend(loc="upper right")


def _draw_slides(axes: Axes, slides: pd.DataFrame) -> None:
    total = slides[[*REASONS]].sum(axis=1)
    losing = slides[total > 0].assign(total=total[total > 0])
    axes.set_title("Most tiles lost", loc="left")
    if losing.empty:
        style.say(axes, "no slide lost a tile")
        return
    losing = losing.sort_values(["total", "slide_id"], ascending=[False, True]).head(MOST_SLIDES)
    left = np.zeros(len(losing))
    places = np.arange(len(losing))
    for reason in REASONS:
        if losing[reason].any():
            axes.barh(places, losing[reason], left=left, height=0.7, color=COLOURS[reason], label=NAMES[reason])
        left += losing[reason].to_numpy(float)
    for place, row in enumerate(losing.itertuples()):
        said = f"{row.total:,} of {row.total + row.kept:,}"
        axes.annotate(said, (row.total, place), (2, 0), textcoords="offset points", va="center", fontsize=5.5)
    axes.set_yticks(places, [style.short(name, 16) for name in losing["slide_id"]], fontsize=5)
    axes.set_ylim(max(len(losing), 4) - 0.4, -0.6)
    axes.set_xlim(0, losing["total"].max() * 1.6)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.get_major_locator().set_params(integer=True, nbins=3)
    axes.set_xlabel("tiles dropped")


def _draw_examples(band: Any, reason: str, examples: Sequence[Example], total: int) -> None:
    band.suptitle(
        f"{NAMES[reason].capitalize()}: {style.count(total, 'tile')} dropped, {len(examples)} shown",
        x=0.01,
        ha="left",
        fontweight="bold",
        fontsize=7.5,
        color=COLOURS[reason],
    )
    panels = band.subplots(-(-len(examples) // PER_ROW), PER_ROW, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, example in zip(panels.flat, examples, strict=False):
        axes.imshow(example.picture, interpolation="antialiased")
        axes.set_title(
            f"{style.short(example.slide_id, 17)}\n{_measure_text(example)}", fontsize=5, fontweight="normal", pad=2
        )


def _measure_text(example: Example) -> str:
    """What an example was dropped for, in words: of ink the colour that there is most of."""
    measures = example.measures
    if example.reason == PEN:
        most = max(quality.INKS, key=lambda ink: measures[f"pen_{ink}"])
        return f"{_percent(quality.pen_share(measures))} ink, {most}"
    if example.reason == DARK:
        return f"{_percent(measures['dark'])} dark"
    return f"sharpness {measures['sharpness']:.3g}"


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %" if 0 < share < 0.01 else f"{share * 100:.0f} %"


def _title(slides: pd.DataFrame) -> str:
    total = slides[[*REASONS]].sum(axis=1)
    dropped, tissue = int(total.sum()), int(total.sum() + slides["kept"].sum())
    return (
        f"{dropped:,} of {style.count(tissue, 'tile')} with tissue dropped by quality ({_percent(dropped / tissue)}), "
        f"on {(total > 0).sum():,} of {style.count(len(slides), 'slide')}"
    )
