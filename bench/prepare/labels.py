"""A record's class from its annotation, as its task's card has it."""

from bisect import bisect_left
from collections.abc import Sequence
from math import floor

from bench.errors import UserError
from bench.prepare.formats.base import Entry, Fact
from bench.tasks import Label


def classes_of(label: Label, entries: Sequence[Entry]) -> list[int]:
    """The class of each record; `entries` are all of the source, for ranks are among them."""
    values = [_changed(label, _fact(label, entry)) for entry in entries]
    if not label.ranked:
        return [int(value) for value in values]
    order = {value: rank for rank, value in enumerate(sorted(set(values)))}
    return [order[value] for value in values]


def _fact(label: Label, entry: Entry) -> Fact:
    if label.fact not in entry.facts:
        raise UserError(
            f"the label needs the fact {label.fact!r}; {entry.key} has {', '.join(entry.facts)}"
        )
    return entry.facts[label.fact]


def _changed(label: Label, value: Fact) -> Fact:
    if isinstance(value, str):
        if not label.ranked:
            raise UserError(f"the fact {label.fact!r} is text, {value!r}: its label must be ranked")
        return value
    value = value - label.subtract
    if label.divide:
        value = floor(value / label.divide)
    if label.modulo:
        value %= label.modulo
    return _bin(label.above, value) if label.above else value


def _bin(edges: list[float], value: float) -> int:
    """The last of the edges that the value is above."""
    found = bisect_left(edges, value) - 1
    if found < 0:
        raise UserError(f"{value:g} is not above {edges[0]:g}, where the first class begins")
    return found
