"""A value by two axes, as colour and number: one scale for all panels, or one a column."""

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

from bench.report.cross_task import normalised
from bench.report.labels import Floats
from bench.report.pictures.common import (
    HEADING,
    TITLE,
    Drawing,
    Panel,
    compose,
    extent,
    short,
    style,
    widest,
)
from bench.report.pictures.heat_map import DARK, LIGHT, ink
from bench.report.text import NONE
from bench.studies.cards import Figure
from bench.studies.pictures.parts import parts, word, words

ROOM, PAD = 0.14, 0.06  # inches: around the panel, between a name and what it names
LINE = 0.2  # inches for a line of words
AIR = 0.12  # inches that a cell is wider and higher than its numbers
NUMBER, DECIMALS = 6.0, 2  # 1/72 inch; of numbers
COLOURS = "Blues"  # ColorBrewer's: pale to dark is told apart without colours, too
STEPS = 5  # colours in the legend
OWN = "row is column"
WORST, BEST = "0: worst of its column", "1: best of its column"
NORMALISED = "normalised by column; {} in brackets"

Scale = tuple[Callable[[Floats], Floats], list[Patch]]  # matrix -> shades; the legend


@dataclass(frozen=True)
class Sheet:
    """What one panel shows."""

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
        return widest(lines, NUMBER) + AIR, count * 1.3 * extent("0", NUMBER)[1] + AIR

    @property
    def upright(self) -> bool:
        """Whether the names of columns stand upright."""
        return widest(self.columns) > self.cell[0] - PAD

    @property
    def left(self) -> float:
        """From the panel's left to the first cell, in inches."""
        return ROOM + LINE + widest(self.rows) + PAD

    @property
    def top(self) -> float:
        """From the panel's top to the first cell, in inches."""
        return ROOM + LINE + (widest(self.columns) if self.upright else LINE) + PAD

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the panel, in inches."""
        width, height = self.cell
        across = self.left + max(len(self.columns) * width, extent(self.x)[0])
        down = self.top + max(len(self.rows) * height, extent(self.y)[0])
        return max(across, ROOM + extent(self.heading, HEADING)[0]) + ROOM, down + LINE + ROOM


def draw(figure: Figure, summary: pd.DataFrame) -> Drawing:
    """A panel for each value of the figure's panels.

    Without `normalised`, a colour is one value in all panels.
    """
    shade, legend = _by_column() if figure.normalised else _common(figure, summary)
    sheets = [_sheet(figure, name, part, shade) for name, part in parts(summary, figure.panels)]
    own = Patch(facecolor=LIGHT, edgecolor=DARK, label=OWN)
    has_own = any(set(sheet.rows) & set(sheet.columns) for sheet in sheets)
    with style():
        panels = [Panel(*sheet.size, partial(_draw, shape=sheet)) for sheet in sheets]
        return compose(panels, [*legend, *([own] if has_own else [])])


def _by_column() -> Scale:
    """Each column from 0 at its worst row to 1 at its best."""
    return normalised, [_patch(0.0, WORST), _patch(1.0, BEST)]


def _common(figure: Figure, summary: pd.DataFrame) -> Scale:
    """All of them from the least value to the largest."""
    low, high = float(summary["mean"].min()), float(summary["mean"].max())

    def shade(matrix: Floats) -> Floats:
        found: Floats = (matrix - low) / ((high - low) or 1.0)
        return found

    steps = np.linspace(0, 1, STEPS if high > low else 1)
    said = [_text("{:.2f}", low + step * (high - low)) for step in steps]
    said[0] = f"{words(figure.value)} {said[0]}"
    return shade, [_patch(step, text) for step, text in zip(steps, said, strict=True)]


def _patch(shade: float, label: str) -> Patch:
    colour = to_hex(tuple(_colour(np.array(shade))))
    return Patch(facecolor=colour, edgecolor=DARK, linewidth=0.4, label=label)


def _sheet(
    figure: Figure, name: str, part: pd.DataFrame, shade: Callable[[Floats], Floats]
) -> Sheet:
    columns = list(dict.fromkeys(part[figure.x]))
    rows = list(dict.fromkeys(part[figure.y]))
    rows.sort(key=lambda row: columns.index(row) if row in columns else len(columns))
    table = part.pivot_table("mean", figure.y, figure.x, dropna=False)
    matrix = table.reindex(index=rows, columns=columns).to_numpy(float)
    shades = shade(matrix)
    return Sheet(
        heading=_heading(figure, name),
        x=words(figure.x),
        y=words(figure.y),
        columns=list(map(word, columns)),
        rows=list(map(word, rows)),
        texts=_texts(matrix, shades if figure.normalised else None),
        shades=shades,
    )


def _heading(figure: Figure, name: str) -> str:
    """What the panel is of, and what its numbers are where there are two in a cell."""
    numbers = NORMALISED.format(words(figure.value)) if figure.normalised else ""
    return short("; ".join(filter(None, [name, numbers])), TITLE)


def _texts(values: Floats, shades: Floats | None) -> list[list[str]]:
    """The number of each cell; under its place in the column where there is one."""
    if shades is None:
        return [[_text("{:.2f}", value) for value in row] for row in values]
    return [
        [_text("{1:.2f}\n({0:.1f})", *pair) for pair in zip(row, of_row, strict=True)]
        for row, of_row in zip(values, shades, strict=True)
    ]


def _text(pattern: str, *numbers: float) -> str:
    if np.isnan(numbers[0]):
        return NONE
    rounded = (round(number, DECIMALS) + 0.0 for number in numbers)  # + 0.0: no -0.00
    return pattern.format(*rounded).replace("-", "−")


def _colour(shades: Floats) -> Floats:
    """The colours (..., 4) of shades (...,); white where there is no value."""
    found: Floats = matplotlib.colormaps[COLOURS].with_extremes(bad=LIGHT)(0.9 * shades)
    return found


def _draw(axes: Axes, shape: Sheet) -> None:
    width, height = shape.cell
    axes.text(ROOM, ROOM, shape.heading, fontsize=HEADING, va="top")
    _names(axes, shape)
    places = [
        (shape.left + width * column, shape.top + height * row)
        for row in range(len(shape.rows))
        for column in range(len(shape.columns))
    ]
    filled = _colour(shape.shades).reshape(len(places), -1)
    boxes = [Rectangle(place, width, height) for place in places]
    axes.add_collection(PatchCollection(boxes, facecolor=filled, edgecolor=LIGHT, linewidth=0.8))
    texts = [text for row in shape.texts for text in row]
    for (x, y), text, colour in zip(places, texts, filled, strict=True):
        _number(axes, (x + width / 2, y + height / 2), text, ink(colour))
    _own(axes, shape)


def _number(axes: Axes, centre: tuple[float, float], text: str, colour: str) -> None:
    axes.text(*centre, text, ha="center", va="center", color=colour, fontsize=NUMBER)


def _own(axes: Axes, shape: Sheet) -> None:
    """A frame around the cells whose row and column are the same."""
    width, height = shape.cell
    for row, name in enumerate(shape.rows):
        if name in shape.columns:
            x, y = shape.left + width * shape.columns.index(name), shape.top + height * row
            axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=DARK, lw=1))


def _names(axes: Axes, shape: Sheet) -> None:
    """Those of the rows and columns, and what they are."""
    width, height = shape.cell
    turned = 90 if shape.upright else 0
    for i, name in enumerate(shape.columns):
        x = shape.left + width * (i + 0.5)
        axes.text(x, shape.top - PAD, name, rotation=turned, ha="center", va="bottom")
    for i, name in enumerate(shape.rows):
        y = shape.top + height * (i + 0.5)
        axes.text(shape.left - PAD, y, name, ha="right", va="center_baseline")
    foot = shape.top + height * len(shape.rows) + PAD
    axes.text(shape.left + width * len(shape.columns) / 2, foot, shape.x, ha="center", va="top")
    middle = shape.top + height * len(shape.rows) / 2
    axes.text(ROOM + LINE / 2, middle, shape.y, rotation=90, ha="center", va="center")
