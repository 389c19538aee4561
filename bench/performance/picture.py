"""Time and memory against what was made larger: a column each, a line a way of doing it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import log10

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.performance import growth
from bench.performance.rows import Line, Row
from bench.report.grouping import gather
from bench.report.pictures.common import (
    FAINT,
    GRID,
    HEADING,
    INK,
    Drawing,
    Panel,
    compose,
    style,
)
from bench.report.scale import SECONDS, scale_of

SECTION = "growth"
COLUMNS, WIDTH, HEIGHT = 3, 2.8, 2.0  # panels beside each other; inches of one
MARGINS = (0.62, 0.42, 0.1, 0.25)  # inches around the axes: left, bottom, right, top
MIB = {0: " MiB"}
LOOKS = {  # label, colour and marker; as of Okabe and Ito: https://jfly.uni-koeln.de/color/
    "bare": ("bare pass", FAINT, "o"),
    "random": ("random", "#56B4E9", "s"),
    "mean": ("mean", "#009E73", "^"),
    "max": ("max", "#E69F00", "v"),
    "kmeans": ("k-means", "#D55E00", "D"),
    "keys_and_values": ("keys and values", "#0072B2", "P"),
    "concatenation": ("concatenation", "#CC79A7", "X"),
}


@dataclass(frozen=True)
class Measure:
    """What stands on the vertical axis."""

    name: str
    units: Mapping[int, str]
    of: str  # field of a row


MEASURES = (Measure("time", SECONDS, "seconds"), Measure("memory", MIB, "value"))


def draw(lines: Sequence[Line]) -> Drawing | None:
    """The growth that was measured last, a column a thing that grows; None: there is none."""
    grown = [line for line in lines if line.section == SECTION]
    if not grown:
        return None
    last = max((line.machine for line in grown), key=lambda machine: machine.started)
    rows = [line.row for line in grown if line.machine == last]
    with style():
        return compose(_panels(rows), _legend(rows), COLUMNS)


def _panels(rows: Sequence[Row]) -> list[Panel]:
    """What was done, each with time and memory, row by row."""
    done = gather(rows, lambda row: row.name.split(", ")[0])
    return [
        Panel(WIDTH, HEIGHT, partial(_draw, what=what, measure=measure, own=own), MARGINS)
        for (what, found), measure in product(done.items(), MEASURES)
        for own in gather(found, lambda row: row.against).values()
    ]


def _draw(axes: Axes, what: str, measure: Measure, own: Sequence[Row]) -> None:
    scale = scale_of([getattr(row, measure.of) for row in own], measure.units)
    for series, found in gather(own, _series).items():
        _, colour, marker = LOOKS[series]
        x = [log10(row.at or 1) for row in found]
        y = [scale.at(getattr(row, measure.of)) for row in found]
        axes.plot(x, y, color=colour, marker=marker, markersize=4, linewidth=1.2, alpha=0.85)
    sizes = sorted({row.at for row in own if row.at})
    axes.set_xticks([log10(size) for size in sizes], [f"{size:g}" for size in sizes])
    axes.set_ylim(scale.low, scale.high)
    axes.set_yticks(list(scale.ticks()), list(scale.ticks().values()))
    axes.set_xlabel(_against(what, own[0].against), labelpad=1)
    axes.set_title(f"{what}: {measure.name}", fontsize=HEADING, loc="left", color=INK)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=2.5, color=FAINT)


def _against(what: str, name: str) -> str:
    """What grows, in words that are right for what is done with it."""
    return {
        (growth.START, "prompts"): "prompts (k-means: clusters)",
        (growth.STEP, "images"): "images in the batch",
    }.get((what, name), name)


def _series(row: Row) -> str:
    return row.name.split(", ")[1]


def _legend(rows: Sequence[Row]) -> list[Line2D]:
    looks = (LOOKS[name] for name in dict.fromkeys(map(_series, rows)))
    return [Line2D([], [], label=label, color=colour, marker=kind) for label, colour, kind in looks]
