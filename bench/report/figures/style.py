"""The style of all figures: sizes, text extents, the layout of panels and legend, and saving.

For a study's figures also the split of its values into panels, and the labels of its columns.
"""

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D

from bench.report.boards import Board
from bench.report.markdown import format_axis_value
from bench.report.method_colours import FAMILIES, OTHER_FAMILY, Family, method_family
from bench.utils.escaping import for_figure

MAX_PANELS = 4  # more take long to draw, and are small where a page shrinks the picture
MAX_COLUMNS = 2  # of leaderboards: more would be too small to read where a page shrinks them
WIDE_PANEL = 6.5  # inches: with a panel wider than that there is one column
DPI = 120  # an inch
DOTS_PER_POINT = DPI / 72  # a point, 1/72 inch, is the unit of fonts and of label_placement
LEGEND_SIZES = (0.12, 0.2, 1.0)  # inches: room below, height of a line, width of a column at least
HANDLE_WIDTH = 0.5  # inches of a column besides its words
MAX_TITLE = 68  # characters of a line, at most
MAX_LABEL = 40  # characters, at most
TEXT_COLOUR, FAINT_COLOUR, GRID_COLOUR = "#222222", "#8a8a8a", "#e6e6e6"
FONT = "DejaVu Sans"  # comes with matplotlib
TEXT_SIZE, HEADING_SIZE = 8.0, 9.0  # 1/72 inch
RC_PARAMS: Any = {  # of matplotlib, whose keys differ from version to version
    "font.family": FONT,
    "font.size": TEXT_SIZE,
    "text.color": TEXT_COLOUR,
    "axes.labelcolor": TEXT_COLOUR,
    "axes.edgecolor": FAINT_COLOUR,
    "xtick.color": TEXT_COLOUR,
    "ytick.color": TEXT_COLOUR,
    "text.parse_math": False,  # a $ in a name is a $
    "svg.hashsalt": "leaderboard",
    "svg.fonttype": "none",
}
LEGEND_STYLE: dict[str, Any] = {"frameon": False, "columnspacing": 1.4, "handletextpad": 0.3}


@dataclass(frozen=True)
class FigurePanel:
    """One board's part of a picture; lengths in inches."""

    width: float
    height: float
    draw: Callable[[Axes], None]
    margins: tuple[float, float, float, float] | None = None  # left, bottom, right, top of axes

    # without margins, the axes fill the panel, unseen, with inches from the upper left as units


@contextmanager
def style_context() -> Iterator[None]:
    """Apply the figures' style; a reader's own must not change the bytes."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC_PARAMS)
        yield


@dataclass(frozen=True)
class RenderedFigure:
    """A picture, ready to be written."""

    figure: Figure

    def svg(self) -> bytes:
        """Return the figure as SVG, its text as text."""
        return _save_figure(self.figure, "svg", {"Date": None, "Creator": None})

    def png(self) -> bytes:
        """Return the figure as PNG, for where an SVG is not shown."""
        return _save_figure(self.figure, "png", {"Software": None})


def compose_figure(
    panels: Sequence[FigurePanel], legend: Sequence[Artist], columns: int = MAX_COLUMNS
) -> RenderedFigure:
    """Return the panels in at most so many columns, above the legend; within `style`."""
    return RenderedFigure(_build_figure(panels, legend, columns))


def board_title(board: Board) -> str:
    """Return the board's name in two lines."""
    words = f"{board.suite} v{board.suite_version}, {board.backbone}", board.recipe_name
    return "\n".join(truncate(line, MAX_TITLE) for line in words)


def truncate(text: str, most: int = MAX_LABEL) -> str:
    """Return the text as a figure writes it, cut to that many characters."""
    text = for_figure(text)
    return text if len(text) <= most else text[: most - 1] + "…"


def truncate_to_width(text: str, width: float, size: float = TEXT_SIZE) -> str:
    """Return the text as a figure writes it, cut to at most so many inches."""
    text = for_figure(text)
    cuts = (truncate(text, most) for most in range(len(text), 0, -1))
    return next((cut for cut in cuts if text_extent(cut, size)[0] <= width), "…")


@cache
def text_extent(text: str, size: float = TEXT_SIZE) -> tuple[float, float]:
    """Return width and height of a written line, in inches."""
    font = FontProperties(family=FONT, size=size)
    with _missing_glyphs():
        width, height, _ = _renderer().get_text_width_height_descent(text, font, False)
    return width / DPI, height / DPI


def widest_text(texts: Sequence[str], size: float = TEXT_SIZE) -> float:
    """Return the width of the widest of some lines, in inches."""
    return max((text_extent(text, size)[0] for text in texts), default=0.0)


def marker_style(kind: Family) -> dict[str, Any]:
    """Return a family's marker; it is translucent, as spt and vpt with as many prompts coincide."""
    size = 11 if kind.marker == "*" else 6
    edge = {"markeredgecolor": "white", "markeredgewidth": 0.5}
    return {"marker": kind.marker, "markersize": size, "alpha": 0.8, **edge}


def family_handles(boards: Sequence[Board]) -> list[Artist]:
    """Return the legend's entries for the families of the boards' complete rows."""
    present = {method_family(row.method).name for board in boards for row in board.rows}
    return [
        Line2D([], [], linestyle="none", color=kind.colour, label=kind.name, **marker_style(kind))
        for kind in (*FAMILIES, OTHER_FAMILY)
        if kind.name in present
    ]


@contextmanager
def _missing_glyphs() -> Iterator[None]:
    """Within it, a character that the font lacks is drawn as a box, without a warning each time."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


@cache
def _renderer() -> RendererAgg:
    return RendererAgg(1, 1, DPI)


def _save_figure(figure: Figure, kind: str, metadata: dict[str, None]) -> bytes:
    stream = io.BytesIO()
    with style_context(), _missing_glyphs():
        figure.savefig(stream, format=kind, metadata=metadata, dpi=DPI)
    return stream.getvalue()


def _build_figure(panels: Sequence[FigurePanel], legend: Sequence[Artist], most: int) -> Figure:
    columns = 1 if max(panel.width for panel in panels) > WIDE_PANEL else min(len(panels), most)
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    width = columns * max(panel.width for panel in panels)
    below, line, _ = LEGEND_SIZES
    across = _legend_columns([str(entry.get_label()) for entry in legend], width)
    foot = below + line * -(-len(legend) // across) if legend else 0.0
    size = width, foot + sum(max(panel.height for panel in row) for row in rows)
    figure = Figure(size, dpi=DPI, facecolor="white")
    top = size[1]
    for row in rows:
        for i, panel in enumerate(row):
            _add_panel(figure, panel, i * width / columns, top)
        top -= max(panel.height for panel in row)
    if legend:
        figure.legend(handles=legend, loc="lower center", ncols=across, **LEGEND_STYLE)
    return figure


def _legend_columns(words: Sequence[str], width: float) -> int:
    """Return the number of columns of a legend of these words within a width, in inches."""
    most = min(len(words), int(width / LEGEND_SIZES[2]))
    for count in range(most, 1, -1):
        parts = np.array_split(np.array(words), count)  # the longer ones first, as matplotlib does
        if sum(HANDLE_WIDTH + widest_text([str(word) for word in part]) for part in parts) <= width:
            return count
    return 1


def _add_panel(figure: Figure, panel: FigurePanel, left: float, top: float) -> None:
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


COLUMN_LABELS = {"cka": "CKA", "nmi": "NMI", "nmi_pooled": "NMI, pooled", "lr": "learning rate"}


def split_panels(summary: pd.DataFrame, panels: list[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows of each panel, with its heading, in the order of the rows."""
    for name, part in summary.groupby(join_columns(summary, panels), sort=False):
        yield str(name), part


def join_columns(summary: pd.DataFrame, names: list[str]) -> pd.Series:
    """Return some columns as one text per row: a number with its column's name before it."""
    columns = [[_named_value(name, value) for value in summary[name]] for name in names]
    texts = map(", ".join, zip(*columns, strict=True)) if names else [""] * len(summary)
    return pd.Series(list(texts), summary.index)


def column_label(name: str) -> str:
    """Return a column's name as a reader has it."""
    return for_figure(COLUMN_LABELS.get(name, name.replace("_", " ")))


def _named_value(name: str, value: object) -> str:
    text = value if isinstance(value, str) else f"{column_label(name)} {format_axis_value(value)}"
    return for_figure(text)
