"""Rows as Markdown: pairs with bars, methods side by side, growth from end to end."""

from collections.abc import Sequence

from bench.performance.rows import HOURS, MET, NOT_MET, Row
from bench.report.grouping import gather
from bench.report.text import NONE, grid, safe

WORDS = frozenset({"what", "method", "against", "beside"})


def pairs(rows: Sequence[Row]) -> str:
    """A line a row with its bar; below, what takes the most where a bar is not met."""
    heads = ("what", "measured", "bar", "met", "seconds", "times", "beside")
    table = grid(heads, [_pair(row) for row in rows], WORDS)
    return "\n\n".join([table, *(_profile(row) for row in rows if row.profile)])


def methods(rows: Sequence[Row]) -> str:
    """A line a method, a column a unit; above, on what; below, the methods left out, and why."""
    known = [row for row in rows if row.value is not None]
    units = list(dict.fromkeys(row.unit for row in known))
    lines = []
    for name, own in gather(known, lambda row: row.name).items():
        figures = {row.unit: row for row in own}
        lines.append([name, *(_figure(figures.get(unit)) for unit in units)])
    refused = [f"{row.name}: {safe(row.note)}" for row in rows if row.value is None]
    work = [f"{note}:" for note in dict.fromkeys(row.note for row in known)]
    return "\n\n".join([*work, grid(["method", *units], lines, WORDS), *refused])


def growth(rows: Sequence[Row]) -> str:
    """A line a series: what it took at the smallest size and at the largest."""
    heads = ("what", "against", "from", "to", "seconds, first", "last", "MiB, first", "last")
    lines = []
    for (name, against), own in gather(rows, lambda row: (row.name, row.against)).items():
        first, last = own[0], own[-1]
        sizes = [f"{row.at:g}" for row in (first, last)]
        seconds = [_short(row.seconds) for row in (first, last)]
        lines.append([name, against, *sizes, *seconds, *(_short(r.value) for r in (first, last))])
    return grid(heads, lines, WORDS)


def bars(rows: Sequence[Row]) -> str:
    """How many bars there are, and how many were met."""
    said = [row.met for row in rows]
    return f"Bars: {said.count(MET)} met, {said.count(NOT_MET)} not met."


def _pair(row: Row) -> list[str]:
    bar = NONE if row.bar is None else f"{'≥' if row.least else '≤'} {row.bar:g}"
    measured = f"{_short(row.value)} {row.unit}"
    return [row.name, measured, bar, row.met or NONE, _short(row.seconds), str(row.n), row.note]


def _profile(row: Row) -> str:
    return f"Not met: {safe(row.name)}. The operators that take the most: {row.profile}."


def _figure(row: Row | None) -> str:
    if row is None or row.value is None:
        return NONE
    return f"{row.value:.1f}" if row.unit == HOURS else f"{row.value:,.0f}"


def _short(value: float | None) -> str:
    """Three digits, written out where they are whole."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
