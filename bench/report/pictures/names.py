"""The names of points, written beside them where they cover nothing; lengths in 1/72 inch."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from bench.report.labels import Floats, place
from bench.report.pictures.common import DOT, FAINT, INK, extent

HALF_MARK = 4.0  # half of what a marker covers
HALF_BAR = (1.5, 1.0)  # half of an error bar's width, and what it is longer than the sd
HALF_LINE = 2.5  # half of the width kept free around a line
PAPER: Any = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.4}  # under a name
LEADER = 8.0  # a label farther than this from its point has a line to it


class Named(NamedTuple):
    """A point with its name, in the units of the axes."""

    x: float
    y: float
    sd: float  # of an error bar up and down
    label: str


def write(axes: Axes, points: Sequence[Named], corners: Floats) -> None:
    """Name the points, off their marks, their bars and the line through `corners` (C, 2)."""
    at = _places(axes, [(point.x, point.y) for point in points])  # (N, 2)
    top = _places(axes, [(point.x, point.y + point.sd) for point in points])
    marks = [np.column_stack([at - half, at + half]) for half in (HALF_MARK, top - at + HALF_BAR)]
    marks.append(_along(_places(axes, corners)))
    sizes = np.array([extent(point.label) for point in points]) * 72 + (3, 0)
    frame = np.array(axes.get_window_extent().extents) / DOT
    boxes = place(at, sizes, np.concatenate(marks), frame)
    for point, start, box in zip(points, at, boxes, strict=True):
        _write(axes, point.label, start, box)


def _places(axes: Axes, points: Floats | Sequence[tuple[float, float]]) -> Floats:
    found: Floats = axes.transData.transform(np.reshape(points, (-1, 2))) / DOT
    return found


def _along(corners: Floats) -> Floats:
    """The boxes (C - 1, 4) around the parts of a line that is level or upright."""
    low = np.minimum(corners[:-1], corners[1:]) - HALF_LINE
    return np.column_stack([low, np.maximum(corners[:-1], corners[1:]) + HALF_LINE])


def _write(axes: Axes, label: str, start: Floats, box: Floats) -> None:
    """Write one name in its box, with a thin line to its point where that is not near."""
    centre = (box[:2] + box[2:]) / 2
    near = np.clip(start, box[:2], box[2:])
    unscale = axes.transData.inverted()
    if np.linalg.norm(near - start) > LEADER:
        ends = unscale.transform(np.stack([start, near]) * DOT)
        axes.plot(*ends.T, color=FAINT, linewidth=0.6, zorder=1.5)
    x, y = unscale.transform(centre * DOT)
    axes.text(x, y, label, ha="center", va="center", color=INK, zorder=1.8, bbox=PAPER)
