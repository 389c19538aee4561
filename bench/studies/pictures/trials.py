"""What trials found at each learning rate, a curve a method."""

from collections.abc import Sequence

import pandas as pd

from bench.report.pictures.common import Drawing, compose, style
from bench.studies.pictures import curves
from bench.studies.pictures.parts import joined, parts


def draw(found: pd.DataFrame, panels: Sequence[str]) -> Drawing:
    """A panel for each value of the columns `panels`.

    `found` has those columns, method, lr and the validation accuracy.
    """
    lined = found.assign(line=joined(found, ["method"]), mean=found["accuracy"])
    lined = lined.assign(low=lined["mean"], high=lined["mean"]).sort_values("lr", kind="stable")
    looks = curves.looks_of(found["method"])
    with style():
        drawn = [
            curves.panel(part, "lr", "validation_accuracy", looks, name)
            for name, part in parts(lined, [*panels])
        ]
        return compose(drawn, curves.legend(looks))
