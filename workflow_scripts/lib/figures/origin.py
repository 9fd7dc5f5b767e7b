"""How well the origin of metastases is told, beside what was learnt from: Fig. 2A, 3, 4B and 4C of metastatic origin.

Classes and regimes are drawn in the order of the tables' rows.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from workflow_scripts.lib import published
from workflow_scripts.lib.domains import METASTATIC, PRIMARY
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.origin_scores import MACRO, SLIDE, TILE

# Primary tumours and metastases. Both are seen where one lies over the other: one is dark, the other is not blue.
DOMAIN_COLOURS = {PRIMARY: "#5B3A9E", METASTATIC: "#E08A00"}
# Ways to train a model, in the order in which they are compared; the third is green, as in the paper's Fig. 3.
REGIMES = ("#0063B1", "#E08A00", "#0F9D58", "#8E1B5A", "#000000")
# Tiles are solid and slides dashed, as in the paper's Fig. 3.
LEVELS = {TILE: ("tiles", "solid"), SLIDE: ("slides", (0, (2.5, 1.2)))}
# The darkest cell of a confusion matrix, of a class that is always predicted so.
CELL = "#1F4E85"
ACROSS = 4
STATED_K = (1, 6)
INSET_LEFT = 0.44
# Of the table beneath Fig. 4C; the whole is in `top_k.tsv`.
SHOWN_K = (1, 2, 3, 4, 6, 8, 10)


def readable(name: str) -> str:
    """The name of a class of tumours as it is read: with spaces for underscores."""
    return str(name).replace("_", " ")


def colours_of(regimes: Sequence[str]) -> dict[str, str]:
    """A colour for each regime, by its place. Raises InputError for more than can be told apart."""
    if len(regimes) > len(REGIMES):
        raise InputError(
            f"expected at most {len(REGIMES)} regimes, whose curves can be told apart, found {len(regimes)}:"
            f" {', '.join(regimes)}; compare fewer"
        )
    return dict(zip(regimes, REGIMES, strict=False))


def in_order(values: pd.Series) -> list[str]:
    """What a column holds, each once, in the order in which it comes first."""
    return list(dict.fromkeys(values))


# Fig. 2A


@style.styled
def data_overview(data: pd.DataFrame) -> Figure:
    """Fig. 2A: slides and tiles by class and domain.

    `data`: `tables/data.tsv` (class, domain, slides, tiles, without_tiles), in the order of the classes. Beneath: how
    many slides have no tile, and the paper's totals.
    """
    style.require(data, ("class", "domain", "slides", "tiles", "without_tiles"), what="tables/data.tsv")
    classes = in_order(data["class"])
    if not classes:
        return style.nothing("No slide of the study is used.")
    figure = style.new(style.DOUBLE_COLUMN_MM, 34 + 7.5 * len(classes))
    panels = figure.subplots(1, 2, sharey=True)
    for panel, column, title in zip(panels, ("slides", "tiles"), ("Slides", "Tiles"), strict=True):
        for domain, offset in ((PRIMARY, -0.2), (METASTATIC, 0.2)):
            rows = data[data["domain"] == domain].set_index("class")
            numbers = rows[column].reindex(classes).fillna(0).to_numpy(float)
            places = np.arange(len(classes)) + offset
            panel.barh(places, numbers, height=0.36, color=DOMAIN_COLOURS[domain])
            for place, number in zip(places, numbers, strict=True):
                near = {"xytext": (2, 0), "textcoords": "offset points", "va": "center", "fontsize": 5.5}
                panel.annotate(f"{number:,.0f}", (number, place), **near)
        panel.set_title(title, loc="left")
        panel.set_xlim(0, max(data[column].max(), 1) * 1.13)
        panel.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        panel.xaxis.set_major_formatter("{x:,.0f}")
        panel.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(classes)), [style.wrapped(readable(name), 30) for name in classes])
    panels[0].set_ylim(len(classes) - 0.5, -0.5)
    handles = [Patch(color=colour, label=_total(data, domain)) for domain, colour in DOMAIN_COLOURS.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    theirs = {domain: published.value("n_slides", cohort="", trait=domain) for domain in DOMAIN_COLOURS}
    said = " and ".join(f"{number:.0f} {domain}" for domain, number in theirs.items())
    tiles = "Tiles: of tumours those that the filters let pass, of a control all."
    empty = int(data["without_tiles"].sum())
    left_out = f" Left out: {style.count(empty, 'slide')} without any." if empty else ""
    style.footnote(figure, f"{tiles}{left_out} The paper (2.1): {said} slides of fourteen classes.")
    return figure


def _total(data: pd.DataFrame, domain: str) -> str:
    slides, tiles = data.loc[data["domain"] == domain, ["slides", "tiles"]].sum()
    return f"{domain}: {style.count(int(slides), 'slide')}, {style.count(int(tiles), 'tile')}"


# Fig. 3


@style.styled
def roc_grid(curves: pd.DataFrame, auroc: pd.DataFrame) -> Figure:
    """Fig. 3: ROC curves of each class against all others, by regime, of tiles and of slides; the means come last.

    `curves`: `tables/roc.tsv` (regime, class, level, fpr, tpr). `auroc`: `tables/auroc.tsv` (regime, class, level,
    auroc, low, high, n, positives), whose AUROCs with their intervals stand beneath each panel. The paper's means are
    diamonds; it does not say whether they are of tiles or of slides.
    """
    style.require(curves, ("regime", "class", "level", "fpr", "tpr"), what="tables/roc.tsv")
    style.require(
        auroc, ("regime", "class", "level", "auroc", "low", "high", "n", "positives"), what="tables/auroc.tsv"
    )
    regimes = in_order(auroc["regime"])
    classes = [name for name in in_order(auroc["class"]) if name != MACRO]
    if not classes:
        return style.nothing("No class was evaluated.")
    colours = colours_of(regimes)
    down = -(-(len(classes) + 1) // ACROSS)
    figure = style.new(style.DOUBLE_COLUMN_MM, 16 + down * (54 + 3 * (len(regimes) + 1)))
    figure.get_layout_engine().set(h_pad=2 * style.MM)
    panels = figure.subplots(down, ACROSS, squeeze=False).flatten()
    for panel in panels[len(classes) + 1 :]:
        panel.set_axis_off()
    for panel, name in zip(panels, classes, strict=False):
        _draw_class(panel, curves[curves["class"] == name], auroc[auroc["class"] == name], colours)
        panel.set_title(style.wrapped(readable(name), 24), loc="left")
    for panel in panels[: len(classes) : ACROSS]:
        panel.set_ylabel("True positive rate")
    means = auroc[auroc["class"] == MACRO]
    stated = {regime: published.value("mean_auroc", cohort="", trait=regime) for regime in regimes}
    _draw_means(panels[len(classes)], means, colours, stated)
    _write_aurocs(panels[len(classes)], means, colours)
    has_stated = any(np.isfinite(value) for value in stated.values())
    handles = _regime_legend(colours, has_stated)
    figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 6))
    said = "Beneath each panel: tiles and slides of the class, and AUROCs with 95 % intervals, resampled by patient."
    style.footnote(figure, f"{said} Means: filled dots are of tiles, open ones of slides.")
    return figure


def _draw_class(axes: Axes, curves: pd.DataFrame, auroc: pd.DataFrame, colours: Mapping[str, str]) -> None:
    axes.plot([0, 1], [0, 1], color=style.RULE, linewidth=0.7, zorder=0)
    for level, (_, dashes) in LEVELS.items():
        for regime, colour in colours.items():
            rows = curves[(curves["regime"] == regime) & (curves["level"] == level)]
            axes.plot(rows["fpr"], rows["tpr"], color=colour, linestyle=dashes, linewidth=1, clip_on=False)
    if curves.empty:
        patch = {"facecolor": "white", "edgecolor": "none"}
        axes.text(0.5, 0.5, _why_not(auroc), ha="center", va="center", color=style.FAINT, bbox=patch)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_box_aspect(1)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_xlabel("False positive rate", labelpad=1)
    _write_aurocs(axes, auroc, colours)


def _why_not(auroc: pd.DataFrame) -> str:
    if not (auroc["positives"] > 0).any():
        return "no held-out slide\nof this class"
    return "no held-out slide\nof another class"


def _write_aurocs(axes: Axes, auroc: pd.DataFrame, colours: Mapping[str, str]) -> None:
    """Beneath a panel: a column of AUROCs for each level, headed by what it stands on, and a line for each regime."""
    text = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "top", "fontsize": 5.5}
    for place, (level, (words, _)) in zip((0.03, 0.55), LEVELS.items(), strict=True):
        rows = auroc[auroc["level"] == level].set_index("regime")
        axes.annotate(_stands_on(rows, words), (place, 0), (0, -23), color=style.FAINT, **text)
        for line, (regime, colour) in enumerate(colours.items(), 1):
            said = _with_interval(rows.loc[regime]) if regime in rows.index else "NA"
            axes.annotate(said, (place, 0), (0, -23 - 7.6 * line), color=colour, **text)


def _stands_on(rows: pd.DataFrame, words: str) -> str:
    known = rows.dropna(subset=["positives"])
    if known.empty:
        return words
    return style.count(int(known["positives"].iloc[0]), words.removesuffix("s"))


def _with_interval(row: Mapping[str, float], digits: int = 2) -> str:
    """ "0.78 (0.70–0.86)", "0.78" where there is no interval, "NA" where there is no value either."""
    if not np.isfinite(row["auroc"]):
        return "NA"
    text = f"{row['auroc']:.{digits}f}"
    known = np.isfinite([row["low"], row["high"]]).all()
    return f"{text} ({row['low']:.{digits}f}–{row['high']:.{digits}f})" if known else text


def _draw_means(axes: Axes, means: pd.DataFrame, colours: Mapping[str, str], stated: Mapping[str, float]) -> None:
    """The macro means with their intervals, from below 0.5 to 1; filled dots are of tiles, open ones of slides."""
    for level, offset, is_filled in ((TILE, -0.17, True), (SLIDE, 0.17, False)):
        rows = means[means["level"] == level].set_index("regime")
        for place, (regime, colour) in enumerate(colours.items()):
            if regime not in rows.index or not np.isfinite(rows.loc[regime, "auroc"]):
                continue
            row = rows.loc[regime]
            axes.plot([row["low"], row["high"]], [place + offset] * 2, color=colour, linestyle=LEVELS[level][1])
            face = colour if is_filled else "white"
            axes.plot(row["auroc"], place + offset, "o", markersize=4, color=colour, markerfacecolor=face)
    for place, regime in enumerate(colours):
        diamond = {"marker": "D", "markersize": 4.5, "markerfacecolor": "none", "color": style.PUBLISHED}
        axes.plot(stated[regime], place, linestyle="", **diamond)
    axes.axvline(0.5, color=style.RULE, linewidth=0.7, zorder=0)
    lowest = np.nanmin([0.5, *means["low"], *means["auroc"]])
    axes.set_xlim(max(0, np.floor(lowest * 10) / 10 - 0.05), 1)
    axes.set_ylim(len(colours) - 0.5, -0.5)
    axes.set_yticks([])
    axes.set_box_aspect(1)
    axes.set_xlabel("Mean AUROC of the classes", labelpad=1)
    axes.set_title("Mean of the classes", loc="left")


def _regime_legend(colours: Mapping[str, str], has_stated: bool) -> list[Line2D]:
    handles = [Line2D([], [], color=colour, label=readable(regime)) for regime, colour in colours.items()]
    handles += [Line2D([], [], color=style.FAINT, linestyle=dashes, label=words) for words, dashes in LEVELS.values()]
    if has_stated:
        diamond = {"linestyle": "", "marker": "D", "markersize": 4.5, "markerfacecolor": "none"}
        handles.append(Line2D([], [], color=style.PUBLISHED, label="the paper's mean", **diamond))
    return handles


# Fig. 4B


@style.styled
def confusion_matrices(confusion: pd.DataFrame) -> Figure:
    """Fig. 4B: of which class tiles and slides of each class are said to be; of the last regime large, others beneath.

    `confusion`: `tables/confusion.tsv` (regime, level, class, predicted, n, share). A row sums to 100 %; at its end is
    the number of tiles or slides of the class. The mean of the diagonal is over the classes that have any.
    """
    style.require(confusion, ("regime", "level", "class", "predicted", "n", "share"), what="tables/confusion.tsv")
    regimes, classes = in_order(confusion["regime"]), in_order(confusion["predicted"])
    if not regimes:
        return style.nothing("No held-out slide was predicted.")
    names = [readable(name) for name in classes]
    *others, last = regimes
    pairs = [others[start : start + 2] for start in range(0, len(others), 2)]
    labels_mm = 6 + 1.2 * max(map(len, names))
    heights = [(style.DOUBLE_COLUMN_MM - 24 - labels_mm) / 2 + labels_mm + 22, *[46.0] * len(pairs)]
    figure = style.new(style.DOUBLE_COLUMN_MM, sum(heights))
    bands = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    panels = bands[0].subplots(1, 2, sharey=True)
    for panel, (level, (words, _)) in zip(panels, LEVELS.items(), strict=True):
        rows = _of(confusion, last, level)
        shares = _draw_matrix(panel, rows, classes)
        _write_shares(panel, shares, rows, classes)
        panel.set_title(f"{style.short(readable(last), 28)}, {words}\n{_right(shares)}", loc="left")
        panel.set_xlabel("Predicted")
    panels[0].set_yticks(range(len(classes)), names)
    panels[0].set_ylabel("Origin")
    for band, pair in zip(bands[1:], pairs, strict=True):
        _draw_small(band, confusion, pair, classes)
    said = "Shares of the tiles or slides of each class in %; beside each row their number."
    style.footnote(figure, f"{said} The smaller matrices have the same rows and columns." if others else said)
    return figure


def _draw_small(band: SubFigure, confusion: pd.DataFrame, regimes: Sequence[str], classes: Sequence[str]) -> None:
    """The matrices of one or two regimes, without numbers or names."""
    panels = band.subplots(1, 4)
    for panel in panels:
        panel.set_axis_off()
    matrices = [(regime, level) for regime in regimes for level in LEVELS]
    for panel, (regime, level) in zip(panels, matrices, strict=False):
        panel.set_axis_on()
        shares = _draw_matrix(panel, _of(confusion, regime, level), classes)
        panel.set_xticks([])
        panel.set_yticks([])
        name = f"{style.short(readable(regime), 18)}, {LEVELS[level][0]}"
        panel.set_title(f"{name}\n{_right(shares)}", loc="left", fontsize=6.5)


def _of(confusion: pd.DataFrame, regime: str, level: str) -> pd.DataFrame:
    return confusion[(confusion["regime"] == regime) & (confusion["level"] == level)]


def _draw_matrix(axes: Axes, rows: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    """Draw the shares (class, predicted) of one regime and level, and return them; NaN for a class without any."""
    shares = rows.pivot(index="class", columns="predicted", values="share").reindex(index=classes, columns=classes)
    shares = shares.to_numpy(float)
    tint = np.nan_to_num(shares)[..., None]
    white, dark = np.ones(3), np.array([int(CELL[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    axes.imshow(white + tint * (dark - white), interpolation="nearest", aspect="equal")
    edges = np.arange(len(classes) + 1) - 0.5
    axes.hlines(edges, -0.5, len(classes) - 0.5, color=style.RULE, linewidth=0.3)
    axes.vlines(edges, -0.5, len(classes) - 0.5, color=style.RULE, linewidth=0.3)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return shares


def _write_shares(axes: Axes, shares: np.ndarray, rows: pd.DataFrame, classes: Sequence[str]) -> None:
    size = 6 if len(classes) <= 15 else 4.5
    for (down, across), share in np.ndenumerate(shares):
        if not np.isfinite(share):
            continue
        place = {"ha": "center", "va": "center", "fontsize": size}
        if share:
            axes.text(across, down, f"{100 * share:.0f}", color="white" if share > 0.55 else style.INK, **place)
    numbers = rows.groupby("class")["n"].sum()
    for down, name in enumerate(classes):
        number = int(numbers.get(name, 0))
        near = {"xytext": (2, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(f"{number:,}", (len(classes) - 0.5, down), color=style.FAINT, fontsize=5, **near)
    axes.set_xticks(range(len(classes)), [readable(name) for name in classes], rotation=90)


def _right(shares: np.ndarray) -> str:
    diagonal = np.diag(shares)
    if not np.isfinite(diagonal).any():
        return "no tile or slide"
    return f"{100 * np.nanmean(diagonal):.0f} % right, mean of classes"


# Fig. 4C


@style.styled
def rank_confidence(ranks: pd.DataFrame, top_k: pd.DataFrame) -> Figure:
    """Fig. 4C: rank and confidence of the true class of each slide by the last regime; shares among the first k inset.

    `ranks`: `tables/ranks.tsv` (regime, slide_id, class, rank, confidence). `top_k`: `tables/top_k.tsv` (regime, k,
    share, low, high, n), drawn for every regime and, for some k, printed beneath with the paper's two shares.
    """
    style.require(ranks, ("regime", "slide_id", "class", "rank", "confidence"), what="tables/ranks.tsv")
    style.require(top_k, ("regime", "k", "share", "low", "high", "n"), what="tables/top_k.tsv")
    regimes = in_order(top_k["regime"])
    if ranks.empty or not regimes:
        return style.nothing("No held-out slide was predicted.")
    colours, last = colours_of(regimes), in_order(ranks["regime"])[-1]
    shown = ranks[ranks["regime"] == last]
    ends = int(max(top_k["k"].max(), shown["rank"].max()))
    figure = style.new(style.DOUBLE_COLUMN_MM, 110 + 5 * (len(regimes) + 2))
    upper, lower = figure.subfigures(2, 1, height_ratios=[104, 6 + 5 * (len(regimes) + 2)])
    axes = upper.subplots()
    _draw_ranks(axes, shown, ends, colours[last])
    axes.set_title(f"{readable(last)}: {style.count(len(shown), 'held-out slide')}", loc="left")
    lower_edge = _above_confidences(ends, left=INSET_LEFT)
    inset = axes.inset_axes((INSET_LEFT, lower_edge, 0.99 - INSET_LEFT, 0.99 - lower_edge))
    _draw_top_k(inset, top_k, colours, ends)
    _write_top_k(lower.subplots(), top_k, colours)
    return figure


def _above_confidences(ends: int, *, left: float) -> float:
    """From where upward an inset hides no dot: no class of a rank is likelier than one through the rank."""
    first = max(1, int(np.floor(0.5 + left * ends + 0.65)))
    return max(0.42, 1 / first + 0.14)


def _draw_ranks(axes: Axes, shown: pd.DataFrame, ends: int, colour: str) -> None:
    # The golden ratio spreads the dots of a rank evenly whatever their number, and the same way each time.
    spread = (np.arange(len(shown)) * 0.6180339887 % 1 - 0.5) * 0.5
    axes.scatter(shown["rank"] + spread, shown["confidence"], s=9, color=colour, alpha=0.7, linewidths=0, clip_on=False)
    places = np.arange(1, ends + 1)
    axes.hlines(1 / places, places - 0.35, places + 0.35, color=style.RULE, linewidth=1, zorder=0)
    near = {"textcoords": "offset points", "va": "center", "fontsize": 6, "color": style.FAINT}
    axes.annotate("highest that is possible", (2.35, 0.5), (3, 0), **near)
    axes.set_xlim(0.5, ends + 0.5)
    axes.set_ylim(0, 1)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=15, integer=True))
    axes.set_xlabel("Rank of the true class (1: the first)")
    axes.set_ylabel("Confidence (mean probability of the true class)")


def _draw_top_k(axes: Axes, top_k: pd.DataFrame, colours: Mapping[str, str], ends: int) -> None:
    for regime, colour in colours.items():
        rows = top_k[top_k["regime"] == regime].sort_values("k")
        axes.plot(
            rows["k"],
            rows["share"],
            "o-",
            color=colour,
            markersize=2.5,
            linewidth=1,
            label=style.short(readable(regime)),
        )
    *_, last = colours
    rows = top_k[top_k["regime"] == last].sort_values("k")
    axes.fill_between(rows["k"], rows["low"], rows["high"], color=colours[last], alpha=0.15, linewidth=0)
    stated = {k: published.value(f"top_{k}_share", cohort="") for k in STATED_K if k <= ends}
    diamond = {"linestyle": "", "marker": "D", "markersize": 4.5, "markerfacecolor": "none"}
    axes.plot(list(stated), list(stated.values()), color=style.PUBLISHED, label="the paper's", zorder=5, **diamond)
    k, share = max(stated.items())
    axes.plot([0.5, k, k], [share, share, 0], color=style.PUBLISHED, linewidth=0.6, linestyle=(0, (4, 2)), zorder=0)
    axes.set_xlim(0.5, ends + 0.5)
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axes.set_xlabel("k", labelpad=0)
    axes.set_ylabel("True class among the first k", labelpad=1)
    axes.legend(loc="lower right")


def _write_top_k(axes: Axes, top_k: pd.DataFrame, colours: Mapping[str, str]) -> None:
    axes.set_axis_off()
    known = [k for k in SHOWN_K if (top_k["k"] == k).any()]
    places = np.linspace(0.24, 0.95, len(known)) if len(known) > 1 else [0.5]
    lines = len(colours) + 2
    text = {"transform": axes.transAxes, "va": "center", "fontsize": 6.5}
    heights = 1 - (np.arange(lines) + 0.5) / lines
    axes.text(0, heights[0], "among the first", fontweight="bold", **text)
    axes.text(0, heights[-1], "the paper", color=style.PUBLISHED, **text)
    for place, k in zip(places, known, strict=True):
        axes.text(place, heights[0], str(k), ha="center", fontweight="bold", **text)
        stated = published.value(f"top_{k}_share", cohort="") if k in STATED_K else np.nan
        if np.isfinite(stated):
            more = "> " if k > 1 else ""
            axes.text(place, heights[-1], f"{more}{100 * stated:.0f} %", ha="center", color=style.PUBLISHED, **text)
    for height, (regime, colour) in zip(heights[1:], colours.items(), strict=False):
        axes.text(0, height, style.short(readable(regime), 30), color=colour, **text)
        rows = top_k[top_k["regime"] == regime].set_index("k")
        for place, k in zip(places, known, strict=True):
            said = _share(rows.loc[k]) if k in rows.index else "NA"
            axes.text(place, height, said, ha="center", **text)


def _share(row: Mapping[str, float]) -> str:
    if not np.isfinite(row["share"]):
        return "NA"
    known = np.isfinite([row["low"], row["high"]]).all()
    interval = f" ({100 * row['low']:.0f}–{100 * row['high']:.0f})" if known else ""
    return f"{100 * row['share']:.0f} %{interval}"
