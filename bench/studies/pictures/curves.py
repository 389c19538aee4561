"""A value over a number, a curve a method and such, with the band of its interval."""

from collections import defaultdict
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.report.families import family
from bench.report.pictures.common import (
    FAINT,
    GRID,
    HEADING,
    TITLE,
    Drawing,
    Panel,
    compose,
    short,
    style,
)
from bench.studies.cards import Figure
from bench.studies.pictures.parts import joined, parts, words

WIDTH, HEIGHT = 3.6, 2.7  # inches of a panel
MARGINS = (0.62, 0.5, 0.15, 0.35)  # inches around the axes: left, bottom, right, top
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5)))
FEW = 12  # points of a curve, up to which each has a mark
Looks = dict[str, dict[str, Any]]


def draw(figure: Figure, summary: pd.DataFrame) -> Drawing:
    """A panel for each value of the figure's panels, with a curve for each of its lines."""
    summary = summary.assign(line=joined(summary, figure.lines))
    looks = _looks(summary)
    with style():
        panels = [
            Panel(
                WIDTH,
                HEIGHT,
                partial(_draw, figure=figure, part=part, looks=looks, name=name),
                MARGINS,
            )
            for name, part in parts(summary, figure.panels)
        ]
        return compose(panels, [Line2D([], [], label=name, **look) for name, look in looks.items()])


def _looks(summary: pd.DataFrame) -> Looks:
    """A colour a family of methods; its members differ in their dashes."""
    used: dict[str, int] = defaultdict(int)
    looks: Looks = {}
    for name in dict.fromkeys(summary["line"]):
        kind = family(name)
        dashes = DASHES[used[kind.name] % len(DASHES)]
        looks[name] = {"color": kind.colour, "linestyle": dashes, "linewidth": 1.3}
        used[kind.name] += 1
    return looks


def _draw(axes: Axes, figure: Figure, part: pd.DataFrame, looks: Looks, name: str) -> None:
    for line, curve in part.groupby("line", sort=False):
        mark = "o" if len(curve) <= FEW else ""
        look = looks[str(line)]
        axes.plot(curve[figure.x], curve["mean"], marker=mark, markersize=3, **look)
        axes.fill_between(
            curve[figure.x], curve["low"], curve["high"], color=look["color"], alpha=0.15, lw=0
        )
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=2.5, color=FAINT)
    axes.set_title(short(name, TITLE), fontsize=HEADING, loc="left")
    axes.set_xlabel(words(figure.x))
    axes.set_ylabel(words(figure.value))
