"""Contact sheets: small pictures of classified photographs, each framed in the colour of its class."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.patches import Patch

from workflow_scripts.lib.figures import style
from workflow_scripts.lib.photograph_classes import Classified, class_of

PER_ROW = 6
WIDTH_MM = style.DOUBLE_COLUMN_MM
CELL_MM = WIDTH_MM / PER_ROW
PICTURE_MM = CELL_MM - 4.0
WORDS_MM = 12.0
EXCLUDED_COLOUR = style.RULE
# Characters of a line of words below a picture.
LINE = 25
LEGEND_COLUMNS = 4


@style.styled
def contact_sheet(shown: Sequence[Classified], classes: Sequence[str], *, first: int, of: int, model: str) -> Figure:
    """A sheet of photographs, row by row in their order, with a legend of the classes.

    first: the number of the first of them among all, from 1; of: how many there are in all; model: what classified
    them, by name. Beside its number each has its name, and its class with the mean probability, or why it has none.
    """
    colours = class_colours(classes)
    legend_rows = -(-(len(classes) + 1) // LEGEND_COLUMNS)
    top_mm = 8.0 + 4.5 * legend_rows
    rows = max(1, -(-len(shown) // PER_ROW))
    height_mm = top_mm + rows * (PICTURE_MM + WORDS_MM) + 2.0
    figure = style.new(WIDTH_MM, height_mm)
    # Every place is given below.
    figure.set_layout_engine("none")
    last = first + len(shown) - 1
    title = f"Photographs {first:,} to {last:,} of {of:,}, classified by {model}"
    figure.text(2 / WIDTH_MM, 1 - 2 / height_mm, title, va="top", fontweight="bold", fontsize=8, parse_math=False)
    handles = [Patch(color=colours[name], label=_with_glyphs(style.short(name, 36))) for name in classes]
    handles.append(Patch(color=EXCLUDED_COLOUR, label="excluded"))
    legend = figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(2 / WIDTH_MM, 1 - 6 / height_mm),
        ncols=LEGEND_COLUMNS,
        borderaxespad=0,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    for place, one in enumerate(shown):
        row, column = divmod(place, PER_ROW)
        left = column * CELL_MM + 2.0
        bottom = height_mm - top_mm - row * (PICTURE_MM + WORDS_MM) - PICTURE_MM
        box = (left / WIDTH_MM, bottom / height_mm, PICTURE_MM / WIDTH_MM, PICTURE_MM / height_mm)
        _draw(figure.add_axes(box), one, classes, colours, number=first + place)
    return figure


def class_colours(classes: Sequence[str]) -> dict[str, str]:
    """A colour for each class, none that of a stain; past the sixth all share one."""
    own = dict(zip(classes, style.OUTLINES, strict=False))
    return {name: own.get(name, style.OTHER_OUTLINES) for name in classes}


def _draw(axes: Axes, one: Classified, classes: Sequence[str], colours: dict[str, str], *, number: int) -> None:
    axes.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1), aspect="equal")
    found = class_of(one, classes)
    for spine in axes.spines.values():
        spine.set(visible=True, color=colours[found] if found else EXCLUDED_COLOUR, linewidth=3.0)
    if one.thumbnail is None:
        axes.text(0.5, 0.5, "no picture", ha="center", va="center", color=style.FAINT, fontsize=6)
    else:
        longest = max(one.thumbnail.size)
        width, height = (side / longest for side in one.thumbnail.size)
        axes.imshow(
            np.asarray(one.thumbnail),
            extent=((1 - width) / 2, (1 + width) / 2, (1 - height) / 2, (1 + height) / 2),
            interpolation="antialiased",
        )
        axes.set(xlim=(0, 1), ylim=(0, 1))
    if found:
        said = f"{style.short(found, LINE - 5)} {np.nanmax(one.means):.2f}"
    else:
        said = textwrap.shorten(f"excluded: {one.reason}", 3 * LINE, placeholder=" …")
    lines = [style.short(f"{number}  {one.file}", LINE), *textwrap.wrap(said, LINE)]
    axes.annotate(
        _with_glyphs("\n".join(lines)), (0, 0), (-1, -4), xycoords="axes fraction", textcoords="offset points",
        va="top", fontsize=5.5, linespacing=1.15, parse_math=False, annotation_clip=False,
    )  # fmt: skip


def _with_glyphs(words: str) -> str:
    """Words with a box in the place of each sign that the figures' font does not have."""
    font = get_font(findfont("DejaVu Sans"))
    return "".join(sign if sign == "\n" or font.get_char_index(ord(sign)) else "□" for sign in words)
