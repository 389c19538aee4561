"""What all pictures share: style, sizes of text, panels one beside another, and saving."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D

from bench.report.families import FAMILIES, OTHER, Family, family
from bench.report.leaderboard import Board

PANELS = 4  # at most: a picture of more takes long to draw, and is small where a page shrinks it
COLUMNS = 2  # at most, of leaderboards: more would be too small to read where a page shrinks them
WIDE = 6.5  # inches: with a panel wider than that there is one column
DOTS = 120  # an inch
DOT = DOTS / 72  # dots in 1/72 inch, the unit of fonts and of `bench.report.labels`
LEGEND = (0.12, 0.2, 1.0)  # inches: room below, height of a line, width of a column at least
HANDLE = 0.5  # inches of a column for what is beside its words
TITLE = 68  # characters of a line, at most
LABEL = 40  # characters, at most
INK, FAINT, GRID = "#222222", "#8a8a8a", "#e6e6e6"
FONT = "DejaVu Sans"  # comes with matplotlib
TEXT, HEADING = 8.0, 9.0  # 1/72 inch
STYLE: Any = {  # of matplotlib, whose keys differ from version to version
    "font.family": FONT,
    "font.size": TEXT,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.parse_math": False,  # a $ in a name is a $
    "svg.hashsalt": "leaderboard",
    "svg.fonttype": "none",
}
LEGEND_STYLE: dict[str, Any] = {"frameon": False, "columnspacing": 1.4, "handletextpad": 0.3}


@dataclass(frozen=True)
class Panel:
    """One board's part of a picture; lengths in inches."""

    width: float
    height: float
    draw: Callable[[Axes], None]
    margins: tuple[float, float, float, float] | None = None  # left, bottom, right, top of axes

    # without margins, the axes fill the panel, unseen, with inches from the upper left as units


@contextmanager
def style() -> Iterator[None]:
    """The pictures' style; a reader's own must not change the bytes."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


@dataclass(frozen=True)
class Drawing:
    """A picture, ready to be written."""

    figure: Figure

    def svg(self) -> bytes:
        """As SVG, its text as text."""
        return _bytes(self.figure, "svg", {"Date": None, "Creator": None})

    def png(self) -> bytes:
        """As PNG, for where an SVG is not shown."""
        return _bytes(self.figure, "png", {"Software": None})


def compose(panels: Sequence[Panel], legend: Sequence[Artist], columns: int = COLUMNS) -> Drawing:
    """The panels in at most so many columns, above the legend; within `style`."""
    return Drawing(_figure(panels, legend, columns))


def title(board: Board) -> str:
    """The board's name in two lines."""
    words = f"{board.suite} v{board.suite_version}, {board.backbone}", board.recipe_name
    return "\n".join(short(line, TITLE) for line in words)


def short(text: str, most: int = LABEL) -> str:
    """The text, cut to that many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def fitting(text: str, width: float, size: float = TEXT) -> str:
    """The text, cut so that it is at most as wide as that many inches."""
    cuts = (short(text, most) for most in range(len(text), 0, -1))
    return next((cut for cut in cuts if extent(cut, size)[0] <= width), "…")


@cache
def extent(text: str, size: float = TEXT) -> tuple[float, float]:
    """Width and height of a written line, in inches."""
    font = FontProperties(family=FONT, size=size)
    width, height, _ = _renderer().get_text_width_height_descent(text, font, False)
    return width / DOTS, height / DOTS


def widest(texts: Sequence[str], size: float = TEXT) -> float:
    """The width of the widest of some lines, in inches."""
    return max((extent(text, size)[0] for text in texts), default=0.0)


def marker(kind: Family) -> dict[str, Any]:
    """Its look; what lies beneath shines through, as for spt and vpt with as many prompts."""
    size = 11 if kind.marker == "*" else 6
    edge = {"markeredgecolor": "white", "markeredgewidth": 0.5}
    return {"marker": kind.marker, "markersize": size, "alpha": 0.8, **edge}


def families(boards: Sequence[Board]) -> list[Artist]:
    """The legend's entries for the families of the boards' complete rows."""
    present = {family(row.method).name for board in boards for row in board.rows}
    return [
        Line2D([], [], linestyle="none", color=kind.colour, label=kind.name, **marker(kind))
        for kind in (*FAMILIES, OTHER)
        if kind.name in present
    ]


@cache
def _renderer() -> RendererAgg:
    return RendererAgg(1, 1, DOTS)


def _bytes(figure: Figure, kind: str, metadata: dict[str, None]) -> bytes:
    stream = io.BytesIO()
    with style():
        figure.savefig(stream, format=kind, metadata=metadata, dpi=DOTS)
    return stream.getvalue()


def _figure(panels: Sequence[Panel], legend: Sequence[Artist], most: int) -> Figure:
    columns = 1 if max(panel.width for panel in panels) > WIDE else min(len(panels), most)
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    width = columns * max(panel.width for panel in panels)
    below, line, _ = LEGEND
    across = _across([str(entry.get_label()) for entry in legend], width)
    foot = below + line * -(-len(legend) // across) if legend else 0.0
    size = width, foot + sum(max(panel.height for panel in row) for row in rows)
    figure = Figure(size, dpi=DOTS, facecolor="white")
    top = size[1]
    for row in rows:
        for i, panel in enumerate(row):
            _add(figure, panel, i * width / columns, top)
        top -= max(panel.height for panel in row)
    if legend:
        figure.legend(handles=legend, loc="lower center", ncols=across, **LEGEND_STYLE)
    return figure


def _across(words: Sequence[str], width: float) -> int:
    """How many columns a legend of these words has, in so many inches; filled one by one."""
    most = min(len(words), int(width / LEGEND[2]))
    for count in range(most, 1, -1):
        parts = np.array_split(np.array(words), count)  # the longer ones first, as matplotlib does
        if sum(HANDLE + widest([str(word) for word in part]) for part in parts) <= width:
            return count
    return 1


def _add(figure: Figure, panel: Panel, left: float, top: float) -> None:
    """Draw a panel with its upper left corner there, in inches from the lower left."""
    width, height = figure.get_size_inches()
    west, south, east, north = panel.margins or (0, 0, 0, 0)
    corner = (left + west) / width, (top - panel.height + south) / height
    size = (panel.width - west - east) / width, (panel.height - south - north) / height
    axes = figure.add_axes((*corner, *size))
    if panel.margins is None:
        axes.set_axis_off()
        axes.set_xlim(0, panel.width)
        axes.set_ylim(panel.height, 0)
    panel.draw(axes)
