"""Average ranks with the groups that Nemenyi's test does not tell apart, a panel per board.

The diagram of Demšar (2006), figure 1, the best method at the right: see `bench.report.statistics`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bench.report.boards import Board
from bench.report.figures.style import (
    HEADING_SIZE,
    MAX_PANELS,
    TEXT_COLOUR,
    FigurePanel,
    RenderedFigure,
    board_title,
    compose_figure,
    family_handles,
    marker_style,
    style_context,
    truncate,
    widest_text,
)
from bench.report.method_colours import Family, method_family
from bench.report.rows import accuracy_table
from bench.report.statistics import Floats, average_ranks, cliques, critical_difference, friedman

SUBTITLE = "average rank over {} tasks, best at the right; Friedman p {}"
AXIS_LENGTH = (3.0, 0.075)  # inches: length, and growth for each method
MAX_AXIS_LENGTH = 6.5  # inches: length of the axis, at most
HEAD_HEIGHT = 1.15  # inches from the top to the axis, with title and critical difference
LINE_HEIGHT = 0.165  # inches from name to name
LANE_HEIGHT = 0.075  # inches from bar to bar
PADDING = 0.14  # inches around what must not touch
BAR_OVERHANG = 0.04  # inches that a bar is longer than its clique, at each end
CD_OFFSET = 0.27  # inches from the axis up to the critical difference
ARM_LENGTH = 0.15  # inches that a name's line is longer than the axis
TICK_STEPS = (1, 2, 5, 10, 20, 50)  # ranks from one tick to the next, the first that leaves room
MIN_TICK_DISTANCE = 0.25  # inches from tick to tick, at least
BAR_STYLE: dict[str, Any] = {
    "color": TEXT_COLOUR,
    "linewidth": 2.6,
    "solid_capstyle": "butt",
    "zorder": 3,
}
NAME_LINE_STYLE: dict[str, Any] = {"linewidth": 0.7, "solid_joinstyle": "miter"}


@dataclass(frozen=True)
class RankDiagram:
    """The contents of one panel."""

    heading: str
    names: list[str]  # (K,), the best rank first
    families: list[Family]
    ranks: Floats  # (K,), rising
    difference: float  # the critical one
    bars: list[tuple[float, float]]  # over cliques, from the best rank to the worst

    @property
    def axis(self) -> float:
        """The length of the axis in inches."""
        return min(MAX_AXIS_LENGTH, AXIS_LENGTH[0] + AXIS_LENGTH[1] * len(self.names))

    @property
    def side(self) -> float:
        """The room for names at each side of the axis, in inches."""
        return ARM_LENGTH + PADDING + widest_text(self.names) + PADDING

    @property
    def depth(self) -> float:
        """From the axis to the first name, in inches."""
        return PADDING + LANE_HEIGHT * len(self.lanes) + PADDING / 2

    @property
    def lanes(self) -> list[list[tuple[float, float]]]:
        """The bars in as few lanes as hold them apart."""
        apart = PADDING * (len(self.names) - 1) / self.axis  # in ranks
        lanes: list[list[tuple[float, float]]] = []
        for bar in self.bars:
            free = [lane for lane in lanes if lane[-1][1] + apart < bar[0]]
            if free:
                free[0].append(bar)
            else:
                lanes.append([bar])
        return lanes


def drawable_boards(boards: Sequence[Board]) -> list[Board]:
    """Return the boards with at least 3 complete rows and 2 tasks; `MAX_PANELS` are drawn."""
    return [board for board in boards if len(board.rows) > 2 and len(board.tasks) > 1]


def draw(boards: Sequence[Board]) -> RenderedFigure | None:
    """Draw the first `MAX_PANELS` drawable boards; return None if there are none.

    A method's value on a task is its mean over seeds.
    """
    drawn = drawable_boards(boards)[:MAX_PANELS]
    if not drawn:
        return None
    with style_context():
        return compose_figure(
            [_panel(rank_diagram(board)) for board in drawn], family_handles(drawn)
        )


def rank_diagram(board: Board) -> RankDiagram:
    """Return the ranks of the board's complete rows, and the bars over those that may be equal."""
    table = accuracy_table(board.rows)  # (T, K)
    ranks = average_ranks(table)
    order = np.argsort(ranks, kind="stable")
    rows = [board.rows[i] for i in order]
    difference = critical_difference(len(rows), len(table))
    tested = friedman(table)
    p = f"= {tested[1]:.2g}" if tested and tested[1] >= 0.001 else "< 0.001"
    return RankDiagram(
        heading=f"{board_title(board)}\n{SUBTITLE.format(len(table), p)}",
        names=[
            f"{truncate(row.label)}  {ranks[i]:.2f}" for i, row in zip(order, rows, strict=True)
        ],
        families=[method_family(row.method) for row in rows],
        ranks=ranks[order],
        difference=difference,
        bars=[(ranks[group[0]], ranks[group[-1]]) for group in cliques(ranks, difference)],
    )


def _panel(shape: RankDiagram) -> FigurePanel:
    words = widest_text(shape.heading.splitlines(), HEADING_SIZE) + 2 * PADDING
    height = HEAD_HEIGHT + shape.depth + LINE_HEIGHT * -(-len(shape.names) // 2) + PADDING
    width = max(words, shape.axis + 2 * shape.side)
    return FigurePanel(width, height, partial(_draw_diagram, shape=shape))


def _draw_diagram(axes: Axes, shape: RankDiagram) -> None:
    left = (axes.get_xlim()[1] - shape.axis) / 2
    most = len(shape.names)

    def at(rank: float) -> float:
        return left + shape.axis * (most - rank) / (most - 1)

    axes.text(PADDING, PADDING, shape.heading, fontsize=HEADING_SIZE, va="top", linespacing=1.3)
    _draw_axis(axes, shape, at)
    for depth, lane in enumerate(shape.lanes):
        for best, worst in lane:
            y = HEAD_HEIGHT + PADDING + LANE_HEIGHT * depth
            axes.plot([at(worst) - BAR_OVERHANG, at(best) + BAR_OVERHANG], [y, y], **BAR_STYLE)
    half = -(-most // 2)
    for i in range(most):
        level = min(i, most - 1 - i)
        _draw_name(
            axes, shape, i, at, HEAD_HEIGHT + shape.depth + LINE_HEIGHT * level, right=i < half
        )


def _draw_axis(axes: Axes, shape: RankDiagram, at: Callable[[float], float]) -> None:
    """Draw the axis with its ticks, and above it the critical difference."""
    most = len(shape.names)
    axes.plot([at(most), at(1)], [HEAD_HEIGHT, HEAD_HEIGHT], color=TEXT_COLOUR, linewidth=1)
    room = shape.axis / (most - 1)  # inches a rank
    step = next((step for step in TICK_STEPS if step * room >= MIN_TICK_DISTANCE), TICK_STEPS[-1])
    for rank in sorted({1, *range(step, most + 1, step)}):
        axes.plot([at(rank)] * 2, [HEAD_HEIGHT - 0.05, HEAD_HEIGHT], color=TEXT_COLOUR, linewidth=1)
        axes.text(at(rank), HEAD_HEIGHT - 0.07, str(rank), ha="center", va="bottom")
    start, end, y = at(most), at(most - shape.difference), HEAD_HEIGHT - CD_OFFSET
    axes.plot(
        [start, start, start, end, end, end],
        [y - 0.04, y + 0.04, y, y, y - 0.04, y + 0.04],
        color=TEXT_COLOUR,
        linewidth=1,
    )
    text = f"critical difference {shape.difference:.2f} (Nemenyi, 5 %)"
    axes.text(start, y - 0.05, text, va="bottom")


def _draw_name(
    axes: Axes, shape: RankDiagram, i: int, at: Callable[[float], float], y: float, right: bool
) -> None:
    """Draw a method's line from its rank on the axis to its name at the side."""
    side, toward = (at(1), 1) if right else (at(len(shape.names)), -1)
    kind, x = shape.families[i], at(shape.ranks[i])
    end = side + toward * ARM_LENGTH
    axes.plot([x, x, end], [HEAD_HEIGHT, y, y], color=kind.colour, **NAME_LINE_STYLE)
    axes.plot([end], [y], color=kind.colour, **marker_style(kind))
    axes.text(
        end + toward * PADDING * 0.6,
        y,
        shape.names[i],
        va="center_baseline",
        ha="left" if right else "right",
    )
