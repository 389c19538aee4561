"""What here answers to a number that a paper prints about a figure."""

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from bench.records import Record
from bench.studies import frames
from bench.studies.cards import Ours, Printed, Study

# Of the means of a method, and of the other's, by the figure's x: the number.
TAKES: dict[str, Callable[[pd.Series, pd.Series], Any]] = {
    "best": lambda own, _: own.idxmax(),
    "worst": lambda own, _: own.idxmin(),
    "range": lambda own, _: float(own.max() - own.min()),
    "lead": lambda own, other: float(own.max() - other.max()),
    "value": lambda own, _: float(own.max()),
}
SECONDS = {"d": 86_400.0}  # of a unit, where the values are in seconds
DIFFERENCES = {"%": "points"}  # what differences of percents are called here


def here(one: Printed, study: Study, records: Iterable[Record]) -> str:
    """The number of this study with its unit; empty where none answers, or cells lack a result."""
    if one.ours is None or study.figure is None:
        return ""
    cells = list(frames.cells(study, records))
    own, other = (
        _means(study.figure.x, one.ours, method, cells) if method else pd.Series(dtype=float)
        for method in (one.ours.of, one.ours.other)
    )
    if own is None or other is None:
        return ""
    found = TAKES[one.ours.take](own, other)
    text = found if isinstance(found, str) else f"{found / SECONDS.get(one.unit, 1.0):.3g}"
    return f"{text} {DIFFERENCES.get(one.unit, one.unit)}"


def _means(
    x: str, ours: Ours, method: str, cells: list[tuple[dict[str, object], Record | None]]
) -> pd.Series | None:
    """The method's means by x, at `at` alone where that is said; None unless all cells are done."""
    wanted = [
        (place[x], record and record.outcome)
        for place, record in cells
        if place["method"] == method and ours.at in (None, place[x])
    ]
    values = [(at, getattr(outcome, ours.value)) for at, outcome in wanted if outcome]
    if not wanted or len(values) < len(wanted):
        return None
    return pd.DataFrame(values, columns=["x", "value"]).groupby("x", sort=False)["value"].mean()
