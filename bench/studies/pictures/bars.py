"""A value at each of some names, a bar a method and such, with its interval and its number."""

from collections import defaultdict
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

from bench.report.families import family
from bench.report.pictures.common import (
    FAINT,
    GRID,
    HEADING,
    INK,
    TITLE,
    Drawing,
    Panel,
    compose,
    extent,
    short,
    style,
    widest,
)
from bench.studies.cards import Figure
from bench.studies.pictures.parts import joined, parts, word, words

HEIGHT = 2.7  # inches of a panel
LEAST = 2.2  # inches of axes, at least
MARGINS = (0.62, 0.62, 0.15, 0.35)  # inches around the axes: left, bottom, right, top
NUMBER = 6.0  # 1/72 inch
LARGE = 10  # from there on a number has one decimal, as percents do
BAR = 0.36  # inches a bar, at least
GAP = 0.6  # of a bar, between groups
PAD = 0.06  # inches beside a name
PALER = 0.5  # the strength of the colour of a family's second member and on
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++")  # of a family's members
ABOVE = 1.12  # times the largest value: room for its number
Looks = dict[str, dict[str, Any]]


def draw(figure: Figure, summary: pd.DataFrame) -> Drawing:
    """A panel for each value of the figure's panels: at each x, a bar for each of its lines."""
    summary = summary.assign(line=joined(summary, figure.lines))
    looks = _looks(list(dict.fromkeys(summary["line"])))
    with style():
        panels = [
            _panel(figure, part, looks, short(name, TITLE))
            for name, part in parts(summary, figure.panels)
        ]
        return compose(panels, [Patch(label=name, **look) for name, look in looks.items() if name])


def _looks(lines: list[str]) -> Looks:
    """A colour a family; what comes after its first line is paler, and hatched."""
    looks: Looks = {}
    used: dict[str, int] = defaultdict(int)
    for line in lines:
        kind = family(line)
        strength = PALER if used[kind.name] else 1.0
        colour = tuple(1 - strength * (1 - part) for part in to_rgb(kind.colour))
        hatch = HATCHES[used[kind.name] % len(HATCHES)]
        looks[line] = {"facecolor": colour, "hatch": hatch, "edgecolor": INK, "linewidth": 0.4}
        used[kind.name] += 1
    return looks


def _panel(figure: Figure, part: pd.DataFrame, looks: Looks, name: str) -> Panel:
    """Wide enough for what stands below each group, and for the heading."""
    groups = {value: _label(value) for value in dict.fromkeys(part[figure.x])}
    lines = [line for label in groups.values() for line in label.splitlines()]
    group = max(BAR * (len(looks) + GAP), widest(lines) + 2 * PAD)
    across = max(LEAST, len(groups) * group, extent(name, HEADING)[0])
    left, _, right, _ = MARGINS
    drawn = partial(_draw, figure=figure, part=part, looks=looks, groups=groups, name=name)
    return Panel(left + across + right, HEIGHT, drawn, MARGINS)


def _label(value: object) -> str:
    """What stands below a group: of a backbone, its tag in a line of its own."""
    return word(value).replace(".", "\n.", 1) if isinstance(value, str) else word(value)


def _draw(
    axes: Axes,
    figure: Figure,
    part: pd.DataFrame,
    looks: Looks,
    groups: dict[Any, str],
    name: str,
) -> None:
    width = 1 / (len(looks) + GAP)  # of a group
    for i, (line, look) in enumerate(looks.items()):
        shift = (i - (len(looks) - 1) / 2) * width
        own = part[part["line"] == line]
        _bars(axes, own, [shift + list(groups).index(x) for x in own[figure.x]], width, look)
    reached = part[["low", "mean", "high"]]
    axes.set_ylim(min(0.0, float(reached["low"].min())), ABOVE * float(reached.max().max()))
    axes.set_xlim(-0.5, len(groups) - 0.5)
    axes.set_xticks(range(len(groups)), list(groups.values()))
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=2.5, color=FAINT)
    axes.set_title(name, fontsize=HEADING, loc="left")
    axes.set_xlabel(words(figure.x))
    axes.set_ylabel(words(figure.value))


def _bars(
    axes: Axes, own: pd.DataFrame, places: list[float], width: float, look: dict[str, Any]
) -> None:
    """One line's bars with their intervals, where there are any, and above both the numbers."""
    axes.bar(places, own["mean"], width, **look)
    for x, mean, low, high in zip(places, own["mean"], own["low"], own["high"], strict=True):
        if not np.isnan(low):
            axes.plot([x, x], [low, high], color=INK, linewidth=1)
        axes.annotate(
            f"{mean:.{1 if abs(mean) >= LARGE else 2}f}".replace("-", "−"),
            (x, np.nanmax([mean, high])),
            (0, 2),  # 1/72 inch above
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=NUMBER,
        )
