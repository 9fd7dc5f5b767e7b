"""What is drawn: the words of a figure or a page, those that are cut off, and colours as others see them."""

from html.parser import HTMLParser

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text


def shown(figure: Figure) -> list[Text]:
    """The texts of a figure that a reader sees."""
    figure.draw_without_rendering()
    # Insets are no axes of the figure.
    axes_of_figure = [(axes, axis) for axes in figure.findobj(Axes) for axis in (axes.xaxis, axes.yaxis)]
    of_axis = {id(text) for _, axis in axes_of_figure for text in axis.findobj(Text)}
    texts = [text for text in figure.findobj(Text) if id(text) not in of_axis]
    for axes, axis in axes_of_figure:
        if axes.axison:
            texts += [axis.label, *(label for tick in axis._update_ticks() for label in (tick.label1, tick.label2))]
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


def words(figure: Figure) -> str:
    """What a figure says, one text per line, with non-breaking spaces as spaces."""
    return "\n".join(text.get_text() for text in shown(figure)).replace("\u00a0", " ")


def outside(figure: Figure) -> list[str]:
    """Texts that do not lie wholly on the page."""
    page = figure.bbox.padded(1)
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown(figure)]
    return [said for said, box in boxes if not (page.contains(*box.min) and page.contains(*box.max))]


def lightness_distance(one: str, other: str, matrix: np.ndarray) -> float:
    """CIE76 distance of two colours as seen through a 3 × 3 matrix on linear RGB."""

    def lab(colour: str) -> np.ndarray:
        rgb = np.array(matplotlib.colors.to_rgb(colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        seen = np.clip(matrix @ linear, 0, 1)
        to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
        xyz = to_xyz @ seen / [0.9505, 1, 1.089]
        root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
        return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])

    return float(np.linalg.norm(lab(one) - lab(other)))


# Dichromats' views: Machado, Oliveira and Fernandes (2009), severity 1.
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
PROTANOPIA = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)


class Page(HTMLParser):
    """Tags that are open, and all texts; fails on a tag that closes another."""

    VOID = frozenset({"meta"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def read_page(page: str) -> Page:
    parser = Page()
    parser.feed(page)
    assert parser.open == []
    return parser
