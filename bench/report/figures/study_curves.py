"""A study's curves: a value over a number with the band of its interval, a curve per method.

Also the training curves by epoch and by second, and the trials' accuracy by learning rate.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.papers.study import StudyFigure
from bench.report.figures.style import (
    FAINT_COLOUR,
    GRID_COLOUR,
    HEADING_SIZE,
    MAX_TITLE,
    FigurePanel,
    RenderedFigure,
    column_label,
    compose_figure,
    join_columns,
    split_panels,
    style_context,
    truncate,
)
from bench.report.method_colours import method_family

WIDTH, HEIGHT = 3.6, 2.7  # inches of a panel
MARGINS = (0.62, 0.5, 0.15, 0.35)  # inches around the axes: left, bottom, right, top
LINE_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # with them a family repeats its dashes later
MAX_MARKED_POINTS = 12  # points of a curve, up to which each has a mark
LOGARITHMIC = ("lr", "shots")  # what is tried by factors
LineStyles = dict[str, dict[str, Any]]


def draw(figure: StudyFigure, summary: pd.DataFrame) -> RenderedFigure:
    """Draw a panel for each value of the figure's panels, with a curve for each of its lines."""
    summary = summary.assign(line=join_columns(summary, figure.lines))
    looks = line_styles(summary["line"])
    with style_context():
        found = [
            curve_panel(part, figure.x, figure.value, looks, name)
            for name, part in split_panels(summary, figure.panels)
        ]
        return compose_figure(found, legend_handles(looks))


def line_styles(lines: Iterable[str]) -> LineStyles:
    """Return a colour per family of methods; its members differ in their dashes and marks."""
    used: dict[str, int] = defaultdict(int)
    looks: LineStyles = {}
    for name in dict.fromkeys(lines):
        kind = method_family(name)
        dashes = LINE_DASHES[used[kind.name] % len(LINE_DASHES)]
        mark = MARKERS[used[kind.name] % len(MARKERS)]
        looks[name] = {"color": kind.colour, "linestyle": dashes, "linewidth": 1.3, "marker": mark}
        used[kind.name] += 1
    return looks


def legend_handles(looks: LineStyles) -> list[Artist]:
    """Return a legend entry per line."""
    return [Line2D([], [], label=name, markersize=3, **look) for name, look in looks.items()]


def curve_panel(
    part: pd.DataFrame, x: str, value: str, looks: LineStyles, name: str
) -> FigurePanel:
    """Return a panel of curves, by the column `line`: mean, low and high of the value over `x`."""
    drawn = partial(_draw, part=part, x=x, value=value, looks=looks, name=name)
    return FigurePanel(WIDTH, HEIGHT, drawn, MARGINS)


def _draw(axes: Axes, part: pd.DataFrame, x: str, value: str, looks: LineStyles, name: str) -> None:
    for line, curve in part.groupby("line", sort=False):
        look = looks[str(line)]
        bare = {} if len(curve) <= MAX_MARKED_POINTS else {"marker": ""}
        axes.plot(curve[x], curve["mean"], markersize=3, **look | bare)
        axes.fill_between(
            curve[x], curve["low"], curve["high"], color=look["color"], alpha=0.15, lw=0
        )
    if x in LOGARITHMIC:
        axes.set_xscale("log")
        tried = sorted(set(part[x]))
        axes.set_xticks(tried, [f"{value:g}" for value in tried])
        axes.minorticks_off()
    axes.grid(color=GRID_COLOUR, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=2.5, color=FAINT_COLOUR)
    axes.set_title(truncate(name, MAX_TITLE), fontsize=HEADING_SIZE, loc="left")
    axes.set_xlabel(column_label(x))
    axes.set_ylabel(column_label(value))


X_AXES = ("epoch", "seconds")


def draw_training_curves(curves: Mapping[str, pd.DataFrame], rows: Sequence[str]) -> RenderedFigure:
    """Draw a row of panels for each value of the columns `rows`: by epoch and by second.

    `curves` has for each value a frame with those columns, method, epoch, seconds, and the mean of
    the value with its interval from low to high.
    """
    lined = {
        value: frame.assign(line=join_columns(frame, ["method"])) for value, frame in curves.items()
    }
    looks = line_styles(name for frame in lined.values() for name in frame["line"])
    named = {value: dict(split_panels(frame, [*rows])) for value, frame in lined.items()}
    places = dict.fromkeys(place for found in named.values() for place in found)
    with style_context():
        panels = [
            curve_panel(named[value][place], x, value, looks, place)
            for place in places
            for value, x in product(named, X_AXES)
            if place in named[value]
        ]
        return compose_figure(panels, legend_handles(looks), columns=len(named) * len(X_AXES))


def draw_trial_curves(found: pd.DataFrame, panels: Sequence[str]) -> RenderedFigure:
    """Draw a panel for each value of the columns `panels`.

    `found` has those columns, method, lr and the validation accuracy.
    """
    lined = found.assign(line=join_columns(found, ["method"]), mean=found["accuracy"])
    lined = lined.assign(low=lined["mean"], high=lined["mean"]).sort_values("lr", kind="stable")
    looks = line_styles(lined["line"])
    with style_context():
        drawn = [
            curve_panel(part, "lr", "validation_accuracy", looks, name)
            for name, part in split_panels(lined, [*panels])
        ]
        return compose_figure(drawn, legend_handles(looks))
