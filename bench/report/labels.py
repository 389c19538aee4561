"""Where the names of points go so that they cover nothing: each in turn takes the best place."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]  # boxes (N, 4) are left, bottom, right, top; lines (N, 2, 2) two ends

ANGLES = np.arange(16) / 16 * 2 * np.pi
GAPS = (5.0, 8.0, 13.0, 20.0, 29.0, 40.0, 53.0, 68.0, 85.0)  # from point to label, 1/72 inch
OUTSIDE = 10.0  # cost of an area outside the frame, where a covered one costs 1 and a distance 1
TOUCH = 60.0  # of two labels that cover one another, beside the area
THROUGH = 40.0  # of a line through a label or a mark, for each of the samples that lie inside
CROSSING = 80.0  # of two lines that cross
SAMPLES = np.linspace(0.2, 1.0, 11)  # of the way from point to label
ROUNDS = 8  # how often each label may move on, once all are placed


class Places(NamedTuple):
    """The places for one label: boxes (K, 4), lines (K, 2, 2) to its point, and costs (K,)."""

    boxes: Floats
    lines: Floats
    cost: Floats  # whatever the other labels do


def place(points: Floats, sizes: Floats, marks: Floats, frame: Floats) -> Floats:
    """The labels' boxes (N, 4), near `points` (N, 2), for texts of `sizes` (N, 2).

    Labels keep off each other and off `marks` (M, 4), inside `frame` (4,), and off the lines that
    join labels to points, as far as there is room. The same input gives the same places.
    """
    places = [_places(at, size, marks, frame) for at, size in zip(points, sizes, strict=True)]
    best = np.array([np.argmin(choice.cost) for choice in places])
    for _ in range(ROUNDS):
        before = best.copy()
        for i, choice in enumerate(places):
            others = [(p.boxes[best[j]], p.lines[best[j]]) for j, p in enumerate(places) if j != i]
            best[i] = np.argmin(choice.cost + _conflicts(choice, others))
        if (best == before).all():
            break
    return np.stack([choice.boxes[k] for choice, k in zip(places, best, strict=True)])


def overlap(some: Floats, others: Floats) -> Floats:
    """The area that each of `some` (N, 4) shares with each of `others` (M, 4): (N, M)."""
    low = np.maximum(some[:, None, :2], others[None, :, :2])  # (N, M, 2)
    high = np.minimum(some[:, None, 2:], others[None, :, 2:])
    width, height = np.moveaxis(np.maximum(high - low, 0), 2, 0)
    return width * height


def _places(point: Floats, size: Floats, marks: Floats, frame: Floats) -> Places:
    direction = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)  # (A, 2)
    reach = (np.array(GAPS)[:, None, None] * direction).reshape(-1, 2)  # (K, 2)
    centres = point + reach + np.sign(reach.round(6)) * size / 2
    boxes = np.concatenate([centres - size / 2, centres + size / 2], axis=1)
    lines = np.stack([np.broadcast_to(point, reach.shape), point + reach], axis=1)
    away = marks[~_inside(point[None], marks)[0]]  # the marks of other points
    outside = size.prod() - overlap(boxes, frame[None])[:, 0]
    cost = np.linalg.norm(reach, axis=1) + OUTSIDE * outside + overlap(boxes, marks).sum(axis=1)
    return Places(boxes, lines, cost + THROUGH * _through(lines, away).sum(axis=1))


def _conflicts(choice: Places, others: list[tuple[Floats, Floats]]) -> Floats:
    """What each place costs (K,) beside the boxes and lines that the other labels have now."""
    if not others:
        return np.zeros(len(choice.boxes))
    boxes, lines = (np.stack(part) for part in zip(*others, strict=True))
    through = _through(choice.lines, boxes) + _through(lines, choice.boxes).T
    covered = overlap(choice.boxes, boxes)
    cost = covered + TOUCH * (covered > 0) + THROUGH * through
    return (cost + CROSSING * _cross(choice.lines, lines)).sum(axis=1)


def _through(lines: Floats, boxes: Floats) -> Floats:
    """How many samples of each line (N, 2, 2) lie in each box (M, 4): (N, M)."""
    steps = SAMPLES[:, None, None] * (lines[:, 1] - lines[:, 0])  # (S, N, 2)
    samples = lines[:, 0] + steps
    inside = _inside(samples.reshape(-1, 2), boxes)
    return inside.reshape(len(SAMPLES), len(lines), len(boxes)).sum(axis=0)


def _inside(points: Floats, boxes: Floats) -> NDArray[np.bool_]:
    """Which of `points` (N, 2) lie in which of `boxes` (M, 4): (N, M)."""
    x, y = points[:, :1], points[:, 1:]
    left, bottom, right, top = boxes.T
    return (left <= x) & (x <= right) & (bottom <= y) & (y <= top)


def _cross(some: Floats, others: Floats) -> NDArray[np.bool_]:
    """Which of the lines `some` (N, 2, 2) cross which of `others` (M, 2, 2): (N, M)."""
    a, b = some[:, None, 0], some[:, None, 1]  # (N, 1, 2)
    c, d = others[None, :, 0], others[None, :, 1]  # (1, M, 2)
    split_others = _side(a, b, c) * _side(a, b, d) < 0
    return split_others & (_side(c, d, a) * _side(c, d, b) < 0)


def _side(a: Floats, b: Floats, c: Floats) -> Floats:
    """Above 0 where `c` lies left of the line from `a` to `b`, below 0 where it lies right."""
    ab, ac = b - a, c - a
    return ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0]
