"""How long cells may take, from the records of those that are like them."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import mean
from typing import Any

from bench.records import Outcome, Record, Settings, Store

ALIKE = (("suite", "backbone", "method"), ("suite", "backbone"), ("suite",))  # the nearest first


@dataclass(frozen=True)
class Estimates:
    """Mean seconds of earlier cells by what they share with a cell."""

    means: dict[tuple[str, ...], float]
    count: int  # of the records of the suite

    def seconds(self, cells: Iterable[Settings]) -> float:
        """How long so many cells may take, one after another."""
        return sum(self.of(settings) or 0.0 for settings in cells)

    def of(self, settings: Any) -> float | None:
        """How long a cell may take; None where nothing like it has a record.

        `settings` are a cell's, or whatever else has a suite, a backbone and a method.
        """
        return next(filter(None, (self.means.get(key) for key in _keys(settings))), None)


def read(store: Store, suite: str) -> Estimates:
    """What the sound records of a suite tell."""
    found: dict[tuple[str, ...], list[float]] = {}
    ended = [r for _, r in store.read() if isinstance(r, Record) and r.settings.suite == suite]
    for record in ended:
        if record.outcome:
            for key in _keys(record.settings):
                found.setdefault(key, []).append(_seconds(record.outcome))
    means = {key: mean(seconds) for key, seconds in found.items()}
    return Estimates(means, sum(record.outcome is not None for record in ended))


def _keys(settings: Any) -> list[tuple[str, ...]]:
    return [tuple(getattr(settings, name) for name in names) for names in ALIKE]


def _seconds(outcome: Outcome) -> float:
    return outcome.init_seconds + outcome.train_seconds + outcome.test_seconds
