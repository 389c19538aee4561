"""Placement of point labels so that they cover nothing; lengths in 1/72 inch.

Greedy: each label in turn takes its cheapest place, until none moves.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from bench.report.figures.style import DOTS_PER_POINT, FAINT_COLOUR, TEXT_COLOUR, text_extent

Floats = NDArray[np.float64]  # boxes (N, 4) are left, bottom, right, top; lines (N, 2, 2) two ends

ANGLES = np.arange(16) / 16 * 2 * np.pi
LABEL_GAPS = (5.0, 8.0, 13.0, 20.0, 29.0, 40.0, 53.0, 68.0, 85.0)  # from point to label, 1/72 inch
OUTSIDE_COST = 10.0  # of an area outside the frame, where a covered one costs 1 and a distance 1
OVERLAP_COST = 60.0  # of two labels that cover one another, besides the area
THROUGH_COST = 40.0  # of a line through a label or a mark, for each of its samples inside
CROSSING_COST = 80.0  # of two lines that cross
LINE_SAMPLES = np.linspace(0.2, 1.0, 11)  # of the way from point to label
MAX_ROUNDS = 8  # how often each label may move on, once all are placed


class LabelCandidates(NamedTuple):
    """The places for one label: boxes (K, 4), lines (K, 2, 2) to its point, and costs (K,)."""

    boxes: Floats
    lines: Floats
    cost: Floats  # whatever the other labels do


def place_labels(points: Floats, sizes: Floats, marks: Floats, frame: Floats) -> Floats:
    """Return the labels' boxes (N, 4), near `points` (N, 2), for texts of `sizes` (N, 2).

    Labels keep off each other and off `marks` (M, 4), inside `frame` (4,), and off the lines that
    join labels to points, as far as there is room. The same input gives the same places.
    """
    places = [_candidates(at, size, marks, frame) for at, size in zip(points, sizes, strict=True)]
    best = np.array([np.argmin(choice.cost) for choice in places])
    for _ in range(MAX_ROUNDS):
        before = best.copy()
        for i, choice in enumerate(places):
            others = [(p.boxes[best[j]], p.lines[best[j]]) for j, p in enumerate(places) if j != i]
            best[i] = np.argmin(choice.cost + _conflict_costs(choice, others))
        if (best == before).all():
            break
    return np.stack([choice.boxes[k] for choice, k in zip(places, best, strict=True)])


def overlap_areas(some: Floats, others: Floats) -> Floats:
    """Return the area that each of `some` (N, 4) shares with each of `others` (M, 4): (N, M)."""
    low = np.maximum(some[:, None, :2], others[None, :, :2])  # (N, M, 2)
    high = np.minimum(some[:, None, 2:], others[None, :, 2:])
    width, height = np.moveaxis(np.maximum(high - low, 0), 2, 0)
    return width * height


def _candidates(point: Floats, size: Floats, marks: Floats, frame: Floats) -> LabelCandidates:
    direction = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)  # (A, 2)
    reach = (np.array(LABEL_GAPS)[:, None, None] * direction).reshape(-1, 2)  # (K, 2)
    centres = point + reach + np.sign(reach.round(6)) * size / 2
    boxes = np.concatenate([centres - size / 2, centres + size / 2], axis=1)
    lines = np.stack([np.broadcast_to(point, reach.shape), point + reach], axis=1)
    away = marks[~_points_in_boxes(point[None], marks)[0]]  # the marks of other points
    outside = size.prod() - overlap_areas(boxes, frame[None])[:, 0]
    cost = (
        np.linalg.norm(reach, axis=1)
        + OUTSIDE_COST * outside
        + overlap_areas(boxes, marks).sum(axis=1)
    )
    return LabelCandidates(
        boxes, lines, cost + THROUGH_COST * _samples_in_boxes(lines, away).sum(axis=1)
    )


def _conflict_costs(choice: LabelCandidates, others: list[tuple[Floats, Floats]]) -> Floats:
    """Return the cost of each place (K,) next to the other labels' present boxes and lines."""
    if not others:
        return np.zeros(len(choice.boxes))
    boxes, lines = (np.stack(part) for part in zip(*others, strict=True))
    through = _samples_in_boxes(choice.lines, boxes) + _samples_in_boxes(lines, choice.boxes).T
    covered = overlap_areas(choice.boxes, boxes)
    cost = covered + OVERLAP_COST * (covered > 0) + THROUGH_COST * through
    return (cost + CROSSING_COST * _crossing_lines(choice.lines, lines)).sum(axis=1)


def _samples_in_boxes(lines: Floats, boxes: Floats) -> Floats:
    """Count the samples of each line (N, 2, 2) inside each box (M, 4): (N, M)."""
    steps = LINE_SAMPLES[:, None, None] * (lines[:, 1] - lines[:, 0])  # (S, N, 2)
    samples = lines[:, 0] + steps
    inside = _points_in_boxes(samples.reshape(-1, 2), boxes)
    return inside.reshape(len(LINE_SAMPLES), len(lines), len(boxes)).sum(axis=0)


def _points_in_boxes(points: Floats, boxes: Floats) -> NDArray[np.bool_]:
    """Return which of `points` (N, 2) are in which of `boxes` (M, 4): (N, M)."""
    x, y = points[:, :1], points[:, 1:]
    left, bottom, right, top = boxes.T
    return (left <= x) & (x <= right) & (bottom <= y) & (y <= top)


def _crossing_lines(some: Floats, others: Floats) -> NDArray[np.bool_]:
    """Return which of the lines `some` (N, 2, 2) cross which of `others` (M, 2, 2): (N, M)."""
    a, b = some[:, None, 0], some[:, None, 1]  # (N, 1, 2)
    c, d = others[None, :, 0], others[None, :, 1]  # (1, M, 2)
    split_others = _side_of_line(a, b, c) * _side_of_line(a, b, d) < 0
    return split_others & (_side_of_line(c, d, a) * _side_of_line(c, d, b) < 0)


def _side_of_line(a: Floats, b: Floats, c: Floats) -> Floats:
    """Return a number above 0 if `c` is left of the line from `a` to `b`, below 0 if right."""
    ab, ac = b - a, c - a
    return ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0]


HALF_MARK = 4.0  # half of what a marker covers
HALF_BAR = (1.5, 1.0)  # half of an error bar's width, and what it is longer than the sd
HALF_LINE = 2.5  # half of the width kept free around a line
LABEL_BACKGROUND: Any = {
    "facecolor": "white",
    "edgecolor": "none",
    "alpha": 0.8,
    "pad": 0.4,
}  # under a name
LEADER_DISTANCE = 8.0  # a label farther than this from its point has a line to it


class LabelledPoint(NamedTuple):
    """A point with its name, in the units of the axes."""

    x: float
    y: float
    sd: float  # of an error bar up and down
    label: str


def draw_labels(axes: Axes, points: Sequence[LabelledPoint], corners: Floats) -> None:
    """Name the points, off their marks, their bars and the line through `corners` (C, 2)."""
    at = _display_coordinates(axes, [(point.x, point.y) for point in points])  # (N, 2)
    top = _display_coordinates(axes, [(point.x, point.y + point.sd) for point in points])
    marks = [np.column_stack([at - half, at + half]) for half in (HALF_MARK, top - at + HALF_BAR)]
    marks.append(_boxes_along(_display_coordinates(axes, corners)))
    sizes = np.array([text_extent(point.label) for point in points]) * 72 + (3, 0)
    frame = np.array(axes.get_window_extent().extents) / DOTS_PER_POINT
    boxes = place_labels(at, sizes, np.concatenate(marks), frame)
    for point, start, box in zip(points, at, boxes, strict=True):
        _draw_label(axes, point.label, start, box)


def _display_coordinates(axes: Axes, points: Floats | Sequence[tuple[float, float]]) -> Floats:
    found: Floats = axes.transData.transform(np.reshape(points, (-1, 2))) / DOTS_PER_POINT
    return found


def _boxes_along(corners: Floats) -> Floats:
    """Return the boxes (C - 1, 4) around the parts of a line that is level or upright."""
    low = np.minimum(corners[:-1], corners[1:]) - HALF_LINE
    return np.column_stack([low, np.maximum(corners[:-1], corners[1:]) + HALF_LINE])


def _draw_label(axes: Axes, label: str, start: Floats, box: Floats) -> None:
    """Write one name in its box, with a thin line to its point where that is not near."""
    centre = (box[:2] + box[2:]) / 2
    near = np.clip(start, box[:2], box[2:])
    unscale = axes.transData.inverted()
    if np.linalg.norm(near - start) > LEADER_DISTANCE:
        ends = unscale.transform(np.stack([start, near]) * DOTS_PER_POINT)
        axes.plot(*ends.T, color=FAINT_COLOUR, linewidth=0.6, zorder=1.5)
    x, y = unscale.transform(centre * DOTS_PER_POINT)
    axes.text(
        x, y, label, ha="center", va="center", color=TEXT_COLOUR, zorder=1.8, bbox=LABEL_BACKGROUND
    )
