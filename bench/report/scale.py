"""A logarithmic axis of counts that has a place for 0, left of a break."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

STEPS = ((1,), (1, 2, 5), (1, 2, 3, 4, 5, 6, 7, 8, 9))  # of a power of ten that carry a tick
UNITS = {0: "", 3: "k", 6: "M", 9: "G"}  # by the power of ten


@dataclass(frozen=True)
class Scale:
    """Where counts stand on the axis, in powers of ten."""

    low: float
    high: float
    zero: float | None  # where 0 stands; None: no count is 0
    gap: float  # the middle of the break; without 0, the axis' left end

    def at(self, count: float) -> float:
        """The place of a count."""
        return math.log10(count) if count > 0 else self.low if self.zero is None else self.zero

    def ticks(self) -> dict[float, str]:
        """Places and texts; powers of ten, and more where fewer than two would show."""
        marks = next((m for s in STEPS if len(m := self._marks(s)) > 1), self._marks(STEPS[-1]))
        return marks if self.zero is None else {self.zero: "0", **marks}

    def _marks(self, steps: Sequence[int]) -> dict[float, str]:
        powers = range(max(0, math.floor(self.gap)), math.ceil(self.high) + 1)
        marks = {p + math.log10(step): count_text(p, step) for p in powers for step in steps}
        return {x: text for x, text in marks.items() if self.gap < x <= self.high}


def scale_of(counts: Sequence[float]) -> Scale:
    """The scale that shows all `counts`, with some room at the ends."""
    logs = [math.log10(count) for count in counts if count > 0]
    if not logs:
        return Scale(low=-1.0, high=1.0, zero=0.0, gap=1.0)
    low, high = min(logs), max(logs)
    room = 0.08 * (high - low) + 0.12
    if min(counts) > 0:
        return Scale(low - room, high + room, None, low - room)
    zero = low - 3 * room
    return Scale(zero - room, high + room, zero, (zero + low) / 2)


def count_text(power: int, step: int) -> str:
    """``step`` times ten to the ``power``: 50k, 1M."""
    unit = min(power // 3 * 3, max(UNITS))
    return f"{step * 10 ** (power - unit)}{UNITS[unit]}"
