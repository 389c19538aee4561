"""Heat map of each method's difference to `full` on each task, in points, a panel per board."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle

from bench.report.boards import Board
from bench.report.figures.label_placement import Floats
from bench.report.figures.style import (
    HEADING_SIZE,
    MAX_PANELS,
    FigurePanel,
    RenderedFigure,
    board_title,
    compose_figure,
    style_context,
    truncate,
    truncate_to_width,
    widest_text,
)
from bench.report.rows import MethodRow, accuracy_table
from bench.utils.escaping import for_figure

REFERENCE = "full"  # the method whose row the others are held against
SUBTITLE = "points above (blue) or below (red) {}"
CELL_SIZE = (0.4, 0.19)  # inches: width and height
NUMBER_SIZE = 7.0  # 1/72 inch
GROUP_GAP = 0.09  # inches between groups, before the mean, and below the reference
PADDING = 0.14  # inches around the panel
HEAD_HEIGHT = 0.68  # inches from the top to the names of groups
GROUP_HEIGHT = 0.2  # inches for the name of a group
NAME_GAP = 0.06  # inches between a name and what it names
MIN_COLOUR_RANGE = 5.0  # points that have full strength, at least: lesser differences stay pale
COLOURMAP = "RdBu"  # ColorBrewer's, which colour-blind readers tell apart
DARK, LIGHT = "#000000", "#ffffff"  # numbers on light cells and on dark ones


@dataclass(frozen=True)
class DifferenceMap:
    """The contents of one panel; the last column is the mean over tasks."""

    heading: str
    names: list[str]  # (M,), the best mean first
    differences: Floats  # (M, T + 1), in points
    reference: str
    accuracies: Floats  # (T + 1,) of the reference, in percent
    groups: dict[str, list[str]]  # group -> tasks

    @property
    def tasks(self) -> list[str]:
        """The names of the columns (T + 1,)."""
        named = (for_figure(task) for tasks in self.groups.values() for task in tasks)
        return [*named, "mean"]

    @property
    def left(self) -> float:
        """From the panel's left to the first cell, in inches."""
        return PADDING + widest_text([self.reference, *self.names]) + NAME_GAP

    @property
    def top(self) -> float:
        """From the panel's top to the first cell, in inches."""
        return HEAD_HEIGHT + GROUP_HEIGHT + widest_text(self.tasks) + 2 * NAME_GAP

    @property
    def columns(self) -> list[float]:
        """The left edge of each column (T + 1,), in inches from the panel's left."""
        sizes = [*(len(tasks) for tasks in self.groups.values()), 1]
        group = np.repeat(range(len(sizes)), sizes)
        return [self.left + CELL_SIZE[0] * i + GROUP_GAP * int(g) for i, g in enumerate(group)]

    @property
    def lines(self) -> list[float]:
        """The top of the reference and of each row (1 + M,), in inches from the panel's top."""
        below = [self.top + GROUP_GAP + CELL_SIZE[1] * (1 + i) for i in range(len(self.names))]
        return [self.top, *below]


def drawable_boards(boards: Sequence[Board]) -> list[Board]:
    """Return the boards with complete rows of `full` and of others; `MAX_PANELS` are drawn."""
    return [board for board in boards if _reference_row(board) and len(board.rows) > 1]


def draw(boards: Sequence[Board]) -> RenderedFigure | None:
    """Draw the first `MAX_PANELS` drawable boards; return None if there are none.

    One colour means one difference in all panels; a quarter of the largest has half its strength.
    """
    drawn = [difference_map(board) for board in drawable_boards(boards)[:MAX_PANELS]]
    if not drawn:
        return None
    most = max(MIN_COLOUR_RANGE, *(float(np.abs(one.differences).max()) for one in drawn))
    with style_context():
        return compose_figure([_panel(one, most) for one in drawn], [])


def difference_map(board: Board) -> DifferenceMap:
    """Return the differences of a drawable board; the best row of `full` is the reference."""
    full = _reference_row(board)
    assert full is not None  # the board is one of those shown
    rows = [row for row in board.rows if row is not full]
    own, table = accuracy_table([full]), accuracy_table(rows)  # (T, 1) and (T, M)
    differences = (table - own).T
    return DifferenceMap(
        heading=f"{board_title(board)}\n{SUBTITLE.format(truncate(full.label))}",
        names=[truncate(row.label) for row in rows],
        differences=np.column_stack([differences, differences.mean(axis=1)]),
        reference=f"{truncate(full.label)} (%)",
        accuracies=np.append(own, own.mean()),
        groups=board.groups,
    )


def difference_colours(differences: Floats, most: float) -> Floats:
    """Return cell colours (..., 4): palest at 0, full strength at `most`, by the square root."""
    strength = np.sqrt(np.abs(differences) / most)
    found: Floats = matplotlib.colormaps[COLOURMAP](0.5 + 0.5 * np.sign(differences) * strength)
    return found


def contrasting_colour(colour: Floats) -> str:
    """Return the colour of a number that contrasts the more with its cell's (3 or more,).

    By the relative luminance of https://www.w3.org/TR/WCAG21/#dfn-relative-luminance.
    """
    low, high = colour[:3] / 12.92, ((colour[:3] + 0.055) / 1.055) ** 2.4
    luminance = np.dot(np.where(colour[:3] <= 0.04045, low, high), [0.2126, 0.7152, 0.0722])
    return DARK if (luminance + 0.05) ** 2 > 0.05 * 1.05 else LIGHT


def format_signed(difference: float) -> str:
    """Return ``+1.2``, ``−0.4``, ``0.0``."""
    text = f"{difference:+.1f}".replace("-", "−")
    return text[1:] if float(text[1:]) == 0 else text


def _reference_row(board: Board) -> MethodRow | None:
    return next((row for row in board.rows if row.method == REFERENCE), None)


def _panel(shape: DifferenceMap, most: float) -> FigurePanel:
    words = widest_text(shape.heading.splitlines(), HEADING_SIZE) + PADDING
    width = max(words, shape.columns[-1] + CELL_SIZE[0]) + PADDING
    height = shape.lines[-1] + CELL_SIZE[1] + 2 * PADDING
    return FigurePanel(width, height, partial(_draw_map, shape=shape, most=most))


def _draw_map(axes: Axes, shape: DifferenceMap, most: float) -> None:
    axes.text(PADDING, PADDING, shape.heading, fontsize=HEADING_SIZE, va="top", linespacing=1.3)
    _draw_headers(axes, shape)
    for line, name in zip(shape.lines, [shape.reference, *shape.names], strict=True):
        axes.text(
            shape.left - NAME_GAP, line + CELL_SIZE[1] / 2, name, ha="right", va="center_baseline"
        )
    for x, accuracy in zip(shape.columns, shape.accuracies, strict=True):
        _draw_number(axes, x, shape.lines[0], f"{accuracy:.1f}", DARK)
    _draw_cells(axes, shape, difference_colours(shape.differences, most))


def _draw_headers(axes: Axes, shape: DifferenceMap) -> None:
    """Draw the names of the tasks, upright, and of their groups above."""
    for x, task in zip(shape.columns, shape.tasks, strict=True):
        axes.text(
            x + CELL_SIZE[0] / 2, shape.top - NAME_GAP, task, rotation=90, ha="center", va="bottom"
        )
    first = 0
    for group, tasks in shape.groups.items():
        width = len(tasks) * CELL_SIZE[0]
        text = truncate_to_width(group, width, HEADING_SIZE)  # a size up, for being bold
        axes.text(
            shape.columns[first], HEAD_HEIGHT + GROUP_HEIGHT / 2, text, va="center", weight="bold"
        )
        first += len(tasks)


def _draw_cells(axes: Axes, shape: DifferenceMap, filled: Floats) -> None:
    places = [(x, y) for y in shape.lines[1:] for x in shape.columns]
    flat = filled.reshape(len(places), -1)
    boxes = [Rectangle(place, *CELL_SIZE) for place in places]
    axes.add_collection(PatchCollection(boxes, facecolor=flat, edgecolor=LIGHT, linewidth=0.8))
    for (x, y), difference, colour in zip(places, shape.differences.ravel(), flat, strict=True):
        _draw_number(axes, x, y, format_signed(difference), contrasting_colour(colour))


def _draw_number(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    centre = x + CELL_SIZE[0] / 2, y + CELL_SIZE[1] / 2
    axes.text(*centre, text, ha="center", va="center_baseline", color=colour, fontsize=NUMBER_SIZE)
