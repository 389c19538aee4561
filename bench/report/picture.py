"""The picture of the leaderboard: accuracy against trainable parameters, a panel a board."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D

from bench.report.families import FAMILIES, OTHER, Family, family
from bench.report.labels import Floats, place
from bench.report.leaderboard import Board
from bench.report.rows import Row
from bench.report.scale import Scale, scale_of

PANELS = 6  # at most
COLUMNS = 2  # at most: more would be too small to read where a page shrinks them
PANEL = (5.6, 4.4)  # inches
LEFT, RIGHT, BOTTOM, TOP = 0.62, 0.15, 0.5, 0.5  # inches around the axes of a panel
LEGEND = 0.35  # inches, below the panels
TITLE = 68  # characters of a line, at most
LABEL = 40  # characters, at most
DOTS = 120  # an inch
DOT = DOTS / 72  # dots in 1/72 inch, the unit of fonts and of `bench.report.labels`
INK, FAINT, GRID = "#222222", "#8a8a8a", "#e6e6e6"
STYLE: Any = {  # of matplotlib, whose keys differ from version to version
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 8,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.parse_math": False,  # a $ in a name is a $
    "svg.hashsalt": "leaderboard",
    "svg.fonttype": "none",
}
BREAK: dict[str, Any] = {"marker": [(-1, -2), (1, 2)], "color": FAINT, "clip_on": False}
LEGEND_STYLE: dict[str, Any] = {"frameon": False, "columnspacing": 1.4, "handletextpad": 0.1}
HALF_MARK = 4.0  # 1/72 inch: half of what a marker covers
HALF_BAR = (1.5, 1.0)  # 1/72 inch: half of an error bar's width, and what it is longer than the sd
LEADER = 8.0  # 1/72 inch: a label farther than this from its point has a line to it


@dataclass(frozen=True)
class Point:
    """A complete row, placed."""

    x: float  # on the scale
    y: float  # mean over tasks, percent
    sd: float
    label: str
    family: Family


def draw(boards: Sequence[Board]) -> tuple[bytes, bytes]:
    """The picture as SVG and as PNG, of the first `PANELS` boards; each needs a complete row."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a reader's own style must not change the bytes
        matplotlib.rcParams.update(STYLE)
        figure = _figure(boards[:PANELS])
        svg = _save(figure, "svg", {"Date": None, "Creator": None})
        return svg, _save(figure, "png", {"Software": None})


def _save(figure: Figure, kind: str, metadata: dict[str, None]) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, metadata=metadata, dpi=DOTS)
    return stream.getvalue()


def _figure(boards: Sequence[Board]) -> Figure:
    columns = min(len(boards), COLUMNS)
    rows = -(-len(boards) // columns)
    size = columns * PANEL[0], rows * PANEL[1] + LEGEND
    figure = Figure(size, dpi=DOTS, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    for i, board in enumerate(boards):
        row, column = divmod(i, columns)
        corner = column * PANEL[0] + LEFT, size[1] - (row + 1) * PANEL[1] + BOTTOM
        extent = PANEL[0] - LEFT - RIGHT, PANEL[1] - BOTTOM - TOP
        box = np.array([corner, extent]) / size
        left, bottom, width, height = box.ravel()
        _panel(figure.add_axes((left, bottom, width, height)), board, canvas)
    _legend(figure, boards)
    return figure


def _panel(axes: Axes, board: Board, canvas: FigureCanvasAgg) -> None:
    scale = scale_of([row.method_params or 0.0 for row in board.rows])
    points = [_point(row, scale) for row in board.rows]
    _frame(axes, board, points)
    _axis(axes, scale)
    for point in points:
        _mark(axes, point)
    _name(axes, points, canvas)


def _point(row: Row, scale: Scale) -> Point:
    assert row.means is not None  # a board's rows are complete
    x, label = scale.at(row.method_params or 0.0), _short(row.label, LABEL)
    return Point(x, row.means.over_tasks, row.means.sd or 0.0, label, family(row.method))


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _frame(axes: Axes, board: Board, points: list[Point]) -> None:
    low = min(point.y - point.sd for point in points)
    high = max(point.y + point.sd for point in points)
    room = 0.1 * (high - low) + 0.5
    axes.set_ylim(low - room, high + 1.5 * room)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=2.5, color=FAINT)
    words = f"{board.suite} v{board.suite_version}, {board.backbone}", board.recipe_name
    axes.set_title("\n".join(_short(line, TITLE) for line in words), fontsize=9, loc="left")
    axes.set_xlabel("trainable parameters of the method, without the head")
    tasks = len(board.tasks)
    axes.set_ylabel(f"accuracy (%), mean over {tasks} task{'s' * (tasks > 1)}")


def _axis(axes: Axes, scale: Scale) -> None:
    ticks = scale.ticks()
    axes.set_xlim(scale.low, scale.high)
    axes.set_xticks(list(ticks), list(ticks.values()))
    if scale.low < scale.gap < scale.high:
        for shift in (-0.006, 0.006):
            x = scale.gap + shift * (scale.high - scale.low)
            axes.plot([x], [0], transform=axes.get_xaxis_transform(), markersize=7, **BREAK)


def _mark(axes: Axes, point: Point) -> None:
    axes.errorbar(
        [point.x],
        [point.y],
        yerr=[point.sd] if point.sd else None,
        color=point.family.colour,
        elinewidth=0.9,
        capsize=2,
        **_marker(point.family),
    )


def _marker(kind: Family) -> dict[str, Any]:
    """Its look; what lies beneath shines through, as for spt and vpt with as many prompts."""
    size = 11 if kind.marker == "*" else 6
    edge = {"markeredgecolor": "white", "markeredgewidth": 0.5}
    return {"marker": kind.marker, "markersize": size, "alpha": 0.8, **edge}


def _name(axes: Axes, points: list[Point], canvas: FigureCanvasAgg) -> None:
    """Write the names beside the points, where they cover nothing; all lengths in 1/72 inch."""
    at = axes.transData.transform([(p.x, p.y) for p in points]) / DOT  # (N, 2)
    top = axes.transData.transform([(p.x, p.y + p.sd) for p in points]) / DOT
    bar = top - at + HALF_BAR
    marks = [np.column_stack([at - half, at + half]) for half in (HALF_MARK, bar)]
    sizes = np.array([_size(p.label, canvas) for p in points])
    frame = np.array(axes.get_window_extent().extents) / DOT
    boxes = place(at, sizes, np.concatenate(marks), frame)
    for point, start, box in zip(points, at, boxes, strict=True):
        _write(axes, point, start, box)


def _size(label: str, canvas: FigureCanvasAgg) -> tuple[float, float]:
    """Width and height of a written label, in 1/72 inch."""
    font = FontProperties(size=STYLE["font.size"])
    width, height, _ = canvas.get_renderer().get_text_width_height_descent(label, font, False)
    return width / DOT + 3, height / DOT


def _write(axes: Axes, point: Point, start: Floats, box: Floats) -> None:
    """Write one name in its box, with a thin line to its point where that is not near."""
    centre = (box[:2] + box[2:]) / 2
    near = np.clip(start, box[:2], box[2:])
    unscale = axes.transData.inverted()
    if np.linalg.norm(near - start) > LEADER:
        ends = unscale.transform(np.stack([start, near]) * DOT)
        axes.plot(*ends.T, color=FAINT, linewidth=0.6, zorder=1.5)
    x, y = unscale.transform(centre * DOT)
    axes.text(x, y, point.label, ha="center", va="center", color=INK)


def _legend(figure: Figure, boards: Sequence[Board]) -> None:
    present = {family(row.method).name for board in boards for row in board.rows}
    kinds = [kind for kind in (*FAMILIES, OTHER) if kind.name in present]
    handles = [
        Line2D([], [], linestyle="none", color=kind.colour, label=kind.name, **_marker(kind))
        for kind in kinds
    ]
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), **LEGEND_STYLE)
