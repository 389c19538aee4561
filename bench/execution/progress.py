"""Progress of a run: its live display, its status as the results folder shows it, and estimates."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import mean
from time import perf_counter, sleep
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from bench.execution.plan import is_done, recorded_of
from bench.records.description import Describable, describe_cell, describe_outcome
from bench.records.leases import Leases
from bench.records.schema import Outcome, Record, Settings
from bench.records.store import Store
from bench.training.cell import Cell
from bench.utils.escaping import for_terminal
from bench.utils.progress_bars import print_line
from bench.utils.text import format_duration


class RunProgress:
    """Progress bars of the cells that run, and a line for each that has ended.

    Bars are drawn only where `console` is a terminal.
    """

    def __init__(self, console: Console, cells: int, epochs: int):
        self.console, self.cells, self.epochs = console, cells, epochs
        self.finished_count, self.start_time = 0, perf_counter()
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=console.quiet or not console.is_terminal,
        )
        self.total_task = self.bars.add_task("epochs of all cells", total=cells * epochs)
        self.cell_tasks = dict[str, TaskID]()  # of the cells that run, by their names

    @contextmanager
    def live(self) -> Iterator["RunProgress"]:
        with self.bars:
            yield self

    def start(self, cell: Describable) -> None:
        """Add a bar for a cell that begins."""
        self.cell_tasks[cell.settings.digest()] = self.bars.add_task(
            for_terminal(describe_cell(cell)), total=self.epochs
        )

    def on_epoch(self, cell: Describable, number: int) -> None:
        """Advance the bar of a cell by an epoch."""
        self.bars.update(self.cell_tasks[cell.settings.digest()], completed=number)
        self._update_total()

    def retry(self, record: Record) -> None:
        """Print that a cell has failed and is tried once more."""
        self._remove(record)
        self._print(f"{describe_cell(record)}: {describe_outcome(record)}; it is tried again")

    def split(self, cells: Sequence[Cell], why: str) -> None:
        """Print that trials of a pass have failed together, and are tried one by one."""
        for cell in cells:
            self._remove(cell)
        names = f"{len(cells)} trials of one pass, such as {describe_cell(cells[0])}"
        self._print(f"{names}: {why}; they are trained one by one")

    def finish(self, record: Record) -> None:
        """Print how a cell has ended, and how long the others may take."""
        self._remove(record)
        self.finished_count += 1
        self._update_total()
        left = (
            (self.cells - self.finished_count)
            * (perf_counter() - self.start_time)
            / self.finished_count
        )
        rest = f", about {format_duration(left)} left" if self.finished_count < self.cells else ""
        count = f"[{self.finished_count:{len(str(self.cells))}}/{self.cells}]"
        self._print(f"{count} {describe_cell(record)}: {describe_outcome(record)}{rest}")

    def warn(self, texts: Iterable[str]) -> None:
        """Print a warning about the run or its results folder."""
        for text in texts:
            self._print(f"bench: {text}")

    def _remove(self, record: Describable) -> None:
        cell = record.settings.digest()  # its title may be another's, too: of a varied field, say
        if cell in self.cell_tasks:  # not where another run had it
            self.bars.remove_task(self.cell_tasks.pop(cell))

    def _update_total(self) -> None:
        bars = {task.id: task.completed for task in self.bars.tasks}
        under_way = sum(bars[one] for one in self.cell_tasks.values())
        self.bars.update(self.total_task, completed=self.finished_count * self.epochs + under_way)

    def _print(self, text: str) -> None:
        print_line(self.console, text)


def _do_nothing() -> None:
    pass


@dataclass(frozen=True)
class Reporter:
    """Shows the course of a session on a console; silent by default."""

    console: Console = field(default_factory=lambda: Console(quiet=True))
    on_finals_ended: Callable[[], None] = _do_nothing  # also where they were interrupted

    def announce(self, text: str) -> None:
        """Print a line of what comes."""
        print_line(self.console, text)


SILENT = Reporter()

# Settings that similar cells share, the most similar first.
SIMILARITY_KEYS = (("suite", "backbone", "method"), ("suite", "backbone"), ("suite",))
POLL_SECONDS = 2.0  # seconds between two looks at the folder


@dataclass(frozen=True)
class DurationEstimates:
    """Mean seconds of earlier cells, by the settings that they share with a cell."""

    means: dict[tuple[str, ...], float]
    count: int  # of the records of the suite

    def total_seconds(self, cells: Iterable[Settings]) -> float:
        """Estimate the seconds of cells that run one after another."""
        return sum(self.cell_seconds(settings) or 0.0 for settings in cells)

    def cell_seconds(self, settings: Any) -> float | None:
        """Estimate the seconds of a cell; None where no similar cell has a record.

        `settings` may be any object with a suite, a backbone and a method.
        """
        return next(filter(None, (self.means.get(key) for key in _similarity_keys(settings))), None)


def estimate_durations(store: Store, suite: str) -> DurationEstimates:
    """Estimate durations from the valid records of a suite."""
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


@dataclass(frozen=True)
class RunStatus:
    """Cells of a run by their status, at one time."""

    done: int
    failed: int
    running: Sequence[dict[str, Any]]  # the content of each lease
    pending: Sequence[Settings]  # neither done nor failed nor running
    problems: Sequence[str] = ()  # of files that should be leases

    def lines(self, seconds: float, known: int) -> Iterator[str]:
        """Describe the status; one worker may need `seconds` more, judged by `known` cells."""
        counts = f"{self.done} done, {len(self.running)} running, {self.failed} failed"
        yield f"{counts}, {len(self.pending)} left"
        yield from self.problems
        for lease in self.running:
            of = f" of {lease['epochs']}" if "epochs" in lease else ""
            epochs = f", epoch {lease['epoch']}{of}" if "epoch" in lease else ""
            holder = f"{lease['host']}, process {lease['pid']}"
            yield f"  {lease.get('cell', 'a cell')}{epochs} ({holder})"
        if not known:
            yield "no earlier cell of this suite to estimate the time from"
        else:
            workers = max(1, len(self.running))
            at_once = f", {workers} at a time" if workers > 1 else ""
            left = format_duration(seconds / workers)
            yield f"about {left}{at_once}, as {known} earlier ones went"


def snapshot(cells: Iterable[Cell], store: Store) -> RunStatus:
    """Sort the cells by their status now."""
    leases = Leases(store.root)
    held = dict(leases.active())
    cells = list(cells)
    recorded = {cell.digest for cell in recorded_of(cells, store)}
    done, failed, running, pending = 0, 0, list[dict[str, Any]](), list[Settings]()
    for cell in cells:
        digest = cell.digest if held or recorded else ""  # to hash 100,000 takes seconds
        lease = held.get(digest)
        record = store.find(cell.settings) if digest in recorded else None
        if lease is not None:
            running.append(lease)
        elif is_done(record):
            done += 1
        elif record is not None:
            failed += 1
        else:
            pending.append(cell.settings)
    return RunStatus(done, failed, running, pending, leases.take_problems())


def watch(cells: Sequence[Cell], store: Store) -> Iterator[list[str]]:
    """Yield the status whenever it has changed, until no cell is left and none runs."""
    before: list[str] = []
    while True:
        status = snapshot(cells, store)
        known = estimate_durations(store, cells[0].settings.suite)
        lines = list(status.lines(known.total_seconds(status.pending), known.count))
        if lines != before:
            yield lines
        if not status.pending and not status.running:
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
