"""A logarithmic axis of counts or seconds that has a place for 0, left of a break."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

STEPS = ((1,), (1, 2, 5), (1, 2, 3, 4, 5, 6, 7, 8, 9))  # of a power of ten that carry a tick
COUNTS = {0: "", 3: "k", 6: "M", 9: "G"}  # units by the power of ten
SECONDS = {-6: " µs", -3: " ms", 0: " s"}


@dataclass(frozen=True)
class Scale:
    """Where counts stand on the axis, in powers of ten."""

    low: float
    high: float
    zero: float | None  # where 0 stands; None: no count is 0
    gap: float  # the middle of the break; without 0, the axis' left end
    units: Mapping[int, str]  # by the power of ten

    def at(self, count: float) -> float:
        """The place of a count."""
        return math.log10(count) if count > 0 else self.low if self.zero is None else self.zero

    def ticks(self) -> dict[float, str]:
        """Places and texts; powers of ten, and more where fewer than two would show."""
        marks = next((m for s in STEPS if len(m := self._marks(s)) > 1), self._marks(STEPS[-1]))
        return marks if self.zero is None else {self.zero: "0", **marks}

    def _marks(self, steps: Sequence[int]) -> dict[float, str]:
        powers = range(math.floor(self.gap), math.ceil(self.high) + 1)
        marks = {p + math.log10(s): unit_text(p, s, self.units) for p in powers for s in steps}
        return {x: text for x, text in marks.items() if self.gap < x <= self.high}


def scale_of(counts: Sequence[float], units: Mapping[int, str] = COUNTS) -> Scale:
    """The scale that shows all `counts`, with some room at the ends."""
    logs = [math.log10(count) for count in counts if count > 0]
    if not logs:
        return Scale(low=-1.0, high=1.0, zero=0.0, gap=1.0, units=units)
    low, high = min(logs), max(logs)
    room = 0.08 * (high - low) + 0.12
    if min(counts) > 0:
        return Scale(low - room, high + room, None, low - room, units)
    zero = low - 3 * room
    return Scale(zero - room, high + room, zero, (zero + low) / 2, units)


def unit_text(power: int, step: int, units: Mapping[int, str]) -> str:
    """``step`` times ten to the ``power``: 50k, 1M, 20 ms."""
    unit = max((known for known in units if known <= power), default=min(units))
    return f"{step * 10.0 ** (power - unit):.12g}{units[unit]}"
