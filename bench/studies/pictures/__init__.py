"""Pictures of studies: a kind of figure each file."""

from collections.abc import Callable

import pandas as pd

from bench.report.pictures.common import Drawing
from bench.studies.cards import Figure
from bench.studies.pictures import bars, curves, heat_map

KINDS: dict[str, Callable[[Figure, pd.DataFrame], Drawing]] = {
    "curves": curves.draw,
    "bars": bars.draw,
    "heat map": heat_map.draw,
}


def draw(figure: Figure, summary: pd.DataFrame) -> Drawing | None:
    """The picture of a study's `summary`, as `frames.summary` has it by the figure's axes.

    None: there is nothing to draw.
    """
    return KINDS[figure.kind](figure, summary) if len(summary) else None
