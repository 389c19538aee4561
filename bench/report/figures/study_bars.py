"""A study's bar chart: a value for each name, a bar per method, with its interval and number."""

from collections import defaultdict
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

from bench.papers.study import StudyFigure
from bench.report.figures.style import (
    FAINT_COLOUR,
    GRID_COLOUR,
    HEADING_SIZE,
    MAX_TITLE,
    TEXT_COLOUR,
    FigurePanel,
    RenderedFigure,
    column_label,
    compose_figure,
    join_columns,
    split_panels,
    style_context,
    text_extent,
    truncate,
    widest_text,
)
from bench.report.markdown import format_axis_value
from bench.report.method_colours import method_family
from bench.utils.escaping import for_figure

HEIGHT = 2.7  # inches of a panel
MIN_AXES_WIDTH = 2.2  # inches of axes, at least
MARGINS = (0.62, 0.62, 0.15, 0.35)  # inches around the axes: left, bottom, right, top
NUMBER_SIZE = 6.0  # 1/72 inch
ONE_DECIMAL_FROM = 10  # from there on a number has one decimal, as percents do
MIN_BAR_WIDTH = 0.36  # inches a bar, at least
GROUP_GAP = 0.6  # of a bar, between groups
NAME_GAP = 0.06  # inches around a name
PALE_STRENGTH = 0.5  # the strength of the colour of a family's second member and on
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++")  # of a family's members
HEADROOM = 1.12  # times the largest value: room for its number
BarStyles = dict[str, dict[str, Any]]


def draw(figure: StudyFigure, summary: pd.DataFrame) -> RenderedFigure:
    """Draw a panel for each value of the figure's panels: at each x, a bar for each line."""
    summary = summary.assign(line=join_columns(summary, figure.lines))
    looks = _bar_styles(list(dict.fromkeys(summary["line"])))
    with style_context():
        panels = [
            _panel(figure, part, looks, truncate(name, MAX_TITLE))
            for name, part in split_panels(summary, figure.panels)
        ]
        return compose_figure(
            panels, [Patch(label=name, **look) for name, look in looks.items() if name]
        )


def _bar_styles(lines: list[str]) -> BarStyles:
    """Return a colour per family; what comes after its first line is paler, and hatched."""
    looks: BarStyles = {}
    used: dict[str, int] = defaultdict(int)
    for line in lines:
        kind = method_family(line)
        strength = PALE_STRENGTH if used[kind.name] else 1.0
        colour = tuple(1 - strength * (1 - part) for part in to_rgb(kind.colour))
        hatch = HATCHES[used[kind.name] % len(HATCHES)]
        looks[line] = {
            "facecolor": colour,
            "hatch": hatch,
            "edgecolor": TEXT_COLOUR,
            "linewidth": 0.4,
        }
        used[kind.name] += 1
    return looks


def _panel(figure: StudyFigure, part: pd.DataFrame, looks: BarStyles, name: str) -> FigurePanel:
    """Return a panel wide enough for the label below each group, and for the heading."""
    groups = {value: _group_label(value) for value in dict.fromkeys(part[figure.x])}
    lines = [line for label in groups.values() for line in label.splitlines()]
    group = max(MIN_BAR_WIDTH * (len(looks) + GROUP_GAP), widest_text(lines) + 2 * NAME_GAP)
    across = max(MIN_AXES_WIDTH, len(groups) * group, text_extent(name, HEADING_SIZE)[0])
    left, _, right, _ = MARGINS
    drawn = partial(_draw, figure=figure, part=part, looks=looks, groups=groups, name=name)
    return FigurePanel(left + across + right, HEIGHT, drawn, MARGINS)


def _group_label(value: object) -> str:
    """Return the label below a group: a backbone's tag is on a line of its own."""
    label = for_figure(format_axis_value(value))
    return label.replace(".", "\n.", 1) if isinstance(value, str) else label


def _draw(
    axes: Axes,
    figure: StudyFigure,
    part: pd.DataFrame,
    looks: BarStyles,
    groups: dict[Any, str],
    name: str,
) -> None:
    width = 1 / (len(looks) + GROUP_GAP)  # of a group
    for i, (line, look) in enumerate(looks.items()):
        shift = (i - (len(looks) - 1) / 2) * width
        own = part[part["line"] == line]
        _draw_bars(axes, own, [shift + list(groups).index(x) for x in own[figure.x]], width, look)
    reached = part[["low", "mean", "high"]]
    axes.set_ylim(min(0.0, float(reached["low"].min())), HEADROOM * float(reached.max().max()))
    axes.set_xlim(-0.5, len(groups) - 0.5)
    axes.set_xticks(range(len(groups)), list(groups.values()))
    axes.grid(axis="y", color=GRID_COLOUR, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=2.5, color=FAINT_COLOUR)
    axes.set_title(name, fontsize=HEADING_SIZE, loc="left")
    axes.set_xlabel(column_label(figure.x))
    axes.set_ylabel(column_label(figure.value))


def _draw_bars(
    axes: Axes, own: pd.DataFrame, places: list[float], width: float, look: dict[str, Any]
) -> None:
    """Draw one line's bars with their intervals, if any, and above both the numbers."""
    axes.bar(places, own["mean"], width, **look)
    for x, mean, low, high in zip(places, own["mean"], own["low"], own["high"], strict=True):
        if not np.isnan(low):
            axes.plot([x, x], [low, high], color=TEXT_COLOUR, linewidth=1)
        axes.annotate(
            f"{mean:.{1 if abs(mean) >= ONE_DECIMAL_FROM else 2}f}".replace("-", "−"),
            (x, np.nanmax([mean, high])),
            (0, 2),  # 1/72 inch above
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=NUMBER_SIZE,
        )
