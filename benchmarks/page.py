"""docs/performance.md and its plots, from tables: run as `python -m benchmarks.page`.

Tables that were just made (results/benchmarks/) are kept in docs/performance/ in place of older ones, and the page is
written from what is there: to measure one subject again leaves the others as they were.
"""

import json
import math
import shutil
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import harness
from benchmarks.sections import INTRODUCTION, SECTIONS, Section
from workflow_scripts.lib.figures import style
from workflow_scripts.lib.files import read_table, writing

DOCS = harness.REPOSITORY / "docs"
FOLDER = DOCS / "performance"
OURS, OTHERS, PALE = style.HIGH_HTI, style.LOW, style.LOW_HTI


@dataclass(frozen=True)
class Measured:
    """A subject's table, and what it was made on."""

    table: pd.DataFrame
    conditions: dict[str, Any]

    @property
    def is_comparison(self) -> bool:
        """Whether contenders were run in turn, and the table has a row per contender and round."""
        return list(self.table.columns) == harness.COLUMNS


# Tables in, page out


def main(*, made: Path = harness.RESULTS, folder: Path = FOLDER, page: Path = DOCS / "performance.md") -> None:
    """Keep new tables, draw their plots, and write the page."""
    keep_new(made, folder)
    measured = read_all(folder)
    for section in sections_of(measured):
        found = tables_of(section, measured)
        if figure := draw(section, found):
            style.save(figure, folder / f"{section.name}.png", made_by={"tables": sorted(found)})
    with writing(page) as partial:
        partial.write_text(write_page(measured), encoding="utf-8")


def keep_new(made: Path, folder: Path) -> None:
    """Copy tables that were just made over those that are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(made.glob("*.tsv")):
        for found in (path, path.with_suffix(".json")):
            shutil.copyfile(found, folder / found.name)


def read_all(folder: Path) -> dict[str, Measured]:
    """Every table that is kept, by its subject."""
    return {
        path.stem: Measured(read_table(path), json.loads(path.with_suffix(".json").read_text(encoding="utf-8")))
        for path in sorted(folder.glob("*.tsv"))
    }


def sections_of(subjects: Iterable[str]) -> list[Section]:
    """The sections that have a table, and one for each table that no section has."""
    subjects = list(subjects)
    strangers = [name for name in subjects if not any(section.has(name) for section in SECTIONS)]
    sections = (*SECTIONS, *(Section(name, name.replace("_", " ").capitalize(), "", {}) for name in strangers))
    return [section for section in sections if any(map(section.has, subjects))]


def tables_of(section: Section, measured: Mapping[str, Measured]) -> dict[str, Measured]:
    """A section's tables: those that it names, in its order, and then the others."""
    own = [name for name in measured if section.has(name)]
    named = [name for name in section.subjects if name in own]
    return {name: measured[name] for name in (*named, *(name for name in own if name not in named))}


# The page


def write_page(measured: Mapping[str, Measured]) -> str:
    """The page, as Markdown."""
    parts = [
        "# Performance",
        "<!-- Written by `python -m benchmarks.page` from docs/performance/*.tsv; edit benchmarks/sections.py. -->",
        *paragraphs(INTRODUCTION),
    ]
    for section in sections_of(measured):
        found = tables_of(section, measured)
        parts += [f"## {section.title}", *paragraphs(section.text)]
        if has_figure(section, found):
            parts.append(f"![{section.title}](performance/{section.name}.png)")
        for name, of_subject in found.items():
            title = section.heading(name)
            parts += [f"### {title}"] * bool(title)
            parts += [table_of(name, of_subject, section.reference), where(of_subject.conditions)]
        parts += paragraphs(section.after)
    parts += ["## Versions", versions(measured)]
    return "\n\n".join(parts) + "\n"


def filled(paragraph: str) -> str:
    """A paragraph in lines of 120 characters."""
    return textwrap.fill(" ".join(paragraph.split()), 120, break_on_hyphens=False)


def paragraphs(text: str) -> list[str]:
    """Text in paragraphs, each in lines."""
    return [filled(paragraph) for paragraph in text.split("\n\n") if paragraph.strip()]


def where(conditions: Mapping[str, Any]) -> str:
    """A line on the machine."""
    device = f", {conditions['device']}" if conditions.get("device") else ""
    return (
        f"<sub>{conditions['processor']}, {conditions['cores']} cores{device}, {conditions['memory_gb']:g} GB;"
        f" {conditions['date']}.</sub>"
    )


def versions(measured: Mapping[str, Measured]) -> str:
    """The versions of packages, as a table; where tables were made with several, all of them."""
    found: dict[str, set[str]] = {}
    for one in measured.values():
        for package, version in one.conditions["versions"].items():
            found.setdefault(package, set()).add(version)
    return markdown(["Package", "Version"], [(name, ", ".join(sorted(found[name]))) for name in sorted(found)])


def table_of(subject: str, measured: Measured, reference: str) -> str:
    """A subject's table as Markdown."""
    if measured.is_comparison:
        return comparison(measured.table, reference)
    return TABLES.get(subject, plain)(measured.table)


def comparison(table: pd.DataFrame, reference: str) -> str:
    """Contenders with their speeds, and how many times as fast as the reference each is."""
    speeds = harness.speeds(table)
    to = reference if reference in set(speeds["contender"]) else speeds["contender"].iloc[0]
    ratios = harness.ratios(table, to=to).set_index("contender")
    unit = speeds["unit"].iloc[0]
    has_memory = bool(speeds["peak_mb"].notna().any())
    header = ["", "s", f"{unit}/s", "range", "cold", f"times {to}", "range", *["peak MB"] * has_memory]
    rows = []
    for row in speeds.itertuples():
        ratio = ratios.loc[row.contender]
        cells = [row.contender, number(row.seconds), number(row.speed), span(row.low, row.high), number(row.cold)]
        cells += ["1", ""] if row.contender == to else [number(ratio["ratio"]), span(ratio["low"], ratio["high"])]
        rows.append([*cells, *[number(row.peak_mb)] * has_memory])
    return markdown(header, rows)


def plain(table: pd.DataFrame) -> str:
    """A table as it is."""
    return markdown(list(table.columns), [[cell(value) for value in row] for row in table.itertuples(index=False)])


def encodings(table: pd.DataFrame) -> str:
    """Ways to encode a tile: their size, speed and error."""
    header = [
        "",
        "kB a tile",
        "of the pixels",
        "encoded and written, tiles/s",
        "read and decoded, tiles/s",
        "mean error",
    ]
    parts = []
    for name, of_set in table.groupby("tiles", sort=False):
        pixels = of_set.set_index("choice").loc["pixels", "bytes_per_tile"]
        rows = [
            [
                f"**{row.choice}**" if row.choice == "JPEG 90 4:4:4" else row.choice,
                number(row.bytes_per_tile / 1000),
                f"{row.bytes_per_tile / pixels:.0%}",
                number(row.write_per_s),
                number(row.read_per_s),
                number(row.mean_error),
            ]
            for row in of_set.itertuples()
        ]
        parts.append(f"Tiles of {name}:\n\n{markdown(header, rows)}")
    return "\n\n".join(parts)


def layouts(table: pd.DataFrame) -> str:
    """Ways to hold the bytes of tiles."""
    header = ["Tiles", "Layout", "more than the bytes", "written, tiles/s", "read one by one", "read in batches of 32"]
    rows = [
        [
            row.tiles,
            row.layout,
            f"{row.overhead:.2%}",
            number(row.write_per_s),
            number(row.read_one_per_s),
            number(row.read_batch_per_s),
        ]
        for row in table.itertuples()
    ]
    return markdown(header, rows)


def changed_predictions(table: pd.DataFrame) -> str:
    """What an encoding changes in predictions: means over models, and the largest change of any."""
    header = [
        "",
        "probability, mean change",
        "largest",
        "tiles that change sides",
        "share of positive tiles, mean change",
        "largest",
    ]
    rows = [
        [
            f"**{choice}**" if choice == "JPEG 90 4:4:4" else choice,
            f"{of_choice['p_mean'].mean():.4f}",
            f"{of_choice['p_max'].max():.3f}",
            f"{of_choice['changed_sides'].mean():.2%}",
            f"{of_choice['share_mean'].mean():.4f}",
            f"{of_choice['share_max'].max():.3f}",
        ]
        for choice, of_choice in table.groupby("choice", sort=False)
    ]
    first = table.iloc[0]
    words = f"{first['tiles']} tiles of {first['slides']} slides, {table['model'].nunique()} models:"
    return f"{words}\n\n{markdown(header, rows)}"


def scripts(table: pd.DataFrame) -> str:
    """What each script imports."""
    header = ["Script", "s", "range", "modules", "of the library", "large packages"]
    rows = [
        [
            f"`{row.script}`",
            f"{row.seconds:.2f}",
            f"{row.low:.2f}–{row.high:.2f}",
            str(row.modules),
            str(row.of_the_library),
            row.heavy if isinstance(row.heavy, str) else "",
        ]
        for row in table.sort_values(["seconds", "script"]).itertuples()
    ]
    return markdown(header, rows)


TABLES = {
    "store_encodings": encodings,
    "store_layouts": layouts,
    "store_predictions": changed_predictions,
    "startup": scripts,
}


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; its first column is words, and the others are what stands in their cells."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """Three significant digits, thousands set apart; nothing for what is missing."""
    if pd.isna(value):
        return ""
    if value == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):,.{max(0, digits)}f}"


def span(low: float, high: float) -> str:
    """A range."""
    return f"{number(low)}–{number(high)}"


def cell(value: Any) -> str:
    """Any value of a table."""
    return number(value) if isinstance(value, float) else str(value)


# Plots


def has_figure(section: Section, found: Mapping[str, Measured]) -> bool:
    """Whether a section has a plot."""
    return section.name in PLOTS or any(one.is_comparison for one in found.values())


def draw(section: Section, found: Mapping[str, Measured]) -> Figure | None:
    """A section's plot; none where there is nothing to draw."""
    if not has_figure(section, found):
        return None
    if section.name in PLOTS:
        return PLOTS[section.name](found)
    compared = {section.heading(name): one.table for name, one in found.items() if one.is_comparison}
    return draw_comparisons(compared)


@style.styled
def draw_comparisons(compared: Mapping[str, pd.DataFrame]) -> Figure:
    """A panel per table: each round's speed as a faint dot, the median as a bar's end."""
    most = [table["contender"].nunique() for table in compared.values()]
    figure = style.new(style.DOUBLE_COLUMN_MM * 0.8, sum(11 + 6 * count for count in most))
    panels = figure.subplots(len(compared), 1, squeeze=False, height_ratios=most)[:, 0]
    for axes, (title, table) in zip(panels, compared.items(), strict=True):
        speeds = harness.speeds(table)
        for place, row in enumerate(speeds.itertuples()):
            colour = OURS if row.contender.startswith("ours") else OTHERS
            warm = table[(table["contender"] == row.contender) & harness.warm_rounds(table)]
            axes.barh(place, row.speed, height=0.55, color=colour, alpha=0.85)
            each = warm["work"] / warm["seconds"]
            axes.scatter(
                each, [place] * len(each), s=7, facecolor="white", edgecolor=style.INK, linewidth=0.5, zorder=3
            )
            # In a column of their own: beside a bar, some round's dot would be there.
            axes.annotate(number(row.speed), (1, place), xycoords=("axes fraction", "data"), ha="right", va="center")
        axes.set_yticks(range(len(speeds)), speeds["contender"])
        axes.invert_yaxis()
        axes.set_xlim(0, speeds["high"].max() * 1.2)
        axes.set_xlabel(f"{speeds['unit'].iloc[0]} a second (bar: median; dots: rounds)")
        axes.set_title(title, loc="left")
    return figure


@style.styled
def draw_store(found: Mapping[str, Measured]) -> Figure:
    """What a smaller tile costs: error, and change of predictions, by size; quality written beside each point."""
    has_predictions = "store_predictions" in found
    figure = style.new(style.DOUBLE_COLUMN_MM, 62)
    panels = figure.subplots(1, 2 + has_predictions)
    table = found["store_encodings"].table
    lossy = table[table["choice"].str.startswith("JPEG")]
    sets = list(dict.fromkeys(lossy["tiles"]))
    for axes, name in zip(panels, sets, strict=False):
        of_set = lossy[lossy["tiles"] == name].set_index("choice")
        draw_qualities(axes, of_set["bytes_per_tile"] / 1000, of_set["mean_error"])
        axes.set_title(f"Tiles of {name}", loc="left")
        axes.set_xlabel("kB a tile")
        axes.set_ylabel("mean error, grey levels")
    panels[0].legend(loc="upper right", title="chroma")
    if has_predictions:
        change = found["store_predictions"].table.groupby("choice")["p_mean"].mean()
        of_set = lossy[lossy["tiles"] == sets[-1]].set_index("choice")
        draw_qualities(panels[2], of_set["bytes_per_tile"] / 1000, change.reindex(of_set.index))
        panels[2].set_title("Predictions", loc="left")
        panels[2].set_xlabel(f"kB a tile ({sets[-1]})")
        panels[2].set_ylabel("mean change of probability")
    return figure


def draw_qualities(axes: Axes, x: pd.Series, y: pd.Series) -> None:
    """JPEG's qualities as a line for each subsampling; `x` and `y` by choices such as "JPEG 90 4:4:4"."""
    for name, colour, marker, below in (("4:4:4", OURS, "o", False), ("4:2:0", PALE, "s", True)):
        chosen = [choice for choice in x.index if choice.endswith(name)]
        axes.plot(x[chosen], y[chosen], color=colour, marker=marker, markersize=4, label=name)
        for choice in chosen:
            place = {"xytext": (-3, -3), "ha": "right", "va": "top"} if below else {"xytext": (3, 3)}
            axes.annotate(
                choice.split()[1], (x[choice], y[choice]), textcoords="offset points", fontsize=6, color=colour, **place
            )
    axes.set_ylim(0)
    axes.margins(x=0.15)


@style.styled
def draw_startup(found: Mapping[str, Measured]) -> Figure:
    """Seconds of imports of every script, those of a kind in a row."""
    table = found["startup"].table
    heavy = table["heavy"].fillna("").str.split(", ")
    kinds = {
        "torch": heavy.map(lambda packages: "torch" in packages),
        "matplotlib": heavy.map(lambda packages: "matplotlib" in packages),
        "statistics": heavy.map(lambda packages: bool({"scipy.stats", "lifelines", "sklearn"} & set(packages))),
        "none of these": heavy.map(lambda _packages: True),
    }
    figure = style.new(style.DOUBLE_COLUMN_MM * 0.8, 42)
    axes = figure.subplots()
    taken = pd.Series(False, table.index)
    labels = []
    for place, (kind, members) in enumerate(kinds.items()):
        chosen = table[members & ~taken].sort_values("seconds")
        taken |= members
        # Dots of one row are set apart, in the order of their seconds.
        rows = [place + 0.12 * (index % 5 - 2) for index in range(len(chosen))]
        axes.scatter(chosen["seconds"], rows, s=12, color=OURS, alpha=0.7, linewidth=0)
        labels.append(f"{kind} ({len(chosen)})")
    axes.set_yticks(range(len(kinds)), labels)
    axes.invert_yaxis()
    axes.set_xlim(0)
    axes.set_xlabel("seconds of imports (a dot: a script)")
    axes.set_title("What scripts import", loc="left")
    return figure


PLOTS: dict[str, Callable[[Mapping[str, Measured]], Figure]] = {"store": draw_store, "startup": draw_startup}


if __name__ == "__main__":
    main()
