"""A value over a number, a curve a method and such, with the band of its interval."""

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
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
MARKS = ("o", "s", "^", "D", "v", "P", "X")  # with them the dashes of a family begin anew later
FEW = 12  # points of a curve, up to which each has a mark
Looks = dict[str, dict[str, Any]]


def draw(figure: Figure, summary: pd.DataFrame) -> Drawing:
    """A panel for each value of the figure's panels, with a curve for each of its lines."""
    summary = summary.assign(line=joined(summary, figure.lines))
    looks = looks_of(summary["line"])
    with style():
        found = [
            panel(part, figure.x, figure.value, looks, name)
            for name, part in parts(summary, figure.panels)
        ]
        return compose(found, legend(looks))


def looks_of(lines: Iterable[str]) -> Looks:
    """A colour a family of methods; its members differ in their dashes and marks."""
    used: dict[str, int] = defaultdict(int)
    looks: Looks = {}
    for name in dict.fromkeys(lines):
        kind = family(name)
        dashes = DASHES[used[kind.name] % len(DASHES)]
        mark = MARKS[used[kind.name] % len(MARKS)]
        looks[name] = {"color": kind.colour, "linestyle": dashes, "linewidth": 1.3, "marker": mark}
        used[kind.name] += 1
    return looks


def legend(looks: Looks) -> list[Artist]:
    """An entry a line."""
    return [Line2D([], [], label=name, markersize=3, **look) for name, look in looks.items()]


def panel(part: pd.DataFrame, x: str, value: str, looks: Looks, name: str) -> Panel:
    """The curves of `part`, by their column `line`: mean, low and high of the value over `x`."""
    drawn = partial(_draw, part=part, x=x, value=value, looks=looks, name=name)
    return Panel(WIDTH, HEIGHT, drawn, MARGINS)


def _draw(axes: Axes, part: pd.DataFrame, x: str, value: str, looks: Looks, name: str) -> None:
    for line, curve in part.groupby("line", sort=False):
        look = looks[str(line)]
        bare = {} if len(curve) <= FEW else {"marker": ""}
        axes.plot(curve[x], curve["mean"], markersize=3, **look | bare)
        axes.fill_between(
            curve[x], curve["low"], curve["high"], color=look["color"], alpha=0.15, lw=0
        )
    if x == "lr":  # rates are tried by factors
        axes.set_xscale("log")
        tried = sorted(set(part[x]))
        axes.set_xticks(tried, [f"{rate:g}" for rate in tried])
        axes.minorticks_off()
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=2.5, color=FAINT)
    axes.set_title(short(name, TITLE), fontsize=HEADING, loc="left")
    axes.set_xlabel(words(x))
    axes.set_ylabel(words(value))
