"""Scores between the start and the adapted model: by alpha, and each shift against the test set."""

from functools import partial
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.records.interpolations import Interpolation, SetScores
from bench.report.figures.label_placement import LabelledPoint, draw_labels
from bench.report.figures.style import (
    FAINT_COLOUR,
    GRID_COLOUR,
    HEADING_SIZE,
    FigurePanel,
    RenderedFigure,
    compose_figure,
    style_context,
    truncate,
)

WIDTH, HEIGHT, COLUMNS = 3.6, 3.0, 3  # inches of a panel; panels in a row, at most
MARGINS = (0.62, 0.5, 0.15, 0.35)  # inches around the axes: left, bottom, right, top
MAX_LABELS = 11  # points of a curve that are named
SHIFTS = "shifts: their mean, and each against test"
LOOKS: dict[str, dict[str, Any]] = {
    "validation": {"color": "#0072B2", "marker": "s"},
    "test": {"color": "#000000", "marker": "o"},
    SHIFTS: {"color": "#D55E00", "marker": "^"},
}


def draw(found: Interpolation) -> RenderedFigure:
    """Draw a panel of accuracy by alpha, and one of each shift against the test set."""
    (validation,), (test,) = found.of_kind("validation"), found.of_kind("test")
    shifts = found.of_kind("shift")
    curves = {"validation": validation.accuracies, "test": test.accuracies}
    if shifts:
        each = zip(*(one.accuracies for one in shifts), strict=True)
        curves[SHIFTS] = [sum(at) / len(at) for at in each]
    drawn = [partial(_draw_by_alpha, alphas=found.alphas, curves=curves)]
    drawn += [partial(_draw_against, alphas=found.alphas, test=test, shift=s) for s in shifts]
    with style_context():
        panels = [FigurePanel(WIDTH, HEIGHT, one, MARGINS) for one in drawn]
        legend: list[Artist] = [
            Line2D([], [], label=name, markersize=3, **LOOKS[name]) for name in curves
        ]
        return compose_figure(panels, legend, COLUMNS)


def _draw_by_alpha(axes: Axes, alphas: list[float], curves: dict[str, list[float]]) -> None:
    for name, accuracies in curves.items():
        axes.plot(alphas, accuracies, markersize=3, linewidth=1.3, **LOOKS[name])
    _finish(axes, "Accuracy by α", "α (0: start, 1: adapted)", "top-1 percent")


def _draw_against(axes: Axes, alphas: list[float], test: SetScores, shift: SetScores) -> None:
    """Draw the models as points, joined in the order of alpha, some of them named."""
    look = LOOKS[SHIFTS]
    axes.plot(test.accuracies, shift.accuracies, markersize=4, linewidth=1.0, **look)
    _finish(axes, f"{shift.name} against {test.name}", f"top-1 percent on {test.name}", shift.name)
    axes.margins(0.15)
    axes.autoscale_view()  # labels are placed by where the points are drawn
    step = -(-len(alphas) // MAX_LABELS)
    points = zip(test.accuracies, shift.accuracies, alphas, strict=True)
    named = [LabelledPoint(x, y, 0.0, f"{alpha:g}") for x, y, alpha in [*points][::step]]
    draw_labels(axes, named, np.empty((0, 2)))


def _finish(axes: Axes, title: str, x: str, y: str) -> None:
    axes.grid(color=GRID_COLOUR, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=2.5, color=FAINT_COLOUR)
    axes.set_title(truncate(title), fontsize=HEADING_SIZE, loc="left")
    axes.set_xlabel(truncate(x))
    axes.set_ylabel(truncate(y))
