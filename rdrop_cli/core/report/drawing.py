"""Make a picture's SVG, for a page that has a light and a dark appearance.

Matplotlib draws with a few colours, which become the page's own variables in the SVG. Text stays text, and takes the
page's font. Nothing refers to anything outside the picture.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK, MUTED, RULE, PAPER = "#010101", "#020202", "#030303", "#040404"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#777777")
"""Okabe and Ito's colours, which people with any kind of colour vision can tell apart, and two more."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_SIZES = (5, 5, 6.5, 5, 6.5, 6, 6, 7.5)
"""Of the markers, which so look equally large."""
LINES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 1.5)), (0, (8, 2)), (0, (1, 3)), (0, (4, 4)))
"""Every colour comes with a marker and a kind of line of its own."""
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    PAPER: "var(--paper)",
    **{colour: f"var(--series-{index + 1})" for index, colour in enumerate(SERIES)},
}
WIDTH, HEIGHT = 360, 250
"""Of a picture, in its own units; its text has 11 of them, which stay legible on a phone."""
_FAR = 1e5
_NEAR, _ASIDE = 0.03, 0.05
"""Shares of an axis."""
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": MUTED,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelsize": 11,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.color": INK,
    "lines.linewidth": 2,
    "xtick.major.pad": 5,
    "ytick.major.pad": 5,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "legend.labelcolor": INK,
    "legend.handlelength": 2.2,
    "legend.borderaxespad": 0,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
}


@dataclass
class Sheet:
    """Where a picture is drawn, and then its SVG.

    Attributes:
        name: The picture's, from which the names inside it are made.
        svg: Empty while it is drawn.
    """

    name: str
    figure: Figure
    axes: Axes
    svg: str = ""

    def legend(self, columns: int = 2) -> None:
        """Above the picture, where it covers nothing."""
        handles, names = self.axes.get_legend_handles_labels()
        if handles:
            self.figure.legend(handles, names, loc="outside upper left", ncols=columns, columnspacing=1.4)


def legend_name(name: str) -> str:
    """A user's name for the legend, where matplotlib leaves out names that begin with an underscore."""
    return f"\N{ZERO WIDTH SPACE}{name}" if name.startswith("_") else name


@contextmanager
def sheet(name: str, *, title: str = "", below: str = "", height: int = HEIGHT) -> Iterator[Sheet]:
    """An empty picture to draw in; afterwards its `svg` is there.

    Args:
        title: What the vertical axis shows.
        below: What the horizontal axis shows.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: Any = {**_STYLE, "svg.hashsalt": name}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the page's font has it, though matplotlib's has not
        figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
        FigureCanvasSVG(figure)
        made = Sheet(name, figure, figure.subplots())
        made.axes.set_title(title)
        made.axes.set_xlabel(below)
        yield made
        _clear_corner(made.axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    made.svg = _for_a_page(buffer.getvalue(), name)


def style(index: int, *, with_markers: bool = True) -> dict[str, Any]:
    """The look of a series: colour, line and marker."""
    look: dict[str, Any] = {"color": SERIES[index % len(SERIES)], "linestyle": LINES[index % len(LINES)]}
    if with_markers:
        look |= {
            "marker": MARKERS[index % len(MARKERS)],
            "markeredgecolor": PAPER,
            "markeredgewidth": 0.8,
            "markersize": _SIZES[index % len(_SIZES)],
        }
    return look


def apart(index: int) -> tuple[float, float]:
    """Where a curve of many points has markers: equally far apart, and not where other curves have theirs."""
    return 0.03 + 0.025 * index, 0.16


def rows(axes: Axes, names: Sequence[str]) -> None:
    """One row below the other, with its name."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.locator_params(axis="x", nbins=5)
    axes.use_sticky_edges = False  # bars would otherwise end where the picture does
    axes.margins(x=0.06)


def percent(axis: Axis) -> None:
    """Show shares as percentages."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))


def _clear_corner(axes: Axes) -> None:
    """Move the vertical axis aside where the first labels of both axes would stand on each other."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    near_x = any(abs(tick - left) < _NEAR * (right - left) for tick in axes.get_xticks())
    near_y = any(abs(tick - low) < _NEAR * abs(high - low) for tick in axes.get_yticks())
    if near_x and near_y and high > low:
        axes.set_xlim(left - _ASIDE * (right - left), right)


def _for_a_page(document: str, name: str) -> str:
    """The `<svg>` element: without what only a file of its own needs, names made unique, colours of the page.

    Args:
        document: As matplotlib writes it.
    """
    root = ElementTree.fromstring(document)
    referred = set(re.findall(r"#([A-Za-z][\w.-]*)", " ".join(_references(root))))
    for parent in list(root.iter()):
        parent.tag = parent.tag.rpartition("}")[2]
        for key in list(parent.attrib):
            value = parent.attrib.pop(key)
            plain = key.rpartition("}")[2]
            if plain != "id" or value in referred:
                parent.attrib[plain] = _attribute(plain, value, name)
        for child in list(parent):
            if child.tag.endswith("}metadata") or (child.tag.endswith("}defs") and "style" in child[0].tag):
                parent.remove(child)
        if parent.tag != "text":
            parent.text = None
        parent.tail = None
    root.attrib = {"viewBox": root.attrib["viewBox"], "aria-hidden": "true"}  # the page says what it shows
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def _references(root: ElementTree.Element) -> Iterator[str]:
    for element in root.iter():
        for key, value in element.attrib.items():
            if "#" in value and (key.endswith("href") or "url(" in value):
                yield value


def _attribute(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return f"#{name}-{value[1:]}"
    if key == "d":
        return re.sub(r"-?\d+\.\d+", _rounded, " ".join(value.split()))
    if key in ("x", "y"):
        return re.sub(r"-?\d+\.\d+", _rounded, value)
    if key == "transform":
        return re.sub(r"-?\d+\.\d+", _rounded, value)
    if key == "clip-path":
        return value.replace("url(#", f"url(#{name}-")
    if key == "style":
        value = value.replace("url(#", f"url(#{name}-")
        value = re.sub(r"font: [^;]*?([\d.]+px)[^;]*", r"font-size: \1", value)  # as matplotlib 3.9 writes it
        value = re.sub(r"font-family:[^;]*;?|font-variant:[^;]*;?", "", value)
        return re.sub(r"#[0-9a-f]{6}", lambda match: _VARIABLES.get(match[0], match[0]), value)
    return value


def _rounded(match: re.Match[str]) -> str:
    """A coordinate with two decimals, which is a hundredth of a pixel or so."""
    value = float(match[0])
    return f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) < _FAR else match[0]
