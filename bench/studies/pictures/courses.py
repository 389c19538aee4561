"""The course of training: what methods come to by epoch and by second, one beside another."""

from collections.abc import Mapping, Sequence
from itertools import product

import pandas as pd

from bench.report.pictures.common import Drawing, compose, style
from bench.studies.pictures import curves
from bench.studies.pictures.parts import joined, parts

AGAINST = ("epoch", "seconds")


def draw(courses: Mapping[str, pd.DataFrame], rows: Sequence[str]) -> Drawing:
    """A row of panels for each value of the columns `rows`: each course by epoch and by second.

    `courses` has for each value a frame with those columns, method, epoch, seconds, and the mean of
    the value with its interval from low to high.
    """
    looks = curves.looks_of(name for frame in courses.values() for name in frame["method"])
    named = {
        value: dict(parts(frame.assign(line=joined(frame, ["method"])), [*rows]))
        for value, frame in courses.items()
    }
    places = dict.fromkeys(place for found in named.values() for place in found)
    with style():
        panels = [
            curves.panel(named[value][place], x, value, looks, place)
            for place in places
            for value, x in product(named, AGAINST)
            if place in named[value]
        ]
        return compose(panels, curves.legend(looks), columns=len(named) * len(AGAINST))
