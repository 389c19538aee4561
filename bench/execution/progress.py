"""Progress of a run: a live display on a terminal, plain lines elsewhere, or nothing at all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from bench.records.description import Describable, describe_cell, describe_outcome
from bench.records.schema import Record
from bench.utils.text import format_duration


class RunProgress:
    """Progress bars of the cells that run, and a line for each that has ended.

    Bars are drawn only where `console` is a terminal.
    """

    def __init__(self, console: Console, cells: int, epochs: int):
        self.console, self.cells, self.epochs = console, cells, epochs
        self.finished_count, self.start_time = 0, perf_counter()
        self.bars = Progress(
            TextColumn("{task.description}"),
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
            describe_cell(cell), total=self.epochs
        )

    def on_epoch(self, cell: Describable, number: int) -> None:
        """Advance the bar of a cell by an epoch."""
        self.bars.update(self.cell_tasks[cell.settings.digest()], completed=number)
        self._update_total()

    def retry(self, record: Record) -> None:
        """Print that a cell has failed and is tried once more."""
        self._remove(record)
        self._print(f"{describe_cell(record)}: {describe_outcome(record)}; it is tried again")

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

    def _remove(self, record: Record) -> None:
        cell = record.settings.digest()  # its title may be another's, too: of a varied field, say
        if cell in self.cell_tasks:  # not where another run had it
            self.bars.remove_task(self.cell_tasks.pop(cell))

    def _update_total(self) -> None:
        bars = {task.id: task.completed for task in self.bars.tasks}
        under_way = sum(bars[one] for one in self.cell_tasks.values())
        self.bars.update(self.total_task, completed=self.finished_count * self.epochs + under_way)

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _do_nothing() -> None:
    pass


@dataclass(frozen=True)
class Reporter:
    """Shows the course of a session on a console; silent by default."""

    console: Console = field(default_factory=lambda: Console(quiet=True))
    on_finals_ended: Callable[[], None] = _do_nothing  # also where they were interrupted

    def announce(self, text: str) -> None:
        """Print a line of what comes."""
        self.console.print(text, highlight=False, soft_wrap=True)


SILENT = Reporter()
