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

WIDTH, HEIGHT = 4.4, 3.4  # inches of a panel
MARGINS = (0.62, 0.5, 0.15, 0.35)  # inches around the axes: left, bottom, right, top
MAX_LABELS = 13  # points of a curve that are named
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKS = ("o", "s", "^", "D", "v", "P", "X")


def draw(found: Interpolation) -> RenderedFigure:
    """Draw a panel of all sets by alpha, and one of each shift against the test set."""
    (validation,), (test,) = found.of_kind("validation"), found.of_kind("test")
    shifts = found.of_kind("shift")
    sets = [validation, test, *shifts]
    with style_context():
        by_alpha = partial(_draw_by_alpha, alphas=found.alphas, sets=sets)
        panels = [FigurePanel(WIDTH, HEIGHT, by_alpha, MARGINS)]
        for number, shift in enumerate(shifts, start=2):
            against = partial(_draw_against, found=found, test=test, shift=shift, number=number)
            panels.append(FigurePanel(WIDTH, HEIGHT, against, MARGINS))
        return compose_figure(panels, _legend(sets))


def _look(number: int) -> dict[str, Any]:
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKS[number % len(MARKS)]}


def _legend(sets: list[SetScores]) -> list[Artist]:
    return [
        Line2D([], [], label=_name(one), markersize=3, **_look(number))
        for number, one in enumerate(sets)
    ]


def _name(one: SetScores) -> str:
    return truncate(one.name if one.kind == "shift" else f"{one.name} (in distribution)")


def _draw_by_alpha(axes: Axes, alphas: list[float], sets: list[SetScores]) -> None:
    for number, one in enumerate(sets):
        axes.plot(alphas, one.accuracies, markersize=3, linewidth=1.3, **_look(number))
    _finish(axes, "Accuracy by α", "α (0: start, 1: adapted)", "top-1 percent")


def _draw_against(
    axes: Axes, found: Interpolation, test: SetScores, shift: SetScores, number: int
) -> None:
    """Draw the models as points, joined in the order of alpha, some of them named."""
    look = _look(number)
    axes.plot(test.accuracies, shift.accuracies, markersize=4, linewidth=1.0, **look)
    _finish(axes, f"{shift.name} against {test.name}", f"top-1 percent on {test.name}", shift.name)
    step = -(-len(found.alphas) // MAX_LABELS)
    points = zip(test.accuracies, shift.accuracies, found.alphas, strict=True)
    named = [LabelledPoint(x, y, 0.0, f"{alpha:g}") for x, y, alpha in [*points][::step]]
    axes.margins(0.12)
    draw_labels(axes, named, np.empty((0, 2)))


def _finish(axes: Axes, title: str, x: str, y: str) -> None:
    axes.grid(color=GRID_COLOUR, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=2.5, color=FAINT_COLOUR)
    axes.set_title(truncate(title), fontsize=HEADING_SIZE, loc="left")
    axes.set_xlabel(truncate(x))
    axes.set_ylabel(truncate(y))
