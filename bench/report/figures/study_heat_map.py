"""A study's heat map: a value by two axes, as colour and number.

The colours have one scale for all panels, or one per column, as in Wang et al., 2024, Figures 3(b)
and S1(a), https://arxiv.org/abs/2402.02382: accuracies by the task that prompts start from and the
task that they are trained on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_hex
from matplotlib.patches import Patch, Rectangle

from bench.papers.study import StudyFigure
from bench.report.figures.difference_to_full import DARK, LIGHT, contrasting_colour
from bench.report.figures.label_placement import Floats
from bench.report.figures.style import (
    HEADING_SIZE,
    MAX_TITLE,
    FigurePanel,
    RenderedFigure,
    column_label,
    compose_figure,
    split_panels,
    style_context,
    text_extent,
    truncate,
    widest_text,
)
from bench.report.markdown import MISSING, format_axis_value
from bench.utils.escaping import for_figure


def normalise_columns(matrix: Floats) -> Floats:
    """Scale each column of (S, T) from 0, its worst source, to 1, its best.

    The paper normalises a column "for clarity" and leaves unsaid how; this is what shows the order
    of sources most clearly, and says nothing of how far apart they are. Where all sources of a task
    are equal, each is its best: 1. NaN stays NaN.
    """
    known = ~np.isnan(matrix)
    low = np.min(matrix, axis=0, where=known, initial=np.inf)
    high = np.max(matrix, axis=0, where=known, initial=-np.inf)
    apart = high > low
    scaled = (matrix - np.where(apart, low, 0)) / np.where(apart, high - low, 1)
    return np.where(known & ~apart, 1.0, scaled)


PADDING, NAME_GAP = 0.14, 0.06  # inches: around the panel, between a name and what it names
LINE_HEIGHT = 0.2  # inches for a line of words
CELL_PADDING = 0.12  # inches that a cell is wider and higher than its numbers
NUMBER_SIZE, DECIMALS = 6.0, 2  # 1/72 inch; of numbers
COLOURMAP = "Blues"  # ColorBrewer's: pale to dark is seen without colours, too
LEGEND_STEPS = 5  # colours in the legend
DIAGONAL_LABEL = "row is column"
WORST, BEST = "0: worst of its column", "1: best of its column"
NORMALISED_NOTE = "normalised by column; {} in brackets"

ColourScale = tuple[Callable[[Floats], Floats], list[Patch]]  # matrix -> shades; the legend


@dataclass(frozen=True)
class HeatMap:
    """The contents of one panel."""

    heading: str
    x: str  # what columns are
    y: str  # what rows are
    columns: list[str]  # (C,)
    rows: list[str]  # (R,)
    texts: list[list[str]]  # (R, C): one line a number
    shades: Floats  # (R, C): from 0, palest, to 1; NaN: there is no value

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of a cell, in inches."""
        lines = [line for row in self.texts for text in row for line in text.splitlines()]
        count = max(text.count("\n") + 1 for row in self.texts for text in row)
        return widest_text(lines, NUMBER_SIZE) + CELL_PADDING, count * 1.3 * text_extent(
            "0", NUMBER_SIZE
        )[1] + CELL_PADDING

    @property
    def upright(self) -> bool:
        """True if the names of columns are written vertically."""
        return widest_text(self.columns) > self.cell[0] - NAME_GAP

    @property
    def left(self) -> float:
        """From the panel's left to the first cell, in inches."""
        return PADDING + LINE_HEIGHT + widest_text(self.rows) + NAME_GAP

    @property
    def top(self) -> float:
        """From the panel's top to the first cell, in inches."""
        return (
            PADDING
            + LINE_HEIGHT
            + (widest_text(self.columns) if self.upright else LINE_HEIGHT)
            + NAME_GAP
        )

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the panel, in inches."""
        width, height = self.cell
        across = self.left + max(len(self.columns) * width, text_extent(self.x)[0])
        down = self.top + max(len(self.rows) * height, text_extent(self.y)[0])
        return max(
            across, PADDING + text_extent(self.heading, HEADING_SIZE)[0]
        ) + PADDING, down + LINE_HEIGHT + PADDING


def draw(figure: StudyFigure, summary: pd.DataFrame) -> RenderedFigure:
    """Draw a panel for each value of the figure's panels.

    Without `normalised`, a colour is one value in all panels.
    """
    shade, legend = _scale_by_column() if figure.normalised else _shared_scale(figure, summary)
    sheets = [
        _heat_map(figure, name, part, shade) for name, part in split_panels(summary, figure.panels)
    ]
    own = Patch(facecolor=LIGHT, edgecolor=DARK, label=DIAGONAL_LABEL)
    has_own = any(set(sheet.rows) & set(sheet.columns) for sheet in sheets)
    with style_context():
        panels = [
            FigurePanel(*sheet.size, partial(_draw_heat_map, shape=sheet)) for sheet in sheets
        ]
        return compose_figure(panels, [*legend, *([own] if has_own else [])])


def _scale_by_column() -> ColourScale:
    """Return a scale per column, from 0 at its worst row to 1 at its best."""
    return normalise_columns, [_legend_patch(0.0, WORST), _legend_patch(1.0, BEST)]


def _shared_scale(figure: StudyFigure, summary: pd.DataFrame) -> ColourScale:
    """Return one scale for all panels, from the least value to the largest."""
    low, high = float(summary["mean"].min()), float(summary["mean"].max())

    def shade(matrix: Floats) -> Floats:
        found: Floats = (matrix - low) / ((high - low) or 1.0)
        return found

    steps = np.linspace(0, 1, LEGEND_STEPS if high > low else 1)
    said = [_format_numbers("{:.2f}", low + step * (high - low)) for step in steps]
    said[0] = f"{column_label(figure.value)} {said[0]}"
    return shade, [_legend_patch(step, text) for step, text in zip(steps, said, strict=True)]


def _legend_patch(shade: float, label: str) -> Patch:
    colour = to_hex(tuple(_shade_colours(np.array(shade))))
    return Patch(facecolor=colour, edgecolor=DARK, linewidth=0.4, label=label)


def _heat_map(
    figure: StudyFigure, name: str, part: pd.DataFrame, shade: Callable[[Floats], Floats]
) -> HeatMap:
    columns = list(dict.fromkeys(part[figure.x]))
    rows = list(dict.fromkeys(part[figure.y]))
    rows.sort(key=lambda row: columns.index(row) if row in columns else len(columns))
    table = part.pivot_table("mean", figure.y, figure.x, dropna=False)
    matrix = table.reindex(index=rows, columns=columns).to_numpy(float)
    shades = shade(matrix)
    return HeatMap(
        heading=_heading(figure, name),
        x=column_label(figure.x),
        y=column_label(figure.y),
        columns=[for_figure(format_axis_value(column)) for column in columns],
        rows=[for_figure(format_axis_value(row)) for row in rows],
        texts=_cell_texts(matrix, shades if figure.normalised else None),
        shades=shades,
    )


def _heading(figure: StudyFigure, name: str) -> str:
    """Return the panel's name, with a note on the numbers where there are two in a cell."""
    numbers = NORMALISED_NOTE.format(column_label(figure.value)) if figure.normalised else ""
    return truncate("; ".join(filter(None, [name, numbers])), MAX_TITLE)


def _cell_texts(values: Floats, shades: Floats | None) -> list[list[str]]:
    """Return the number of each cell; under its place in the column where there is one."""
    if shades is None:
        return [[_format_numbers("{:.2f}", value) for value in row] for row in values]
    return [
        [_format_numbers("{1:.2f}\n({0:.1f})", *pair) for pair in zip(row, of_row, strict=True)]
        for row, of_row in zip(values, shades, strict=True)
    ]


def _format_numbers(pattern: str, *numbers: float) -> str:
    if np.isnan(numbers[0]):
        return MISSING
    rounded = (round(number, DECIMALS) + 0.0 for number in numbers)  # + 0.0: no -0.00
    return pattern.format(*rounded).replace("-", "−")


def _shade_colours(shades: Floats) -> Floats:
    """Return the colours (..., 4) of shades (...,); white where there is no value."""
    found: Floats = matplotlib.colormaps[COLOURMAP].with_extremes(bad=LIGHT)(0.9 * shades)
    return found


def _draw_heat_map(axes: Axes, shape: HeatMap) -> None:
    width, height = shape.cell
    axes.text(PADDING, PADDING, shape.heading, fontsize=HEADING_SIZE, va="top")
    _draw_names(axes, shape)
    places = [
        (shape.left + width * column, shape.top + height * row)
        for row in range(len(shape.rows))
        for column in range(len(shape.columns))
    ]
    filled = _shade_colours(shape.shades).reshape(len(places), -1)
    boxes = [Rectangle(place, width, height) for place in places]
    axes.add_collection(PatchCollection(boxes, facecolor=filled, edgecolor=LIGHT, linewidth=0.8))
    texts = [text for row in shape.texts for text in row]
    for (x, y), text, colour in zip(places, texts, filled, strict=True):
        _draw_number(axes, (x + width / 2, y + height / 2), text, contrasting_colour(colour))
    _draw_diagonal(axes, shape)


def _draw_number(axes: Axes, centre: tuple[float, float], text: str, colour: str) -> None:
    axes.text(*centre, text, ha="center", va="center", color=colour, fontsize=NUMBER_SIZE)


def _draw_diagonal(axes: Axes, shape: HeatMap) -> None:
    """Draw a frame around the cells whose row and column are the same."""
    width, height = shape.cell
    for row, name in enumerate(shape.rows):
        if name in shape.columns:
            x, y = shape.left + width * shape.columns.index(name), shape.top + height * row
            axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=DARK, lw=1))


def _draw_names(axes: Axes, shape: HeatMap) -> None:
    """Draw the names of the rows and columns, and of the axes."""
    width, height = shape.cell
    turned = 90 if shape.upright else 0
    for i, name in enumerate(shape.columns):
        x = shape.left + width * (i + 0.5)
        axes.text(x, shape.top - NAME_GAP, name, rotation=turned, ha="center", va="bottom")
    for i, name in enumerate(shape.rows):
        y = shape.top + height * (i + 0.5)
        axes.text(shape.left - NAME_GAP, y, name, ha="right", va="center_baseline")
    foot = shape.top + height * len(shape.rows) + NAME_GAP
    axes.text(shape.left + width * len(shape.columns) / 2, foot, shape.x, ha="center", va="top")
    middle = shape.top + height * len(shape.rows) / 2
    axes.text(PADDING + LINE_HEIGHT / 2, middle, shape.y, rotation=90, ha="center", va="center")
