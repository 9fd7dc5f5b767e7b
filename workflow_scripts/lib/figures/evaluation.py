"""How well slides are told apart: score distributions (the paper's Fig. 2) and correlations (its supplement S1)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from workflow_scripts.lib import published
from workflow_scripts.lib.figures import style

SETS = tuple(style.SET_NAMES)
SIGNIFICANT = 0.05
# With more, dots hide the box.
MOST_DOTS = 60


@style.styled
def score_distributions(scores: pd.DataFrame, table1: pd.DataFrame) -> Figure:
    """Fig. 2: slide scores below and above the median of bulk expression, by trait, for test, OOD-near and OOD-all.

    `scores`: trait, set (`test`, `ood_near`, `ood_all`), label (`above`, `below`), score; a row per slide.
    `table1`: `evaluation/table1.tsv`, whose order is the order of the traits, and whose AUCs with their intervals
    stand above the boxes.
    Boxes are quartiles, the white line is the median, whiskers reach to 1.5 × IQR; up to 60 slides are
    dots as well, of more only those beyond the whiskers.
    """
    style.require(scores, ("trait", "set", "label", "score"), what="score distributions")
    style.require(table1, ("trait",), what="evaluation/table1.tsv")
    traits = list(table1["trait"])
    if not traits:
        return style.nothing("No trait was evaluated.")
    figure = style.new(_width_mm(len(traits)), 168)
    panels = figure.subplots(len(SETS), 1)
    for panel, name in zip(panels, SETS, strict=True):
        _score_panel(panel, scores[scores["set"] == name].dropna(subset=["score"]), traits, name)
        _write_aucs(panel, table1, f"ensemble_{name}_auc")
    characters = int((_width_mm(len(traits)) - 18) / len(traits) / 1.3)
    panels[-1].set_xticks(range(len(traits)), [style.wrapped(trait, characters) for trait in traits])
    panels[-1].tick_params(axis="x", which="major", pad=12, length=0, labelsize=6.5 if characters > 12 else 6)
    figure.legend(
        handles=[
            Patch(color=style.LOW, label="below median expression"),
            Patch(color=style.HIGH, label="above median expression"),
        ],
        loc="outside upper center",
        ncols=2,
    )
    return figure


def _width_mm(n_traits: int) -> float:
    return float(np.clip(30 + 16 * n_traits, style.SINGLE_COLUMN_MM, style.DOUBLE_COLUMN_MM))


def _score_panel(axes: Axes, scores: pd.DataFrame, traits: Sequence[str], name: str) -> None:
    positions, numbers = [], []
    for index, trait in enumerate(traits):
        of_trait = scores[scores["trait"] == trait]
        for label, offset, colour in (("below", -0.2, style.LOW), ("above", 0.2, style.HIGH)):
            values = of_trait.loc[of_trait["label"] == label, "score"].to_numpy(float)
            positions.append(index + offset)
            numbers.append(str(len(values)))
            draw_box(axes, values, index + offset, colour=colour, width=0.32)
    axes.set_xlim(-0.6, len(traits) - 0.4)
    axes.set_ylim(0, 1)
    axes.set_ylabel("Slide score\n(share of positive tiles)")
    axes.set_title(style.SET_NAMES[name], loc="left", pad=22)
    axes.set_xticks([])
    axes.set_xticks(positions, numbers, minor=True)
    axes.tick_params(axis="x", which="minor", length=0, labelsize=6, pad=2)
    axes.annotate(
        "n =", (0, 0), (-4, -3), xycoords="axes fraction", textcoords="offset points", ha="right", va="top", fontsize=6
    )
    if scores.empty:
        axes.text(
            0.5, 0.5, "no slide of this set", ha="center", va="center", color=style.FAINT, transform=axes.transAxes
        )
        return
    for edge in np.arange(0.5, len(traits) - 1):
        axes.axvline(edge, color=style.RULE, linewidth=0.4, zorder=0)


def draw_box(axes: Axes, values: np.ndarray, position: float, *, colour: str, width: float) -> None:
    """One box: quartiles, a white median, whiskers to 1.5 × IQR. Nothing is drawn for no values.

    Up to MOST_DOTS values are dots as well; of more, those beyond the whiskers.
    """
    if len(values) == 0:
        return
    axes.boxplot(
        values,
        positions=[position],
        widths=width,
        whis=1.5,
        patch_artist=True,
        showfliers=len(values) > MOST_DOTS,
        manage_ticks=False,
        boxprops={"facecolor": colour, "edgecolor": colour, "linewidth": 0.6},
        medianprops={"color": "white", "linewidth": 1.6, "solid_capstyle": "butt"},
        whiskerprops={"color": colour, "linewidth": 0.8},
        capprops={"color": colour, "linewidth": 0.8},
        flierprops={"marker": ".", "markersize": 2.5, "markerfacecolor": colour, "markeredgewidth": 0},
    )
    if len(values) > MOST_DOTS:
        return
    # The golden ratio spreads dots evenly whatever their number, and the same way each time.
    spread = (np.arange(len(values)) * 0.6180339887 % 1 - 0.5) * width * 0.8
    axes.scatter(position + spread, values, s=2.5, color=style.INK, alpha=0.45, linewidths=0, zorder=3, clip_on=False)


def _write_aucs(axes: Axes, table1: pd.DataFrame, column: str) -> None:
    for index, row in enumerate(table1.to_dict("records")):
        auc = row.get(column, np.nan)
        text = f"{auc:.2f}" if np.isfinite(auc) else "NA"
        low, high = row.get(f"{column}_low", np.nan), row.get(f"{column}_high", np.nan)
        interval = f"{low:.2f}–{high:.2f}" if np.isfinite(low) and np.isfinite(high) else ""
        place = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points", "ha": "center", "va": "bottom"}
        axes.annotate(text, (index, 1), (0, 9), fontsize=6.5, fontweight="bold", **place)
        axes.annotate(interval, (index, 1), (0, 2), fontsize=5.5, color=style.FAINT, **place)
    axes.annotate(
        "AUC",
        (0, 1),
        (-4, 9),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=6.5,
    )


@style.styled
def correlations(frame: pd.DataFrame, *, cohort: str) -> Figure:
    """Supplement S1: Spearman correlation of slide scores with expression percentiles, by trait and set.

    `frame`: `evaluation/correlations.tsv` (trait, set, n, spearman, p, p_fdr). A filled dot has an FDR-corrected
    p of at most 0.05. Where the paper states a correlation for `cohort`, it is a diamond.
    """
    style.require(frame, ("trait", "set", "n", "spearman", "p_fdr"), what="evaluation/correlations.tsv")
    traits = list(dict.fromkeys(frame["trait"]))
    if not traits:
        return style.nothing("No trait was evaluated.")
    figure = style.new(style.DOUBLE_COLUMN_MM, 30 + 7 * len(traits))
    panels = figure.subplots(1, len(SETS), sharey=True)
    for panel, name in zip(panels, SETS, strict=True):
        rows = frame[frame["set"] == name].set_index("trait").reindex(traits)
        _correlation_panel(panel, rows, style.SET_NAMES[name])
    stated = [published.value("spearman_test", cohort=cohort, trait=trait) for trait in traits]
    panels[0].scatter(
        stated, range(len(traits)), marker="D", s=22, facecolor="none", edgecolor=style.PUBLISHED, zorder=4
    )
    panels[0].set_yticks(range(len(traits)), [style.wrapped(trait, 24) for trait in traits])
    panels[0].set_ylim(len(traits) - 0.5, -0.5)
    figure.supxlabel("Spearman correlation of slide score with expression percentile", fontsize=7)
    figure.legend(handles=_correlation_legend(np.isfinite(stated).any()), loc="outside upper center", ncols=3)
    return figure


def _correlation_panel(axes: Axes, rows: pd.DataFrame, title: str) -> None:
    axes.axvline(0, color=style.RULE, linewidth=0.6, zorder=0)
    for place, row in enumerate(rows.itertuples()):
        if not np.isfinite(row.spearman):
            axes.text(0, place, "NA", ha="center", va="center", color=style.FAINT, fontsize=6)
        else:
            significant = row.p_fdr <= SIGNIFICANT
            axes.plot([0, row.spearman], [place, place], color=style.INK, linewidth=0.8)
            axes.plot(
                row.spearman,
                place,
                "o",
                markersize=4,
                markeredgecolor=style.INK,
                markerfacecolor=style.INK if significant else "white",
            )
        number = f"n = {row.n:.0f}" if np.isfinite(row.n) else "n = 0"
        text = f"{number}, {style.p_text(row.p_fdr)}" if np.isfinite(row.p_fdr) else number
        # Beneath the dot's line and clear of it, on the side that the dot is not.
        axes.text(
            0.99,
            place + 0.17,
            text,
            transform=axes.get_yaxis_transform(),
            ha="right",
            va="top",
            fontsize=5.5,
            color=style.FAINT,
        )
    axes.set_xlim(-1, 1)
    axes.set_xticks([-1, -0.5, 0, 0.5, 1])
    axes.set_title(title, loc="left")


def _correlation_legend(stated: bool) -> list[Line2D]:
    dot = {"linestyle": "", "marker": "o", "markersize": 4, "markeredgecolor": style.INK}
    handles = [
        Line2D([], [], markerfacecolor=style.INK, label=f"FDR-corrected p ≤ {SIGNIFICANT:g}", **dot),
        Line2D([], [], markerfacecolor="white", label=f"FDR-corrected p > {SIGNIFICANT:g}", **dot),
    ]
    if stated:
        handles.append(
            Line2D(
                [],
                [],
                linestyle="",
                marker="D",
                markersize=4.5,
                markerfacecolor="none",
                markeredgecolor=style.PUBLISHED,
                label="as the paper states it",
            )
        )
    return handles
