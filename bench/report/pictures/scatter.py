"""Accuracy against what a method costs, a panel a board, with the Pareto front."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.report.families import Family, family
from bench.report.grouping import gather
from bench.report.labels import Floats
from bench.report.leaderboard import Board
from bench.report.pictures import names
from bench.report.pictures.common import (
    FAINT,
    GRID,
    HEADING,
    PANELS,
    Drawing,
    Panel,
    compose,
    families,
    marker,
    short,
    style,
    title,
)
from bench.report.rows import Row
from bench.report.scale import COUNTS, SECONDS, Scale, scale_of

WIDTH, HEIGHT, GROWTH = 5.6, 4.4, 0.06  # inches of a panel; growth for each point beyond MANY
MANY = 16
MARGINS = (0.62, 0.5, 0.15, 0.5)  # inches around the axes: left, bottom, right, top
BREAK: dict[str, Any] = {"marker": [(-1, -2), (1, 2)], "color": FAINT, "clip_on": False}
FRONT: dict[str, Any] = {"color": FAINT, "linewidth": 0.9, "linestyle": (0, (4, 2))}


@dataclass(frozen=True)
class Quantity:
    """What stands on the horizontal axis."""

    label: str
    of: Callable[[Row], float | None]
    units: Mapping[int, str]
    of_one_machine: bool = False  # only rows of the machine that has most of them are compared


QUANTITIES = {
    "params": Quantity(
        "trainable parameters of the method, without the head",
        lambda row: row.method_params,
        COUNTS,
    ),
    "init": Quantity(
        "init: time of prepare, mean",
        lambda row: row.init_seconds,
        SECONDS,
        of_one_machine=True,
    ),
    "train": Quantity(
        "training time, mean",
        lambda row: row.train_seconds,
        SECONDS,
        of_one_machine=True,
    ),
}


@dataclass(frozen=True)
class Point:
    """A complete row, placed."""

    x: float  # on the scale
    y: float  # mean over tasks, percent
    sd: float
    label: str
    family: Family


def shown(boards: Sequence[Board], quantity: str = "params") -> list[Board]:
    """The boards with a complete row that has the quantity; the picture has room for `PANELS`."""
    return [board for board in boards if _known(board, QUANTITIES[quantity])]


def draw(boards: Sequence[Board], quantity: str = "params") -> Drawing | None:
    """The picture of the first `PANELS` boards `shown`; None: there are none.

    `quantity` is a key of `QUANTITIES`.
    """
    drawn = shown(boards, quantity)[:PANELS]
    if not drawn:
        return None
    with style():
        line = Line2D([], [], label="Pareto front", **FRONT)
        panels = [_panel(board, QUANTITIES[quantity]) for board in drawn]
        return compose(panels, [*families(drawn), line])


def front(x: Sequence[float], y: Sequence[float]) -> list[int]:
    """The points that no other beats, from the least `x` to the most.

    One point beats another that has neither less `x` nor more `y`, unless they are equal in both:
    of equal points all are on the front or none.
    """
    points = list(zip(x, y, strict=True))

    def beaten(a: float, b: float) -> bool:
        return any(c <= a and d >= b and (c, d) != (a, b) for c, d in points)

    return sorted((i for i, p in enumerate(points) if not beaten(*p)), key=lambda i: points[i])


def _known(board: Board, quantity: Quantity) -> dict[int, float]:
    """The quantity of the complete rows that have it, by their index."""
    machine = _machine(board) if quantity.of_one_machine else None
    rows = [(i, row) for i, row in enumerate(board.rows) if machine in (None, row.machine)]
    return {i: value for i, row in rows if (value := quantity.of(row)) is not None}


def _machine(board: Board) -> str:
    """The machine that most complete rows ran on, each wholly."""
    counts = Counter(row.machine for row in board.rows if row.machine)
    return max(counts, key=lambda name: (counts[name], name), default="–")


def _panel(board: Board, quantity: Quantity) -> Panel:
    height = HEIGHT + GROWTH * max(0, len(_known(board, quantity)) - MANY)
    return Panel(WIDTH, height, partial(_draw, board=board, quantity=quantity), MARGINS)


def _draw(axes: Axes, board: Board, quantity: Quantity) -> None:
    known = _known(board, quantity)
    scale = scale_of(list(known.values()), quantity.units)
    points = [_point(board.rows[i], scale.at(value)) for i, value in known.items()]
    _frame(axes, board, points)
    where = f"; on {_machine(board)}" if quantity.of_one_machine else ""
    axes.set_xlabel(f"{quantity.label}{where}")
    _axis(axes, scale)
    best = [points[i] for i in front([p.x for p in points], [p.y for p in points])]
    corners = _steps(best)
    axes.plot(*corners.T, zorder=1.2, **FRONT)
    _mark(axes, points)
    names.write(axes, [names.Named(p.x, p.y, p.sd, p.label) for p in points], corners)


def _point(row: Row, x: float) -> Point:
    assert row.means is not None  # a board's rows are complete
    return Point(x, row.means.over_tasks, row.means.sd or 0.0, short(row.label), family(row.method))


def _frame(axes: Axes, board: Board, points: list[Point]) -> None:
    low = min(point.y - point.sd for point in points)
    high = max(point.y + point.sd for point in points)
    room = 0.1 * (high - low) + 0.5
    axes.set_ylim(low - room, high + 1.5 * room)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=2.5, color=FAINT)
    axes.set_title(title(board), fontsize=HEADING, loc="left")
    tasks = len(board.tasks)
    axes.set_ylabel(f"accuracy (%), mean over {tasks} task{'s' * (tasks > 1)}")


def _axis(axes: Axes, scale: Scale) -> None:
    ticks = scale.ticks()
    axes.set_xlim(scale.low, scale.high)
    axes.set_xticks(list(ticks), list(ticks.values()))
    if scale.low < scale.gap < scale.high:
        for shift in (-0.006, 0.006):
            x = scale.gap + shift * (scale.high - scale.low)
            axes.plot([x], [0], transform=axes.get_xaxis_transform(), markersize=7, **BREAK)


def _steps(best: Sequence[Point]) -> Floats:
    """The corners (C, 2) of the line along the front: level until the next point, then up."""
    corners = [(best[0].x, best[0].y)]
    for before, point in pairwise(best):
        corners += [(point.x, before.y), (point.x, point.y)]
    return np.array(corners)


def _mark(axes: Axes, points: Sequence[Point]) -> None:
    """A marker a point and a bar a spread; few artists, since each costs time to draw."""
    spread = [p for p in points if p.sd]
    low, high = [p.y - p.sd for p in spread], [p.y + p.sd for p in spread]
    colours = [p.family.colour for p in spread]
    axes.vlines([p.x for p in spread], low, high, colors=colours, linewidth=0.9)
    for _, alike in sorted(gather(points, lambda p: p.family.name).items()):
        kind = alike[0].family
        x, y = [p.x for p in alike], [p.y for p in alike]
        axes.plot(x, y, linestyle="none", color=kind.colour, **marker(kind))
