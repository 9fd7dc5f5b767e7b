"""How every figure looks: one colour, one word and one size per thing; and how a figure becomes a file."""

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import ScaledTranslation

from workflow_scripts.lib import palette
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import writing

MM = 1 / 25.4
SINGLE_COLUMN_MM = 85.0
DOUBLE_COLUMN_MM = 180.0
DPI = 200
# Of PNG. Pictures of tissue take twice as long at Pillow's own 6, and are a twentieth smaller.
COMPRESSION = 3

# Below and above the median of bulk expression, as in the paper's Fig. 2. The grey is dark because pink and a light
# or middle grey are one colour to a reader without green cones.
LOW = "#5E5E5E"
HIGH = "#E8559F"
# Low and high heterogeneity, as in the paper's Fig. 4.
LOW_HTI = "#E08A00"
HIGH_HTI = "#0063B1"
# Low and high risk, as a model predicts it: as far apart in grey as in colour.
LOW_RISK = "#4FA3D1"
HIGH_RISK = "#8E1B3A"

FILTERED_HATCH = "#7C93AE"
PROBABILITIES = "cividis"
# Outlines on a stained slide: the colours of combinations that are not a stain's.
OUTLINES = ("#2BAE66", "#312C8C", "#F0E442", "#3E8FE0", "#000000", "#5C3210")
OTHER_OUTLINES = palette.OTHER_COMBINATIONS

INK = "#222222"
FAINT = "#6B6B6B"
RULE = "#C8C8C8"
PUBLISHED = "#0F7B6C"

SET_NAMES = {"test": "Test", "ood_near": "OOD-near", "ood_all": "OOD-all"}

# A reader's own matplotlibrc must not change a figure; these keys are the machine's, not the figure's.
_MACHINE = (
    "backend",
    "interactive",
    "toolbar",
    "timezone",
    "webagg",
    "tk.",
    "docstring",
    "date.epoch",
    "savefig.directory",
)
_DEFAULTS = {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith(_MACHINE)}
RC = _DEFAULTS | {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "figure.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.2,
    "hatch.linewidth": 0.5,
    "image.interpolation": "nearest",
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "histocarta",
}

# Use as a decorator: the figure is built under RC, and no global setting is left changed.
styled = matplotlib.rc_context(RC)


def new(width_mm: float, height_mm: float) -> Figure:
    """An empty figure of a printed size in mm, whose parts make room for one another."""
    return Figure(figsize=(width_mm * MM, height_mm * MM), layout="constrained", facecolor="white")


def nothing(message: str, *, width_mm: float = DOUBLE_COLUMN_MM, height_mm: float = 40) -> Figure:
    """A figure that says in words why there is nothing to draw."""
    figure = new(width_mm, height_mm)
    axes = figure.add_subplot()
    say(axes, message)
    return figure


def say(axes: Axes, message: str) -> None:
    """Fill `axes` with a sentence in place of data, with no ticks or frame."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, textwrap.fill(message, 60), ha="center", va="center", color=FAINT, transform=axes.transAxes)


def p_text(p: float) -> str:
    """A p value as it is printed: "p = 0.04", "p = 0.0021", "p < 0.001", or "p: not available" for NaN."""
    if not np.isfinite(p):
        return "p: not available"
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.2g}" if p < 0.995 else "p = 1"


def count(number: int, thing: str) -> str:
    """ "1 slide", "2 slides", "12,000 tiles"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def short(name: str, length: int = 26) -> str:
    """A long name with its middle left out, so that both its patient and its slide number stay."""
    if len(name) <= length:
        return name
    head = (length - 1) * 2 // 3
    return f"{name[:head]}…{name[-(length - 1 - head) :]}"


def wrapped(name: str, width: int) -> str:
    """A name over several lines of at most `width` characters; a word that is longer is broken."""
    return "\n".join(textwrap.wrap(name, width)) or name


def heading(axes: Axes, name: str, detail: str) -> None:
    """A panel's name in bold, and beneath it lines of detail, above the axes."""
    lines = detail.count("\n") + 1
    axes.set_title(name, loc="left", pad=6 + 8.5 * lines)
    place = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "left", "va": "bottom"}
    axes.annotate(detail, (0, 1), (0, 5), fontsize=6.5, linespacing=1.15, **place)


def slide_picture(axes: Axes, thumbnail: np.ndarray | None, width: float, height: float) -> None:
    """A whole slide of `width` × `height` mm: its thumbnail, (h, w, 3) uint8, or words where there is none."""
    if thumbnail is None:
        axes.text(width / 2, height / 2, "no picture of this slide", ha="center", va="center", color=FAINT)
    else:
        axes.imshow(thumbnail, extent=(0, width, height, 0), interpolation="antialiased")
    slide_frame(axes, width, height)


def slide_frame(axes: Axes, width: float, height: float) -> None:
    """Axes in mm, of just a slide of `width` × `height` mm, with a thin line around it."""
    frame = {"fill": False, "edgecolor": RULE, "linewidth": 0.5, "clip_on": False}
    axes.add_patch(Rectangle((0, 0), width, height, zorder=5, **frame))
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)


def scale_bar(axes: Axes, width: float, height: float) -> None:
    """A bar of a round length below axes in mm that show a slide of `width` × `height` mm."""
    length = _round_length(width / 4)
    below = axes.transData + ScaledTranslation(0, -4 / 72, axes.get_figure(root=True).dpi_scale_trans)
    bar = {"color": INK, "linewidth": 1.6, "solid_capstyle": "butt", "clip_on": False}
    axes.plot([0, length], [height, height], transform=below, **bar)
    axes.annotate(
        f"{length:g} mm", (length / 2, height), (0, -6.5), textcoords="offset points", ha="center", va="top", fontsize=6
    )


def _round_length(length: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not longer."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(step * power for step in (1, 2, 5) if step * power <= length * (1 + 1e-9)))


def require(frame: Any, columns: tuple[str, ...], *, what: str) -> None:
    """Raise InputError unless a table has these columns; an empty table needs them too."""
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise InputError(
            f"{what}: column(s) {', '.join(missing)} not found among {', '.join(map(str, frame.columns)) or 'none'};"
            " write the table with the rule that makes it"
        )


def save(figure: Figure, path: str | Path, *, made_by: Mapping[str, Any]) -> None:
    """Write a figure as PNG (200 dpi), PDF or SVG, by the suffix of `path`; the same figure gives the same bytes.

    `made_by` (settings, code version, ...) is kept as JSON in the file's own description: PNG text chunk
    `Description`, PDF `Subject`, SVG Dublin Core `description`. Raises InputError for another suffix.
    """
    path = Path(path)
    made = json.dumps(made_by, sort_keys=True, default=str)
    metadata = {
        ".png": {"Title": path.stem, "Description": made, "Software": "Histocarta"},
        ".pdf": {"Title": path.stem, "Subject": made, "Creator": "Histocarta", "CreationDate": None},
        ".svg": {"Title": path.stem, "Description": made, "Creator": "Histocarta", "Date": None},
    }
    if path.suffix not in metadata:
        raise InputError(f"{path}: a figure is written as {', '.join(metadata)}; found the suffix {path.suffix!r}")
    options = {"pil_kwargs": {"compress_level": COMPRESSION}} if path.suffix == ".png" else {}
    with matplotlib.rc_context(RC), writing(path) as partial:
        figure.savefig(partial, format=path.suffix[1:], dpi=DPI, metadata=metadata[path.suffix], **options)


def footnote(figure: Figure, text: str) -> None:
    """A small line at the foot of a figure, for which its layout makes room."""
    characters = int(figure.get_figwidth() / MM * 0.75)
    figure.supxlabel(textwrap.fill(text, characters), fontsize=6, color=FAINT, x=0.01, ha="left")
