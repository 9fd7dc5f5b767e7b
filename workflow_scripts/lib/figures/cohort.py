"""What became of a cohort's slides: in, out and why, and how many tiles they gave."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.lib.figures import style

ACCEPTED = "#0063B1"
EXCLUDED = "#E08A00"
MOST_REASONS = 10


@style.styled
def cohort_flow(slides: pd.DataFrame) -> Figure:
    """Slides listed, accepted and excluded, by reason; beside them the number of tiles per accepted slide.

    `slides`: `slides.tsv` (slide_id, status `accepted` or `excluded`, reason, n_tiles). Reasons that differ
    only in a file's own numbers, names and details are one.
    """
    style.require(slides, ("slide_id", "patient_id", "status", "reason", "n_tiles"), what="slides.tsv")
    if slides.empty:
        return style.nothing("No slide was listed.")
    bars = flow(slides)
    figure = style.new(style.DOUBLE_COLUMN_MM, max(62, 24 + 7.5 * len(bars)))
    left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
    _draw_bars(left, bars)
    accepted = slides[slides["status"] == "accepted"]
    _draw_tiles(right, accepted["n_tiles"].dropna().to_numpy(float))
    patients = style.count(accepted["patient_id"].replace("", np.nan).nunique(), "patient")
    left.set_title(f"Slides ({patients} with an accepted slide)", loc="left")
    return figure


def flow(slides: pd.DataFrame) -> pd.DataFrame:
    """The bars of the flow, from top to bottom: step (`listed`, `accepted`, `excluded`, `reason`), name, n."""
    excluded = slides[slides["status"] == "excluded"]
    reasons = excluded["reason"].fillna("").map(_kind_of_reason).value_counts()
    reasons = reasons.sort_index().sort_values(ascending=False, kind="stable")
    rows = [("listed", "Listed", len(slides)), ("accepted", "Accepted", int((slides["status"] == "accepted").sum()))]
    rows.append(("excluded", "Excluded", len(excluded)))
    rows += [("reason", name, int(number)) for name, number in reasons.head(MOST_REASONS).items()]
    if len(reasons) > MOST_REASONS:
        rows.append(("reason", "other reasons", int(reasons.iloc[MOST_REASONS:].sum())))
    return pd.DataFrame(rows, columns=["step", "name", "n"])


def _kind_of_reason(reason: str) -> str:
    """A reason without what is about one file alone: its line in a list, its numbers and names, its details."""
    text = re.sub(r"^line \d+: ", "", reason)
    text = re.sub(r"\s*\([^)]*\)", "", text).split(":")[0]
    text = re.sub(r"'[^']*'|(?<!\S)\d[\d.]*", "…", text)
    return re.sub(r"(?<=slide_id )\S+(?= is taken)|(?<=taken by ).*", "…", text).strip() or "no reason given"


def _draw_bars(axes: Axes, bars: pd.DataFrame) -> None:
    colours = {"listed": style.LOW, "accepted": ACCEPTED, "excluded": EXCLUDED, "reason": EXCLUDED}
    for place, row in enumerate(bars.itertuples()):
        reason = row.step == "reason"
        axes.barh(place, row.n, height=0.45 if reason else 0.7, color=colours[row.step], alpha=0.6 if reason else 1)
        axes.annotate(f"{row.n:,}", (row.n, place), (3, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(bars)), [style.wrapped(style.short(name, 72), 38) for name in bars["name"]])
    for label, step in zip(axes.get_yticklabels(), bars["step"], strict=True):
        label.set_fontweight("normal" if step == "reason" else "bold")
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xlim(0, max(bars["n"].max(), 1) * 1.12)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.get_major_locator().set_params(integer=True, nbins=5)
    axes.set_xlabel("Slides")


def _draw_tiles(axes: Axes, tiles: Sequence[float]) -> None:
    tiles = np.asarray(tiles)
    axes.set_title("Tiles per accepted slide", loc="left")
    if len(tiles) == 0:
        style.say(axes, "no accepted slide")
        return
    bins = min(30, max(5, int(np.sqrt(len(tiles)) * 2)))
    axes.hist(
        tiles,
        bins=np.linspace(0, max(tiles.max(), 1) * 1.0001, bins + 1),
        color=ACCEPTED,
        edgecolor="white",
        linewidth=0.4,
    )
    median = float(np.median(tiles))
    axes.axvline(median, color=style.INK, linewidth=0.8)
    empty = int((tiles == 0).sum())
    note = f"{style.count(int(tiles.sum()), 'tile')}; line: median {median:,.0f}"
    if empty:
        note += f";\n{style.count(empty, 'slide')} without a tile"
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.xaxis.get_major_locator().set_params(integer=True, nbins=5)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"Tiles\n({note})")
    axes.set_ylabel("Slides")
