"""How long cells may take, from the records of those that are like them."""

# MERGED bench.execution.status: """How far a grid is, seen from any shell or machine that reads its results folder."""
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import mean
from time import sleep
from typing import Any

from bench.execution.plan import is_done
from bench.records.leases import Leases
from bench.records.schema import Outcome, Record, Settings
from bench.records.store import Store
from bench.training.cell import Cell
from bench.utils.text import format_duration

SIMILARITY_KEYS = (
    ("suite", "backbone", "method"),
    ("suite", "backbone"),
    ("suite",),
)  # the nearest first


@dataclass(frozen=True)
class DurationEstimates:
    """Mean seconds of earlier cells by what they share with a cell."""

    means: dict[tuple[str, ...], float]
    count: int  # of the records of the suite

    def total_seconds(self, cells: Iterable[Settings]) -> float:
        """How long so many cells may take, one after another."""
        return sum(self.cell_seconds(settings) or 0.0 for settings in cells)

    def cell_seconds(self, settings: Any) -> float | None:
        """How long a cell may take; None where nothing like it has a record.

        `settings` are a cell's, or whatever else has a suite, a backbone and a method.
        """
        return next(filter(None, (self.means.get(key) for key in _similarity_keys(settings))), None)


def estimate_durations(store: Store, suite: str) -> DurationEstimates:
    """What the sound records of a suite tell."""
    found: dict[tuple[str, ...], list[float]] = {}
    ended = [r for _, r in store.read_all() if isinstance(r, Record) and r.settings.suite == suite]
    for record in ended:
        if record.outcome:
            for key in _similarity_keys(record.settings):
                found.setdefault(key, []).append(_outcome_seconds(record.outcome))
    means = {key: mean(seconds) for key, seconds in found.items()}
    return DurationEstimates(means, sum(record.outcome is not None for record in ended))


def _similarity_keys(settings: Any) -> list[tuple[str, ...]]:
    return [tuple(getattr(settings, name) for name in names) for names in SIMILARITY_KEYS]


def _outcome_seconds(outcome: Outcome) -> float:
    return outcome.init_seconds + outcome.train_seconds + outcome.test_seconds


POLL_SECONDS = 2.0  # seconds between two looks


@dataclass(frozen=True)
class RunStatus:
    """What a look at the results folder found."""

    done: int
    failed: int
    running: Sequence[dict[str, Any]]  # what each claim tells
    pending: Sequence[Settings]  # neither done nor failed nor running

    def lines(self, seconds: float, known: int) -> Iterator[str]:
        """In words; `seconds` are those that may be left for one worker, as `known` cells went."""
        counts = f"{self.done} done, {len(self.running)} running, {self.failed} failed"
        yield f"{counts}, {len(self.pending)} left"
        for told in self.running:
            of = f" of {told['epochs']}" if "epochs" in told else ""
            epochs = f", epoch {told['epoch']}{of}" if "epoch" in told else ""
            yield f"  {told.get('cell', 'a cell')}{epochs} ({told['host']}, process {told['pid']})"
        if not known:
            yield "no earlier cell of this suite to estimate the time from"
        else:
            workers = max(1, len(self.running))
            beside = f", {workers} at a time" if workers > 1 else ""
            yield f"about {format_duration(seconds / workers)}{beside}, as {known} earlier ones went"


def snapshot(cells: Iterable[Cell], store: Store) -> RunStatus:
    """Count the cells by what has become of them."""
    held = dict(Leases(store.root).active())
    done, failed, running, left = 0, 0, list[dict[str, Any]](), list[Settings]()
    for cell in cells:
        claim, record = held.get(cell.settings.digest()), store.find(cell.settings)
        if claim is not None:
            running.append(claim)
        elif is_done(record):
            done += 1
        elif record is not None:
            failed += 1
        else:
            left.append(cell.settings)
    return RunStatus(done, failed, running, left)


def watch(cells: Sequence[Cell], store: Store) -> Iterator[list[str]]:
    """What is seen, whenever it has changed, until no cell is left and none runs."""
    before: list[str] = []
    while True:
        seen = snapshot(cells, store)
        known = estimate_durations(store, cells[0].settings.suite)
        lines = list(seen.lines(known.total_seconds(seen.pending), known.count))
        if lines != before:
            yield lines
        if not seen.pending and not seen.running:
            return
        before = lines
        sleep(POLL_SECONDS)


def describe_duration(cells: Sequence[Cell], store: Store) -> str:
    """Say how long cells may take, one after another."""
    if not cells:
        return "nothing is left"
    known = estimate_durations(store, cells[0].settings.suite)
    if not known.count:
        return "no earlier cell of this suite to estimate the time from"
    seconds = known.total_seconds(cell.settings for cell in cells)
    return f"about {format_duration(seconds)}, as {known.count} earlier ones went"
