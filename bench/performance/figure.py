"""Figure of time and memory against the size of the work: one line per variant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import log10

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.performance import scaling
from bench.performance.measurement import PerformanceLine, PerformanceRow, group_by
from bench.report.figures.pareto import SECOND_UNITS, fit_scale
from bench.report.figures.style import (
    FAINT_COLOUR,
    GRID_COLOUR,
    HEADING_SIZE,
    TEXT_COLOUR,
    FigurePanel,
    RenderedFigure,
    compose_figure,
    style_context,
)

SECTION = "growth"
COLUMNS, WIDTH, HEIGHT = 3, 2.8, 2.0  # panels per row; inches of one panel
MARGINS = (0.62, 0.42, 0.1, 0.25)  # inches around the axes: left, bottom, right, top
MIB_UNITS = {0: " MiB"}
SERIES_STYLES = {  # label, colour, marker; colours of Okabe and Ito: https://jfly.uni-koeln.de/color/
    "bare": ("bare pass", FAINT_COLOUR, "o"),
    "random": ("random", "#56B4E9", "s"),
    "mean": ("mean", "#009E73", "^"),
    "max": ("max", "#E69F00", "v"),
    "kmeans": ("k-means", "#D55E00", "D"),
    "keys_and_values": ("keys and values", "#0072B2", "P"),
    "concatenation": ("concatenation", "#CC79A7", "X"),
}


@dataclass(frozen=True)
class VerticalAxis:
    """The quantity on the vertical axis."""

    name: str
    units: Mapping[int, str]
    row_field: str  # field of `PerformanceRow`


VERTICAL_AXES = (
    VerticalAxis("time", SECOND_UNITS, "seconds"),
    VerticalAxis("memory", MIB_UNITS, "value"),
)


def draw(lines: Sequence[PerformanceLine]) -> RenderedFigure | None:
    """Draw the latest measurement of growth, a column per varied quantity; None without one."""
    grown = [line for line in lines if line.section == SECTION]
    if not grown:
        return None
    last = max((line.machine for line in grown), key=lambda machine: machine.started)
    rows = [line.row for line in grown if line.machine == last]
    with style_context():
        return compose_figure(_panels(rows), _legend(rows), COLUMNS)


def _panels(rows: Sequence[PerformanceRow]) -> list[FigurePanel]:
    """Lay out the panels: time and memory of each kind of work, against each varied quantity."""
    done = group_by(rows, lambda row: row.name.split(", ")[0])
    return [
        FigurePanel(
            WIDTH, HEIGHT, partial(_draw_panel, what=what, measure=measure, own=own), MARGINS
        )
        for (what, found), measure in product(done.items(), VERTICAL_AXES)
        for own in group_by(found, lambda row: row.against).values()
    ]


def _draw_panel(
    axes: Axes, what: str, measure: VerticalAxis, own: Sequence[PerformanceRow]
) -> None:
    scale = fit_scale([getattr(row, measure.row_field) for row in own], measure.units)
    for series, found in group_by(own, _series).items():
        _, colour, marker = SERIES_STYLES[series]
        x = [log10(row.at or 1) for row in found]
        y = [scale.at(getattr(row, measure.row_field)) for row in found]
        axes.plot(x, y, color=colour, marker=marker, markersize=4, linewidth=1.2, alpha=0.85)
    sizes = sorted({row.at for row in own if row.at})
    axes.set_xticks([log10(size) for size in sizes], [f"{size:g}" for size in sizes])
    axes.set_ylim(scale.low, scale.high)
    axes.set_yticks(list(scale.ticks()), list(scale.ticks().values()))
    axes.set_xlabel(_x_label(what, own[0].against), labelpad=1)
    axes.set_title(f"{what}: {measure.name}", fontsize=HEADING_SIZE, loc="left", color=TEXT_COLOUR)
    axes.grid(color=GRID_COLOUR, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=2.5, color=FAINT_COLOUR)


def _x_label(what: str, name: str) -> str:
    """Label of the horizontal axis: the varied quantity, as this kind of work calls it."""
    return {
        (scaling.INITIALISATION, "prompts"): "prompts (k-means: clusters)",
        (scaling.TRAINING_STEP, "images"): "images in the batch",
    }.get((what, name), name)


def _series(row: PerformanceRow) -> str:
    return row.name.split(", ")[1]


def _legend(rows: Sequence[PerformanceRow]) -> list[Line2D]:
    looks = (SERIES_STYLES[name] for name in dict.fromkeys(map(_series, rows)))
    return [Line2D([], [], label=label, color=colour, marker=kind) for label, colour, kind in looks]
