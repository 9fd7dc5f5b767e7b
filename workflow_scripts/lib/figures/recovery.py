"""Whether the chain finds what the demo put in, and finds nothing where nothing is (both have a known truth)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workflow_scripts.lib.figures import style

HTI = "HTI"
TILE_AUC = "tile_auc"
TRAIT_MEASURES = {"share_spearman": "Spearman", TILE_AUC: "tile AUC"}
_PATCH = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8}
HTI_MEASURES = {"hti_spearman": "Spearman, all slides", "hti_spearman_unseen": "Spearman, unseen slides"}
UNSEEN = "#0063B1"
SEEN = "#B9B9B9"
BAND = "#DCE8F3"


@style.styled
def recovery(slides: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Predicted against true, a dot per slide: the share of positive tiles of each trait, and the HTI.

    `slides`: as `scoring.recovered_slides` returns them. `table`: trait, measure, value, n, as `scoring.recovery_table`
    returns it; what is printed above the panels is what the tests assert.
    """
    style.require(slides, ("quantity", "slide_id", "true", "predicted", "unseen"), what="recovery of the truth")
    style.require(table, ("trait", "measure", "value", "n"), what="table of the recovery")
    names = list(dict.fromkeys(slides["quantity"]))
    names = [name for name in names if name != HTI] + [name for name in names if name == HTI]
    if not names:
        return style.nothing("No slide has a known truth.")
    across = min(len(names), 3)
    down = -(-len(names) // across)
    figure = style.new(max(style.SINGLE_COLUMN_MM, 60 * across), 12 + 66 * down)
    panels = figure.subplots(down, across, squeeze=False)
    for panel in panels.flat[len(names) :]:
        panel.set_axis_off()
    for panel, name in zip(panels.flat, names, strict=False):
        _draw_recovery(panel, slides[slides["quantity"] == name], name)
        style.heading(panel, style.short(name, 30), _measures(table, name))
    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker="o",
            markersize=3.5,
            color=UNSEEN,
            label="no model trained or validated on its patient",
        ),
        Line2D([], [], linestyle="", marker="o", markersize=3.5, color=SEEN, label="other slides"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _draw_recovery(axes: Axes, rows: pd.DataFrame, name: str) -> None:
    rows = rows.dropna(subset=["true", "predicted"])
    axes.plot([0, 1], [0, 1], color=style.RULE, linewidth=0.7, zorder=0)
    for unseen, colour in ((0, SEEN), (1, UNSEEN)):
        part = rows[rows["unseen"].astype(int) == unseen]
        axes.scatter(
            part["true"],
            part["predicted"],
            s=9,
            color=colour,
            alpha=0.8,
            linewidths=0,
            clip_on=False,
            zorder=3 + unseen,
        )
    if rows.empty:
        axes.text(0.5, 0.5, "no slide", ha="center", va="center", color=style.FAINT)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    thing = "HTI" if name == HTI else "share of positive tiles"
    axes.set_xlabel(f"True {thing}")
    axes.set_ylabel(f"Predicted {thing}")


def _measures(table: pd.DataFrame, name: str) -> str:
    """The measures of a quantity, one in a line; those of the HTI are of several traits together (`A+B`)."""
    wanted = HTI_MEASURES if name == HTI else TRAIT_MEASURES
    rows = table[table["measure"].isin(wanted)]
    if name != HTI:
        rows = rows[rows["trait"] == name]
    lines = []
    for measure, words in wanted.items():
        for row in rows[rows["measure"] == measure].itertuples():
            value = f"{row.value:.2f}" if np.isfinite(row.value) else "NA"
            lines.append(f"{words} {value} (n = {row.n:,.0f})")
    return "\n".join(lines) or "not scored"


@style.styled
def negative_controls(table: pd.DataFrame, p_values: np.ndarray, *, ks_p: float, tolerance: float) -> Figure:
    """Two ways of finding nothing: tile AUC with shuffled expression, and log-rank p with survival apart from HTI.

    `table`: trait, measure, value, n, of which `tile_auc` is drawn, as `scoring.recovery_table` returns it for models
    trained on shuffled expression; they are to lie within 0.5 ± `tolerance`, which is shaded. `p_values`: (draws,)
    float; `ks_p` tests them against the uniform distribution.
    """
    style.require(table, ("trait", "measure", "value", "n"), what="table of the negative controls")
    tile_aucs = table[table["measure"] == TILE_AUC]
    figure = style.new(style.DOUBLE_COLUMN_MM, max(66, 30 + 8 * len(tile_aucs)))
    left, right = figure.subplots(1, 2)
    _draw_shuffled(left, tile_aucs, tolerance)
    _draw_uniform(right, np.asarray(p_values, float), ks_p)
    return figure


def _draw_shuffled(axes: Axes, frame: pd.DataFrame, tolerance: float) -> None:
    axes.set_title("Expression shuffled between patients", loc="left")
    if frame.empty:
        style.say(axes, "no model was trained on shuffled expression")
        return
    axes.axvspan(0.5 - tolerance, 0.5 + tolerance, color=BAND, linewidth=0)
    axes.axvline(0.5, color=style.FAINT, linewidth=0.7)
    for place, row in enumerate(frame.itertuples()):
        if np.isfinite(row.value):
            axes.plot(row.value, place, "o", color=style.INK, markersize=4.5)
            axes.annotate(
                f"{row.value:.2f}", (row.value, place), (0, 5), textcoords="offset points", ha="center", bbox=_PATCH
            )
        else:
            axes.text(0.5, place, "NA", ha="center", va="center", color=style.FAINT)
    names = [f"{style.wrapped(row.trait, 22)}\n{style.count(int(row.n), 'tile')}" for row in frame.itertuples()]
    axes.set_yticks(range(len(frame)), names)
    axes.set_ylim(len(frame) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel(f"Tile AUC against the truth (shaded: 0.5 ± {tolerance:g})")


def _draw_uniform(axes: Axes, p_values: np.ndarray, ks_p: float) -> None:
    known = np.sort(p_values[np.isfinite(p_values)])
    if len(known) == 0:
        axes.set_title("Survival independent of HTI", loc="left")
        style.say(axes, "no log-rank test could be done")
        return
    said = f"{style.count(len(known), 'draw')}; against the uniform (KS): {style.p_text(ks_p)}"
    style.heading(axes, "Survival independent of HTI", said)
    axes.plot([0, 1], [0, 1], color=style.FAINT, linewidth=0.7, label="uniform")
    steps = np.arange(len(known) + 1) / len(known)
    axes.step(np.concatenate([[0], known, [1]]), np.append(steps, 1), where="post", color=UNSEEN, label="observed")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    axes.set_xlabel("Log-rank p value")
    axes.set_ylabel("Share of draws at or below")
    axes.legend(loc="lower right")
