"""What a measurement gives."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line: what was measured, as a ratio or a share, the seconds behind it, how many times."""

    name: str
    ratio: float
    seconds: float
    n: int
    bar: float | None = None  # what the ratio is meant not to pass; `least`: not to fall below
    least: bool = False

    @property
    def met(self) -> str:
        """Whether the bar was met, in words; empty where there is none."""
        if self.bar is None:
            return ""
        return (
            "met"
            if (self.ratio >= self.bar if self.least else self.ratio <= self.bar)
            else "not met"
        )
