"""Pictures of studies: a kind of figure each file."""

from collections.abc import Callable

import pandas as pd

from bench.papers.study import StudyFigure
from bench.report.figures import study_bars, study_curves, study_heat_map
from bench.report.figures.style import RenderedFigure

KINDS: dict[str, Callable[[StudyFigure, pd.DataFrame], RenderedFigure]] = {
    "curves": study_curves.draw,
    "bars": study_bars.draw,
    "heat map": study_heat_map.draw,
}


def draw(figure: StudyFigure, summary: pd.DataFrame) -> RenderedFigure | None:
    """The picture of a study's `summary`, as `frames.summary` has it by the figure's axes.

    None: there is nothing to draw.
    """
    return KINDS[figure.kind](figure, summary) if len(summary) else None
