"""What a run shows: a live display on a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
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
    """Counts cells, with a bar for each that runs; `console` decides whether it may redraw."""

    def __init__(self, console: Console, cells: int, epochs: int):
        self.console, self.cells, self.epochs = console, cells, epochs
        self.ended, self.begun = 0, perf_counter()
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.all = self.bars.add_task("epochs of all cells", total=cells * epochs)
        self.each = dict[str, TaskID]()  # of the cells that run, by their names

    @contextmanager
    def shown(self) -> Iterator["RunProgress"]:
        with self.bars:
            yield self

    def start(self, cell: Describable) -> None:
        """A cell begins."""
        self.each[cell.settings.digest()] = self.bars.add_task(
            describe_cell(cell), total=self.epochs
        )

    def epoch(self, cell: Describable, number: int) -> None:
        """An epoch of a cell has ended."""
        self.bars.update(self.each[cell.settings.digest()], completed=number)
        self._count()

    def again(self, record: Record) -> None:
        """A cell has failed and is tried once more."""
        self._remove(record)
        self._line(f"{describe_cell(record)}: {describe_outcome(record)}; it is tried again")

    def end(self, record: Record) -> None:
        """A cell has ended: say how, and how long the others may take."""
        self._remove(record)
        self.ended += 1
        self._count()
        left = (self.cells - self.ended) * (perf_counter() - self.begun) / self.ended
        rest = f", about {format_duration(left)} left" if self.ended < self.cells else ""
        count = f"[{self.ended:{len(str(self.cells))}}/{self.cells}]"
        self._line(f"{count} {describe_cell(record)}: {describe_outcome(record)}{rest}")

    def _remove(self, record: Record) -> None:
        cell = record.settings.digest()  # its title may be another's, too: of a varied field, say
        if cell in self.each:  # not where another run had it
            self.bars.remove_task(self.each.pop(cell))

    def _count(self) -> None:
        bars = {task.id: task.completed for task in self.bars.tasks}
        under_way = sum(bars[one] for one in self.each.values())
        self.bars.update(self.all, completed=self.ended * self.epochs + under_way)

    def _line(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
