"""What a cohort is made of, from the list of its slides to sets and tiers; and what became of its slides."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.lib.figures import style
from workflow_scripts.lib.flow import MISSING, PLANNED, kind_of_reason

ACCEPTED = "#0063B1"
EXCLUDED = "#E08A00"
MOST_REASONS = 10


@style.styled
def slide_verdicts(slides: pd.DataFrame) -> Figure:
    """Slides listed, accepted and excluded, by reason; beside them the number of tiles per accepted slide.

    `slides`: `slides.tsv` (slide_id, status `accepted` or `excluded`, reason, n_tiles). Reasons that differ
    only in a file's own numbers, names and details are one.
    """
    style.require(slides, ("slide_id", "patient_id", "status", "reason", "n_tiles"), what="slides.tsv")
    if slides.empty:
        return style.nothing("No slide was listed.")
    bars = verdict_bars(slides)
    figure = style.new(style.DOUBLE_COLUMN_MM, max(62, 24 + 7.5 * len(bars)))
    left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
    _draw_bars(left, bars)
    accepted = slides[slides["status"] == "accepted"]
    _draw_tiles(right, accepted["n_tiles"].dropna().to_numpy(float))
    patients = style.count(accepted["patient_id"].replace("", np.nan).nunique(), "patient")
    left.set_title(f"Slides ({patients} with an accepted slide)", loc="left")
    return figure


def verdict_bars(slides: pd.DataFrame) -> pd.DataFrame:
    """The bars of the figure, from top to bottom: step (`listed`, `accepted`, `excluded`, `reason`), name, n."""
    excluded = slides[slides["status"] == "excluded"]
    reasons = excluded["reason"].fillna("").map(kind_of_reason).value_counts()
    reasons = reasons.sort_index().sort_values(ascending=False, kind="stable")
    rows = [("listed", "Listed", len(slides)), ("accepted", "Accepted", int((slides["status"] == "accepted").sum()))]
    rows.append(("excluded", "Excluded", len(excluded)))
    rows += [("reason", name, int(number)) for name, number in reasons.head(MOST_REASONS).items()]
    if len(reasons) > MOST_REASONS:
        rows.append(("reason", "other reasons", int(reasons.iloc[MOST_REASONS:].sum())))
    return pd.DataFrame(rows, columns=["step", "name", "n"])


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


# What the paper states a range of, over a cohort's traits: column of `flow_traits.tsv` and name.
STATED = {
    "n_train_max": "Training\n(largest round)",
    "n_test": "Test",
    "n_ood_near": "OOD-near",
    "n_ood_all": "OOD-all",
}
# A diagram's height that each line of a side box needs, in mm.
LINE_MM = 3.4


@style.styled
def cohort_flow(flow: pd.DataFrame, traits: pd.DataFrame, *, title: str) -> Figure:
    """The cohort's flow as a diagram like CONSORT's; beneath it each trait's slides, beside what the paper states.

    flow: `flow.tsv`; traits: `flow_traits.tsv` (see `lib/flow.py`). Traits that are not run are named at the
    foot, with their reasons.
    """
    style.require(flow, ("step", "name", "n_slides", "n_patients"), what="flow.tsv")
    style.require(traits, ("trait", "status", "reason", *STATED), what="flow_traits.tsv")
    planned, missing = (traits[traits["status"] == status] for status in (PLANNED, MISSING))
    n_reasons = int((flow["step"] == "excluded").sum())
    heights = (52 + LINE_MM * n_reasons, 22 + 4.5 * len(planned))
    figure = style.new(style.DOUBLE_COLUMN_MM, sum(heights) + 4 * len(missing))
    above, below = figure.subfigures(2, 1, height_ratios=heights)
    _draw_diagram(above.add_subplot(), flow, title)
    panels = below.subplots(1, len(STATED), sharey=True)
    for axes, (column, name) in zip(panels, STATED.items(), strict=True):
        _draw_counts(axes, planned, column, name)
    if len(missing):
        reasons = "; ".join(f"{row.trait} ({row.reason})" for row in missing.itertuples())
        style.footnote(figure, f"Not run: {reasons}.")
    return figure


def _draw_diagram(axes: Axes, flow: pd.DataFrame, title: str) -> None:
    """Boxes from the list of slides down to the two sets, with what leaves at the right."""
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_title(title, loc="left")
    rows = flow.set_index("step")
    excluded = flow[flow["step"] == "excluded"]
    lines = [f"Excluded: {style.count(int(excluded['n_slides'].sum()), 'line')}"]
    lines += [f"{row.n_slides:,}: {style.short(row.name, 60)}" for row in excluded.itertuples(index=False)]
    of_these = [_counted(rows.loc[step], " ") for step in ("labelled", "unlabelled", "survival", "dx1")]
    middle, right, sets = 0.3, 0.78, (0.16, 0.44)
    _box(axes, middle, 0.9, f"{rows.loc['lines', 'name']}\n{rows.loc['lines', 'n_slides']:,}")
    _box(axes, right, 0.72, "\n".join(lines), colour=EXCLUDED)
    _box(axes, middle, 0.5, _counted(rows.loc["listed"]))
    _box(axes, right, 0.22, "\n".join(["Of the listed slides", *of_these]), colour=style.FAINT)
    _arrow(axes, (middle, 0.9), (middle, 0.5))
    axes.plot((middle, right), (0.72, 0.72), color=EXCLUDED, linewidth=0.8, zorder=1)
    for x, step in zip(sets, ("test", "development"), strict=True):
        _box(axes, x, 0.1, _counted(rows.loc[step]), colour=ACCEPTED)
        _arrow(axes, (middle, 0.5), (x, 0.1))


def _counted(row: pd.Series, between: str = "\n") -> str:
    return (
        f"{row['name']}:{between}{style.count(row['n_slides'], 'slide')}, {style.count(row['n_patients'], 'patient')}"
    )


def _box(axes: Axes, x: float, y: float, text: str, *, colour: str = style.INK) -> None:
    frame = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": colour, "linewidth": 0.8}
    axes.text(x, y, text, ha="center", va="center", bbox=frame, linespacing=1.3, zorder=3)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """An arrow between the middles of two boxes, which hide its ends."""
    place = {"arrowstyle": "-|>", "color": style.INK, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 20}
    axes.annotate("", end, start, arrowprops=place, zorder=1)


def _draw_counts(axes: Axes, planned: pd.DataFrame, column: str, name: str) -> None:
    """One number of each trait as a dot, and the range that the paper states for the cohort as a band."""
    places = np.arange(len(planned))
    low, high = (float(planned[f"published_{column}_{end}"].iloc[0]) for end in ("low", "high"))
    if np.isfinite(low):
        edge = max((high - low) / 2, 0.6)
        middle = (low + high) / 2
        axes.axvspan(middle - edge, middle + edge, color=style.PUBLISHED, alpha=0.25, linewidth=0)
        stated = f"paper: {low:g}" if low == high else f"paper: {low:g}-{high:g}"
    else:
        stated = "paper: not stated"
    axes.plot(planned[column].to_numpy(float), places, "o", color=ACCEPTED, markersize=3.5)
    for place, number in zip(places, planned[column], strict=True):
        axes.annotate(f"{number:.0f}", (number, place), (4, 0), textcoords="offset points", va="center", fontsize=6)
    style.heading(axes, name, stated)
    axes.set_yticks(places, planned["trait"])
    axes.set_ylim(len(planned) - 0.5, -0.5)
    axes.margins(x=0.35)
    axes.set_xlabel("Slides")
    axes.xaxis.get_major_locator().set_params(integer=True, nbins=4)
    axes.grid(axis="y", color=style.RULE, linewidth=0.4)
