"""Accuracy under shift: curves over the strengths of each kind, or over sets that have none."""

from collections.abc import Iterator, Sequence
from statistics import fmean

import pandas as pd

from bench.report.figures.study_curves import curve_panel, legend_handles, line_styles
from bench.report.figures.style import (
    MAX_PANELS,
    FigurePanel,
    RenderedFigure,
    compose_figure,
    style_context,
)
from bench.report.rows import sample_sd
from bench.report.shifts import ShiftTable, split_name

COLUMNS = 4  # of panels
TEST = "test"  # on the axis of sets


def draw(tables: Sequence[ShiftTable]) -> RenderedFigure:
    """Draw the first tables: a panel for each kind of shift, and one for all single sets.

    A curve begins at strength 0, the task's own test set, unless scores are masked. The band is a
    sample standard deviation over seeds to either side.
    """
    shown = tables[:MAX_PANELS]
    looks = line_styles(row.label for table in shown for row in table.rows)
    with style_context():
        panels = [panel for table in shown for panel in _panels(table, looks)]
        return compose_figure(panels, legend_handles(looks), COLUMNS)


def _panels(table: ShiftTable, looks: dict[str, dict[str, object]]) -> Iterator[FigurePanel]:
    where = f"{table.board.backbone}, {table.task}"
    single = [sets[0] for sets in table.kinds.values() if len(sets) == 1]
    for kind, sets in table.kinds.items():
        if len(sets) > 1:
            start = [] if kind in table.masked else [TEST]
            frame = _points(table, [*start, *sets], "strength")
            yield curve_panel(frame, "strength", "accuracy", looks, f"{where}: {kind}")
    if single:
        frame = _points(table, [TEST, *single], "test set")
        yield curve_panel(frame, "test set", "accuracy", looks, where)


def _points(table: ShiftTable, sets: Sequence[str], x: str) -> pd.DataFrame:
    """Return a row for each method and set: its mean over seeds, with the ends of the band."""
    found = []
    for row in table.rows:
        for name in sets:
            values = [
                row.accuracies[seed] if name == TEST else scores[name]
                for seed, scores in row.scores.items()
            ]
            mean, spread = fmean(values), sample_sd(values) or 0.0
            place = name if x == "test set" else 0 if name == TEST else split_name(name)[1]
            found.append((row.label, place, mean, mean - spread, mean + spread))
    return pd.DataFrame(found, columns=["line", x, "mean", "low", "high"])
