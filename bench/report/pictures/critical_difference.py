"""Average ranks with the groups that Nemenyi's test does not tell apart, a panel a board.

The diagram of Demšar (2006), figure 1, the best method at the right: see `bench.report.statistics`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bench.report.families import Family, family
from bench.report.leaderboard import Board
from bench.report.pictures.common import (
    HEADING,
    INK,
    PANELS,
    Drawing,
    Panel,
    compose,
    families,
    marker,
    short,
    style,
    title,
    widest,
)
from bench.report.rows import table_of
from bench.report.statistics import Floats, average_ranks, cliques, critical_difference, friedman

MEANING = "average rank over {} tasks, best at the right; Friedman p {}"
AXIS = (3.0, 0.075)  # inches: length, and growth for each method
MOST = 6.5  # inches: length of the axis, at most
HEAD = 1.15  # inches from the top to the axis, with title and critical difference
LINE = 0.165  # inches from name to name
LANE = 0.075  # inches from bar to bar
ROOM = 0.14  # inches around what must not touch
OVER = 0.04  # inches that a bar is longer than its clique, at each end
CD = 0.27  # inches from the axis up to the critical difference
ARM = 0.15  # inches that a name's line is longer than the axis
TICKS = (1, 2, 5, 10, 20, 50)  # ranks from one tick to the next, the first that leaves room
STEP = 0.25  # inches from tick to tick, at least
BAR: dict[str, Any] = {"color": INK, "linewidth": 2.6, "solid_capstyle": "butt", "zorder": 3}
THIN: dict[str, Any] = {"linewidth": 0.7, "solid_joinstyle": "miter"}


@dataclass(frozen=True)
class Diagram:
    """What one panel shows."""

    heading: str
    names: list[str]  # (K,), the best rank first
    families: list[Family]
    ranks: Floats  # (K,), rising
    difference: float  # the critical one
    bars: list[tuple[float, float]]  # over cliques, from the best rank to the worst

    @property
    def axis(self) -> float:
        """The length of the axis in inches."""
        return min(MOST, AXIS[0] + AXIS[1] * len(self.names))

    @property
    def side(self) -> float:
        """The room for names at each side of the axis, in inches."""
        return ARM + ROOM + widest(self.names) + ROOM

    @property
    def depth(self) -> float:
        """From the axis to the first name, in inches."""
        return ROOM + LANE * len(self.lanes) + ROOM / 2

    @property
    def lanes(self) -> list[list[tuple[float, float]]]:
        """The bars in as few lanes as hold them apart."""
        apart = ROOM * (len(self.names) - 1) / self.axis  # in ranks
        lanes: list[list[tuple[float, float]]] = []
        for bar in self.bars:
            free = [lane for lane in lanes if lane[-1][1] + apart < bar[0]]
            if free:
                free[0].append(bar)
            else:
                lanes.append([bar])
        return lanes


def shown(boards: Sequence[Board]) -> list[Board]:
    """The boards with at least 3 complete rows and 2 tasks; there is room for `PANELS`."""
    return [board for board in boards if len(board.rows) > 2 and len(board.tasks) > 1]


def draw(boards: Sequence[Board]) -> Drawing | None:
    """The picture of the first `PANELS` boards `shown`; None: there are none.

    A method's value on a task is its mean over seeds.
    """
    drawn = shown(boards)[:PANELS]
    if not drawn:
        return None
    with style():
        return compose([_panel(diagram(board)) for board in drawn], families(drawn))


def diagram(board: Board) -> Diagram:
    """The ranks of the board's complete rows, and the bars over those that may be equal."""
    table = table_of(board.rows)  # (T, K)
    ranks = average_ranks(table)
    order = np.argsort(ranks, kind="stable")
    rows = [board.rows[i] for i in order]
    difference = critical_difference(len(rows), len(table))
    tested = friedman(table)
    p = f"= {tested[1]:.2g}" if tested and tested[1] >= 0.001 else "< 0.001"
    return Diagram(
        heading=f"{title(board)}\n{MEANING.format(len(table), p)}",
        names=[f"{short(row.label)}  {ranks[i]:.2f}" for i, row in zip(order, rows, strict=True)],
        families=[family(row.method) for row in rows],
        ranks=ranks[order],
        difference=difference,
        bars=[(ranks[group[0]], ranks[group[-1]]) for group in cliques(ranks, difference)],
    )


def _panel(shape: Diagram) -> Panel:
    words = widest(shape.heading.splitlines(), HEADING) + 2 * ROOM
    height = HEAD + shape.depth + LINE * -(-len(shape.names) // 2) + ROOM
    width = max(words, shape.axis + 2 * shape.side)
    return Panel(width, height, partial(_draw, shape=shape))


def _draw(axes: Axes, shape: Diagram) -> None:
    left = (axes.get_xlim()[1] - shape.axis) / 2
    most = len(shape.names)

    def at(rank: float) -> float:
        return left + shape.axis * (most - rank) / (most - 1)

    axes.text(ROOM, ROOM, shape.heading, fontsize=HEADING, va="top", linespacing=1.3)
    _ruler(axes, shape, at)
    for depth, lane in enumerate(shape.lanes):
        for best, worst in lane:
            y = HEAD + ROOM + LANE * depth
            axes.plot([at(worst) - OVER, at(best) + OVER], [y, y], **BAR)
    half = -(-most // 2)
    for i in range(most):
        level = min(i, most - 1 - i)
        _name(axes, shape, i, at, HEAD + shape.depth + LINE * level, right=i < half)


def _ruler(axes: Axes, shape: Diagram, at: Callable[[float], float]) -> None:
    """The axis with its ticks, and above it the critical difference."""
    most = len(shape.names)
    axes.plot([at(most), at(1)], [HEAD, HEAD], color=INK, linewidth=1)
    room = shape.axis / (most - 1)  # inches a rank
    step = next((step for step in TICKS if step * room >= STEP), TICKS[-1])
    for rank in sorted({1, *range(step, most + 1, step)}):
        axes.plot([at(rank)] * 2, [HEAD - 0.05, HEAD], color=INK, linewidth=1)
        axes.text(at(rank), HEAD - 0.07, str(rank), ha="center", va="bottom")
    start, end, y = at(most), at(most - shape.difference), HEAD - CD
    axes.plot(
        [start, start, start, end, end, end],
        [y - 0.04, y + 0.04, y, y, y - 0.04, y + 0.04],
        color=INK,
        linewidth=1,
    )
    text = f"critical difference {shape.difference:.2f} (Nemenyi, 5 %)"
    axes.text(start, y - 0.05, text, va="bottom")


def _name(
    axes: Axes, shape: Diagram, i: int, at: Callable[[float], float], y: float, right: bool
) -> None:
    """A method's line from its rank on the axis to its name at the side."""
    side, toward = (at(1), 1) if right else (at(len(shape.names)), -1)
    kind, x = shape.families[i], at(shape.ranks[i])
    end = side + toward * ARM
    axes.plot([x, x, end], [HEAD, y, y], color=kind.colour, **THIN)
    axes.plot([end], [y], color=kind.colour, **marker(kind))
    axes.text(
        end + toward * ROOM * 0.6,
        y,
        shape.names[i],
        va="center_baseline",
        ha="left" if right else "right",
    )
