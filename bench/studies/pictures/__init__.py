"""Pictures of studies: a kind of figure each file."""

from collections.abc import Callable

import pandas as pd

from bench.report.pictures.common import Drawing
from bench.studies.cards import Figure
from bench.studies.pictures import curves

KINDS: dict[str, Callable[[Figure, pd.DataFrame], Drawing]] = {"curves": curves.draw}


def draw(figure: Figure, summary: pd.DataFrame) -> Drawing | None:
    """The picture of a study's `summary`, as `frames.summary` has it by the figure's axes.

    None: there is nothing to draw, or nothing here draws such a figure.
    """
    if figure.kind not in KINDS or not len(summary):
        return None
    return KINDS[figure.kind](figure, summary)
