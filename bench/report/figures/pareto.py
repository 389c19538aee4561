"""Accuracy against a cost of the methods, a panel per board, with the Pareto front.

The axis of the cost is logarithmic, with a place for 0 left of a break.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.report.boards import Board
from bench.report.figures import label_placement
from bench.report.figures.label_placement import Floats
from bench.report.figures.style import (
    FAINT_COLOUR,
    GRID_COLOUR,
    HEADING_SIZE,
    MAX_PANELS,
    FigurePanel,
    RenderedFigure,
    board_title,
    compose_figure,
    family_handles,
    marker_style,
    style_context,
    truncate,
)
from bench.report.method_colours import Family, method_family
from bench.report.rows import MethodRow
from bench.utils.escaping import for_figure

TICK_STEPS = ((1,), (1, 2, 5), (1, 2, 3, 4, 5, 6, 7, 8, 9))  # of a power of ten that carry a tick
COUNT_UNITS = {0: "", 3: "k", 6: "M", 9: "G"}  # units by the power of ten
SECOND_UNITS = {-6: " µs", -3: " ms", 0: " s"}


@dataclass(frozen=True)
class LogScale:
    """A logarithmic axis of counts, in powers of ten."""

    low: float
    high: float
    zero: float | None  # the place of 0; None: no count is 0
    gap: float  # the middle of the break; without 0, the axis' left end
    units: Mapping[int, str]  # by the power of ten

    def at(self, count: float) -> float:
        """Return the place of a count."""
        return math.log10(count) if count > 0 else self.low if self.zero is None else self.zero

    def ticks(self) -> dict[float, str]:
        """Return places and texts; powers of ten, and more where fewer than two would show."""
        marks = next(
            (m for s in TICK_STEPS if len(m := self._marks(s)) > 1), self._marks(TICK_STEPS[-1])
        )
        return marks if self.zero is None else {self.zero: "0", **marks}

    def _marks(self, steps: Sequence[int]) -> dict[float, str]:
        powers = range(math.floor(self.gap), math.ceil(self.high) + 1)
        marks = {p + math.log10(s): tick_label(p, s, self.units) for p in powers for s in steps}
        return {x: text for x, text in marks.items() if self.gap < x <= self.high}


def fit_scale(counts: Sequence[float], units: Mapping[int, str] = COUNT_UNITS) -> LogScale:
    """Return the scale that shows all `counts`, with some room at the ends."""
    logs = [math.log10(count) for count in counts if count > 0]
    if not logs:
        return LogScale(low=-1.0, high=1.0, zero=0.0, gap=1.0, units=units)
    low, high = min(logs), max(logs)
    room = 0.08 * (high - low) + 0.12
    if min(counts) > 0:
        return LogScale(low - room, high + room, None, low - room, units)
    zero = low - 3 * room
    return LogScale(zero - room, high + room, zero, (zero + low) / 2, units)


def tick_label(power: int, step: int, units: Mapping[int, str]) -> str:
    """Return ``step`` times ten to the ``power``: 50k, 1M, 20 ms."""
    unit = max((known for known in units if known <= power), default=min(units))
    return f"{step * 10.0 ** (power - unit):.12g}{units[unit]}"


WIDTH, HEIGHT, GROWTH = 5.6, 4.4, 0.06  # inches of a panel; growth for each point beyond MANY
MANY_POINTS = 16
MARGINS = (0.62, 0.5, 0.15, 0.5)  # inches around the axes: left, bottom, right, top
BREAK_STYLE: dict[str, Any] = {
    "marker": [(-1, -2), (1, 2)],
    "color": FAINT_COLOUR,
    "clip_on": False,
}
FRONT_STYLE: dict[str, Any] = {"color": FAINT_COLOUR, "linewidth": 0.9, "linestyle": (0, (4, 2))}


@dataclass(frozen=True)
class Quantity:
    """A quantity for the horizontal axis."""

    label: str
    of: Callable[[MethodRow], float | None]
    units: Mapping[int, str]
    of_one_machine: bool = False  # only rows of the machine that has most of them are compared


QUANTITIES = {
    "params": Quantity(
        "trainable parameters of the method, without the head",
        lambda row: row.method_params,
        COUNT_UNITS,
    ),
    "init": Quantity(
        "init: time of prepare, mean",
        lambda row: row.init_seconds,
        SECOND_UNITS,
        of_one_machine=True,
    ),
    "train": Quantity(
        "training time, mean",
        lambda row: row.train_seconds,
        SECOND_UNITS,
        of_one_machine=True,
    ),
}


@dataclass(frozen=True)
class PlottedRow:
    """A complete row with its place in the plot."""

    x: float  # on the scale
    y: float  # mean over tasks, percent
    sd: float
    label: str
    family: Family


def drawable_boards(boards: Sequence[Board], quantity: str = "params") -> list[Board]:
    """Return the boards with a complete row that has the quantity; `MAX_PANELS` are drawn."""
    return [board for board in boards if _known_values(board, QUANTITIES[quantity])]


def draw(boards: Sequence[Board], quantity: str = "params") -> RenderedFigure | None:
    """Draw the first `MAX_PANELS` drawable boards; return None if there are none.

    `quantity` is a key of `QUANTITIES`.
    """
    drawn = drawable_boards(boards, quantity)[:MAX_PANELS]
    if not drawn:
        return None
    with style_context():
        line = Line2D([], [], label="Pareto front", **FRONT_STYLE)
        panels = [_panel(board, QUANTITIES[quantity]) for board in drawn]
        return compose_figure(panels, [*family_handles(drawn), line])


def pareto_front(x: Sequence[float], y: Sequence[float]) -> list[int]:
    """Return the points that no other beats, from the least `x` to the most.

    One point beats another that has neither less `x` nor more `y`, unless they are equal in both:
    of equal points all are on the front or none.
    """
    points = list(zip(x, y, strict=True))

    def beaten(a: float, b: float) -> bool:
        return any(c <= a and d >= b and (c, d) != (a, b) for c, d in points)

    return sorted((i for i, p in enumerate(points) if not beaten(*p)), key=lambda i: points[i])


def _known_values(board: Board, quantity: Quantity) -> dict[int, float]:
    """Return the quantity of the complete rows that have it, by their index."""
    machine = _majority_machine(board) if quantity.of_one_machine else None
    rows = [(i, row) for i, row in enumerate(board.rows) if machine in (None, row.machine)]
    return {i: value for i, row in rows if (value := quantity.of(row)) is not None}


def _majority_machine(board: Board) -> str:
    """Return the machine that most complete rows ran on, each wholly."""
    counts = Counter(row.machine for row in board.rows if row.machine)
    return max(counts, key=lambda name: (counts[name], name), default="–")


def _panel(board: Board, quantity: Quantity) -> FigurePanel:
    height = HEIGHT + GROWTH * max(0, len(_known_values(board, quantity)) - MANY_POINTS)
    return FigurePanel(WIDTH, height, partial(_draw_panel, board=board, quantity=quantity), MARGINS)


def _draw_panel(axes: Axes, board: Board, quantity: Quantity) -> None:
    known = _known_values(board, quantity)
    scale = fit_scale(list(known.values()), quantity.units)
    points = [_plotted_row(board.rows[i], scale.at(value)) for i, value in known.items()]
    _set_up_axes(axes, board, points)
    where = f"; on {for_figure(_majority_machine(board))}" if quantity.of_one_machine else ""
    axes.set_xlabel(f"{quantity.label}{where}")
    _draw_x_axis(axes, scale)
    best = [points[i] for i in pareto_front([p.x for p in points], [p.y for p in points])]
    corners = _front_corners(best)
    axes.plot(*corners.T, zorder=1.2, **FRONT_STYLE)
    _draw_markers(axes, points)
    label_placement.draw_labels(
        axes, [label_placement.LabelledPoint(p.x, p.y, p.sd, p.label) for p in points], corners
    )


def _plotted_row(row: MethodRow, x: float) -> PlottedRow:
    assert row.means is not None  # a board's rows are complete
    return PlottedRow(
        x, row.means.over_tasks, row.means.sd or 0.0, truncate(row.label), method_family(row.method)
    )


def _set_up_axes(axes: Axes, board: Board, points: list[PlottedRow]) -> None:
    low = min(point.y - point.sd for point in points)
    high = max(point.y + point.sd for point in points)
    room = 0.1 * (high - low) + 0.5
    axes.set_ylim(low - room, high + 1.5 * room)
    axes.grid(color=GRID_COLOUR, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=2.5, color=FAINT_COLOUR)
    axes.set_title(board_title(board), fontsize=HEADING_SIZE, loc="left")
    tasks = len(board.tasks)
    axes.set_ylabel(f"accuracy (%), mean over {tasks} task{'s' * (tasks > 1)}")


def _draw_x_axis(axes: Axes, scale: LogScale) -> None:
    ticks = scale.ticks()
    axes.set_xlim(scale.low, scale.high)
    axes.set_xticks(list(ticks), list(ticks.values()))
    if scale.low < scale.gap < scale.high:
        for shift in (-0.006, 0.006):
            x = scale.gap + shift * (scale.high - scale.low)
            axes.plot([x], [0], transform=axes.get_xaxis_transform(), markersize=7, **BREAK_STYLE)


def _front_corners(best: Sequence[PlottedRow]) -> Floats:
    """Return the corners (C, 2) of the line along the front: level to the next point, then up."""
    corners = [(best[0].x, best[0].y)]
    for before, point in pairwise(best):
        corners += [(point.x, before.y), (point.x, point.y)]
    return np.array(corners)


def _draw_markers(axes: Axes, points: Sequence[PlottedRow]) -> None:
    """Draw a marker per point and a bar per spread; few artists, since each costs time to draw."""
    spread = [p for p in points if p.sd]
    low, high = [p.y - p.sd for p in spread], [p.y + p.sd for p in spread]
    colours = [p.family.colour for p in spread]
    axes.vlines([p.x for p in spread], low, high, colors=colours, linewidth=0.9)
    families = {p.family.name: p.family for p in points}
    for name, family in sorted(families.items()):
        own = [(p.x, p.y) for p in points if p.family.name == name]
        axes.plot(
            *zip(*own, strict=True), linestyle="none", color=family.colour, **marker_style(family)
        )
