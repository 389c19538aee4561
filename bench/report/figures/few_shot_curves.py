"""Curves of few-shot results: accuracy over shots, a panel a data set and one for their mean."""

from collections.abc import Mapping, Sequence

import pandas as pd

from bench.report.figures.study_curves import curve_panel, legend_handles, line_styles
from bench.report.figures.style import RenderedFigure, compose_figure, style_context

COLUMNS = 4  # of panels


def draw_few_shots(points: Sequence[Mapping[str, object]], panels: Sequence[str]) -> RenderedFigure:
    """Draw the points of `few_shots.curve_lines`, whose bands are the sd over lists.

    There is a panel for each data set of `panels` that has a point.
    """
    found = pd.DataFrame(points).sort_values("shots", kind="stable")
    looks = line_styles(dict.fromkeys(str(point["line"]) for point in points))
    parts = {str(name): part for name, part in found.groupby("dataset")}
    with style_context():
        drawn = [
            curve_panel(parts[name], "shots", "accuracy", looks, name)
            for name in panels
            if name in parts
        ]
        return compose_figure(drawn, legend_handles(looks), COLUMNS)
